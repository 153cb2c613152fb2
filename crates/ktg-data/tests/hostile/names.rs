//! Odd names in lists of images to leave out: one a line, and each names one image.

use super::*;

/// Leaves out what cannot be used by a list of the names, and finds nothing bad any more.
fn leaves_out_the_bad(settings: &DataSource, folder: &Folder, bad_count: usize) {
    let splits = folder.open(settings).unwrap();
    let bad: Vec<String> = splits.bad_images(1, &|_, _| {}).into_iter().map(|bad| bad.name).collect();
    assert_eq!(bad.len(), bad_count, "{bad:?}");
    folder.write("skip.txt", bad.join("\n") + "\n");
    let rest = folder.open(&DataSource { skip: Some("skip.txt".into()), ..settings.clone() }).unwrap();
    assert!(rest.bad_images(1, &|_, _| {}).is_empty(), "still bad; list {bad:?}");
    let mut skipped = rest.skipped.clone();
    skipped.sort();
    let mut bad = bad;
    bad.sort();
    assert_eq!(skipped, bad);
    assert_eq!(rest.train.len(), splits.train.len() - bad_count);
}

#[test]
fn names_that_are_no_line_of_text_come_back() {
    let folder = Folder::with_classes();
    for name in [&b"line\nend.png"[..], b"#1.png", b" blank .png", b"same-\xFF.png"] {
        folder.write(Path::new("train/cat").join(not_utf8(name)), "");
    }
    folder.image(Path::new("train/cat").join(not_utf8(b"same-\xFE.png")), 9);
    leaves_out_the_bad(&folders(), &folder, 4);
}

#[test]
fn names_may_start_like_a_comment_a_blank_or_a_byte_order_mark() {
    let folder = Folder::with_classes();
    for class in ["#cat", " cat", "\u{FEFF}cat"] {
        folder.image(format!("{class}/good.png"), 5).write(format!("{class}/bad.png"), "");
        folder.image(format!("test/{class}/t.png"), 5);
        let _ = fs::remove_dir_all(folder.path("train"));
        let settings = source("list");
        folder.write("train.txt", format!("\"{class}/good.png\",a\n\"{class}/bad.png\",a\ntest/dog/d.png,b\n"));
        folder.write("test.txt", "test/cat/c.png,a\n");
        leaves_out_the_bad(&settings, &folder, 1);
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_not_that_of_its_escapes() {
    let folder = Folder::with_classes();
    folder.write(Path::new("train/cat").join(not_utf8(b"same-\xFF.png")), "");
    folder.image("train/cat/same-\\xff.png", 9);
    leaves_out_the_bad(&folders(), &folder, 1);
}

#[test]
fn a_name_of_two_lines_is_not_that_of_its_escapes() {
    let folder = Folder::with_classes();
    folder.write("train/cat/line\nend.png", "");
    folder.image("train/cat/line\\nend.png", 9);
    leaves_out_the_bad(&folders(), &folder, 1);
}
