//! Panels: some rows of the inner dimension by as many results as a GEMM tile has columns.

use crate::simd::{Simd, Task};

/// Results of a panel whose pixels are contiguous for every tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First column of the panel.
    pub column: usize,
    pub len: usize,
    /// Where its pixels start, before a tap's offset is added.
    pub offset: usize,
}

/// The results of a batch in a row: image, line, position in the line.
#[derive(Clone, Copy)]
pub(super) struct Results {
    pub images: usize,
    pub image_len: usize,
    pub lines: usize,
    pub line: usize,
    pub line_step: usize,
}

impl Results {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.images * self.lines * self.line
    }

    /// The runs of the panel of up to `width` results from `first` on.
    pub fn runs(&self, first: usize, width: usize, runs: &mut Vec<Run>) {
        runs.clear();
        let end = (first + width).min(self.len());
        let mut at = first;
        while at < end {
            let (line, x) = (at / self.line, at % self.line);
            let (image, line) = (line / self.lines, line % self.lines);
            let len = (self.line - x).min(end - at);
            runs.push(Run { column: at - first, len, offset: image * self.image_len + line * self.line_step + x });
            at += len;
        }
    }
}

/// Copies the pixels that some taps see for the results of a panel, one row of the panel a tap. Columns without a result
/// keep what was there.
pub(super) struct Pack<'a> {
    pub from: *const f32,
    pub taps: &'a [usize],
    pub runs: &'a [Run],
    /// Columns of the panel.
    pub width: usize,
    /// Room for a row a tap, and one vector more.
    pub to: *mut f32,
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut to = self.to;
        for tap in self.taps {
            // SAFETY: the caller grants the pixels of all runs. Whole vectors are stored, which may spill over into the
            // next columns or the next row: those are written later, or are the extra vector at the end.
            unsafe {
                for run in self.runs {
                    let from = self.from.add(tap + run.offset);
                    let to = to.add(run.column);
                    // The next panel's pixels lie behind this one's, but too few a row for the processor to expect them.
                    let next = from.wrapping_add(self.width);
                    S::prefetch(next);
                    S::prefetch(next.wrapping_add(16));
                    let mut i = 0;
                    while i + S::LANES <= run.len {
                        S::store(to.add(i), S::load(from.add(i)));
                        i += S::LANES;
                    }
                    if i < run.len {
                        S::store(to.add(i), S::load_first(from.add(i), run.len - i));
                    }
                }
                to = to.add(self.width);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_runs_over_lines_and_images() {
        let results = Results { images: 2, image_len: 100, lines: 2, line: 3, line_step: 10 };
        let mut runs = Vec::new();
        results.runs(4, 16, &mut runs);
        let run = |column, len, offset| Run { column, len, offset };
        assert_eq!(runs, [run(0, 2, 11), run(2, 3, 100), run(5, 3, 110)]);
    }
}
