//! What the readers of runs, comparisons and studies say: of whole ones, and of unfinished, damaged and foreign ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ktg_train::{EvaluateOn, Experiment, GraphSettings, Run, RunDirectory, Settings};
use serde_json::Value as Json;

mod attention;
mod comparisons;
mod runs;
mod studies;
mod subjects;

/// The files of a directory: their paths in it, and their contents.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// A run of two networks that teach each other, as its directory was after each of its two epochs.
struct Trained {
    unfinished: Files,
    finished: Files,
}

/// It is trained once, in seconds, and copied from memory by every test that wants it.
static TRAINED: LazyLock<Trained> = LazyLock::new(|| {
    let mut settings = Settings { side: 8, seed: 1, ..Settings::default() };
    settings.graph = GraphSettings {
        preset: Some("dml".to_owned()),
        nodes: Some(2),
        architecture: Some(ARCHITECTURE.to_owned()),
        ..GraphSettings::default()
    };
    settings.split.train_share = 0.02;
    settings.split.evaluate_on = EvaluateOn::SearchSplit;
    settings.train.epochs = 2;
    settings.train.batch_size = 25;
    let directory = tempfile::tempdir().unwrap();
    let experiment = Experiment::open(settings, Path::new(".")).unwrap();
    let mut run = Run::start(experiment, &RunDirectory::new(directory.path())).unwrap();
    run.next_epoch().unwrap().expect("an epoch");
    let unfinished = files(directory.path());
    while run.next_epoch().unwrap().is_some() {}
    Trained { unfinished, finished: files(directory.path()) }
});

const ARCHITECTURE: &str = "abn-resnet-cifar-8";

/// All files below a directory.
fn files(directory: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found
}

fn copy(files: &Files, directory: PathBuf) -> RunDirectory {
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    RunDirectory::new(directory)
}

/// A run that is finished: seed 1, two epochs.
fn finished_run(directory: PathBuf) -> RunDirectory {
    copy(&TRAINED.finished, directory)
}

/// The same run after its first epoch.
fn unfinished_run(directory: PathBuf) -> RunDirectory {
    copy(&TRAINED.unfinished, directory)
}

/// Makes the settings of a run others.
fn change_settings(run: &RunDirectory, change: impl Fn(&mut Settings)) {
    let mut settings = run.settings().unwrap();
    change(&mut settings);
    fs::write(run.path().join("settings.toml"), settings.to_toml().unwrap()).unwrap();
}

/// Makes a part of a JSON file another.
fn change_json(path: &Path, change: impl Fn(&mut Json)) {
    let mut json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Makes sure that a message says all of that, in one line.
#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{message}\nlacks one of {parts:?}");
    assert!(!message.contains('\n'), "{message}");
}

/// The error of what should fail, in words.
#[track_caller]
fn refused<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}
