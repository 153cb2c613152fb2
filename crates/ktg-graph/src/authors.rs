//! What the authors' published code calls losses, gates and networks, and what that is here.
//!
//! Their `config.json` and their studies have different names for the same things, and networks in different case
//! (`resnet20_abn`, `ResNet20_ABN`), so case does not matter.

use crate::design::{Design, Direction, Term};
use crate::error::Error;
use crate::gate::Gate;
use crate::graph::Graph;
use crate::knowledge::{Knowledge, Output};
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
    parts: &'static [(Knowledge, &'static str)],
}

const PROBABILITY: (Knowledge, &str) = (Knowledge::Probability, "soft_loss_positive");
const ATTENTION: (Knowledge, &str) = (Knowledge::Attention, "att_loss_positive");

const TRANSFER_LOSSES: [TransferLoss; 3] = [
    TransferLoss { name: "KLLoss", study: "KLLoss", parts: &[PROBABILITY] },
    TransferLoss { name: "AttLoss", study: "AttLoss", parts: &[ATTENTION] },
    TransferLoss { name: "KL_AttLoss", study: "KL_Att", parts: &[PROBABILITY, ATTENTION] },
];

impl TransferLoss {
    /// The loss of this name in a `config.json`.
    pub fn of_config(name: &str) -> Result<&'static TransferLoss, Error> {
        look_up("loss name", name, TRANSFER_LOSSES.each_ref().map(|loss| (loss.name, loss)))
    }

    /// Its design, where `direction` says what a flag means.
    pub fn design(&self, mut direction: impl FnMut(&str) -> Result<Direction, Error>) -> Result<Design, Error> {
        let term =
            |(knowledge, flag): &(Knowledge, &str)| Ok(Term { knowledge: *knowledge, direction: direction(flag)? });
        Design::new(self.parts.iter().map(term).collect::<Result<Vec<Term>, Error>>()?)
    }

    /// Its names in a study, and the designs that they mean.
    fn study_names(&self) -> impl Iterator<Item = (String, Design)> {
        let has_parts =
            |design: &Design| design.terms().map(|term| term.knowledge).eq(self.parts.iter().map(|part| part.0));
        let letter = |term: Term| if term.direction == Direction::Closer { "_P" } else { "_N" };
        let name = move |design: Design| self.study.to_owned() + &design.terms().map(letter).collect::<String>();
        Design::all().into_iter().filter(has_parts).map(move |design| (name(design), design))
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
    // The studies of DCL only have a loss that brings closer.
    let of_dcl = ("KLLoss".to_owned(), Design::PROBABILITY_CLOSER);
    let others = TRANSFER_LOSSES.iter().flat_map(TransferLoss::study_names);
    look_up("loss name", name, std::iter::once(of_dcl).chain(others))
}

/// The architecture that they call so.
///
/// # Errors
/// If there is none.
pub fn architecture(name: &str) -> Result<String, Error> {
    look_up("network", name, networks())
}

/// What to say of a graph of theirs in which attention edges meet a plain ResNet for photos, whose map their code crops
/// otherwise.
pub fn crops_note(graph: &Graph) -> Option<&'static str> {
    let is_plain = |node: usize| PLAIN_FOR_PHOTOS.contains(&graph.nodes()[node].architecture.as_str());
    let mut attention = graph.active_transfers().filter(|(_, _, transfer)| transfer.design.reads(Output::AttentionMap));
    let note = "a plain ResNet's attention map has 7 x 7 pixels, of which the authors' code compares crops of 3, 5 and 7; \
                for the same, set `crop_sizes = [3, 5, 7]` under [loss] of the experiment file";
    attention.any(|(source, target, _)| is_plain(source) || is_plain(target)).then_some(note)
}

const PLAIN_FOR_PHOTOS: [&str; 3] = ["resnet-18", "resnet-34", "resnet-50"];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_of_their_studies_has_a_design() {
        for (theirs, ours) in [
            ("KLLoss", "probability closer"),
            ("KLLoss_P", "probability closer"),
            ("KLLoss_N", "probability apart"),
            ("AttLoss_P", "attention closer"),
            ("AttLoss_N", "attention apart"),
            ("KL_Att_P_P", "both closer"),
            ("KL_Att_N_N", "both apart"),
            ("KL_Att_P_N", "probability closer + attention apart"),
            ("KL_Att_N_P", "probability apart + attention closer"),
        ] {
            assert_eq!(design_in_study(theirs).map(|design| design.to_string()), Ok(ours.to_owned()));
        }
        let error = design_in_study("KL_Att_P").unwrap_err().to_string();
        assert!(error.starts_with("unknown loss name \"KL_Att_P\"; did you mean "), "{error}");
        for name in ["IndepLoss", "KL_AttLoss", "", "AttLoss"] {
            assert!(design_in_study(name).is_err(), "{name}");
        }
    }
    #[test]
    fn only_attention_on_a_plain_resnet_for_photos_is_cropped_otherwise() {
        for (architecture, design, is_noted) in [
            ("resnet-18", "both closer", true),
            ("resnet-18", "probability apart + attention closer", true),
            ("resnet-18", "probability closer", false),
            ("abn-resnet-18", "both closer", false),
            ("resnet-cifar-20", "attention apart", false),
        ] {
            let mut graph = Graph::new(vec![crate::Node::new(architecture); 2]);
            let transfer = crate::Transfer::new(design.parse().unwrap(), Gate::Through);
            graph.set_transfer(0, 1, Some(transfer));
            assert_eq!(crops_note(&graph).is_some(), is_noted, "{architecture}, {design}");
        }
    }
}
