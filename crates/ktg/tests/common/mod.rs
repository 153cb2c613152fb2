//! The program as tests start it. Not every test uses everything.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `ktg` on one thread in a directory, with its output to be read.
pub fn ktg(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ktg"));
    command.current_dir(here).args(["--threads", "1"]).args(arguments).stdin(Stdio::null());
    command.env_remove("KTG_STORAGE").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// All it printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Its standard output; it must succeed.
pub fn good(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The one sentence on standard error.
pub fn bad(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{text}");
    text
}
