//! Gates: the weight of an edge's loss.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::words;

/// How much a sample's loss on an edge counts (the G of thesis eq. 6).
///
/// The weights apply to the losses of single samples; their mean is then taken over the whole batch,
/// whatever the weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Gate {
    /// Always 1.
    Through,
    /// Always 0: the edge is cut, its loss need not be computed.
    Cutoff,
    /// Rises from almost 0 to 1 over the whole training.
    Linear,
    /// 1 for samples that the source classifies correctly, otherwise 0.
    Correct,
    /// Falls from almost 1 to 0 over the whole training (not in the thesis).
    Falling,
}

impl Gate {
    /// All gates, in the order in which they are listed for people.
    pub const ALL: [Gate; 5] = [Gate::Through, Gate::Cutoff, Gate::Linear, Gate::Correct, Gate::Falling];

    /// The gates of the thesis, in the order in which studies list them as choices.
    pub const THESIS: [Gate; 4] = [Gate::Through, Gate::Cutoff, Gate::Linear, Gate::Correct];

    /// Name in files and messages, the number in the hashed encoding of graphs (never reuse or change one), and whether the
    /// weight moves with the training.
    fn row(self) -> (&'static str, u8, bool) {
        match self {
            Gate::Through => ("through", 1, false),
            Gate::Cutoff => ("cutoff", 2, false),
            Gate::Linear => ("linear", 3, true),
            Gate::Correct => ("correct", 4, false),
            Gate::Falling => ("falling", 5, true),
        }
    }

    /// The name used in files and messages, such as `"through"`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn code(self) -> u8 {
        self.row().1
    }

    /// Weight of one sample's loss.
    ///
    /// `progress` is k / K at iteration k = 1..=K of the whole training, so in (0, 1];
    /// `source_correct` says whether the *source* classifies the sample correctly (the label, as a
    /// source, always does).
    pub fn weight(self, progress: f64, source_correct: bool) -> f64 {
        match self {
            Gate::Through => 1.0,
            Gate::Cutoff => 0.0,
            Gate::Linear => progress,
            Gate::Correct => f64::from(u8::from(source_correct)),
            Gate::Falling => 1.0 - progress,
        }
    }

    /// Whether the weight is 0 for all of the training, so that the edge might as well not exist. A gate whose weight only
    /// ends at 0, or is 0 for some samples, is not cut.
    pub fn is_cut(self) -> bool {
        self == Gate::Cutoff
    }

    /// Whether the weight moves with the training, so that a longer one would have had other weights all along.
    pub fn is_timed(self) -> bool {
        self.row().2
    }

    /// The gate that a label edge with this gate amounts to: the label is always correct, so a gate
    /// that asks only for correctness is [`Gate::Through`].
    pub fn on_label(self) -> Gate {
        if self == Gate::Correct { Gate::Through } else { self }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Gate {
    type Err = Error;

    /// Reads a [name](Gate::name), in any case and with blanks around it.
    fn from_str(text: &str) -> Result<Gate, Error> {
        let word = text.trim();
        Gate::ALL
            .into_iter()
            .find(|gate| gate.name().eq_ignore_ascii_case(word))
            .ok_or_else(|| words::unknown("gate", word, Gate::ALL.map(Gate::name)))
    }
}

impl From<Gate> for String {
    fn from(gate: Gate) -> String {
        gate.name().to_owned()
    }
}

impl TryFrom<String> for Gate {
    type Error = Error;

    fn try_from(text: String) -> Result<Gate, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_definitions() {
        for (gate, wrong, right) in [
            (Gate::Through, 1.0, 1.0),
            (Gate::Cutoff, 0.0, 0.0),
            (Gate::Linear, 0.25, 0.25),
            (Gate::Correct, 0.0, 1.0),
            (Gate::Falling, 0.75, 0.75),
        ] {
            assert_eq!(gate.weight(0.25, false), wrong, "{gate}");
            assert_eq!(gate.weight(0.25, true), right, "{gate}");
        }
    }

    #[test]
    fn a_falling_gate_ends_at_zero_and_is_not_cut() {
        assert_eq!(Gate::Falling.weight(1.0, true), 0.0);
        assert!(!Gate::Falling.is_cut());
        for gate in Gate::ALL {
            let weights = |right| (1..=9).map(move |k| gate.weight(f64::from(k) / 9.0, right));
            let moves = |right| weights(right).any(|weight| weight != gate.weight(1.0, right));
            assert_eq!(gate.is_timed(), moves(true) || moves(false), "{gate}");
        }
    }

    #[test]
    fn flags_agree_with_the_weights() {
        for gate in Gate::ALL {
            let is_always_zero = (1..=4).all(|k| gate.weight(f64::from(k) / 4.0, true) == 0.0);
            assert_eq!(gate.is_cut(), is_always_zero, "{gate}");
            assert_eq!(gate.on_label().weight(0.5, false), gate.weight(0.5, true), "{gate}");
        }
    }

    #[test]
    fn names_round_trip_and_codes_are_distinct() {
        for (i, gate) in Gate::ALL.into_iter().enumerate() {
            assert_eq!(gate.name().parse(), Ok(gate));
            assert_eq!(serde_json::to_string(&gate).unwrap(), format!("\"{gate}\""));
            assert_eq!(usize::from(gate.code()), i + 1);
        }
        assert_eq!(" Linear ".parse(), Ok(Gate::Linear));
    }

    /// A gate that is not in the list cannot be written in a file. The compiler asks for the arm of a new one here.
    #[test]
    fn all_gates_are_listed() {
        let next = |gate: Gate| match gate {
            Gate::Through => Some(Gate::Cutoff),
            Gate::Cutoff => Some(Gate::Linear),
            Gate::Linear => Some(Gate::Correct),
            Gate::Correct => Some(Gate::Falling),
            Gate::Falling => None,
        };
        let listed: Vec<Gate> = std::iter::successors(Some(Gate::Through), |gate| next(*gate)).collect();
        assert_eq!(listed, Gate::ALL);
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        let error = "throuh".parse::<Gate>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown gate \"throuh\"; did you mean \"through\"? \
             valid gates: through, cutoff, linear, correct, falling"
        );
    }
}
