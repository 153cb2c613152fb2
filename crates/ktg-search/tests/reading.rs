//! Reading a study in a file: nothing is written into it nor beside it, wherever it is and whoever works on it.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::{Place, assert_sentence, new_trial, unique};
use ktg_search::storage::{Inserted, Patience, State, Storage, StorageUrl, Study, Trial};

/// The files of a directory: contents, and when each was changed.
fn files(directory: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let file = |entry: fs::DirEntry| {
        let (content, changed) = (fs::read(entry.path()).unwrap(), entry.metadata().unwrap().modified().unwrap());
        (entry.file_name().into_string().unwrap(), (content, changed))
    };
    entries.map(file).collect()
}

/// Adds a complete trial.
fn add(study: &mut Study, graph: &str) {
    let Inserted::Trial(claimed) = study.insert(&new_trial(graph), &unique("work"), 10_000).unwrap() else { panic!() };
    assert!(study.report(claimed.id, 1, 0.5).unwrap());
    assert!(study.finish(claimed.id, State::Complete, Some(0.5), &[]).unwrap());
}

/// A closed study of so many trials.
fn closed(trials: usize) -> Place {
    let place = Place::sqlite();
    let mut study = place.study("s");
    (0..trials).for_each(|i| add(&mut study, &format!("g{i}")));
    drop(study);
    assert_eq!(files(place.directory()).into_keys().collect::<Vec<_>>(), ["studies.db"]);
    place
}

/// Reads all that there is to read of the study "s".
fn read(url: &StorageUrl) -> Vec<Trial> {
    assert_eq!(Storage::open_to_read(url).unwrap().studies().unwrap()[0].name, "s");
    let mut study = Study::open_to_read(url, "s").unwrap();
    assert_eq!(study.attribute("search space").unwrap(), None);
    study.trials().unwrap()
}

/// Copies the files of a study whose worker is at work, as if it died now.
fn as_left_by_a_dead_worker(trials: usize, ends: &[&str]) -> Place {
    let (living, dead) = (Place::sqlite(), Place::sqlite());
    let mut study = living.study("s");
    (0..trials).for_each(|i| add(&mut study, &format!("g{i}")));
    for end in ends {
        let name = format!("studies.db{end}");
        fs::copy(living.directory().join(&name), dead.directory().join(&name)).unwrap();
    }
    dead
}

#[test]
fn reading_a_closed_study_changes_no_file_and_makes_none() {
    let place = closed(3);
    let before = files(place.directory());
    assert_eq!(read(&place.url).len(), 3);
    assert_eq!(files(place.directory()), before);
}

#[test]
fn reading_a_study_that_is_not_there_makes_nothing() {
    let place = Place::sqlite();
    let message = Study::open_to_read(&place.url, "s").map(drop).unwrap_err().to_string();
    assert_eq!(message, format!("{}: there is no such file", place.url));
    fs::write(place.file(), "").unwrap();
    let before = files(place.directory());
    let message = Study::open_to_read(&place.url, "s").map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.contains("there are no studies in it (a copy of a database in use needs"), "{message}");
    assert_eq!(files(place.directory()), before);
    let named = Study::open_to_read(&place.url, "").map(drop).unwrap_err().to_string();
    assert!(named.contains("1 to 512 characters"), "{named}");
    let missing = Study::open_to_read(&closed(1).url, "t").map(drop).unwrap_err().to_string();
    assert!(missing.contains("no such study"), "{missing}");
}

#[test]
fn a_database_without_a_log_as_optuna_makes_it_stays_as_it_is() {
    let place = closed(3);
    place.sql("PRAGMA journal_mode = DELETE");
    let before = files(place.directory());
    assert_eq!(before["studies.db"].0[18..20], [1, 1]);
    assert_eq!(read(&place.url).len(), 3);
    assert_eq!(files(place.directory()), before);
}

#[test]
fn the_log_of_a_dead_worker_is_read_and_stays_as_it_is() {
    for ends in [&["", "-wal"][..], &["", "-wal", "-shm"]] {
        let place = as_left_by_a_dead_worker(5, ends);
        let before = files(place.directory());
        assert!(before["studies.db-wal"].0.len() > 10_000);
        assert_eq!(read(&place.url).len(), 5, "{ends:?}");
        let after = files(place.directory());
        assert!(after.keys().eq(before.keys()), "{ends:?}");
        for name in ["studies.db", "studies.db-wal"] {
            assert!(after[name] == before[name], "{name} {ends:?}");
        }
    }
}

#[test]
fn an_interrupted_change_of_a_database_without_a_log_is_not_read() {
    let place = closed(2);
    place.sql("PRAGMA journal_mode = DELETE");
    let connection = rusqlite::Connection::open(place.file()).unwrap();
    // So small a cache that pages are written before the commit.
    connection
        .execute_batch(
            "PRAGMA cache_size = 1; PRAGMA synchronous = OFF; BEGIN IMMEDIATE; UPDATE trials SET number = number + 100; \
             CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
             SELECT i, randomblob(400) FROM n",
        )
        .unwrap();
    let dead = Place::sqlite();
    for name in ["studies.db", "studies.db-journal"] {
        fs::copy(place.directory().join(name), dead.directory().join(name)).unwrap();
    }
    drop(connection);
    let before = files(dead.directory());
    assert!(before["studies.db-journal"].0.len() > 512);
    let numbers: Vec<i64> = read(&dead.url).iter().map(|trial| trial.number).collect();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(files(dead.directory()), before);
}

#[test]
fn who_reads_while_others_work_sees_what_is_committed() {
    let place = Place::sqlite();
    let mut study = place.study("s");
    add(&mut study, "g");
    // Two kinds of readers: one that stays, and one for every look.
    let mut stays = Study::open_to_read(&place.url, "s").unwrap();
    for i in 1..20 {
        add(&mut study, &format!("g{i}"));
        assert_eq!(stays.trials().unwrap().len(), i + 1);
        assert_eq!(read(&place.url).len(), i + 1);
    }
    // The last worker leaves, and the log with it; then another one comes.
    drop(study);
    assert_eq!(read(&place.url).len(), 20);
    let mut study = place.study("s");
    for i in 20..40 {
        add(&mut study, &format!("g{i}"));
        assert_eq!(stays.trials().unwrap().len(), i + 1);
        assert_eq!(read(&place.url).len(), i + 1);
    }
}

#[test]
fn a_reader_of_a_closed_study_notices_workers_that_come_and_go() {
    let place = closed(1);
    let mut stays = Study::open_to_read(&place.url, "s").unwrap();
    assert_eq!(stays.trials().unwrap().len(), 1);
    for i in 1..6 {
        // Each worker's leaving writes the file itself.
        let mut study = place.study("s");
        add(&mut study, &format!("g{i}"));
        if i % 2 == 0 {
            assert_eq!(stays.trials().unwrap().len(), i + 1);
        }
        drop(study);
        assert_eq!(stays.trials().unwrap().len(), i + 1);
    }
}

#[test]
fn readers_never_meet_half_a_change_however_workers_come_and_go() {
    let place = closed(1);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..60 {
                let mut study = place.study("s");
                (0..3).for_each(|j| add(&mut study, &format!("g{i} {j}")));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut reads = 0;
        let mut last = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            // Whoever reads in the very moment of a change may be told so.
            match Study::open_to_read(&place.url, "s").and_then(|mut study| study.trials()) {
                Ok(trials) => {
                    assert!(trials.len() >= last);
                    assert!(trials.iter().enumerate().all(|(i, trial)| trial.number == i as i64));
                    (reads, last) = (reads + 1, trials.len());
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("changes while it is") || error.contains("another process"), "{error}");
                }
            }
        }
        assert!(reads > 10, "{reads}");
    });
    assert_eq!(read(&place.url).len(), 1 + 59 * 3);
}

#[test]
fn a_reader_cannot_write() {
    let place = closed(1);
    let before = files(place.directory());
    let mut study = Study::open_to_read(&place.url, "s").unwrap();
    let message = study.insert(&new_trial("new"), "w", 100).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.contains("cannot be written"), "{message}");
    assert!(study.report(1, 7, 0.5).is_err());
    assert_eq!(study.trials().unwrap().len(), 1);
    drop(study);
    assert_eq!(files(place.directory()), before);
}

#[test]
fn names_of_files_mean_nothing_else() {
    let original = closed(2);
    for name in ["a?mode=memory", "b#c.db", "100%25.db", " spaces &=+.db", "%00", "quote'\".db", "名前🐢.db", "c:d"]
    {
        let place = Place::sqlite();
        let file = place.directory().join(name);
        fs::copy(original.file(), &file).unwrap();
        let url = StorageUrl::file(&file);
        assert_eq!(read(&url).len(), 2, "{name}");
        assert_eq!(files(place.directory()).into_keys().collect::<Vec<_>>(), [name]);
        // With a log, others' locks are needed.
        let mut study = Study::open(&url, "s", false, Patience::none()).unwrap();
        add(&mut study, "new");
        assert_eq!(read(&url).len(), 3, "{name}");
    }
}

/// A directory as a medium that cannot be written.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn mount(path: &'a Path) -> Self {
        let mount = |options: &str| {
            let output = Command::new("mount").args(["-o", options]).arg(path).arg(path).output();
            let output = output.expect("this test needs the program `mount`");
            let problem = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "this test needs leave to mount a disk, as root has it: {}",
                problem.trim()
            );
        };
        mount("bind");
        let mounted = Self(path);
        mount("remount,bind,ro");
        assert!(fs::write(path.join("new"), "").is_err());
        mounted
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// A worker's message about a study that it cannot write.
fn assert_names_the_directory(place: &Place) {
    for create in [false, true] {
        let message = match Study::open(&place.url, "s", create, Patience::none()) {
            Err(error) => error.to_string(),
            Ok(mut study) => study.insert(&new_trial("new"), "w", 10_000).unwrap_err().to_string(),
        };
        assert_sentence(&message);
        let directory = format!("the directory {}", place.directory().display());
        assert!(message.contains(&directory) && message.contains("must be writable"), "{message}");
    }
}

/// Studies in every state in which a copy may be, with their number of trials.
fn studies_to_read() -> Vec<(Place, usize)> {
    let without_log = closed(3);
    without_log.sql("PRAGMA journal_mode = DELETE");
    vec![
        (closed(2), 2),
        (without_log, 3),
        (as_left_by_a_dead_worker(4, &["", "-wal"]), 4),
        (as_left_by_a_dead_worker(5, &["", "-wal", "-shm"]), 5),
    ]
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn a_study_on_a_read_only_disk_is_read() {
    for (place, trials) in studies_to_read() {
        let disk = ReadOnly::mount(place.directory());
        assert_eq!(read(&place.url).len(), trials);
        assert_names_the_directory(&place);
        let new = StorageUrl::file(place.directory().join("new.db"));
        let message = Storage::open(&new, true, Patience::none()).map(drop).unwrap_err().to_string();
        assert!(message.contains("the directory ") && message.contains("must be writable"), "{message}");
        drop(disk);
    }
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn a_study_on_a_read_only_disk_that_others_write_elsewhere_is_read() {
    let place = Place::sqlite();
    let mut study = place.study("s");
    let view = tempfile::tempdir().unwrap();
    let bound = Command::new("mount").args(["--bind"]).arg(place.directory()).arg(view.path()).status().unwrap();
    assert!(bound.success());
    let _disk = ReadOnly(view.path());
    let options = ["-o", "remount,bind,ro"];
    assert!(Command::new("mount").args(options).arg(view.path()).status().unwrap().success());
    let url = StorageUrl::file(view.path().join("studies.db"));
    for i in 0..10 {
        add(&mut study, &format!("g{i}"));
        assert_eq!(read(&url).len(), i + 1);
    }
}

#[test]
#[cfg(unix)]
#[ignore = "must not be run as root, who may do everything"]
fn a_study_in_a_directory_without_leave_to_write_is_read() {
    use std::os::unix::fs::PermissionsExt;
    for (mode_of_directory, mode_of_files) in [(0o555, 0o444), (0o555, 0o644), (0o755, 0o444)] {
        for (place, trials) in studies_to_read() {
            let set = |mode| fs::set_permissions(place.directory(), Permissions::from_mode(mode)).unwrap();
            for name in files(place.directory()).keys() {
                fs::set_permissions(place.directory().join(name), Permissions::from_mode(mode_of_files)).unwrap();
            }
            set(mode_of_directory);
            let before = files(place.directory());
            assert_eq!(read(&place.url).len(), trials);
            assert!(files(place.directory()).keys().eq(before.keys()));
            if mode_of_files == 0o444 {
                assert_names_the_directory(&place);
            }
            set(0o755);
        }
    }
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn a_database_that_optuna_made_and_writes_is_read_and_stays_as_it_is() {
    let python = common::needed("KTG_OPTUNA_PYTHON", "a Python with optuna 5.0.0");
    let place = Place::sqlite();
    let script = "import sys, optuna\n\
                  study = optuna.create_study(study_name='s', storage=sys.argv[1], direction='maximize')\n\
                  study.optimize(lambda trial: trial.suggest_float('lr', 0, 1), n_trials=40)";
    let mut optuna = Command::new(python).args(["-c", script, &place.text]).spawn().unwrap();
    let (mut looks, mut last) = (0, 0);
    while optuna.try_wait().unwrap().is_none() {
        if let Ok(trials) = Study::open_to_read(&place.url, "s").and_then(|mut study| study.trials()) {
            assert!(trials.len() >= last);
            (looks, last) = (looks + 1, trials.len());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(optuna.wait().unwrap().success() && looks > 3, "{looks}");
    let before = files(place.directory());
    assert_eq!(read(&place.url).len(), 40);
    assert_eq!(files(place.directory()), before);
}
