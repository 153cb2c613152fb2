//! Whether the PyTorch that this program has loaded is the one for which it is built.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::torch_version::of_libraries;

/// The version for which this program is built, if it was known.
pub const WANTED: Option<&str> = option_env!("KTG_TORCH_VERSION");

/// Refuses another version. Where the system does not say what is loaded, nothing is known, and all is well.
pub fn check() -> Result<()> {
    if WANTED.is_none() {
        return Ok(());
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let library = maps.lines().filter_map(|line| line.split_whitespace().last()).find(|path| is_pytorchs(path));
    match library.map(Path::new).and_then(Path::parent) {
        Some(folder) => compare(folder, WANTED),
        None => Ok(()),
    }
}

fn is_pytorchs(path: &str) -> bool {
    path.ends_with("/libtorch_cpu.so")
}

fn compare(folder: &Path, wanted: Option<&str>) -> Result<()> {
    let (Some(wanted), Some(found)) = (wanted, of_libraries(folder)) else { return Ok(()) };
    if found != wanted {
        bail!(
            "this ktg is built for PyTorch {wanted}, and {} is of {found}; put the libraries of {wanted} into \
             LD_LIBRARY_PATH, or build it anew (docs/gpu.md)",
            folder.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_refused_with_the_one_that_is_wanted() {
        let torch = tempfile::tempdir().unwrap();
        let folder = torch.path().join("lib");
        fs::create_dir(&folder).unwrap();
        assert!(compare(&folder, Some("2.13.0")).is_ok(), "it does not say");
        fs::write(torch.path().join("build-version"), "2.11.0+cu126\n").unwrap();
        assert!(compare(&folder, Some("2.11.0")).is_ok());
        fs::write(torch.path().join("version.py"), "from typing import Optional\n__version__ = '2.14.1+cu130'\n")
            .unwrap();
        assert!(compare(&folder, Some("2.14.1")).is_ok() && compare(&folder, None).is_ok());
        let message = compare(&folder, Some("2.13.0")).unwrap_err().to_string();
        assert!(message.starts_with("this ktg is built for PyTorch 2.13.0, and /"), "{message}");
        assert!(message.contains("lib is of 2.14.1; put the libraries of 2.13.0 into"), "{message}");
    }

    #[test]
    fn what_is_loaded_is_what_it_is_built_for() {
        check().unwrap();
        let is_there = cfg!(feature = "torch") && cfg!(target_os = "linux");
        assert!(!is_there || WANTED.is_some());
    }
}
