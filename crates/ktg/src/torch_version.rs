//! Which PyTorch a library belongs to; for this program and for its build script.

use std::fs;
use std::path::Path;

/// The version, such as `2.13.0`, of the PyTorch whose libraries are in a folder; `None`: it does not say.
pub fn of_libraries(folder: &Path) -> Option<String> {
    // Beside the libraries of a Python package, and beside those of the archive for C++.
    let of_python = fs::read_to_string(folder.join("../version.py")).ok();
    let of_python =
        of_python.as_ref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("__version__ = ")));
    let of_archive = fs::read_to_string(folder.join("../build-version")).ok();
    let version = of_python.or(of_archive.as_deref())?.trim().trim_matches(['\'', '"']);
    // Behind the plus, it says what it computes on.
    version.split('+').next().map(str::to_owned)
}
