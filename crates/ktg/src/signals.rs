//! Signals ask a run to stop after a checkpoint; one that comes some time later ends the process at once.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use signal_hook::{consts, flag, low_level};

use crate::output::note;

/// Exit status of an interrupted run, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

/// GNU `timeout`, Slurm and terminals send a signal to the process and to its group: what comes so soon after the first
/// is the first.
const ONE_SIGNAL: Duration = Duration::from_secs(2);

/// How often it is looked whether a signal has come.
const LOOK: Duration = Duration::from_millis(50);

/// Says how to go on with what was interrupted, and ends as such.
pub fn interrupted(advice: &str) -> ExitCode {
    note(advice);
    ExitCode::from(INTERRUPTED)
}

/// A flag that the first signal sets.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let (stop, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in signals() {
        for flag in [&stop, &arrived] {
            flag::register(signal, Arc::clone(flag)).map_err(|e| anyhow!("cannot watch for signal {signal}: {e}"))?;
        }
    }
    let watch = std::thread::Builder::new().name("signals".to_owned()).spawn(move || end_at_the_second(&arrived));
    watch.map_err(|e| anyhow!("cannot start a thread: {e}"))?;
    Ok(stop)
}

/// Ctrl-C, what ends a process politely, what a closed terminal sends, and what Slurm can send before the time is over.
#[cfg(unix)]
fn signals() -> Vec<i32> {
    let mut signals = vec![consts::SIGINT, consts::SIGTERM, consts::SIGUSR1, consts::SIGUSR2];
    // `nohup` means that the end of the terminal shall not matter.
    if !is_ignored(consts::SIGHUP) {
        signals.push(consts::SIGHUP);
    }
    signals
}

#[cfg(not(unix))]
fn signals() -> Vec<i32> {
    vec![consts::SIGINT, consts::SIGTERM]
}

/// Whether whoever started the process had it ignore a signal; where the system does not tell, it is left as it is.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Ends the process when a signal arrives that is not the first one.
fn end_at_the_second(arrived: &AtomicBool) {
    let mut first: Option<Instant> = None;
    loop {
        if arrived.swap(false, Ordering::Relaxed) && first.get_or_insert_with(Instant::now).elapsed() >= ONE_SIGNAL {
            low_level::exit(INTERRUPTED.into());
        }
        std::thread::sleep(LOOK);
    }
}
