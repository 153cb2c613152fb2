//! Hostile input: what a user is told about strange, damaged, huge and changing files.
//! All kinds of JPEG, PNG and so on are in `torchvision.rs`; memory is in `hostile_memory.rs`.

#![cfg(unix)]

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma, Rgb, RgbImage};
use ktg_data::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

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
        pack(&self.open(&folders()).unwrap(), "folder", short_side, &self.path(name), 2, &|_, _| {}).unwrap();
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
    DataSource { source: name.into(), root: Some(".".into()), ..Default::default() }
}

fn folders() -> DataSource {
    source("folder")
}

fn packed(file: &str) -> DataSource {
    DataSource { source: "pack".into(), file: Some(file.into()), ..Default::default() }
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

// Images

/// A JPEG whose corners are black, dark, light and white, with an EXIF segment.
fn jpeg_with_exif(exif: &[u8]) -> Vec<u8> {
    let shade = |x, y| Luma([[0, 85, 170, 255][usize::from(x >= 16) + 2 * usize::from(y >= 8)]]);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(&GrayImage::from_fn(32, 16, shade)).unwrap();
    let length = (2 + 6 + exif.len()) as u16;
    let segment = [&[0xFF, 0xE1], &length.to_be_bytes()[..], b"Exif\0\0", exif].concat();
    jpeg.splice(2..2, segment);
    jpeg
}

/// The EXIF data of a photo taken with the camera turned.
fn orientation(value: u8) -> Vec<u8> {
    // Big-endian, the directory at 8; one entry: tag 0x0112, of type 3, one value; no further directory.
    [b"MM\0\x2A\0\0\0\x08", &b"\0\x01\x01\x12\0\x03\0\0\0\x01"[..], &[0, value, 0, 0], &[0; 4]].concat()
}

#[test]
fn photos_are_turned_only_if_asked() {
    let folder = Folder::with_classes();
    let corners = |image: &Image| {
        let at = |x: usize, y: usize| (f32::from(image.pixels[(y * image.width + x) * image.channels]) / 85.0).round();
        let (right, bottom) = (image.width - 1, image.height - 1);
        [at(0, 0), at(right, 0), at(0, bottom), at(right, bottom)].map(|shade| shade as u8)
    };
    let stored = [0, 1, 2, 3];
    // Top left, top right, bottom left and bottom right of what was stored, as a viewer shows them.
    for (value, shown) in [
        (1, stored),
        (2, [1, 0, 3, 2]),
        (3, [3, 2, 1, 0]),
        (4, [2, 3, 0, 1]),
        (5, [0, 2, 1, 3]),
        (6, [2, 0, 3, 1]),
        (7, [3, 1, 2, 0]),
        (8, [1, 3, 0, 2]),
        (0, stored),
        (9, stored),
    ] {
        folder.write("train/cat/a.jpg", jpeg_with_exif(&orientation(value)));
        let open = |exif_orientation| {
            let splits = folder.open(&DataSource { exif_orientation, ..folders() }).unwrap();
            splits.train.image(0).unwrap()
        };
        for setting in [None, Some(false)] {
            assert_eq!((open(setting).width, corners(&open(setting))), (32, stored), "orientation {value}");
        }
        let turned = open(Some(true));
        assert_eq!(corners(&turned), shown, "orientation {value}");
        assert_eq!((turned.width, turned.height), if (5..=8).contains(&value) { (16, 32) } else { (32, 16) });
    }
}

#[test]
fn broken_exif_data_turns_nothing() {
    let folder = Folder::new();
    let whole = orientation(6);
    let broken = (0..whole.len() - 6).map(|length| whole[..length].to_vec()).chain([
        [&whole[..4], &[0xFF; 16]].concat(), // the directory is far away
        [&whole[..8], &[0xFF, 0xFF], &whole[10..]].concat()[..12].to_vec(), // many entries, cut off
        b"II\x2A\0\x08\0\0\0\x01\0\x12\x01\xFF\xFF\xFF\xFF\xFF\xFF\x06\0\0\0".to_vec(), // of an unknown type
    ]);
    for exif in broken {
        folder.write("a.jpg", jpeg_with_exif(&exif));
        let image = Image::open_upright(&folder.path("a.jpg"), 1).unwrap();
        assert_eq!((image.width, image.height), (32, 16), "{exif:?}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let folder = Folder::with_classes();
    fifo(&folder.path("train/cat/pipe.jpg"));
    let socket = std::os::unix::net::UnixListener::bind(folder.path("train/cat/socket.jpg")).unwrap();
    symlink("/dev/zero", folder.path("train/cat/zero.jpg")).unwrap();
    for name in ["pipe.jpg", "socket.jpg", "zero.jpg"] {
        let error = folder.error_of_image(Path::new("train/cat").join(name));
        assert_has(&error, &[name, "not a regular file"]);
    }
    // A folder source leaves them out and says so.
    let splits = folder.open(&folders()).unwrap();
    assert_eq!(names(&splits.train), ["train/cat/a.png", "train/dog/b.png"]);
    assert_has(&splits.warnings[0], &["3 of the files", "no regular files", "pipe.jpg"]);
    // A list names them.
    folder.write("train.txt", "train/cat/pipe.jpg, 0").write("test.txt", "test/cat/c.png, 0");
    assert_has(&folder.error(&source("list")), &["train.txt:1", "there is no file", "pipe.jpg"]);
    drop(socket);
}

#[test]
fn a_folder_with_the_name_of_an_image_is_a_folder() {
    let folder = Folder::with_classes();
    folder.image("train/cat/deep.jpg/e.png", 7);
    let train = folder.open(&folders()).unwrap().train;
    assert_eq!(names(&train), ["train/cat/a.png", "train/cat/deep.jpg/e.png", "train/dog/b.png"]);
    assert_has(&folder.error_of_image("train/cat/deep.jpg"), &["deep.jpg"]);
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = Folder::new();
    let file = fs::File::create(folder.path("a.jpg")).unwrap();
    file.set_len(1 << 40).unwrap(); // a hole: it takes no space
    assert_has(&folder.error_of_image("a.jpg"), &["a.jpg", "1048576 MiB", "at most 1024 MiB"]);
}

// Lists

fn lists() -> Folder {
    let folder = Folder::new();
    folder.image("i/0.png", 0).image("i/1.png", 1).write("test.txt", "i/0.png, 0");
    folder
}

#[test]
fn an_image_may_be_listed_twice_with_one_label_only() {
    let folder = lists();
    folder.write("train.txt", "i/0.png, 0\ni/1.png, 1\n./i/0.png, 0\ni/0.png, 0\n");
    let Splits { train, warnings, .. } = folder.open(&source("list")).unwrap();
    assert_eq!(train.labels(), [0, 1, 0, 0]);
    assert_has(&warnings[0], &["2 lines of", "train.txt", "repeat an image"]);
    folder.write("train.txt", "i/0.png, 0\ni/1.png, 1\ni/0.png, 1\n");
    let parts = ["train.txt:3", "i/0.png has the label \"1\" here and \"0\" in line 1", "remove one of the lines"];
    assert_has(&folder.error(&source("list")), &parts);
}

#[test]
fn strange_names_can_be_listed() {
    let folder = lists();
    for (i, (name, line)) in [
        (" blank first.png", "\"i/ blank first.png\", 0"), // only the whole field is trimmed
        ("blank last.png ", "\"i/blank last.png \", 0"),
        ("two  blanks.png", "i/two  blanks.png, 0"),
        ("say \"hi\".png", "\"i/say \"\"hi\"\".png\", 0"),
        ("in\"ner.png", "i/in\"ner.png, 0"),
        ("comma, semicolon; hash#.png", "\"i/comma, semicolon; hash#.png\", 0"),
        ("quoted, with a tab after it.png", "\"i/quoted, with a tab after it.png\"\t0"),
        ("列.png", "i/列.png\t0"),
        ("combining e\u{301}.png", "i/combining e\u{301}.png, 0"),
        ("back\\slash.png", "i/back\\slash.png, 0"),
    ]
    .into_iter()
    .enumerate()
    {
        let value = i as u8 + 10;
        folder.image(Path::new("i").join(name), value).write("train.txt", format!("\u{FEFF}{line}\r\n"));
        let train = folder.open(&source("list")).unwrap().train;
        assert_eq!(train.image(0).unwrap().pixels[0], value, "{line}");
    }
}

#[test]
fn an_empty_column_between_tabs_counts() {
    let folder = lists();
    folder.write("train.txt", "i/0.png\t\t0\ni/1.png\t\t1");
    let parts = ["train.txt:1", "no label in column 1", "the line has 3 columns"];
    assert_has(&folder.error(&source("list")), &parts);
    folder.write("test.txt", "i/0.png\t\t1");
    let second = DataSource { label_column: Some(2), ..source("list") };
    assert_eq!(folder.open(&second).unwrap().train.labels(), [0, 1]);
}

#[test]
fn odd_numbers_of_classes() {
    let folder = lists();
    folder.write("train.txt", "i/0.png, 000\ni/1.png, 001");
    let splits = folder.open(&source("list")).unwrap();
    assert_eq!((splits.train.labels(), splits.train.class_names().join(" ")), (&[0, 1][..], "0 1".into()));
    for (list, parts) in [
        ("i/0.png, 0\ni/1.png, 4294967296", &["train.txt:2", "\"4294967296\"", "all numbers or all names"][..]),
        ("i/0.png, 0\ni/1.png, 4294967295", &["train.txt", "go up to 4294967295", "no line has label 1"]),
        ("i/0.png, 0\ni/1.png, 1.0", &["train.txt:2", "\"1.0\""]),
        ("i/0.png, 0\ni/1.png, NaN", &["train.txt:2", "\"NaN\""]),
        ("i/0.png, -1\ni/1.png, 0", &["train.txt:2", "\"0\" where the first line has \"-1\""]),
    ] {
        folder.write("train.txt", list);
        assert_has(&folder.error(&source("list")), parts);
    }
    let named = DataSource { classes: Some("names.txt".into()), ..source("list") };
    folder.write("train.txt", "i/0.png, 0\ni/1.png, 1").write("names.txt", "a, 0\nb, 4294967296");
    assert_has(&folder.error(&named), &["names.txt:2", "\"4294967296\" is not the number"]);
    folder.write("names.txt", "a, 0\nb, 4294967295");
    assert_has(&folder.error(&named), &["names.txt", "class 1 is missing"]);
}

#[test]
fn lists_that_cannot_be_read_are_named() {
    let folder = lists();
    fs::create_dir(folder.path("train.txt")).unwrap();
    assert_has(&folder.error(&source("list")), &["cannot read", "train.txt"]);
    fs::remove_dir(folder.path("train.txt")).unwrap();
    symlink("gone.png", folder.path("i/broken.png")).unwrap();
    folder.write("train.txt", "i/0.png, 0\ni/broken.png, 0");
    assert_has(&folder.error(&source("list")), &["train.txt:2", "there is no file", "i/broken.png"]);
    folder.write("train.txt", "i/0.png, 0\ni/\0.png, 0");
    assert_has(&folder.error(&source("list")), &["train.txt:2", "there is no file"]);
    folder.write("train.txt", format!("i/0.png, 0\n{}.png, 0", "long/".repeat(2000)));
    assert_has(&folder.error(&source("list")), &["train.txt:2", "there is no file"]);
}

#[test]
fn links_may_lead_out_of_the_root() {
    // Data sets are often folders of links to a store; who can write links can write images.
    let (folder, store) = (lists(), Folder::new());
    store.image("store/x.png", 9).image("store/y.png", 9);
    symlink(store.path("store/x.png"), folder.path("i/x.png")).unwrap();
    folder.write("train.txt", "i/x.png, 0");
    assert_eq!(folder.open(&source("list")).unwrap().train.image(0).unwrap().pixels[0], 9);
    let folder = Folder::with_classes();
    symlink(store.path("store"), folder.path("train/cat/more")).unwrap();
    let train = folder.open(&folders()).unwrap().train;
    assert_eq!(names(&train)[1..3], ["train/cat/more/x.png", "train/cat/more/y.png"]);
}

// Folders

#[test]
fn a_loop_of_links_is_an_error() {
    let folder = Folder::with_classes();
    symlink("..", folder.path("train/cat/up")).unwrap();
    assert_has(&folder.error(&folders()), &["train/cat/up", "loop"]);
    fs::remove_file(folder.path("train/cat/up")).unwrap();
    symlink("self", folder.path("train/cat/self")).unwrap();
    assert_has(&folder.error(&folders()), &["train/cat/self"]);
}

#[test]
fn a_broken_link_is_an_error_that_names_it() {
    let folder = Folder::with_classes();
    symlink("nowhere.png", folder.path("train/cat/x.png")).unwrap();
    assert_has(&folder.error(&folders()), &["cannot read", "train/cat/x.png", "No such file"]);
}

#[test]
fn class_folders_must_have_names_in_utf_8() {
    let folder = Folder::with_classes();
    // Both would be shown as the same name and become one class.
    folder.image(Path::new("train").join(not_utf8(b"caf\xE9")).join("a.png"), 1);
    folder.image(Path::new("train").join(not_utf8(b"caf\xE8")).join("b.png"), 1);
    assert_has(&folder.error(&folders()), &["train/caf\u{FFFD}", "must be UTF-8", "rename it"]);
}

#[test]
fn image_files_may_have_any_name() {
    let folder = Folder::with_classes();
    folder.image(Path::new("train/cat").join(not_utf8(b"\xE8.png")), 21);
    folder.image(Path::new("train/cat").join(not_utf8(b"\xE9.png")), 22);
    folder.image("train/cat/line\nend.png", 23).image("train/cat/ .png", 24);
    let splits = folder.open(&folders()).unwrap();
    let values: Vec<u8> = images(&splits.train).iter().map(|image| image.pixels[0]).collect();
    assert_eq!(values, [24, 0, 23, 21, 22, 1]);
    assert!(check(&splits).is_empty());
    // Names that look alike when shown still make a split and a pack.
    let (file, place) = (SplitFile::new(&splits.train, 0.5, 1), folder.path("split.json"));
    let (first, second) = file.apply(&splits.train, &place, &[]).unwrap();
    assert_eq!(first.len() + second.len(), 6);
    folder.pack("all.pack", None);
    assert_eq!(images(&folder.open(&packed("all.pack")).unwrap().train), images(&splits.train));
    // An error shows what can be shown.
    folder.write(Path::new("train/cat").join(not_utf8(b"\xE9.png")), "no image");
    assert_has(&check(&folder.open(&folders()).unwrap())[0], &["train/cat/\u{FFFD}.png", "not an image"]);
}

#[test]
fn thousands_of_files_are_listed_in_no_time() {
    let folder = Folder::with_classes();
    for i in 0..5000 {
        fs::hard_link(folder.path("train/cat/a.png"), folder.path(format!("train/cat/{i:04}.png"))).unwrap();
    }
    let start = Instant::now();
    let splits = folder.open(&folders()).unwrap();
    assert!(check(&splits).is_empty());
    assert_eq!(splits.train.len(), 5002);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn files_that_change_after_opening_are_named() {
    let folder = Folder::with_classes();
    for (path, value) in [("train/cat/e.png", 1), ("train/cat/f.png", 2), ("train/cat/g.png", 3)] {
        folder.image(path, value);
    }
    let splits = folder.open(&folders()).unwrap();
    fs::remove_file(folder.path("train/cat/e.png")).unwrap();
    fs::remove_file(folder.path("train/cat/f.png")).unwrap();
    fs::create_dir(folder.path("train/cat/f.png")).unwrap();
    fs::remove_file(folder.path("train/cat/g.png")).unwrap();
    fifo(&folder.path("train/cat/g.png"));
    folder.write("test/cat/c.png", "").image("train/dog/b.png", 77);
    let problems = soon({
        let splits = splits.clone();
        move || check(&splits)
    });
    assert_eq!(problems.len(), 4);
    assert_has(&problems[0], &["cannot read", "train/cat/e.png", "No such file"]);
    assert_has(&problems[1], &["train/cat/f.png"]);
    assert_has(&problems[2], &["train/cat/g.png", "not a regular file"]);
    assert_has(&problems[3], &["test/cat/c.png", "0 bytes"]);
    // The loader stops with the same error.
    let transform = Transform::new(&Augment::preset(Preset::None), 2, 3).unwrap();
    let order = (0..splits.train.len()).collect();
    let mut loader = Loader::new(&splits.train, LoaderConfig::new(transform.eval), order).unwrap();
    assert_has(&loader.next().unwrap().unwrap_err().to_string(), &["train/cat/e.png"]);
    assert!(loader.next().is_none());
    // What is left out does not matter any more.
    let bad: Vec<String> = splits.bad_images(1, &|_, _| {}).into_iter().map(|bad| bad.name).collect();
    let splits = splits.without(&bad).unwrap();
    assert!(check(&splits).is_empty());
    assert_eq!((splits.train.len(), splits.test.len(), splits.skipped), (2, 1, bad));
}

#[test]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with_classes();
    let file = folder.path("train/cat/a.png");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&file).is_ok() {
        return; // root may read everything
    }
    let splits = folder.open(&folders()).unwrap();
    assert_has(&check(&splits)[0], &["cannot read", "train/cat/a.png", "denied"]);
    fs::set_permissions(folder.path("train/dog"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = folder.error(&folders());
    fs::set_permissions(folder.path("train/dog"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_has(&error, &["cannot read", "train/dog", "denied"]);
}

// Packs

#[test]
fn a_pack_is_its_source() {
    let folder = Folder::with_classes();
    folder.image("train/cat/z.png", 200).image("test/cat/y.png", 100).image("val/dog/v.png", 50);
    let with_val = DataSource { val: Some("val".into()), ..folders() };
    let source = folder.open(&with_val).unwrap();
    let summary = pack(&source, "folder", None, &folder.path("all.pack"), 0, &|_, _| {}).unwrap();
    assert_eq!((summary.images, summary.bytes), (7, fs::metadata(folder.path("all.pack")).unwrap().len()));
    let packed = folder.open(&packed("all.pack")).unwrap();
    for ((name, from), (same, to)) in source.named().zip(packed.named()) {
        assert_eq!((name, from.labels(), from.class_names()), (same, to.labels(), to.class_names()));
        assert_eq!((names(from), images(from), from.channels()), (names(to), images(to), to.channels()));
    }
    assert_eq!(packed.named().count(), 3);
    // So a split and a list of images to leave out suit both.
    let split = SplitFile::new(&source.train, 0.5, 3);
    assert_eq!(SplitFile::new(&packed.train, 0.5, 3), split);
    let (first, second) = split.apply(&packed.train, Path::new("split.json"), &[]).unwrap();
    assert_eq!((names(&first), names(&second)), (split.train, split.held_out));
    let without = packed.without(&["train/cat/z.png".into()]).unwrap();
    assert_eq!(names(&without.train), ["train/cat/a.png", "train/dog/b.png"]);
}

#[test]
fn a_pack_reduces_what_is_larger() {
    let folder = Folder::with_classes();
    let sizes = [(300, 400, 256, 341), (513, 300, 437, 256), (256, 900, 256, 900), (100, 50, 100, 50)];
    for (i, (width, height, ..)) in sizes.into_iter().enumerate() {
        let colour = |x: u32, y: u32| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]);
        let photo = RgbImage::from_fn(width, height, colour);
        photo.save(folder.path(format!("train/cat/b{i}.png"))).unwrap();
    }
    let source = folder.open(&folders()).unwrap();
    folder.pack("small.pack", Some(256));
    let packed = folder.open(&packed("small.pack")).unwrap();
    for (i, (_, _, width, height)) in sizes.into_iter().enumerate() {
        let (photo, reduced) = (source.train.image(i + 1).unwrap(), packed.train.image(i + 1).unwrap());
        let whole = CropBox { left: 0, top: 0, width: photo.width, height: photo.height };
        assert_eq!(*reduced, photo.resize(whole, width, height).unwrap());
    }
    let none = pack(&source, "folder", Some(0), &folder.path("none.pack"), 1, &|_, _| {});
    assert!(none.is_err() && !folder.path("none.pack").exists() && !folder.path("none.pack.tmp").exists());
}

#[test]
fn a_pack_that_is_cut_off_is_refused() {
    let folder = Folder::with_classes();
    let whole = fs::read(folder.pack("all.pack", None)).unwrap();
    for length in 0..whole.len() {
        folder.write("cut.pack", &whole[..length]);
        assert_has(&folder.error(&packed("cut.pack")), &["cut.pack", "cut off", "make it anew with `ktg data pack`"]);
    }
    folder.write("cut.pack", [&whole[..], b"more"].concat());
    assert_has(&folder.error(&packed("cut.pack")), &["cut.pack", "bytes instead of"]);
    fs::create_dir(folder.path("folder.pack")).unwrap();
    assert_has(&folder.error(&packed("folder.pack")), &["folder.pack", "not a regular file"]);
}

#[test]
fn a_damaged_pack_is_never_believed() {
    let folder = Folder::with_classes();
    let whole = fs::read(folder.pack("all.pack", None)).unwrap();
    let right = folder.open(&packed("all.pack")).unwrap();
    let right = [images(&right.train), images(&right.test)];
    let index = u64::from_le_bytes(whole[24..32].try_into().unwrap()) as usize;
    let path = folder.path("bad.pack");
    let (mut at_open, mut at_check) = (0, 0);
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        // A new file each time, as the old one is mapped still.
        fs::remove_file(&path).unwrap_or_default();
        fs::write(&path, bytes).unwrap();
        match packed("bad.pack").open(folder.0.path()) {
            Err(error) => {
                at_open += 1;
                assert!(place < 44 || place >= index, "byte {place} is not looked at");
                assert_has(&error.to_string(), &["bad.pack", "make it anew with `ktg data pack`"]);
            }
            Ok(splits) => match &check(&splits)[..] {
                // Padding.
                [] => assert_eq!([images(&splits.train), images(&splits.test)], right, "byte {place}"),
                [problem] => {
                    at_check += 1;
                    let parts = [".png in ", "bad.pack", "its pixels are damaged", "anew with `ktg data pack`"];
                    assert_has(problem, &parts);
                }
                more => panic!("byte {place}: {more:?}"),
            },
        }
    }
    // The used part of the head, the index, the description; four images of 3 x 2 x 3 values.
    assert_eq!((at_open, at_check), (44 + whole.len() - index, 4 * 18));
}

/// A pack of these parts with right checksums.
fn pack_of(pixels: &[u8], entries: &[[u64; 5]], description: &str) -> Vec<u8> {
    let mut tail = Vec::new();
    for [place, rest @ ..] in entries {
        tail.extend(place.to_le_bytes());
        rest.iter().for_each(|&n| tail.extend((n as u32).to_le_bytes()));
        tail.extend([0; 8]);
    }
    let (index, end) = (64 + pixels.len(), 64 + pixels.len() + tail.len());
    tail.extend(description.as_bytes());
    let mut head = b"ktg-pack\x01\0\0\0".to_vec();
    head.extend(crc32fast::hash(&tail).to_le_bytes());
    for n in [index + tail.len(), index, end] {
        head.extend((n as u64).to_le_bytes());
    }
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head.resize(64, 0);
    [&head, pixels, &tail].concat()
}

#[test]
fn a_pack_with_right_checksums_and_wrong_content_is_refused() {
    let folder = Folder::new();
    let description = |classes: &str, channels: u32, splits: &str, names: &str| {
        format!(
            r#"{{"source":"x","short_side":null,"upright":false,"classes":[{classes}],"channels":{channels},"splits":[{splits}],"names":[{names}]}}"#
        )
    };
    let both = r#"["train",1],["test",1]"#;
    let right = description(r#""a""#, 3, both, r#""x","y""#);
    let pixels = [7; 64];
    let entry = [64, 4, 5, 0, u64::from(crc32fast::hash(&[7; 60]))];
    let open = |content: Vec<u8>| {
        fs::remove_file(folder.path("a.pack")).unwrap_or_default();
        folder.write("a.pack", content).open(&packed("a.pack"))
    };
    assert!(check(&open(pack_of(&pixels, &[entry; 2], &right)).unwrap()).is_empty());

    let with = |at: usize, value: u64| {
        let mut other = entry;
        other[at] = value;
        pack_of(&pixels, &[entry, other], &right)
    };
    let all = u64::from(u32::MAX);
    for (content, part) in [
        (with(0, 0), "the entry of image 1 is impossible"), // in the head
        (with(0, 69), "image 1 is impossible"),             // into the index
        (with(0, u64::MAX), "image 1 is impossible"),
        (with(0, u64::MAX - 59), "image 1 is impossible"),
        (with(1, 0), "image 1 is impossible"),
        (with(2, all), "image 1 is impossible"),
        (with(3, 1), "image 1 is impossible"), // there is one class
        (pack_of(&pixels, &[[64, all, all, 0, 0]; 2], &right), "image 0 is impossible"),
        (pack_of(&pixels, &[entry], &right), "do not match"),
        (pack_of(&pixels, &[entry; 3], &right), "do not match"),
        (pack_of(&pixels, &[entry; 2], &description(r#""a""#, 2, both, r#""x","y""#)), "do not match"),
        (pack_of(&pixels, &[entry; 2], &description(r#""a""#, 3, both, r#""x""#)), "do not match"),
        (pack_of(&pixels, &[entry; 2], &description("", 3, both, r#""x","y""#)), "image 0 is impossible"),
        (pack_of(&pixels, &[], &description(r#""a""#, 3, r#"["train",0],["test",0]"#, "")), "no training or no test"),
        (pack_of(&pixels, &[entry; 2], &description(r#""a""#, 3, r#"["train",2]"#, r#""x","y""#)), "no training or no"),
        (pack_of(&pixels, &[entry; 2], "{}"), "missing field"),
        (pack_of(&pixels, &[entry; 2], ""), "EOF"),
        (pack_of(&pixels, &[entry; 2], &"[".repeat(100_000)), "invalid type"),
        (
            pack_of(&pixels, &[], &description("", 1, r#"["train",18446744073709551615],["test",1]"#, "")),
            "do not match",
        ),
    ] {
        assert_has(&open(content).unwrap_err(), &["a.pack", part, "make it anew with `ktg data pack`"]);
    }
}

#[test]
fn a_pack_of_another_version_is_named_as_such() {
    let folder = Folder::with_classes();
    let mut bytes = fs::read(folder.pack("all.pack", None)).unwrap();
    bytes[8] = 2;
    folder.write("new.pack", bytes);
    let parts = ["new.pack", "version 2", "reads version 1", "`ktg data pack`"];
    assert_has(&folder.error(&packed("new.pack")), &parts);
}

#[test]
fn a_pack_may_be_replaced_while_it_is_used() {
    let folder = Folder::with_classes();
    folder.pack("all.pack", None);
    let old = folder.open(&packed("all.pack")).unwrap();
    folder.image("train/cat/a.png", 99);
    folder.pack("all.pack", None);
    assert_eq!(old.train.image(0).unwrap().pixels[0], 0);
    assert!(check(&old).is_empty());
    assert_eq!(folder.open(&packed("all.pack")).unwrap().train.image(0).unwrap().pixels[0], 99);
}

#[test]
fn a_pack_that_was_not_finished_has_no_name() {
    let folder = Folder::with_classes();
    let whole = fs::read(folder.pack("whole.pack", None)).unwrap();
    folder.write("all.pack.tmp", [&whole[..], &whole[..]].concat()); // longer than what will be written
    assert_has(&folder.error(&packed("all.pack")), &["cannot read", "all.pack", "No such file"]);
    assert_eq!(fs::read(folder.pack("all.pack", None)).unwrap(), whole);
    assert!(!folder.path("all.pack.tmp").exists());
}

#[test]
fn an_image_that_cannot_be_used_leaves_the_old_pack() {
    let folder = Folder::with_classes();
    let old = fs::read(folder.pack("all.pack", None)).unwrap();
    folder.write("test/dog/d.png", "broken");
    let splits = folder.open(&folders()).unwrap();
    let error = pack(&splits, "folder", None, &folder.path("all.pack"), 1, &|_, _| {}).unwrap_err().to_string();
    assert_has(&error, &["test/dog/d.png", "not an image"]);
    assert_eq!(fs::read(folder.path("all.pack")).unwrap(), old);
    assert!(!folder.path("all.pack.tmp").exists());
    let nowhere = folder.path("nowhere/all.pack");
    let error = pack(&splits, "folder", None, &nowhere, 1, &|_, _| {}).unwrap_err().to_string();
    assert_has(&error, &["cannot write", "nowhere/all.pack", "No such file"]);
}

// Files that are written

#[test]
fn the_second_of_two_writers_is_told() {
    let folder = Folder::with_classes();
    let first = NewFile::create(&folder.path("all.pack")).unwrap();
    let splits = folder.open(&folders()).unwrap();
    let error = pack(&splits, "folder", None, &folder.path("all.pack"), 1, &|_, _| {}).unwrap_err().to_string();
    assert_has(&error, &["cannot write", "all.pack", "another process is writing it"]);
    let error = SplitFile::new(&splits.train, 0.5, 1).write(&folder.path("all.pack")).unwrap_err().to_string();
    assert_has(&error, &["cannot write", "all.pack", "another process is writing it"]);
    drop(first);
    assert!(!folder.path("all.pack").exists() && !folder.path("all.pack.tmp").exists());
    folder.pack("all.pack", None);
}

#[test]
fn racing_writers_never_show_half_a_file() {
    let folder = Folder::new();
    let path = folder.path("a.json");
    let content = |writer: u8| vec![b'a' + writer; 1000 * (usize::from(writer) + 1)];
    write_atomically(&path, &content(0)).unwrap();
    let end = Instant::now() + Duration::from_millis(1500);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                while Instant::now() < end {
                    match write_atomically(path, &content(writer)) {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}"),
                    }
                }
            });
        }
        while Instant::now() < end {
            let found = fs::read(&path).unwrap();
            assert!((0..3).any(|writer| found == content(writer)), "{} bytes", found.len());
        }
    });
    assert!(!folder.path("a.json.tmp").exists());
}

// Images to leave out, and splits

#[test]
fn a_list_of_images_to_leave_out_may_be_wrong() {
    let folder = Folder::with_classes();
    folder.image("train/cat/e.png", 1);
    let skip = DataSource { skip: Some("skip.txt".into()), ..folders() };
    assert_has(&folder.error(&skip), &["cannot read", "skip.txt"]);

    let list = "\u{FEFF}train/cat/e.png\r\n\r\n# a comment\r\n  train/cat/e.png  \nno/such.png\ntrain/cat/E.png";
    let splits = folder.write("skip.txt", list).open(&skip).unwrap();
    assert_eq!((names(&splits.train).len(), &splits.skipped[..]), (2, &["train/cat/e.png".to_string()][..]));
    assert_has(&splits.warnings[0], &["2 of the images", "skip.txt", "are not in the data"]);
    assert!(folder.write("skip.txt", "train/cat/e.png").open(&skip).unwrap().warnings.is_empty());
    assert_eq!(folder.write("skip.txt", "").open(&skip).unwrap().train.len(), 3);

    folder.write("skip.txt", "train/cat/a.png\ntrain/cat/e.png");
    assert_has(&folder.error(&skip), &["no training image of class \"cat\" is left"]);
    folder.write("skip.txt", "test/cat/c.png\ntest/dog/d.png");
    assert_has(&folder.error(&skip), &["no test image is left"]);
    folder.write("skip.txt", b"train/cat/e.png\n\xFF.png");
    assert_has(&folder.error(&skip), &["skip.txt:2", "UTF-8"]);
    folder.image("val/cat/v.png", 1).write("skip.txt", "val/cat/v.png");
    assert_has(&folder.error(&DataSource { val: Some("val".into()), ..skip }), &["no val image is left"]);
}

#[test]
fn leaving_out_counts_names_and_not_images() {
    let folder = lists();
    folder.write("train.txt", "i/0.png, 0\ni/1.png, 0\ni/1.png, 0").write("skip.txt", "i/1.png\ni/9.png");
    let splits = folder.open(&DataSource { skip: Some("skip.txt".into()), ..source("list") }).unwrap();
    assert_eq!((splits.train.len(), splits.skipped.len()), (1, 2));
    assert!(splits.warnings.iter().any(|warning| warning.starts_with("1 of the images")), "{:?}", splits.warnings);
}

/// A split of four training images, as it is and changed.
fn split_error(change: impl FnOnce(&str) -> String) -> String {
    let folder = Folder::with_classes();
    folder.image("train/cat/e.png", 1).image("train/dog/f.png", 1);
    let train = folder.open(&folders()).unwrap().train;
    let path = folder.path("split.json");
    SplitFile::new(&train, 0.5, 1).write(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = SplitFile::read(&path).unwrap().apply(&train, &path, &[]).unwrap();
    assert_eq!((first.len(), second.len()), (2, 2));
    fs::write(&path, change(&text)).unwrap();
    let result = SplitFile::read(&path).and_then(|split| split.apply(&train, &path, &[]));
    result.unwrap_err().to_string()
}

#[test]
fn a_split_that_does_not_suit_the_data_is_an_error() {
    let again = "make the split anew with `ktg data split`";
    let renamed = split_error(|text| text.replace("train/cat/e.png", "train/cat/g.png"));
    assert_has(&renamed, &["split.json", "train/cat/g.png", "is no training image", again]);
    let twice = split_error(|text| text.replace("train/cat/e.png", "train/cat/a.png"));
    assert_has(&twice, &["split.json", "train/cat/a.png is in it twice", again]);
    let missing = split_error(|text| {
        let mut split: serde_json::Value = serde_json::from_str(text).unwrap();
        split["held_out"] = serde_json::json!([]);
        split.to_string()
    });
    assert_has(&missing, &["split.json", "2 of the 4 training images are not in it, such as train/", again]);
}

#[test]
fn a_file_that_is_no_split_is_an_error() {
    let newer = split_error(|text| text.replace("ktg split 1", "ktg split 2"));
    assert_has(&newer, &["split.json", "\"ktg split 2\"", "this program knows \"ktg split 1\""]);
    let unknown = split_error(|text| text.replace("\"share\"", "\"shares\""));
    assert_has(&unknown, &["split.json", "no split file", "shares", "line 3"]);
    assert_has(&split_error(|text| text[..text.len() / 2].into()), &["split.json", "no split file", "EOF"]);
    assert_has(&split_error(|_| String::new()), &["split.json", "no split file"]);
    assert_has(&split_error(|_| "[".repeat(100_000)), &["split.json", "no split file"]);
    let folder = Folder::new();
    let error = SplitFile::read(&folder.path("split.json")).unwrap_err().to_string();
    assert_has(&error, &["cannot read", "split.json"]);
}

#[test]
fn a_split_knows_images_that_are_listed_several_times() {
    let folder = lists();
    folder.write("train.txt", "i/0.png, 0\ni/1.png, 1\n".repeat(10));
    let train = folder.open(&source("list")).unwrap().train;
    let split = SplitFile::new(&train, 0.5, 1);
    let (first, second) = split.apply(&train, Path::new("split.json"), &[]).unwrap();
    assert_eq!((names(&first), names(&second)), (split.train.clone(), split.held_out.clone()));
    assert_eq!((first.len(), second.len()), (10, 10));
    let fewer = train.subset(&(0..18).collect::<Vec<_>>());
    assert_has(&split.apply(&fewer, Path::new("split.json"), &[]).unwrap_err().to_string(), &["is in it twice"]);
}
