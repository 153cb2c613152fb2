//! A server with fewer connections than there are workers: they take turns.

mod common;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use common::stand_in::{Scripted, quick, space, train, work};
use common::{Place, assert_sentence, attentive, unique};
use ktg_search::storage::{Patience, State, Storage, StorageUrl, Study};
use ktg_search::{SamplerKind, SearchSettings, WorkerSettings, pruner, sampler};

const WORKERS: usize = 8;
const TRIALS: i64 = 24;
const STEPS: u32 = 3;

/// Lets eight workers do a study over so many connections.
fn finishes_over(connections: usize) {
    let place = Place::empty_postgres();
    let name = unique("crowd");
    drop(place.study(&name));
    let few = place.limited(connections);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let patience = Patience { limit: Duration::from_secs(30), ..Patience::none() };
                let study = Study::open(&few.url, &name, false, patience).unwrap();
                let pace = Duration::from_millis(100);
                let mut training =
                    Scripted::new(STEPS, move |task, step, computed| Ok(train(STEPS, task, step, computed, pace)));
                let pruner = pruner::by_settings(&SearchSettings::default(), &name, STEPS);
                let ways = (sampler::by_kind(SamplerKind::Random), pruner);
                let settings = WorkerSettings {
                    heartbeat: Duration::from_secs(1),
                    silence: Duration::from_secs(20),
                    ..quick(TRIALS, &place.directory().join("runs"))
                };
                let stop = AtomicBool::new(false);
                assert!(work(study, space(3, ""), ways, &mut training, settings, &stop, &mut |_| {}).unwrap());
            });
        }
    });
    println!("{WORKERS} workers over {connections} connections: {:.1?}", begin.elapsed());
    let trials = place.study(&name).trials().unwrap();
    assert_eq!(trials.iter().map(|trial| trial.number).collect::<Vec<_>>(), (0..TRIALS).collect::<Vec<_>>());
    assert!(trials.iter().all(|trial| [State::Complete, State::Pruned].contains(&trial.state)), "{trials:?}");
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn eight_workers_share_seven_connections() {
    finishes_over(7);
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn eight_workers_share_one_connection() {
    finishes_over(1);
}

#[test]
#[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
fn a_connection_is_waited_for_and_one_that_stays_away_is_named() {
    let place = Place::empty_postgres();
    drop(place.storage());
    let one = place.limited(1);
    let StorageUrl::Postgres(url) = &one.url else { panic!("it is no PostgreSQL: {}", one.url) };
    let taken = common::postgres(url);
    let message = Storage::open(&one.url, false, Patience::none()).map(drop).unwrap_err().to_string();
    assert_sentence(&message);
    for part in
        ["no free connection (too many connections for role", "raise its `max_connections`", "gave up after 5 s"]
    {
        assert!(message.contains(part), "{message}");
    }
    // A short wait is nobody's concern.
    let (patience, heard) = attentive();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Storage::open(&one.url, false, patience).map(drop));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!waiting.is_finished());
        drop(taken);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(*heard.lock().unwrap(), Vec::<String>::new());
}
