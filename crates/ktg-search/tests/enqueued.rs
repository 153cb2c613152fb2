//! Graphs that someone enqueues although the study has them: each is trained once.

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::stand_in::{Scripted, quick, space, train, work};
use common::{Place, on_each_storage, unique};
use ktg_search::attributes::{FIXED_PARAMS, GRAPH, REASON, SEED, VARIANT};
use ktg_search::storage::{Enqueued, Inserted, NewTrial, State, Study, Trial};
use ktg_search::{Event, Outcome, PrunerKind, SamplerKind, SearchSettings, Space, pruner, sampler};
use serde_json::{Value as Json, json};

/// Choices by the name of their parameter.
type Choices = BTreeMap<String, String>;

/// A study whose trials are all enqueued.
struct Enqueuing<'a> {
    place: &'a Place,
    name: String,
    space: Space,
    pruner: PrunerKind,
    /// Trials that it shall have; 0: those that are there.
    trials: i64,
}

impl<'a> Enqueuing<'a> {
    fn new(place: &'a Place) -> Self {
        let name = unique("enqueued");
        drop(place.study(&name));
        Self { place, name, space: space(3, ""), pruner: PrunerKind::None, trials: 0 }
    }

    fn study(&self) -> Study {
        self.place.study(&self.name)
    }

    /// Choices of a graph for each seed, with a transfer on every edge and a label on every node.
    fn choices(&self, seed: u64) -> Choices {
        let mut state = seed;
        let choice = |parameter: &ktg_search::Parameter| {
            let allowed: Vec<&String> = parameter.choices.iter().filter(|choice| *choice != "cutoff").collect();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (parameter.name.clone(), allowed[(state >> 33) as usize % allowed.len()].clone())
        };
        self.space.parameters().iter().map(choice).collect()
    }

    /// Adds a waiting trial as Optuna's `enqueue_trial` does.
    fn enqueue(&self, choices: &Choices, attributes: &[(&str, Json)]) {
        let key = self.place.key(&self.name);
        let fixed = json!(choices);
        let of_last = format!("SELECT max(trial_id) FROM trials WHERE study_id = {key}");
        let mut statements = format!(
            "INSERT INTO trials (number, study_id, state) \
             SELECT count(*), {key}, 'WAITING' FROM trials WHERE study_id = {key}; \
             INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) \
             VALUES (({of_last}), '{FIXED_PARAMS}', '{fixed}');"
        );
        for (name, value) in attributes {
            statements += &format!(
                "INSERT INTO trial_user_attributes (trial_id, \"key\", value_json) \
                 VALUES (({of_last}), '{name}', '{value}');"
            );
        }
        self.place.sql(&statements);
    }

    /// Adds a running trial of other choices, as a worker does.
    fn insert(&self, choices: &Choices) -> i64 {
        let genes = self.genes(choices);
        let parameters = self.space.parameters().iter().zip(&genes);
        let parameters = parameters.map(|(p, gene)| (p.name.as_str(), &p.choices[..], *gene)).collect();
        let new = NewTrial { parameters, graph: self.hash(choices) };
        match self.study().insert(&new, &unique("work"), 1_000_000).unwrap() {
            Inserted::Trial(claimed) => claimed.id,
            other => panic!("{other:?}"),
        }
    }

    fn genes(&self, choices: &Choices) -> Vec<usize> {
        let choices = json!(choices);
        self.space.genes(choices.as_object().unwrap()).unwrap().into_iter().map(Option::unwrap).collect()
    }

    fn hash(&self, choices: &Choices) -> String {
        self.space.graph(&self.genes(choices)).hash().to_string()
    }

    fn run(&self, objective: &mut Scripted) -> Vec<(i64, Outcome)> {
        let settings = SearchSettings { pruner: self.pruner, ..SearchSettings::default() };
        let ways = (sampler::by_kind(SamplerKind::Random), pruner::by_settings(&settings, &self.name, 8));
        let runs = self.place.directory().join(&self.name);
        let (stop, mut ends) = (AtomicBool::new(false), Vec::new());
        let mut tell = |event: Event| {
            if let Event::Ended { number, outcome, .. } = event {
                ends.push((number, outcome));
            }
        };
        let settings = ktg_search::WorkerSettings { seed: Some(3), ..quick(self.trials, &runs) };
        let done = work(self.study(), self.space.clone(), ways, objective, settings, &stop, &mut tell);
        assert!(done.unwrap());
        ends
    }

    fn trials(&self) -> Vec<Trial> {
        self.study().trials().unwrap()
    }

    /// The state of each trial, and the reason of those that have one.
    fn ends(&self) -> Vec<(State, Option<String>)> {
        let reason = |trial: &Trial| trial.attributes.get(REASON).map(|reason| reason.as_str().unwrap().to_owned());
        self.trials().iter().map(|trial| (trial.state, reason(trial))).collect()
    }
}

fn complete() -> (State, Option<String>) {
    (State::Complete, None)
}

/// How the trial of a graph that another has ends.
fn same_as(number: i64) -> (State, Option<String>) {
    (State::Fail, Some(format!("the graph of trial {number}")))
}

/// The same choices with the nodes 1, 2, 3 called 2, 3, 1.
fn renumbered(choices: &Choices) -> Choices {
    let digits: HashMap<char, char> = [('1', '2'), ('2', '3'), ('3', '1')].into();
    let rename = |name: &String| name.chars().map(|c| digits.get(&c).copied().unwrap_or(c)).collect();
    choices.iter().map(|(name, choice)| (rename(name), choice.clone())).collect()
}

fn with(choices: &Choices, changes: &[(&str, &str)]) -> Choices {
    let mut changed = choices.clone();
    for (name, choice) in changes {
        assert!(changed.insert((*name).to_owned(), (*choice).to_owned()).is_some(), "{name}");
    }
    changed
}

fn numbers_of(objective: &Scripted) -> Vec<i64> {
    objective.tasks.iter().map(|(number, _)| *number).collect()
}

on_each_storage!(a_graph_that_is_enqueued_several_times_is_trained_once);
fn a_graph_that_is_enqueued_several_times_is_trained_once(place: &Place) {
    let mut search = Enqueuing::new(place);
    search.pruner = PrunerKind::Asha;
    let graph = with(&search.choices(1), &[("2->1 gate", "cutoff"), ("label->1 gate", "through")]);
    let other = with(&graph, &[("2->3 gate", "linear"), ("2->3 design", "both apart")]);
    search.enqueue(&graph, &[]);
    search.enqueue(&graph, &[]);
    search.enqueue(&renumbered(&graph), &[]);
    // The design of a cut edge is none, and `correct` on a label edge is `through`.
    search.enqueue(&with(&graph, &[("2->1 design", "attention apart"), ("label->1 gate", "correct")]), &[]);
    search.enqueue(&other, &[]);
    search.enqueue(&renumbered(&renumbered(&other)), &[]);
    let mut objective = Scripted::training(8);
    search.run(&mut objective);
    assert_ne!(search.hash(&graph), search.hash(&other));
    assert_eq!(numbers_of(&objective), [0, 4]);
    let trials = search.trials();
    assert_eq!(trials.len(), 6, "one that is not trained is not repeated");
    let ends = search.ends();
    assert_eq!([1, 2, 3, 5].map(|i| ends[i].clone()), [same_as(0), same_as(0), same_as(0), same_as(4)]);
    for i in [1, 2, 3, 5] {
        assert_eq!((&trials[i].reports, trials[i].rung(), trials[i].value), (&BTreeMap::new(), 0, None));
    }
    assert_eq!(search.study().rungs(Some(0)).unwrap().len(), 2);
    // They count as before: the study has six trials.
    assert_eq!(search.study().count().unwrap(), 6);
}

on_each_storage!(a_graph_that_is_there_in_any_state_but_failed_is_not_trained_again);
fn a_graph_that_is_there_in_any_state_but_failed_is_not_trained_again(place: &Place) {
    let search = Enqueuing::new(place);
    let graphs: Vec<Choices> = (1..=6).map(|seed| search.choices(seed)).collect();
    let hashes: BTreeSet<String> = graphs.iter().map(|choices| search.hash(choices)).collect();
    assert_eq!(hashes.len(), 6);
    let ids: Vec<i64> = graphs.iter().map(|choices| search.insert(choices)).collect();
    let mut study = search.study();
    assert!(study.finish(ids[0], State::Complete, Some(0.5), &[]).unwrap());
    assert!(study.report(ids[1], 1, 0.25).unwrap());
    assert!(study.finish(ids[1], State::Pruned, Some(0.25), &[]).unwrap());
    assert!(study.finish(ids[2], State::Pruned, None, &[]).unwrap());
    assert!(study.pause(ids[3], 0).unwrap());
    assert!(study.finish(ids[5], State::Fail, None, &[(REASON.to_owned(), json!("diverged"))]).unwrap());
    // Trial 4 is at work, in a worker that is not silent for long enough to seem dead.
    for choices in &graphs {
        search.enqueue(&renumbered(choices), &[]);
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut objective = Scripted::training(2);
            search.run(&mut objective);
            numbers_of(&objective)
        });
        // What is at work ends only after all that was enqueued has.
        while search.trials()[6..].iter().any(|trial| !trial.state.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(study.finish(ids[4], State::Complete, Some(0.75), &[]).unwrap());
        assert_eq!(worker.join().unwrap(), [11], "only what failed is trained again");
    });
    let ends = search.ends();
    assert_eq!(ends[6..], [same_as(0), same_as(1), same_as(2), same_as(3), same_as(4), complete()]);
}

on_each_storage!(a_trial_that_was_given_back_keeps_its_graph_and_is_trained_itself);
fn a_trial_that_was_given_back_keeps_its_graph_and_is_trained_itself(place: &Place) {
    let search = Enqueuing::new(place);
    let graph = search.choices(4);
    // The copy is older, and so is taken first.
    search.enqueue(&renumbered(&graph), &[]);
    let id = search.insert(&graph);
    search.study().give_back(id).unwrap();
    let mut objective = Scripted::training(2);
    search.run(&mut objective);
    assert_eq!((search.ends(), numbers_of(&objective)), (vec![same_as(1), complete()], vec![1]));
}

on_each_storage!(other_seeds_and_other_changes_of_an_analysis_are_trained);
fn other_seeds_and_other_changes_of_an_analysis_are_trained(place: &Place) {
    let search = Enqueuing::new(place);
    let graph = search.choices(2);
    for attributes in [
        &[][..],
        &[(SEED, json!(1))],
        &[(SEED, json!(2))],
        &[(SEED, json!(1)), (VARIANT, json!("1 -> 2 cut"))],
        // Where nodes are alike, two changes may make one graph.
        &[(SEED, json!(1)), (VARIANT, json!("2 -> 1 cut"))],
    ] {
        search.enqueue(&graph, attributes);
        search.enqueue(&renumbered(&graph), attributes);
    }
    search.run(&mut Scripted::training(2));
    let expected: Vec<_> = (0..5).flat_map(|i| [complete(), same_as(2 * i)]).collect();
    assert_eq!(search.ends(), expected);
}

on_each_storage!(an_analysis_trains_every_change_with_every_seed);
fn an_analysis_trains_every_change_with_every_seed(place: &Place) {
    use ktg_graph::presets;
    use ktg_search::analysis;
    let mut search = Enqueuing::new(place);
    // What is cut between two equal nodes makes the same graph either way.
    let graph = presets::by_name("dml", 2, "abn-resnet-18").unwrap();
    search.space = analysis::space(&graph).unwrap();
    let variants = analysis::variants(&graph);
    let hashes: BTreeSet<String> = variants.iter().map(|variant| variant.graph.hash().to_string()).collect();
    assert!(hashes.len() < variants.len());
    let trials: Vec<Enqueued> = analysis::trials(&search.space, &variants, &[1, 2]).unwrap();
    assert_eq!(search.study().enqueue_missing(&trials, &[VARIANT, SEED]).unwrap(), 2 * variants.len());
    search.run(&mut Scripted::training(2));
    assert_eq!(search.ends(), vec![complete(); trials.len()]);
}

on_each_storage!(the_retry_of_a_dead_workers_trial_is_trained_on);
fn the_retry_of_a_dead_workers_trial_is_trained_on(place: &Place) {
    let search = Enqueuing::new(place);
    let graph = search.choices(5);
    search.enqueue(&graph, &[]);
    let mut study = search.study();
    let claimed = study.claim_waiting(&unique("work")).unwrap().unwrap();
    let genes = search.genes(&graph);
    let parameters = search.space.parameters().iter().zip(&genes);
    let parameters = parameters.map(|(p, gene)| (p.name.as_str(), &p.choices[..], *gene)).collect();
    study.describe(claimed.id, &NewTrial { parameters, graph: search.hash(&graph) }).unwrap();
    assert!(study.report(claimed.id, 1, 0.5).unwrap());
    let last = common::last_heartbeat(&mut study, claimed.id);
    search.enqueue(&graph, &[]);
    assert_eq!(study.reap(&last, Duration::from_secs(5), 3).unwrap()[0].retry, Some(2));
    let mut objective = Scripted::training(3);
    search.run(&mut objective);
    // The copy is taken first, and gives way to the retry.
    let silent = "its worker fell silent; repeated by a later trial".to_owned();
    assert_eq!(search.ends(), [(State::Fail, Some(silent)), same_as(2), complete()]);
    assert_eq!(numbers_of(&objective), [2]);
    assert_eq!(search.trials()[2].repeats(), Some(0));
    search.enqueue(&renumbered(&graph), &[]);
    search.run(&mut Scripted::training(3));
    assert_eq!(search.ends()[3], same_as(2));
}

on_each_storage!(what_an_enqueued_trial_leaves_open_is_drawn_until_the_graph_is_new);
fn what_an_enqueued_trial_leaves_open_is_drawn_until_the_graph_is_new(place: &Place) {
    let mut search = Enqueuing::new(place);
    // Two nodes with one of two label gates each: three graphs.
    search.space =
        space(2, "label_gates = [\"through\", \"linear\"]\ngates = [\"linear\"]\ndesigns = [\"both apart\"]");
    for _ in 0..5 {
        search.enqueue(&Choices::new(), &[]);
    }
    let mut objective = Scripted::training(1);
    search.run(&mut objective);
    assert_eq!(numbers_of(&objective), [0, 1, 2]);
    let ends = search.ends();
    assert_eq!(ends[..3], [complete(), complete(), complete()]);
    for (state, reason) in &ends[3..] {
        let reason = reason.as_ref().unwrap();
        assert!(*state == State::Fail && reason.starts_with("the graph of trial "), "{reason}");
    }
    // One of the three failed before: it is the only one to be had.
    place.sql(&format!("UPDATE trials SET state = 'FAIL' WHERE study_id = {} AND number = 1", place.key(&search.name)));
    search.enqueue(&Choices::new(), &[]);
    search.run(&mut Scripted::training(1));
    let trials = search.trials();
    assert_eq!((search.ends()[5].clone(), &trials[5].attributes[GRAPH]), (complete(), &trials[1].attributes[GRAPH]));
}

on_each_storage!(of_copies_that_workers_take_at_once_exactly_one_is_trained);
fn of_copies_that_workers_take_at_once_exactly_one_is_trained(place: &Place) {
    let search = Enqueuing::new(place);
    let (graphs, copies, workers) = (12, 4, 4);
    for seed in 0..graphs {
        let mut choices = search.choices(seed);
        for _ in 0..copies {
            search.enqueue(&choices, &[]);
            choices = renumbered(&choices);
        }
    }
    let trained: Vec<String> = std::thread::scope(|scope| {
        let run = || {
            let mut objective =
                Scripted::new(3, |task, step, computed| Ok(train(3, task, step, computed, Duration::from_millis(5))));
            search.run(&mut objective);
            objective.tasks.iter().map(|(_, graph)| graph.hash().to_string()).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let different: BTreeSet<&String> = trained.iter().collect();
    let all: BTreeSet<String> = (0..graphs).map(|seed| search.hash(&search.choices(seed))).collect();
    assert_eq!((trained.len(), different.len()), (all.len(), all.len()));
    let trials = search.trials();
    assert_eq!(trials.iter().filter(|trial| trial.state == State::Complete).count(), all.len());
    let numbers: HashMap<&Json, i64> = trials
        .iter()
        .filter(|trial| trial.state == State::Complete)
        .map(|trial| (&trial.attributes[GRAPH], trial.number))
        .collect();
    for trial in trials.iter().filter(|trial| trial.state != State::Complete) {
        let choices: Choices = serde_json::from_value(trial.system[FIXED_PARAMS].clone()).unwrap();
        let number = numbers[&json!(search.hash(&choices))];
        assert_eq!(trial.attributes[REASON], json!(format!("the graph of trial {number}")));
    }
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn what_optuna_enqueues_twice_in_sqlite_is_trained_once() {
    what_optuna_enqueues_twice_is_trained_once(&Place::sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Optuna: set KTG_TEST_POSTGRES and KTG_OPTUNA_PYTHON"]
fn what_optuna_enqueues_twice_in_postgresql_is_trained_once() {
    what_optuna_enqueues_twice_is_trained_once(&Place::postgres());
}

/// Optuna makes the trials, in every way in which it can make a waiting one.
fn what_optuna_enqueues_twice_is_trained_once(place: &Place) {
    let python = common::needed("KTG_OPTUNA_PYTHON", "a Python with optuna 5.0.0");
    let mut search = Enqueuing::new(place);
    search.trials = 3;
    search.run(&mut Scripted::training(2));
    let script = r#"
import json, sys, optuna
from optuna.trial import TrialState, create_trial
study = optuna.load_study(study_name=sys.argv[2], storage=sys.argv[1])
best, graph = study.best_trial, json.loads(sys.argv[3])
study.enqueue_trial(best.params)                                      # 3
study.enqueue_trial(best.params, user_attrs=best.user_attrs)          # 4
study.enqueue_trial(graph)                                            # 5: new
study.enqueue_trial(graph, user_attrs=best.user_attrs)                # 6: not the graph that its attribute says
study.enqueue_trial(graph, user_attrs={"seed": 9})                    # 7: another seed
study.add_trial(create_trial(state=TrialState.WAITING, params=best.params, distributions=best.distributions))  # 8
study.add_trial(create_trial(state=TrialState.WAITING, params=best.params, distributions=best.distributions,
                             user_attrs=best.user_attrs))                                                      # 9
print(best.number)
"#;
    let url = place.text.replace("postgresql:", "postgresql+psycopg2:");
    let graph = search.choices(3);
    let mut command = Command::new(python);
    let output = command.args(["-c", script, &url, &search.name, &json!(graph).to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let best: i64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let mut objective = Scripted::training(2);
    search.run(&mut objective);
    assert_eq!(numbers_of(&objective), [5, 7]);
    let expected = [same_as(best), same_as(best), complete(), same_as(5), complete(), same_as(best), same_as(best)];
    assert_eq!(search.ends()[3..], expected);
}
