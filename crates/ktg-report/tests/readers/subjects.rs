//! What a word of `ktg report` means.

use std::fs;

use ktg_report::report::Subject;
use ktg_search::storage::StorageUrl;

use super::{assert_says, refused};

fn subject(word: &std::path::Path) -> anyhow::Result<Subject> {
    Subject::of(word.to_str().unwrap(), &StorageUrl::file("s.db"))
}

#[test]
fn a_directory_is_a_run_or_a_comparison() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("settings.toml"), "").unwrap();
    let run = subject(here.path()).unwrap();
    assert!(matches!(&run, Subject::Run(run) if run.path() == here.path()), "{run:?}");
    // One that holds both is shown as the whole, of which the run is a part.
    fs::write(here.path().join("comparison.json"), "").unwrap();
    let comparison = subject(here.path()).unwrap();
    assert!(matches!(&comparison, Subject::Comparison(path) if path == here.path()), "{comparison:?}");
}

#[test]
fn a_directory_of_something_else_is_no_study() {
    let here = tempfile::tempdir().unwrap();
    // Neither is a file.
    fs::create_dir(here.path().join("settings.toml")).unwrap();
    fs::create_dir(here.path().join("comparison.json")).unwrap();
    let message = refused(subject(here.path()));
    let name = here.path().display().to_string();
    assert_says(&message, &[&name, "neither a run (settings.toml) nor a comparison (comparison.json)", "/*"]);
}

#[test]
fn any_other_word_names_a_study() {
    let here = tempfile::tempdir().unwrap();
    let word = here.path().join("found");
    for _ in 0..2 {
        let study = subject(&word).unwrap();
        let storage = StorageUrl::file("s.db");
        assert!(matches!(&study, Subject::Study(url, name) if *url == storage && word == *name), "{study:?}");
        // A file of this name changes nothing.
        fs::write(&word, "").unwrap();
    }
}
