//! The functions that pickles may call.

use super::globals::Global;
use super::machine::{Machine, damaged};
use super::tensor::{Storage, Tensor};
use super::value::{Id, Problem, Value};

impl<'a> Machine<'a> {
    /// A class or function by its name.
    pub fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let known = Global::of(module, name).ok_or_else(|| Problem::Refused(format!("{module}.{name}")))?;
        self.push(Value::Global(known))
    }

    /// What `("storage", type, key, device, count)` refers to. Before PyTorch 1.6, there was a view behind it, or None.
    pub fn storage(&self, id: Id) -> Result<Storage<'a>, Problem> {
        let &[what, kind, key, _device, count, ref view @ ..] = self.items(id)? else {
            return Err(damaged("its pickle refers to something that is no storage"));
        };
        if view.iter().any(|view| !matches!(self.value(*view), Value::Plain)) {
            return Err(Problem::Refused("a storage that is a view of another".to_owned()));
        }
        if self.as_text(what)? != "storage" {
            return Err(damaged("its pickle refers to something that is no storage"));
        }
        let kind = match self.value(kind) {
            Value::Global(Global::Storage(kind)) => Some(*kind),
            Value::Global(Global::Bytes) => None,
            _ => return Err(damaged("a storage in its pickle has no type")),
        };
        Ok(Storage { key: self.as_text(key)?, kind, count: self.size(count)? })
    }

    /// Calls a function with its arguments, that is: makes what it would give.
    pub fn call(&mut self) -> Result<(), Problem> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let &Value::Global(function) = self.value(function) else {
            return Err(damaged("its pickle calls something that is no function"));
        };
        // No function has more; a long list that is the arguments of many calls would be copied for each.
        let arguments: Vec<Id> = self.items(arguments)?.iter().take(9).copied().collect();
        let value = match (function, &arguments[..]) {
            (Global::Dictionary, []) => Value::Dictionary(Vec::new()),
            (Global::Dictionary, [content]) => match self.value(*content) {
                // The entries go over to the new dictionary: nobody else has the old one.
                Value::Dictionary(_) => {
                    let content = *content as usize;
                    std::mem::replace(&mut self.values[content], Value::Plain)
                }
                _ => return Err(damaged("its pickle makes a dictionary of something else")),
            },
            (Global::Size, [sizes]) => {
                self.items(*sizes)?;
                self.push_again(*sizes);
                return Ok(());
            }
            (Global::Parameter, [tensor, ..]) if matches!(self.value(*tensor), Value::Tensor(_)) => {
                self.push_again(*tensor);
                return Ok(());
            }
            (Global::Tensor, [storage, offset, shape, strides, rest @ ..]) => {
                self.check_metadata(rest.get(2))?;
                self.tensor(*storage, None, [*offset, *shape, *strides])?
            }
            (Global::TensorOfBytes, [storage, offset, shape, strides, _, _, kind, rest @ ..]) => {
                self.check_metadata(rest.first())?;
                self.tensor(*storage, Some(*kind), [*offset, *shape, *strides])?
            }
            _ => return Err(damaged("its pickle calls a function with other arguments than it has")),
        };
        self.push(value)
    }

    /// Tensors may be kept negated or conjugated, and say so in a dictionary.
    fn check_metadata(&self, metadata: Option<&Id>) -> Result<(), Problem> {
        match metadata.map(|id| self.value(*id)) {
            None | Some(Value::Plain) => Ok(()),
            Some(Value::Dictionary(entries)) if entries.is_empty() => Ok(()),
            Some(_) => Err(Problem::Refused("a tensor that is kept negated or conjugated".to_owned())),
        }
    }

    /// A view of a storage; `kind` is the type of its numbers where the storage has none.
    fn tensor(&self, storage: Id, kind: Option<Id>, view: [Id; 3]) -> Result<Value<'a>, Problem> {
        let &Value::Storage(storage) = self.value(storage) else {
            return Err(damaged("a tensor in its pickle has no storage"));
        };
        let kind = match kind.map(|kind| self.value(kind)) {
            None => storage.kind,
            Some(Value::Global(Global::Kind(kind))) => {
                Some(*kind).filter(|_| storage.kind.is_none_or(|of| of == *kind))
            }
            Some(_) => None,
        };
        let kind = kind.ok_or_else(|| damaged("a tensor in its pickle has no type"))?;
        let [offset, shape, strides] = view;
        let (offset, shape, strides) = (self.size(offset)?, self.sizes(shape)?, self.sizes(strides)?);
        let tensor = Tensor::new(storage, kind, offset, shape, strides).map_err(Problem::Damaged)?;
        Ok(Value::Tensor(Box::new(tensor)))
    }
}
