//! The heartbeat of a worker, in a thread of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Error;
use crate::storage::Study;

/// Says at intervals that the worker's trial is being worked on, and sees that the storage could be told so.
///
/// A worker may only think another one dead that was silent while it could have spoken: neither during an outage of the
/// storage, nor while this worker slept, nor before it came, when there may have been either.
pub(crate) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    silence: Duration,
}

struct State {
    trial: Option<i64>,
    /// The trial is not this worker's any more.
    lost: bool,
    end: bool,
    /// Since when the storage has answered without a long gap.
    answers_since: Instant,
    /// When it last did.
    answered: Instant,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every state is a valid one, wherever a panic left it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beats until it is to end.
    fn beat(&self, study: &mut Study, interval: Duration) {
        let mut state = self.state();
        loop {
            let wait = self.changed.wait_timeout_while(state, interval, |state| !state.end);
            state = wait.map_or_else(|e| e.into_inner().0, |(state, _)| state);
            if state.end {
                return;
            }
            let trial = state.trial;
            drop(state);
            let answer = match trial {
                Some(trial) => study.beat(trial),
                None => study.ping().map(|()| true),
            };
            state = self.state();
            state.lost |= matches!(answer, Ok(false)) && state.trial == trial;
            // An error has been waited out as long as that is sensible; the worker will meet it, too.
            if answer.is_err() || state.answered.elapsed() > self.silence / 2 {
                state.answers_since = Instant::now();
            }
            state.answered = Instant::now();
        }
    }
}

impl Pulse {
    /// Starts beating for no trial, over a connection of its own. Who is silent for `silence` is dead.
    pub fn start(study: &Study, interval: Duration, silence: Duration) -> Result<Self, Error> {
        let mut study = study.another()?;
        let now = Instant::now();
        let state = State { trial: None, lost: false, end: false, answers_since: now, answered: now };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), silence });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("heartbeat".to_owned());
        let thread = thread.spawn(move || theirs.beat(&mut study, interval));
        let thread = thread.map_err(|e| Error::Objective(format!("cannot start a thread: {e}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Beats for this trial from now on, or for none. Claiming a trial was its first beat.
    pub fn set(&self, trial: Option<i64>) {
        let mut state = self.shared.state();
        (state.trial, state.lost) = (trial, false);
    }

    /// Whether everybody could be heard for as long as the dead are silent.
    pub fn could_hear(&self) -> bool {
        let (state, silence) = (self.shared.state(), self.shared.silence);
        state.answers_since.elapsed() >= silence && state.answered.elapsed() <= silence / 2
    }

    /// Whether the trial is not this worker's any more.
    pub fn lost(&self) -> bool {
        self.shared.state().lost
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.state().end = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It only panics if this program is wrong, and then has said so.
            let _ = thread.join();
        }
    }
}
