//! Workers with an objective that a test writes, on every database.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::stand_in::{Scripted, quick, saved, space, train, value, work};
use common::{Place, new_trial, on_each_storage, unique};
use ktg_graph::Graph;
use ktg_search::attributes::{BASE, IMAGES, PRUNER, SETTINGS, SPACE, TARGET};
use ktg_search::storage::{Inserted, NewTrial, State, Trial};
use ktg_search::{
    Agreement, Error, Event, Halving, Objective, ObjectiveKind, Origin, Outcome, PrunerKind, PrunerSettings, Report,
    SamplerKind, SearchSettings, Space, StudyMetadata, Worker, WorkerPlan, WorkerSettings, pruner, sampler,
};
use serde_json::{Value as Json, json};

/// What a worker told.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Started(i64, Origin),
    Ended(i64, Outcome),
    Reaped(i64, Option<i64>),
    Waiting(i64),
    Exhausted,
    PrunedPaused(usize),
}

/// A study and how it is searched.
struct Search<'a> {
    place: &'a Place,
    name: String,
    space: Space,
    sampler: SamplerKind,
    pruner: PrunerKind,
    settings: WorkerSettings,
    stop: Arc<AtomicBool>,
    heard: Vec<Heard>,
}

impl<'a> Search<'a> {
    fn new(place: &'a Place, trials: i64) -> Self {
        let name = unique("worker");
        drop(place.study(&name));
        let settings = WorkerSettings { seed: Some(7), ..quick(trials, &place.directory().join(&name)) };
        let (sampler, pruner) = (SamplerKind::Random, PrunerKind::None);
        Self { place, name, space: space(3, ""), sampler, pruner, settings, stop: Arc::default(), heard: vec![] }
    }

    fn run(&mut self, objective: &mut dyn Objective) -> Result<bool, Error> {
        let settings = SearchSettings { pruner: self.pruner, ..SearchSettings::default() };
        let ways = (sampler::by_kind(self.sampler), pruner::by_settings(&settings, &self.name, objective.steps()));
        let heard = &mut self.heard;
        let mut tell = |event: Event| {
            heard.push(match event {
                Event::ForeignRun { .. } => unreachable!("no test here has foreign runs"),
                Event::Started { number, origin, .. } => Heard::Started(number, origin),
                Event::Ended { number, outcome, .. } => Heard::Ended(number, outcome),
                Event::Reaped { number, retry } => Heard::Reaped(number, retry),
                Event::Waiting(busy) => Heard::Waiting(busy),
                Event::Exhausted => Heard::Exhausted,
                Event::PrunedPaused(trials) => Heard::PrunedPaused(trials),
            });
        };
        let study = self.place.study(&self.name);
        work(study, self.space.clone(), ways, objective, self.settings.clone(), &self.stop, &mut tell)
    }

    fn trials(&self) -> Vec<Trial> {
        self.place.study(&self.name).trials().unwrap()
    }

    fn states(&self) -> Vec<State> {
        self.trials().iter().map(|trial| trial.state).collect()
    }

    /// Adds a waiting trial as Optuna's `enqueue_trial` does.
    fn enqueue(&self, fixed: &Json) {
        let key = self.place.key(&self.name);
        self.place.sql(&format!(
            "INSERT INTO trials (number, study_id, state) \
             SELECT count(*), {key}, 'WAITING' FROM trials WHERE study_id = {key}; \
             INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) \
             SELECT max(trial_id), 'fixed_params', '{fixed}' FROM trials WHERE study_id = {key}"
        ));
    }

    /// Adds a trial of another worker.
    fn other(&self) -> i64 {
        match self.place.study(&self.name).insert(&new_trial("other"), &unique("work"), 1_000_000).unwrap() {
            Inserted::Trial(claimed) => claimed.id,
            other => panic!("{other:?}"),
        }
    }
}

fn parameters(trials: &[Trial]) -> Vec<(i64, BTreeMap<String, Json>)> {
    trials.iter().map(|trial| (trial.number, trial.parameters.clone())).collect()
}

on_each_storage!(no_sampler_tries_a_graph_twice);
fn no_sampler_tries_a_graph_twice(place: &Place) {
    for kind in [SamplerKind::Random, SamplerKind::Tpe, SamplerKind::Evolution] {
        let mut search = Search::new(place, 30);
        // 36 graphs: few enough that each sampler would meet some again.
        search.space =
            space(2, "gates = [\"through\", \"cutoff\"]\ndesigns = [\"probability closer\", \"both apart\"]");
        search.sampler = kind;
        let mut objective = Scripted::training(3);
        assert!(search.run(&mut objective).unwrap());
        let trials = search.trials();
        assert!(trials.iter().all(|trial| trial.state == State::Complete), "{kind}");
        let graphs: HashSet<String> = trials.iter().map(|trial| trial.attributes["graph"].to_string()).collect();
        assert_eq!((trials.len(), graphs.len()), (30, 30), "{kind}");
        for (trial, (number, graph)) in trials.iter().zip(&objective.tasks) {
            assert_eq!((trial.number, &trial.attributes["graph"]), (*number, &json!(graph.hash().to_string())));
            assert_eq!(trial.value, Some(value(graph, 3)));
            assert_eq!(trial.reports.len(), 3);
        }
        assert_eq!((objective.over.len(), objective.computed), (30, 90));
    }
}

#[test]
fn a_search_that_learns_beats_chance() {
    // Not a question of luck: the seed is fixed. The value is the share of label gates that are `linear`.
    let mut best = BTreeMap::new();
    for kind in ["random", "tpe", "evolution"] {
        let place = Place::sqlite();
        let mut search = Search::new(&place, 120);
        search.sampler = kind.parse().unwrap();
        let mut objective = Scripted::new(1, |task, step, _| {
            let parts = (0..3).map(|node| f64::from(task.graph.label_gate(node) == ktg_graph::Gate::Linear));
            let value = parts.sum::<f64>() - task.graph.active_transfers().count() as f64;
            Ok(if step == 1 { Report::Step(1, value) } else { Report::Finished(value, vec![]) })
        });
        search.run(&mut objective).unwrap();
        let sum: f64 = search.trials()[60..].iter().filter_map(|trial| trial.value).sum();
        best.insert(kind, sum / 60.0);
    }
    assert!(best["tpe"] > best["random"] + 0.5 && best["evolution"] > best["random"] + 0.5, "{best:?}");
}

on_each_storage!(a_worker_that_stops_gives_its_trial_back_and_another_finishes_it);
fn a_worker_that_stops_gives_its_trial_back_and_another_finishes_it(place: &Place) {
    let mut search = Search::new(place, 4);
    let stop = Arc::clone(&search.stop);
    let mut objective = Scripted::new(5, |task, step, computed| {
        stop.store(task.number == 2 && step == 3, Ordering::Relaxed);
        Ok(train(5, task, step, computed, Duration::ZERO))
    });
    assert!(!search.run(&mut objective).unwrap());
    assert_eq!(search.heard.last(), Some(&Heard::Ended(2, Outcome::GivenBack)));
    assert_eq!(search.states(), [State::Complete, State::Complete, State::Waiting]);
    let computed = objective.computed;
    assert_eq!((computed, objective.over.len()), (13, 2));
    search.stop.store(false, Ordering::Relaxed);
    search.settings.seed = Some(8);
    let mut other = Scripted::training(5);
    assert!(search.run(&mut other).unwrap());
    assert_eq!(search.heard[6], Heard::Started(2, Origin::Waiting));
    assert_eq!(search.states(), [State::Complete; 4]);
    // The first three steps were saved, and are not computed again.
    assert_eq!((other.tasks[0].0, &other.tasks[0].1, other.computed), (2, &objective.tasks[2].1, 7));
    assert_eq!(search.trials()[2].reports.len(), 5);
}

on_each_storage!(a_seed_finds_the_same_trials_in_one_go_and_in_pieces);
fn a_seed_finds_the_same_trials_in_one_go_and_in_pieces(place: &Place) {
    for sampler in [SamplerKind::Random, SamplerKind::Tpe, SamplerKind::Evolution] {
        let mut whole = Search::new(place, 25);
        whole.sampler = sampler;
        whole.run(&mut Scripted::training(3)).unwrap();
        let mut pieces = Search::new(place, 25);
        pieces.sampler = sampler;
        let mut left = 4;
        let stop = Arc::clone(&pieces.stop);
        let mut stopping = Scripted::new(3, |task, step, computed| {
            if step <= 3 {
                left -= 1;
                stop.store(left % 20 == 0, Ordering::Relaxed);
            }
            Ok(train(3, task, step, computed, Duration::ZERO))
        });
        while !pieces.run(&mut stopping).unwrap() {
            pieces.stop.store(false, Ordering::Relaxed);
        }
        drop(stopping);
        assert!(pieces.heard.iter().filter(|heard| matches!(heard, Heard::Ended(_, Outcome::GivenBack))).count() > 1);
        assert_eq!(parameters(&pieces.trials()), parameters(&whole.trials()), "{sampler}");
        let mut other = Search::new(place, 25);
        (other.sampler, other.settings.seed) = (sampler, Some(8));
        other.run(&mut Scripted::training(3)).unwrap();
        assert_ne!(parameters(&other.trials()), parameters(&whole.trials()), "{sampler}");
    }
}

on_each_storage!(an_enqueued_trial_that_makes_no_sense_fails_and_the_search_goes_on);
fn an_enqueued_trial_that_makes_no_sense_fails_and_the_search_goes_on(place: &Place) {
    let mut search = Search::new(place, 4);
    search.enqueue(&json!({"2->1 gate": "ajar"}));
    search.enqueue(&json!({"lr": 0.1}));
    assert!(search.run(&mut Scripted::training(2)).unwrap());
    assert_eq!(search.states(), [State::Fail, State::Fail, State::Complete, State::Complete]);
    let reasons: Vec<String> = search.trials()[..2].iter().map(|t| t.attributes["reason"].to_string()).collect();
    assert!(reasons[0].contains("choose from through, cutoff, linear, correct"), "{}", reasons[0]);
    assert!(reasons[1].contains("there is no parameter `lr`"), "{}", reasons[1]);
    assert!(matches!(&search.heard[0], Heard::Ended(0, Outcome::Failed(_))), "{:?}", search.heard);
}

on_each_storage!(an_enqueued_trial_is_completed_by_chance);
fn an_enqueued_trial_is_completed_by_chance(place: &Place) {
    let mut search = Search::new(place, 3);
    let whole: BTreeMap<_, _> =
        search.space.parameters().iter().map(|p| (p.name.clone(), p.choices[0].clone())).collect();
    search.enqueue(&json!({"2->1 gate": "linear", "2->1 design": "both apart"}));
    search.enqueue(&json!(whole));
    let mut objective = Scripted::training(2);
    assert!(search.run(&mut objective).unwrap());
    let trials = search.trials();
    assert_eq!(search.states(), [State::Complete; 3]);
    assert_eq!(trials[0].parameters.len(), search.space.parameters().len());
    assert_eq!(
        (&trials[0].parameters["2->1 gate"], &trials[0].parameters["2->1 design"]),
        (&json!("linear"), &json!("both apart"))
    );
    assert_eq!(json!(trials[1].parameters), json!(whole));
    assert_eq!(
        search.heard[..2],
        [Heard::Started(0, Origin::Waiting), Heard::Ended(0, Outcome::Complete(trials[0].value.unwrap()))]
    );
    for (trial, (_, graph)) in trials.iter().zip(&objective.tasks) {
        assert_eq!(trial.attributes["graph"], json!(graph.hash().to_string()));
    }
}

on_each_storage!(an_enqueued_graph_that_cannot_be_trained_fails);
fn an_enqueued_graph_that_cannot_be_trained_fails(place: &Place) {
    let mut search = Search::new(place, 1);
    let cut = search.space.parameters().iter().filter(|p| p.name.ends_with("gate"));
    let cut: BTreeMap<_, _> = cut.map(|p| (p.name.clone(), "cutoff")).collect();
    search.enqueue(&json!(cut));
    assert!(search.run(&mut Scripted::training(2)).unwrap());
    assert_eq!(search.states(), [State::Fail]);
    assert!(search.trials()[0].attributes["reason"].as_str().unwrap().contains("can be trained"));
}

on_each_storage!(a_graph_that_cannot_be_judged_fails_with_its_reason_and_is_not_tried_again);
fn a_graph_that_cannot_be_judged_fails_with_its_reason_and_is_not_tried_again(place: &Place) {
    let mut search = Search::new(place, 3);
    let mut objective = Scripted::new(2, |task, step, computed| match task.number {
        1 => Ok(Report::Failed("it needs more memory than there is".to_owned())),
        _ => Ok(train(2, task, step, computed, Duration::ZERO)),
    });
    assert!(search.run(&mut objective).unwrap());
    assert_eq!(search.states(), [State::Complete, State::Fail, State::Complete]);
    let trial = &search.trials()[1];
    assert_eq!(trial.attributes["reason"], json!("it needs more memory than there is"));
    assert_eq!((trial.value, objective.over.len()), (None, 3));
}

on_each_storage!(trouble_that_would_stop_every_trial_gives_the_trial_back_and_ends_the_search);
fn trouble_that_would_stop_every_trial_gives_the_trial_back_and_ends_the_search(place: &Place) {
    let mut search = Search::new(place, 3);
    let mut objective = Scripted::new(2, |task, step, computed| match task.number {
        1 => Err("the data set is gone".to_owned()),
        _ => Ok(train(2, task, step, computed, Duration::ZERO)),
    });
    let error = search.run(&mut objective).unwrap_err();
    assert_eq!((&error.to_string()[..], matches!(error, Error::Objective(_))), ("the data set is gone", true));
    assert_eq!(search.states(), [State::Complete, State::Waiting]);
    assert!(search.run(&mut Scripted::training(2)).unwrap());
    assert_eq!(search.states(), [State::Complete; 3]);
}

on_each_storage!(a_space_that_is_searched_through_ends_the_search);
fn a_space_that_is_searched_through_ends_the_search(place: &Place) {
    let labels = "label_gates = [\"through\", \"linear\"]\ngates = [\"linear\"]\ndesigns = [\"both apart\"]";
    let edges = "label_gates = [\"falling\"]\ngates = [\"falling\"]\n\
                 designs = [\"prob apart + att closer\", \"prob closer + att apart\"]";
    for sampler in [SamplerKind::Random, SamplerKind::Tpe, SamplerKind::Evolution] {
        for choices in [labels, edges] {
            let mut search = Search::new(place, 1000);
            search.sampler = sampler;
            search.space = space(2, choices);
            assert!(search.run(&mut Scripted::training(1)).unwrap());
            // Two nodes with one of two label gates or designs each, up to their exchange.
            assert_eq!(search.states(), [State::Complete; 3]);
            assert_eq!(search.heard.last(), Some(&Heard::Exhausted));
        }
    }
}

on_each_storage!(a_worker_leaves_others_alone_or_waits_and_takes_over);
fn a_worker_leaves_others_alone_or_waits_and_takes_over(place: &Place) {
    let mut search = Search::new(place, 2);
    let other = search.other();
    search.settings.wait = false;
    let done = AtomicBool::new(false);
    let mut study = place.study(&search.name);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(study.beat(other).unwrap());
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let result = search.run(&mut Scripted::training(1));
        done.store(true, Ordering::Relaxed);
        assert!(result.unwrap());
    });
    assert_eq!(search.states(), [State::Running, State::Complete]);
    // One that waits takes the trial when its worker falls silent. That one's parameters mean nothing here.
    search.settings.wait = true;
    search.heard.clear();
    assert!(search.run(&mut Scripted::training(1)).unwrap());
    assert_eq!(search.states(), [State::Fail, State::Complete, State::Fail]);
    // It has listened for a while before it believes that.
    assert_eq!(search.heard[..2], [Heard::Waiting(1), Heard::Reaped(0, Some(2))]);
    assert!(matches!(&search.heard[2], Heard::Ended(2, Outcome::Failed(reason)) if reason.contains("no parameter")));
}

on_each_storage!(who_beats_lives_whatever_the_clock_says);
fn who_beats_lives_whatever_the_clock_says(place: &Place) {
    let mut search = Search::new(place, 1);
    search.settings.silence = Duration::from_secs(1);
    let other = search.other();
    // The database's clock jumps by years, back and forth.
    let beat = |i: usize| {
        let year = [2020, 2999, 2001][i / 6];
        place.sql(&format!(
            "UPDATE trial_heartbeats SET heartbeat = '{year}-01-01 00:00:{i:02}' WHERE trial_id = {other}"
        ));
        std::thread::sleep(Duration::from_millis(200));
    };
    let (last, over) = std::thread::scope(|scope| {
        let beats = scope.spawn(|| {
            (0..18).for_each(beat);
            Instant::now()
        });
        assert!(search.run(&mut Scripted::training(1)).unwrap());
        (beats.join().unwrap(), Instant::now())
    });
    let least = search.settings.silence - Duration::from_millis(200);
    assert!(over.duration_since(last) >= least, "it was thought dead {:?} after it said it lives", over - last);
    assert_eq!(search.heard[..2], [Heard::Waiting(1), Heard::Reaped(0, Some(1))]);
}

on_each_storage!(a_worker_waits_for_the_last_trial_of_another);
fn a_worker_waits_for_the_last_trial_of_another(place: &Place) {
    let mut search = Search::new(place, 2);
    let other = search.other();
    let name = search.name.clone();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || (search.run(&mut Scripted::training(1)).unwrap(), search.heard));
        let mut study = place.study(&name);
        while study.count().unwrap() < 2 || study.busy().unwrap() > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!thread.is_finished());
        study.give_back(other).unwrap();
        let (done, heard) = thread.join().unwrap();
        assert!(done);
        assert!(
            matches!(&heard[2..], [Heard::Ended(0, Outcome::Failed(_))] | [Heard::Waiting(1), Heard::Ended(0, _)]),
            "{heard:?}"
        );
    });
}

on_each_storage!(a_worker_whose_trial_was_taken_stops_and_writes_nothing);
fn a_worker_whose_trial_was_taken_stops_and_writes_nothing(place: &Place) {
    let mut search = Search::new(place, 2);
    let name = search.name.clone();
    let mut objective = Scripted::new(4, |task, step, computed| {
        let report = train(4, task, step, computed, Duration::ZERO);
        if task.number == 0 && step == 3 {
            let mut other = place.study(&name);
            let silent = other.heartbeats().unwrap();
            assert_eq!(other.reap(&silent, Duration::from_secs(5), 3).unwrap().len(), 1);
        }
        Ok(report)
    });
    assert!(search.run(&mut objective).unwrap());
    assert_eq!(
        search.heard[..3],
        [Heard::Started(0, Origin::New), Heard::Ended(0, Outcome::Lost), Heard::Started(1, Origin::Waiting)]
    );
    let trials = search.trials();
    assert_eq!(search.states(), [State::Fail, State::Complete, State::Complete]);
    assert_eq!(trials[0].reports.len(), 2);
    // The retry goes on in the directory of the lost trial, with what it has.
    assert_eq!(
        (&trials[0].parameters, &trials[0].attributes["run"]),
        (&trials[1].parameters, &trials[1].attributes["run"])
    );
    assert_eq!((trials[1].reports.len(), objective.computed, objective.over.len()), (4, 8, 2));
}

/// What a worker needs for a search, and wants of its study.
fn plan(search: &Search, agreements: Vec<Agreement>) -> WorkerPlan {
    WorkerPlan {
        space: search.space.clone(),
        values: ObjectiveKind::Accuracy,
        agreements,
        sampler: sampler::by_kind(SamplerKind::Tpe),
        pruner: Box::new(pruner::Never),
        settings: search.settings.clone(),
    }
}

/// Lets a new worker work on a study, if it agrees with that.
fn join(search: &Search, agreements: Vec<Agreement>) -> Result<(), String> {
    let (mut objective, stop, mut tell) = (Scripted::training(1), AtomicBool::new(false), |_: Event| {});
    let plan = plan(search, agreements);
    let worker = Worker::new(search.place.study(&search.name), plan, &mut objective, &stop, &mut tell);
    let done = worker.and_then(|mut worker| worker.run());
    done.map(|done| assert!(done)).map_err(|error| error.to_string())
}

on_each_storage!(a_study_of_another_space_or_setup_is_refused_with_the_difference);
fn a_study_of_another_space_or_setup_is_refused_with_the_difference(place: &Place) {
    let mut search = Search::new(place, 1);
    search.run(&mut Scripted::training(1)).unwrap();
    search.space = space(3, "gates = [\"through\", \"linear\"]");
    let message = search.run(&mut Scripted::training(1)).unwrap_err().to_string();
    common::assert_sentence(&message);
    assert!(message.contains(&search.name) && message.contains("search space"), "{message}");
    assert!(message.contains("`\"linear\"` here, `\"cutoff\",` there"), "{message}");

    search.space = space(3, "");
    let join = |training: Agreement| join(&search, vec![training]);
    let training = |epochs: i64| Agreement::new("training", json!({"batch size": 64, "epochs": epochs}));
    assert_eq!((join(training(5)), join(training(5))), (Ok(()), Ok(())));
    let message = join(training(6)).unwrap_err();
    common::assert_sentence(&message);
    assert!(
        message.contains("training") && message.contains("`\"epochs\": 6` here, `\"epochs\": 5` there"),
        "{message}"
    );
}

/// Whether a worker that wants these values may join a study.
fn join_with_values(search: &Search, values: ObjectiveKind) -> Result<(), String> {
    let (mut objective, stop, mut tell) = (Scripted::training(1), AtomicBool::new(false), |_: Event| {});
    let plan = WorkerPlan { values, ..plan(search, vec![]) };
    let worker = Worker::new(search.place.study(&search.name), plan, &mut objective, &stop, &mut tell);
    worker.map(|_| ()).map_err(|error| error.to_string())
}

on_each_storage!(a_study_keeps_its_objective_and_one_without_is_of_accuracies);
fn a_study_keeps_its_objective_and_one_without_is_of_accuracies(place: &Place) {
    let new = Search::new(place, 1);
    assert_eq!(join_with_values(&new, ObjectiveKind::Nll), Ok(()));
    assert_eq!(join_with_values(&new, ObjectiveKind::Nll), Ok(()));
    let message = join_with_values(&new, ObjectiveKind::Accuracy).unwrap_err();
    common::assert_sentence(&message);
    assert!(message.contains("another objective (`accuracy` here, `nll` there)"), "{message}");

    let earlier = Search::new(place, 1);
    let mut study = place.study(&earlier.name);
    study.put_attribute(SPACE, &earlier.space.to_json()).unwrap();
    assert_eq!(StudyMetadata::read(&mut study).unwrap().objective, ObjectiveKind::Accuracy);
    let message = join_with_values(&earlier, ObjectiveKind::Nll).unwrap_err();
    assert!(message.contains("another objective (`nll` here, `accuracy` there)"), "{message}");
    assert_eq!(join_with_values(&earlier, ObjectiveKind::Accuracy), Ok(()));
}

/// The settings that version 0.1 wrote into a study, a text in TOML.
fn earlier_settings(epochs: u32) -> Json {
    json!(format!("side = 8\n\n[train]\nepochs = {epochs}\n"))
}

/// The pruner that version 0.1 wrote into a study, a sentence.
fn earlier_pruner(min_resource: u32) -> Json {
    json!(format!("asha, min_resource {min_resource}, reduction_factor 2, min_early_stopping_rate 0"))
}

/// What a worker wants of its study, as `ktg search` does: settings and a pruner.
fn agreements(epochs: u32, min_resource: u32) -> Vec<Agreement> {
    let settings = json!({"side": 8, "train": {"epochs": epochs}});
    let pruner = PrunerSettings::Asha(Halving { min_resource, reduction_factor: 2, min_early_stopping_rate: 0 });
    vec![
        Agreement { key: SETTINGS, value: settings, before: Some(earlier_settings(epochs)) },
        Agreement { key: PRUNER, value: json!(pruner), before: Some(json!(pruner.to_string())) },
    ]
}

on_each_storage!(a_study_of_an_earlier_version_is_joined_and_keeps_its_words);
fn a_study_of_an_earlier_version_is_joined_and_keeps_its_words(place: &Place) {
    let search = Search::new(place, 2);
    let mut study = place.study(&search.name);
    study.put_attribute(SETTINGS, &earlier_settings(5)).unwrap();
    study.put_attribute(PRUNER, &earlier_pruner(1)).unwrap();
    assert_eq!(join(&search, agreements(5, 1)), Ok(()));
    assert_eq!(search.states(), [State::Complete; 2]);
    // Workers of that version go on finding what they wrote.
    assert_eq!(study.attribute(SETTINGS).unwrap(), Some(earlier_settings(5)));
    assert_eq!(study.attribute(PRUNER).unwrap(), Some(earlier_pruner(1)));
}

on_each_storage!(a_study_with_null_for_what_was_not_given_is_joined);
fn a_study_with_null_for_what_was_not_given_is_joined(place: &Place) {
    let search = Search::new(place, 1);
    let mut study = place.study(&search.name);
    let theirs = json!({"side": 8, "data": {"file": null}, "train": {"epochs": 5, "milestones": [{"share": null}]}});
    study.put_attribute(SETTINGS, &theirs).unwrap();
    let ours = json!({"side": 8, "data": {"root": null}, "train": {"epochs": 5, "milestones": [{}]}});
    assert_eq!(join(&search, vec![Agreement::new(SETTINGS, ours.clone())]), Ok(()));
    assert_eq!(study.attribute(SETTINGS).unwrap(), Some(theirs));
    let other = join(&search, vec![Agreement::new(SETTINGS, json!({"side": 9, "data": {}}))]).unwrap_err();
    assert!(other.contains("(`\"side\": 9,` here, `\"side\": 8,` there)"), "{other}");
}

on_each_storage!(a_study_of_an_earlier_version_with_other_words_is_refused_with_the_difference);
fn a_study_of_an_earlier_version_with_other_words_is_refused_with_the_difference(place: &Place) {
    let refused = |settings: Json, pruner: Json, ours: Vec<Agreement>| {
        let search = Search::new(place, 2);
        let mut study = place.study(&search.name);
        study.put_attribute(SETTINGS, &settings).unwrap();
        study.put_attribute(PRUNER, &pruner).unwrap();
        let message = join(&search, ours).unwrap_err();
        common::assert_sentence(&message);
        assert!(message.contains(&search.name), "{message}");
        // Nothing was done, and nothing was written over.
        assert_eq!(search.states(), []);
        assert_eq!(study.attribute(SETTINGS).unwrap(), Some(settings));
        assert_eq!(study.attribute(PRUNER).unwrap(), Some(pruner));
        message
    };
    let settings = refused(earlier_settings(5), earlier_pruner(1), agreements(6, 1));
    assert!(settings.contains("another experiment (`epochs = 6` here, `epochs = 5` there)"), "{settings}");
    let pruner = refused(earlier_settings(5), earlier_pruner(2), agreements(5, 1));
    let rest = "reduction_factor 2, min_early_stopping_rate 0";
    let expected =
        format!("another pruner (`asha, min_resource 1, {rest}` here, `asha, min_resource 2, {rest}` there)");
    assert!(pruner.contains(&expected), "{pruner}");
    // A study of this version is compared part by part, not word by word.
    let [theirs, their_pruner] = &agreements(5, 2)[..] else { panic!() };
    let pruner = refused(theirs.value.clone(), their_pruner.value.clone(), agreements(5, 1));
    assert!(pruner.contains("another pruner (`\"min_resource\": 1,` here, `\"min_resource\": 2,` there)"), "{pruner}");
}

/// What a study says about itself that has one attribute.
fn metadata(place: &Place, key: &str, value: &Json) -> Result<StudyMetadata, String> {
    let mut study = place.study(&unique("metadata"));
    study.put_attribute(key, value).unwrap();
    StudyMetadata::read(&mut study).map_err(|error| {
        let message = error.to_string();
        common::assert_sentence(&message);
        message
    })
}

on_each_storage!(a_study_says_how_it_prunes_and_where_its_rungs_are);
fn a_study_says_how_it_prunes_and_where_its_rungs_are(place: &Place) {
    let halving = Halving { min_resource: 2, reduction_factor: 3, min_early_stopping_rate: 1 };
    let numbers = "min_resource 2, reduction_factor 3, min_early_stopping_rate 1";
    let attribute =
        |kind: &str| json!({"kind": kind, "min_resource": 2, "reduction_factor": 3, "min_early_stopping_rate": 1});
    let rungs = [Some(6), Some(18), Some(54)];
    let cases = [
        (attribute("asha"), PrunerSettings::Asha(halving), format!("asha, {numbers}"), rungs),
        (attribute("promotion"), PrunerSettings::Promotion(halving), format!("promotion, {numbers}"), rungs),
        // Its trials have their rungs at different epochs.
        (attribute("hyperband"), PrunerSettings::Hyperband(halving), format!("hyperband, {numbers}"), [None; 3]),
        (json!({"kind": "median"}), PrunerSettings::Median, "median".to_owned(), [None; 3]),
        (json!({"kind": "none"}), PrunerSettings::None, "none".to_owned(), [None; 3]),
    ];
    for (attribute, pruner, words, epochs) in cases {
        let metadata = metadata(place, PRUNER, &attribute).unwrap();
        assert_eq!((metadata.pruner, metadata.pruner_in_words), (Some(pruner), Some(words)));
        assert_eq!([0, 1, 2].map(|rung| pruner.rung_epoch(rung)), epochs, "{pruner}");
    }
    // Version 0.1 only had the words.
    let metadata = metadata(place, PRUNER, &earlier_pruner(1)).unwrap();
    assert_eq!((metadata.pruner, metadata.pruner_in_words.map(Json::from)), (None, Some(earlier_pruner(1))));
    let of_others = StudyMetadata::read(&mut place.study(&unique("metadata"))).unwrap();
    assert_eq!(of_others, StudyMetadata::default());
}

on_each_storage!(a_damaged_attribute_of_a_study_is_named);
fn a_damaged_attribute_of_a_study_is_named(place: &Place) {
    let asha = json!({"kind": "asha", "min_resource": 1, "reduction_factor": 2});
    let mut surplus = asha.clone();
    (surplus["min_early_stopping_rate"], surplus["max_resource"]) = (json!(0), json!(9));
    for (key, value, part) in [
        (PRUNER, json!(7), "integer `7`"),
        (PRUNER, asha, "missing field `min_early_stopping_rate`"),
        (PRUNER, surplus, "unknown field `max_resource`"),
        (PRUNER, json!({"kind": "patient"}), "unknown variant `patient`"),
        (IMAGES, json!(7), "it is no text"),
        (BASE, json!({"edges": []}), ""),
        (TARGET, json!("many"), "it is no whole number"),
        (TARGET, json!(2.5), "it is no whole number"),
        (SPACE, json!({"graph": 7}), "missing field `parameters`"),
        (SPACE, json!("all graphs"), "expected struct"),
    ] {
        let message = metadata(place, key, &value).unwrap_err();
        assert!(message.contains(&format!("its attribute `{key}` is damaged")), "{message}");
        assert!(message.contains("metadata") && message.contains(part), "{message}");
    }
    assert_eq!(metadata(place, TARGET, &json!(7)).unwrap().target, Some(7));
}

on_each_storage!(long_trials_are_reported_now_and_then_and_at_rungs);
fn long_trials_are_reported_now_and_then_and_at_rungs(place: &Place) {
    for (pruner, most) in [(PrunerKind::None, 20), (PrunerKind::Asha, 28)] {
        let mut search = Search::new(place, 2);
        search.pruner = pruner;
        // The second is better at every step, so that none is stopped.
        let mut objective = Scripted::new(150, |task, step, _| {
            let value = |step: i64| step as f64 + task.number as f64;
            Ok(match step {
                151 => Report::Finished(value(150), vec![("note".to_owned(), json!(true))]),
                step => Report::Step(step, value(step)),
            })
        });
        search.run(&mut objective).unwrap();
        for trial in search.trials() {
            assert!((15..=most).contains(&trial.reports.len()), "{:?}", trial.reports);
            assert_eq!(trial.last_report().map(|(step, _)| step), Some(150));
            assert!(
                pruner == PrunerKind::None
                    || [1, 2, 4, 8, 16, 32, 64, 128].iter().all(|s| trial.reports.contains_key(s))
            );
            assert_eq!(trial.rung(), if pruner == PrunerKind::None { 0 } else { 8 });
            assert_eq!(trial.attributes["note"], json!(true));
        }
    }
}

on_each_storage!(a_trial_that_diverges_is_pruned_without_a_value);
fn a_trial_that_diverges_is_pruned_without_a_value(place: &Place) {
    for pruner in [PrunerKind::Asha, PrunerKind::Promotion] {
        let mut search = Search::new(place, 3);
        search.pruner = pruner;
        let mut objective = Scripted::new(4, |task, step, computed| {
            Ok(match train(4, task, step, computed, Duration::ZERO) {
                Report::Step(step, _) if task.number == 1 && step >= 2 => Report::Step(step, f64::NAN),
                Report::Step(step, value) => Report::Step(step, value + 9.0 * task.number as f64),
                finished => finished,
            })
        });
        search.run(&mut objective).unwrap();
        let trial = &search.trials()[1];
        assert_eq!((trial.state, trial.value, trial.reports.len(), trial.rung()), (State::Pruned, None, 2, 1));
        assert_eq!(search.states()[0], State::Complete);
    }
}

/// Runs a search with promotion in which trial i is worth `values[i]` at every step.
fn promote(search: &mut Search, values: &[f64]) -> Vec<(i64, i64)> {
    search.pruner = PrunerKind::Promotion;
    search.settings.trials = values.len() as i64;
    let mut computed = Vec::new();
    let mut objective = Scripted::new(8, |task, step, _| {
        let value = values[task.number as usize];
        if step > 8 {
            return Ok(Report::Finished(value, vec![]));
        }
        std::fs::create_dir_all(&task.directory).unwrap();
        assert_eq!(saved(&task.directory), step - 1, "it goes on where it was");
        computed.push((task.number, step));
        common::stand_in::save(&task.directory, step);
        Ok(Report::Step(step, value))
    });
    assert!(search.run(&mut objective).unwrap());
    let pauses = search.heard.iter().filter(|heard| matches!(heard, Heard::Ended(_, Outcome::Paused(_)))).count();
    assert_eq!((objective.paused.len(), objective.over.len()), (pauses, values.len()));
    drop(objective);
    computed
}

on_each_storage!(paused_trials_go_on_where_they_were_and_are_pruned_in_the_end);
fn paused_trials_go_on_where_they_were_and_are_pruned_in_the_end(place: &Place) {
    let mut search = Search::new(place, 0);
    let values = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.25, 0.125];
    let mut computed = promote(&mut search, &values);
    let promoted = search.heard.iter().filter(|heard| matches!(heard, Heard::Started(_, Origin::Promoted))).count();
    assert!(promoted >= 3, "{:?}", search.heard);
    let steps = computed.len();
    computed.sort_unstable();
    computed.dedup();
    assert_eq!(computed.len(), steps, "a step was computed twice");
    let trials = search.trials();
    assert!(trials.iter().all(|trial| matches!(trial.state, State::Complete | State::Pruned) && !trial.is_paused()));
    let pruned = trials.iter().filter(|trial| trial.state == State::Pruned).count();
    assert_eq!(search.heard.last(), Some(&Heard::PrunedPaused(pruned)));
    assert_eq!(trials[0].state, State::Complete);
    // Half of the trials went beyond the first rung: the best ones.
    let beyond: Vec<bool> = trials.iter().map(|trial| trial.reports.len() > 1).collect();
    assert_eq!(beyond, [true, true, true, true, false, false, false, false]);
    for (trial, value) in trials.iter().zip(values) {
        assert_eq!(trial.value, Some(value));
    }
}

on_each_storage!(no_more_trials_are_paused_than_there_may_be);
fn no_more_trials_are_paused_than_there_may_be(place: &Place) {
    let values = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.25, 0.125, 2.5];
    let mut search = Search::new(place, 0);
    search.settings.most_paused = Some(2);
    promote(&mut search, &values);
    let (mut paused, mut most) = (0, 0);
    for heard in &search.heard {
        match heard {
            Heard::Ended(_, Outcome::Paused(_)) => paused += 1,
            Heard::Started(_, Origin::Promoted) => paused -= 1,
            _ => {}
        }
        most = most.max(paused);
    }
    assert!(most > 2, "{:?}", search.heard);
    let [Heard::PrunedPaused(left)] = search.heard[search.heard.len() - 1..] else { panic!("{:?}", search.heard) };
    assert!(left <= 2, "{left}");
    assert!(search.trials().iter().all(|trial| matches!(trial.state, State::Complete | State::Pruned)));
}

on_each_storage!(only_graphs_that_the_objective_accepts_are_tried);
fn only_graphs_that_the_objective_accepts_are_tried(place: &Place) {
    let mut search = Search::new(place, 20);
    let mut objective = Scripted::training(1);
    let few: fn(&Graph) -> bool = |graph| graph.active_transfers().count() == 2;
    objective.accepts = few;
    search.run(&mut objective).unwrap();
    assert_eq!(objective.tasks.iter().filter(|(_, graph)| few(graph)).count(), 20);
}

on_each_storage!(a_worker_whose_trial_another_program_fails_or_deletes_takes_the_next);
fn a_worker_whose_trial_another_program_fails_or_deletes_takes_the_next(place: &Place) {
    let mut search = Search::new(place, 3);
    let name = search.name.clone();
    let mut objective = Scripted::new(4, |task, step, computed| {
        let report = train(4, task, step, computed, Duration::ZERO);
        let id = || place.study(&name).trials().unwrap().last().unwrap().id;
        match (task.number, step) {
            (0, 3) => place.sql(&format!("UPDATE trials SET state = 'FAIL' WHERE trial_id = {}", id())),
            // Just before it ends.
            (1, 5) => place.sql(&format!("UPDATE trials SET state = 'FAIL' WHERE trial_id = {}", id())),
            (2, 2) => {
                let id = id();
                // SQLite would give the key of the newest trial to the next.
                let key = place.key(&name);
                place.sql(&format!("INSERT INTO trials (number, study_id, state) VALUES (3, {key}, 'FAIL')"));
                place.delete(id);
            }
            _ => {}
        }
        Ok(report)
    });
    assert!(search.run(&mut objective).unwrap());
    let lost: Vec<&Heard> = search.heard.iter().filter(|heard| matches!(heard, Heard::Ended(..))).collect();
    assert_eq!(lost, [0, 1, 2].map(|number| Heard::Ended(number, Outcome::Lost)).iter().collect::<Vec<_>>());
    let trials = search.trials();
    assert_eq!(search.states(), [State::Fail; 3]);
    assert!(trials.iter().all(|trial| trial.value.is_none() && !trial.attributes.contains_key("reason")));
    assert_eq!(trials[0].reports.len(), 2);
}

on_each_storage!(a_trial_that_is_stopped_for_good_has_its_last_report_as_its_value);
fn a_trial_that_is_stopped_for_good_has_its_last_report_as_its_value(place: &Place) {
    let mut search = Search::new(place, 2);
    search.pruner = PrunerKind::Asha;
    let mut objective = Scripted::new(4, |task, step, computed| {
        Ok(match train(4, task, step, computed, Duration::ZERO) {
            Report::Step(step, _) => Report::Step(step, step as f64 - 10.0 * task.number as f64),
            finished => finished,
        })
    });
    assert!(search.run(&mut objective).unwrap());
    let trial = &search.trials()[1];
    assert_eq!((trial.state, trial.value, trial.reports.len()), (State::Pruned, Some(-9.0), 1));
    assert_eq!(search.heard.last(), Some(&Heard::Ended(1, Outcome::Pruned)));
    assert_eq!((objective.computed, objective.over.len()), (5, 2));
}

on_each_storage!(the_verdict_that_a_dead_worker_left_open_is_passed_again);
/// A worker may die after its report was noted at a rung, and before the verdict was carried out.
fn the_verdict_that_a_dead_worker_left_open_is_passed_again(place: &Place) {
    for (pruner, expected) in [(PrunerKind::Asha, Outcome::Pruned), (PrunerKind::Promotion, Outcome::Paused(0))] {
        let mut search = Search::new(place, 2);
        search.pruner = pruner;
        search.settings.silence = Duration::from_secs(1);
        // A better trial, and one that its worker leaves at the same rung.
        let mut first = Scripted::new(8, |_, step, _| {
            Ok(if step > 8 { Report::Finished(18.0, vec![]) } else { Report::Step(step, 10.0 + step as f64) })
        });
        search.settings.trials = 1;
        search.run(&mut first).unwrap();
        let mut study = place.study(&search.name);
        let parameters = search.space.parameters().iter().map(|p| (p.name.as_str(), &p.choices[..], 0)).collect();
        let lost = NewTrial { parameters, graph: "lost".to_owned() };
        let Inserted::Trial(dead) = study.insert(&lost, &unique("work"), 2).unwrap() else { panic!() };
        let dead = dead.id;
        assert!(study.report(dead, 1, 5.0).unwrap());
        study.complete_rung(dead, 0, 5.0).unwrap();
        std::thread::sleep(Duration::from_millis(2100));
        search.settings.trials = 2;
        search.heard.clear();
        let mut steps = 0;
        let mut second = Scripted::new(8, |_, _, _| {
            steps += 1;
            Ok(Report::Stopped)
        });
        search.run(&mut second).unwrap();
        drop(second);
        assert!(search.heard.contains(&Heard::Ended(2, expected.clone())), "{:?}", search.heard);
        assert_eq!(steps, 0, "it was trained on");
        let rungs: Vec<f64> = study.rungs(Some(0)).unwrap().iter().map(|value| value.value).collect();
        assert_eq!(rungs.len(), 2, "{rungs:?}");
    }
}
