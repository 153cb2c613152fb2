//! Studies of this and of earlier versions, and with trials in every state.

use ktg_graph::{Graph, Node};
use ktg_report::analysis::{common, importance};
use ktg_report::report::{Options, Subject, page};
use ktg_report::{LeftOut, Rung, StudyRecord, figures};
use ktg_search::attributes::{PRUNER, SETTINGS, SPACE};
use ktg_search::storage::{Inserted, NewTrial, Patience, State, StorageUrl, Study};
use ktg_search::{SearchSettings, Space};
use ktg_train::Settings;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{ARCHITECTURE, assert_says, refused};

/// A study in a file, to fill.
struct Place {
    url: StorageUrl,
    study: Study,
    space: Space,
    /// Holds the file.
    _folder: TempDir,
}

impl Place {
    /// A study with a search space over two nodes.
    fn new() -> Self {
        let mut place = Self::without_space();
        place.study.put_attribute(SPACE, &place.space.to_json()).unwrap();
        place
    }

    /// A study as others make it.
    fn without_space() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = StorageUrl::file(folder.path().join("s.db"));
        let study = Study::open(&url, "s", true, Patience::none()).unwrap();
        let nodes = Graph::new(vec![Node::new(ARCHITECTURE); 2]);
        let space = Space::new(&nodes, &SearchSettings::default()).unwrap();
        Self { url, study, space, _folder: folder }
    }

    /// Adds a running trial with the first `known` of its parameters; returns its key.
    fn add_partial(&mut self, known: usize) -> i64 {
        let number = self.study.count().unwrap();
        // Any choices, but others for every trial.
        let parameters = self.space.parameters().iter().take(known).enumerate();
        let parameters = parameters.map(|(i, parameter)| {
            let choice = (number as usize / (i + 1) + i) % parameter.choices.len();
            (parameter.name.as_str(), &parameter.choices[..], choice)
        });
        let new = NewTrial { parameters: parameters.collect(), graph: format!("graph {number}") };
        match self.study.insert(&new, &format!("work {number}"), 1_000).unwrap() {
            Inserted::Trial(claimed) => claimed.id,
            other => panic!("{other:?}"),
        }
    }

    /// Adds a running trial that has reported these values.
    fn add(&mut self, reports: &[(i64, f64)]) -> i64 {
        let id = self.add_partial(usize::MAX);
        for (step, value) in reports {
            assert!(self.study.report(id, *step, *value).unwrap());
        }
        id
    }

    fn end(&mut self, trial: i64, state: State, value: Option<f64>) {
        assert!(self.study.finish(trial, state, value, &[]).unwrap());
    }

    /// Adds a trial that ended so.
    fn add_ended(&mut self, reports: &[(i64, f64)], state: State, value: Option<f64>) {
        let id = self.add(reports);
        self.end(id, state, value);
    }

    /// Adds complete trials, better than all others, that lack parameters.
    fn add_best_without_graph(&mut self, count: usize) {
        for _ in 0..count {
            let partial = self.add_partial(3);
            self.end(partial, State::Complete, Some(99.0));
        }
    }

    /// A report about it.
    fn page(&self) -> String {
        let options = Options { images: 0, chosen: vec![], evaluate: false, top: 3, progress: &|_| {} };
        page(&[Subject::Study(self.url.clone(), "s".to_owned())], None, &options).unwrap().to_html()
    }

    fn read(&self) -> StudyRecord {
        StudyRecord::read(&self.url, "s").unwrap()
    }
}

/// A study in which five trials met at rungs.
fn with_rungs(pruner: Option<&Json>) -> StudyRecord {
    let mut place = Place::new();
    if let Some(pruner) = pruner {
        place.study.put_attribute(PRUNER, pruner).unwrap();
    }
    let complete = place.add(&[(2, 0.5), (6, 0.6), (18, 0.7), (20, 0.75)]);
    let pruned = place.add(&[(2, 0.3)]);
    let paused = place.add(&[(2, 0.35), (3, 0.4)]);
    let running = place.add(&[(2, 0.45), (5, 0.1)]);
    let pruned_later = place.add(&[(2, 0.52), (6, 0.55)]);
    let rungs = [
        (complete, 0, 0.5),
        (complete, 1, 0.6),
        (complete, 2, 0.7),
        (pruned, 0, 0.3),
        (paused, 0, 0.4),
        (running, 0, 0.45),
        (pruned_later, 0, 0.52),
        (pruned_later, 1, 0.55),
    ];
    for (trial, rung, value) in rungs {
        place.study.complete_rung(trial, rung, value).unwrap();
    }
    place.end(complete, State::Complete, Some(0.75));
    place.end(pruned, State::Pruned, Some(0.3));
    assert!(place.study.pause(paused, 0).unwrap());
    place.end(pruned_later, State::Pruned, Some(0.55));
    place.read()
}

/// The rungs of that study, at these epochs.
fn rungs(epochs: [Option<i64>; 3]) -> Vec<Rung> {
    let rung = |number, kept: &[f64], stopped: &[f64]| {
        let epoch = epochs[number as usize];
        Rung { number, epoch, kept: kept.to_vec(), stopped: stopped.to_vec() }
    };
    // The one that still runs has not been stopped.
    vec![rung(0, &[0.5, 0.45, 0.52], &[0.3, 0.4]), rung(1, &[0.6], &[0.55]), rung(2, &[0.7], &[])]
}

#[test]
fn rungs_are_at_the_epochs_that_the_pruner_says() {
    let pruner = json!({"kind": "asha", "min_resource": 1, "reduction_factor": 4, "min_early_stopping_rate": 1});
    let study = with_rungs(Some(&pruner));
    assert_eq!(study.rungs(), rungs([Some(4), Some(16), Some(64)]));
    assert!(figures::rungs(&study).is_some());
}

#[test]
fn rungs_of_an_earlier_version_are_where_the_first_trial_was_stopped() {
    let sentence = "asha, min_resource 1, reduction_factor 4, min_early_stopping_rate 1";
    let study = with_rungs(Some(&json!(sentence)));
    // The sentence is for people: no numbers are read out of it.
    assert_eq!((study.metadata.pruner, study.metadata.pruner_in_words.as_deref()), (None, Some(sentence)));
    // Nobody was stopped at the last one.
    assert_eq!(study.rungs(), rungs([Some(2), Some(6), None]));
    assert_eq!(with_rungs(None).rungs(), study.rungs());
}

#[test]
fn rungs_of_hyperband_are_where_the_first_trial_was_stopped() {
    let pruner = json!({"kind": "hyperband", "min_resource": 1, "reduction_factor": 4, "min_early_stopping_rate": 0});
    assert_eq!(with_rungs(Some(&pruner)).rungs(), rungs([Some(2), Some(6), None]));
}

#[test]
fn an_infinite_value_at_a_rung_is_one_like_others_and_nan_is_none() {
    let mut place = Place::new();
    for value in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.5] {
        let trial = place.add(&[(2, value)]);
        place.study.complete_rung(trial, 0, value).unwrap();
        place.end(trial, State::Pruned, None);
    }
    let stopped = vec![f64::INFINITY, f64::NEG_INFINITY, 0.5];
    assert_eq!(place.read().rungs(), [Rung { number: 0, epoch: Some(2), kept: vec![], stopped }]);
}

#[test]
fn a_study_without_rungs_has_no_figure_of_them() {
    let mut place = Place::new();
    place.add_ended(&[(1, 0.5)], State::Complete, Some(0.5));
    let study = place.read();
    assert_eq!((study.rungs(), figures::rungs(&study)), (vec![], None));
}

#[test]
fn a_damaged_pruner_is_named() {
    let mut place = Place::new();
    place.study.put_attribute(PRUNER, &json!({"kind": "asha", "min_resource": "one"})).unwrap();
    let message = refused(StudyRecord::read(&place.url, "s"));
    assert_says(&message, &["study \"s\"", "its attribute `pruner` is damaged", "\"one\""]);
}

#[test]
fn a_study_that_is_not_there_is_named() {
    let place = Place::new();
    assert_says(&refused(StudyRecord::read(&place.url, "t")), &["\"t\"", "no such study"]);
    let nowhere = StorageUrl::file("/nowhere/s.db");
    assert_says(&refused(StudyRecord::read(&nowhere, "s")), &["/nowhere/s.db"]);
}

/// The numbers of some trials.
fn numbers<'a>(trials: impl IntoIterator<Item = &'a ktg_search::storage::Trial>) -> Vec<i64> {
    trials.into_iter().map(|trial| trial.number).collect()
}

#[test]
fn complete_trials_are_ranked_the_best_first_and_of_equal_ones_the_older() {
    let mut place = Place::new();
    for value in [0.5, 0.75, 0.5, 0.25] {
        place.add_ended(&[], State::Complete, Some(value));
    }
    place.add_ended(&[(1, 0.9)], State::Pruned, Some(0.9));
    place.add_ended(&[(1, 0.9)], State::Fail, None);
    place.add(&[(1, 0.9)]);
    let mut study = place.read();
    assert_eq!(numbers(study.ranked()), [1, 0, 2, 3]);
    // A database of others may hold anything.
    study.trials[1].value = Some(f64::NAN);
    study.trials[3].value = None;
    assert_eq!(numbers(study.ranked()), [0, 2]);
}

#[test]
fn a_trial_is_judged_by_the_last_that_it_reported() {
    let mut place = Place::new();
    place.add_ended(&[(1, 0.1), (4, 0.4)], State::Complete, Some(0.6));
    place.add_ended(&[], State::Complete, Some(0.7));
    place.add_ended(&[(1, 0.1), (2, 0.2)], State::Pruned, Some(0.25));
    place.add_ended(&[], State::Pruned, Some(0.3));
    place.add(&[(3, 0.35)]);
    // No value is one: a death (its repetition counts), a divergence, one that has not begun.
    place.add_ended(&[(1, 0.9)], State::Fail, None);
    place.add_ended(&[(1, 0.9), (2, f64::NAN)], State::Pruned, None);
    place.add(&[]);
    let study = place.read();
    let judged: Vec<(i64, i64, f64)> =
        study.judged().into_iter().map(|(trial, step, value)| (trial.number, step, value)).collect();
    // Who is complete without reports came to the end.
    let expected = [(0, 4, 0.6), (1, i64::MAX, 0.7), (2, 2, 0.2), (3, 0, 0.3), (4, 3, 0.35)];
    assert_eq!(judged, expected);
    assert_eq!((study.epochs(), study.count(State::Pruned), study.count(State::Running)), (4 + 2 + 3 + 1 + 2, 3, 2));
}

#[test]
fn the_graph_of_a_trial_is_found_and_named_after_it() {
    let mut place = Place::new();
    for value in [0.5, 0.75] {
        place.add_ended(&[], State::Complete, Some(value));
    }
    let study = place.read();
    let (best, graph) = study.graph_of(None).unwrap();
    assert_eq!((best.number, graph.name.as_deref()), (1, Some("s, trial 1")));
    let genes: Vec<usize> =
        place.space.genes(&best.parameters).unwrap().into_iter().map(|gene| gene.expect("all are chosen")).collect();
    let expected = place.space.graph(&genes);
    assert_eq!((graph.hash(), graph.transfer(0, 1)), (expected.hash(), expected.canonical().transfer(0, 1)));
    assert_eq!(study.graph_of(Some(0)).unwrap().0.number, 0);
}

#[test]
fn a_graph_that_is_not_there_is_said() {
    let mut place = Place::new();
    assert_says(&refused(place.read().graph_of(None)), &["no trial of the study \"s\" is complete yet"]);
    let partial = place.add_partial(2);
    place.end(partial, State::Complete, Some(0.5));
    place.add_ended(&[], State::Complete, Some(0.25));
    let mut study = place.read();
    assert_says(&refused(study.graph_of(Some(7))), &["the study \"s\" has no trial 7"]);
    // What is no graph is not ranked.
    assert_eq!(study.graph_of(None).unwrap().0.number, 1);
    assert_says(&refused(study.graph_of(Some(0))), &["trial 0 is no graph of the study", "lacks parameters"]);
    study.trials[1].parameters.insert("2->1 gate".to_owned(), json!("ajar"));
    assert_says(&refused(study.graph_of(Some(1))), &["`2->1 gate` cannot be \"ajar\""]);

    let mut of_others = Place::without_space();
    of_others.add_ended(&[], State::Complete, Some(0.5));
    assert_says(&refused(of_others.read().graph_of(None)), &["the study \"s\" has no search space of this program"]);
}

#[test]
fn settings_are_read_as_every_version_wrote_them() {
    let settings = Settings { side: 8, seed: 3, ..Settings::default() };
    let mut place = Place::new();
    assert_eq!(place.read().settings().unwrap(), None);
    for written in [json!(settings), json!(settings.to_toml().unwrap())] {
        place.study.put_attribute(SETTINGS, &written).unwrap();
        assert_eq!(place.read().settings().unwrap(), Some(settings.clone()), "{written}");
    }
}

#[test]
fn damaged_settings_are_named() {
    let mut place = Place::new();
    let mut message = |written: Json| {
        place.study.put_attribute(SETTINGS, &written).unwrap();
        let message = refused(place.read().settings());
        assert_says(&message, &["the settings of the study \"s\""]);
        message
    };
    assert_says(&message(json!("seed = 1\nsid = 8\n")), &["\"s\":2: ", "unknown field `sid`"]);
    assert_says(&message(json!({"sid": 8})), &["cannot be understood", "unknown field `sid`"]);
    assert_says(&message(json!(7)), &["cannot be understood"]);
}

#[test]
fn trials_whose_parameters_are_no_graph_are_counted_and_said() {
    let mut place = Place::new();
    for i in 0..12 {
        place.add_ended(&[(1, 0.1)], State::Complete, Some(f64::from(i)));
    }
    let whole = common(&place.read(), 0.25).unwrap();
    assert_eq!((whole.graphs, whole.top, whole.left_out), (12, 3, LeftOut { failed: 0, unreadable: 0 }));
    assert!(!whole.table().to_text().contains("no graph of the search space"));

    place.add_best_without_graph(2);
    place.add_ended(&[], State::Fail, None);
    let study = place.read();
    let found = common(&study, 0.25).unwrap();
    assert_eq!((found.graphs, found.top, found.left_out), (12, 3, LeftOut { failed: 1, unreadable: 2 }));
    // What they are judged to be does not move the others.
    assert_eq!(found.features, whole.features);
    let text = found.table().to_text();
    assert!(text.contains("1 trials failed"), "{text}");
    assert!(text.contains("2 trials were judged, but their parameters are no graph of the search space"), "{text}");
}

#[test]
fn trials_whose_parameters_are_no_graph_do_not_move_the_importance_of_parameters() {
    let mut place = Place::new();
    for i in 0..24 {
        place.add_ended(&[(1, 0.1)], State::Complete, Some(f64::from(i)));
    }
    let whole = format!("{:?}", importance(&place.read()));
    assert!(whole.contains("ped_anova: Some"), "{whole}");
    place.add_best_without_graph(3);
    assert_eq!(format!("{:?}", importance(&place.read())), whole);
}

#[test]
fn a_report_says_once_which_trials_it_leaves_out() {
    let left_out = "2 trials were judged, but their parameters are no graph of the search space: they are left out.";
    let too_few = "Fewer than ten graphs have been judged: too few to compare.";
    // With as many graphs, whether the best with all are compared, and whether there are best graphs to draw.
    for (graphs, is_compared, is_drawn) in [(12, true, true), (9, false, true), (0, false, false)] {
        let mut place = Place::new();
        for i in 0..graphs {
            place.add_ended(&[(1, 0.1)], State::Complete, Some(f64::from(i)));
        }
        place.add_best_without_graph(2);
        let html = place.page();
        assert_eq!(html.matches(left_out).count(), 1, "{graphs} graphs");
        assert_eq!(html.contains(too_few), !is_compared, "{graphs} graphs");
        let unranked =
            "2 complete trials are no graphs that can be ranked: 2 without all parameters of the search space.";
        assert_eq!(html.matches(unranked).count(), 1, "{graphs} graphs");
        assert!(!html.contains("99.00"), "what is no graph is not among the best, nor in a figure");
        assert_eq!(html.contains("The best graphs, judged on"), is_drawn, "{graphs} graphs");
    }
}

#[test]
fn fewer_than_ten_graphs_are_not_compared() {
    let mut place = Place::new();
    for i in 0..9 {
        place.add_ended(&[(1, 0.1)], State::Complete, Some(f64::from(i)));
    }
    let partial = place.add_partial(3);
    place.end(partial, State::Complete, Some(99.0));
    let study = place.read();
    assert!(common(&study, 0.25).is_none());
    let parameters = importance(&study);
    assert_eq!(parameters.len(), place.space.parameters().len());
    assert!(parameters.iter().all(|parameter| parameter.found.is_none() && parameter.adjusted.is_none()));
}
