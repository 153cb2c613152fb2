//! Opening the official data sets, by miniatures of them (tests/fixtures/sets, made by make_sets.py).

use ktg_data::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use walkdir::WalkDir;

type SetNumbers = (&'static str, &'static str, &'static str, [usize; 3], [usize; 3]);

/// Name of the source, its miniature, the folder that the official archive makes (if any), and the
/// official and the miniature's numbers of classes, training images and test images.
const SETS: [SetNumbers; 6] = [
    ("stanford-dogs", "stanford-dogs", "", [120, 12_000, 8_580], [8, 16, 8]),
    ("stanford-cars", "stanford-cars", "", [196, 8_144, 8_041], [4, 8, 4]),
    ("stanford-cars", "stanford-cars-devkit", "stanford_cars", [196, 8_144, 8_041], [4, 8, 4]),
    ("cub-200-2011", "cub-200-2011", "CUB_200_2011", [200, 5_994, 5_794], [3, 6, 4]),
    ("cifar-10", "cifar-10", "cifar-10-batches-bin", [10, 50_000, 10_000], [10, 10, 3]),
    ("cifar-100", "cifar-100", "cifar-100-binary", [100, 50_000, 10_000], [100, 100, 2]),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sets")
}

/// A copy of a miniature, to open and to damage.
struct Set {
    source: &'static str,
    folder: tempfile::TempDir,
}

impl Set {
    fn new(source: &'static str, miniature: &str) -> Self {
        let set = Self { source, folder: tempfile::tempdir().unwrap() };
        let from = fixtures().join(miniature);
        for entry in WalkDir::new(&from).into_iter().map(|entry| entry.unwrap()) {
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(&from).unwrap().to_str().unwrap();
                set.write(path, std::fs::read(entry.path()).unwrap());
            }
        }
        match miniature {
            "cifar-10" => set.write_cifar_10(),
            "cifar-100" => set.write_cifar_100(),
            _ => {}
        }
        set
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), content).unwrap();
        self
    }

    /// Puts one of the MAT files of the fixtures in the place of another file.
    fn replace(&self, path: &str, fixture: &str) -> &Self {
        self.write(path, std::fs::read(fixtures().join(fixture)).unwrap())
    }

    fn remove(&self, path: &str) -> &Self {
        let path = self.path(path);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        self
    }

    fn open(&self) -> Splits {
        self.open_with(json!({})).unwrap()
    }

    fn error(&self) -> String {
        self.error_with(json!({}))
    }

    /// Opens it as a set that may be incomplete, in the temporary folder, unless the options say otherwise.
    fn open_with(&self, options: Value) -> Result<Splits, String> {
        let mut settings = json!({"source": self.source, "root": ".", "incomplete": true});
        settings.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let source: DataSource = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        source.open(self.folder.path()).map_err(|error| error.to_string())
    }

    /// The error's text, with `SET` for the temporary folder, whose name has random digits.
    fn error_with(&self, options: Value) -> String {
        self.open_with(options).unwrap_err().replace(self.folder.path().to_str().unwrap(), "SET")
    }

    /// Two records in each of the five files for training.
    fn write_cifar_10(&self) {
        for (i, labels) in CIFAR_10_TRAIN.chunks(2).enumerate() {
            let records: Vec<u8> = (0..2).flat_map(|j| record(&[labels[j]], 2 * i + j)).collect();
            self.write(&format!("cifar-10-batches-bin/data_batch_{}.bin", i + 1), records);
        }
        let records: Vec<u8> = (0..3).flat_map(|i| record(&[CIFAR_10_TEST[i]], 10 + i)).collect();
        self.write("cifar-10-batches-bin/test_batch.bin", records);
    }

    /// One record of each class for training.
    fn write_cifar_100(&self) {
        let records = |fine: &[u8], first: usize| -> Vec<u8> {
            let one = |(i, &fine): (usize, &u8)| record(&[COARSE[fine as usize], fine], first + i);
            fine.iter().enumerate().flat_map(one).collect()
        };
        self.write("cifar-100-binary/train.bin", records(&cifar_100_train(), 0));
        self.write("cifar-100-binary/test.bin", records(&CIFAR_100_TEST, 100));
    }
}

const CIFAR_10_TRAIN: [u8; 10] = [6, 9, 4, 1, 2, 7, 8, 3, 5, 0];
const CIFAR_10_TEST: [u8; 3] = [3, 8, 0];
const CIFAR_100_TEST: [u8; 2] = [49, 33];

/// The official superclass of each class.
const COARSE: [u8; 100] = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
    12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
    12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14,
    13,
];

/// All classes, in no simple order.
fn cifar_100_train() -> Vec<u8> {
    (0..100).map(|i| ((i * 37 + 19) % 100) as u8).collect()
}

fn record(labels: &[u8], number: usize) -> Vec<u8> {
    let pixels = (0..3).flat_map(|plane| {
        (0..32).flat_map(move |row| (0..32).map(move |column| cifar_value(number, plane, row, column)))
    });
    labels.iter().copied().chain(pixels).collect()
}

fn cifar_value(number: usize, plane: usize, row: usize, column: usize) -> u8 {
    (number + 85 * plane + 7 * row + column) as u8
}

/// The images must be those of the given labels and numbers, in this order: make_sets.py gives each a
/// colour of its own.
#[track_caller]
fn assert_images(dataset: &Dataset, expected: &[(u32, usize)]) {
    let labels: Vec<u32> = expected.iter().map(|&(label, _)| label).collect();
    assert_eq!(dataset.labels(), labels);
    for (i, &(label, number)) in expected.iter().enumerate() {
        let image = dataset.image(i).unwrap();
        assert_eq!((image.width, image.height, image.channels), (8, 6, 3));
        let colour = [20 + 10 * label as u8, 20 + 5 * number as u8, 200];
        let close = image.pixels[..3].iter().zip(colour).all(|(&value, wanted)| value.abs_diff(wanted) <= 2);
        assert!(close, "image {i}: {:?}, not {colour:?}", &image.pixels[..3]);
    }
}

#[track_caller]
fn assert_cifar_images(dataset: &Dataset, first: usize) {
    for i in 0..dataset.len() {
        let image = dataset.image(i).unwrap();
        assert_eq!((image.width, image.height, image.channels), (32, 32, 3));
        for (at, &value) in image.pixels.iter().enumerate() {
            let (row, column, channel) = (at / 96, at / 3 % 32, at % 3);
            assert_eq!(value, cifar_value(first + i, channel, row, column), "image {i}, {row}, {column}, {channel}");
        }
    }
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in: {text}");
    }
}

#[test]
fn all_miniatures_open_from_their_folder_and_from_the_folder_above() {
    for (source, miniature, inside, _, [classes, train, test]) in SETS {
        let set = Set::new(source, miniature);
        for root in [".", inside].iter().filter(|root| !root.is_empty()) {
            let splits = set.open_with(json!({"root": root})).unwrap();
            assert_eq!((splits.train.len(), splits.test.len()), (train, test), "{miniature}");
            assert_eq!((splits.train.classes(), splits.test.class_names()), (classes, splits.train.class_names()));
            assert_eq!((splits.train.channels(), splits.val.is_none()), (3, true));
            splits.train.check(1, &|_, _| {}).unwrap();
        }
    }
}

#[test]
fn stanford_dogs_are_read() {
    let set = Set::new("stanford-dogs", "stanford-dogs");
    let Splits { train, test, .. } = set.open();
    let names = "Chihuahua Blenheim_spaniel Rhodesian_ridgeback Staffordshire_bullterrier Yorkshire_terrier \
                 soft-coated_wheaten_terrier Siberian_husky standard_poodle";
    assert_eq!(train.class_names().join(" "), names);
    assert_images(&train, &(0..16).map(|i| (i as u32 / 2, 3 * (i / 2) + i % 2)).collect::<Vec<_>>());
    assert_images(&test, &(0..8).map(|i| (i as u32, 3 * i + 2)).collect::<Vec<_>>());
    assert!(train.name_of(0).ends_with("Images/n02085620-Chihuahua/n02085620_5927.jpg"));

    // The official lists.tar unpacks into no folder of its own.
    for list in ["file_list", "train_list", "test_list"] {
        set.replace(&format!("{list}.mat"), &format!("stanford-dogs/lists/{list}.mat"));
    }
    set.remove("lists");
    assert_eq!((set.open().train.labels(), set.open().test.labels()), (train.labels(), test.labels()));
}

const CARS: [&str; 4] = [
    "AM General Hummer SUV 2000",
    "Acura RL Sedan 2012",
    "Ram C/V Cargo Van Minivan 2012",
    "smart fortwo Convertible 2012",
];

#[test]
fn both_layouts_of_stanford_cars_have_their_own_split() {
    let set = Set::new("stanford-cars", "stanford-cars");
    let Splits { train, test, .. } = set.open();
    assert_eq!(train.class_names(), CARS);
    assert_images(&train, &[(0, 0), (0, 2), (1, 3), (1, 4), (2, 6), (2, 8), (3, 9), (3, 11)]);
    assert_images(&test, &[(0, 1), (1, 5), (2, 7), (3, 10)]);
    assert!(train.name_of(0).ends_with("car_ims/000001.jpg"));

    let set = Set::new("stanford-cars", "stanford-cars-devkit");
    let Splits { train, test, .. } = set.open();
    assert_eq!(train.class_names(), CARS);
    assert_images(&train, &[(2, 0), (0, 1), (3, 2), (1, 3), (0, 4), (2, 5), (1, 6), (3, 7)]);
    assert_images(&test, &[(1, 8), (3, 9), (0, 10), (2, 11)]);
    assert!(test.name_of(0).ends_with("cars_test/00001.jpg"));
}

#[test]
fn the_photos_tell_which_layout_of_stanford_cars_a_bundle_has() {
    // The list of one layout beside all of the other one, as in Kaggle's bundles, at the top and in the archive's folder.
    for folder in ["", "stanford_cars/"] {
        let kit = Set::new("stanford-cars", "stanford-cars-devkit");
        let expected = kit.open();
        kit.replace(&format!("{folder}cars_annos.mat"), "stanford-cars/cars_annos.mat");
        let splits = kit.open();
        assert_eq!((splits.train.len(), splits.test.len()), (8, 4), "{folder}");
        assert_eq!(splits.train.labels(), expected.train.labels());
    }
    let whole = Set::new("stanford-cars", "stanford-cars");
    let expected = whole.open();
    whole.replace("devkit/cars_train_annos.mat", "stanford-cars-devkit/stanford_cars/devkit/cars_train_annos.mat");
    assert_eq!(whole.open().train.labels(), expected.train.labels());
}

#[test]
fn missing_photos_of_a_published_set_are_counted_and_may_be_skipped() {
    let set = Set::new("cub-200-2011", "cub-200-2011");
    let all: Vec<PathBuf> = (0..6).map(|i| set.open().train.path(i).unwrap().to_owned()).collect();
    for path in &all[1..3] {
        std::fs::remove_file(path).unwrap();
    }
    assert_has(
        &set.error_with(json!({"incomplete": null})),
        &["2 of the 10 image files are not there", "`incomplete = true`"],
    );
    let splits = set.open();
    assert!(splits.warnings.iter().any(|warning| warning.contains("2 of the 10")), "{:?}", splits.warnings);
    assert_eq!(splits.bad_images(1, &|_, _| {}).len(), 2);
}

#[test]
fn cub_200_2011_is_read() {
    let set = Set::new("cub-200-2011", "cub-200-2011");
    let Splits { train, test, .. } = set.open();
    assert_eq!(train.class_names(), ["Black_footed_Albatross", "Laysan_Albatross", "Sooty_Albatross"]);
    assert_images(&train, &[(0, 1), (0, 3), (1, 4), (1, 5), (2, 8), (2, 9)]);
    assert_images(&test, &[(0, 0), (0, 2), (1, 6), (2, 7)]);
    let first = "images/001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg";
    assert!(train.name_of(0).ends_with(first));
}

#[test]
fn the_lines_of_cub_may_stand_in_any_order() {
    let set = Set::new("cub-200-2011", "cub-200-2011");
    for file in ["image_class_labels.txt", "train_test_split.txt"] {
        let path = format!("CUB_200_2011/{file}");
        let text = std::fs::read_to_string(set.path(&path)).unwrap();
        let reversed: Vec<&str> = text.lines().rev().collect();
        set.write(&path, reversed.join("\r\n"));
    }
    assert_images(&set.open().train, &[(0, 1), (0, 3), (1, 4), (1, 5), (2, 8), (2, 9)]);
}

#[test]
fn cifar_10_is_read() {
    let set = Set::new("cifar-10", "cifar-10");
    let Splits { train, test, .. } = set.open();
    let names = "airplane automobile bird cat deer dog frog horse ship truck";
    assert_eq!(train.class_names().join(" "), names);
    assert_eq!(train.labels(), CIFAR_10_TRAIN.map(u32::from));
    assert_eq!(test.labels(), CIFAR_10_TEST.map(u32::from));
    assert_cifar_images(&train, 0);
    assert_cifar_images(&test, 10);
}

#[test]
fn cifar_100_has_fine_and_coarse_labels() {
    let set = Set::new("cifar-100", "cifar-100");
    let fine: Vec<u32> = cifar_100_train().into_iter().map(u32::from).collect();
    for options in [json!({}), json!({"labels": "fine"})] {
        let Splits { train, test, .. } = set.open_with(options).unwrap();
        assert_eq!((train.classes(), train.labels(), test.labels()), (100, &fine[..], &[49, 33][..]));
        assert_eq!((&*train.class_names()[1], &*train.class_names()[99]), ("aquarium_fish", "worm"));
        assert_cifar_images(&train, 0);
        assert_cifar_images(&test, 100);
    }
    let Splits { train, test, .. } = set.open_with(json!({"labels": "coarse"})).unwrap();
    let coarse: Vec<u32> = fine.iter().map(|&fine| COARSE[fine as usize].into()).collect();
    assert_eq!((train.classes(), train.labels(), test.labels()), (20, &coarse[..], &[10, 10][..]));
    assert_eq!(
        (&*train.class_names()[0], &*train.class_names()[9]),
        ("aquatic_mammals", "large_man-made_outdoor_things")
    );
    assert_cifar_images(&train, 0);

    assert_has(&set.error_with(json!({"labels": "medium"})), &["medium", "fine", "coarse"]);
    let other = Set::new("cifar-10", "cifar-10");
    let error = other.error_with(json!({"labels": "fine"}));
    assert_has(&error, &["`labels` of the data source \"cifar-10\"", "unknown field"]);
}

#[test]
fn an_incomplete_set_is_an_error_unless_allowed() {
    for (source, miniature, _, official, found) in SETS {
        let set = Set::new(source, miniature);
        for incomplete in [None, Some(false)] {
            let error = set.error_with(json!({"incomplete": incomplete}));
            assert_has(&error, &["incomplete = true", "SET"]);
            let numbers: Vec<usize> = error
                .replace(',', "")
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            for part in [1, 2] {
                assert!(numbers.contains(&official[part]) && numbers.contains(&found[part]), "{miniature}: {error}");
            }
        }
    }
    let folder = Set { source: "folder", folder: tempfile::tempdir().unwrap() };
    assert_has(&folder.error(), &["`incomplete` of the data source \"folder\": unknown field"]);
}

#[test]
fn who_has_no_data_learns_where_to_get_it_and_how_to_lay_it_out() {
    for (source, layout) in [
        ("stanford-dogs", &["Images", "train_list", "test_list"][..]),
        ("stanford-cars", &["cars_annos.mat", "car_ims", "devkit", "cars_train"]),
        ("cub-200-2011", &["images", "train_test_split"]),
        ("cifar-10", &["data_batch_1.bin", "test_batch.bin"]),
        ("cifar-100", &["train.bin", "test.bin"]),
    ] {
        let set = Set { source, folder: tempfile::tempdir().unwrap() };
        let empty = set.error();
        assert_has(&empty, layout);
        assert_has(&empty, &["SET", "http"]);
        let absent = set.error_with(json!({"root": "absent"}));
        assert_has(&absent, layout);
        assert_has(&absent, &["SET/absent", "http"]);
        set.write("file", "");
        assert_has(&set.error_with(json!({"root": "file"})), &["file", "is a file"]);
        assert_has(&set.error_with(json!({"root": null})), &["needs `root`"]);
    }
}

#[test]
fn a_missing_part_is_named() {
    for (source, miniature, parts) in [
        (
            "stanford-dogs",
            "stanford-dogs",
            &[
                "lists/train_list.mat",
                "lists/test_list.mat",
                "Images",
                "Images/n02110185-Siberian_husky/n02110185_388.jpg",
            ][..],
        ),
        ("stanford-cars", "stanford-cars", &["cars_annos.mat", "car_ims", "car_ims/000012.jpg"]),
        (
            "stanford-cars",
            "stanford-cars-devkit",
            &[
                "stanford_cars/devkit/cars_meta.mat",
                "stanford_cars/devkit/cars_train_annos.mat",
                "stanford_cars/cars_test_annos_withlabels.mat",
                "stanford_cars/cars_train",
                "stanford_cars/cars_test",
                "stanford_cars/cars_test/00004.jpg",
            ],
        ),
        (
            "cub-200-2011",
            "cub-200-2011",
            &[
                "CUB_200_2011/images.txt",
                "CUB_200_2011/image_class_labels.txt",
                "CUB_200_2011/train_test_split.txt",
                "CUB_200_2011/classes.txt",
                "CUB_200_2011/images",
                "CUB_200_2011/images/003.Sooty_Albatross/Sooty_Albatross_0031_1066.jpg",
            ],
        ),
        (
            "cifar-10",
            "cifar-10",
            &[
                "cifar-10-batches-bin/data_batch_3.bin",
                "cifar-10-batches-bin/test_batch.bin",
                "cifar-10-batches-bin/batches.meta.txt",
            ],
        ),
        (
            "cifar-100",
            "cifar-100",
            &["cifar-100-binary/train.bin", "cifar-100-binary/test.bin", "cifar-100-binary/fine_label_names.txt"],
        ),
    ] {
        for part in parts {
            let set = Set::new(source, miniature);
            set.remove(part);
            // A photo may be missing, where an incomplete set is allowed.
            let said = if part.ends_with(".jpg") { set.open().warnings.join(" ") } else { set.error() };
            assert_has(&said, &[part.rsplit('/').next().unwrap()]);
        }
    }
    // The list of all files and the unlabelled annotations are not needed.
    Set::new("stanford-dogs", "stanford-dogs").remove("lists/file_list.mat").open();
    Set::new("stanford-cars", "stanford-cars-devkit").remove("stanford_cars/devkit/cars_test_annos.mat").open();
}

#[test]
fn damaged_mat_files_are_errors() {
    for (source, miniature, file) in [
        ("stanford-dogs", "stanford-dogs", "lists/train_list.mat"),
        ("stanford-cars", "stanford-cars", "cars_annos.mat"),
        ("stanford-cars", "stanford-cars-devkit", "stanford_cars/devkit/cars_meta.mat"),
        ("stanford-cars", "stanford-cars-devkit", "stanford_cars/cars_test_annos_withlabels.mat"),
    ] {
        let set = Set::new(source, miniature);
        let whole = std::fs::read(set.path(file)).unwrap();
        for length in [0, 1, 127, 128, 132, 136, 140, whole.len() / 2, whole.len() - 1] {
            assert_has(&set.write(file, &whole[..length]).error(), &[file]);
        }
        for content in [&b"<html>404 Not Found</html>"[..], &[0xFF; 4000], &[0; 4000]] {
            assert_has(&set.write(file, content).error(), &[file]);
        }
        // A changed byte may go unnoticed, but nothing may panic.
        for at in 128..whole.len() {
            let mut content = whole.clone();
            content[at] ^= 0xFF;
            let _ = set.write(file, content).open_with(json!({}));
        }
        assert_has(&set.replace(file, "mat/version-7.3.mat").error(), &[file, "7.3"]);
        for entry in std::fs::read_dir(fixtures().join("mat")).unwrap() {
            let name = entry.unwrap().file_name();
            let error = set.replace(file, &format!("mat/{}", name.to_str().unwrap())).error();
            assert_has(&error, &[file]);
        }
    }
}

#[test]
fn mat_files_of_wrong_content_are_errors() {
    for (fixture, parts) in [
        ("dogs-label-0", &["0"][..]),
        ("dogs-label-1.5", &["labels"]),
        ("dogs-label-9", &[]),
        ("dogs-two-folders-of-label-1", &["Chihuahua", "Siberian_husky"]),
        ("dogs-two-files-one-label", &["2", "1"]),
        ("dogs-no-labels", &["labels"]),
        ("dogs-labels-are-text", &["labels"]),
        ("dogs-files-are-numbers", &["file_list"]),
        ("dogs-path-outside", &["../../secret"]),
        ("dogs-empty", &[]),
    ] {
        let set = Set::new("stanford-dogs", "stanford-dogs");
        let error = set.replace("lists/train_list.mat", &format!("wrong/{fixture}.mat")).error();
        assert_has(&error, &["train_list.mat"]);
        assert_has(&error, parts);
    }
    for (fixture, parts) in [
        ("cars-class-0", &["0"][..]),
        ("cars-class-5", &["5", "4"]),
        ("cars-class-is-text", &["class"]),
        ("cars-path-outside", &["../../00001.jpg"]),
        ("cars-no-fname", &["fname"]),
        ("cars-no-annotations", &["annotations"]),
    ] {
        let set = Set::new("stanford-cars", "stanford-cars-devkit");
        let file = "stanford_cars/devkit/cars_train_annos.mat";
        let error = set.replace(file, &format!("wrong/{fixture}.mat")).error();
        assert_has(&error, &["cars_train_annos.mat"]);
        assert_has(&error, parts);
    }
}

#[test]
fn wrong_text_files_of_cub_are_errors() {
    for (file, from, to, parts) in [
        ("image_class_labels.txt", "10 3\n", "", &["10"][..]),
        ("image_class_labels.txt", "10 3\n", "10 3\n11 3\n", &["11"]),
        ("image_class_labels.txt", "10 3\n", "9 3\n", &["9"]),
        ("image_class_labels.txt", "10 3\n", "10 4\n", &["4"]),
        ("image_class_labels.txt", "10 3\n", "10 0\n", &["0"]),
        ("image_class_labels.txt", "10 3\n", "10 three\n", &["10"]),
        ("image_class_labels.txt", "10 3\n", "10\n", &[":10"]),
        ("train_test_split.txt", "10 1\n", "", &["10"]),
        ("train_test_split.txt", "10 1\n", "10 1\n11 1\n", &["11"]),
        ("train_test_split.txt", "10 1\n", "10 2\n", &["2"]),
        ("images.txt", "10 003", "ten 003", &["ten"]),
        ("images.txt", "10 003", "10 ../003", &["../003"]),
        ("images.txt", "10 003", "1 003", &["1"]),
        ("classes.txt", "3 003.Sooty_Albatross\n", "", &["3"]),
        ("classes.txt", "3 003", "4 003", &["class 3"]),
    ] {
        let set = Set::new("cub-200-2011", "cub-200-2011");
        let path = format!("CUB_200_2011/{file}");
        let text = std::fs::read_to_string(set.path(&path)).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        let error = set.write(&path, text.replace(from, to)).error();
        assert_has(&error, &[".txt"]);
        assert_has(&error, parts);
        assert_has(&set.write(&path, "").error(), &[".txt"]);
        assert_has(&set.write(&path, b"1 \xFF\n").error(), &[file]);
    }
}

#[test]
fn wrong_cifar_files_are_errors() {
    let good = record(&[3], 0);
    for (content, part) in [
        (vec![], ""),
        (good[..3072].to_vec(), "307"),
        ([&good[..], &[1]].concat(), "307"),
        (record(&[10], 0), "10"),
        (record(&[255], 0), "255"),
    ] {
        for file in ["data_batch_5.bin", "test_batch.bin"] {
            let set = Set::new("cifar-10", "cifar-10");
            let error = set.write(&format!("cifar-10-batches-bin/{file}"), &content).error();
            assert_has(&error, &[file, part]);
        }
    }
    for (content, part) in [
        (good, "307"), // a record of CIFAR-10
        (record(&[0, 100], 0), "100"),
        (record(&[20, 0], 0), "20"),
    ] {
        let set = Set::new("cifar-100", "cifar-100");
        let labels = if content[0] == 20 { "coarse" } else { "fine" };
        let error = set.write("cifar-100-binary/test.bin", &content).error_with(json!({"labels": labels}));
        assert_has(&error, &["test.bin", part]);
    }
    let set = Set::new("cifar-10", "cifar-10");
    assert_has(&set.write("cifar-10-batches-bin/batches.meta.txt", "airplane\n").error(), &["cifar-10-batches-bin"]);
    assert_has(&set.write("cifar-10-batches-bin/batches.meta.txt", "\n").error(), &["batches.meta.txt"]);
    let set = Set::new("cifar-10", "cifar-10");
    let error = set.write("cifar-10-batches-bin/data_batch_1.bin", record(&[6], 0)).error();
    assert_has(&error, &["no training image", "truck"]);
}

#[test]
fn a_whole_set_of_official_size_opens_quickly() {
    const IMAGES: usize = 11_788;
    let set = Set { source: "cub-200-2011", folder: tempfile::tempdir().unwrap() };
    let one = fixtures().join("cub-200-2011/CUB_200_2011/images/002.Laysan_Albatross/Laysan_Albatross_0082_524.jpg");
    set.write("CUB_200_2011/one.jpg", std::fs::read(one).unwrap());
    let [mut images, mut labels, mut split, mut classes] = [const { String::new() }; 4];
    for class in 0..200 {
        let folder = format!("{:03}.Bird_{class}", class + 1);
        std::fs::create_dir_all(set.path("CUB_200_2011/images").join(&folder)).unwrap();
        classes += &format!("{} {folder}\n", class + 1);
    }
    for i in 0..IMAGES {
        let class = i * 200 / IMAGES;
        // Every second one and 100 more: 5,994.
        let is_training = u8::from(i % 2 == 0 || i % 118 == 1);
        let file = format!("{:03}.Bird_{class}/Bird_{i:05}.jpg", class + 1);
        std::fs::hard_link(set.path("CUB_200_2011/one.jpg"), set.path("CUB_200_2011/images").join(&file)).unwrap();
        images += &format!("{} {file}\n", i + 1);
        labels += &format!("{} {}\n", i + 1, class + 1);
        split += &format!("{} {is_training}\n", i + 1);
    }
    set.write("CUB_200_2011/images.txt", images).write("CUB_200_2011/image_class_labels.txt", labels);
    set.write("CUB_200_2011/train_test_split.txt", split).write("CUB_200_2011/classes.txt", classes);

    let start = Instant::now();
    let Splits { train, test, .. } = set.open_with(json!({"incomplete": null})).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((train.len(), test.len(), train.classes()), (5_994, 5_794, 200));
    assert_eq!((&*train.class_names()[199], train.label(5_993)), ("Bird_199", 199));
    assert_eq!(train.image(5_993).unwrap().width, 8);
}
