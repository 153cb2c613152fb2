//! Folders, links, names, and what changes while it is read.

use super::*;

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
