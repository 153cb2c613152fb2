//! Files that are written whole.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use ktg_base::files::{NewFile, is_leftover, write_atomically};

#[test]
fn writers_of_one_file_come_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.json");
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let path = &path;
            scope.spawn(move || (0..20).for_each(|_| write_atomically(path, &[writer; 1000]).unwrap()));
        }
    });
    let content = fs::read(&path).unwrap();
    assert!(content.len() == 1000 && content.iter().all(|byte| *byte == content[0]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn racing_writers_never_show_half_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let content = |writer: u8| vec![b'a' + writer; 1000 * (usize::from(writer) + 1)];
    write_atomically(&path, &content(0)).unwrap();
    let end = Instant::now() + Duration::from_millis(1500);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                while Instant::now() < end {
                    write_atomically(path, &content(writer)).unwrap();
                }
            });
        }
        while Instant::now() < end {
            let found = fs::read(&path).unwrap();
            assert!((0..3).any(|writer| found == content(writer)), "{} bytes", found.len());
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_file_that_is_not_finished_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    write_atomically(&path, b"old").unwrap();
    let mut new = NewFile::create(&path).unwrap();
    new.file().write_all(b"new").unwrap();
    let names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() == 2 && names.iter().any(|name| is_leftover(name, "a.json")), "{names:?}");
    drop(new);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn leftovers_are_told_from_other_files() {
    assert!(is_leftover("graph.toml.x1Y2z3.tmp", "graph.toml") && is_leftover("graph.toml.tmp", "graph.toml"));
    for other in ["graph.toml", "graph.toml.x1Y2z3", "graph.tomlx.tmp", "x.tmp", "other.toml.tmp"] {
        assert!(!is_leftover(other, "graph.toml"), "{other}");
    }
}

#[test]
#[cfg(unix)]
fn others_may_read_it_as_any_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let [ordinary, ours] = ["ordinary", "ours"].map(|name| folder.path().join(name));
    fs::write(&ordinary, "").unwrap();
    write_atomically(&ours, b"").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&ordinary));
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere/a.json");
    let error = write_atomically(&path, b"").unwrap_err().to_string();
    let reason = error.strip_prefix(&format!("cannot write {}: ", path.display())).unwrap();
    assert!(!reason.contains("a.json"), "{error}");
}
