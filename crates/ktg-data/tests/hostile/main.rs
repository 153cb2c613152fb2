//! Hostile input: what a user is told about strange, damaged, huge and changing files.
//! All kinds of JPEG, PNG and so on are in `torchvision.rs`; memory is in `hostile_memory.rs`.

#![cfg(unix)]

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma, Rgb, RgbImage};
use ktg_base::NewFile;
use ktg_data::*;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

mod folders;
mod images;
mod lists;
mod names;
mod packs;
mod splits;

/// A temporary folder to fill.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One training and one test image of the classes cat and dog.
    fn with_classes() -> Self {
        let folder = Self::new();
        for (i, path) in
            ["train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/dog/d.png"].into_iter().enumerate()
        {
            folder.image(path, i as u8);
        }
        folder
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(path)
    }

    /// The place of a new file in folders that are there.
    fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.place(path), content).unwrap();
        self
    }

    fn image(&self, path: impl AsRef<Path>, value: u8) -> &Self {
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbImage::from_pixel(3, 2, Rgb([value; 3])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        self.write(path, bytes.into_inner())
    }

    /// Whether a file was begun and neither finished nor taken away.
    fn has_unfinished_files(&self) -> bool {
        fs::read_dir(self.0.path()).unwrap().any(|entry| entry.unwrap().path().extension() == Some(OsStr::new("tmp")))
    }

    /// Opens it; a test that would wait forever fails instead.
    fn open(&self, settings: &DataSource) -> Result<Splits, String> {
        let (settings, base) = (settings.clone(), self.0.path().to_path_buf());
        soon(move || settings.open(&base).map_err(|error| error.to_string()))
    }

    fn error(&self, settings: &DataSource) -> String {
        self.open(settings).unwrap_err()
    }

    fn error_of_image(&self, path: impl AsRef<Path>) -> String {
        let path = self.path(path);
        soon(move || Image::open(&path, 3).unwrap_err().to_string())
    }

    /// Writes the folder source at its top as a pack.
    fn pack(&self, name: &str, short_side: Option<usize>) -> PathBuf {
        pack(&self.open(&folders()).unwrap(), "folder", short_side, &self.path(name), 2, &|_, _| true).unwrap();
        self.path(name)
    }
}

/// The result of work that must not wait for anything.
#[track_caller]
fn soon<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("it hangs or has panicked")
}

fn source(name: &str) -> DataSource {
    source_with(name, json!({}))
}

/// A source at the top of the folder, unless the options say otherwise.
fn source_with(name: &str, options: Value) -> DataSource {
    let mut settings = json!({"source": name, "root": "."});
    settings.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

fn folders() -> DataSource {
    source("folder")
}

fn packed(file: &str) -> DataSource {
    source_with("pack", json!({"file": file, "root": null}))
}

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn not_utf8(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in: {text}");
    }
}

fn names(dataset: &Dataset) -> Vec<String> {
    (0..dataset.len()).map(|i| dataset.short_name(i)).collect()
}

fn images(dataset: &Dataset) -> Vec<Image> {
    (0..dataset.len()).map(|i| dataset.image(i).unwrap().as_ref().clone()).collect()
}

fn check(splits: &Splits) -> Vec<String> {
    splits.bad_images(2, &|_, _| {}).into_iter().map(|bad| bad.problem).collect()
}

fn lists() -> Folder {
    let folder = Folder::new();
    folder.image("i/0.png", 0).image("i/1.png", 1).write("test.txt", "i/0.png, 0");
    folder
}
