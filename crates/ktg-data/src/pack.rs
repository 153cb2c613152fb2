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
//! is opened, the pixels' when they are checked ([`Dataset::check`]).

use crate::{CropBox, DataSource, Dataset, Error, Image, MAX_PIXELS, Splits, parallel};
use bytes::Bytes;
use ktg_base::{FileError, NewFile};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"ktg-pack";
const VERSION: u32 = 1;
const HEAD: usize = 64;
const ENTRY: usize = 32;
const ALIGNMENT: u64 = 64;

/// What a pack holds besides pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The kind of source it was made of.
    source: String,
    /// The shorter side that larger images were reduced to.
    short_side: Option<usize>,
    /// Whether photos were turned as EXIF says.
    upright: bool,
    classes: Vec<String>,
    channels: usize,
    /// Names and numbers of images of the splits, in the order of the index.
    splits: Vec<(String, usize)>,
    /// A name for each image.
    names: Vec<String>,
}

/// One image of the index.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    place: u64,
    width: u32,
    height: u32,
    label: u32,
    checksum: u32,
}

/// An opened pack.
#[derive(Debug)]
pub(crate) struct Pack {
    path: PathBuf,
    bytes: Bytes,
    description: Description,
    entries: Vec<Entry>,
}

/// What [`pack`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSummary {
    /// Images of all splits.
    pub images: usize,
    /// Length of the file.
    pub bytes: u64,
}

/// Writes all images of `splits` as a pack, decoded, and where `short_side` is given and smaller than an image's shorter
/// side, reduced to it (bilinear, antialiased, as the step `resize`).
///
/// `source` names the kind of source, for people. `progress(done, total)` is called now and then, and stops it with
/// `false`. Images are decoded on `threads` threads (0: one a processor); a few images a thread are in memory at a time.
///
/// # Errors
/// [`Error::BadImages`] names the images that cannot be used; a file that cannot be written, or one of that name that is no
/// pack; being stopped. Then there is no new file, and an old one stays.
pub fn pack(
    splits: &Splits,
    source: &str,
    short_side: Option<usize>,
    path: &Path,
    threads: usize,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<PackSummary, Error> {
    let parts: Vec<(&str, &Dataset)> = splits.named().collect();
    let all: Vec<(&Dataset, usize)> =
        parts.iter().flat_map(|(_, part)| (0..part.len()).map(move |i| (*part, i))).collect();
    let write = FileError::of("write", path);
    let mut start = Vec::new();
    if let Ok(old) = File::open(path)
        && !path.is_dir()
        && old.take(MAGIC.len() as u64).read_to_end(&mut start).is_ok()
        && !start.is_empty()
        && start != MAGIC
    {
        return Err(Error::file(path, "is there already and no pack; choose another name"));
    }
    let mut new = NewFile::create(path)?;
    let mut out = BufWriter::new(new.file());
    out.write_all(&[0; HEAD]).map_err(&write)?;
    let (mut place, mut done, mut entries, mut names) = (HEAD as u64, 0, Vec::new(), Vec::new());
    let at_once = 4 * if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let mut bad = Vec::new();
    for chunk in all.chunks(at_once) {
        let decoded = parallel::map(chunk.len(), threads, |i| reduced(chunk[i].0, chunk[i].1, short_side));
        for ((dataset, i), image) in chunk.iter().zip(decoded) {
            // After a bad image nothing is written any more, but all others are named, too.
            let image = match image {
                Ok(image) if bad.is_empty() => image,
                Ok(_) => continue,
                Err(error) => {
                    bad.push(error.to_string());
                    continue;
                }
            };
            let checksum = crc32fast::hash(&image.pixels);
            let (width, height) = (image.width as u32, image.height as u32);
            entries.push(Entry { place, width, height, label: dataset.label(*i), checksum });
            names.push(dataset.short_name(*i));
            out.write_all(&image.pixels).map_err(&write)?;
            place += image.pixels.len() as u64;
            let padding = place.next_multiple_of(ALIGNMENT) - place;
            out.write_all(&[0; ALIGNMENT as usize][..padding as usize]).map_err(&write)?;
            place += padding;
        }
        done += chunk.len();
        if !progress(done, all.len()) {
            return Err(Error::file(path, "stopped before it was complete; nothing is written"));
        }
    }
    if !bad.is_empty() {
        return Err(Error::bad_images(&bad, all.len()));
    }
    let description = Description {
        source: source.into(),
        short_side,
        upright: splits.train.is_upright(),
        classes: splits.train.class_names().to_vec(),
        channels: splits.train.channels(),
        splits: parts.iter().map(|(name, part)| (name.to_string(), part.len())).collect(),
        names,
    };
    let mut tail: Vec<u8> = entries.iter().flat_map(|entry| entry.to_bytes()).collect();
    let description_place = place + tail.len() as u64;
    serde_json::to_writer(&mut tail, &description).map_err(|error| Error::file(path, error.to_string()))?;
    out.write_all(&tail).map_err(&write)?;
    let length = place + tail.len() as u64;
    out.seek(SeekFrom::Start(0)).map_err(&write)?;
    out.write_all(&head(length, place, description_place, crc32fast::hash(&tail))).map_err(&write)?;
    out.into_inner().map_err(|error| write(error.into_error()))?;
    new.commit()?;
    Ok(PackSummary { images: entries.len(), bytes: length })
}

fn reduced(dataset: &Dataset, i: usize, short_side: Option<usize>) -> Result<Arc<Image>, Error> {
    let image = dataset.checked_image(i)?;
    let (width, height) = (image.width, image.height);
    let Some(side) = short_side.filter(|&side| side < width.min(height)) else { return Ok(image) };
    let longer = side * width.max(height) / width.min(height);
    let (to_width, to_height) = if width <= height { (side, longer) } else { (longer, side) };
    let whole = CropBox { left: 0, top: 0, width, height };
    Ok(Arc::new(image.resize(whole, to_width, to_height)?))
}

fn head(length: u64, index: u64, description: u64, checksum: u32) -> [u8; HEAD] {
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

pub(crate) fn open(settings: &DataSource, base: &Path) -> Result<Splits, Error> {
    let Some(file) = &settings.file else {
        return Err(Error::Setting("the data source \"pack\" needs `file`, which `ktg data pack` wrote".into()));
    };
    let path = base.join(file);
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(&path).map_err(|source| Error::read(&path, source))?.is_file() {
        return Err(Error::file(&path, "not a regular file"));
    }
    let opened = File::open(&path).map_err(|source| Error::read(&path, source))?;
    let mapped = ktg_kernels::map_file(&opened).map_err(|source| Error::read(&path, source))?;
    let bytes = Bytes::from_owner(mapped);
    let (description, entries) = parse(&bytes).map_err(|problem| Error::file(&path, problem))?;
    let pack = Arc::new(Pack { path, bytes, description, entries });
    let mut datasets = Vec::new();
    let mut first = 0;
    for (split, images) in &pack.description.splits {
        let labels = pack.entries[first..first + images].iter().map(|entry| entry.label).collect();
        datasets.push((split.as_str(), Dataset::from_pack(split, &pack, first, labels)));
        first += images;
    }
    let mut take = |wanted: &str| datasets.iter().position(|(split, _)| *split == wanted).map(|i| datasets.remove(i).1);
    match (take("train"), take("test"), take("val")) {
        (Some(train), Some(test), val) if !train.is_empty() => {
            let splits = Splits::from_parts([train, test].into_iter().chain(val).collect(), Vec::new())?;
            let Description { source, short_side, .. } = &pack.description;
            let side = short_side.map(|side| format!(", shorter side {side} px at most")).unwrap_or_default();
            Ok(Splits { origin: Some(format!("packed from {source}{side}")), ..splits })
        }
        _ => Err(Error::file(&pack.path, "has no training or no test images; make it anew with `ktg data pack`")),
    }
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
    pub fn class_names(&self) -> &[String] {
        &self.description.classes
    }

    pub fn channels(&self) -> usize {
        self.description.channels
    }

    pub fn is_upright(&self) -> bool {
        self.description.upright
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
    fn to_bytes(self) -> [u8; ENTRY] {
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
