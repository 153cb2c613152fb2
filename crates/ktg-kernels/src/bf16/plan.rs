//! How results of a convolution, or gradients of its images, are sums over taps.

use std::ops::Range;

use super::tiles::LINE;
use crate::shape::{Conv2d, Window};

/// Maps `[image][row][column][channel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maps {
    pub count: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Maps {
    /// Of a convolution's images.
    pub fn images(shape: &Conv2d) -> Self {
        Self { count: shape.batch, height: shape.height, width: shape.width, channels: shape.input }
    }

    /// Of its results.
    pub fn results(shape: &Conv2d) -> Self {
        Self { count: shape.batch, height: shape.output_height, width: shape.output_width, channels: shape.output }
    }
}

/// A place of the window: where in a plane of the source, seen from a position, and which weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    pub plane: usize,
    pub row: usize,
    pub column: usize,
    /// Row and (first) column of the filter.
    pub weight: [usize; 2],
    /// How many numbers of the position's line have weights.
    pub inner: usize,
}

/// Results that are sums over the same taps: those at `first + i * result_step` for `i` below `size`, in both directions.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub taps: Vec<Tap>,
    pub first: [usize; 2],
    pub size: [usize; 2],
}

/// How results are made of the source.
///
/// The source is cut into *planes*, every `step`-th row and column of it, so that neighboring results see neighboring pixels of a
/// plane. A *position* is a row of results, then an image, then a column below `pitch`; positions count on from row to row. A column
/// of zeros behind a row of an image is the border on its right and on the left of what follows, so a tap is equally far from every
/// position, and a tile has 16 positions that follow each other, wherever rows and images end. What is computed for positions that
/// are no result's is thrown away.
///
/// Where channels are few, a position's line has some pixels that follow each other in the source, and a tap is as many columns of
/// the filter.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub source: Maps,
    pub result: Maps,
    pub step: usize,
    /// Row and column of the source at position 0.
    pub planes: Vec<[isize; 2]>,
    pub pitch: usize,
    /// Rows and columns by which taps go beyond a position.
    pub reach: [usize; 2],
    pub result_step: usize,
    pub phases: Vec<Phase>,
    /// Pixels of a line.
    pub merged: usize,
    /// Side of the filter.
    pub kernel: usize,
}

impl Plan {
    /// Forward.
    pub fn forward(shape: &Conv2d) -> Self {
        let Window { kernel, stride, padding } = shape.window;
        Self::correlation(Maps::images(shape), Maps::results(shape), kernel, stride, padding as isize)
    }

    /// Backward to the images.
    pub fn backward(shape: &Conv2d) -> Self {
        let (source, result) = (Maps::results(shape), Maps::images(shape));
        let Window { kernel, stride, padding } = shape.window;
        if stride > 1 {
            return Self::transposed(source, result, shape.window);
        }
        // A correlation with filters turned by 180 degrees.
        let mut plan = Self::correlation(source, result, kernel, 1, kernel as isize - 1 - padding as isize);
        for tap in &mut plan.phases[0].taps {
            // Of several columns, the last one.
            tap.weight = tap.weight.map(|place| kernel - 1 - place);
        }
        plan
    }

    fn correlation(source: Maps, result: Maps, kernel: usize, step: usize, padding: isize) -> Self {
        let merged = (LINE / source.channels).clamp(1, kernel);
        let places = |row: usize| (0..kernel).step_by(merged).map(move |column| [row, column]);
        let places: Vec<[usize; 2]> = (0..kernel).flat_map(places).collect();
        let mut planes: Vec<[usize; 2]> = places.iter().map(|place| place.map(|i| i % step)).collect();
        planes.sort();
        planes.dedup();
        let tap = |[row, column]: [usize; 2]| Tap {
            // The planes are those of all places.
            plane: planes.partition_point(|plane| *plane < [row % step, column % step]),
            row: row / step,
            column: column / step,
            weight: [row, column],
            inner: merged.min(kernel - column) * source.channels,
        };
        let taps = places.into_iter().map(tap).collect();
        let planes = planes.iter().map(|plane| plane.map(|i| i as isize - padding)).collect();
        let size = [result.height, result.width];
        let plan = Self {
            source,
            result,
            step,
            planes,
            pitch: 0,
            reach: [(kernel - 1) / step, (kernel - 1) / merged * merged / step],
            result_step: 1,
            phases: vec![Phase { taps, first: [0; 2], size }],
            merged,
            kernel,
        };
        plan.with_pitch()
    }

    /// A pixel at `stride * m + a - padding` is a sum over t: source at `m - t`, filter at `a + stride * t`.
    fn transposed(source: Maps, result: Maps, Window { kernel, stride, padding }: Window) -> Self {
        // Positions of remainder a begin with the smallest m that has a pixel.
        let begin = |a: usize| padding.saturating_sub(a).div_ceil(stride);
        let taps = |a: usize| if a < kernel { (kernel - 1 - a) / stride + 1 } else { 0 };
        // Zeros before the source, so that no tap lies before its position.
        let border = (0..stride).map(|a| taps(a).saturating_sub(1 + begin(a))).max().unwrap_or(0);
        let offset = |a: usize, t: usize| begin(a) + border - t;
        let first = |a: usize| stride * begin(a) + a - padding;
        let size = |a: usize, side: usize| side.saturating_sub(first(a)).div_ceil(stride);
        let phase = |a: usize, b: usize| {
            let tap = |t: usize, u: usize| Tap {
                plane: 0,
                row: offset(a, t),
                column: offset(b, u),
                weight: [a + stride * t, b + stride * u],
                inner: source.channels,
            };
            let taps = (0..taps(a)).flat_map(|t| (0..taps(b)).map(move |u| tap(t, u))).collect();
            Phase { taps, first: [first(a), first(b)], size: [size(a, result.height), size(b, result.width)] }
        };
        let reach = (0..stride).filter(|a| taps(*a) > 0).map(|a| offset(a, 0)).max().unwrap_or(0);
        let plan = Self {
            source,
            result,
            step: 1,
            planes: vec![[-(border as isize); 2]],
            pitch: 0,
            reach: [reach; 2],
            result_step: stride,
            phases: (0..stride * stride).map(|i| phase(i / stride, i % stride)).collect(),
            merged: 1,
            kernel,
        };
        plan.with_pitch()
    }

    /// With the smallest distance from row to row at which what lies behind the end of a row is zero in it and in the next one.
    fn with_pitch(mut self) -> Self {
        let positions = self.phases.iter().map(|phase| phase.size[1]).max().unwrap_or(0);
        let needed = positions + self.reach[1];
        self.pitch = positions.max(1);
        for &[_, column] in &self.planes {
            let pixels = self.columns(column);
            self.pitch = self.pitch.max(pixels.end.min(needed)).max(needed.saturating_sub(pixels.start));
        }
        self
    }

    /// The positions of a row that have pixels, in a plane whose position 0 has `column`.
    pub fn columns(&self, column: isize) -> Range<usize> {
        let position = |x: isize| x.max(0).unsigned_abs().div_ceil(self.step);
        position(-column - (self.merged as isize - 1))..position(self.source.width as isize - column)
    }

    /// Numbers of a position.
    pub fn inner(&self) -> usize {
        self.merged * self.source.channels
    }

    /// Lines of a position.
    pub fn chunks(&self) -> usize {
        self.inner().div_ceil(LINE)
    }

    /// Rows of positions.
    pub fn rows(&self) -> usize {
        self.phases.iter().map(|phase| phase.size[0]).max().unwrap_or(0)
    }
}

/// Some rows of the positions of some images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Block {
    /// Cuts all positions of a plan into blocks of about `target` lines at most, if an image has `lines` of them: by the shape
    /// alone. Blocks are whole images, or rows of one.
    pub fn cut(plan: &Plan, lines: usize, target: usize) -> Vec<Self> {
        let (images, rows) = (plan.source.count, plan.rows());
        if lines > target {
            let parts = lines.div_ceil(target).min(rows);
            let block = |i: usize| Self {
                images: i / parts..i / parts + 1,
                rows: crate::parallel::part(rows, i % parts, parts),
            };
            (0..images * parts).map(block).collect()
        } else {
            let parts = images.div_ceil(target / lines.max(1)).max(images.min(ENOUGH));
            (0..parts).map(|i| Self { images: crate::parallel::part(images, i, parts), rows: 0..rows }).collect()
        }
    }

    /// Positions from row to row.
    pub fn row_len(&self, pitch: usize) -> usize {
        self.images.len() * pitch
    }

    /// Positions.
    pub fn len(&self, pitch: usize) -> usize {
        self.rows.len() * self.row_len(pitch)
    }
}

/// Blocks that there are at least, so that threads have something to share, if there are images enough.
const ENOUGH: usize = 8;
