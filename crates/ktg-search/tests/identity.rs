//! A run belongs to one study: what lies where a trial's run should be is never taken for it.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::stand_in::{Scripted, occupant, quick, space, train, work};
use common::{Place, on_each_storage, unique};
use ktg_search::attributes::{IDENTITY, RUN};
use ktg_search::storage::{State, Study, Trial};
use ktg_search::{Event, Objective, Occupant, SearchSettings, pruner, sampler};
use serde_json::json;

/// Steps of a trial.
const STEPS: u32 = 3;

/// A folder of runs, and what workers said of runs that are not theirs.
struct Runs {
    folder: PathBuf,
    said: Vec<(PathBuf, Occupant)>,
}

impl Runs {
    fn new(place: &Place, name: &str) -> Self {
        Self { folder: place.directory().join(name), said: vec![] }
    }

    /// Works until the study has so many trials; the same ones every time, unless others are known.
    fn search(&mut self, study: Study, trials: i64, objective: &mut dyn Objective, stop: &AtomicBool) {
        let ways = sampler::by_kind(ktg_search::SamplerKind::Random);
        let ways = (ways, pruner::by_settings(&no_pruner(), "identity", STEPS));
        let mut settings = quick(trials, &self.folder);
        settings.seed = Some(7);
        let said = &mut self.said;
        let mut tell = |event: Event| {
            if let Event::ForeignRun { found, occupant, .. } = event {
                said.push((found.to_owned(), occupant.clone()));
            }
        };
        work(study, space(2, ""), ways, objective, settings, stop, &mut tell).unwrap();
    }

    /// The same to the end; returns the steps that were computed.
    fn finish(&mut self, study: Study, trials: i64) -> u64 {
        let mut objective = Scripted::training(STEPS);
        self.search(study, trials, &mut objective, &AtomicBool::new(false));
        objective.computed
    }
}

fn no_pruner() -> SearchSettings {
    SearchSettings { pruner: "none".parse().unwrap(), ..SearchSettings::default() }
}

fn run_of(trial: &Trial) -> PathBuf {
    PathBuf::from(trial.attributes[RUN].as_str().unwrap())
}

fn values(place: &Place, name: &str) -> BTreeMap<i64, Option<f64>> {
    place.study(name).trials().unwrap().iter().map(|trial| (trial.number, trial.value)).collect()
}

on_each_storage!(studies_that_share_a_folder_share_no_run);
fn studies_that_share_a_folder_share_no_run(place: &Place) {
    let (first, second) = (unique("a b"), unique("a-b"));
    let mut runs = Runs::new(place, "shared");
    assert_eq!(runs.finish(place.study(&first), 3), 9);
    assert_eq!(runs.said, []);
    // Another study of the same graphs trains them itself, and says once why its runs are elsewhere.
    assert_eq!(runs.finish(place.study(&second), 3), 9, "runs of another study were taken for its own");
    let [(found, Occupant::Trial(mark))] = &runs.said[..] else { panic!("{:?}", runs.said) };
    assert_eq!(mark.study, first);
    assert_eq!(*found, run_of(&place.study(&first).trials().unwrap()[0]));
    assert_eq!(values(place, &first), values(place, &second));
    let own: Vec<PathBuf> = place.study(&second).trials().unwrap().iter().map(run_of).collect();
    let identity = place.study(&second).attribute(IDENTITY).unwrap().unwrap();
    for run in own {
        let Occupant::Trial(mark) = occupant(&run) else { panic!("{} is not marked", run.display()) };
        assert_eq!((json!(mark.identity), &mark.study), (identity.clone(), &second));
    }
}

on_each_storage!(the_runs_of_a_deleted_study_are_not_those_of_its_namesake);
fn the_runs_of_a_deleted_study_are_not_those_of_its_namesake(place: &Place) {
    let name = unique("namesake");
    let mut runs = Runs::new(place, "left");
    assert_eq!(runs.finish(place.study(&name), 2), 6);
    let left: Vec<PathBuf> = place.study(&name).trials().unwrap().iter().map(run_of).collect();
    place.sql(&format!("UPDATE studies SET study_name = '{}' WHERE study_name = '{name}'", unique("deleted")));
    assert_eq!(runs.finish(place.study(&name), 2), 6, "the old runs were taken for its own");
    assert_eq!(runs.said.len(), 1, "{:?}", runs.said);
    let anew: Vec<PathBuf> = place.study(&name).trials().unwrap().iter().map(run_of).collect();
    assert!(left.iter().all(|run| run.is_dir() && !anew.contains(run)));
}

/// A study whose second trial was given back after its first step, and where its run is.
fn with_a_trial_that_waits(place: &Place, name: &str, runs: &mut Runs) -> PathBuf {
    let stop = AtomicBool::new(false);
    let mut objective = Scripted::new(STEPS, |task, step, computed| {
        stop.store(task.number == 1, Ordering::Relaxed);
        Ok(train(STEPS, task, step, computed, Duration::ZERO))
    });
    runs.search(place.study(name), 2, &mut objective, &stop);
    drop(objective);
    let run = run_of(&place.study(name).trials().unwrap()[1]);
    assert_eq!(fs::read_to_string(run.join("step")).unwrap(), "1");
    run
}

#[test]
fn a_copied_study_leaves_the_original_runs_alone() {
    let place = Place::sqlite();
    let name = unique("copied");
    let mut runs = Runs::new(&place, "original");
    let run = with_a_trial_that_waits(&place, &name, &mut runs);

    // Without its runs: what was begun is begun anew, and that is said.
    let copy = Place::sqlite();
    fs::copy(place.file(), copy.file()).unwrap();
    let mut elsewhere = Runs::new(&copy, "runs");
    elsewhere.finish(copy.study(&name), 2);
    assert!(run_of(&copy.study(&name).trials().unwrap()[1]).starts_with(&elsewhere.folder));
    assert_eq!(elsewhere.said.len(), 1);
    assert_eq!(elsewhere.said[0].0, run);
    assert_eq!(fs::read_to_string(run.join("step")).unwrap(), "1", "the original's run went on");

    // With its runs, which it goes on with, wherever the original's are.
    let whole = Place::sqlite();
    fs::copy(place.file(), whole.file()).unwrap();
    let mut copied = Runs::new(&whole, "runs");
    copy_folder(&runs.folder, &copied.folder);
    let stop = AtomicBool::new(false);
    let mut first = Scripted::new(STEPS, |task, step, computed| {
        stop.store(true, Ordering::Relaxed);
        Ok(train(STEPS, task, step, computed, Duration::ZERO))
    });
    copied.search(whole.study(&name), 2, &mut first, &stop);
    assert_eq!(first.computed, 1, "its own copy of the run goes on");
    assert_eq!(copied.finish(whole.study(&name), 2), 1, "and is its own from then on");
    assert_eq!(copied.said, []);
    assert_eq!(fs::read_to_string(run.join("step")).unwrap(), "1", "the original's run went on");

    assert_eq!(runs.finish(place.study(&name), 2), 2, "the original goes on where it was");
    assert_eq!(values(&place, &name), values(&copy, &name));
    assert_eq!(values(&place, &name), values(&whole, &name));
}

#[test]
fn a_copy_beside_its_original_leaves_the_runs_in_their_folder_alone() {
    let place = Place::sqlite();
    let name = unique("beside");
    let mut runs = Runs::new(&place, "runs");
    let run = with_a_trial_that_waits(&place, &name, &mut runs);
    let copy = Place::sqlite();
    fs::copy(place.file(), copy.file()).unwrap();
    let mut same = Runs { folder: runs.folder.clone(), said: vec![] };
    same.finish(copy.study(&name), 2);
    assert_eq!(same.said.len(), 1);
    let own = run_of(&copy.study(&name).trials().unwrap()[1]);
    assert!(own != run && own.starts_with(&runs.folder), "{}", own.display());
    assert_eq!(fs::read_to_string(run.join("step")).unwrap(), "1", "the original's run went on");

    // A study that has moved is no copy.
    let moved = Place::sqlite();
    fs::rename(place.file(), moved.file()).unwrap();
    assert_eq!(runs.finish(moved.study(&name), 2), 2, "it goes on where it was");
    assert_eq!(runs.said, []);
    assert_eq!(run_of(&moved.study(&name).trials().unwrap()[1]), run);
}

#[test]
fn a_copy_that_prunes_its_paused_trials_keeps_the_checkpoints_of_the_originals() {
    let place = Place::sqlite();
    let name = unique("pruned");
    let mut runs = Runs::new(&place, "runs");
    let run = with_a_trial_that_waits(&place, &name, &mut runs);
    // The trial that waits is paused, in both.
    place.sql("UPDATE trials SET state = 'RUNNING' WHERE number = 1");
    place.sql("INSERT INTO trial_user_attributes (trial_id, \"key\", value_json) SELECT trial_id, 'paused', '0' FROM trials WHERE number = 1");
    place.sql("DELETE FROM trial_heartbeats");
    let copy = Place::sqlite();
    fs::copy(place.file(), copy.file()).unwrap();
    for (place, cleaned) in [(&copy, vec![]), (&place, vec![run])] {
        let mut objective = Scripted::training(STEPS);
        runs.search(place.study(&name), 2, &mut objective, &AtomicBool::new(false));
        assert_eq!(place.study(&name).trials().unwrap()[1].state, State::Pruned);
        assert_eq!(objective.over, cleaned);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)
        } else {
            _ = fs::copy(entry.path(), target).unwrap()
        }
    }
}

on_each_storage!(a_run_that_an_earlier_version_began_goes_on);
fn a_run_that_an_earlier_version_began_goes_on(place: &Place) {
    let name = unique("earlier");
    let mut runs = Runs::new(place, "earlier");
    let run = with_a_trial_that_waits(place, &name, &mut runs);
    fs::remove_file(run.join("study.json")).unwrap();
    assert_eq!(runs.finish(place.study(&name), 2), 2);
    assert_eq!(runs.said, []);

    // One whose mark is damaged is nobody's.
    let name = unique("damaged");
    let mut runs = Runs::new(place, "damaged");
    let run = with_a_trial_that_waits(place, &name, &mut runs);
    fs::write(run.join("study.json"), "{").unwrap();
    runs.finish(place.study(&name), 2);
    assert_eq!(fs::read_to_string(run.join("step")).unwrap(), "1");
    assert_eq!(runs.said, [(run, Occupant::Unknown)]);
}
