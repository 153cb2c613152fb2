//! How processes and threads on one machine share its devices.

use std::fs::{File, TryLockError, create_dir_all};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use ktg_engine::Devices;

use crate::output::note;

static SAID: AtomicBool = AtomicBool::new(false);

/// A place among those of this user on this machine who work on the same devices at a time, `train` aside. Each deals
/// the nodes of its graphs out from where the one before has stopped, if that one's graphs have as many nodes.
pub struct Seat {
    index: usize,
    /// It is locked as long as somebody sits here, whatever ends him.
    _lock: Option<File>,
}

impl Seat {
    /// The first free one. Where it cannot be known, because there is no place for the files, it is the first one, and
    /// that is said once.
    pub fn take() -> Self {
        let devices = Devices::chosen();
        if devices.count() == 1 {
            return Self { index: 0, _lock: None };
        }
        let user = std::env::var("USER").unwrap_or_default();
        // Slurm gives a job devices of its own, which it counts from 0 again.
        let visible = |name: &str| std::env::var(name).unwrap_or_default();
        let visible = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"].map(visible).join(" ");
        let name = format!("{devices} of {visible}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let seat = Self::take_in(&std::env::temp_dir().join(format!("ktg-seats-{user}")), &name);
        seat.unwrap_or_else(|error| {
            if !SAID.swap(true, Ordering::Relaxed) {
                note(&format!(
                    "warning: {error:#}; who else works on {devices} is not known, and they are not dealt out"
                ));
            }
            Self { index: 0, _lock: None }
        })
    }

    /// The first free one of those whose files are in a folder.
    fn take_in(folder: &Path, name: &str) -> Result<Self> {
        create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for index in 0.. {
            let path = folder.join(format!("{name}-{index}.lock"));
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => return Ok(Self { index, _lock: Some(file) }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        unreachable!("there are more places than processes")
    }

    /// Which device is that of the first of so many nodes.
    pub fn first_device(&self, nodes: usize) -> usize {
        self.index * nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_seat_is_taken_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let take = |name| Seat::take_in(&folder.path().join("seats"), name).unwrap();
        let (first, second, third) = (take("cuda-0-cuda-1"), take("cuda-0-cuda-1"), take("cuda-0-cuda-1"));
        assert_eq!([&first, &second, &third].map(|seat| seat.first_device(3)), [0, 3, 6]);
        drop(second);
        assert_eq!(take("cuda-0-cuda-1").first_device(3), 3);
        assert_eq!(take("cuda-2-cuda-3").first_device(3), 0, "others have seats of their own");
        assert!(Seat::take_in(Path::new("/dev/null/seats"), "cuda-0").is_err());
    }
}
