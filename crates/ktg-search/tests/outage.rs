//! Databases that are locked, full, restarted, or whose answers are lost: workers wait, and nothing happens twice.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use common::{Place, assert_sentence, attentive, new_trial, patience, unique};
use ktg_search::Error;
use ktg_search::storage::{Claimed, Inserted, Patience, State, Storage, StorageUrl, Study};

/// One test restarts the server; the others wait for it.
static SERVER: RwLock<()> = RwLock::new(());

fn insert(study: &mut Study, graph: &str) -> Claimed {
    match study.insert(&new_trial(graph), &unique("work"), 1_000_000).unwrap() {
        Inserted::Trial(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Reports step after step until it is told to stop, and says how many.
fn keep_reporting(study: &mut Study, trial: i64, stop: &AtomicBool) -> usize {
    let steps = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
    steps.map(|step| assert!(study.report(trial, step, 0.5).unwrap())).count()
}

fn wait_for(what: &str, mut happens: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(40);
    while !happens() {
        assert!(Instant::now() < end, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sets a flag when it goes.
struct Set<'a>(&'a AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reports while `trouble` lasts: it is given the ear that hears the worker's notices.
fn outlasts(url: &StorageUrl, trouble: impl FnOnce(&Mutex<Vec<String>>)) {
    let (attentive, heard) = attentive();
    let name = unique("outage");
    let mut study = Study::open(url, &name, true, attentive).unwrap();
    let trial = insert(&mut study, "g").id;
    let stop = AtomicBool::new(false);
    let reported = std::thread::scope(|scope| {
        let reporting = scope.spawn(|| keep_reporting(&mut study, trial, &stop));
        // However this ends, the other thread must.
        let _end = Set(&stop);
        std::thread::sleep(Duration::from_millis(50));
        trouble(&heard);
        if heard.lock().unwrap().is_empty() {
            println!("the trouble was over before a notice was due");
            std::thread::sleep(Duration::from_secs(1));
        }
        wait_for("recovery", || {
            heard.lock().unwrap().is_empty() || heard.lock().unwrap().iter().any(|text| text.contains("works again"))
        });
        std::thread::sleep(Duration::from_millis(50));
        stop.store(true, Ordering::Relaxed);
        reporting.join().unwrap()
    });
    let heard = heard.lock().unwrap();
    heard.iter().for_each(|text| assert_sentence(text));
    let first = heard.first();
    assert!(first.is_none_or(|text| text.contains("waiting for it") && text.contains(&url.to_string())), "{heard:?}");
    let trial = Study::open(url, &name, false, patience()).unwrap().trial(trial).unwrap().unwrap();
    // A server that crashes may forget the reports of its last moments, but none from before or after.
    let forgotten = reported - trial.reports.len();
    assert!(forgotten == 0 || (matches!(url, StorageUrl::Postgres(_)) && forgotten < 200), "{forgotten} of {reported}");
    assert_eq!(trial.last_report().unwrap().0 + 1, reported as i64);
}

#[test]
fn a_locked_file_is_waited_for_with_a_notice() {
    let place = Place::sqlite();
    outlasts(&place.url, |heard| {
        let other = rusqlite::Connection::open(place.file()).unwrap();
        other.busy_timeout(Duration::from_secs(10)).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        wait_for("a notice", || !heard.lock().unwrap().is_empty());
        assert!(heard.lock().unwrap()[0].contains("another process holds the database"));
        other.execute_batch("COMMIT").unwrap();
    });
}

/// A small disk.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a Path) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(path).output();
        let mounted = mounted.expect("this test needs the program `mount`");
        let problem = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "this test needs leave to mount a disk, as root has it: {}", problem.trim());
        Self(path)
    }

    fn make_read_only(&self) {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn a_full_disk_is_waited_for_with_a_notice() {
    let place = Place::sqlite();
    let _disk = Disk::mount(place.directory());
    outlasts(&place.url, |heard| {
        let path = place.directory().join("large");
        let mut large = std::fs::File::create(&path).unwrap();
        while large.write_all(&[0; 4096]).is_ok() {}
        wait_for("a notice", || !heard.lock().unwrap().is_empty());
        assert!(heard.lock().unwrap()[0].contains("disk"), "{heard:?}");
        drop(large);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn a_study_on_a_disk_that_cannot_be_written_is_refused() {
    let place = Place::sqlite();
    let disk = Disk::mount(place.directory());
    drop(place.study("s"));
    disk.make_read_only();
    let message = match Study::open(&place.url, "s", false, Patience::none()) {
        Err(error) => error.to_string(),
        Ok(mut study) => study.insert(&new_trial("g"), "w", 1).unwrap_err().to_string(),
    };
    assert_sentence(&message);
    assert!(message.contains(&place.url.to_string()), "{message}");
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES and KTG_TEST_POSTGRES_RESTART"]
fn a_server_that_restarts_is_waited_for_with_a_notice() {
    let _alone = SERVER.write().unwrap_or_else(PoisonError::into_inner);
    let (place, command) = (Place::postgres(), common::restart_command());
    // One may be over in half a second, when no notice is due yet.
    outlasts(&place.url, |heard| {
        for _ in 0..5 {
            common::run_shell(&command);
            if !heard.lock().unwrap().is_empty() {
                break;
            }
        }
    });
}

#[test]
fn who_waits_for_a_server_can_be_stopped() {
    let url: StorageUrl = "postgresql://me:s3cret@127.0.0.1:1/db".parse().unwrap();
    let (patience, heard) = attentive();
    let stop = Arc::clone(&patience.stop);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Storage::open(&url, true, patience).map(drop));
        wait_for("a notice", || !heard.lock().unwrap().is_empty());
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(waiting.join().unwrap(), Err(Error::Stopped)));
    });
    assert!(!heard.lock().unwrap().concat().contains("s3cret"));
}

#[test]
fn patience_ends() {
    let url: StorageUrl = "postgresql://me@127.0.0.1:1/db".parse().unwrap();
    let patience = Patience { limit: Duration::from_millis(1200), ..Patience::none() };
    let message = Storage::open(&url, true, patience).map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    assert!(message.contains("gave up after 1 s") || message.contains("gave up after 2 s"), "{message}");
}

// ---- what a crash of the server may take along ----

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn whose_a_trial_is_outlives_a_crash_of_the_server() {
    let _calm = SERVER.read().unwrap_or_else(PoisonError::into_inner);
    let place = Place::postgres();
    let StorageUrl::Postgres(url) = &place.url else { panic!("it is no PostgreSQL: {}", place.url) };
    let mut study = place.study(&unique("crash"));
    let mut client = common::postgres(url);
    let mut on_disk = |what: &str, work: &mut dyn FnMut()| {
        // Without waiting for the disk, it would be there by chance only.
        for _ in 0..5 {
            let before: String = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).unwrap().get(0);
            work();
            let flushed = format!("SELECT pg_current_wal_flush_lsn() > '{before}'::pg_lsn");
            assert!(client.query_one(&flushed, &[]).unwrap().get::<_, bool>(0), "{what}");
        }
    };
    let mut last = 0;
    on_disk("a new trial", &mut || last = insert(&mut study, &unique("g")).id);
    on_disk("a trial given back", &mut || {
        study.give_back(last).unwrap();
        last = study.claim_waiting(&unique("w")).unwrap().unwrap().id;
    });
    let mut rung = 0;
    on_disk("a value at a rung", &mut || {
        study.complete_rung(last, rung, 0.5).unwrap();
        rung += 1;
    });
    study.give_back(last).unwrap();
    on_disk("a claimed trial", &mut || {
        study.claim_waiting(&unique("w")).unwrap().unwrap();
        last = insert(&mut study, &unique("g")).id;
        study.give_back(last).unwrap();
    });
}

// ---- answers that are lost ----

type Hook = Box<dyn FnOnce() + Send>;

/// Stands between a worker and the server; loses the answer to the next COMMIT, or cuts the line, when it is told to.
struct Proxy {
    url: StorageUrl,
    /// What is done when the commit is done and before the worker can ask again.
    hook: Arc<Mutex<Option<Hook>>>,
    /// `None`: the line is cut.
    lines: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Proxy {
    fn start(place: &Place) -> Self {
        let (head, rest) = place.text.rsplit_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{head}@{}/{database}", listener.local_addr().unwrap()).parse().unwrap();
        let hook: Arc<Mutex<Option<Hook>>> = Arc::default();
        let lines = Arc::new(Mutex::new(Some(Vec::new())));
        let (theirs, open) = (Arc::clone(&hook), Arc::clone(&lines));
        // It ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Some(lines) = &mut *open.lock().unwrap() else { continue };
                lines.push(client.try_clone().unwrap());
                let server = TcpStream::connect(&server).unwrap();
                connect(client, server, &theirs);
            }
        });
        Self { url, hook, lines }
    }

    fn cut(&self) {
        let lines = self.lines.lock().unwrap().take();
        lines.into_iter().flatten().for_each(|line| drop(line.shutdown(Shutdown::Both)));
    }

    fn mend(&self) {
        *self.lines.lock().unwrap() = Some(Vec::new());
    }

    fn lose_next(&self, then: impl FnOnce() + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(then));
    }

    /// Makes sure that an answer was lost.
    fn assert_lost(&self) {
        assert!(self.hook.lock().unwrap().is_none(), "there was no COMMIT");
    }
}

fn connect(client: TcpStream, server: TcpStream, hook: &Arc<Mutex<Option<Hook>>>) {
    let lost: Arc<Mutex<Option<Hook>>> = Arc::default();
    let contains = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (hook, losing) = (Arc::clone(hook), Arc::clone(&lost));
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if contains(&buffer[..n], b"COMMIT\0") {
                *losing.lock().unwrap() = hook.lock().unwrap().take();
            }
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if let Some(hook) = lost.lock().unwrap().take() {
                assert!(contains(&buffer[..n], b"COMMIT\0"), "the commit failed");
                hook();
                break;
            }
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
    });
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn what_was_done_although_its_answer_was_lost_is_not_done_again() {
    let _calm = SERVER.read().unwrap_or_else(PoisonError::into_inner);
    let place = Place::postgres();
    let proxy = Proxy::start(&place);
    let name = unique("lost");
    let mut study = Study::open(&proxy.url, &name, true, patience()).unwrap();
    let lose = || proxy.lose_next(|| {});

    lose();
    let claimed = insert(&mut study, "g0");
    proxy.assert_lost();
    assert_eq!((claimed.number, study.count().unwrap(), study.busy().unwrap()), (0, 1, 1));

    study.give_back(claimed.id).unwrap();
    lose();
    assert_eq!(study.claim_waiting("w1").unwrap(), Some(claimed));
    proxy.assert_lost();

    lose();
    assert!(study.pause(claimed.id, 0).is_ok());
    proxy.assert_lost();
    assert_eq!(study.paused().unwrap().len(), 1);
    lose();
    assert_eq!(study.claim_paused(claimed.id, "w2").unwrap(), Some(claimed));
    proxy.assert_lost();
    assert_eq!((study.paused().unwrap().len(), study.busy().unwrap()), (0, 1));

    lose();
    assert!(study.finish(claimed.id, State::Complete, Some(0.5), &[]).unwrap());
    proxy.assert_lost();
    assert_eq!(study.trial(claimed.id).unwrap().unwrap().value, Some(0.5));

    insert(&mut study, "g1");
    let silent = study.heartbeats().unwrap();
    lose();
    study.reap(&silent, Duration::from_secs(5), 3).unwrap();
    proxy.assert_lost();
    let states: Vec<State> = study.trials().unwrap().iter().map(|trial| trial.state).collect();
    assert_eq!(states, [State::Complete, State::Fail, State::Waiting]);
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn a_trial_that_another_worker_took_meanwhile_stays_that_workers() {
    let _calm = SERVER.read().unwrap_or_else(PoisonError::into_inner);
    let place = Place::postgres();
    let proxy = Proxy::start(&place);
    let name = unique("taken");
    let mut study = Study::open(&proxy.url, &name, true, patience()).unwrap();
    let other = || Mutex::new(place.study(&name));

    let id = insert(&mut study, "g0").id;
    let mut observer = place.study(&name);
    let taker = other();
    proxy.lose_next(move || assert!(taker.lock().unwrap().claim_paused(id, "other").unwrap().is_some()));
    assert!(!study.pause(id, 0).unwrap());
    proxy.assert_lost();
    let trial = observer.trial(id).unwrap().unwrap();
    assert_eq!((trial.is_paused(), observer.busy().unwrap(), &trial.attributes["worker"]), (false, 1, &"other".into()));

    let taker = other();
    let id = insert(&mut study, "g1").id;
    proxy.lose_next(move || assert!(taker.lock().unwrap().claim_waiting("other").unwrap().is_some()));
    study.give_back(id).unwrap();
    proxy.assert_lost();
    let trial = observer.trial(id).unwrap().unwrap();
    assert_eq!(
        (trial.state, observer.busy().unwrap(), &trial.attributes["worker"]),
        (State::Running, 2, &"other".into())
    );
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn living_workers_are_not_taken_for_dead_after_an_outage() {
    let _calm = SERVER.read().unwrap_or_else(PoisonError::into_inner);
    let place = Place::postgres();
    let proxy = Proxy::start(&place);
    let (attentive, heard) = attentive();
    let mut study = Study::open(&proxy.url, &unique("outage"), true, attentive).unwrap();
    insert(&mut study, "g");
    let silence = Duration::from_secs(2);
    let silent = study.heartbeats().unwrap();
    // Its worker cannot say that it lives either.
    proxy.cut();
    std::thread::scope(|scope| {
        let reaping = scope.spawn(|| study.reap(&silent, silence, 3).unwrap());
        wait_for("a notice", || !heard.lock().unwrap().is_empty());
        std::thread::sleep(silence / 2);
        proxy.mend();
        assert_eq!(reaping.join().unwrap(), []);
    });
    // But who stays silent is dead.
    assert_eq!(study.reap(&silent, silence, 3).unwrap().len(), 1);
}
