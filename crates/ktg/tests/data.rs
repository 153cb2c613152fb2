//! `ktg data`, and training on data with bad images, from packs, on split files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn ktg(here: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ktg")).current_dir(here).args(arguments).output().unwrap()
}

fn good(here: &Path, arguments: &[&str]) -> String {
    let output = ktg(here, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on standard error when it fails.
fn bad(here: &Path, arguments: &[&str]) -> String {
    let output = ktg(here, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    text
}

/// A BMP of 12 x 10 pixels whose colours depend on the class and the number.
fn bmp(class: usize, number: usize) -> Vec<u8> {
    let (width, height) = (12, 10);
    let mut bytes = b"BM".to_vec();
    for word in [54u32 + 36 * height, 0, 54, 40, width, height] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    let value = |i: u32| (i as usize * (7 + 3 * number) % 50 + 100 * class) as u8;
    bytes.extend((0..36 * height).map(value));
    bytes
}

/// An experiment with ten training and four test images of each of two classes.
fn photos(here: &Path) {
    for (split, images) in [("train", 10), ("test", 4)] {
        for (class, name) in ["cat", "dog"].iter().enumerate() {
            let folder = here.join("photos").join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..images {
                fs::write(folder.join(format!("{i:02}.bmp")), bmp(class, i + 20 * usize::from(split == "test")))
                    .unwrap();
            }
        }
    }
    let text = "side = 8\nseed = 4\n[graph]\npreset = \"dml\"\narchitecture = \"abn-resnet-cifar-8\"\n\
                [data]\nsource = \"folder\"\nroot = \"photos\"\n[train]\nepochs = 2\nbatch_size = 4\n";
    fs::write(here.join("photos.toml"), text).unwrap();
}

fn metrics(here: &Path, run: &str) -> String {
    fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap()
}

#[test]
fn data_is_described_and_checked() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let info = good(here, &["data", "info", "photos.toml"]);
    assert!(info.contains("2 classes, colour") && info.contains("20 images, 10 to 10 a class"), "{info}");
    let json: serde_json::Value =
        serde_json::from_str(&good(here, &["data", "info", "photos.toml", "--json"])).unwrap();
    assert_eq!(json["splits"][1]["per_class"]["dog"], 4);
    assert!(good(here, &["data", "info"]).contains("fashion-mnist"), "the built-in data without arguments");
    let flags = ["data", "check", "--source", "folder", "--root", "photos"];
    assert!(good(here, &flags).contains("all 28 images can be used"));

    fs::write(here.join("photos/train/cat/03.bmp"), "").unwrap();
    fs::write(here.join("photos/test/dog/01.bmp"), "text").unwrap();
    let output = ktg(here, &["data", "check", "photos.toml", "--skip-list", "skip.txt"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("03.bmp: the file is empty") && text.contains("01.bmp: not an image"), "{text}");
    assert!(text.contains("2 of 28 images cannot be used"), "{text}");
    let list = fs::read_to_string(here.join("skip.txt")).unwrap();
    assert_eq!(list, "train/cat/03.bmp\ntest/dog/01.bmp\n");
    let skipping = ["data", "check", "photos.toml", "--set", "data.skip=skip.txt"];
    assert!(good(here, &skipping).contains("all 26 images can be used"));
    let missing = bad(here, &["data", "info", "--source", "stanford-dogs", "--root", "nowhere"]);
    assert!(missing.contains("http://vision.stanford.edu") && missing.contains("docs/data.md"), "{missing}");
}

#[test]
fn what_cannot_be_split_and_data_that_moved_are_said() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let train = ["train", "photos.toml", "--out", "run", "--epochs", "1"];
    good(here, &train);
    fs::remove_file(here.join("run/result.json")).unwrap();
    fs::rename(here.join("photos"), here.join("elsewhere")).unwrap();
    let moved = bad(here, &["train", "--resume", "run"]);
    assert!(moved.contains("if the data has moved") && moved.contains("run/settings.toml"), "{moved}");

    for class in ["cat", "dog"] {
        fs::create_dir_all(here.join("few/train").join(class)).unwrap();
        fs::copy(
            here.join("elsewhere/train").join(class).join("03.bmp"),
            here.join("few/train").join(class).join("1.bmp"),
        )
        .unwrap();
    }
    let split = ["data", "split", "--source", "folder", "--root", "few", "--out", "split.json"];
    let none = bad(here, &split);
    assert!(none.contains("of 2 training images of 2 classes") && none.contains("leaves none"), "{none}");
    assert!(!here.join("split.json").exists());
}

#[test]
fn bad_images_stop_training_unless_they_are_skipped() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    fs::write(here.join("photos/train/cat/03.bmp"), "").unwrap();
    let text = bad(here, &["train", "photos.toml", "--out", "run"]);
    assert!(text.contains("1 of 28 images cannot be used") && text.contains("03.bmp"), "{text}");
    assert!(!here.join("run").exists(), "nothing is half-written");

    let output = ktg(here, &["train", "photos.toml", "--out", "run", "--skip-bad"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.contains("left out: ") && text.contains("1 image is left out"), "{text}");
    assert_eq!(fs::read_to_string(here.join("run/skipped.txt")).unwrap(), "train/cat/03.bmp\n");
    // The run knows what it left out, also when it goes on and when it is judged.
    let result = fs::read(here.join("run/result.json")).unwrap();
    fs::remove_file(here.join("run/result.json")).unwrap();
    good(here, &["train", "--resume", "run"]);
    let again: serde_json::Value = serde_json::from_slice(&fs::read(here.join("run/result.json")).unwrap()).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    assert_eq!(result["measures"], again["measures"]);
    assert_eq!(result["train_images"], 19);
    good(here, &["eval", "run"]);
    // The same images by a list.
    fs::write(here.join("skip.txt"), "# broken\ntrain/cat/03.bmp\n").unwrap();
    good(here, &["train", "photos.toml", "--out", "listed", "--set", "data.skip=skip.txt"]);
    assert_eq!(metrics(here, "run"), metrics(here, "listed"));
}

#[test]
fn a_pack_trains_as_its_source() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let said = good(here, &["data", "pack", "photos.toml", "--out", "photos.pack"]);
    assert!(said.contains("28 images in photos.pack"), "{said}");
    let packed = "side = 8\nseed = 4\n[graph]\npreset = \"dml\"\narchitecture = \"abn-resnet-cifar-8\"\n\
                  [data]\nsource = \"pack\"\nfile = \"photos.pack\"\n[train]\nepochs = 2\nbatch_size = 4\n";
    fs::write(here.join("packed.toml"), packed).unwrap();
    good(here, &["train", "photos.toml", "--out", "from-files"]);
    good(here, &["train", "packed.toml", "--out", "from-pack"]);
    assert_eq!(metrics(here, "from-files"), metrics(here, "from-pack"));

    let mut bytes = fs::read(here.join("photos.pack")).unwrap();
    bytes[100] ^= 1;
    fs::write(here.join("photos.pack"), &bytes).unwrap();
    let text = bad(here, &["train", "packed.toml", "--out", "damaged"]);
    assert!(text.contains("its pixels are damaged; make the pack anew"), "{text}");
    bytes.pop();
    fs::write(here.join("photos.pack"), &bytes).unwrap();
    assert!(bad(here, &["data", "info", "packed.toml"]).contains("cut off"));
    // A bad image leaves no pack behind, and with the flag is left out of it.
    fs::write(here.join("photos/train/dog/00.bmp"), "").unwrap();
    fs::remove_file(here.join("photos.pack")).unwrap();
    bad(here, &["data", "pack", "photos.toml", "--out", "photos.pack"]);
    let left = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with("photos.pack")));
    assert!(good(here, &["data", "pack", "photos.toml", "--out", "photos.pack", "--skip-bad"]).contains("27 images"));
}

#[test]
fn runs_share_a_split_file() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let said = good(here, &["data", "split", "photos.toml", "--out", "split.json", "--share", "0.8"]);
    assert!(said.contains("16 to train on (at least 8 a class), 4 to judge by (at least 2 a class)"), "{said}");
    assert_eq!(said, good(here, &["data", "split", "photos.toml", "--read", "split.json"]));
    let flags = ["--set", "split.evaluate_on=search-split", "--set", "split.file=split.json"];
    good(here, &[&["train", "photos.toml", "--out", "a"], &flags[..]].concat());
    // The run keeps the split that it was started with.
    let result = fs::read_to_string(here.join("a/result.json")).unwrap();
    assert!(result.contains("\"train_images\": 16") && result.contains("\"images\": 4"), "{result}");
    assert_eq!(fs::read(here.join("split.json")).unwrap(), fs::read(here.join("a/split.json")).unwrap());
    fs::remove_file(here.join("split.json")).unwrap();
    good(here, &["eval", "a"]);

    good(here, &["data", "split", "photos.toml", "--out", "split.json"]);
    fs::remove_file(here.join("photos/train/dog/05.bmp")).unwrap();
    let text = bad(here, &[&["train", "photos.toml", "--out", "b"], &flags[..]].concat());
    assert!(text.contains("train/dog/05.bmp") && text.contains("make the split anew"), "{text}");
}

#[test]
fn mixup_and_policies_train() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let text = fs::read_to_string(here.join("photos.toml")).unwrap();
    let steps = "[augment]\npreset = \"cifar\"\nmixup = 0.4\ntrain = [\n{ step = \"random-resized-crop\" },\n\
                 { step = \"color-jitter\", brightness = 0.4, hue = 0.1 },\n{ step = \"rand-augment\" },\n\
                 { step = \"cutout\", size = 3 },\n]\n";
    fs::write(here.join("photos.toml"), text + steps).unwrap();
    good(here, &["train", "photos.toml", "--out", "a"]);
    good(here, &["train", "photos.toml", "--out", "b", "--set", "train.loader_threads=0"]);
    assert_eq!(metrics(here, "a"), metrics(here, "b"));
    let text = bad(here, &["train", "photos.toml", "--out", "c", "--record-steps", "1"]);
    assert!(text.contains("augment.mixup"), "{text}");
    let text = fs::read_to_string(here.join("photos.toml")).unwrap();
    fs::write(here.join("photos.toml"), text.replace("mixup = 0.4", "cutmix = 1.0")).unwrap();
    good(here, &["train", "photos.toml", "--out", "d"]);
    assert_ne!(metrics(here, "a"), metrics(here, "d"));
    let text = bad(here, &["train", "photos.toml", "--out", "e", "--record-steps", "1"]);
    assert!(text.contains("augment.cutmix"), "{text}");
}

#[test]
fn flips_judge_networks_that_were_trained_without() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let train = ["train", "photos.toml", "--set", "augment.preset=whole"];
    good(here, &[&train[..], &["--out", "plain"]].concat());
    good(here, &[&train[..], &["--out", "flipped", "--set", "augment.eval_flip=true"]].concat());
    let methods = |arguments: &[&str]| {
        let text = good(here, arguments);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["methods"].clone()
    };
    let plain = methods(&["eval", "plain", "--json"]);
    let flipped = methods(&["eval", "plain", "--flip", "--json"]);
    assert_ne!(plain, flipped);
    assert_eq!(methods(&["eval", "flipped", "--json"]), flipped);

    let photo = "photos/test/cat/00.bmp";
    let predict =
        |run: &str, flags: &[&str]| good(here, &[&["predict", "--run", run, photo, "--json"], flags].concat());
    assert_ne!(predict("plain", &[]), predict("plain", &["--flip"]));
    assert_eq!(predict("flipped", &[]), predict("plain", &["--flip"]));
}

#[test]
fn what_is_left_out_stays_left_out() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let broken = here.join("photos/train/cat/03.bmp");
    fs::write(&broken, "").unwrap();
    let check = ["data", "check", "photos.toml", "--skip-list", "skip.txt"];
    assert_eq!(ktg(here, &check).status.code(), Some(1));
    // Brought up to date: what was left out before is still in the list.
    fs::write(here.join("photos/train/cat/04.bmp"), "").unwrap();
    let again = [&check[..], &["--set", "data.skip=skip.txt"]].concat();
    let said = String::from_utf8(ktg(here, &again).stdout).unwrap();
    assert!(said.contains("their names are in skip.txt"), "{said}");
    assert_eq!(fs::read_to_string(here.join("skip.txt")).unwrap(), "train/cat/03.bmp\ntrain/cat/04.bmp\n");

    // An interrupted run goes on when the files that it left out have been deleted meanwhile.
    let flags = ["--skip-bad", "--set", "train.epochs=400", "--set", "train.evaluate_every=0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_ktg"));
    command.current_dir(here).args(["train", "photos.toml", "--out", "run"]).args(flags);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    while !fs::read_dir(here.join("run/checkpoints")).is_ok_and(|mut entries| entries.next().is_some()) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!here.join("run/result.json").exists(), "it was to be interrupted");
    fs::remove_file(&broken).unwrap();
    good(here, &["train", "--resume", "run"]);
    // Without an image that the run was trained on, it is another run.
    fs::remove_file(here.join("run/result.json")).unwrap();
    fs::remove_file(here.join("photos/test/dog/00.bmp")).unwrap();
    let text = bad(here, &["train", "--resume", "run"]);
    assert!(text.contains("its images are not those it was started with"), "{text}");
}

#[test]
fn a_pack_of_other_pixels_is_other_data() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    let pack = ["data", "pack", "photos.toml", "--out", "photos.pack"];
    good(here, &pack);
    let train = ["train", "photos.toml", "--out", "run", "--set", "data.source=pack", "--set", "data.file=photos.pack"];
    let text = fs::read_to_string(here.join("photos.toml")).unwrap().replace("root = \"photos\"\n", "");
    fs::write(here.join("packed.toml"), text).unwrap();
    good(here, &train.map(|argument| if argument == "photos.toml" { "packed.toml" } else { argument }));
    fs::remove_file(here.join("run/result.json")).unwrap();
    good(here, &["train", "--resume", "run"]);
    good(here, &[&pack[..], &["--short-side", "9"]].concat());
    assert!(
        good(here, &["data", "info", "packed.toml", "--set", "data.source=pack", "--set", "data.file=photos.pack"])
            .contains("packed from folder, shorter side 9 px at most")
    );
    fs::remove_file(here.join("run/result.json")).unwrap();
    assert!(bad(here, &["train", "--resume", "run"]).contains("its images are not those"));
    // Nothing but a pack is replaced by a pack, nothing but a split by a split.
    assert!(bad(here, &["data", "pack", "photos.toml", "--out", "packed.toml"]).contains("no pack"));
    assert!(bad(here, &["data", "split", "photos.toml", "--out", "photos.toml"]).contains("no split"));
    // A damaged pack does not become a sound one by packing it again.
    let mut bytes = fs::read(here.join("photos.pack")).unwrap();
    bytes[100] ^= 1;
    fs::write(here.join("photos.pack"), &bytes).unwrap();
    let from_pack = ["data", "pack", "--source", "pack", "--set", "data.file=photos.pack", "--out", "second.pack"];
    assert!(bad(here, &from_pack).contains("its pixels are damaged"));
}

#[test]
fn workers_of_a_study_have_the_same_images() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    photos(here);
    fs::write(here.join("photos/train/cat/03.bmp"), "").unwrap();
    good(here, &["data", "split", "photos.toml", "--out", "split.json"]);
    let search = |split: &str, trials: &str| {
        let file = format!("split.file={split}");
        let flags = ["--sampler", "random", "--pruner", "none", "--skip-bad", "--no-wait", "--set"];
        let start = ["search", "photos.toml", "--study", "s", "--trials", trials];
        ktg(here, &[&start[..], &flags[..], &[file.as_str()]].concat())
    };
    // The split has an image that is left out.
    let output = search("split.json", "2");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("1 image is left out"), "{text}");
    let runs: Vec<_> = fs::read_dir(here.join("s.runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(runs.iter().any(|run| run.join("split.json").exists() && run.join("skipped.txt").exists()), "{runs:?}");
    // Another split is another study.
    assert!(search("split.json", "3").status.success());
    good(here, &["data", "split", "photos.toml", "--out", "other.json", "--split-seed", "1"]);
    let output = search("other.json", "4");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("images"), "{text}");
}
