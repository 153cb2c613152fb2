//! Packs as a data source, and making one of another source.

use crate::pack_file::{ALIGNMENT, Description, Entry, HEAD, Pack, head, is_other_file};
use crate::{Dataset, Error, Image, Splits, parallel};
use ktg_base::{FileError, NewFile};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    if is_other_file(path) {
        return Err(Error::file(path, "is there already and no pack; choose another name"));
    }
    let write = FileError::of("write", path);
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
                    bad.push(dataset.bad_image(*i, &error));
                    continue;
                }
            };
            let checksum = crc32fast::hash(&image.pixels);
            let (width, height) = (image.width as u32, image.height as u32);
            entries.push(Entry { place, width, height, label: dataset.label(*i), checksum });
            names.push(dataset.short_name(*i));
            let padded = image.pixels.len().next_multiple_of(ALIGNMENT);
            let padding = &[0; ALIGNMENT][..padded - image.pixels.len()];
            out.write_all(&image.pixels).and_then(|()| out.write_all(padding)).map_err(&write)?;
            place += padded as u64;
        }
        done += chunk.len();
        if !progress(done, all.len()) {
            return Err(Error::file(path, "stopped before it was complete; nothing is written"));
        }
    }
    Error::of_bad_images(bad, all.len())?;
    let description = Description {
        source: source.into(),
        short_side,
        upright: splits.train.is_upright(),
        classes: splits.train.class_names().to_vec(),
        channels: splits.train.channels(),
        splits: parts.iter().map(|(name, part)| (name.to_string(), part.len())).collect(),
        names,
    };
    let mut tail = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut tail));
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
    match short_side {
        Some(side) if side < image.width.min(image.height) => Ok(Arc::new(image.resize_shorter_side(side)?)),
        _ => Ok(image),
    }
}

/// Options of a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackFile {
    /// The file that `ktg data pack` wrote.
    pub file: Option<PathBuf>,
}

impl PackFile {
    pub(super) fn open(&self, base: &Path) -> Result<Splits, Error> {
        let Some(file) = &self.file else {
            return Err(Error::Setting("the data source \"pack\" needs `file`, which `ktg data pack` wrote".into()));
        };
        let path = base.join(file);
        let pack = Arc::new(Pack::open(path.clone())?);
        let Description { splits, source, short_side, .. } = &pack.description;
        let mut datasets = HashMap::new();
        let mut first = 0;
        for (split, images) in splits {
            let labels = pack.entries[first..first + images].iter().map(|entry| entry.label).collect();
            datasets.insert(split.as_str(), Dataset::from_pack(split, &pack, first, labels));
            first += images;
        }
        match (datasets.remove("train"), datasets.remove("test"), datasets.remove("val")) {
            (Some(train), Some(test), val) if !train.is_empty() => {
                let splits = Splits::from_parts([train, test].into_iter().chain(val).collect(), Vec::new())?;
                let side = short_side.map(|side| format!(", shorter side {side} px at most")).unwrap_or_default();
                Ok(Splits { origin: Some(format!("packed from {source}{side}")), ..splits })
            }
            _ => Err(Error::file(&path, "has no training or no test images; make it anew with `ktg data pack`")),
        }
    }
}
