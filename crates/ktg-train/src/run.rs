//! One training run, from an experiment to a finished run directory, however often it is interrupted.

use std::fs::File;

use ktg_base::create_dir_all;

use crate::directory::{RunDirectory, RunResult};
use crate::event::Event;
use crate::metrics::EpochReport;
use crate::schedule::Position;
use crate::session::{Session, first_trainer};
use crate::{Error, Experiment};

/// A run at work, which has its directory to itself. It does nothing by itself: it is pulled.
///
/// ```no_run
/// # use ktg_train::{Experiment, Run, RunDirectory, Settings};
/// # fn main() -> Result<(), ktg_train::Error> {
/// let experiment = Experiment::open(Settings::default(), ".".as_ref())?;
/// let mut run = Run::start(experiment, &RunDirectory::new("runs/first"))?;
/// while let Some(epoch) = run.next_epoch()? {
///     println!("epoch {}", epoch.train.epoch);
/// }
/// # Ok(())
/// # }
/// ```
///
/// To stop early, [`save`](Run::save) it and drop it.
pub struct Run {
    session: Option<Session>,
    result: Option<RunResult>,
    _lock: File,
}

impl Run {
    /// Starts `experiment` in `directory`, which must be new, empty or missing.
    ///
    /// # Errors
    /// If the experiment cannot be trained (then nothing is written), or the directory holds something.
    pub fn start(experiment: Experiment, directory: &RunDirectory) -> Result<Self, Error> {
        // Everything that can be wrong with the experiment comes before the first file.
        let trainer = first_trainer(&experiment)?;
        let path = directory.path();
        create_dir_all(path)?;
        let lock = directory.lock()?;
        directory.check_is_free()?;
        directory.write_description(&experiment)?;
        Ok(Self { session: Some(Session::open(experiment, trainer, directory)?), result: None, _lock: lock })
    }

    /// Continues the run of `experiment` in `directory`, or starts it if there is none.
    ///
    /// # Errors
    /// If the directory holds another run, or another process works on it.
    pub fn start_or_resume(experiment: Experiment, directory: &RunDirectory) -> Result<Self, Error> {
        if !directory.has_run() {
            return Self::start(experiment, directory);
        }
        let lock = directory.lock()?;
        directory.check_is_of(&experiment)?;
        Self::go_on(directory, lock, |_| Ok(experiment))
    }

    /// Continues the run in `directory` from its newest usable checkpoint; a finished one has its result at once, and its
    /// data is not opened.
    ///
    /// # Errors
    /// If there is no run in it, another process works on it, or its data is not what it was.
    pub fn resume(directory: &RunDirectory) -> Result<Self, Error> {
        directory.check_has_run()?;
        Self::go_on(directory, directory.lock()?, reopened)
    }

    /// Goes on with the run in `directory`, whose experiment `open` gives; a finished one does not need it.
    fn go_on(
        directory: &RunDirectory,
        lock: File,
        open: impl FnOnce(&RunDirectory) -> Result<Experiment, Error>,
    ) -> Result<Self, Error> {
        let result = directory.result()?;
        let mut session = None;
        if result.is_none() {
            let experiment = open(directory)?;
            let trainer = first_trainer(&experiment)?;
            session = Some(Session::open(experiment, trainer, directory)?);
        }
        Ok(Self { session, result, _lock: lock })
    }

    /// Works until something has happened, and says what; `None` after the end, when there is a [`result`](Run::result).
    ///
    /// # Errors
    /// If the training diverges, an image cannot be read, or a file cannot be written. The run can be resumed then from
    /// its newest checkpoint.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot fail and be saved")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        self.session.as_mut().map_or(Ok(None), Session::next)
    }

    /// Works until the next epoch is over; `None` after the last.
    ///
    /// # Errors
    /// As [`next`](Run::next).
    pub fn next_epoch(&mut self) -> Result<Option<EpochReport>, Error> {
        while let Some(event) = self.next()? {
            if let Event::Epoch(report) = event {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    /// Writes a checkpoint, from which the run can go on after it was dropped. There is always one at the end of an
    /// epoch.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn save(&mut self) -> Result<(), Error> {
        self.session.as_mut().map_or(Ok(()), Session::save)
    }

    /// What is done; `None` of a run that was finished before it was opened.
    pub fn position(&self) -> Option<Position> {
        self.session.as_ref().map(|session| session.state.position)
    }

    /// What is trained; `None` of a run that was finished before it was opened.
    pub fn experiment(&self) -> Option<&Experiment> {
        self.session.as_ref().map(|session| &session.experiment)
    }

    /// The final measures, once the run is finished.
    pub fn result(&self) -> Option<&RunResult> {
        match &self.session {
            Some(session) => session.result.as_ref(),
            None => self.result.as_ref(),
        }
    }
}

/// The experiment of the run in `directory`; an error about its data says where the data's place is written.
fn reopened(directory: &RunDirectory) -> Result<Experiment, Error> {
    let opened = Experiment::open(directory.settings()?, directory.path());
    let experiment = opened.map_err(|error| match error {
        Error::Data(problem) => {
            let settings = directory.settings_path();
            let advice = format!("if the data has moved, change the table [data] of {}", settings.display());
            Error::Setting(format!("{problem}; {advice}"))
        }
        other => other,
    })?;
    if experiment.data != directory.data()? {
        let reason = "its images are not those it was started with; put them back, or train anew elsewhere";
        return Err(directory.error(reason));
    }
    Ok(experiment)
}
