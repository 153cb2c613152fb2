//! Files that are written.

use super::*;

#[test]
fn the_second_of_two_writers_is_told() {
    let folder = Folder::with_classes();
    let first = NewFile::create(&folder.path("all.pack")).unwrap();
    let splits = folder.open(&folders()).unwrap();
    let error = pack(&splits, "folder", None, &folder.path("all.pack"), 1, &|_, _| true).unwrap_err().to_string();
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
