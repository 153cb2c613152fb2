//! Packs: decoded images in one file that is mapped into memory.
//!
//! ```text
//! head        64 bytes: "ktg-pack", version, length of the file, places of index and description, their checksum
//! pixels      of each image, row by row, colours together; each image starts at a multiple of 64
//! index       32 bytes an image: place, width, height, label, checksum of its pixels
//! description JSON: classes, channels, splits, names of the images, what it was made of
//! ```
//!
//! Numbers are little-endian, checksums CRC-32. A pack is written under another name and renamed when it is complete, so
//! whatever bears its name was complete once; the length and the checksum of index and description are looked at when it
//! is opened, the pixels' when they are checked ([`crate::Dataset::check`]).

use crate::{Error, Image, MAX_PIXELS};
use bytes::Bytes;
use ktg_base::FileError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ktg-pack";
const VERSION: u32 = 1;
pub(crate) const HEAD: usize = 64;
const ENTRY: usize = 32;
pub(crate) const ALIGNMENT: u64 = 64;

/// What a pack holds besides pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The kind of source it was made of.
    pub source: String,
    /// The shorter side that larger images were reduced to.
    pub short_side: Option<usize>,
    /// Whether photos were turned as EXIF says.
    pub upright: bool,
    pub classes: Vec<String>,
    pub channels: usize,
    /// Names and numbers of images of the splits, in the order of the index.
    pub splits: Vec<(String, usize)>,
    /// A name for each image.
    pub names: Vec<String>,
}

/// One image of the index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub place: u64,
    pub width: u32,
    pub height: u32,
    pub label: u32,
    pub checksum: u32,
}

/// An opened pack.
#[derive(Debug)]
pub(crate) struct Pack {
    path: PathBuf,
    bytes: Bytes,
    pub description: Description,
    pub entries: Vec<Entry>,
}

/// The first bytes of a pack: its length, the places of its index and its description, and their checksum.
pub(crate) fn head(length: u64, index: u64, description: u64, checksum: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    for (bytes, number) in head[16..40].chunks_exact_mut(8).zip([length, index, description]) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    // Of the head before it, so that no place in it is believed if damaged.
    let own = crc32fast::hash(&head[..40]);
    head[40..44].copy_from_slice(&own.to_le_bytes());
    head
}

/// Whether there is a file that is not empty and no pack.
pub(crate) fn is_other_file(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.is_ok() && !start.is_empty() && start != MAGIC
}

/// Reads all images of what may be a pack.
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok((description, entries)) = parse(bytes) {
        let pack = Pack { path: PathBuf::new(), bytes: Bytes::copy_from_slice(bytes), description, entries };
        for i in 0..pack.entries.len() {
            let _ = (pack.check(i), pack.name(i));
        }
    }
}

/// Description and index of a pack, everything in them checked against its length.
fn parse(bytes: &[u8]) -> Result<(Description, Vec<Entry>), String> {
    const AGAIN: &str = "make it anew with `ktg data pack`";
    let damaged = |what: &str| format!("{what}; {AGAIN}");
    let Some((head, _)) = bytes.split_at_checked(HEAD).filter(|(head, _)| head.starts_with(MAGIC)) else {
        return Err(damaged("not a pack, or one that is cut off"));
    };
    let version = u32_at(head, 8);
    if version != VERSION {
        return Err(damaged(&format!("a pack of version {version}, but this program reads version {VERSION}")));
    }
    if u32_at(head, 40) != crc32fast::hash(&head[..40]) {
        return Err(damaged("its head is damaged"));
    }
    let [length, index, description] = [16, 24, 32].map(|at| u64_at(head, at));
    if length != bytes.len() as u64 {
        return Err(damaged(&format!("{} bytes instead of {length}: it is cut off or damaged", bytes.len())));
    }
    let tail = usize::try_from(index).ok().and_then(|index| bytes.get(index..));
    let entries = usize::try_from(description).ok().and_then(|end| bytes.get(index as usize..end));
    let (Some(tail), Some(entries)) = (tail, entries) else { return Err(damaged("its head is damaged")) };
    if u32_at(head, 12) != crc32fast::hash(tail) {
        return Err(damaged("its index is damaged"));
    }
    let text = &tail[entries.len()..];
    let description: Description = serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
    let entries: Vec<Entry> = entries.chunks_exact(ENTRY).map(Entry::from_bytes).collect();
    let sum = description.splits.iter().try_fold(0usize, |sum, (_, images)| sum.checked_add(*images));
    if sum != Some(entries.len()) || description.names.len() != entries.len() || !matches!(description.channels, 1 | 3)
    {
        return Err(damaged("its index and its description do not match"));
    }
    for (i, entry) in entries.iter().enumerate() {
        let pixels = u64::from(entry.width) * u64::from(entry.height);
        let end = entry.place.checked_add(pixels.saturating_mul(description.channels as u64));
        let is_inside = entry.place >= HEAD as u64 && end.is_some_and(|end| end <= index);
        let is_possible = (1..=MAX_PIXELS).contains(&pixels) && (entry.label as usize) < description.classes.len();
        if !(is_inside && is_possible) {
            return Err(damaged(&format!("the entry of image {i} is impossible")));
        }
    }
    Ok((description, entries))
}

impl Pack {
    /// Maps a pack into memory.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let read = FileError::of("read", &path);
        // Opening a pipe would wait for a writer.
        if !std::fs::metadata(&path).map_err(&read)?.is_file() {
            return Err(Error::file(&path, "not a regular file"));
        }
        let opened = File::open(&path).map_err(&read)?;
        let bytes = Bytes::from_owner(ktg_kernels::map_file(&opened).map_err(&read)?);
        let (description, entries) = parse(&bytes).map_err(|problem| Error::file(&path, problem))?;
        Ok(Self { path, bytes, description, entries })
    }

    /// Of the index, which has the checksums of all pixels, and the description.
    pub fn checksum(&self) -> u32 {
        u32_at(&self.bytes, 12)
    }

    pub fn name(&self, i: usize) -> &str {
        &self.description.names[i]
    }

    /// Image `i`, whose pixels stay where they are.
    pub fn image(&self, i: usize) -> Image {
        let Entry { place, width, height, .. } = self.entries[i];
        let (width, height, channels) = (width as usize, height as usize, self.description.channels);
        let place = place as usize; // inside the mapping: `parse` has checked it
        Image { width, height, channels, pixels: self.bytes.slice(place..place + width * height * channels) }
    }

    /// Compares the pixels of image `i` with their checksum.
    pub fn check(&self, i: usize) -> Result<(), Error> {
        if crc32fast::hash(&self.image(i).pixels) == self.entries[i].checksum {
            return Ok(());
        }
        let name = format!("{} in {}", self.name(i), self.path.display());
        Err(Error::image(name, "its pixels are damaged; make the pack anew with `ktg data pack`"))
    }
}

impl Entry {
    pub fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&self.place.to_le_bytes());
        for (bytes, n) in bytes[8..24].chunks_exact_mut(4).zip([self.width, self.height, self.label, self.checksum]) {
            bytes.copy_from_slice(&n.to_le_bytes());
        }
        bytes
    }

    /// From `ENTRY` bytes.
    fn from_bytes(bytes: &[u8]) -> Self {
        let [width, height, label, checksum] = [8, 12, 16, 20].map(|at| u32_at(bytes, at));
        Self { place: u64_at(bytes, 0), width, height, label, checksum }
    }
}

/// The number at a place that is inside.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
