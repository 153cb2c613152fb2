//! The heartbeat of a worker, in a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Error;
use crate::storage::Study;

/// Says at intervals that the worker's trial is being worked on.
pub(crate) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    lost: AtomicBool,
}

#[derive(Default)]
struct State {
    trial: Option<i64>,
    end: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every state is a valid one, wherever a panic left it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// Starts beating for no trial, over a connection of its own.
    pub fn start(study: &Study, interval: Duration) -> Result<Self, Error> {
        let mut study = study.another()?;
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { state, changed: Condvar::new(), lost: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let beat = move || {
            let mut state = theirs.state();
            while !state.end {
                let wait = theirs.changed.wait_timeout(state, interval);
                state = wait.map_or_else(|e| e.into_inner().0, |(state, _)| state);
                let Some(trial) = state.trial.filter(|_| !state.end) else { continue };
                drop(state);
                // An error has been waited out as long as that is sensible; the worker will meet it, too.
                let beating = study.beat(trial).unwrap_or(true);
                state = theirs.state();
                if !beating && state.trial == Some(trial) {
                    theirs.lost.store(true, Ordering::Relaxed);
                }
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
        let thread = thread.map_err(|e| Error::Objective(format!("cannot start a thread: {e}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Beats for this trial from now on, or for none. Claiming a trial was its first beat.
    pub fn set(&self, trial: Option<i64>) {
        self.shared.state().trial = trial;
        self.shared.lost.store(false, Ordering::Relaxed);
    }

    /// Whether the trial is not this worker's any more.
    pub fn lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
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
