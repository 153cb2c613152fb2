//! Whether NVIDIA's GPUs round what they multiply to TF32.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ktg_engine::{Devices, TF32_OFF, TF32_PRODUCTS};

/// Has the GPUs round, or not. NVIDIA's and PyTorch's libraries read that from the environment when they are loaded,
/// before a program can say what it wants: so it starts once more, with the right environment.
pub fn settle(devices: &Devices, tf32: bool) -> Result<()> {
    if devices.kind() != "cuda" {
        if tf32 {
            bail!("--tf32 is for NVIDIA's GPUs, and networks are computed on {devices}; leave it out");
        }
        return Ok(());
    }
    let wanted = environment(tf32);
    if wanted.iter().all(|(name, value)| std::env::var(name).ok().as_deref() == *value) {
        return Ok(());
    }
    // The file of this program may have been replaced since it was started.
    let own = Path::new("/proc/self/exe");
    let program =
        if own.exists() { own.to_owned() } else { std::env::current_exe().context("cannot find this program")? };
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1));
    for (name, value) in wanted {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    start(again)
}

/// Variables and the values that they must have.
fn environment(tf32: bool) -> Vec<(&'static str, Option<&'static str>)> {
    match tf32 {
        true => vec![(TF32_OFF, None), (TF32_PRODUCTS, Some("1"))],
        false => vec![(TF32_OFF, Some("0"))],
    }
}

/// Puts the other process in the place of this one.
#[cfg(unix)]
fn start(mut again: Command) -> Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut again)).context("cannot start once more to settle TF32")
}

/// Runs the other process, and ends as it does.
#[cfg(not(unix))]
fn start(mut again: Command) -> Result<()> {
    let status = again.status().context("cannot start once more to settle TF32")?;
    std::process::exit(status.code().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gpus_round() {
        assert!(settle(&Devices::default(), false).is_ok());
        let message = settle(&Devices::default(), true).unwrap_err().to_string();
        assert_eq!(message, "--tf32 is for NVIDIA's GPUs, and networks are computed on cpu; leave it out");
        // What is switched on for products must not be off for everything.
        assert_eq!(environment(true), [(TF32_OFF, None), (TF32_PRODUCTS, Some("1"))]);
        assert_eq!(environment(false), [(TF32_OFF, Some("0"))]);
    }
}
