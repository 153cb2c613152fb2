//! Images to leave out, and split files.

use super::*;

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
    assert_has(
        &folder.error(&DataSource { skip: skip.skip, ..source_with("folder", json!({"val": "val"})) }),
        &["no val image is left"],
    );
}

#[test]
fn leaving_out_counts_names_and_not_images() {
    let folder = lists();
    let list = "i/0.png, 0\ni/1.png, 0\ni/1.png, 0\ni/2.png, 1";
    folder.image("i/2.png", 2).write("train.txt", list).write("skip.txt", "i/1.png\ni/9.png");
    let splits = folder.open(&DataSource { skip: Some("skip.txt".into()), ..source("list") }).unwrap();
    assert_eq!((splits.train.len(), splits.skipped.len()), (2, 2));
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
