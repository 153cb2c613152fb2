//! What a graph file consists of, in TOML or JSON: keys, their values, and where each is written.

use ktg_base::toml_message;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Place};
use crate::words;

/// A key and its value.
pub(super) struct Entry {
    pub key: String,
    /// A line in TOML, a path in anything else.
    pub place: Place,
    pub value: Value,
}

pub(super) enum Value {
    Text(String),
    Bool(bool),
    Number(f64),
    List(Vec<Entry>),
    Table(Vec<Entry>),
    /// Something that no graph file contains, described for a message.
    Other(&'static str),
}

impl Value {
    /// For messages such as "must be a text in quotes, not a table".
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

impl Entry {
    /// A whole file in TOML.
    pub fn of_toml(text: &str) -> Result<Entry, Error> {
        let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let table = DeTable::parse(text).map_err(|error| {
            let message = toml_message(&error);
            let start = error.span().map_or(0, |span| span.start);
            Error::new(format!("this is not valid TOML: {message}")).at(&line_of(start, &breaks))
        })?;
        let value = table_of(table.into_inner(), "", Some(&breaks));
        Ok(Entry { key: String::new(), place: Place::Line(1), value })
    }

    /// A whole file that was not TOML: it is written as TOML, so that there is one reader, but the lines of that are
    /// nobody's.
    pub fn of_table(table: &toml::Table) -> Result<Entry, Error> {
        let text = table.to_string();
        let table = DeTable::parse(&text).map_err(|error| Error::new(error.message()))?;
        let value = table_of(table.into_inner(), "", None);
        Ok(Entry { key: String::new(), place: Place::Path(String::new()), value })
    }

    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::new(message).at(&self.place)
    }

    /// `what` names the value in the message, as in all that follow.
    pub fn must_be(&self, what: &str, kind: &str) -> Error {
        self.error(format!("{what} must be {kind}, not {}", self.value.kind()))
    }

    pub fn table(&self, what: &str) -> Result<&[Entry], Error> {
        match &self.value {
            Value::Table(entries) => Ok(entries),
            _ => Err(self.must_be(what, "a table of keys and values")),
        }
    }

    /// The entries with these keys, in this order, of a table that may have no others.
    pub fn fields<const N: usize>(&self, what: &str, keys: [&str; N]) -> Result<[Option<&Entry>; N], Error> {
        let entries = self.table(what)?;
        match entries.iter().find(|entry| !keys.contains(&entry.key.as_str())) {
            Some(entry) => Err(words::unknown("key", &entry.key, keys).at(&entry.place)),
            None => Ok(keys.map(|key| entries.iter().find(|entry| entry.key == key))),
        }
    }

    pub fn text(&self, what: &str) -> Result<&str, Error> {
        match &self.value {
            Value::Text(text) if text.trim().is_empty() => Err(self.error(format!("{what} is empty"))),
            Value::Text(text) => Ok(text),
            _ => Err(self.must_be(what, "a text in quotes")),
        }
    }

    /// A text of which `parse` makes something.
    pub fn parsed<T>(&self, what: &str, parse: fn(&str) -> Result<T, Error>) -> Result<T, Error> {
        parse(self.text(what)?).map_err(|error| error.at(&self.place))
    }
}

/// The line of a byte in a text with these line breaks.
fn line_of(start: usize, breaks: &[usize]) -> Place {
    Place::Line(1 + breaks.partition_point(|at| *at < start))
}

/// The table to which `path` leads, of a text with these line breaks if its lines are known.
fn table_of(table: DeTable<'_>, path: &str, breaks: Option<&[usize]>) -> Value {
    let mut entries: Vec<_> = table.into_iter().collect();
    // The parser sorts by key; in the order of the file, the first of several errors is the one that
    // a reader meets first.
    entries.sort_by_key(|(key, _)| key.span().start);
    let entries = entries.into_iter().map(|(spanned_key, value)| {
        let start = spanned_key.span().start;
        let key = spanned_key.into_inner().into_owned();
        let path = if path.is_empty() { key.clone() } else { format!("{path}[{key:?}]") };
        entry_of(key, value.into_inner(), path, start, breaks)
    });
    Value::Table(entries.collect())
}

/// What is written at byte `start`, and to which `path` leads.
fn entry_of(key: String, value: DeValue<'_>, path: String, start: usize, breaks: Option<&[usize]>) -> Entry {
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Table(table) => table_of(table, &path, breaks),
        DeValue::Array(items) => {
            let items = items.into_iter().enumerate().map(|(i, item)| {
                let start = item.span().start;
                entry_of(i.to_string(), item.into_inner(), format!("{path}[{i}]"), start, breaks)
            });
            Value::List(items.collect())
        }
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Integer(number) => number_of(&number.to_string()),
        DeValue::Float(number) => number_of(&number.to_string()),
    };
    let place = breaks.map_or(Place::Path(path), |breaks| line_of(start, breaks));
    Entry { key, place, value }
}

fn number_of(text: &str) -> Value {
    text.parse().map_or(Value::Other("a number"), Value::Number)
}
