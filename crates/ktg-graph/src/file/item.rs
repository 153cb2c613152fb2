//! Structured text whose parts know their lines: what TOML and JSON have in common.
//!
//! Both syntaxes are read into [`Item`]s first, so that there is one reader of graphs and one set of
//! messages.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::Error;
use crate::words;

/// A value and the line on which it begins (`None` if it does not come from a text).
#[derive(Debug)]
pub(super) struct Item {
    pub line: Option<usize>,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    Number(f64),
    Null,
    List(Vec<Item>),
    Table(Vec<Field>),
    /// Something that no file of ours contains, described for a message.
    Other(&'static str),
}

/// A key with its value, and the line of the key.
#[derive(Debug)]
pub(super) struct Field {
    pub key: String,
    pub line: Option<usize>,
    pub item: Item,
}

impl Item {
    /// The kind of value, for messages such as "expected a table, found text".
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Null => "null",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }

    fn expected(&self, origin: &str, what: &str, kind: &str) -> Error {
        Error::new(format!("{what} must be {kind}, not {}", self.kind())).at(origin, self.line)
    }

    pub fn table(&self, origin: &str, what: &str) -> Result<&[Field], Error> {
        match &self.value {
            Value::Table(fields) => Ok(fields),
            _ => Err(self.expected(origin, what, "a table of keys and values")),
        }
    }

    pub fn list(&self, origin: &str, what: &str) -> Result<&[Item], Error> {
        match &self.value {
            Value::List(items) => Ok(items),
            _ => Err(self.expected(origin, what, "a list")),
        }
    }

    pub fn text(&self, origin: &str, what: &str) -> Result<&str, Error> {
        match &self.value {
            Value::Text(text) if text.trim().is_empty() => {
                Err(Error::new(format!("{what} is empty")).at(origin, self.line))
            }
            Value::Text(text) => Ok(text),
            _ => Err(self.expected(origin, what, "a text in quotes")),
        }
    }

    pub fn bool(&self, origin: &str, what: &str) -> Result<bool, Error> {
        match &self.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.expected(origin, what, "true or false")),
        }
    }
}

/// The value of a key, if the table has it.
pub(super) fn get<'a>(fields: &'a [Field], key: &str) -> Option<&'a Item> {
    fields.iter().find(|field| field.key == key).map(|field| &field.item)
}

/// Fails on a key that is not in the list or comes twice. (TOML itself forbids the latter.)
pub(super) fn check_keys(fields: &[Field], origin: &str, valid: &[&str]) -> Result<(), Error> {
    for field in fields {
        if !valid.contains(&field.key.as_str()) {
            let error = words::unknown("key", &field.key, valid.iter().copied());
            return Err(error.at(origin, field.line));
        }
    }
    check_unique(fields, origin)
}

/// Fails on a key that comes twice.
pub(super) fn check_unique(fields: &[Field], origin: &str) -> Result<(), Error> {
    let mut seen = std::collections::HashSet::new();
    for field in fields {
        if !seen.insert(&field.key) {
            let message = format!("key {:?} is written twice; remove one", field.key);
            return Err(Error::new(message).at(origin, field.line));
        }
    }
    Ok(())
}

/// From anything that serde reads, without lines.
impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(AnyValue)?;
        Ok(Item { line: None, value })
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a graph")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, item)) = map.next_entry()? {
            fields.push(Field { key, line: None, item });
        }
        Ok(Value::Table(fields))
    }
}
