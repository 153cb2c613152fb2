//! A list of labelled images.

use crate::cache::{Budget, Cache};
use crate::pack_file::{Description, Pack};
use crate::random::Purpose;
use crate::{BadImage, Error, Image, order, parallel};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A list of labelled images, all of the same number of channels.
///
/// Files are decoded when they are asked for, and kept in memory while the cache has room (1 GiB
/// for the splits of a [`DataSource`](crate::DataSource) together, unless set otherwise). Clones
/// and subsets are cheap: they share images and cache.
#[derive(Clone, Debug)]
pub struct Dataset {
    store: Arc<Store>,
    /// Position in the store of each sample.
    positions: Arc<[usize]>,
    /// Label of each sample.
    labels: Arc<[u32]>,
}

/// What all subsets share.
#[derive(Debug)]
struct Store {
    /// `train`, `val` or `test`.
    split: String,
    class_names: Arc<[String]>,
    channels: usize,
    images: Images,
}

#[derive(Debug)]
enum Images {
    Files {
        paths: Vec<PathBuf>,
        /// Folder that is left out of short names.
        root: PathBuf,
        cache: Cache,
        upright: bool,
    },
    /// The images of a pack from `first` on.
    Packed {
        pack: Arc<Pack>,
        first: usize,
    },
    Memory(Vec<Arc<Image>>),
}

/// How image files are read.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Folder of the data set.
    pub root: PathBuf,
    pub channels: usize,
    /// Turned as EXIF says.
    pub upright: bool,
    pub budget: Arc<Budget>,
}

impl Dataset {
    /// A data set of images that are in memory already.
    ///
    /// `split` (such as `train`) is used in [`name_of`](Self::name_of); `labels[i]`, the class of
    /// image i, indexes `class_names`.
    ///
    /// # Errors
    /// If there are no images, the numbers of images and labels differ, a label has no class name,
    /// or the images differ in their number of channels.
    pub fn from_images(
        split: &str,
        class_names: Vec<String>,
        images: Vec<Image>,
        labels: Vec<u32>,
    ) -> Result<Self, Error> {
        let setting = |problem: String| Err(Error::Setting(format!("{split} images: {problem}")));
        let Some(channels) = images.first().map(|image| image.channels) else {
            return setting("there are none".into());
        };
        if let Some(i) = images.iter().position(|image| image.channels != channels) {
            return setting(format!("image {i} has {} channels, image 0 has {channels}", images[i].channels));
        }
        if images.len() != labels.len() {
            return setting(format!("{} images but {} labels", images.len(), labels.len()));
        }
        if let Some(&label) = labels.iter().find(|&&label| label as usize >= class_names.len()) {
            return setting(format!("label {label}, but there are only {} class names", class_names.len()));
        }
        let images = images.into_iter().map(Arc::new).collect();
        Ok(Self::new(split, class_names.into(), channels, Images::Memory(images), labels))
    }

    /// A data set of image files, whose labels index `class_names`. The caller has checked the
    /// lengths.
    pub(crate) fn from_files(
        split: &str,
        class_names: Arc<[String]>,
        (paths, labels): (Vec<PathBuf>, Vec<u32>),
        files: &Files,
    ) -> Self {
        let cache = Cache::new(paths.len(), files.budget.clone());
        let images = Images::Files { paths, root: files.root.clone(), cache, upright: files.upright };
        Self::new(split, class_names, files.channels, images, labels)
    }

    /// A data set of the images of a pack from `first` on. The caller has checked that they are there.
    pub(crate) fn from_pack(split: &str, pack: &Arc<Pack>, first: usize, labels: Vec<u32>) -> Self {
        let images = Images::Packed { pack: pack.clone(), first };
        let Description { classes, channels, .. } = &pack.description;
        Self::new(split, classes.as_slice().into(), *channels, images, labels)
    }

    fn new(split: &str, class_names: Arc<[String]>, channels: usize, images: Images, labels: Vec<u32>) -> Self {
        Self {
            positions: (0..labels.len()).collect(),
            labels: labels.into(),
            store: Arc::new(Store { split: split.to_string(), class_names, channels, images }),
        }
    }

    /// Names of all classes; a label is an index into them.
    pub fn class_names(&self) -> &[String] {
        &self.store.class_names
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.store.class_names.len()
    }

    /// Channels of every image: 1 or 3.
    pub fn channels(&self) -> usize {
        self.store.channels
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images (possible for a subset, and for test images that nobody gave).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Class of image `i`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn label(&self, i: usize) -> u32 {
        self.labels[i]
    }

    /// Classes of all images.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes()];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// A name for image `i` to show to people: its path, or `train image 17`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn name_of(&self, i: usize) -> String {
        let position = self.positions[i];
        match &self.store.images {
            Images::Files { paths, .. } => paths[position].display().to_string(),
            Images::Memory(_) => format!("{} image {position}", self.store.split),
            Images::Packed { pack, first } => pack.name(first + position).to_string(),
        }
    }

    /// The name of image `i` without the folder that the data set lies in, the same wherever that is.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn short_name(&self, i: usize) -> String {
        let Images::Files { paths, root, .. } = &self.store.images else { return self.name_of(i) };
        let path = &paths[self.positions[i]];
        plain_name(path.strip_prefix(root).unwrap_or(path))
    }

    /// The file of image `i`, if it is one.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn path(&self, i: usize) -> Option<&Path> {
        let Images::Files { paths, .. } = &self.store.images else { return None };
        Some(&paths[self.positions[i]])
    }

    /// Image `i`, from the cache or decoded now.
    ///
    /// # Errors
    /// Names the file if it cannot be read or decoded.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn image(&self, i: usize) -> Result<Arc<Image>, Error> {
        let position = self.positions[i];
        match &self.store.images {
            Images::Memory(images) => Ok(images[position].clone()),
            Images::Packed { pack, first } => Ok(Arc::new(pack.image(first + position))),
            Images::Files { paths, cache, upright, .. } => {
                if let Some(image) = cache.get(position) {
                    return Ok(image);
                }
                let image = Arc::new(Image::read(&paths[position], self.store.channels, *upright)?);
                cache.offer(position, &image);
                Ok(image)
            }
        }
    }

    /// Image `i`; one of a pack only if its pixels match their checksum.
    pub(crate) fn checked_image(&self, i: usize) -> Result<Arc<Image>, Error> {
        if let Images::Packed { pack, first } = &self.store.images {
            pack.check(first + self.positions[i])?;
        }
        self.image(i)
    }

    /// Whether photos are turned and mirrored as EXIF says.
    pub fn is_upright(&self) -> bool {
        match &self.store.images {
            Images::Files { upright, .. } => *upright,
            Images::Memory(_) => false,
            Images::Packed { pack, .. } => pack.description.upright,
        }
    }

    /// For a pack, a checksum that changes whenever any pixel of it does.
    pub fn pack_checksum(&self) -> Option<u32> {
        let Images::Packed { pack, .. } = &self.store.images else { return None };
        Some(pack.checksum)
    }

    /// The samples `indices` of this data set, in that order, as a data set of their own.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            store: self.store.clone(),
            positions: indices.iter().map(|&i| self.positions[i]).collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }

    /// The first `n` images of every class (all of a class that has fewer), in the order of this
    /// data set.
    pub fn take_per_class(&self, n: usize) -> Self {
        let mut taken = vec![0; self.classes()];
        let mut indices: Vec<usize> = (0..self.len()).collect();
        indices.retain(|&i| {
            let count = &mut taken[self.labels[i] as usize];
            *count += 1;
            *count <= n
        });
        self.subset(&indices)
    }

    /// A random `share` (above 0, up to 1) of every class, in the order of this data set.
    ///
    /// # Errors
    /// If the share is not above 0 and at most 1.
    pub fn fraction(&self, share: f64, seed: u64) -> Result<Self, Error> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::Setting(format!("a share of the data of {share}: it must be above 0 and at most 1")));
        }
        Ok(self.subset(&order::split(&self.labels, share, seed, Purpose::Subset).0))
    }

    /// Two data sets, class by class: see [`stratified_split`](crate::stratified_split).
    pub fn split(&self, share_of_first: f64, seed: u64) -> (Self, Self) {
        let (first, second) = order::stratified_split(&self.labels, share_of_first, seed);
        (self.subset(&first), self.subset(&second))
    }

    /// Sets how many bytes of decoded images may be kept in memory, for all data sets opened
    /// together with this one. What is cached already stays.
    pub fn set_cache_limit(&self, bytes: usize) {
        if let Images::Files { cache, .. } = &self.store.images {
            cache.budget().set_limit(bytes);
        }
    }

    /// Bytes of decoded images in the cache, of all data sets opened together with this one.
    pub fn cached_bytes(&self) -> usize {
        let Images::Files { cache, .. } = &self.store.images else { return 0 };
        cache.budget().used()
    }

    /// Decodes every image on `threads` threads (0: one a processor), which also fills the cache; a pack's images are
    /// compared with their checksums. The images that cannot be used, in the order of the data set.
    ///
    /// `progress(done, total)` is called after each image, from any of the threads.
    pub fn bad_images(&self, threads: usize, progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<BadImage> {
        let done = AtomicUsize::new(0);
        let look = |i: usize| {
            let problem = self.checked_image(i).err();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, self.len());
            problem.map(|error| self.bad_image(i, &error))
        };
        parallel::map(self.len(), threads, look).into_iter().flatten().collect()
    }

    /// Image `i` as one that cannot be used.
    pub(crate) fn bad_image(&self, i: usize, error: &Error) -> BadImage {
        BadImage { index: i, name: self.short_name(i), problem: error.to_string() }
    }

    /// Looks at every image as [`bad_images`](Self::bad_images) does.
    ///
    /// # Errors
    /// [`Error::BadImages`] counts the images that cannot be used and names the first ones.
    pub fn check(&self, threads: usize, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<(), Error> {
        Error::of_bad_images(self.bad_images(threads, progress), self.len())
    }
}

/// A path as a line of text: as it is, but for one that is not UTF-8 or that a list would not give back, which is
/// escaped as a byte string of Rust; and so is one with a backslash, lest it be taken for an escaped one (on Windows it
/// separates folders).
fn plain_name(path: &Path) -> String {
    let is_plain = |text: &&str| {
        let escapes = |c: char| c.is_control() || (c == '\\' && !cfg!(windows));
        !text.contains(escapes) && text.trim() == *text && !text.starts_with(['#', '\u{FEFF}'])
    };
    if let Some(text) = path.to_str().filter(is_plain) {
        return text.to_string();
    }
    let escaped = path.as_os_str().as_encoded_bytes().escape_ascii().to_string();
    let escaped = match escaped.strip_prefix(['#', ' ']) {
        Some(rest) => format!("\\x{:02x}{rest}", escaped.as_bytes()[0]),
        None => escaped,
    };
    escaped.strip_suffix(' ').map(|rest| format!("{rest}\\x20")).unwrap_or(escaped)
}
