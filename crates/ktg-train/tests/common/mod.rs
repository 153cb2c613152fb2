//! Runs that end in seconds, what to do with them, and batches of fixtures.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use ktg_data::Batch;
use ktg_net::Array;
use ktg_train::{Error, Event, Experiment, GraphSettings, Run, RunDirectory, RunResult, Settings};
use serde_json::Value;

/// A batch of images of a fixture, `[count, channels, height, width]`.
pub fn batch(images: &Array, labels: &Value) -> Batch {
    let labels: Vec<u32> = serde_json::from_value(labels.clone()).unwrap();
    Batch {
        indices: (0..labels.len()).collect(),
        images: images.data.clone(),
        labels,
        channels: images.shape[1],
        height: images.shape[2],
        width: images.shape[3],
        mixed: None,
    }
}

/// A few dozen steps of the built-in data: small enough for the dev profile.
pub fn settings() -> Settings {
    let mut settings = Settings { side: 8, seed: 5, ..Settings::default() };
    settings.graph = GraphSettings {
        preset: Some("diverse".to_owned()),
        nodes: Some(2),
        architecture: Some("abn-resnet-cifar-8".to_owned()),
        ..GraphSettings::default()
    };
    settings.split.train_share = 0.02;
    settings.split.evaluate_on = ktg_train::EvaluateOn::SearchSplit;
    settings.train.epochs = 2;
    settings.train.batch_size = 8;
    settings.train.log_every = 1;
    settings.train.learning_rate = 0.05;
    settings
}

/// Trains to the end.
pub fn train(settings: Settings, directory: &Path) -> Result<RunResult, Error> {
    let mut run = start(settings, directory)?;
    while run.next_epoch()?.is_some() {}
    Ok(run.result().expect("it is finished").clone())
}

pub fn start(settings: Settings, directory: &Path) -> Result<Run, Error> {
    Run::start(Experiment::open(settings, Path::new("."))?, &RunDirectory::new(directory))
}

pub fn resume(directory: &Path) -> Result<Run, Error> {
    Run::resume(&RunDirectory::new(directory))
}

/// Goes on to the end.
pub fn finish(directory: &Path) -> RunResult {
    let mut run = resume(directory).unwrap();
    while run.next_epoch().unwrap().is_some() {}
    run.result().expect("it is finished").clone()
}

/// Starts a run and leaves it after the first event that is meant, with a checkpoint; returns the steps that are done.
pub fn stop_at(settings: Settings, directory: &Path, is_meant: impl Fn(&Event) -> bool) -> u64 {
    let mut run = start(settings, directory).unwrap();
    while let Some(event) = run.next().unwrap() {
        if is_meant(&event) {
            run.save().unwrap();
            assert_eq!(run.result(), None);
            return run.position().unwrap().step;
        }
    }
    panic!("it ended before");
}

pub fn is_step(number: u64) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Step(report) if report.step == number)
}

/// Names in the checkpoint directory, in order: damaged ones first, then the oldest.
pub fn checkpoints(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.join("checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Everything that must be equal, bit for bit: metrics and the last checkpoint's files.
pub fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let last = directory.join("checkpoints").join(checkpoints(directory).pop().unwrap());
    let mut files = vec![("metrics.jsonl".to_owned(), fs::read(directory.join("metrics.jsonl")).unwrap())];
    for entry in fs::read_dir(last).unwrap() {
        let entry = entry.unwrap();
        files.push((entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    }
    files.sort();
    files
}

/// Two runs have the same [`contents`]; a message names the first file that differs.
#[track_caller]
pub fn assert_same_contents(ours: &Path, theirs: &Path, when: &str) {
    let (ours, theirs) = (contents(ours), contents(theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours == theirs, "{} differs {when}", ours.0);
    }
    assert_eq!(ours.len(), theirs.len(), "{when}");
}
