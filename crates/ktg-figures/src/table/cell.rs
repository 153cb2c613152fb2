//! What stands in a table.

use crate::clean::{clean, rounded};

/// What a cell says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// Words.
    Text(String),
    /// One number.
    Number {
        /// The number.
        value: f64,
        /// Digits shown behind the point.
        decimals: usize,
    },
    /// The mean over repeated runs.
    Mean {
        /// The mean.
        mean: f64,
        /// The standard deviation; a single run has none.
        sd: Option<f64>,
        /// Over how many runs.
        n: usize,
        /// Digits shown behind the point.
        decimals: usize,
    },
    /// There is no value, for this reason.
    Missing(String),
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What it says.
    pub(super) content: Content,
    /// Whether it stands out, usually as the best in its column.
    pub(super) emphasized: bool,
    /// A remark about this value, shown below the table.
    pub(super) footnote: Option<String>,
}

impl Cell {
    /// A cell of words.
    pub fn text(text: impl Into<String>) -> Self {
        Cell::of(Content::Text(text.into()))
    }

    /// A number, shown with so many digits behind the point.
    pub fn number(value: f64, decimals: usize) -> Self {
        Cell::of(Content::Number { value, decimals })
    }

    /// The mean over `n` runs ± its standard deviation, both shown with so many digits behind the point.
    pub fn mean(mean: f64, sd: Option<f64>, n: usize, decimals: usize) -> Self {
        Cell::of(Content::Mean { mean, sd, n, decimals })
    }

    /// No value, and why: `"2 of 5 runs"` shows as "missing: 2 of 5 runs".
    pub fn missing(reason: impl Into<String>) -> Self {
        Cell::of(Content::Missing(reason.into()))
    }

    fn of(content: Content) -> Self {
        Cell { content, emphasized: false, footnote: None }
    }

    /// The same cell, emphasized.
    pub fn emphasized(self) -> Self {
        Cell { emphasized: true, ..self }
    }

    /// The same cell with a remark below the table.
    pub fn footnote(self, note: impl Into<String>) -> Self {
        Cell { footnote: Some(note.into()), ..self }
    }

    /// What people read in place of a value.
    pub(super) fn reason(&self) -> Option<String> {
        match &self.content {
            Content::Missing(reason) if reason.trim().is_empty() => Some("missing".to_owned()),
            Content::Missing(reason) => Some(format!("missing: {}", clean(reason))),
            _ => None,
        }
    }

    /// What it says, for people: words or the number, and the standard deviation that belongs behind a ±.
    pub(super) fn words(&self) -> (String, Option<String>) {
        match &self.content {
            Content::Text(text) => (clean(text), None),
            Content::Number { value, decimals } => (number(*value, *decimals), None),
            Content::Mean { mean, sd, decimals, .. } => (number(*mean, *decimals), sd.map(|sd| number(sd, *decimals))),
            Content::Missing(_) => (self.reason().unwrap_or_default(), None),
        }
    }

    /// What it says on one line.
    pub(super) fn line(&self) -> String {
        match self.words() {
            (mean, Some(sd)) => format!("{mean} ± {sd}"),
            (words, None) => words,
        }
    }

    /// Whether it shows a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.content, Content::Number { .. } | Content::Mean { .. })
    }
}

/// A number for people.
fn number(value: f64, decimals: usize) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_owned();
    }
    rounded(value, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_for_people() {
        let shown = [(71.405, 1), (-0.004, 2), (-0.005001, 2), (f64::NAN, 2), (f64::NEG_INFINITY, 2), (12.0, 0)];
        let shown = shown.map(|(value, decimals)| Cell::number(value, decimals).line());
        assert_eq!(shown, ["71.4", "0.00", "-0.01", "NaN", "-∞", "12"]);
    }

    #[test]
    fn cells_read_as_a_person_would_write_them() {
        assert_eq!(Cell::mean(71.4, Some(0.351), 5, 2).line(), "71.40 ± 0.35");
        assert_eq!(Cell::mean(71.4, None, 1, 2).line(), "71.40");
        assert_eq!(Cell::missing("2 of\n5 runs").line(), "missing: 2 of 5 runs");
        assert_eq!(Cell::missing(" ").line(), "missing");
    }
}
