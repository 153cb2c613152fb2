//! What an edge of a search space may be (SPEC 8), by the settings of all edges and its own.

use std::fmt::Display;

use ktg_graph::{Design, Gate, Output, Transfer, edge_name};

use crate::Error;
use crate::settings::{EdgeChoice, EdgeSettings, SearchSettings};

/// What an edge chooses from; each list has a choice, none twice. A label edge has no designs.
pub(crate) struct EdgeChoices {
    pub source: Option<usize>,
    pub target: usize,
    pub designs: Vec<Design>,
    pub gates: Vec<Gate>,
    pub resize: bool,
}

/// What an edge may be; `own` are its own settings.
pub(crate) fn edge_choices(
    source: Option<usize>,
    target: usize,
    own: Option<&EdgeSettings>,
    settings: &SearchSettings,
) -> Result<EdgeChoices, Error> {
    let name = edge_name(source, target);
    let error = |reason: &str| Error::Setting(format!("`search.edges`, edge \"{name}\": {reason}"));
    let of_graph = |e: ktg_graph::Error| error(&e.to_string());
    let is_label = source.is_none();
    let choice = match own {
        None => EdgeChoice::default(),
        Some(EdgeSettings::Fixed(text)) if is_label || text.trim().eq_ignore_ascii_case(Gate::Cutoff.name()) => {
            EdgeChoice { gates: Some(vec![text.parse().map_err(of_graph)?]), ..EdgeChoice::default() }
        }
        Some(EdgeSettings::Fixed(text)) => {
            let transfer: Transfer = text.parse().map_err(of_graph)?;
            EdgeChoice {
                designs: Some(vec![transfer.design]),
                gates: Some(vec![transfer.gate]),
                resize: transfer.resize,
            }
        }
        Some(EdgeSettings::Choice(choice)) if choice.designs.is_some() && is_label => {
            return Err(error("a label edge has gates but no designs"));
        }
        Some(EdgeSettings::Choice(choice)) if choice.resize && is_label => {
            return Err(error("a label edge has no attention maps to resize; leave `resize` out"));
        }
        Some(EdgeSettings::Choice(choice)) => choice.clone(),
    };
    let own_list = |list: &str| format!("`search.edges`, edge \"{name}\": `{list}`");
    let designs = match choice.designs {
        Some(own) => checked(own, &own_list("designs"))?,
        None => checked(settings.designs.clone(), "`search.designs`")?,
    };
    let gates = match choice.gates {
        Some(own) => checked(own, &own_list("gates"))?,
        None if is_label => checked(settings.label_gates.clone(), "`search.label_gates`")?,
        None => checked(settings.gates.clone(), "`search.gates`")?,
    };
    if choice.resize && !designs.iter().any(|design| design.reads(Output::AttentionMap)) {
        return Err(error("none of its designs reads attention maps, which `resize` is about; leave it out"));
    }
    Ok(EdgeChoices { source, target, designs, gates, resize: choice.resize || settings.resize })
}

/// A list of choices, which messages call `list`: there is one, and none twice.
fn checked<T: PartialEq + Display>(choices: Vec<T>, list: &str) -> Result<Vec<T>, Error> {
    if choices.is_empty() {
        return Err(Error::Setting(format!("{list} is empty: there is nothing to choose from")));
    }
    match first_repeated(&choices) {
        Some(choice) => Err(Error::Setting(format!("{list} names \"{choice}\" twice"))),
        None => Ok(choices),
    }
}

/// Adds a choice to a list that lacks it.
pub(crate) fn add_new<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// The first that was there before.
pub(crate) fn first_repeated<T: PartialEq>(all: &[T]) -> Option<&T> {
    all.iter().enumerate().find(|(i, one)| all[..*i].contains(one)).map(|(_, one)| one)
}
