//! Decoding: what files become, and what is said about bad ones.

use image::{DynamicImage, Rgb, RgbImage, Rgba, RgbaImage};
use ktg_data::sources::Folder;
use ktg_data::{DataSource, Dataset, Error, Image, SourceKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn error_of(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = Image::open(&path, 3).unwrap_err().to_string();
    assert!(error.contains(name), "the error must name the file: {error}");
    error
}

#[test]
fn channels_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    RgbaImage::from_pixel(2, 1, Rgba([200, 100, 50, 7])).save(&path).unwrap();
    assert_eq!(Image::open(&path, 3).unwrap().pixels[..], [200, 100, 50, 200, 100, 50]); // transparency dropped
    // Pillow: (200 * 19595 + 100 * 38470 + 50 * 7471 + 32768) >> 16
    assert_eq!(Image::open(&path, 1).unwrap().pixels[..], [124, 124]);
    DynamicImage::ImageLuma8(image::GrayImage::from_pixel(1, 1, image::Luma([9]))).save(&path).unwrap();
    assert_eq!(Image::open(&path, 3).unwrap().pixels[..], [9, 9, 9]);
    assert_eq!(Image::open(&path, 1).unwrap().pixels[..], [9]);
}

#[test]
fn the_content_decides_the_format() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["bmp", "gif", "webp", "png"] {
        let path = folder.path().join(format!("a.{format}"));
        RgbImage::from_pixel(3, 2, Rgb([0, 255, 0])).save(&path).unwrap();
        let misnamed = folder.path().join("a.jpg");
        std::fs::rename(&path, &misnamed).unwrap();
        let image = Image::open(&misnamed, 3).unwrap();
        assert_eq!((image.width, image.height, &image.pixels[..3]), (3, 2, &[0, 255, 0][..]), "{format}");
    }
}

#[test]
fn bad_files_are_errors() {
    let jpeg = std::fs::read(fixture("photo.jpg")).unwrap();
    let png = std::fs::read(fixture("photo.png")).unwrap();
    assert!(error_of("empty.jpg", b"").contains("0 bytes"));
    assert!(error_of("text.png", b"hello, I am text").contains("not an image in a known format"));
    assert!(error_of("broken.png", &[&png[..40], &[0; 60]].concat()).contains("damaged"));
    let missing = Image::open(Path::new("nowhere/a.png"), 3).unwrap_err();
    assert!(matches!(&missing, Error::Access(_)) && missing.to_string().contains("nowhere/a.png"));
    // Cut off anywhere.
    for length in (1..jpeg.len() - 1).step_by(97).chain([jpeg.len() - 2]) {
        error_of("cut.jpg", &jpeg[..length]);
    }
    for length in (1..png.len() - 20).step_by(397) {
        error_of("cut.png", &png[..length]);
    }
    assert!(error_of("cut.jpg", &jpeg[..jpeg.len() / 2]).contains("cut off"));
}

#[test]
fn damaged_bytes_never_panic() {
    let jpeg = std::fs::read(fixture("photo.jpg")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    for i in (0..jpeg.len()).step_by(13) {
        let mut bytes = jpeg.clone();
        bytes[i] ^= 0x5A;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(image) = Image::open(&path, 3) {
            assert_eq!(image.pixels.len(), image.width * image.height * 3);
        }
    }
}

#[test]
fn decompression_bombs_are_refused() {
    // A BMP head that claims 60,000 x 60,000 pixels, and no pixels.
    let mut head = b"BM".to_vec();
    for word in [54u32, 0, 54, 40, 60_000, 60_000] {
        head.extend(word.to_le_bytes());
    }
    head.extend([1, 0, 24, 0]);
    head.extend([0; 24]);
    assert!(error_of("bomb.bmp", &head).contains("60000 x 60000"));
}

/// Thirteen images in two classes, the listed ones broken.
fn folder_with(bad: &[usize]) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..13 {
        let class = folder.path().join("train").join(["cat", "dog"][i % 2]);
        std::fs::create_dir_all(&class).unwrap();
        let path = class.join(format!("{i:02}.png"));
        match bad.contains(&i) {
            true => std::fs::write(path, "").unwrap(),
            false => RgbImage::from_pixel(4, 3, Rgb([i as u8, 0, 0])).save(path).unwrap(),
        }
    }
    let options = Folder { root: Some(".".into()), test: Some("train".into()), ..Folder::default() };
    let source = DataSource { kind: SourceKind::Folder(options), skip: None };
    let train = source.open(folder.path()).unwrap().train;
    (folder, train)
}

#[test]
fn check_fills_the_cache_and_reports_progress() {
    let (folder, train) = folder_with(&[]);
    let calls = AtomicUsize::new(0);
    let progress = |done, total| {
        assert!((1..=13).contains(&done) && total == 13);
        calls.fetch_add(1, Ordering::Relaxed);
    };
    train.check(3, &progress).unwrap();
    assert_eq!(calls.into_inner(), 13);
    assert_eq!(train.cached_bytes(), 13 * 36);
    // All in memory: the files are not needed any more, not even by subsets.
    drop(folder);
    assert_eq!(train.subset(&[12]).image(0).unwrap().pixels[0], 11);
}

#[test]
fn the_cache_keeps_to_its_limit() {
    let (_folder, train) = folder_with(&[]);
    train.set_cache_limit(100); // two images of 36 bytes
    train.check(2, &|_, _| {}).unwrap();
    assert_eq!(train.cached_bytes(), 72);
    for i in 0..13 {
        assert_eq!(train.image(i).unwrap().width, 4);
    }
}

#[test]
fn check_counts_and_names_bad_images() {
    let (_folder, train) = folder_with(&[2, 7]);
    let error = train.check(2, &|_, _| {}).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("2 of 13 images cannot be used"), "{text}");
    assert!(text.contains("02.png") && text.contains("07.png") && text.contains("0 bytes"), "{text}");

    let (_folder, train) = folder_with(&(0..13).collect::<Vec<_>>());
    let Error::BadImages { bad, total, first } = train.check(0, &|_, _| {}).unwrap_err() else { panic!() };
    assert_eq!((bad, total, first.len()), (13, 13, 10));
    assert!(first[0].contains("00.png"), "in the order of the data set: {}", first[0]);
}
