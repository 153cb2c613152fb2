//! Packs.

use super::*;

#[test]
fn a_pack_is_its_source() {
    let folder = Folder::with_classes();
    folder.image("train/cat/z.png", 200).image("test/cat/y.png", 100).image("val/dog/v.png", 50);
    let with_val = source_with("folder", json!({"val": "val"}));
    let source = folder.open(&with_val).unwrap();
    let summary = pack(&source, "folder", None, &folder.path("all.pack"), 0, &|_, _| true).unwrap();
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
    let none = pack(&source, "folder", Some(0), &folder.path("none.pack"), 1, &|_, _| true);
    assert!(none.is_err() && !folder.path("none.pack").exists() && !folder.has_unfinished_files());
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
    let right = description(r#""a","b""#, 3, both, r#""x","y""#);
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
        (with(3, 2), "image 1 is impossible"), // there are two classes
        (pack_of(&pixels, &[[64, all, all, 0, 0]; 2], &right), "image 0 is impossible"),
        (pack_of(&pixels, &[entry], &right), "do not match"),
        (pack_of(&pixels, &[entry; 3], &right), "do not match"),
        (pack_of(&pixels, &[entry; 2], &description(r#""a","b""#, 2, both, r#""x","y""#)), "do not match"),
        (pack_of(&pixels, &[entry; 2], &description(r#""a","b""#, 3, both, r#""x""#)), "do not match"),
        (pack_of(&pixels, &[entry; 2], &description("", 3, both, r#""x","y""#)), "image 0 is impossible"),
        (
            pack_of(&pixels, &[], &description(r#""a","b""#, 3, r#"["train",0],["test",0]"#, "")),
            "no training or no test",
        ),
        (
            pack_of(&pixels, &[entry; 2], &description(r#""a","b""#, 3, r#"["train",2]"#, r#""x","y""#)),
            "no training or no",
        ),
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
fn a_pack_that_is_stopped_leaves_nothing_and_an_old_one() {
    let folder = Folder::with_classes();
    let splits = folder.open(&folders()).unwrap();
    let stopped = |path: &Path| pack(&splits, "folder", None, path, 1, &|done, _| done == 0).unwrap_err().to_string();
    let (new, old) = (folder.path("new.pack"), folder.pack("old.pack", None));
    let before = fs::read(&old).unwrap();
    assert_has(&stopped(&new), &["new.pack", "stopped"]);
    assert_has(&stopped(&old), &["old.pack", "stopped"]);
    assert!(!new.exists() && !folder.has_unfinished_files());
    assert_eq!(fs::read(&old).unwrap(), before);
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
    let mut unfinished = NewFile::create(&folder.path("all.pack")).unwrap();
    unfinished.file().write_all(&whole[..100]).unwrap();
    assert_has(&folder.error(&packed("all.pack")), &["cannot read", "all.pack", "No such file"]);
    // Nor does it disturb another writer.
    assert_eq!(fs::read(folder.pack("all.pack", None)).unwrap(), whole);
    drop(unfinished);
    assert_eq!(fs::read(folder.path("all.pack")).unwrap(), whole);
    assert!(!folder.has_unfinished_files());
}

#[test]
fn an_image_that_cannot_be_used_leaves_the_old_pack() {
    let folder = Folder::with_classes();
    let old = fs::read(folder.pack("all.pack", None)).unwrap();
    folder.write("test/dog/d.png", "broken");
    let splits = folder.open(&folders()).unwrap();
    let error = pack(&splits, "folder", None, &folder.path("all.pack"), 1, &|_, _| true).unwrap_err().to_string();
    assert_has(&error, &["test/dog/d.png", "not an image"]);
    assert_eq!(fs::read(folder.path("all.pack")).unwrap(), old);
    assert!(!folder.has_unfinished_files());
    let nowhere = folder.path("nowhere/all.pack");
    let error = pack(&splits, "folder", None, &nowhere, 1, &|_, _| true).unwrap_err().to_string();
    assert_has(&error, &["cannot write", "nowhere/all.pack", "No such file"]);
}
