//! The report: one HTML file about runs, comparisons and studies.

mod classes;
mod comparison;
mod evaluated;
mod run;
mod runs;
mod study;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use ktg_figures::page::Page;
use ktg_search::storage::StorageUrl;
use ktg_train::RunDirectory;

pub use evaluated::Options;

use crate::compare::Comparison;
use crate::{StudyRecord, counted};

/// What a report is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A run directory.
    Run(RunDirectory),
    /// The directory of a comparison.
    Comparison(PathBuf),
    /// A study of a storage.
    Study(StorageUrl, String),
}

impl Subject {
    /// What a word on the command line means: a directory of a run or a comparison, or else a study in `storage`.
    ///
    /// # Errors
    /// If it is a directory of something else.
    pub fn of(word: &str, storage: &StorageUrl) -> Result<Self> {
        let path = Path::new(word);
        if Comparison::is_one(path) {
            return Ok(Self::Comparison(path.to_owned()));
        }
        let run = RunDirectory::new(path);
        if run.has_run() {
            return Ok(Self::Run(run));
        }
        if path.is_dir() {
            bail!(
                "{word} holds neither a run (settings.toml) nor a comparison (comparison.json); name run directories one by \
                 one, as in {word}/*"
            );
        }
        Ok(Self::Study(storage.clone(), word.to_owned()))
    }

    /// The run that it is, if it is one.
    fn run(&self) -> Option<&RunDirectory> {
        if let Self::Run(directory) = self { Some(directory) } else { None }
    }
}

/// The report about all subjects. Several runs stand side by side at its beginning.
///
/// # Errors
/// If one of them cannot be read. Images that are not at hand any more are no error: the report says what it lacks.
pub fn page(subjects: &[Subject], title: Option<&str>, options: &Options) -> Result<Page> {
    let mut page = Page::new(title.unwrap_or("Ensembles that teach each other"));
    let directories: Vec<&RunDirectory> = subjects.iter().filter_map(Subject::run).collect();
    runs::section(&mut page, &directories)?;
    let (mut runs, mut comparisons, mut studies) = (0, 0, 0);
    for subject in subjects {
        match subject {
            Subject::Comparison(directory) => {
                let comparison = Comparison::read(directory)?;
                (options.progress)(&format!("comparison {}", directory.display()));
                comparisons += 1;
                comparison::section(&mut page, &comparison, options)?;
            }
            Subject::Study(storage, name) => {
                let study = StudyRecord::read(storage, name)?;
                (options.progress)(&format!("study {name}"));
                studies += 1;
                study::section(&mut page, &study, options)?;
            }
            Subject::Run(directory) => {
                (options.progress)(&format!("run {}", directory.path().display()));
                runs += 1;
                run::section(&mut page, directory, options)?;
            }
        }
    }
    let subjects = [(comparisons, "comparison", "comparisons"), (studies, "study", "studies"), (runs, "run", "runs")];
    let subjects = subjects.map(|(count, one, more)| (count, if count == 1 { one } else { more }));
    page.subtitle = format!("Report about {}.", counted(subjects));
    page.footer = format!("Made by ktg {}. Accuracies are top-1 in percent.", env!("CARGO_PKG_VERSION"));
    Ok(page)
}
