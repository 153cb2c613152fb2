//! The one error of this crate: a sentence, and where in which file it applies.

use std::fmt;

/// Something wrong with a graph, displayed as `FILE:LINE: message`.
///
/// The message says what is wrong and what to do about it. A graph that did not come from a file
/// has no place to point at, and then the message stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Place(.origin.as_deref(), *.line))]
pub struct Error {
    origin: Option<String>,
    line: Option<usize>,
    message: String,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Error { origin: None, line: None, message: message.into() }
    }

    pub(crate) fn at(self, origin: &str, line: Option<usize>) -> Self {
        Error { origin: Some(origin.to_owned()), line, ..self }
    }

    /// The file (or other source of the text) as given to the parser.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The line in the file, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The sentence without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The `FILE:LINE: ` in front of a message, as far as it is known.
struct Place<'a>(Option<&'a str>, Option<usize>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(origin), Some(line)) => write!(f, "{origin}:{line}: "),
            (Some(origin), None) => write!(f, "{origin}: "),
            (None, Some(line)) => write!(f, "line {line}: "),
            (None, None) => Ok(()),
        }
    }
}
