//! Which part of the memory is free.

/// A piece of memory for one image's share of a value: everything is planned for one image, and `n` images need `n` times
/// as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The images themselves.
    Images,
    /// In the node's own memory, which outlives a pass: the offset.
    Kept(usize),
    /// In the memory that all nodes share: the offset.
    Shared(usize),
}

/// Sizes are rounded up to whole cache lines.
const LINE: usize = 16;

/// Gives out pieces of one memory, and takes them back.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    /// Offset and length of the pieces that are in use, in order.
    used: Vec<(usize, usize)>,
    /// Length that was ever needed.
    pub peak: usize,
}

impl Allocator {
    /// The first gap of `len` values; the memory grows if there is none.
    pub fn take(&mut self, len: usize) -> usize {
        self.find(len, usize::MAX).expect("the memory grows")
    }

    /// The first gap of `len` values, if there is one in what was ever needed.
    pub fn take_gap(&mut self, len: usize) -> Option<usize> {
        self.find(len, self.peak)
    }

    fn find(&mut self, len: usize, limit: usize) -> Option<usize> {
        let len = len.next_multiple_of(LINE);
        let (mut start, mut at) = (0, 0);
        for (offset, used) in &self.used {
            if start + len <= *offset {
                break;
            }
            (start, at) = (offset + used, at + 1);
        }
        if start.checked_add(len)? > limit {
            return None;
        }
        self.used.insert(at, (start, len));
        self.peak = self.peak.max(start + len);
        Some(start)
    }

    /// Takes back the piece at `offset`.
    pub fn give_back(&mut self, offset: usize) {
        let at = self.used.iter().position(|(start, _)| *start == offset);
        self.used.remove(at.expect("a piece that was given out"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_used_again_and_pieces_never_overlap() {
        let mut memory = Allocator::default();
        assert_eq!([memory.take(16), memory.take(20), memory.take(5)], [0, 16, 48]);
        assert_eq!(memory.peak, 64);
        memory.give_back(16);
        assert_eq!(memory.take_gap(33), None);
        assert_eq!([memory.take_gap(10), memory.take_gap(16), memory.take_gap(1)], [Some(16), Some(32), None]);
        assert_eq!((memory.take(1), memory.peak), (64, 80));
    }
}
