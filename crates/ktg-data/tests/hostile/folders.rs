//! Folders, links, names, and what changes while it is read.

use super::*;

#[test]
fn a_loop_of_links_is_an_error() {
    let folder = Folder::with_classes();
    symlink("..", folder.path("train/cat/up")).unwrap();
    assert_has(&folder.error(&folders()), &["train/cat/up", "loop"]);
    fs::remove_file(folder.path("train/cat/up")).unwrap();
    symlink("self", folder.path("train/cat/self")).unwrap();
    symlink("self.png", folder.path("train/cat/self.png")).unwrap();
    let splits = folder.open(&folders()).unwrap();
    assert_has(&splits.warnings[0], &["1 of the files", "train/cat/self"]);
    assert_has(&check(&splits)[0], &["train/cat/self.png", "a link to self.png"]);
}

#[test]
fn links_that_lead_nowhere_are_bad_images() {
    let folder = Folder::with_classes();
    for name in ["train/cat/x.png", "train/dog/y.jpg", "test/dog/deep/z.png"] {
        symlink("nowhere.png", folder.place(name)).unwrap();
    }
    symlink("/nowhere", folder.path("train/cat/notes")).unwrap();
    let splits = folder.open(&folders()).unwrap();
    assert_has(&splits.warnings[0], &["1 of the files", "train/cat/notes"]);
    let bad = splits.bad_images(2, &|_, _| {});
    let names: Vec<&str> = bad.iter().map(|image| &*image.name).collect();
    assert_eq!(names, ["train/cat/x.png", "train/dog/y.jpg", "test/dog/deep/z.png"]);
    assert_has(&bad[0].problem, &["train/cat/x.png", "a link to nowhere.png", "No such file"]);
    folder.write("skip.txt", names.join("\n"));
    let splits = folder.open(&DataSource { skip: Some("skip.txt".into()), ..folders() }).unwrap();
    assert!(check(&splits).is_empty() && splits.skipped.len() == 3);
}

#[test]
fn a_pointer_to_a_large_file_is_called_one() {
    let folder = Folder::with_classes();
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    folder.write("train/cat/x.jpg", lfs).write("train/cat/y.jpg", "/annex/objects/SHA256E-s5--1f.jpg\n");
    let bad = check(&folder.open(&folders()).unwrap());
    assert_has(&bad[0], &["train/cat/x.jpg", "a pointer", "`git lfs pull`"]);
    assert_has(&bad[1], &["train/cat/y.jpg", "a pointer", "`git annex get`"]);
}

#[test]
fn a_folder_one_level_too_high_is_noticed() {
    let folder = Folder::new();
    for (i, class) in ["oak", "elm", "ash"].into_iter().enumerate() {
        folder.image(format!("train/photos/{class}/1.png"), i as u8).image(format!("test/photos/{class}/1.png"), 9);
    }
    let parts = ["one class folder", "train/photos", "\"ash\", \"elm\", \"oak\"", "`train = \"train/photos\"`"];
    assert_has(&folder.error(&folders()), &parts);
    let deeper = source_with("folder", json!({"train": "train/photos", "test": "test/photos"}));
    assert_eq!(folder.open(&deeper).unwrap().train.class_names(), ["ash", "elm", "oak"]);
    // Two collections of classes are two classes, which may be meant.
    folder.image("train/scans/oak/1.png", 4).image("train/scans/elm/1.png", 4);
    assert_has(&folder.open(&folders()).unwrap().warnings[0], &["only folders of images", "one level too high"]);
    // Images in one folder only.
    let flat = Folder::new();
    flat.image("train/all/1.png", 1).image("train/all/2.png", 2);
    assert_has(&flat.error(&folders()), &["one class folder", "side by side"]);
}

#[test]
fn without_test_images_the_rest_can_be_used() {
    let folder = Folder::with_classes();
    fs::remove_dir_all(folder.path("test")).unwrap();
    let splits = folder.open(&folders()).unwrap();
    assert!(splits.test.is_empty() && splits.test.class_names() == ["cat", "dog"]);
    assert_has(&splits.warnings[0], &["no test images"]);
    assert!(splits.warnings.len() == 1 && check(&splits).is_empty());
    folder.write("skip.txt", "");
    folder.image("train/cat/b.png", 8);
    assert_eq!(splits.without(&["train/cat/b.png".to_string()]).unwrap().train.len(), 2);
    folder.pack("all.pack", None);
    assert!(folder.open(&packed("all.pack")).unwrap().test.is_empty());
    // A folder that somebody named must be there.
    assert_has(&folder.error(&source_with("folder", json!({"test": "test"}))), &["no such folder", "test"]);
}

#[test]
fn files_in_two_parts_are_said_and_equal_bytes_found() {
    let folder = Folder::with_classes();
    let same = source_with("folder", json!({"test": "train"}));
    assert_has(&folder.open(&same).unwrap().warnings[0], &["2 of the 2 test images", "train/cat/a.png"]);
    fs::copy(folder.path("train/cat/a.png"), folder.place("test/dog/renamed.png")).unwrap();
    let splits = folder.open(&folders()).unwrap();
    assert!(splits.warnings.is_empty());
    let found = splits.inspect(2, &|_, _| {});
    let first = ("train", "train/cat/a.png".to_string());
    let second = ("test", "test/dog/renamed.png".to_string());
    assert_eq!(found.duplicates, [Duplicate { first, second }]);
    // Values 0 and 1 of 255, in all channels.
    assert_eq!(found.mean.len(), 3);
    assert!(found.mean.iter().chain(&found.std).all(|value| (value - 0.5 / 255.0).abs() < 1e-9), "{found:?}");
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
#[ignore = "needs a user who is not root"]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with_classes();
    let file = folder.path("train/cat/a.png");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(fs::File::open(&file).is_err(), "root may read everything: run this test as another user");
    let splits = folder.open(&folders()).unwrap();
    assert_has(&check(&splits)[0], &["cannot read", "train/cat/a.png", "denied"]);
    fs::set_permissions(folder.path("train/dog"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = folder.error(&folders());
    fs::set_permissions(folder.path("train/dog"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_has(&error, &["cannot read", "train/dog", "denied"]);
}
