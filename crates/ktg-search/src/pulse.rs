//! The heartbeat of a worker, and its ear for those of others, in a thread of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Error;
use crate::storage::{Heartbeat, Study};

/// Says at intervals that the worker's trial is being worked on, and listens to the others.
///
/// A worker may only think another one dead that was silent while it could have spoken: neither during an outage of the
/// storage, nor while this worker slept, nor before it came, when there may have been either. For how long, its own clock
/// says, which only ever runs forward; the times in the database are another machine's, and may jump.
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
    /// The heartbeats of the study's trials by their keys, and since when each is known to be the last.
    heard: BTreeMap<i64, (Heartbeat, Instant)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every state is a valid one, wherever a panic left it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beats and listens until it is to end.
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
            let answer = beat_and_listen(study, trial);
            // The worker trains, or is about to ask something itself.
            study.hang_up();

            state = self.state();
            let is_answered = answer.is_ok();
            if let Ok((is_ours, heartbeats)) = answer {
                state.lost |= !is_ours && state.trial == trial;
                state.hear(heartbeats);
            }
            // An error has been waited out as long as that is sensible; the worker will meet it, too.
            if !is_answered || state.answered.elapsed() > self.silence / 2 {
                state.answers_since = Instant::now();
            }
            state.answered = Instant::now();
        }
    }
}

impl State {
    /// Notes which heartbeats have changed.
    fn hear(&mut self, heartbeats: Vec<Heartbeat>) {
        let mut before = std::mem::take(&mut self.heard);
        for heartbeat in heartbeats {
            let known = before.remove(&heartbeat.id).filter(|(last, _)| *last == heartbeat);
            self.heard.insert(heartbeat.id, known.unwrap_or_else(|| (heartbeat, Instant::now())));
        }
    }
}

/// Says that the trial, if there is one, is being worked on, and hears what all others say. `false`: it is not this
/// worker's any more.
fn beat_and_listen(study: &mut Study, trial: Option<i64>) -> Result<(bool, Vec<Heartbeat>), Error> {
    let is_ours = match trial {
        Some(trial) => study.beat(trial)?,
        None => true,
    };
    Ok((is_ours, study.heartbeats()?))
}

impl Pulse {
    /// Listens, and starts beating, for no trial yet. Who is silent for `silence` is dead.
    pub fn start(mut study: Study, interval: Duration, silence: Duration) -> Result<Self, Error> {
        let heartbeats = study.heartbeats()?;
        let now = Instant::now();
        let heard = heartbeats.into_iter().map(|heartbeat| (heartbeat.id, (heartbeat, now))).collect();
        let state = State { trial: None, lost: false, end: false, answers_since: now, answered: now, heard };
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

    /// The last heartbeats of the dead: of those who could be heard for so long, and said nothing.
    pub fn silent(&self) -> Vec<Heartbeat> {
        if !self.could_hear() {
            return Vec::new();
        }
        let state = self.shared.state();
        let silent = state.heard.values().filter(|(_, since)| since.elapsed() >= self.shared.silence);
        silent.map(|(heartbeat, _)| heartbeat.clone()).collect()
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
