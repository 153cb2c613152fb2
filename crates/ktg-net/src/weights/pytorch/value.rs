//! What a pickle is about.

use super::globals::Global;
use super::tensor::{Storage, Tensor};

/// A value's number.
pub(super) type Id = u32;

/// A key and its value.
pub(super) type Entry = (Id, Id);

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// None, a truth value, a fraction, bytes: nothing that a tensor is made of.
    Plain,
    Number(i64),
    Text(&'a str),
    /// A list or tuple.
    Sequence(Vec<Id>),
    Dictionary(Vec<Entry>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Box<Tensor<'a>>),
}

/// Why a pickle is not read.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is no pickle, or not a whole one: what is wrong.
    Damaged(String),
    /// It holds something else: its name.
    Refused(String),
}

/// The values of a pickle.
pub(super) struct Pickle<'a> {
    pub values: Vec<Value<'a>>,
    /// The value that it is about.
    pub root: Id,
}

impl<'a> Pickle<'a> {
    /// A value.
    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// All storages that it names.
    pub fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(*storage),
            _ => None,
        })
    }

    /// The entries of a value, if it is a dictionary.
    pub fn dictionary(&self, id: Id) -> Option<&[Entry]> {
        match self.value(id) {
            Value::Dictionary(entries) => Some(entries),
            _ => None,
        }
    }
}
