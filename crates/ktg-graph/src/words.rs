//! Messages about words that are not in a list.

use strsim::levenshtein;

use crate::error::Error;

/// `unknown gate "liner"; did you mean "linear"? valid gates: through, ...` The kind is a word whose
/// plural ends in s.
pub(crate) fn unknown<'a>(kind: &str, word: &str, valid: impl IntoIterator<Item = &'a str>) -> Error {
    let valid: Vec<&str> = valid.into_iter().collect();
    let hint = match closest(word, &valid) {
        Some(near) => format!("did you mean {near:?}? "),
        None => String::new(),
    };
    Error::new(format!("unknown {kind} {word:?}; {hint}valid {kind}s: {}", valid.join(", ")))
}

/// The valid word that a typing mistake most likely meant, if any is near enough.
fn closest<'a>(word: &str, valid: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A word pasted by accident can be very long; nothing that long is near a valid one.
    if word.chars().count() > 64 {
        return None;
    }
    valid
        .iter()
        .map(|candidate| (levenshtein(&word, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let valid = ["through", "cutoff", "linear", "correct"];
        assert_eq!(closest("Liner", &valid), Some("linear"));
        assert_eq!(closest("cut", &valid), Some("cutoff"));
        assert_eq!(closest("never", &valid), None);
        assert_eq!(closest(&"x".repeat(1000), &valid), None);
    }
}
