//! JPEGs as nearly everybody writes them, which a fast decoder can be trusted with.

use super::segments::{START_OF_SCAN, Segments};

const BASELINE_FRAME: u8 = 0xC0;
const HUFFMAN_TABLES: u8 = 0xC4;
const QUANTIZATION_TABLES: u8 = 0xDB;
const RESTART_INTERVAL: u8 = 0xDD;
const ADOBE: u8 = 0xEE;
const COMMENT: u8 = 0xFE;
const FIRST_RESTART: u8 = 0xD0;
const END: u8 = 0xD9;

/// What an ordinary file's frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    /// One (grey), or three (Y, Cb, Cr).
    pub channels: usize,
    /// Columns and rows of the image, 1 or 2, for one of Cb and Cr.
    pub sampling: [usize; 2],
}

impl Frame {
    /// The frame of a baseline file with one scan of all components, in which nothing is strange up to the end marker.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut frame: Option<Self> = None;
        let mut interval = 0;
        for segment in Segments::of(bytes) {
            let content = segment.content;
            match segment.marker {
                BASELINE_FRAME if frame.is_none() => frame = Some(Self::new(content)?),
                // Tables that change behind the frame header are read otherwise by some.
                QUANTIZATION_TABLES if frame.is_none() => {}
                HUFFMAN_TABLES | COMMENT | 0xE0..=0xED | 0xEF => {}
                RESTART_INTERVAL => interval = usize::from(u16::from_be_bytes(content.try_into().ok()?)),
                ADOBE if content.starts_with(b"Adobe") => {
                    let is_ycc = frame.is_none() && content.get(11) == Some(&1);
                    if !is_ycc {
                        return None;
                    }
                }
                ADOBE => {}
                START_OF_SCAN => {
                    let frame = frame?;
                    let count = frame.channels;
                    let has_all =
                        content.first().map(|n| usize::from(*n)) == Some(count) && content.len() == 4 + 2 * count;
                    return (has_all && restarts_are_in_order(segment.rest, &frame, interval)).then_some(frame);
                }
                _ => return None,
            }
        }
        None
    }

    /// From a frame header of one component, or of Y, Cb and Cr under the numbers that JFIF gives them.
    fn new(content: &[u8]) -> Option<Self> {
        let [8, h1, h0, w1, w0, count, components @ ..] = content else { return None };
        let [height, width] = [[*h1, *h0], [*w1, *w0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        let (channels, sampling) = match components {
            // Of a single component, the factors mean nothing.
            [_, _, table] if *count == 1 && *table < 4 => (1, [1, 1]),
            [1, factors, t1, 2, 0x11, t2, 3, 0x11, t3] if *count == 3 && [t1, t2, t3].iter().all(|t| **t < 4) => {
                (3, [factors >> 4, factors & 15].map(usize::from))
            }
            _ => return None,
        };
        // Planes of one or two columns, which libjpeg enlarges in another way.
        let is_narrow = sampling[0] == 2 && width <= 4;
        let is_ordinary = matches!(sampling, [1 | 2, 1 | 2]) && !is_narrow && width > 0 && height > 0;
        is_ordinary.then_some(Self { width, height, channels, sampling })
    }

    /// Width and height of a group of blocks, in pixels.
    pub fn group(&self) -> [usize; 2] {
        self.sampling.map(|factor| 8 * factor)
    }

    /// Groups of blocks in the image.
    fn groups(&self) -> usize {
        let [width, height] = self.group();
        self.width.div_ceil(width) * self.height.div_ceil(height)
    }
}

/// Whether the markers in a scan are those that the frame and the restart interval (0: none) make, and then the end.
fn restarts_are_in_order(scan: &[u8], frame: &Frame, interval: usize) -> bool {
    let expected = (frame.groups() - 1).checked_div(interval).unwrap_or(0);
    let mut restarts = 0;
    for at in memchr::memchr_iter(0xFF, scan) {
        match scan.get(at + 1) {
            Some(0) => {}
            Some(&marker) if usize::from(marker) == usize::from(FIRST_RESTART) + restarts % 8 => restarts += 1,
            Some(&END) => return restarts == expected,
            _ => return false,
        }
    }
    false
}
