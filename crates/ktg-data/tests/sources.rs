//! Opening data: what the sources understand, and what they say about data that is wrong.

use flate2::{Compression, write::GzEncoder};
use image::{Rgb, RgbImage};
use ktg_data::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

/// A temporary folder to fill.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn images(&self, paths: &[&str]) -> &Self {
        for path in paths {
            self.write(path, "");
            RgbImage::from_pixel(3, 2, Rgb([1, 2, 3])).save(self.0.path().join(path)).unwrap();
        }
        self
    }

    fn open(&self, settings: &DataSource) -> Result<Splits, String> {
        settings.open(self.0.path()).map_err(|error| error.to_string())
    }

    fn error(&self, settings: &DataSource) -> String {
        self.open(settings).unwrap_err()
    }
}

fn source(name: &str) -> DataSource {
    source_with(name, json!({}))
}

/// A source at the top of the folder, unless the options say otherwise.
fn source_with(name: &str, options: Value) -> DataSource {
    read(name, options).unwrap()
}

fn read(name: &str, options: Value) -> Result<DataSource, String> {
    let mut settings = json!({"source": name, "root": "."});
    settings.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    serde_json::from_value(settings).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in: {text}");
    }
}

#[test]
fn the_built_in_data_is_the_documented_subset() {
    let splits = DataSource::default().open(Path::new(".")).unwrap();
    for (dataset, name, pixels_hash) in [
        (&splits.train, "train", "4140a00a749e1f61e28928789f0c1a40d186ebcb94e163107591e25173a52f72"),
        (&splits.test, "test", "37ed5c445dd5f082c478d82d7de9aed8c49fe967b3bcf55c2038a0b19904e8ab"),
    ] {
        assert_eq!((dataset.len(), dataset.classes(), dataset.channels()), (5000, 10, 1));
        for class in 0..10 {
            assert_eq!(dataset.labels().iter().filter(|&&label| label == class).count(), 500);
        }
        assert_eq!(dataset.name_of(17), format!("{name} image 17"));
        let mut hash = Sha256::new();
        (0..dataset.len()).for_each(|i| hash.update(&dataset.image(i).unwrap().pixels));
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, pixels_hash, "{name}");
    }
    assert_eq!(splits.train.class_names()[9], "Ankle boot");
    let colour = serde_json::from_value::<DataSource>(json!({"channels": 3})).unwrap().open(Path::new(".")).unwrap();
    let (grey, colour) = (splits.test.image(0).unwrap(), colour.test.image(0).unwrap());
    assert_eq!(colour.pixels.len(), 3 * grey.pixels.len());
    assert!(colour.pixels.chunks_exact(3).zip(&grey.pixels).all(|(rgb, &g)| rgb == [g; 3]));
}

#[test]
fn settings_are_read_and_checked() {
    let from_str = |json: &str| serde_json::from_str::<DataSource>(json).map_err(|error| error.to_string());
    assert_eq!(from_str("{}").unwrap(), DataSource::default());
    let list = from_str(r#"{"source": "list", "root": "x", "label_column": 2}"#).unwrap();
    assert_eq!(from_str(&serde_json::to_string(&list).unwrap()).unwrap(), list);
    // Earlier versions wrote all options.
    let earlier = r#"{"source": "list", "root": "x", "label_column": 2, "file": null, "labels": null, "skip": null}"#;
    assert_eq!(from_str(earlier).unwrap(), list);
    assert_has(&from_str(r#"{"rot": "x"}"#).unwrap_err(), &["`rot`"]);

    for name in [
        "fashion-mnist",
        "folder",
        "list",
        "idx",
        "stanford-dogs",
        "stanford-cars",
        "cub-200-2011",
        "cifar-10",
        "cifar-100",
        "pack",
    ] {
        let mut named = read(name, json!({"root": null})).unwrap();
        assert_eq!((named.kind.name(), named.without_places()), (name, named.clone()));
        if let Some((option, place)) = named.kind.place_mut() {
            *place = Some("x".into());
            assert_eq!(serde_json::to_value(&named).unwrap()[option], "x");
        }
    }

    let error = |name: &str, options: Value| read(name, options).unwrap_err();
    assert_has(&error("cub", json!({})), &["`source`", "`cub`", "`fashion-mnist`, `folder`, `list`, `idx`"]);
    assert_has(&error("fashion-mnist", json!({})), &["`root` of the data source \"fashion-mnist\": unknown field"]);
    assert_has(&error("folder", json!({"label_column": 1})), &["`label_column`", "`root`, `train`, `test`, `val`"]);
    let wrong_type = error("list", json!({"label_column": "two"}));
    assert_has(&wrong_type, &["`label_column` of the data source \"list\": invalid type: string \"two\""]);

    let folder = Folder::new();
    assert_has(&folder.error(&source_with("list", json!({"root": null}))), &["needs `root`"]);
    assert_has(&folder.error(&source_with("idx", json!({"root": "no"}))), &["/no"]);
    assert_has(&folder.error(&source_with("folder", json!({"channels": 2}))), &["channels = 2"]);
    folder.write("file", "x");
    assert_has(&folder.error(&source_with("folder", json!({"root": "file"}))), &["is a file"]);
}

#[test]
fn folders_are_classes() {
    let folder = Folder::new();
    folder.images(&["train/dog/2.png", "train/dog/deep/1.png", "train/cat/a.PNG", "test/dog/3.png"]);
    folder.write("train/.DS_Store", "x").write("train/cat/notes.txt", "x").write("train/stray.png", "x");
    let Splits { train, test, val, warnings, .. } = folder.open(&source("folder")).unwrap();
    assert_eq!(train.class_names(), ["cat", "dog"]);
    assert_eq!((train.labels(), test.labels(), train.channels()), (&[0, 1, 1][..], &[1][..], 3));
    assert!(train.name_of(0).ends_with("a.PNG") && val.is_none());
    assert_eq!(train.image(1).unwrap().pixels[..3], [1, 2, 3]);
    assert_eq!(warnings.len(), 2);
    assert_has(&warnings[0], &["2 of the files", "notes.txt"]);
    assert_has(&warnings[1], &["no test image of class \"cat\""]);

    let named = source_with("folder", json!({"val": "test", "channels": 1}));
    let val = folder.open(&named).unwrap().val.unwrap();
    assert_eq!((val.len(), val.channels(), val.image(0).unwrap().channels), (1, 1, 1));
}

#[test]
fn wrong_folders_are_errors() {
    let folder = Folder::new();
    folder.images(&["train/a/1.png", "train/c/1.png", "valid/a/1.png"]);
    let elsewhere = source_with("folder", json!({"test": "tests"}));
    assert_has(&folder.error(&elsewhere), &["/tests", "test = \"...\"", "valid"]);
    std::fs::create_dir_all(folder.0.path().join("test")).unwrap();
    assert_has(&folder.error(&source("folder")), &["/test", "no images"]);
    folder.images(&["test/a/1.png", "test/b/1.png"]);
    assert_has(&folder.error(&source("folder")), &["/test", "class \"b\"", "training folder lacks"]);
    folder.write("train/b/readme.txt", "x");
    assert_has(&folder.error(&source("folder")), &["/train", "class \"b\" without an image"]);
}

#[test]
fn image_files_of_a_folder_are_those_of_all_its_folders_by_name() {
    let folder = Folder::new();
    folder.images(&["b.png", "a/2.png", "a/1.JPG.png", "c/d/e.bmp"]);
    folder.write("a/notes.txt", "").write(".hidden.png", "").write(".cache/x.png", "").write("a/broken.JPEG", "");
    let found = sources::image_files(folder.0.path()).unwrap();
    let names: Vec<&str> = found.iter().map(|path| path.strip_prefix(&folder.0).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a/1.JPG.png", "a/2.png", "a/broken.JPEG", "b.png", "c/d/e.bmp"]);
    let missing = sources::image_files(&folder.0.path().join("none")).unwrap_err().to_string();
    assert_has(&missing, &["cannot read", "none"]);
}

fn lists() -> Folder {
    let folder = Folder::new();
    folder.images(&["i/0.png", "i/1.png", "i/2.png", "i/my, photo.png"]);
    folder.write("test.txt", "i/0.png, 0, 0");
    folder
}

#[test]
fn lists_are_read() {
    let folder = lists();
    // Byte order mark, Windows line ends, comment, blank line, spaces, quotation marks, no final
    // line end.
    let list = "\u{FEFF}# path, fine, coarse\r\ni/0.png, 0, 0\r\n\r\n  i/1.png ,1 , 0 \r\n\"i/my, photo.png\", 2, 1";
    folder.write("train.txt", list);
    let Splits { train, test, warnings, .. } = folder.open(&source("list")).unwrap();
    assert_eq!((train.labels(), test.labels()), (&[0, 1, 2][..], &[0][..]));
    assert_eq!(train.class_names(), ["0", "1", "2"]);
    assert_eq!(train.image(2).unwrap().width, 3);
    assert_has(&warnings[1], &["1 of the 1 test images", "training images too", "i/0.png"]);

    let coarse = source_with("list", json!({"label_column": 2}));
    assert_eq!(folder.open(&coarse).unwrap().train.labels(), [0, 0, 1]);

    // Tabs, and names for labels.
    folder.write("train.txt", "i/0.png\tdog\ni/my, photo.png\tcat\n".replace(", photo", "")).images(&["i/my.png"]);
    folder.write("test.txt", "i/0.png\tdog");
    let Splits { train, test, .. } = folder.open(&source("list")).unwrap();
    assert_eq!(train.class_names(), ["cat", "dog"]);
    assert_eq!((train.labels(), test.labels()), (&[1, 0][..], &[1][..]));
}

#[test]
fn class_files_name_the_classes() {
    let folder = lists();
    folder.write("train.txt", "i/0.png, 0, 0\ni/1.png, 1, 0\ni/2.png, pear, 1");
    folder.write("names.txt", "apple\nfig\npear\n");
    let with = |classes: &str, label_column: usize| {
        source_with("list", json!({"classes": classes, "label_column": label_column}))
    };
    let train = folder.open(&with("names.txt", 1)).unwrap().train;
    assert_eq!((train.class_names().join(" "), train.labels()), ("apple fig pear".into(), &[0, 1, 2][..]));
    let table = "Class Name,ID,Coarse,Coarse ID\nfig,1,fruit,0\napple,0,fruit,0\npear,2,\"other, fruit\",1\n";
    folder.write("table.csv", table);
    assert_eq!(folder.open(&with("table.csv", 1)).unwrap().train.class_names(), ["apple", "fig", "pear"]);
    assert_eq!(folder.open(&with("table.csv", 2)).unwrap().train.class_names(), ["fruit", "other, fruit"]);

    for (classes, parts) in [
        ("apple\nfig\n", &["train.txt:3", "\"pear\"", "classes file lacks"][..]),
        ("apple\nfig\npear\nplum", &["train.txt", "no training image of class \"plum\""]),
        ("apple\nfig\npear\nfig", &["names.txt:4", "\"fig\" is in line 2 already"]),
        ("apple, 0\nfig, 0\n", &["names.txt:2", "class 0 is \"fig\" here"]),
        ("apple, 0\nfig, 2\n", &["names.txt", "class 1 is missing"]),
        ("apple, 0\nfig, x\n", &["names.txt:2", "\"x\" is not the number"]),
        ("\n", &["names.txt", "no class names"]),
    ] {
        folder.write("names.txt", classes);
        assert_has(&folder.error(&with("names.txt", 1)), parts);
    }
    assert_has(&folder.error(&with("absent.txt", 1)), &["cannot read", "absent.txt"]);
}

#[test]
fn wrong_lists_are_errors_with_file_and_line() {
    let folder = lists();
    assert_has(&folder.error(&source("list")), &["cannot read", "train.txt"]);
    for (list, parts) in [
        ("", &["train.txt", "the list is empty"][..]),
        ("i/0.png, 0\ni/1.png", &["train.txt:2", "no label", "`path, label"]),
        ("i/0.png, 0\ni/1.png,", &["train.txt:2", "no label in column 1"]),
        (", 0", &["train.txt:1", "path is empty"]),
        ("i, 0", &["train.txt", "none of the 1 files", "line 1", "`root`"]),
        ("../a.png, 0", &["train.txt:1", "`..`"]),
        ("i/../../a.png, 0", &["train.txt:1", "`..`"]),
        ("/etc/passwd, 0", &["train.txt:1", "absolute"]),
        ("\"i/0.png, 0", &["train.txt:1", "quotation mark"]),
        ("i/0.png, 0\ni/1.png, 2", &["train.txt", "no line has label 1"]),
        ("i/0.png, 1\ni/1.png, 2", &["train.txt", "no line has label 0", "`first_label = 1`"]),
        ("i/0.png, 1\ni/1.png, 3", &["train.txt", "no line has label 0", "without gaps"]),
        ("i/0.png, 0\ni/1.png, 0", &["all images are of one class", "\"0\""]),
        ("i/0.png, 0\ni/1.png, 4000000000", &["train.txt", "no line has label 1"]),
        ("i/0.png, 0\ni/1.png, -1", &["train.txt:2", "\"-1\"", "all numbers or all names"]),
        ("i/0.png, dog\ni/1.png, cat", &["test.txt:1", "\"0\"", "training list lacks"]),
    ] {
        folder.write("train.txt", list);
        assert_has(&folder.error(&source("list")), parts);
    }
    folder.write("train.txt", b"i/0.png, 0\ni/\xFF.png, 0");
    assert_has(&folder.error(&source("list")), &["train.txt:2", "UTF-8"]);
    folder.write("train.txt", "i/1.png, 0").write("test.txt", "i/0.png, 0\ni/2.png, 1");
    assert_has(&folder.error(&source("list")), &["test.txt:2", "\"1\"", "training list lacks"]);
    assert_has(&folder.error(&source_with("list", json!({"label_column": 0}))), &["label_column = 0"]);
    assert_has(&folder.error(&source_with("list", json!({"label_column": 3}))), &["train.txt:1", "column 3"]);
}

fn idx(magic: u32, sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let head = [magic].into_iter().chain(sizes.iter().copied()).flat_map(u32::to_be_bytes);
    head.chain(values.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two images of 2 rows x 3 columns in training, one in test, packed and plain.
fn idx_folder() -> Folder {
    let folder = Folder::new();
    let values: Vec<u8> = (0..12).collect();
    folder.write("train-images-idx3-ubyte.gz", gzip(&idx(0x803, &[2, 2, 3], &values)));
    folder.write("train-labels-idx1-ubyte", idx(0x801, &[2], &[1, 0]));
    folder.write("t10k-images-idx3-ubyte", idx(0x803, &[1, 2, 3], &values[..6]));
    folder.write("t10k-labels-idx1-ubyte.gz", gzip(&idx(0x801, &[1], &[1])));
    folder
}

#[test]
fn idx_files_are_read_plain_and_packed() {
    let folder = idx_folder();
    let Splits { train, test, .. } = folder.open(&source("idx")).unwrap();
    assert_eq!((train.labels(), test.labels(), train.channels()), (&[1, 0][..], &[1][..], 1));
    let image = train.image(1).unwrap();
    assert_eq!((image.width, image.height, &image.pixels[..]), (3, 2, &[6, 7, 8, 9, 10, 11][..]));
    folder.write("names.txt", "shoe\nbag");
    let named = source_with("idx", json!({"classes": "names.txt", "channels": 3}));
    let train = folder.open(&named).unwrap().train;
    assert_eq!(
        (train.class_names().join(" "), &train.image(0).unwrap().pixels[..4]),
        ("shoe bag".into(), &[0, 0, 0, 1][..])
    );
}

#[test]
fn wrong_idx_files_are_errors() {
    let (images, labels) = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz");
    let six = [0; 6];
    let packed = gzip(&idx(0x801, &[1], &[1]));
    for (file, content, part) in [
        (images, vec![], "cut off within its head"),
        (images, vec![0, 0, 8], "cut off within its head"),
        (images, idx(0x803, &[1], &[]), "cut off within its head"),
        (images, idx(0x801, &[6], &six), "not an IDX file of images"),
        (images, idx(0x803, &[1, 2, 3], &six[..5]), "[1, 2, 3] values, but 5 follow"),
        (images, idx(0x803, &[1, 2, 2], &six), "but 6 follow"),
        (images, idx(0x803, &[u32::MAX, u32::MAX, u32::MAX], &six), "but 6 follow"),
        (images, idx(0x803, &[0, 2, 3], &[]), "holds no images"),
        (images, idx(0x803, &[1, 0, 3], &[]), "0 pixels"),
        (images, idx(0x803, &[1, 70_000, 70_000], &six), "but 6 follow"),
        (images, idx(0x803, &[0, 70_000, 70_000], &[]), "70000 pixels"),
        (labels, idx(0x801, &[2], &[0, 1]), "2 labels for the 1 images"),
        (labels, idx(0x801, &[1], &[7]), "label 0 is 7, but the training data has only 2 classes"),
        (labels, packed[..packed.len() - 9].to_vec(), "gzip file is cut off or damaged"),
        (labels, [&packed[..12], &[0xFF; 9]].concat(), "gzip file is cut off or damaged"),
        ("train-labels-idx1-ubyte", idx(0x801, &[2], &[1, 1]), "no training image of class \"0\""),
    ] {
        let folder = idx_folder();
        let error = folder.write(file, content).error(&source("idx"));
        assert_has(&error, &[part, file.split("-images").next().unwrap().split("-labels").next().unwrap()]);
    }
    let folder = idx_folder();
    std::fs::remove_file(folder.0.path().join(images)).unwrap();
    let splits = folder.open(&source("idx")).unwrap();
    assert!(splits.test.is_empty() && splits.warnings.len() == 1, "{:?}", splits.warnings);
    let named = source_with("idx", json!({"test": images}));
    assert_has(&folder.error(&named), &["there is no such file, plain or .gz", images]);
    let unnamed = source_with("idx", json!({"train": "data.bin"}));
    assert_has(&folder.error(&unnamed), &["data.bin", "must contain `images`"]);
}

#[test]
fn idx_files_may_have_other_names_and_count_from_one() {
    let folder = Folder::new();
    let values: Vec<u8> = (0..12).collect();
    for part in ["train", "t10k"] {
        folder.write(&format!("{part}-images.idx3-ubyte"), idx(0x803, &[3, 2, 2], &values));
        folder.write(&format!("{part}-labels.idx1-ubyte"), idx(0x801, &[3], &[1, 3, 2]));
    }
    let error = folder.error(&source("idx"));
    assert_has(&error, &["train-images-idx3-ubyte", "`train = \"train-images.idx3-ubyte\"`"]);
    let (train, test) = ("train-images.idx3-ubyte", "t10k-images.idx3-ubyte");
    assert_has(&folder.error(&source_with("idx", json!({"train": train}))), &["`test = \"t10k-images.idx3-ubyte\"`"]);
    let both = source_with("idx", json!({"train": train, "test": test}));
    assert_has(&folder.error(&both), &["no training image of class \"0\"", "`first_label = 1`"]);
    let from_one = source_with("idx", json!({"train": train, "test": test, "first_label": 1}));
    let splits = folder.open(&from_one).unwrap();
    assert_eq!((splits.train.labels(), splits.train.class_names().join(" ")), (&[0, 2, 1][..], "1 2 3".into()));
    for names in ["N/A\na\nb\nc", "a\nb\nc"] {
        folder.write("names.txt", names);
        let options = json!({"train": train, "test": test, "first_label": 1, "classes": "names.txt"});
        let named = source_with("idx", options);
        assert_eq!(folder.open(&named).unwrap().train.class_names(), ["a", "b", "c"]);
    }
    let from_two = source_with("idx", json!({"train": train, "test": test, "first_label": 2}));
    assert_has(&folder.error(&from_two), &["label 0 is 1, below `first_label = 2`"]);
}

#[test]
fn images_in_memory_are_checked() {
    let grey = || Image::new(1, 1, 1, vec![0]).unwrap();
    let colour = Image::new(1, 1, 3, vec![0; 3]).unwrap();
    let error = |images, labels| {
        let names = vec!["a".to_string()];
        Dataset::from_images("train", names, images, labels).unwrap_err().to_string()
    };
    assert_has(&error(vec![], vec![]), &["there are none"]);
    assert_has(&error(vec![grey()], vec![]), &["1 images but 0 labels"]);
    assert_has(&error(vec![grey()], vec![1]), &["label 1"]);
    assert_has(&error(vec![grey(), colour], vec![0, 0]), &["image 1 has 3 channels"]);
}

#[test]
fn subsets_share_and_count() {
    let train = DataSource::default().open(Path::new(".")).unwrap().train;
    let part = train.take_per_class(3);
    assert_eq!((part.len(), part.label(29), part.name_of(3)), (30, 9, "train image 500".into()));
    let some = part.subset(&[29, 0]);
    assert_eq!((some.labels(), some.name_of(0)), (&[9, 0][..], part.name_of(29)));
    assert!(std::sync::Arc::ptr_eq(&some.image(1).unwrap(), &train.image(0).unwrap()));
    let (first, second) = train.split(0.8, 1);
    assert_eq!((first.len(), second.len(), first.take_per_class(9999).len()), (4000, 1000, 4000));
    assert_eq!(train.fraction(0.1, 1).unwrap().len(), 500);
    for share in [0.0, -1.0, 1.1, f64::NAN] {
        assert_has(&train.fraction(share, 1).unwrap_err().to_string(), &["must be above 0"]);
    }
    assert!(part.subset(&[]).is_empty());
    assert_eq!(part.class_counts(), [3; 10]);
    // Classes without an image count, too.
    assert_eq!(some.class_counts(), [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}
