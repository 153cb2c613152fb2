//! The one error of this crate: a sentence, and where in which file it applies.

use std::fmt;

/// Something wrong with a graph, displayed as `FILE:LINE: message`, or in JSON as `FILE: KEYS: message`.
///
/// The message says what is wrong and what to do about it. A graph that did not come from a file
/// has no place to point at, and then the message stands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The name of the file, empty if there is none.
    origin: String,
    place: Place,
    message: String,
}

/// Where in a file something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Counted from 1.
    Line(usize),
    /// The keys that lead there, such as `edges["1 -> 2"]`, in a file whose lines are not known; none for the whole.
    Path(String),
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Error { origin: String::new(), place: Place::Path(String::new()), message: message.into() }
    }

    /// What serde_json says, at the line that it names.
    pub(crate) fn of_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
        // The values of a graph are read by `toml`, whatever the syntax of the file.
        let message = message.replace("any valid TOML value", "a text, true or false, or a table of keys and values");
        let message = if error.is_data() { message } else { format!("this is not valid JSON: {message}") };
        Error::new(message).at(&Place::Line(error.line()))
    }

    pub(crate) fn at(self, place: &Place) -> Self {
        Error { place: place.clone(), ..self }
    }

    pub(crate) fn in_file(self, origin: &str) -> Self {
        Error { origin: origin.to_owned(), ..self }
    }
}

impl Place {
    pub(crate) fn line(&self) -> Option<usize> {
        match self {
            Place::Line(line) => Some(*line),
            Place::Path(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { origin, place, message } = self;
        let (file, path) = match place {
            Place::Line(line) => (format!("{origin}:{line}"), ""),
            Place::Path(path) => (origin.clone(), path.as_str()),
        };
        for part in [&file, path].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(message)
    }
}

impl std::error::Error for Error {}
