//! IDX files, the format of MNIST and its kin: `images-idx3-ubyte` and `labels-idx1-ubyte`, plain
//! or gzip.

use super::class_names;
use super::place;
use crate::{Dataset, Error, Image, MAX_PIXELS, Splits, classes};
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};

const IMAGES_MAGIC: u32 = 0x0803; // unsigned bytes, 3 dimensions
const LABELS_MAGIC: u32 = 0x0801; // unsigned bytes, 1 dimension
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// More than any IDX file in use (EMNIST: 0.6 GB); a gzip file can unpack to anything.
const MAX_UNPACKED: u64 = 1 << 30;

/// Options of IDX files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idx {
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// Training data: a file of images, with a file of labels beside it. Default: `train-images-idx3-ubyte`; and
    /// `t10k-images-idx3-ubyte`.
    pub train: Option<PathBuf>,
    /// Test data, likewise.
    pub test: Option<PathBuf>,
    /// Validation data, likewise; there is none unless this is given.
    pub val: Option<PathBuf>,
    /// A file of class names, one a line (or `name, number`).
    pub classes: Option<PathBuf>,
    /// The number of the first class. Default 0; 1 for EMNIST letters and other sets that count from 1.
    pub first_label: Option<u32>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default 1.
    pub channels: Option<usize>,
}

impl Idx {
    pub(super) fn open(&self, root: &Path) -> Result<Splits, Error> {
        place::check_root(root)?;
        let channels = place::channels(self.channels, 1)?;
        let given_names = self.classes.as_ref().map(|file| class_names::read(&root.join(file), 1)).transpose()?;

        let first_label = self.first_label.unwrap_or(0);

        let mut parts = Vec::new();
        let usual = ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"];
        for (split, place) in place::parts(root, [&self.train, &self.test, &self.val], usual) {
            let place = plain_or_gz(place);
            let name = place.file_name().unwrap_or_default().to_string_lossy();
            if !place.exists() && name.contains("images") {
                let meant = near(&place, split);
                if place::goes_without(split, &self.test, &place) && meant.is_empty() {
                    parts.push((split, place, Vec::new(), Vec::new()));
                    continue;
                }
                return Err(missing(&place, split, &meant));
            }
            let labels_place = plain_or_gz(labels_beside(&place)?);
            let images = read_images(&place, channels)?;
            let labels = read_labels(&labels_place, first_label)?;
            if images.len() != labels.len() {
                let (images, labels) = (images.len(), labels.len());
                return Err(Error::file(&labels_place, format!("{labels} labels for the {images} images beside it")));
            }
            parts.push((split, labels_place, images, labels));
        }

        let classes = parts[0].3.iter().max().map_or(0, |&max| max as usize + 1);
        let number = |class: usize| (class + first_label as usize).to_string();
        let mut names = given_names.unwrap_or_else(|| (0..classes).map(number).collect());
        // A file of names may have some for the numbers before the first label, as EMNIST's `N/A`.
        if names.len() == classes + first_label as usize {
            names.drain(..first_label as usize);
        }
        let mut datasets: Vec<Dataset> = Vec::new();
        for (split, place, images, labels) in parts {
            if let Some(i) = labels.iter().position(|&label| label as usize >= names.len()) {
                let (label, known) = (labels[i], names.len());
                let whose = if self.classes.is_some() { "the classes file" } else { "the training data" };
                return Err(Error::file(&place, format!("label {i} is {label}, but {whose} has only {known} classes")));
            }
            if let (true, Some(training)) = (images.is_empty(), datasets.first()) {
                datasets.push(training.subset(&[]));
                continue;
            }
            let dataset = Dataset::from_images(split, names.clone(), images, labels)?;
            let missing = if datasets.is_empty() { classes::missing(&dataset) } else { Vec::new() };
            if !missing.is_empty() {
                let what = classes::in_words(&missing);
                let advice = match dataset.labels().iter().min() {
                    Some(1) => "labels must count from 0 on, or from 1 with `first_label = 1`",
                    _ => "labels must count from 0 on",
                };
                return Err(Error::file(&place, format!("no training image of {what}; {advice}")));
            }
            datasets.push(dataset);
        }
        Splits::from_parts(datasets, Vec::new())
    }
}

/// The files beside a missing one that may be meant.
fn near(place: &Path, split: &str) -> Vec<String> {
    let folder = place.parent().unwrap_or(Path::new(""));
    let names =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_meant = |name: &String| {
        let is_test = name.contains("t10k") || name.contains("test");
        name.contains("images") && name.contains("idx3") && is_test == (split != "train")
    };
    let mut near: Vec<String> = names.filter(is_meant).collect();
    near.sort();
    near
}

fn missing(place: &Path, split: &str, meant: &[String]) -> Error {
    let advice = match meant {
        [] => format!("name the file of images with `{split} = \"...\"`"),
        [name] => format!("there is {name}: `{split} = \"{name}\"`"),
        several => format!("there are {}: name one with `{split} = \"...\"`", several.join(", ")),
    };
    Error::file(place, format!("there is no such file, plain or .gz; {advice}"))
}

/// The file itself, or its gzip version where only that exists.
fn plain_or_gz(path: PathBuf) -> PathBuf {
    let mut gz = path.clone().into_os_string();
    gz.push(".gz");
    if !path.exists() && Path::new(&gz).exists() { gz.into() } else { path }
}

/// `train-labels-idx1-ubyte` for `train-images-idx3-ubyte`.
fn labels_beside(images: &Path) -> Result<PathBuf, Error> {
    let name = images.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains("images") {
        let problem = "the name of an IDX image file must contain `images`; its labels are the file of the same name \
                       with `labels` (and idx1 for idx3)";
        return Err(Error::file(images, problem));
    }
    let labels = name.replacen("images", "labels", 1).replacen("idx3", "idx1", 1);
    let labels = images.with_file_name(labels);
    // The images may be packed and the labels not.
    let unpacked = labels.with_extension("");
    let is_gz = labels.extension().is_some_and(|ending| ending == "gz");
    Ok(if is_gz && !labels.exists() && unpacked.exists() { unpacked } else { labels })
}

fn read_images(path: &Path, channels: usize) -> Result<Vec<Image>, Error> {
    let images = parse_images(&read_file(path)?).map_err(|problem| Error::file(path, problem))?;
    Ok(images.iter().map(|image| image.with_channels(channels)).collect())
}

/// Grey images from the content of an IDX file.
pub(crate) fn parse_images(bytes: &[u8]) -> Result<Vec<Image>, String> {
    let ([count, height, width], values) = parse::<3>(bytes, IMAGES_MAGIC)?;
    let size = height * width;
    if size == 0 || size as u64 > MAX_PIXELS {
        return Err(format!("images of {width} x {height} pixels cannot be used"));
    }
    if count == 0 {
        return Err("holds no images".into());
    }
    let image = |gray: &[u8]| Image { width, height, channels: 1, pixels: gray.to_vec().into() };
    Ok(values.chunks_exact(size).map(image).collect())
}

/// Labels counted from 0, in a file that counts from `first`.
fn read_labels(path: &Path, first: u32) -> Result<Vec<u32>, Error> {
    let labels = parse_labels(&read_file(path)?).map_err(|problem| Error::file(path, problem))?;
    let label = |(i, label): (usize, u32)| {
        let problem = || Error::file(path, format!("label {i} is {label}, below `first_label = {first}`"));
        label.checked_sub(first).ok_or_else(problem)
    };
    labels.into_iter().enumerate().map(label).collect()
}

/// Labels from the content of an IDX file.
pub(crate) fn parse_labels(bytes: &[u8]) -> Result<Vec<u32>, String> {
    Ok(parse::<1>(bytes, LABELS_MAGIC)?.1.iter().copied().map(u32::from).collect())
}

/// The dimensions and values of an IDX file of N dimensions, whose product is the number of values.
fn parse<const N: usize>(bytes: &[u8], magic: u32) -> Result<([usize; N], &[u8]), String> {
    let word = |i: usize| {
        let four = bytes.get(4 * i..4 * i + 4).and_then(|four| four.try_into().ok());
        four.map(u32::from_be_bytes).ok_or("the file is cut off within its head")
    };
    let found = word(0)?;
    if found != magic {
        let what = if magic == IMAGES_MAGIC { "images" } else { "labels" };
        return Err(format!("not an IDX file of {what}: it starts with {found:#010x} instead of {magic:#010x}"));
    }
    let mut sizes = [0; N];
    for (i, size) in sizes.iter_mut().enumerate() {
        *size = word(i + 1)? as usize;
    }
    let values = &bytes[4 * (N + 1)..];
    let claimed = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if claimed != Some(values.len()) {
        let present = values.len();
        return Err(format!("its head says {sizes:?} values, but {present} follow; the file is cut off or damaged"));
    }
    Ok((sizes, values))
}

/// The content of a file, unpacked if it is gzip (by its content, whatever its name).
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    if bytes.starts_with(&GZIP_MAGIC) {
        return unpack(&bytes).map_err(|problem| Error::file(path, problem));
    }
    Ok(bytes)
}

/// The content of a gzip file, but little more than the head of the IDX file in it claims.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    const LONGEST_HEAD: u64 = 16;
    let damaged = |error: std::io::Error| format!("the gzip file is cut off or damaged ({error})");
    let mut unpacked = MultiGzDecoder::new(packed);
    let mut bytes = Vec::new();
    unpacked.by_ref().take(LONGEST_HEAD).read_to_end(&mut bytes).map_err(damaged)?;
    let dimensions = bytes.get(3).map_or(0, |&n| usize::from(n));
    let sizes = bytes.chunks_exact(4).skip(1).take(dimensions);
    let size = |four: &[u8]| four.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let claimed = sizes.map(size).fold(1u64, u64::saturating_mul);
    if claimed > MAX_UNPACKED {
        let limit = MAX_UNPACKED >> 20;
        return Err(format!("{claimed} values; more than {limit} MiB must be unpacked with `gunzip` before"));
    }
    // Too many are still noticed.
    unpacked.take(claimed + (1 << 16)).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}
