//! Trials that stop without being over: paused ones, and those of workers that died.

mod common;

use std::time::Duration;

use common::{Place, last_heartbeat, new_trial, on_each_storage, unique};
use ktg_search::storage::{Claimed, Inserted, PausedTrial, Reaped, State, Study};
use serde_json::json;

const SILENCE: Duration = Duration::from_secs(5);

fn insert(study: &mut Study, graph: &str) -> Claimed {
    match study.insert(&new_trial(graph), &unique("work"), 1_000_000).unwrap() {
        Inserted::Trial(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Lets the worker of a trial die, and another one notice.
fn die(study: &mut Study, trial: i64, retries: usize) -> Vec<Reaped> {
    let last = last_heartbeat(study, trial);
    study.reap(&last, SILENCE, retries).unwrap()
}

on_each_storage!(a_paused_trial_is_continued_by_exactly_one_worker);
fn a_paused_trial_is_continued_by_exactly_one_worker(place: &Place) {
    let name = unique("paused");
    let mut study = place.study(&name);
    let ids: Vec<i64> = (0..10).map(|i| insert(&mut study, &format!("g{i}")).id).collect();
    for (i, id) in ids.iter().enumerate() {
        assert!(study.pause(*id, i as u32 % 3).unwrap());
    }
    // For Optuna it is running, and never dead.
    assert_eq!(study.busy().unwrap(), 0);
    assert_eq!(study.claim_waiting("w").unwrap(), None);
    // A heartbeat that comes late does not make it look alive, or dead later.
    assert!(!study.beat(ids[4]).unwrap() && !study.pause(ids[4], 2).unwrap());
    assert_eq!(study.busy().unwrap(), 0);
    let trial = study.trial(ids[4]).unwrap().unwrap();
    assert!(trial.is_paused() && trial.state == State::Running);
    assert!(study.progress(0, &[]).unwrap().contains(&(ids[4], State::Running, Some(1))));
    let mut paused = study.paused().unwrap();
    paused.sort_by_key(|trial| trial.id);
    assert_eq!(paused[5], PausedTrial { id: ids[5], rung: 2 });
    let work = || {
        let mut study = place.study(&name);
        ids.iter().filter(|id| study.claim_paused(**id, &unique("work")).unwrap().is_some()).count()
    };
    let taken: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(taken.iter().sum::<usize>(), 10, "{taken:?}");
    assert_eq!((study.paused().unwrap().len(), study.busy().unwrap()), (0, 10));
    assert!(study.report(ids[0], 2, 0.5).unwrap());
}

on_each_storage!(a_paused_trial_is_either_continued_or_pruned);
fn a_paused_trial_is_either_continued_or_pruned(place: &Place) {
    let name = unique("prune");
    let mut study = place.study(&name);
    let ids: Vec<i64> = (0..12).map(|i| insert(&mut study, &format!("g{i}")).id).collect();
    for id in &ids {
        study.report(*id, 1, 0.25).unwrap();
        study.report(*id, 2, 0.5).unwrap();
        study.pause(*id, 0).unwrap();
    }
    let (claimed, pruned): (Vec<bool>, Vec<bool>) = std::thread::scope(|scope| {
        let claims = scope.spawn(|| {
            let mut other = place.study(&name);
            ids.iter().map(|id| other.claim_paused(*id, &unique("work")).unwrap().is_some()).collect()
        });
        let mut other = place.study(&name);
        let pruned = ids.iter().rev().map(|id| other.prune_paused(*id).unwrap()).collect();
        (claims.join().unwrap(), pruned)
    });
    for ((id, claimed), pruned) in ids.iter().zip(claimed).zip(pruned.into_iter().rev()) {
        assert_ne!(claimed, pruned);
        let trial = study.trial(*id).unwrap().unwrap();
        assert!(!trial.is_paused());
        // A pruned trial has its last report as its value.
        let expected = if pruned { (State::Pruned, Some(0.5)) } else { (State::Running, None) };
        assert_eq!((trial.state, trial.value, trial.completed.is_some()), (expected.0, expected.1, pruned));
    }
}

on_each_storage!(a_silent_workers_trial_fails_and_a_waiting_one_repeats_it);
fn a_silent_workers_trial_fails_and_a_waiting_one_repeats_it(place: &Place) {
    let name = unique("reap");
    let mut study = place.study(&name);
    let (dead, alive) = (insert(&mut study, "g0"), insert(&mut study, "g1"));
    for (step, value) in [(1, 0.25), (2, f64::NAN), (4, f64::INFINITY)] {
        study.report(dead.id, step, value).unwrap();
    }
    (0..2).for_each(|rung| study.complete_rung(dead.id, rung, 0.25).unwrap());
    study.complete_rung(alive.id, 0, 0.5).unwrap();
    study.set_attribute(dead.id, "run", &json!("/runs/0")).unwrap();
    // It was heard again.
    let last = last_heartbeat(&mut study, dead.id);
    std::thread::sleep(Duration::from_millis(5));
    assert!(study.beat(dead.id).unwrap());
    assert_eq!(study.reap(&last, SILENCE, 3).unwrap(), []);
    let last = last_heartbeat(&mut study, dead.id);
    assert_eq!(study.reap(&last, SILENCE, 3).unwrap(), [Reaped { number: 0, retry: Some(2) }]);
    assert_eq!(study.reap(&last, SILENCE, 3).unwrap(), []);

    let trials = study.trials().unwrap();
    let (old, new) = (&trials[0], &trials[2]);
    assert_eq!((old.state, old.value, old.completed.is_some()), (State::Fail, None, true));
    assert!(old.attributes["reason"].as_str().unwrap().contains("fell silent"));
    assert_eq!((new.state, new.started.as_deref(), new.repeats().is_some()), (State::Waiting, None, true));
    assert_eq!(new.parameters, old.parameters);
    assert_eq!(format!("{:?}", new.reports), format!("{:?}", old.reports));
    let mut attributes = old.attributes.clone();
    attributes.retain(|key, _| key != "reason" && key != "worker");
    assert_eq!(new.attributes, attributes);
    // As Optuna's RetryFailedTrialCallback notes it.
    assert_eq!((&new.system["failed_trial"], &new.system["retry_history"]), (&json!(0), &json!([0])));
    // Rungs moved: each graph counts once in each.
    assert_eq!((old.rung(), new.rung()), (0, 2));
    assert_eq!([0, 1].map(|rung| study.rungs(Some(rung)).unwrap().len()), [2, 1]);

    // Should the worker only have slept, it can do nothing any more.
    assert!(!study.report(dead.id, 5, 0.9).unwrap() && !study.beat(dead.id).unwrap());
    study.complete_rung(dead.id, 2, 0.9).unwrap();
    assert!(!study.finish(dead.id, State::Complete, Some(0.9), &[]).unwrap());
    assert!(!study.pause(dead.id, 2).unwrap());
    study.set_attribute(dead.id, "run", &json!("/runs/late")).unwrap();
    study.give_back(dead.id).unwrap();
    assert_eq!(study.rungs(Some(2)).unwrap(), []);
    let claimed = study.claim_waiting("w").unwrap().unwrap();
    assert_eq!(claimed.number, 2);
    assert_eq!(study.claim_waiting("w2").unwrap(), None);
    // NaN is not equal to itself, so texts are compared.
    assert_eq!(format!("{:?}", study.trial(dead.id).unwrap().unwrap()), format!("{:?}", trials[0]));
}

on_each_storage!(a_graph_is_repeated_so_often_and_retries_do_not_count_against_the_limit);
fn a_graph_is_repeated_so_often_and_retries_do_not_count_against_the_limit(place: &Place) {
    let name = unique("limit");
    let mut study = place.study(&name);
    let first = insert(&mut study, "g0");
    insert(&mut study, "g1");
    assert_eq!(die(&mut study, first.id, 2), [Reaped { number: 0, retry: Some(2) }]);
    let second = study.claim_waiting(&unique("work")).unwrap().unwrap();
    assert_eq!(die(&mut study, second.id, 2), [Reaped { number: 2, retry: Some(3) }]);
    let trial = study.trials().unwrap().pop().unwrap();
    assert_eq!((&trial.system["failed_trial"], &trial.system["retry_history"]), (&json!(0), &json!([0, 2])));
    let third = study.claim_waiting(&unique("work")).unwrap().unwrap();
    assert_eq!(die(&mut study, third.id, 2), [Reaped { number: 3, retry: None }]);
    assert_eq!(study.claim_waiting("w").unwrap(), None);
    // Four trials, of which two are retries, for those who saw them come and for those who come later.
    for mut study in [study, place.study(&name)] {
        assert_eq!(study.count().unwrap(), 2);
        assert_eq!(study.insert(&new_trial("g2"), "w", 2).unwrap(), Inserted::Full);
        assert_eq!(study.insert(&new_trial("g0"), "w", 3).unwrap(), Inserted::Known);
    }
    let study = &mut place.study(&name);
    assert_eq!(insert(study, "g2").number, 4);
}

on_each_storage!(a_silent_trial_is_reaped_once_by_many);
fn a_silent_trial_is_reaped_once_by_many(place: &Place) {
    let name = unique("reapers");
    let mut study = place.study(&name);
    for i in 0..8 {
        insert(&mut study, &format!("g{i}"));
    }
    let silent = study.heartbeats().unwrap();
    let mut numbers: Vec<i64> = std::thread::scope(|scope| {
        let reap = || place.study(&name).reap(&silent, SILENCE, 3).unwrap();
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(reap)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).map(|reaped| reaped.number).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    let trials = study.trials().unwrap();
    assert_eq!(trials.iter().map(|trial| trial.number).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert!(trials[8..].iter().all(|trial| trial.state == State::Waiting && trial.repeats().is_some()));
}

on_each_storage!(a_trial_without_a_heartbeat_is_never_reaped);
fn a_trial_without_a_heartbeat_is_never_reaped(place: &Place) {
    let name = unique("heartless");
    let mut study = place.study(&name);
    let (paused, back) = (insert(&mut study, "g0").id, insert(&mut study, "g1").id);
    let before = study.heartbeats().unwrap();
    assert_eq!(before.len(), 2);
    // Paused, given back, and another program's that sends none.
    study.pause(paused, 0).unwrap();
    study.give_back(back).unwrap();
    place.sql(&format!(
        "INSERT INTO trials (number, study_id, state, datetime_start) \
         VALUES (2, {}, 'RUNNING', '2020-01-01 00:00:00')",
        place.key(&name)
    ));
    assert_eq!((study.heartbeats().unwrap(), study.reap(&before, SILENCE, 3).unwrap()), (vec![], vec![]));
    // Once it goes on, it beats.
    assert!(study.claim_paused(paused, "w").unwrap().is_some());
    assert_eq!(study.reap(&before, SILENCE, 3).unwrap(), []);
    assert_eq!(die(&mut study, paused, 3), [Reaped { number: 0, retry: Some(3) }]);
}

on_each_storage!(a_reaped_trial_that_was_paused_before_is_not_paused);
fn a_reaped_trial_that_was_paused_before_is_not_paused(place: &Place) {
    let mut study = place.study(&unique("again"));
    let id = insert(&mut study, "g0").id;
    study.pause(id, 1).unwrap();
    study.claim_paused(id, "w").unwrap().unwrap();
    die(&mut study, id, 3);
    assert_eq!(study.paused().unwrap(), []);
    let retry = study.claim_waiting("v").unwrap().unwrap();
    assert!(study.trial(retry.id).unwrap().is_some_and(|trial| !trial.is_paused()));
    assert_eq!(study.busy().unwrap(), 1);
}
