//! One training run, from an experiment to a finished run directory, however often it is interrupted.

use std::fs::File;

use ktg_base::create_dir_all;

use crate::directory::{RunDirectory, RunResult};
use crate::event::Event;
use crate::metrics::EpochReport;
use crate::schedule::Position;
use crate::session::{Session, first_trainer};
use crate::{Error, Experiment, Settings, checkpoint};

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
    directory: RunDirectory,
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
        let epochs = experiment.settings.train.epochs;
        let session = Session::open(experiment, trainer, directory, epochs)?;
        Ok(Self { directory: directory.clone(), session: Some(session), result: None, _lock: lock })
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
        // A copied run belongs to whoever goes on with it.
        directory.write_owner(&experiment)?;
        match directory.result()? {
            Some(result) => Ok(Self::finished(directory, lock, result)),
            None => {
                let epochs = experiment.settings.train.epochs;
                Self::go_on(directory, lock, experiment, epochs)
            }
        }
    }

    /// Continues the run in `directory` from its newest usable checkpoint; a finished one has its result at once, and its
    /// data is not opened, unless its settings ask for more epochs by now.
    ///
    /// # Errors
    /// If there is no run in it, another process works on it, its data is not what it was, its checkpoints are gone, its
    /// settings ask for fewer epochs than are done, or a longer training would have been another one all along.
    pub fn resume(directory: &RunDirectory) -> Result<Self, Error> {
        Self::resume_with(directory, None)
    }

    /// The same until the run has so many epochs, whatever its settings have.
    ///
    /// # Errors
    /// As [`resume`](Run::resume).
    pub fn resume_until(directory: &RunDirectory, epochs: usize) -> Result<Self, Error> {
        Self::resume_with(directory, Some(epochs))
    }

    /// The same until the run has the epochs that are asked for, or else those of its settings.
    fn resume_with(directory: &RunDirectory, asked: Option<usize>) -> Result<Self, Error> {
        directory.check_has_run()?;
        let lock = directory.lock()?;
        let mut settings = directory.settings()?;
        let written = settings.train.epochs;
        let epochs = asked.unwrap_or(written);
        settings.train.epochs = epochs;
        settings.check()?;
        let result = directory.result()?;
        let mut before = written;
        if let Some(result) = result {
            let is_over = result.epochs == epochs || result.stopped_early;
            if is_over && written == epochs {
                return Ok(Self::finished(directory, lock, result));
            }
            if result.stopped_early {
                return Err(directory.error(format!(
                    "it ended after {} epochs because no later one was better (`train.patience`): more would change nothing; \
                     train anew elsewhere with more patience",
                    result.epochs
                )));
            }
            before = result.epochs;
        }
        check_has_checkpoint(directory)?;
        let experiment = reopened(directory, settings.clone())?;
        if let Some(what) = experiment.depends_on_length().filter(|_| epochs != before) {
            return Err(directory.error(format!(
                "it is a training of {before} epochs and cannot become one of {epochs}: {what} depends on their number \
                 from the start; train anew elsewhere, or leave it at {before}"
            )));
        }
        let run = Self::go_on(directory, lock, experiment, before)?;
        if epochs != before || epochs != written {
            directory.reopen(&settings)?;
        }
        Ok(run)
    }

    fn finished(directory: &RunDirectory, lock: File, result: RunResult) -> Self {
        Self { directory: directory.clone(), session: None, result: Some(result), _lock: lock }
    }

    /// Goes on with a run that was to have `before` epochs.
    fn go_on(directory: &RunDirectory, lock: File, experiment: Experiment, before: usize) -> Result<Self, Error> {
        let trainer = first_trainer(&experiment)?;
        let session = Session::open(experiment, trainer, directory, before)?;
        directory.forget_divergence()?;
        Ok(Self { directory: directory.clone(), session: Some(session), result: None, _lock: lock })
    }

    /// Works until something has happened, and says what; `None` after the end, when there is a [`result`](Run::result).
    ///
    /// # Errors
    /// If the training diverges, an image cannot be read, or a file cannot be written. The run can be resumed then from
    /// its newest checkpoint.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot fail and be saved")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        let event = self.session.as_mut().map_or(Ok(None), Session::next);
        if let Err(error) = &event
            && error.is_divergence()
        {
            self.directory.write_divergence(error)?;
        }
        event
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
fn reopened(directory: &RunDirectory, settings: Settings) -> Result<Experiment, Error> {
    let opened = Experiment::open(settings, directory.path());
    let experiment = opened.map_err(|error| match error {
        Error::Data(problem) => {
            let place = directory.place_of_data();
            Error::Setting(format!("{problem}; if the data has moved, change {place}"))
        }
        other => other,
    })?;
    if experiment.data != directory.data()? {
        let reason = "its images are not those it was started with; put them back, or train anew elsewhere";
        return Err(directory.error(reason));
    }
    Ok(experiment)
}

/// Makes sure that a run whose epochs were written down still has a checkpoint to go on from: there is one at the end of
/// each. The first epoch's may be missing because the run was killed just then.
fn check_has_checkpoint(directory: &RunDirectory) -> Result<(), Error> {
    if !checkpoint::list(&directory.checkpoints())?.is_empty() {
        return Ok(());
    }
    let epochs = directory.epochs()?.len();
    if epochs < 2 && !directory.is_finished() {
        return Ok(());
    }
    Err(directory.error(format!(
        "it has trained to epoch {epochs}, but there is no checkpoint in {}; put one back, or train anew elsewhere",
        directory.checkpoints().display()
    )))
}
