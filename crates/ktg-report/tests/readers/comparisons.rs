//! Comparisons with runs in every state, with foreign runs, and with damaged files.

use std::fs;
use std::path::{Path, PathBuf};

use ktg_graph::{Graph, presets};
use ktg_report::compare::{Comparison, Index, IndexedGroup, IndexedMethod, RunState};
use ktg_train::RunDirectory;
use serde_json::json;
use tempfile::TempDir;

use super::{ARCHITECTURE, assert_says, change_json, change_settings, finished_run, refused, unfinished_run};

const FOREIGN: &str = "the run has another graph or seed than the comparison";

/// A comparison to fill: of DML, with two nodes.
struct Place {
    folder: TempDir,
    index: Index,
}

impl Place {
    /// With so many seeds, from 1, on one data set.
    fn new(seeds: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self {
            folder,
            index: Index {
                command: "ktg compare plan.toml".to_owned(),
                plan: String::new(),
                baseline: "DML".to_owned(),
                methods: vec![],
                data_sets: vec![],
                nodes: vec![2],
                seeds: (1..=seeds).collect(),
                groups: vec![],
                precisions: Default::default(),
            },
        };
        place.add("DML", "Dogs", &presets::dml(2, ARCHITECTURE));
        place
    }

    /// Adds runs of a method on a data set.
    fn add(&mut self, method: &str, data: &str, graph: &Graph) {
        let file = PathBuf::from(format!("{method}.toml"));
        fs::write(self.path(&file), graph.to_toml()).unwrap();
        let index = &mut self.index;
        if !index.methods.iter().any(|known| known.name == method) {
            index.methods.push(IndexedMethod { name: method.to_owned(), thesis: None });
        }
        if !index.data_sets.iter().any(|known| known == data) {
            index.data_sets.push(data.to_owned());
        }
        index.groups.push(IndexedGroup {
            method: method.to_owned(),
            data: data.to_owned(),
            nodes: 2,
            origin: "a preset".to_owned(),
            graph: file,
            runs: index.seeds.iter().map(|seed| format!("{method}-{data}-{seed}").into()).collect(),
        });
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a run of the first group is kept.
    fn run(&self, seed: u64) -> PathBuf {
        self.path(format!("DML-Dogs-{seed}"))
    }

    fn finished(&self, seed: u64) -> RunDirectory {
        finished(self.run(seed), seed)
    }

    fn unfinished(&self, seed: u64) -> RunDirectory {
        let run = unfinished_run(self.run(seed));
        change_settings(&run, |settings| settings.seed = seed);
        run
    }

    fn fail(&self, seed: u64, reason: &str) {
        // As versions up to 0.1 said it; `diverged.txt` in the run says the same.
        fs::write(self.path(format!("DML-Dogs-{seed}.failure.txt")), reason).unwrap();
    }

    fn read(&self) -> Comparison {
        Comparison::of(self.folder.path(), self.index.clone()).unwrap()
    }

    /// The states of the runs of a group.
    fn states(&self, group: usize) -> Vec<RunState> {
        self.read().groups[group].runs.iter().map(|run| run.state.clone()).collect()
    }

    fn error(&self) -> String {
        refused(Comparison::of(self.folder.path(), self.index.clone()))
    }
}

/// A finished run with a seed.
fn finished(path: PathBuf, seed: u64) -> RunDirectory {
    let run = finished_run(path);
    change_settings(&run, |settings| settings.seed = seed);
    change_json(&run.path().join("result.json"), |json| json["seed"] = json!(seed));
    run
}

fn failed(reason: &str) -> RunState {
    RunState::Failed(reason.to_owned())
}

/// Such a state of which the result does not matter.
fn is_finished(state: &RunState) -> bool {
    matches!(state, RunState::Finished(_))
}

#[test]
fn every_run_is_as_far_as_its_directory_says() {
    let place = Place::new(6);
    place.fail(2, "it diverged\n");
    place.unfinished(3);
    let broken_off = place.unfinished(4);
    fs::write(broken_off.path().join("diverged.txt"), "it diverged, too\n").unwrap();
    let whole = place.finished(5);
    place.finished(6);
    // It failed once and was done again.
    place.fail(6, "it diverged at first\n");

    let comparison = place.read();
    let group = comparison.group("DML", "Dogs", 2).unwrap();
    let states: Vec<&RunState> = group.runs.iter().map(|run| &run.state).collect();
    assert_eq!(
        states[..4],
        [
            &RunState::Missing,
            &failed("it diverged"),
            &RunState::Unfinished { done: 1, epochs: 2 },
            &failed("it diverged, too")
        ]
    );
    assert_eq!(states[4], &RunState::Finished(Box::new(whole.result().unwrap().unwrap())));
    assert!(is_finished(states[5]));
    let finished: Vec<u64> = group.finished().into_iter().map(|(seed, result)| seed * result.seed).collect();
    assert_eq!(finished, [25, 36]);
    assert_eq!(group.missing().unwrap(), "2 of 6 runs failed, 2 of 6 runs not finished");
    // Those of the third run: nobody has begun the first two.
    assert_eq!(group.settings.as_ref().unwrap().seed, 3);
    assert!(comparison.group("DML", "Cats", 2).is_none() && comparison.group("DML", "Dogs", 3).is_none());
}

#[test]
fn a_comparison_whose_runs_are_finished_lacks_nothing() {
    let place = Place::new(2);
    place.finished(1);
    place.finished(2);
    assert_eq!(place.read().groups[0].missing(), None);
}

#[test]
fn a_run_with_another_seed_does_not_belong() {
    let place = Place::new(3);
    finished(place.run(1), 9);
    place.finished(2);
    let unfinished = place.unfinished(3);
    change_settings(&unfinished, |settings| settings.seed = 9);
    let states = place.states(0);
    assert_eq!((&states[0], &states[2]), (&failed(FOREIGN), &failed(FOREIGN)));
    assert!(is_finished(&states[1]));
}

#[test]
fn a_run_with_another_graph_does_not_belong() {
    let place = Place::new(2);
    place.finished(1);
    place.unfinished(2);
    assert!(is_finished(&place.states(0)[0]));
    fs::write(place.path("DML.toml"), presets::independent(2, ARCHITECTURE).to_toml()).unwrap();
    assert_eq!(place.states(0), [failed(FOREIGN), failed(FOREIGN)]);
}

#[test]
fn a_run_with_other_settings_than_those_before_it_on_the_same_data_does_not_belong() {
    let mut place = Place::new(2);
    place.add("Again", "Dogs", &presets::dml(2, ARCHITECTURE));
    place.add("DML", "Cats", &presets::dml(2, ARCHITECTURE));
    place.finished(1);
    let other_rate = place.finished(2);
    change_settings(&other_rate, |settings| settings.train.learning_rate = 0.01);
    // What decides nothing may differ.
    let more_threads = finished(place.path("Again-Dogs-1"), 1);
    change_settings(&more_threads, |settings| settings.train.loader_threads += 3);
    let other_side = finished(place.path("Again-Dogs-2"), 2);
    change_settings(&other_side, |settings| settings.side = 16);
    // Other data may be trained on in another way.
    for seed in [1, 2] {
        let run = finished(place.path(format!("DML-Cats-{seed}")), seed);
        change_settings(&run, |settings| settings.side = 16);
    }
    let reason = "its settings are not those of the other runs on Dogs";
    for group in [0, 1] {
        let states = place.states(group);
        assert!(is_finished(&states[0]), "{:?}", states[0]);
        assert_eq!(states[1], failed(reason));
    }
    assert!(place.states(2).iter().all(is_finished));
}

#[test]
fn a_foreign_run_does_not_say_how_the_others_are_trained() {
    let place = Place::new(2);
    let foreign = finished(place.run(1), 9);
    change_settings(&foreign, |settings| settings.train.learning_rate = 0.01);
    place.finished(2);
    let group = &place.read().groups[0];
    assert_eq!(group.runs[0].state, failed(FOREIGN));
    assert!(is_finished(&group.runs[1].state), "{:?}", group.runs[1].state);
    assert_eq!(group.settings.as_ref().unwrap().seed, 2);
}

#[test]
fn a_comparison_is_read_as_it_was_written() {
    let place = Place::new(2);
    let directory = place.folder.path();
    assert!(!Comparison::is_one(directory));
    assert_says(&refused(Comparison::read(directory)), &["comparison.json"]);
    place.index.write(directory).unwrap();
    assert!(Comparison::is_one(directory));
    let read = Comparison::read(directory).unwrap();
    assert_eq!((read.index, read.directory.as_path()), (place.index.clone(), directory));
}

#[test]
fn a_damaged_comparison_is_named() {
    let place = Place::new(2);
    let file = place.path("comparison.json");
    let message = |content: &str| {
        fs::write(&file, content).unwrap();
        refused(Comparison::read(place.folder.path()))
    };
    let path = file.display().to_string();
    assert_says(&message("{\"command\": \"ktg"), &[&path, "EOF", "line 1"]);
    assert_says(&message("{}"), &[&path, "missing field `command`"]);
    assert_says(&message("\n[7]"), &[&path, "line 2"]);
    fs::write(&file, b"\xFF{}").unwrap();
    assert_says(&refused(Comparison::read(place.folder.path())), &[&path]);
}

#[test]
fn a_missing_or_damaged_graph_file_is_named() {
    let place = Place::new(1);
    let file = place.path("DML.toml");
    fs::remove_file(&file).unwrap();
    assert_says(&place.error(), &[&file.display().to_string(), "No such file"]);
    fs::write(&file, "[[node]]\n\n[edges]\n\"1 -> 9\" = \"both closer, linear\"\n").unwrap();
    assert_says(&place.error(), &[&file.display().to_string()]);
}

#[test]
fn a_damaged_file_of_a_run_is_named() {
    let place = Place::new(2);
    place.finished(1);
    let run = place.finished(2);
    for file in ["result.json", "settings.toml", "graph.toml", "data.json", "metrics.jsonl"] {
        let path = run.path().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, "{ damaged\n").unwrap();
        assert_says(&place.error(), &[&path.display().to_string()]);
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(place.read().groups[0].missing(), None);
    fs::remove_file(run.path().join("graph.toml")).unwrap();
    assert_says(&place.error(), &[&run.path().join("graph.toml").display().to_string(), "No such file"]);
}
