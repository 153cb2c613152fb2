//! Decoders are other people's code, and a damaged file may find a mistake in it: then that file is bad, and nothing else.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught here.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or `None` if it panics, of which nothing is printed.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                usual(info);
            }
        }));
    });
    let before = CAUGHT.replace(true);
    // What a panic leaves half-done belongs to `work` alone, and is dropped.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_none_and_later_work_goes_on() {
        assert_eq!(caught(|| -> usize { [1, 2, 3][std::hint::black_box(3)] }), None);
        assert_eq!(caught(|| 4), Some(4));
        assert!(!CAUGHT.get());
    }
}
