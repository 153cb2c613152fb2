//! The operations of a search on its study, on every database.

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use common::{CHOICES, Place, new_trial, on_each_storage, unique};
use ktg_search::storage::{Claimed, Inserted, NewTrial, State, Study};
use serde_json::json;

const MANY: i64 = 1_000_000;

fn insert(study: &mut Study, graph: &str) -> Claimed {
    match study.insert(&new_trial(graph), &unique("work"), MANY).unwrap() {
        Inserted::Trial(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

/// Adds a waiting trial as Optuna's `enqueue_trial` does.
fn enqueue(place: &Place, study: &str, fixed: &serde_json::Value) {
    let key = place.key(study);
    place.sql(&format!(
        "INSERT INTO trials (number, study_id, state) \
         SELECT count(*), {key}, 'WAITING' FROM trials WHERE study_id = {key}; \
         INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) \
         SELECT max(trial_id), 'fixed_params', '{fixed}' FROM trials WHERE study_id = {key}"
    ));
}

on_each_storage!(numbers_count_from_0_and_a_known_graph_and_a_full_study_are_told);
fn numbers_count_from_0_and_a_known_graph_and_a_full_study_are_told(place: &Place) {
    let name = unique("insert");
    let mut study = place.study(&name);
    assert_eq!([insert(&mut study, "g0").number, insert(&mut study, "g1").number], [0, 1]);
    let mut other = place.study(&name);
    assert_eq!(other.insert(&new_trial("g0"), "w", MANY).unwrap(), Inserted::Known);
    assert!(other.knows("g0") && other.knows("g1") && !other.knows("g2"));
    assert_eq!(other.insert(&new_trial("g2"), "w", 2).unwrap(), Inserted::Full);
    assert_eq!(other.count().unwrap(), 2);
    assert_eq!(insert(&mut other, "g2").number, 2);
    // What others add is known after a look.
    assert!(!study.knows("g2"));
    study.look().unwrap();
    assert!(study.knows("g2"));
    // Another study has numbers and graphs of its own.
    assert_eq!(insert(&mut place.study(&unique("insert")), "g0").number, 0);
}

on_each_storage!(numbers_go_on_where_trials_were_deleted_and_optuna_has_counted_the_rest);
fn numbers_go_on_where_trials_were_deleted_and_optuna_has_counted_the_rest(place: &Place) {
    let name = unique("deleted");
    let (mut study, key) = (place.study(&name), place.key(&name));
    let ids = ["g0", "g1", "g2", "g3"].map(|graph| insert(&mut study, graph).id);
    place.delete(ids[0]);
    place.delete(ids[1]);
    // It counts the trials before its own.
    place.sql(&format!("INSERT INTO trials (number, study_id, state) VALUES (2, {key}, 'WAITING')"));
    assert_eq!(insert(&mut study, "g4").number, 4);
    // A deleted trial counts, for those who knew it and for those who did not.
    for mut study in [study, place.study(&name)] {
        assert_eq!(study.count().unwrap(), 5);
    }
}

on_each_storage!(a_trial_that_was_deleted_is_nobodys);
fn a_trial_that_was_deleted_is_nobodys(place: &Place) {
    let name = unique("gone");
    let mut study = place.study(&name);
    let id = insert(&mut study, "g0").id;
    insert(&mut study, "g1");
    let last = study.heartbeats().unwrap();
    place.delete(id);
    assert!(!study.beat(id).unwrap() && !study.report(id, 1, 0.5).unwrap());
    assert_eq!((study.trial(id).unwrap(), study.claim_paused(id, "w").unwrap()), (None, None));
    study.complete_rung(id, 0, 0.5).unwrap();
    study.set_attribute(id, "run", &json!("/runs")).unwrap();
    study.describe(id, &new_trial("g0")).unwrap();
    assert!(!study.pause(id, 0).unwrap() && !study.prune_paused(id).unwrap());
    assert!(!study.finish(id, State::Complete, Some(0.5), &[]).unwrap());
    study.give_back(id).unwrap();
    assert_eq!(study.reap(&last[..1], std::time::Duration::from_secs(60), 3).unwrap(), []);
    for table in ["user_attributes", "system_attributes", "params", "values", "intermediate_values", "heartbeats"] {
        assert_eq!(place.count(&format!("SELECT count(*) FROM trial_{table} WHERE trial_id = {id}")), 0, "{table}");
    }
}

on_each_storage!(many_workers_that_insert_at_once_get_every_number_and_every_graph_once);
fn many_workers_that_insert_at_once_get_every_number_and_every_graph_once(place: &Place) {
    let name = unique("race");
    place.study(&name);
    let limit = 60;
    let work = |worker: usize| {
        let mut study = place.study(&name);
        let mut mine = Vec::new();
        // All want the same graphs, from different ends.
        for i in 0..80 {
            let graph = format!("g{}", (i + worker * 13) % 80);
            match study.insert(&new_trial(&graph), &unique("work"), limit).unwrap() {
                Inserted::Trial(claimed) => mine.push(claimed.number),
                Inserted::Known => assert!(study.knows(&graph)),
                Inserted::Full => return mine,
            }
        }
        mine
    };
    let mut numbers: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..limit).collect::<Vec<_>>());
    let trials = place.study(&name).trials().unwrap();
    // Keys grow with the numbers, and no graph is there twice.
    assert_eq!(trials.iter().map(|t| t.number).collect::<Vec<_>>(), numbers);
    let graphs: HashSet<_> = trials.iter().map(|t| t.attributes["graph"].to_string()).collect();
    assert_eq!(graphs.len(), trials.len());
}

on_each_storage!(a_waiting_trial_is_taken_by_exactly_one_worker);
fn a_waiting_trial_is_taken_by_exactly_one_worker(place: &Place) {
    let name = unique("waiting");
    let mut study = place.study(&name);
    assert_eq!(study.claim_waiting("w").unwrap(), None);
    for i in 0..20 {
        let claimed = insert(&mut study, &format!("g{i}"));
        study.give_back(claimed.id).unwrap();
        enqueue(place, &name, &json!({"a": "y"}));
    }
    let work = || {
        let mut study = place.study(&name);
        std::iter::from_fn(|| study.claim_waiting(&unique("work")).unwrap()).collect::<Vec<_>>()
    };
    let claimed: Vec<Claimed> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let numbers: BTreeSet<i64> = claimed.iter().map(|claimed| claimed.number).collect();
    assert_eq!((claimed.len(), numbers), (40, (0..40).collect()));
    assert_eq!(study.busy().unwrap(), 40);
    let states = study.trials().unwrap().iter().map(|t| (t.state, t.started.is_some())).collect::<HashSet<_>>();
    assert_eq!(states, [(State::Running, true)].into());
}

on_each_storage!(waiting_trials_are_taken_in_the_order_of_their_numbers);
fn waiting_trials_are_taken_in_the_order_of_their_numbers(place: &Place) {
    let mut study = place.study(&unique("order"));
    let ids: Vec<_> = (0..4).map(|i| insert(&mut study, &format!("g{i}")).id).collect();
    ids.iter().rev().for_each(|id| study.give_back(*id).unwrap());
    let next = |study: &mut Study| study.claim_waiting(&unique("work")).unwrap().map(|claimed| claimed.number);
    let order: Vec<_> = (0..5).map(|_| next(&mut study)).collect();
    assert_eq!(order, [Some(0), Some(1), Some(2), Some(3), None]);
}

on_each_storage!(an_enqueued_trial_is_read_taken_and_described);
fn an_enqueued_trial_is_read_taken_and_described(place: &Place) {
    let name = unique("enqueued");
    let mut study = place.study(&name);
    insert(&mut study, "g0");
    enqueue(place, &name, &json!({"a": "y"}));
    // It is a trial like any other: it has a number and counts.
    assert_eq!(study.count().unwrap(), 2);
    let claimed = study.claim_waiting("w").unwrap().unwrap();
    let trial = study.trial(claimed.id).unwrap().unwrap();
    assert_eq!((trial.number, trial.system["fixed_params"].clone()), (1, json!({"a": "y"})));
    assert!(trial.parameters.is_empty() && trial.started.is_some());
    let partial = NewTrial { parameters: vec![("a", &CHOICES[..], 2)], graph: "first".to_owned() };
    study.describe(claimed.id, &partial).unwrap();
    // Parameters that it has stay as they are; its graph is the newest.
    study.describe(claimed.id, &new_trial("g1")).unwrap();
    let trial = study.trial(claimed.id).unwrap().unwrap();
    assert_eq!(trial.parameters, BTreeMap::from([("a".to_owned(), json!("z")), ("b".to_owned(), json!("x"))]));
    assert_eq!(trial.attributes["graph"], json!("g1"));
    assert_eq!(place.study(&name).insert(&new_trial("g1"), "v", MANY).unwrap(), Inserted::Known);
}

on_each_storage!(nothing_is_written_to_a_trial_that_is_over);
fn nothing_is_written_to_a_trial_that_is_over(place: &Place) {
    let mut study = place.study(&unique("fence"));
    let id = insert(&mut study, "g0").id;
    assert!(study.report(id, 1, 0.25).unwrap() && study.report(id, 1, 0.5).unwrap());
    assert!(study.beat(id).unwrap());
    assert!(study.finish(id, State::Complete, Some(0.5), &[]).unwrap());
    assert!(!study.report(id, 2, 0.75).unwrap() && !study.report(id, 1, 0.75).unwrap());
    assert!(!study.beat(id).unwrap());
    assert!(!study.finish(id, State::Fail, None, &[("reason".to_owned(), json!("late"))]).unwrap());
    assert!(!study.finish(id, State::Complete, Some(0.75), &[]).unwrap());
    assert!(!study.pause(id, 0).unwrap() && !study.prune_paused(id).unwrap());
    assert_eq!(study.claim_paused(id, "w").unwrap(), None);
    study.give_back(id).unwrap();
    study.complete_rung(id, 0, 0.75).unwrap();
    study.set_attribute(id, "reason", &json!("late")).unwrap();
    assert_eq!(study.claim_waiting("w").unwrap(), None);
    let trial = study.trial(id).unwrap().unwrap();
    assert_eq!((trial.state, trial.value, trial.reports), (State::Complete, Some(0.5), [(1, 0.5)].into()));
    assert!(!trial.attributes.contains_key("reason"));
    assert!(trial.system.is_empty(), "{:?}", trial.system);
}

on_each_storage!(exactly_one_of_many_finishes_a_trial);
fn exactly_one_of_many_finishes_a_trial(place: &Place) {
    let name = unique("finish");
    let mut study = place.study(&name);
    for round in 0..5 {
        let id = insert(&mut study, &format!("g{round}")).id;
        let finish = |value: f64| place.study(&name).finish(id, State::Complete, Some(value), &[]).unwrap();
        let done: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || finish(f64::from(i)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
        let winner = done.iter().position(|done| *done).unwrap();
        assert_eq!(study.trial(id).unwrap().unwrap().value, Some(winner as f64));
    }
}

on_each_storage!(values_of_every_kind_are_kept);
fn values_of_every_kind_are_kept(place: &Place) {
    let name = unique("values");
    let mut study = place.study(&name);
    let values = [Some(0.1 + 0.2), Some(f64::MIN_POSITIVE), Some(f64::INFINITY), Some(f64::NEG_INFINITY)];
    for (i, value) in values.into_iter().chain([None, Some(f64::NAN)]).enumerate() {
        let id = insert(&mut study, &format!("g{i}")).id;
        let mut reports = vec![f64::NAN];
        reports.extend(value);
        for (step, report) in reports.iter().enumerate() {
            assert!(study.report(id, step as i64, *report).unwrap());
        }
        assert!(study.finish(id, State::Pruned, value, &[("why".to_owned(), json!({"i": i}))]).unwrap());
        let trial = study.trial(id).unwrap().unwrap();
        // A final value cannot be NaN in Optuna.
        assert_eq!(trial.value.map(f64::to_bits), value.filter(|v| !v.is_nan()).map(f64::to_bits));
        let bits = |reports: &[f64]| reports.iter().map(|v| (v.is_nan(), v.abs().to_bits())).collect::<Vec<_>>();
        assert_eq!(bits(&trial.reports.into_values().collect::<Vec<_>>())[1..], bits(&reports)[1..]);
        assert_eq!(trial.attributes["why"], json!({"i": i}));
        assert!(trial.started.unwrap() <= trial.completed.unwrap());
    }
    let kinds = "SELECT DISTINCT CAST(intermediate_value_type AS TEXT) FROM trial_intermediate_values v \
                 JOIN trials t ON t.trial_id = v.trial_id WHERE t.study_id = ";
    let kinds: BTreeSet<String> = place.rows(&format!("{kinds}{}", place.key(&name))).concat().into_iter().collect();
    assert_eq!(kinds, ["FINITE", "INF_NEG", "INF_POS", "NAN"].map(str::to_owned).into());
    let times = format!("SELECT CAST(datetime_complete AS TEXT) FROM trials WHERE study_id = {}", place.key(&name));
    let time = &place.rows(&times)[0][0];
    assert!(time.len() >= 20 && time.as_bytes()[10] == b' ' && time.as_bytes()[19] == b'.', "{time}");
}

on_each_storage!(a_trial_that_is_given_back_goes_on_elsewhere_with_what_it_has);
fn a_trial_that_is_given_back_goes_on_elsewhere_with_what_it_has(place: &Place) {
    let name = unique("back");
    let (mut study, mut other) = (place.study(&name), place.study(&name));
    let claimed = insert(&mut study, "g0");
    study.report(claimed.id, 1, 0.5).unwrap();
    study.complete_rung(claimed.id, 0, 0.5).unwrap();
    study.give_back(claimed.id).unwrap();
    let trial = study.trial(claimed.id).unwrap().unwrap();
    assert_eq!((trial.state, trial.started), (State::Waiting, None));
    // No stale heartbeat is left: an Optuna worker that sends none would look dead.
    let beats = format!("SELECT count(*) FROM trial_heartbeats WHERE trial_id = {}", claimed.id);
    assert_eq!((place.count(&beats), study.busy().unwrap()), (0, 0));
    assert!(!study.report(claimed.id, 2, 0.75).unwrap());
    assert!(!study.beat(claimed.id).unwrap());
    assert_eq!(place.count(&beats), 0);
    assert_eq!(other.claim_waiting("other").unwrap(), Some(claimed));
    assert_eq!((place.count(&beats), other.busy().unwrap()), (1, 1));
    let trial = other.trial(claimed.id).unwrap().unwrap();
    assert_eq!((trial.rung(), trial.last_report()), (1, Some((1, 0.5))));
    assert_eq!(trial.attributes["worker"], json!("other"));
}

on_each_storage!(everything_is_read_back);
fn everything_is_read_back(place: &Place) {
    let name = unique("read");
    let mut study = place.study(&name);
    assert_eq!(study.trials().unwrap(), []);
    let ids: Vec<i64> = (0..3).map(|i| insert(&mut study, &format!("g{i}")).id).collect();
    study.set_attribute(ids[1], "note", &json!(["\"'🐢\n", null, 1.5])).unwrap();
    study.set_attribute(ids[1], "note", &json!(["\"'🐢\n", null, 2.5])).unwrap();
    (1..=3).for_each(|step| assert!(study.report(ids[1], step, step as f64).unwrap()));
    study.complete_rung(ids[1], 0, 1.0).unwrap();
    study.complete_rung(ids[1], 1, f64::INFINITY).unwrap();
    study.complete_rung(ids[2], 0, -0.5).unwrap();
    study.complete_rung(ids[2], 1, f64::NEG_INFINITY).unwrap();
    study.complete_rung(ids[2], 2, f64::NAN).unwrap();
    study.finish(ids[0], State::Complete, Some(7.0), &[]).unwrap();
    // A number that Optuna suggested.
    let float = r#"{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1, "step": null, "log": false}}"#;
    place.sql(&format!(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) \
                        VALUES ({}, 'lr', 0.125, '{float}')",
        ids[2]
    ));
    let trials = study.trials().unwrap();
    assert_eq!(trials.iter().map(|t| (t.id, t.number)).collect::<Vec<_>>(), [(ids[0], 0), (ids[1], 1), (ids[2], 2)]);
    let middle = &trials[1];
    assert_eq!(middle.parameters, BTreeMap::from([("a".to_owned(), json!("y")), ("b".to_owned(), json!("x"))]));
    assert_eq!(middle.reports, [(1, 1.0), (2, 2.0), (3, 3.0)].into());
    assert_eq!(
        (&middle.attributes["note"], &middle.attributes["graph"]),
        (&json!(["\"'🐢\n", null, 2.5]), &json!("g1"))
    );
    assert_eq!((middle.rung(), middle.repeats().is_some(), middle.is_paused()), (2, false, false));
    assert_eq!(trials[2].parameters["lr"], json!(0.125));
    assert_eq!(study.trials_of(&[ids[2], ids[0], -1]).unwrap(), [trials[0].clone(), trials[2].clone()]);
    assert_eq!(study.trial(ids[1]).unwrap().as_ref(), Some(middle));
    assert_eq!(study.trial(-1).unwrap(), None);
    let mut rungs: Vec<_> = study.rungs(None).unwrap().iter().map(|v| (v.number, v.rung, v.value)).collect();
    rungs.sort_by(|a, b| a.partial_cmp(b).unwrap());
    // An infinite value is one like others, and NaN is none.
    let infinity = f64::INFINITY;
    assert_eq!(rungs, [(1, 0, 1.0), (1, 1, infinity), (2, 0, -0.5), (2, 1, -infinity)]);
    assert_eq!([0, 1, 2].map(|rung| middle.rung_value(rung)), [Some(1.0), Some(infinity), None]);
    assert_eq!([0, 1, 2].map(|rung| trials[2].rung_value(rung)), [Some(-0.5), Some(-infinity), None]);
    assert_eq!(study.rungs(Some(1)).unwrap().len(), 2);
    assert_eq!(study.rungs(Some(7)).unwrap(), []);
    study.finish(ids[1], State::Complete, Some(3.0), &[]).unwrap();
    assert_eq!(study.complete_at(2).unwrap(), (vec![2.0], 2));
    let mut progress = study.progress(0, &[]).unwrap();
    progress.sort_unstable();
    let states = [State::Complete, State::Complete, State::Running];
    assert_eq!(progress, ids.into_iter().zip(states).map(|(id, state)| (id, state, None)).collect::<Vec<_>>());
}

on_each_storage!(the_first_attribute_of_a_study_stays);
fn the_first_attribute_of_a_study_stays(place: &Place) {
    let name = unique("attribute");
    place.study(&name);
    let propose = |i: i64| place.study(&name).attribute_or("space", &json!({"i": i})).unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|i| scope.spawn(move || propose(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(place.study(&name).attribute("space").unwrap().as_ref(), Some(&answers[0]));
    assert_eq!(place.study(&name).attribute("other").unwrap(), None);
    assert_eq!(place.study(&unique("attribute")).attribute("space").unwrap(), None);
}

on_each_storage!(studies_are_listed_with_what_they_hold);
fn studies_are_listed_with_what_they_hold(place: &Place) {
    let prefix = unique("list");
    let names = [format!("{prefix} b"), format!("{prefix} a")];
    let mut study = place.study(&names[0]);
    place.study(&names[1]);
    let ids: Vec<i64> = (0..4).map(|i| insert(&mut study, &format!("g{i}")).id).collect();
    study.finish(ids[0], State::Complete, Some(0.5), &[]).unwrap();
    study.finish(ids[1], State::Complete, Some(0.75), &[]).unwrap();
    study.finish(ids[2], State::Pruned, Some(0.875), &[]).unwrap();
    place.sql(&format!("INSERT INTO studies (study_name) VALUES ('{prefix} c')"));
    place.sql(&format!(
        "INSERT INTO study_directions (direction, study_id, objective) \
         VALUES ('MINIMIZE', {key}, 0), ('MAXIMIZE', {key}, 1)",
        key = place.key(&format!("{prefix} c"))
    ));
    let studies = place.storage().studies().unwrap();
    let ours: Vec<_> = studies.iter().filter(|study| study.name.starts_with(&prefix)).collect();
    assert_eq!(
        ours.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        [&names[1], &names[0], &format!("{prefix} c")]
    );
    assert_eq!((ours[0].best, ours[0].states.len()), (None, 0));
    assert_eq!(ours[1].best, Some(0.75));
    assert_eq!(ours[1].states, [(State::Complete, 2), (State::Pruned, 1), (State::Running, 1)].into());
    assert_eq!(ours[2].directions, ["MINIMIZE", "MAXIMIZE"]);

    // The best value is that of the study's direction, if it has one.
    let best = |directions: &str| {
        let key = place.key(&names[0]);
        place.sql(&format!("DELETE FROM study_directions WHERE study_id = {key}"));
        for (i, direction) in directions.split_whitespace().enumerate() {
            place.sql(&format!(
                "INSERT INTO study_directions (direction, study_id, objective) VALUES ('{direction}', {key}, {i})"
            ));
        }
        place.storage().studies().unwrap().into_iter().find(|study| study.name == names[0]).unwrap().best
    };
    assert_eq!([best("MINIMIZE"), best("MINIMIZE MAXIMIZE"), best("MAXIMIZE")], [Some(0.5), None, Some(0.75)]);
}
