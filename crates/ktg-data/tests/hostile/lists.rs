//! List files.

use super::*;

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
        folder.image(Path::new("i").join(name), value).write("train.txt", format!("\u{FEFF}{line}\r\ni/1.png, 1"));
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
    let second = source_with("list", json!({"label_column": 2}));
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
    let named = source_with("list", json!({"classes": "names.txt"}));
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
    for (line, parts) in [
        ("i/broken.png, 0".to_string(), &["i/broken.png", "a link to gone.png"][..]),
        ("i/\0.png, 0".to_string(), &["cannot read"]),
        (format!("{}.png, 0", "long/".repeat(2000)), &["cannot read"]),
    ] {
        folder.write("train.txt", format!("i/0.png, 0\n{line}\ni/1.png, 1"));
        let splits = folder.open(&source("list")).unwrap();
        assert_has(&splits.warnings[0], &["1 of the 3 files", "train.txt", "line 2"]);
        assert_has(&check(&splits)[0], parts);
    }
}

#[test]
fn missing_files_are_counted_and_can_be_left_out() {
    let folder = lists();
    let gone: String = (0..57).map(|i| format!("i/gone-{i}.png, {}\n", i % 2)).collect();
    folder.write("train.txt", format!("i/0.png, 0\n{gone}i/1.png, 1"));
    let splits = folder.open(&source("list")).unwrap();
    assert_has(&splits.warnings[0], &["57 of the 59 files", "line 2"]);
    let bad = splits.bad_images(2, &|_, _| {});
    assert_eq!(bad.len(), 57);
    assert_has(&bad[56].problem, &["i/gone-56.png", "No such file"]);
    folder.write("skip.txt", bad.iter().map(|image| format!("{}\n", image.name)).collect::<String>());
    let splits = folder.open(&DataSource { skip: Some("skip.txt".into()), ..source("list") }).unwrap();
    assert!(check(&splits).is_empty() && splits.train.len() == 2);
}

#[test]
fn labels_may_count_from_one() {
    let folder = lists();
    folder.image("i/2.png", 3).write("train.txt", "i/0.png, 1\ni/1.png, 2\ni/2.png, 3").write("test.txt", "i/0.png, 3");
    let from_one = source_with("list", json!({"first_label": 1}));
    let splits = folder.open(&from_one).unwrap();
    assert_eq!((splits.train.labels(), splits.test.labels()), (&[0, 1, 2][..], &[2][..]));
    assert_eq!(splits.train.class_names(), ["1", "2", "3"]);
    let named = source_with("list", json!({"first_label": 1, "classes": "names.txt"}));
    folder.write("names.txt", "ash\nelm\noak");
    assert_eq!(folder.open(&named).unwrap().train.labels(), [0, 1, 2]);
    folder.write("test.txt", "i/0.png, 0");
    assert_has(&folder.error(&from_one), &["test.txt:1", "\"0\"", "lacks"]);
    folder.write("train.txt", "i/0.png, 0\ni/1.png, 1");
    assert_has(&folder.error(&from_one), &["labels start at 0", "`first_label = 1`"]);
}

#[test]
fn links_may_lead_out_of_the_root() {
    // Data sets are often folders of links to a store; who can write links can write images.
    let (folder, store) = (lists(), Folder::new());
    store.image("store/x.png", 9).image("store/y.png", 9);
    symlink(store.path("store/x.png"), folder.path("i/x.png")).unwrap();
    folder.write("train.txt", "i/x.png, 0\ni/1.png, 1");
    assert_eq!(folder.open(&source("list")).unwrap().train.image(0).unwrap().pixels[0], 9);
    let folder = Folder::with_classes();
    symlink(store.path("store"), folder.path("train/cat/more")).unwrap();
    let train = folder.open(&folders()).unwrap().train;
    assert_eq!(names(&train)[1..3], ["train/cat/more/x.png", "train/cat/more/y.png"]);
}
