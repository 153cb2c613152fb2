//! Threads that help with a piece of work at once when it comes, because they wait for it awake.
//!
//! A training step is hundreds of pieces of a few milliseconds. A thread that goes to sleep after each of them is woken
//! late, and often on the core of the very thread that woke it, where it waits while another core has nothing to do:
//! steps then take up to twice as long, in some runs and not in others. These threads look for more work for a moment
//! before they sleep, so within a step they keep their cores.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a thread looks for more work before it sleeps.
const AWAKE: Duration = Duration::from_micros(300);

/// Work that is being done.
#[derive(Clone, Copy)]
struct Work {
    body: *const (dyn Fn(usize) + Sync),
    /// How many helpers may take part.
    helpers: usize,
}

/// The state word counts those inside in its low bits; `OPEN` says that more may come in; above it works are numbered.
const OPEN: u64 = 1 << 16;
const NUMBER: u64 = 1 << 17;
const INSIDE: u64 = OPEN - 1;

struct Helpers {
    state: AtomicU64,
    work: UnsafeCell<Option<Work>>,
    panicked: AtomicBool,
    asleep: AtomicUsize,
    lock: Mutex<()>,
    bell: Condvar,
    /// Threads started. Whoever holds this lock may give out work.
    started: Mutex<usize>,
}

// SAFETY: `work` is written by the holder of `started` while the state is closed and nobody is inside, and read by
// those inside only. The body it points to is `Sync`.
unsafe impl Sync for Helpers {}

static HELPERS: Helpers = Helpers {
    state: AtomicU64::new(0),
    work: UnsafeCell::new(None),
    panicked: AtomicBool::new(false),
    asleep: AtomicUsize::new(0),
    lock: Mutex::new(()),
    bell: Condvar::new(),
    started: Mutex::new(0),
};

/// Runs `body` on this thread with number 0 and, at the same time, on up to `helpers` others, each with its own number, always
/// the same: once each, if they come in before it is done here. Those that come late are not waited for: number 0 must be able
/// to do all of it. `false`, and nothing run, if another thread is being
/// helped at the moment.
///
/// # Panics
///
/// If `body` panics on any thread.
pub(crate) fn with_helpers(helpers: usize, body: &(dyn Fn(usize) + Sync)) -> bool {
    let all = &HELPERS;
    let mut started = match all.started.try_lock() {
        Ok(started) => started,
        // A kernel panicked in the past; the number is right all the same.
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    while *started < helpers {
        let number = *started;
        let thread = std::thread::Builder::new().name(format!("kernel-{number}"));
        if thread.spawn(move || help(&HELPERS, number)).is_err() {
            // Fewer helpers only make it slower.
            break;
        }
        *started += 1;
    }
    // SAFETY: only the lifetime changes, and `Closing` keeps helpers from using the body after it.
    let body_for_all: *const (dyn Fn(usize) + Sync) =
        unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(body) };
    // Left behind where a giver's own share panicked too.
    all.panicked.store(false, Ordering::Relaxed);
    // SAFETY: we hold `started`, and the last work was closed and left by all before its giver let go of it.
    unsafe { *all.work.get() = Some(Work { body: body_for_all, helpers }) };
    {
        let _closing = Closing(all);
        all.state.fetch_add(NUMBER | OPEN, Ordering::SeqCst);
        if all.asleep.load(Ordering::SeqCst) > 0 {
            // With the lock, so that no helper is between its last look at the state and its sleep.
            let _lock = all.lock.lock().unwrap_or_else(PoisonError::into_inner);
            all.bell.notify_all();
        }
        body(0);
    }
    assert!(!all.panicked.swap(false, Ordering::Relaxed), "a kernel panicked on another thread");
    true
}

/// Lets nobody in any more and waits until all are out, also when the giver's own share panics.
struct Closing<'a>(&'a Helpers);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::SeqCst);
        let mut looks = 0u32;
        while self.0.state.load(Ordering::Acquire) & INSIDE != 0 {
            looks += 1;
            if looks < 10_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// The life of a helper.
fn help(all: &Helpers, number: usize) {
    let mut last = 0;
    loop {
        let state = wait(all, last);
        // Come in, unless it has been closed meanwhile.
        if all.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        last = state / NUMBER;
        // SAFETY: we are inside, so the work stays what it is.
        let work = unsafe { *all.work.get() };
        if let Some(work) = work.filter(|work| number < work.helpers) {
            // SAFETY: the body lives until we are outside again.
            let body = unsafe { &*work.body };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(number + 1))) {
                all.panicked.store(true, Ordering::Relaxed);
                // Its destructor is somebody else's code: were it to end this thread, the giver would wait for ever.
                if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    std::mem::forget(another);
                }
            }
        }
        all.state.fetch_sub(1, Ordering::Release);
    }
}

/// The state when work is open whose number is not `last`.
fn wait(all: &Helpers, last: u64) -> u64 {
    let open = |state: u64| state & OPEN != 0 && state / NUMBER != last;
    let since = Instant::now();
    loop {
        for _ in 0..100 {
            let state = all.state.load(Ordering::Acquire);
            if open(state) {
                return state;
            }
            std::hint::spin_loop();
        }
        if since.elapsed() > AWAKE {
            break;
        }
    }
    let mut lock = all.lock.lock().unwrap_or_else(PoisonError::into_inner);
    all.asleep.fetch_add(1, Ordering::SeqCst);
    let state = loop {
        let state = all.state.load(Ordering::SeqCst);
        if open(state) {
            break state;
        }
        lock = all.bell.wait(lock).unwrap_or_else(PoisonError::into_inner);
    };
    all.asleep.fetch_sub(1, Ordering::SeqCst);
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_is_done_once_however_often_and_after_pauses() {
        for round in 0..2000u64 {
            let (next, sum) = (AtomicU64::new(0), AtomicU64::new(0));
            let body = |_| loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= 100 {
                    break;
                }
                sum.fetch_add(i, Ordering::Relaxed);
            };
            while !with_helpers(3, &body) {}
            assert_eq!(sum.into_inner(), 4950, "round {round}");
            if round % 500 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_nobody_else() {
        let here = std::thread::current().id();
        let others = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let body = |_| {
                if std::thread::current().id() == here {
                    // Until a helper has come in.
                    while others.load(Ordering::Relaxed) == 0 {
                        std::thread::yield_now();
                    }
                } else {
                    others.fetch_add(1, Ordering::Relaxed);
                    panic!("as planned");
                }
            };
            while !with_helpers(2, &body) {}
        }));
        assert!(result.is_err());
        let done = AtomicUsize::new(0);
        let count = |_| {
            done.fetch_add(1, Ordering::Relaxed);
        };
        while !with_helpers(2, &count) {}
        assert!(done.into_inner() >= 1);
    }
}
