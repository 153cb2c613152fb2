//! Loss designs: what a transfer edge transfers, and in which direction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::words;

/// Whether the target's knowledge is pulled towards the source's or pushed away from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Minimise a distance (thesis eq. 1 and 3).
    Closer,
    /// Minimise a similarity (thesis eq. 2 and 4).
    Apart,
}

/// The loss of a transfer edge: which knowledge, and in which [`Direction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Design {
    /// KL divergence from the source's class probabilities (thesis eq. 1).
    ProbabilityCloser,
    /// Cosine similarity of the class probabilities (thesis eq. 2).
    ProbabilityApart,
    /// Mean squared difference of the normalised attention map crops (thesis eq. 3).
    AttentionCloser,
    /// Cosine similarity of the attention map crops (thesis eq. 4).
    AttentionApart,
    /// Both losses that bring closer, added (thesis eq. 6).
    BothCloser,
    /// Both losses that push apart, added (thesis eq. 6).
    BothApart,
}

impl Design {
    /// All designs, in the order in which they are listed for people.
    pub const ALL: [Design; 6] = [
        Design::ProbabilityCloser,
        Design::ProbabilityApart,
        Design::AttentionCloser,
        Design::AttentionApart,
        Design::BothCloser,
        Design::BothApart,
    ];

    /// Name in files and messages, label in pictures, and the number in the hashed encoding of
    /// graphs (never reuse or change one).
    fn row(self) -> (&'static str, &'static str, u8) {
        match self {
            Design::ProbabilityCloser => ("probability closer", "Prob closer", 1),
            Design::ProbabilityApart => ("probability apart", "Prob apart", 2),
            Design::AttentionCloser => ("attention closer", "Attention closer", 3),
            Design::AttentionApart => ("attention apart", "Attention apart", 4),
            Design::BothCloser => ("both closer", "Both closer", 5),
            Design::BothApart => ("both apart", "Both apart", 6),
        }
    }

    /// The name used in files and messages, such as `"probability closer"`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The short name used in pictures, such as `"Prob closer"`.
    pub fn label(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn code(self) -> u8 {
        self.row().2
    }

    /// Whether class probabilities are part of the loss.
    pub fn probability(self) -> bool {
        !matches!(self, Design::AttentionCloser | Design::AttentionApart)
    }

    /// Whether attention maps are part of the loss.
    pub fn attention(self) -> bool {
        !matches!(self, Design::ProbabilityCloser | Design::ProbabilityApart)
    }

    /// The same knowledge in the other direction.
    pub fn flipped(self) -> Design {
        match self {
            Design::ProbabilityCloser => Design::ProbabilityApart,
            Design::ProbabilityApart => Design::ProbabilityCloser,
            Design::AttentionCloser => Design::AttentionApart,
            Design::AttentionApart => Design::AttentionCloser,
            Design::BothCloser => Design::BothApart,
            Design::BothApart => Design::BothCloser,
        }
    }

    /// Whether the loss brings closer or pushes apart.
    pub fn direction(self) -> Direction {
        match self {
            Design::ProbabilityCloser | Design::AttentionCloser | Design::BothCloser => Direction::Closer,
            Design::ProbabilityApart | Design::AttentionApart | Design::BothApart => Direction::Apart,
        }
    }
}

impl fmt::Display for Design {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Design {
    type Err = Error;

    /// Reads a [name](Design::name). A `-` or `_` may stand for the space, `prob` and `att` for the
    /// long words, and the case does not matter.
    fn from_str(text: &str) -> Result<Design, Error> {
        let lower = text.to_ascii_lowercase().replace(['-', '_'], " ");
        let long: Vec<&str> = lower
            .split_whitespace()
            .map(|word| match word {
                "prob" => "probability",
                "att" => "attention",
                other => other,
            })
            .collect();
        let name = long.join(" ");
        Design::ALL
            .into_iter()
            .find(|design| design.name() == name)
            .ok_or_else(|| words::unknown("design", text.trim(), Design::ALL.map(Design::name)))
    }
}

impl From<Design> for String {
    fn from(design: Design) -> String {
        design.name().to_owned()
    }
}

impl TryFrom<String> for Design {
    type Error = Error;

    fn try_from(text: String) -> Result<Design, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_codes_are_distinct() {
        for (i, design) in Design::ALL.into_iter().enumerate() {
            assert_eq!(design.name().parse(), Ok(design));
            assert_eq!(design.label().parse(), Ok(design), "labels read back too");
            assert_eq!(serde_json::to_string(&design).unwrap(), format!("\"{design}\""));
            assert_eq!(usize::from(design.code()), i + 1);
            assert_eq!(design.flipped().flipped(), design);
            assert_ne!(design.flipped().direction(), design.direction());
        }
    }

    #[test]
    fn other_spellings() {
        for text in ["attention apart", "att-apart", "Attention_Apart", " att  apart "] {
            assert_eq!(text.parse(), Ok(Design::AttentionApart), "{text:?}");
        }
        assert_eq!("prob closer".parse(), Ok(Design::ProbabilityCloser));
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        let error = "attention part".parse::<Design>().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "unknown design \"attention part\"; did you mean \"attention apart\"? \
                 valid designs: probability closer, "
            ),
            "{error}"
        );
        let error = "heat".parse::<Design>().unwrap_err().to_string();
        assert!(error.starts_with("unknown design \"heat\"; valid designs"), "{error}");
    }
}
