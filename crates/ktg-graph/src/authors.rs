//! What the authors' published code calls losses, gates and networks, and what that is here.
//!
//! Their `config.json` and their studies have different names for the same things, and networks in different case
//! (`resnet20_abn`, `ResNet20_ABN`), so case does not matter.

use crate::design::{Design, Direction};
use crate::error::Error;
use crate::gate::Gate;
use crate::words;

/// Newer code of their group says which way a linear gate goes.
const GATES: [(&str, Gate); 6] = [
    ("ThroughGate", Gate::Through),
    ("CutoffGate", Gate::Cutoff),
    ("LinearGate", Gate::Linear),
    ("CorrectGate", Gate::Correct),
    ("PositiveLinearGate", Gate::Linear),
    ("NegativeLinearGate", Gate::Falling),
];

/// A loss of transfer edges.
pub(crate) struct TransferLoss {
    /// Its name in a `config.json`.
    pub name: &'static str,
    /// How its names in a study begin; a letter for each part follows, `_P` for closer or `_N` for apart.
    study: &'static str,
    /// Each knowledge that it is about, and the flag in a `config.json` that says in which direction.
    parts: &'static [(&'static str, &'static str)],
}

const PROBABILITY: (&str, &str) = ("probability", "soft_loss_positive");
const ATTENTION: (&str, &str) = ("attention", "att_loss_positive");

const TRANSFER_LOSSES: [TransferLoss; 3] = [
    TransferLoss { name: "KLLoss", study: "KLLoss", parts: &[PROBABILITY] },
    TransferLoss { name: "AttLoss", study: "AttLoss", parts: &[ATTENTION] },
    TransferLoss { name: "KL_AttLoss", study: "KL_Att", parts: &[PROBABILITY, ATTENTION] },
];

impl TransferLoss {
    /// The loss of this name in a `config.json`.
    pub fn of_config(name: &str) -> Result<&'static TransferLoss, Error> {
        let losses = TRANSFER_LOSSES.each_ref().map(|loss| (loss.name, loss));
        look_up("loss name", name, losses)
    }

    /// Its design, where `direction` says what a flag means.
    pub fn design(&self, mut direction: impl FnMut(&str) -> Result<Direction, Error>) -> Result<Design, Error> {
        let directions = self.parts.iter().map(|(_, flag)| direction(flag)).collect::<Result<Vec<_>, _>>()?;
        self.with_directions(&directions)
    }

    /// Its design if each part has this direction.
    fn with_directions(&self, directions: &[Direction]) -> Result<Design, Error> {
        let word = |direction: &Direction| match direction {
            Direction::Closer => "closer",
            Direction::Apart => "apart",
        };
        if let [first, second] = directions
            && first == second
        {
            return format!("both {}", word(first)).parse();
        }
        let terms = self.parts.iter().zip(directions);
        let terms: Vec<String> = terms.map(|((knowledge, _), way)| format!("{knowledge} {}", word(way))).collect();
        terms.join(" + ").parse()
    }

    /// Its names in a study, and the designs that they mean.
    fn study_names(&self) -> Result<Vec<(String, Design)>, Error> {
        let ways = [("_P", Direction::Closer), ("_N", Direction::Apart)];
        let mut names = vec![(self.study.to_owned(), Vec::new())];
        for _ in self.parts {
            let longer = names.iter().flat_map(|(name, directions)| {
                ways.map(|(letter, direction)| (format!("{name}{letter}"), [&directions[..], &[direction]].concat()))
            });
            names = longer.collect();
        }
        names.into_iter().map(|(name, directions)| Ok((name, self.with_directions(&directions)?))).collect()
    }
}

/// Whether a model is the ensemble node, which is implied here.
pub fn is_ensemble(name: &str) -> bool {
    name.eq_ignore_ascii_case("Ensemble")
}

/// Whether a loss is that of label edges, by its name in a `config.json` or in a study.
pub fn is_label_loss(name: &str) -> bool {
    ["IndependentLoss", "IndepLoss"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The gate that they call so.
///
/// # Errors
/// If there is none.
pub fn gate(name: &str) -> Result<Gate, Error> {
    look_up("gate", name, GATES)
}

/// The design of the loss that their studies call so.
///
/// # Errors
/// If there is none.
pub fn design_in_study(name: &str) -> Result<Design, Error> {
    // Studies of DCL only have a loss that brings closer.
    let mut names = vec![("KLLoss".to_owned(), "probability closer".parse()?)];
    for loss in &TRANSFER_LOSSES {
        names.extend(loss.study_names()?);
    }
    look_up("loss name", name, names)
}

/// The architecture that they call so.
///
/// # Errors
/// If there is none.
pub fn architecture(name: &str) -> Result<String, Error> {
    look_up("network", name, networks())
}

/// The networks and our names of them. Those for 224 and for 32 pixels have different depths, but one name.
fn networks() -> Vec<(String, String)> {
    let large = ["18", "34", "50"].map(|depth| (depth, "resnet"));
    let small = ["20", "32", "44", "56", "110"].map(|depth| (depth, "resnet-cifar"));
    let mut networks = Vec::new();
    for (depth, family) in large.into_iter().chain(small) {
        networks.push((format!("resnet{depth}_abn"), format!("abn-{family}-{depth}")));
        networks.push((format!("resnet{depth}"), format!("{family}-{depth}")));
    }
    networks.push(("resnet18_vanilla".to_owned(), "resnet-18".to_owned()));
    networks
}

/// What stands in a table for a name.
fn look_up<T>(kind: &str, name: &str, table: impl IntoIterator<Item = (impl AsRef<str>, T)>) -> Result<T, Error> {
    let mut names = Vec::new();
    for (known, value) in table {
        if known.as_ref().eq_ignore_ascii_case(name) {
            return Ok(value);
        }
        names.push(known);
    }
    Err(words::unknown(kind, name, names.iter().map(AsRef::as_ref)))
}
