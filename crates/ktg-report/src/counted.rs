//! Numbers of things in words.

use std::fmt::Display;

/// What there is at all, with its number: "3 complete, 1 failed".
pub fn counted<W: Display>(counts: impl IntoIterator<Item = (usize, W)>) -> String {
    let there = counts.into_iter().filter(|(count, _)| *count > 0);
    there.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}
