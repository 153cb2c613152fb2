//! Classes, for messages.

use crate::Dataset;

/// Names of the classes that have no image.
pub(crate) fn missing(dataset: &Dataset) -> Vec<String> {
    let counts = dataset.class_counts();
    let unseen = counts.iter().zip(dataset.class_names()).filter(|&(&count, _)| count == 0);
    unseen.map(|(_, name)| name.clone()).collect()
}

/// A few of the class names, for a message: `classes "a", "b" and 7 more`.
pub(crate) fn in_words(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect();
    let noun = if names.len() == 1 { "class" } else { "classes" };
    match names.len().saturating_sub(SHOWN) {
        0 => format!("{noun} {}", shown.join(", ")),
        more => format!("{noun} {} and {more} more", shown.join(", ")),
    }
}
