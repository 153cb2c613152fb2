//! TOML and JSON text to [`Item`]s.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::item::{Field, Item, Value};
use crate::error::Error;

/// Tables within tables beyond this depth are not looked into; graph files need three, the authors'
/// configuration files six. It bounds the recursion on a hostile file.
const MAX_DEPTH: usize = 32;

/// Byte offsets to line numbers.
struct Lines {
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Lines {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The line of a byte, counted from 1.
    fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

/// Reads TOML.
pub(super) fn toml(text: &str, origin: &str) -> Result<Item, Error> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| lines.at(span.start));
        Error::new(format!("this is not valid TOML: {}", ktg_base::toml_message(&error))).at(origin, line)
    })?;
    Ok(Item { line: Some(1), value: Value::Table(toml_fields(table.get_ref(), &lines, 1)) })
}

fn toml_fields(table: &DeTable<'_>, lines: &Lines, depth: usize) -> Vec<Field> {
    let mut entries: Vec<_> = table.iter().collect();
    // The parser sorts by key; in the order of the file, the first of several errors is the one that
    // a reader meets first.
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
        .into_iter()
        .map(|(key, value)| Field {
            key: key.get_ref().to_string(),
            line: Some(lines.at(key.span().start)),
            item: toml_item(value, lines, depth),
        })
        .collect()
}

fn toml_item(value: &Spanned<DeValue<'_>>, lines: &Lines, depth: usize) -> Item {
    let Range { start, .. } = value.span();
    let value = match value.get_ref() {
        _ if depth > MAX_DEPTH => Value::Other("a table nested that deeply"),
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        // Nothing in a graph is a number; that it is one is all that a message needs.
        DeValue::Integer(_) | DeValue::Float(_) => Value::Number(f64::NAN),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.iter().map(|item| toml_item(item, lines, depth + 1)).collect()),
        DeValue::Table(table) => Value::Table(toml_fields(table, lines, depth + 1)),
    };
    Item { line: Some(lines.at(start)), value }
}

/// Reads JSON.
pub(super) fn json(text: &str, origin: &str) -> Result<Item, Error> {
    let json = Json { text, lines: Lines::of(text) };
    json.parse::<&RawValue>(text).and_then(|raw| json.item(raw, 0)).map_err(|error| error.at_origin(origin))
}

/// A JSON text, of which `RawValue`s are pieces.
struct Json<'a> {
    text: &'a str,
    lines: Lines,
}

/// A syntax error and its line.
struct SyntaxError(String, usize);

impl SyntaxError {
    fn at_origin(self, origin: &str) -> Error {
        Error::new(format!("this is not valid JSON: {}", self.0)).at(origin, Some(self.1))
    }
}

impl<'a> Json<'a> {
    /// The line on which a piece of the text begins.
    fn line(&self, piece: &str) -> usize {
        let offset = piece.as_ptr().addr() - self.text.as_ptr().addr();
        self.lines.at(offset)
    }

    fn parse<T: Deserialize<'a>>(&self, piece: &'a str) -> Result<T, SyntaxError> {
        serde_json::from_str(piece).map_err(|error| {
            let line = self.line(piece) + error.line().saturating_sub(1);
            let message = error.to_string();
            // serde_json adds its own position, which counts from the beginning of the piece.
            let message = message.split(" at line ").next().unwrap_or_default();
            SyntaxError(message.to_owned(), line)
        })
    }

    fn item(&self, raw: &'a RawValue, depth: usize) -> Result<Item, SyntaxError> {
        let piece = raw.get();
        let value = match piece.as_bytes().first() {
            _ if depth > MAX_DEPTH => Value::Other("a table nested that deeply"),
            Some(b'{') => Value::Table(self.fields(piece, depth)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = self.parse(piece)?;
                let items = items.into_iter().map(|item| self.item(item, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::Text(self.parse(piece)?),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => Value::Number(self.parse(piece)?),
        };
        Ok(Item { line: Some(self.line(piece)), value })
    }

    fn fields(&self, piece: &'a str, depth: usize) -> Result<Vec<Field>, SyntaxError> {
        let Entries(entries) = self.parse(piece)?;
        let mut fields = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            fields.push(Field {
                key: self.parse(key.get())?,
                line: Some(self.line(key.get())),
                item: self.item(value, depth + 1)?,
            });
        }
        Ok(fields)
    }
}

/// The entries of a JSON object in order, equal keys included.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllEntries;

        impl<'de> Visitor<'de> for AllEntries {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(AllEntries)
    }
}
