//! Whether arrays are exactly those of a network.

use std::collections::BTreeMap;

use super::array::StateDict;
use super::error::WeightsError;
use crate::parameters::Parameter;

/// Errs unless `dict` holds arrays of exactly these names and shapes, but for `num_batches_tracked` counters, which are
/// ignored. `origin` names it in messages.
///
/// # Errors
///
/// [`WeightsError::Mismatch`], with the first three differences.
pub fn check(parameters: &[Parameter], dict: &StateDict, origin: &str) -> Result<(), WeightsError> {
    let by_name: BTreeMap<&str, &Parameter> = parameters.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut problems: Vec<String> = by_name.values().filter_map(|parameter| difference(parameter, dict)).collect();
    let is_unknown = |name: &&String| !by_name.contains_key(name.as_str()) && !is_counter(name);
    problems.extend(dict.keys().filter(is_unknown).map(|name| unknown(name)));
    if problems.is_empty() {
        return Ok(());
    }
    Err(WeightsError::Mismatch { path: origin.to_owned(), reason: first_three(&problems) })
}

/// Whether it counts the batches that batch normalization has seen: PyTorch's files have it or not, and nothing depends on it.
pub(super) fn is_counter(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

/// Why an array cannot be this parameter, if it cannot.
pub(super) fn difference(parameter: &Parameter, dict: &StateDict) -> Option<String> {
    let Parameter { name, shape, .. } = parameter;
    match dict.get(name) {
        None => Some(format!("`{name}` is missing")),
        Some(other) if other.shape != *shape => {
            Some(format!("`{name}` is {:?}, the network has {shape:?}", other.shape))
        }
        Some(_) => None,
    }
}

/// What is wrong with an array that the network has no place for.
pub(super) fn unknown(name: &str) -> String {
    format!("`{name}` is not in the network")
}

/// The first three of them, and how many more there are.
pub(super) fn first_three(all: &[String]) -> String {
    let more = all.len().saturating_sub(3);
    let first = all[..all.len().min(3)].join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
