//! The parts of a JPEG before its pixels.

pub(super) const START_OF_SCAN: u8 = 0xDA;

/// Whether an end marker follows the start of the (first) scan. Inside a scan, FF D9 is always the marker; before it, the
/// segments are skipped by their length, because a thumbnail has an end marker of its own.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let scan = Segments::of(bytes).find(|segment| segment.marker == START_OF_SCAN);
    scan.is_some_and(|scan| scan.rest.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]))
}

/// Width and height, from the last frame header before the first scan.
pub(super) fn size(bytes: &[u8]) -> Option<[u32; 2]> {
    // Of C0 to CF, those for tables and for arithmetic conditioning, and one without a meaning, are no frames.
    let is_frame = |marker| matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC);
    let before_scan = Segments::of(bytes).take_while(|segment| segment.marker != START_OF_SCAN);
    let frame = before_scan.filter(|segment| is_frame(segment.marker)).last()?;
    let [_, h1, h0, w1, w0, ..] = *frame.content else { return None };
    Some([[w1, w0], [h1, h0]].map(|bytes| u32::from(u16::from_be_bytes(bytes))))
}

/// A marker and what belongs to it.
pub(super) struct Segment<'a> {
    pub marker: u8,
    /// Without its length.
    pub content: &'a [u8],
    /// What follows.
    pub rest: &'a [u8],
}

/// The segments of a file. What follows a scan's head is not told apart from segments, so take none after the first
/// [`START_OF_SCAN`].
pub(super) struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.get(2..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [0xFF, 0xFF, _, _, ..] = self.rest {
            self.rest = &self.rest[1..]; // a fill byte
        }
        let [0xFF, marker, high, low, ..] = *self.rest else { return None };
        let end = 2 + usize::from(u16::from_be_bytes([high, low]));
        let content = self.rest.get(4..end).unwrap_or_default();
        self.rest = self.rest.get(end..).unwrap_or_default();
        Some(Segment { marker, content, rest: self.rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_counts_behind_the_scan_only() {
        let thumbnail = [0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 0xFF, 0xD9];
        let mut bytes = [&[0xFF, 0xD8][..], &thumbnail, &[0xFF, 0xFF, START_OF_SCAN, 0, 3, 0, 1, 2]].concat();
        assert!(!is_complete(&bytes));
        assert_eq!(size(&bytes), None);
        let markers: Vec<u8> = Segments::of(&bytes).map(|segment| segment.marker).collect();
        assert_eq!(markers, [0xE1, START_OF_SCAN]);
        bytes.extend([0xFF, 0xD9, 0]);
        assert!(is_complete(&bytes));
        for length in 0..bytes.len() - 3 {
            assert!(!is_complete(&bytes[..length]), "{length}");
        }
    }
}
