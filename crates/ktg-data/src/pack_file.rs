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
use bytes::{Buf, BufMut, Bytes};
use ktg_base::FileError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ktg-pack";
const VERSION: u32 = 1;
pub(crate) const HEAD: usize = 64;
const ENTRY: usize = 32;
pub(crate) const ALIGNMENT: usize = 64;

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
    /// Of the index, which has the checksums of all pixels, and the description.
    pub checksum: u32,
    pub description: Description,
    pub entries: Vec<Entry>,
}

/// The first bytes of a pack: its length, the places of its index and its description, and their checksum.
pub(crate) fn head(length: u64, index: u64, description: u64, checksum: u32) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.put_u32_le(VERSION);
    head.put_u32_le(checksum);
    [length, index, description].into_iter().for_each(|number| head.put_u64_le(number));
    // Of the head before it, so that no place in it is believed if damaged.
    head.put_u32_le(crc32fast::hash(&head));
    head.resize(HEAD, 0);
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
    if let Ok(pack) = Pack::parse(PathBuf::new(), Bytes::copy_from_slice(bytes)) {
        for i in 0..pack.entries.len() {
            let _ = (pack.check(i), pack.name(i));
        }
    }
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
        let parsed = Self::parse(path.clone(), bytes);
        parsed.map_err(|problem| Error::file(&path, format!("{problem}; make it anew with `ktg data pack`")))
    }

    /// Checks everything but the pixels against each other and the length; the error says what is damaged.
    fn parse(path: PathBuf, bytes: Bytes) -> Result<Self, String> {
        let Some((head, _)) = bytes.split_at_checked(HEAD).filter(|(head, _)| head.starts_with(MAGIC)) else {
            return Err("not a pack, or one that is cut off".into());
        };
        let mut fields = &head[MAGIC.len()..];
        let (version, checksum) = (fields.get_u32_le(), fields.get_u32_le());
        if version != VERSION {
            return Err(format!("a pack of version {version}, but this program reads version {VERSION}"));
        }
        let [length, index, description] = std::array::from_fn(|_| fields.get_u64_le());
        if crc32fast::hash(&head[..40]) != fields.get_u32_le() {
            return Err("its head is damaged".into());
        }
        if length != bytes.len() as u64 {
            return Err(format!("{} bytes instead of {length}: it is cut off or damaged", bytes.len()));
        }
        let part = |from: u64, to: u64| bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?);
        let (Some(index_bytes), Some(text)) = (part(index, description), part(description, length)) else {
            return Err("its head is damaged".into());
        };
        if crc32fast::hash(&bytes[index as usize..]) != checksum {
            return Err("its index is damaged".into());
        }
        let description: Description = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let entries: Vec<Entry> = index_bytes.chunks_exact(ENTRY).map(Entry::from_bytes).collect();
        let sum = description.splits.iter().try_fold(0usize, |sum, (_, images)| sum.checked_add(*images));
        let has_all = sum == Some(entries.len()) && description.names.len() == entries.len();
        if !has_all || !matches!(description.channels, 1 | 3) {
            return Err("its index and its description do not match".into());
        }
        for (i, entry) in entries.iter().enumerate() {
            let pixels = u64::from(entry.width) * u64::from(entry.height);
            let end = entry.place.checked_add(pixels.saturating_mul(description.channels as u64));
            let is_inside = entry.place >= HEAD as u64 && end.is_some_and(|end| end <= index);
            let is_possible = (1..=MAX_PIXELS).contains(&pixels) && (entry.label as usize) < description.classes.len();
            if !(is_inside && is_possible) {
                return Err(format!("the entry of image {i} is impossible"));
            }
        }
        Ok(Self { path, bytes, checksum, description, entries })
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
    /// Appends its `ENTRY` bytes.
    pub fn write(self, index: &mut Vec<u8>) {
        index.put_u64_le(self.place);
        [self.width, self.height, self.label, self.checksum].into_iter().for_each(|number| index.put_u32_le(number));
        index.put_u64_le(0);
    }

    /// From `ENTRY` bytes.
    fn from_bytes(mut bytes: &[u8]) -> Self {
        let place = bytes.get_u64_le();
        let [width, height, label, checksum] = std::array::from_fn(|_| bytes.get_u32_le());
        Self { place, width, height, label, checksum }
    }
}
