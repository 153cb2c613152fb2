//! The report: one HTML file about runs, comparisons and studies.

mod comparison;
mod run;
mod study;

use std::path::{Path, PathBuf};

use ktg_data::Dataset;
use ktg_figures::page::{Block, Page};
use ktg_search::storage::StorageUrl;
use ktg_train::{Answer, RunDirectory, SavedRun};

use crate::compare::Comparison;
use crate::{Error, StudyRecord, attention};

/// What a report is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A run directory.
    Run(PathBuf),
    /// The directory of a comparison.
    Comparison(PathBuf),
    /// A study of a storage.
    Study(StorageUrl, String),
}

/// How a report is made.
pub struct Options<'a> {
    /// Images of each kind whose attention maps are shown.
    pub images: usize,
    /// Names of further images to show, or ends of their names.
    pub chosen: Vec<String>,
    /// Whether the networks judge their images again, which attention maps and calibration need.
    pub judge: bool,
    /// Best graphs of a study that are shown.
    pub top: usize,
    /// Hears what is being done, in words.
    pub progress: &'a dyn Fn(&str),
}

impl Subject {
    /// What a word on the command line means: a directory of a run or a comparison, or else a study in `storage`.
    ///
    /// # Errors
    /// If it is a directory of something else.
    pub fn of(word: &str, storage: &StorageUrl) -> Result<Self, Error> {
        let path = Path::new(word);
        if Comparison::is_one(path) {
            return Ok(Self::Comparison(path.to_owned()));
        }
        if RunDirectory::is_one(path) {
            return Ok(Self::Run(path.to_owned()));
        }
        if path.is_dir() {
            return Err(Error::Other(format!(
                "{word} holds neither a run (settings.toml) nor a comparison (comparison.json); name run directories one by \
                 one, as in {word}/*"
            )));
        }
        Ok(Self::Study(storage.clone(), word.to_owned()))
    }
}

/// The report about all subjects.
///
/// # Errors
/// If one of them cannot be read. Images that are not at hand any more are no error: the report says what it lacks.
pub fn page(subjects: &[Subject], title: Option<&str>, options: &Options) -> Result<Page, Error> {
    let mut page = Page::new(title.unwrap_or("Ensembles that teach each other"));
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
                study::section(&mut page, &study, options);
            }
            Subject::Run(directory) => {
                (options.progress)(&format!("run {}", directory.display()));
                runs += 1;
                run::section(&mut page, directory, options)?;
            }
        }
    }
    let counted = [(comparisons, "comparison", "comparisons"), (studies, "study", "studies"), (runs, "run", "runs")];
    let counted = counted.into_iter().filter(|(count, ..)| *count > 0);
    let counted = counted.map(|(count, one, more)| format!("{count} {}", if count == 1 { one } else { more }));
    page.subtitle = format!("Report about {}.", counted.collect::<Vec<_>>().join(", "));
    page.footer = format!("Made by ktg {}. Accuracies are top-1 in percent.", env!("CARGO_PKG_VERSION"));
    Ok(page)
}

/// A run's networks with the images they are judged on, and their answers.
struct Judged {
    run: SavedRun,
    data: Dataset,
    answers: Vec<Answer>,
}

impl Judged {
    /// `Err`: why there is none, as a block for the page.
    fn open(directory: &Path, options: &Options) -> Result<Self, Block> {
        if !options.judge {
            return Err(Block::note("Attention maps and calibration were left out on request."));
        }
        let opened = SavedRun::open(directory).and_then(|run| {
            let data = run.evaluation_data()?;
            let answers = run.answers(&data, |done, all| {
                if done == all {
                    (options.progress)(&format!("{}: judged {all} images", directory.display()));
                }
            })?;
            Ok(Self { run, data, answers })
        });
        opened.map_err(|error| Block::warning(format!("Attention maps and calibration are missing: {error}.")))
    }

    /// The images that were asked for, those that are there.
    fn chosen(&self, options: &Options) -> Vec<usize> {
        let find = |name: &String| (0..self.data.len()).find(|i| self.data.name_of(*i).ends_with(&**name));
        options.chosen.iter().filter_map(find).collect()
    }

    /// Images spread over the classes, the same for all runs on the same data.
    fn spread(&self, options: &Options) -> Vec<usize> {
        attention::spread_over_classes(&self.data, options.images)
    }
}
