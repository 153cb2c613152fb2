//! Parts of two memories, borrowed at the same time.

use super::places::Place;

/// What a pass works in: the images, the node's own memory and the shared one.
pub(crate) struct Memory<'a> {
    pub images: &'a [f32],
    pub kept: &'a mut [f32],
    pub shared: &'a mut [f32],
    /// Number of images.
    pub count: usize,
}

/// A place, and how many f32 numbers of one image would lie there.
pub(crate) type Span = (Place, usize);

impl Memory<'_> {
    /// What is written, and what is read.
    pub fn split<const R: usize>(&mut self, write: Span, reads: [Span; R]) -> (&mut [f32], [&[f32]; R]) {
        let ([write], reads) = self.split_all([write], reads);
        (write, reads)
    }

    /// As [`split`](Self::split), for up to two places that are written.
    ///
    /// # Panics
    ///
    /// Panics if a place that is written overlaps another: the plan is wrong then.
    pub fn split_all<const W: usize, const R: usize>(
        &mut self,
        writes: [Span; W],
        reads: [Span; R],
    ) -> ([&mut [f32]; W], [&[f32]; R]) {
        let count = self.count;
        let (mut kept, mut shared) = (Pieces::of(self.kept), Pieces::of(self.shared));
        let writes = writes.map(|(place, len)| match place {
            Place::Images => panic!("images are never written"),
            Place::Kept(offset) => kept.cut(offset * count, len * count),
            Place::Shared(offset) => shared.cut(offset * count, len * count),
        });
        let (kept, shared) = (kept.readable(), shared.readable());
        let reads = reads.map(|(place, len)| match place {
            Place::Images => &self.images[..len * count],
            Place::Kept(offset) => get(&kept, offset * count, len * count),
            Place::Shared(offset) => get(&shared, offset * count, len * count),
        });
        (writes, reads)
    }

    /// For what is computed from `x` to `gives`, in place if they are the same: what is written, then `x` if it lies apart, and
    /// what is added.
    pub fn split_in_place(
        &mut self,
        gives: Span,
        x: Span,
        added: Option<Span>,
    ) -> (&mut [f32], Option<&[f32]>, Option<&[f32]>) {
        match added {
            _ if x != gives => {
                let (y, [x, other]) = self.split(gives, [x, added.unwrap_or(x)]);
                (y, Some(x), added.map(|_| other))
            }
            Some(added) => {
                let (y, [other]) = self.split(gives, [added]);
                (y, None, Some(other))
            }
            None => (self.split(gives, []).0, None, None),
        }
    }

    /// As [`split`](Self::split), with a second place that is written, if it lies apart from the first.
    pub fn split_apart<const R: usize>(
        &mut self,
        write: Span,
        apart: Option<Span>,
        reads: [Span; R],
    ) -> (&mut [f32], Option<&mut [f32]>, [&[f32]; R]) {
        match apart.filter(|apart| *apart != write) {
            Some(apart) => {
                let ([write, apart], reads) = self.split_all([write, apart], reads);
                (write, Some(apart), reads)
            }
            None => {
                let (write, reads) = self.split(write, reads);
                (write, None, reads)
            }
        }
    }

    /// What is read.
    pub fn get(&self, (place, len): Span) -> &[f32] {
        match place {
            Place::Images => &self.images[..len * self.count],
            Place::Kept(offset) => &self.kept[offset * self.count..][..len * self.count],
            Place::Shared(offset) => &self.shared[offset * self.count..][..len * self.count],
        }
    }
}

/// As many pieces as are left when two are cut out of a memory.
const PIECES: usize = 3;

/// What is left of a memory, piece by piece with where it starts.
struct Pieces<'a>([(usize, &'a mut [f32]); PIECES]);

impl<'a> Pieces<'a> {
    fn of(memory: &'a mut [f32]) -> Self {
        Self([(0, memory), (0, &mut []), (0, &mut [])])
    }

    /// Takes `len` values from `start` on out of it.
    fn cut(&mut self, start: usize, len: usize) -> &'a mut [f32] {
        let holds = |(first, piece): &&mut (usize, &mut [f32])| *first <= start && start + len <= first + piece.len();
        let piece = self.0.iter_mut().find(holds).expect("a place that is written overlaps no other");
        let (first, whole) = std::mem::take(piece);
        let (before, rest) = whole.split_at_mut(start - first);
        let (cut, behind) = rest.split_at_mut(len);
        *piece = (first, before);
        let free = self.0.iter_mut().find(|(_, piece)| piece.is_empty()).expect("not more than two places are written");
        *free = (start + len, behind);
        cut
    }

    fn readable(self) -> [(usize, &'a [f32]); PIECES] {
        self.0.map(|(first, piece)| (first, &*piece))
    }
}

fn get<'a>(pieces: &[(usize, &'a [f32])], start: usize, len: usize) -> &'a [f32] {
    let holds = |(first, piece): &&(usize, &[f32])| *first <= start && start + len <= first + piece.len();
    let (first, piece) = pieces.iter().find(holds).expect("a place that is read overlaps none that is written");
    &piece[start - first..][..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_borrowed_together_unless_they_overlap() {
        let mut kept: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let mut shared = kept.clone();
        let images = [7.0, 8.0];
        let mut memory = Memory { images: &images, kept: &mut kept, shared: &mut shared, count: 2 };
        let reads = [(Place::Kept(0), 2), (Place::Images, 1), (Place::Kept(8), 2), (Place::Kept(0), 1)];
        let ([a, b], [c, d, e, f]) = memory.split_all([(Place::Kept(6), 2), (Place::Kept(2), 2)], reads);
        assert_eq!((&*a, &*b), (&[12.0, 13.0, 14.0, 15.0][..], &[4.0, 5.0, 6.0, 7.0][..]));
        assert_eq!((c, d), (&[0.0, 1.0, 2.0, 3.0][..], &[7.0, 8.0][..]));
        assert_eq!((e, f), (&[16.0, 17.0, 18.0, 19.0][..], &[0.0, 1.0][..]));
        assert_eq!(memory.get((Place::Shared(1), 1)), [2.0, 3.0]);
        let overlap = std::panic::AssertUnwindSafe(|| {
            memory.split((Place::Shared(1), 2), [(Place::Shared(2), 1)]);
        });
        assert!(std::panic::catch_unwind(overlap).is_err());
    }
}
