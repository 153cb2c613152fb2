//! Ctrl-C and SIGTERM ask a run to stop after a checkpoint; a second one ends the process at once.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::output::note;

/// Exit status of an interrupted run, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

/// Says how to go on with what was interrupted, and ends as such.
pub fn interrupted(advice: &str) -> ExitCode {
    note(advice);
    ExitCode::from(INTERRUPTED)
}

/// A flag that the first signal sets.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal only finds the flag unset and sets it, the second one exits.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|e| anyhow!("cannot watch for signal {signal}: {e}"))?;
    }
    Ok(stop)
}
