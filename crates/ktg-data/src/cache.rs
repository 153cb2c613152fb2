//! Decoded images kept in memory, as many as a byte budget allows.

use crate::Image;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes that the caches of several data sets may use together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl Budget {
    pub const DEFAULT_BYTES: usize = 1 << 30;

    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) })
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn reserve(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let add = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One slot an image. A filled slot is never emptied: with a random order each epoch, throwing
/// images out for others would only cost time.
#[derive(Debug)]
pub(crate) struct Cache {
    slots: Vec<OnceLock<Arc<Image>>>,
    budget: Arc<Budget>,
}

impl Cache {
    pub fn new(len: usize, budget: Arc<Budget>) -> Self {
        Self { slots: (0..len).map(|_| OnceLock::new()).collect(), budget }
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub fn get(&self, i: usize) -> Option<Arc<Image>> {
        self.slots[i].get().cloned()
    }

    /// Keeps the image if there is room.
    pub fn offer(&self, i: usize, image: &Arc<Image>) {
        let bytes = image.pixels.len();
        if self.budget.reserve(bytes) && self.slots[i].set(image.clone()).is_err() {
            self.budget.release(bytes); // another thread was faster
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let bytes = self.slots.iter().filter_map(OnceLock::get).map(|image| image.pixels.len()).sum();
        self.budget.release(bytes);
    }
}
