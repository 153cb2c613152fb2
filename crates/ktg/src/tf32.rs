//! Whether NVIDIA's GPUs round what they multiply to TF32.

use std::process::Command;

use anyhow::{Result, anyhow, bail};
use ktg_engine::{Devices, TF32_OFF, TF32_PRODUCTS};

/// Has the GPUs round, or not. NVIDIA's and PyTorch's libraries read that from the environment when they are loaded, before a
/// program can say what it wants: so it starts once more, with the right environment.
pub fn settle(devices: &Devices, tf32: bool) -> Result<()> {
    if devices.kind() != "cuda" {
        if tf32 {
            bail!("--tf32 is for NVIDIA's GPUs, and networks are computed on {devices}; leave it out");
        }
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1));
    match tf32 {
        true => again.env_remove(TF32_OFF).env(TF32_PRODUCTS, "1"),
        false => again.env(TF32_OFF, "0"),
    };
    let is = |name: &str, value: Option<&str>| std::env::var(name).ok().as_deref() == value;
    let is_settled = if tf32 { is(TF32_OFF, None) && is(TF32_PRODUCTS, Some("1")) } else { is(TF32_OFF, Some("0")) };
    if is_settled { Ok(()) } else { start(again) }
}

/// Puts the other process in the place of this one.
#[cfg(unix)]
fn start(mut again: Command) -> Result<()> {
    Err(anyhow!("cannot start again for --tf32: {}", std::os::unix::process::CommandExt::exec(&mut again)))
}

#[cfg(not(unix))]
fn start(again: Command) -> Result<()> {
    let wanted: Vec<String> = again.get_envs().map(|(name, value)| format!("{name:?} to {value:?}")).collect();
    Err(anyhow!("set in the environment: {}", wanted.join(", ")))
}
