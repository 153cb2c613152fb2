//! Kinds of knowledge: what a network can pass on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a transfer edge can pull closer or push apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Knowledge {
    /// The class probabilities of single images (thesis eq. 1 and 2).
    Probability,
    /// The attention map around the source's peak (thesis eq. 3 and 4).
    Attention,
    /// How class probabilities correlate within an image and between images (not in the thesis).
    Relation,
}

/// The output of a network that a knowledge is read from, and where its gradient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The logits of the classes.
    Logits,
    /// The attention map.
    AttentionMap,
}

/// How a knowledge is written, and where it comes from.
struct Row {
    /// In files and messages. It is also the key of the knowledge's loss in metrics: never change one.
    name: &'static str,
    /// As good as the name where files are read.
    abbreviation: &'static str,
    /// In pictures.
    label: &'static str,
    output: Output,
}

impl Knowledge {
    /// All kinds, in the order in which designs list them. A new one comes last: the numbers of designs in the hashed
    /// encoding of graphs depend on the order.
    pub const ALL: [Knowledge; 3] = [Knowledge::Probability, Knowledge::Attention, Knowledge::Relation];

    fn row(self) -> Row {
        use Output::{AttentionMap, Logits};
        let (name, abbreviation, label, output) = match self {
            Knowledge::Probability => ("probability", "prob", "Prob", Logits),
            Knowledge::Attention => ("attention", "att", "Attention", AttentionMap),
            Knowledge::Relation => ("relation", "rel", "Relation", Logits),
        };
        Row { name, abbreviation, label, output }
    }

    /// The name used in files and messages, such as `"probability"`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The short name used in pictures, such as `"Prob"`.
    pub(crate) fn label(self) -> &'static str {
        self.row().label
    }

    /// The output that it is read from.
    pub fn output(self) -> Output {
        self.row().output
    }

    /// The knowledge of this name or abbreviation, in small letters.
    pub(crate) fn of_word(word: &str) -> Option<Knowledge> {
        Knowledge::ALL.into_iter().find(|knowledge| {
            let Row { name, abbreviation, .. } = knowledge.row();
            word == name || word == abbreviation
        })
    }
}

impl fmt::Display for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn designs_find_a_knowledge_at_its_place() {
        for (i, knowledge) in Knowledge::ALL.into_iter().enumerate() {
            assert_eq!(knowledge as usize, i);
            assert_eq!(Knowledge::of_word(knowledge.name()), Some(knowledge));
            assert_eq!(serde_json::to_string(&knowledge).unwrap(), format!("\"{knowledge}\""), "the key in metrics");
        }
    }
}
