//! Optuna's encodings of states, numbers and choices.

use std::fmt;

use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::connection::{Answer, Trouble, Value};

/// The state of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// A worker is at it; without a heartbeat it is paused (see [`Study::pause`](super::Study::pause)).
    Running,
    /// It has a final value.
    Complete,
    /// It was stopped as hopeless.
    Pruned,
    /// It failed, or its worker died.
    Fail,
    /// Nobody is at it yet.
    Waiting,
}

impl State {
    /// All states.
    pub const ALL: [State; 5] = [State::Running, State::Complete, State::Pruned, State::Fail, State::Waiting];

    /// The state of this name in the database.
    pub(super) fn of(name: &str) -> Answer<Self> {
        let state = State::deserialize(name.into_deserializer());
        state.map_err(|_: de::value::Error| {
            Trouble::Lasting(format!("{name:?} is not a state of a trial; the study is damaged"))
        })
    }

    /// Whether it can never change again.
    pub fn is_finished(self) -> bool {
        matches!(self, State::Complete | State::Pruned | State::Fail)
    }
}

impl fmt::Display for State {
    /// The name in the database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A number and its type, as the tables of values have them.
pub(super) fn encode(value: f64) -> (Value, &'static str) {
    match value {
        v if v.is_nan() => (Value::Null, "NAN"),
        f64::INFINITY => (Value::Null, "INF_POS"),
        f64::NEG_INFINITY => (Value::Null, "INF_NEG"),
        v => (Value::Real(v), "FINITE"),
    }
}

/// The number that the tables mean.
pub(super) fn decode(value: Option<f64>, kind: &str) -> Answer<f64> {
    match (kind, value) {
        ("FINITE", Some(v)) => Ok(v),
        ("INF_POS", _) => Ok(f64::INFINITY),
        ("INF_NEG", _) => Ok(f64::NEG_INFINITY),
        ("NAN", _) => Ok(f64::NAN),
        _ => Err(Trouble::Lasting(format!("a value has the type {kind:?} and no such number; the study is damaged"))),
    }
}

/// A number as an attribute. Python's JSON has infinities, which Rust reads as numbers.
pub(super) fn number_to_json(value: f64) -> String {
    match value {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        v if v.is_nan() => "NaN".to_owned(),
        v => json!(v).to_string(),
    }
}

/// The number that an attribute is, written by [`number_to_json`] and read by [`json`]. NaN is none.
pub(super) fn number_from_json(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => json.as_f64(),
    }
}

/// An attribute; what is not JSON (such as Python's NaN) stays a text.
pub(super) fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
}

/// `distribution_json` of a choice between texts.
pub(super) fn categorical(choices: &[String]) -> String {
    json!({"name": "CategoricalDistribution", "attributes": {"choices": choices}}).to_string()
}

/// What a distribution lets choose from; `None`: a number.
pub(super) fn choices(distribution: &str) -> Answer<Option<Vec<Json>>> {
    let mut distribution: Json = serde_json::from_str(distribution)
        .map_err(|e| Trouble::Lasting(format!("a parameter's distribution is not JSON ({e}); the study is damaged")))?;
    if distribution["name"] != "CategoricalDistribution" {
        return Ok(None);
    }
    match distribution["attributes"]["choices"].take() {
        Json::Array(choices) => Ok(Some(choices)),
        _ => Ok(Some(Vec::new())),
    }
}

/// What a parameter's row means: the choice of a categorical distribution, the number of any other.
pub(super) fn parameter(value: f64, distribution: &str) -> Answer<Json> {
    let Some(choices) = choices(distribution)? else { return Ok(json!(value)) };
    let is_index = value >= 0.0 && value.fract() == 0.0;
    let choice = is_index.then(|| choices.get(value as usize)).flatten();
    choice.cloned().ok_or_else(|| {
        Trouble::Lasting(format!("a parameter has the choice {value}, which does not exist; the study is damaged"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_index_is_a_choice() {
        let choices = categorical(&["linear".to_owned(), "cutoff".to_owned()]);
        assert_eq!(parameter(1.0, &choices).unwrap(), "cutoff");
        for value in [f64::NAN, -1.0, -0.4, 0.5, 2.0, f64::INFINITY] {
            let error = parameter(value, &choices).unwrap_err();
            assert!(matches!(&error, Trouble::Lasting(reason) if reason.contains("damaged")), "{value}: {error:?}");
        }
        assert_eq!(parameter(0.5, r#"{"name": "FloatDistribution"}"#).unwrap(), 0.5);
    }
}
