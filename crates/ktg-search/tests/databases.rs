//! Files and servers that are no databases of studies, and names that nobody would give a study.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use common::{Place, assert_sentence, new_trial, on_each_storage, unique};
use ktg_search::Error;
use ktg_search::storage::{Inserted, Patience, State, Storage, StorageUrl, Study};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The files of a directory with their contents.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap_or_default())).collect()
}

/// Opens a study and the list of studies, with and without leave to create; all must fail alike and leave the directory
/// as it is. Returns the message.
fn refused(place: &Place) -> String {
    let before = contents(place.directory());
    let mut messages = Vec::new();
    for create in [false, true] {
        messages.push(Study::open(&place.url, "s", create, Patience::none()).map(drop).unwrap_err().to_string());
        messages.push(Storage::open(&place.url, create, Patience::none()).map(drop).unwrap_err().to_string());
    }
    for message in &messages {
        assert_sentence(message);
        assert!(message.contains(&place.url.to_string()), "{message}");
    }
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
    let after = contents(place.directory());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "files came or went");
    assert!(before == after, "a foreign file was changed");
    messages.swap_remove(0)
}

/// A file with a study in it, closed.
fn with_study() -> Place {
    let place = Place::sqlite();
    let mut study = place.study("s");
    for i in 0..30 {
        let Inserted::Trial(trial) = study.insert(&new_trial(&format!("g{i}")), &unique("w"), 100).unwrap() else {
            panic!();
        };
        (1..6).for_each(|step| assert!(study.report(trial.id, step, 0.5).unwrap()));
        study.complete_rung(trial.id, 0, 0.5).unwrap();
        match i % 3 {
            0 => assert!(study.finish(trial.id, State::Complete, Some(0.5), &[]).unwrap()),
            1 => assert!(study.pause(trial.id, 0).unwrap()),
            _ => {}
        }
    }
    place
}

#[test]
fn a_missing_file_is_only_made_by_who_may_create_it() {
    let place = Place::sqlite();
    for _ in 0..2 {
        let message = Study::open(&place.url, "s", false, Patience::none()).map(drop).unwrap_err().to_string();
        assert_eq!(message, format!("{}: there is no such file", place.url));
        assert_eq!(contents(place.directory()), BTreeMap::new());
    }
    place.study("s");
    let message = Study::open(&place.url, "t", false, Patience::none()).map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.contains(&place.url.to_string()) && message.contains("\"t\""), "{message}");
    assert_eq!(place.storage().studies().unwrap().len(), 1);
}

on_each_storage!(an_empty_database_becomes_one_of_studies_only_with_leave, empty_postgres);
fn an_empty_database_becomes_one_of_studies_only_with_leave(place: &Place) {
    if place.is_sqlite() {
        fs::write(place.file(), "").unwrap();
    }
    let message = Storage::open(&place.url, false, Patience::none()).map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.contains("no studies in it"), "{message}");
    if place.is_sqlite() {
        assert_eq!(contents(place.directory()), [("studies.db".to_owned(), vec![])].into());
    }
    place.study("s");
    assert_eq!(place.storage().studies().unwrap()[0].name, "s");
}

on_each_storage!(many_workers_create_one_database_and_one_study, empty_postgres);
fn many_workers_create_one_database_and_one_study(place: &Place) {
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| place.study("s"));
        }
    });
    let studies = place.storage().studies().unwrap();
    assert_eq!((studies.len(), &studies[0].directions[..]), (1, &["MAXIMIZE".to_owned()][..]));
    assert_eq!(place.count("SELECT count(*) FROM alembic_version"), 1);
}

#[test]
fn a_file_of_another_kind_is_refused_and_stays_as_it_is() {
    let place = Place::sqlite();
    fs::write(place.file(), "number,value\n1,0.5\n".repeat(200)).unwrap();
    assert!(refused(&place).contains("not an SQLite database"));
    // The first bytes of one, and nothing behind.
    fs::write(place.file(), b"SQLite format 3\0").unwrap();
    refused(&place);
}

#[test]
fn another_programs_database_is_refused_and_stays_as_it_is() {
    for journal in ["DELETE", "WAL"] {
        let place = Place::sqlite();
        let users = "CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('me'); CREATE TABLE studies_old (x);";
        place.sql(&format!("PRAGMA journal_mode = {journal}; {users}"));
        let message = refused(&place);
        assert!(message.contains("another program") && message.contains("`users`"), "{message}");
    }
}

#[test]
fn another_programs_database_in_use_is_refused_and_stays_as_it_is() {
    // Its program has died, and what it wrote last is in the log beside the file.
    let (place, copy) = (Place::sqlite(), Place::sqlite());
    let connection = rusqlite::Connection::open(place.file()).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE users (name TEXT)").unwrap();
    for name in ["studies.db", "studies.db-wal"] {
        fs::copy(place.directory().join(name), copy.directory().join(name)).unwrap();
    }
    let before = contents(copy.directory());
    for _ in 0..2 {
        let message = Study::open(&copy.url, "s", true, Patience::none()).map(drop).unwrap_err().to_string();
        assert!(message.contains("`users`"), "{message}");
        let mut after = contents(copy.directory());
        // The index of the log, which SQLite makes anew for every reader, may be left.
        after.remove("studies.db-shm");
        assert!(before == after, "a foreign file was changed");
    }
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn a_schema_of_another_program_in_postgresql_is_refused() {
    let place = Place::empty_postgres();
    place.sql("CREATE TABLE users (name TEXT)");
    assert!(refused(&place).contains("`users`"));
    assert_eq!(place.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"), [["users"]]);
}

on_each_storage!(tables_that_are_missing_or_of_another_version_are_named, empty_postgres);
fn tables_that_are_missing_or_of_another_version_are_named(place: &Place) {
    place.study("s");
    let message = |change: &str, undo: &str| {
        place.sql(change);
        let refused = Study::open(&place.url, "s", true, Patience::none()).map(drop).unwrap_err().to_string();
        place.sql(undo);
        assert_sentence(&refused);
        refused
    };
    let version = |version: &str| format!("UPDATE alembic_version SET version_num = '{version}'");
    let older = message(&version("v3.0.0.d"), &version("v3.2.0.a"));
    assert!(older.contains("v3.0.0.d") && older.contains("v3.2.0.a"), "{older}");
    let way_out = "bring a copy of the database up with `optuna storage upgrade --storage URL`";
    assert!(older.contains(way_out), "{older}");
    let none = message("DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('v3.2.0.a')");
    assert!(none.contains("version none"), "{none}");
    let (there, away) =
        ("ALTER TABLE trial_heartbeats RENAME TO beats", "ALTER TABLE beats RENAME TO trial_heartbeats");
    let lacks = message(there, away);
    assert!(lacks.contains("lacks Optuna's table `trial_heartbeats`") && lacks.contains(way_out), "{lacks}");
    place.study("s");
}

on_each_storage!(a_study_that_does_not_maximise_one_value_is_refused);
fn a_study_that_does_not_maximise_one_value_is_refused(place: &Place) {
    place.study(&unique("directions"));
    for directions in [&["MINIMIZE"][..], &["MAXIMIZE", "MAXIMIZE"], &["NOT_SET"], &[]] {
        let name = unique("directions");
        place.sql(&format!("INSERT INTO studies (study_name) VALUES ('{name}')"));
        for (i, direction) in directions.iter().enumerate() {
            place.sql(&format!(
                "INSERT INTO study_directions (direction, study_id, objective) VALUES ('{direction}', {}, {i})",
                place.key(&name)
            ));
        }
        let message = Study::open(&place.url, &name, true, Patience::none()).map(drop).unwrap_err().to_string();
        assert_sentence(&message);
        assert!(message.contains("MAXIMIZE") && message.contains(&name), "{message}");
    }
}

#[test]
fn places_that_cannot_be_a_file_are_refused() {
    let place = Place::sqlite();
    let message = |path: &Path| {
        let url = StorageUrl::file(path);
        let message = Storage::open(&url, true, Patience::none()).map(drop).unwrap_err().to_string();
        assert_sentence(&message);
        assert!(message.contains(&url.to_string()), "{message}");
        message
    };
    assert!(message(place.directory()).contains("cannot be opened"));
    assert!(message(&place.directory().join("missing/studies.db")).contains("does its directory exist?"));
    if cfg!(target_os = "linux") {
        // Nobody can make a file there, not even root.
        assert!(message(Path::new("/proc/self/studies.db")).contains("cannot be opened"));
    }
    assert_eq!(contents(place.directory()), BTreeMap::new());
}

#[test]
fn a_truncated_study_is_refused_or_read_as_far_as_it_goes() {
    let whole = fs::read(with_study().file()).unwrap();
    for length in (0..whole.len()).step_by(1 + whole.len() / 60).chain([1, 15, 16, 99, 100, 512, 4095, 4096, 4097]) {
        poke(&whole[..length]);
    }
}

#[test]
fn flipped_bytes_in_a_study_do_no_harm_to_who_reads_it() {
    let whole = fs::read(with_study().file()).unwrap();
    let flips = prop::collection::vec((0..whole.len(), any::<u8>()), 1..30);
    TestRunner::new(Config { cases: 150, max_shrink_iters: 20, failure_persistence: None, ..Config::default() })
        .run(&flips, |flips| {
            let mut bytes = whole.clone();
            flips.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            poke(&bytes);
            Ok(())
        })
        .unwrap();
}

/// Does everything that there is to do with a damaged file. Errors are fine, if they are sentences; a panic is not, nor
/// is to take forever.
fn poke(bytes: &[u8]) {
    let place = Place::sqlite();
    fs::write(place.file(), bytes).unwrap();
    let (send, done) = mpsc::channel();
    let url = place.url.clone();
    let thread = std::thread::spawn(move || {
        let mut errors: Vec<Error> = Vec::new();
        let mut storage = Storage::open(&url, false, Patience::none()).map_err(|e| errors.push(e)).ok();
        storage.as_mut().map(|storage| storage.studies().map_err(|e| errors.push(e)));
        if let Ok(mut study) = Study::open(&url, "s", false, Patience::none()).map_err(|e| errors.push(e)) {
            for trial in study.trials().map_err(|e| errors.push(e)).unwrap_or_default() {
                let _ = (trial.rung(), trial.is_paused(), trial.last_report(), trial.repeats().is_some());
            }
            let mut note = |result: Result<(), Error>| errors.extend(result.err());
            note(study.progress(0, &[]).map(drop));
            note(study.count().map(drop));
            note(study.rungs(None).map(drop));
            note(study.complete_at(1).map(drop));
            note(study.paused().map(drop));
            note(study.claim_waiting("w").map(drop));
            note(study.claim_paused(2, "v").map(drop));
            note(study.insert(&new_trial("new"), "u", 1000).map(drop));
            note(study.report(3, 9, 0.5).map(drop));
            note(study.heartbeats().and_then(|all| study.reap(&all, Duration::from_secs(60), 3)).map(drop));
            note(study.finish(3, State::Complete, Some(0.5), &[]).map(drop));
        }
        errors.iter().for_each(|error| assert_sentence(&error.to_string()));
        let _ = send.send(());
    });
    let _ = done.recv_timeout(Duration::from_secs(60)).map_err(|e| assert_ne!(e, mpsc::RecvTimeoutError::Timeout));
    thread.join().unwrap();
}

on_each_storage!(the_largest_number_of_a_trial_is_no_trap);
fn the_largest_number_of_a_trial_is_no_trap(place: &Place) {
    let name = unique("largest");
    let mut study = place.study(&name);
    let largest = if place.is_sqlite() { i64::MAX } else { i32::MAX.into() };
    place
        .sql(&format!("INSERT INTO trials (number, study_id, state) VALUES ({largest}, {}, 'FAIL')", place.key(&name)));
    let _ = study.count();
    let _ = study.insert(&new_trial("g"), "w", i64::MAX).map_err(|e| assert_sentence(&e.to_string()));
}

// ---- names ----

/// Makes a study of a name, and finds it again.
fn make_and_find(place: &Place, name: &str) {
    let mut study = place.study(name);
    assert_eq!(study.name(), name);
    assert!(matches!(study.insert(&new_trial("g"), &unique("w"), 10).unwrap(), Inserted::Trial(_)));
    let mut again = Study::open(&place.url, name, false, Patience::none()).unwrap();
    assert_eq!(again.count().unwrap(), 1);
    let listed = place.storage().studies().unwrap();
    assert_eq!(listed.iter().filter(|study| study.name == name).count(), 1, "{name:?}");
}

#[test]
fn any_text_of_up_to_512_characters_is_a_name() {
    let place = Place::sqlite();
    let any = prop::collection::vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 1..=512);
    let short = "[a'\"\\\\%_;\n\t 🐢é-]{1,12}";
    let names = prop_oneof![any.prop_map(String::from_iter), short];
    let mut seen = std::collections::HashSet::new();
    let mut runner =
        TestRunner::new(Config { cases: 80, max_shrink_iters: 20, failure_persistence: None, ..Config::default() });
    let seen = std::cell::RefCell::new(&mut seen);
    runner
        .run(&names, |name| {
            if seen.borrow_mut().insert(name.clone()) {
                make_and_find(&place, &name);
            }
            Ok(())
        })
        .unwrap();
}

on_each_storage!(names_that_others_would_stumble_over_work_on_every_database);
fn names_that_others_would_stumble_over_work_on_every_database(place: &Place) {
    let unicode = place.is_sqlite() || place.rows("SHOW server_encoding") == [["UTF8"]];
    let long = if unicode { "🐢".repeat(512 - 60) } else { "x".repeat(512 - 60) };
    let names =
        ["'; DROP TABLE studies; --", "\"quoted\"", "$1", "%s %_", "a\nb\r\tc", "\\x00", " ", "名前 🐢\u{202e}", &long];
    for name in names {
        // The server is shared, and a name is taken once.
        make_and_find(place, &format!("{name}{}", unique("")));
    }
    let full = unique("");
    make_and_find(place, &format!("{full}{}", "y".repeat(512 - full.len())));
    for name in ["", "a\0b", &"x".repeat(513), &"é".repeat(513)] {
        for create in [false, true] {
            let error = Study::open(&place.url, name, create, Patience::none()).map(drop).unwrap_err().to_string();
            assert!(error.contains("1 to 512 characters"), "{error}");
        }
    }
}

// ---- passwords ----

#[test]
fn no_message_shows_a_password() {
    let rests = [
        "127.0.0.1:1/db",
        "127.0.0.1:1/db?connect_timeout=1",
        "127.0.0.1:port/db",
        "127.0.0.1:99999/db",
        "127.0.0.1:1/db?unknown=1",
        "127.0.0.1:1/db?sslmode=require",
        "[::1/db",
        "/",
        "",
    ];
    for password in
        ["s3cret", "s3cr:et", "s3cr%zzet", "s3cr/et", "s3cr?et", "s3cr#et", "s3cr@et", "s3 cr'et", "%00s3cret"]
    {
        for rest in rests {
            let text = format!("postgresql://me:{password}@{rest}");
            let message = match text.parse::<StorageUrl>() {
                Err(error) => error.to_string(),
                Ok(url) => match Study::open(&url, "s", true, Patience::none()) {
                    Err(error) => format!("{error} {error:?} {url} {url:?}"),
                    Ok(_) => panic!("there is no server at {text}"),
                },
            };
            assert!(!message.contains("s3cr"), "{text}: {message}");
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_reason() {
    let url: StorageUrl = "postgresql://me:s3cret@127.0.0.1:1/db".parse().unwrap();
    let message = Storage::open(&url, true, Patience::none()).map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.starts_with("postgresql://me:***@127.0.0.1:1/db: the server cannot be reached"), "{message}");
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn a_database_that_the_server_does_not_have_is_named() {
    let place = Place::postgres();
    let url: StorageUrl = format!("{}_of_nobody", place.text).parse().unwrap();
    let message = Storage::open(&url, true, Patience::none()).map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.contains("does not exist") && message.contains(&url.to_string()), "{message}");
}
