//! The machine that pickles are programs of: its stack, its memo, and what its instructions read and take.

use std::collections::HashMap;

use super::value::{Entry, Id, Problem, Value};

/// Most values in a pickle.
const MOST_VALUES: usize = 1 << 22;
/// Most sizes of a tensor; PyTorch's limit.
const MOST_SIZES: usize = 64;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Place of the next instruction.
    at: usize,
    pub values: Vec<Value<'a>>,
    /// Of all tensors among them.
    sizes: usize,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, values: Vec::new(), sizes: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// How many bytes were read.
    pub fn read(&self) -> usize {
        self.at
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| damaged("its pickle is cut off"))?;
        self.at += count;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A length that `N` bytes tell.
    pub fn length<const N: usize>(&mut self) -> Result<usize, Problem> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N)?);
        u64::from_le_bytes(wide).try_into().map_err(|_| damaged("its pickle is cut off"))
    }

    pub fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("its pickle is cut off"))?;
        let line = self.take(length + 1)?;
        str::from_utf8(&line[..length]).map_err(|_| damaged("a name in its pickle is not UTF-8"))
    }

    pub fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        // A tensor's sizes and strides take more room than what they were made from.
        if let Value::Tensor(tensor) = &value {
            self.sizes += tensor.shape.len();
        }
        if self.values.len() + self.sizes >= MOST_VALUES {
            return Err(damaged(&format!("its pickle has more than {MOST_VALUES} values")));
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    /// Pushes a value that is there already.
    pub fn push_again(&mut self, id: Id) {
        self.stack.push(id);
    }

    pub fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    /// Takes the topmost value above the last mark.
    pub fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The topmost value above the last mark.
    pub fn top(&self) -> Result<Id, Problem> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        self.stack[bottom..].last().copied().ok_or_else(|| damaged("its pickle takes more than there is"))
    }

    /// Takes so many values; the topmost comes last.
    pub fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(values)
    }

    /// Takes the values above the last mark, and the mark.
    pub fn pop_to_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let mark = self.marks.pop().ok_or_else(|| damaged("its pickle takes more than there is"))?;
        Ok(self.stack.split_off(mark))
    }

    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub fn as_text(&self, id: Id) -> Result<&'a str, Problem> {
        match self.value(id) {
            Value::Text(text) => Ok(text),
            _ => Err(damaged("its pickle has something else where a name is expected")),
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self, id: Id) -> Result<&[Id], Problem> {
        match self.value(id) {
            Value::Sequence(items) => Ok(items),
            _ => Err(damaged("its pickle has something else where a tuple is expected")),
        }
    }

    /// A number from 0 up.
    pub fn size(&self, id: Id) -> Result<usize, Problem> {
        let size = match self.value(id) {
            Value::Number(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        size.ok_or_else(|| damaged("its pickle has something else where a number from 0 up is expected"))
    }

    pub fn sizes(&self, id: Id) -> Result<Vec<usize>, Problem> {
        let items = self.items(id)?;
        // No tensor has so many; a long list that many tensors share would be copied for each.
        if items.len() > MOST_SIZES {
            return Err(damaged(&format!("a tensor has more than {MOST_SIZES} sizes")));
        }
        items.iter().map(|item| self.size(*item)).collect()
    }

    /// A whole number of so many bytes. Those that do not fit into 64 bits are no sizes, so that nobody looks at them.
    pub fn long(&mut self, length: usize) -> Result<(), Problem> {
        let bytes = self.take(length)?;
        let is_negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        let value = match wide.get_mut(..length) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Number(i64::from_le_bytes(wide))
            }
            None => Value::Plain,
        };
        self.push(value)
    }

    pub fn text<const N: usize>(&mut self) -> Result<(), Problem> {
        let length = self.length::<N>()?;
        let text = str::from_utf8(self.take(length)?).map_err(|_| damaged("a text in its pickle is not UTF-8"))?;
        self.push(Value::Text(text))
    }

    pub fn plain_bytes<const N: usize>(&mut self) -> Result<(), Problem> {
        let length = self.length::<N>()?;
        self.take(length)?;
        self.push(Value::Plain)
    }

    pub fn append(&mut self, mut items: Vec<Id>) -> Result<(), Problem> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Sequence(all) => all.append(&mut items),
            _ => return Err(damaged("its pickle appends to something that is no list")),
        }
        Ok(())
    }

    pub fn set(&mut self, flat: Vec<Id>) -> Result<(), Problem> {
        let (mut entries, top) = (pairs(flat)?, self.top()?);
        match &mut self.values[top as usize] {
            Value::Dictionary(all) => all.append(&mut entries),
            _ => return Err(damaged("its pickle sets entries of something that is no dictionary")),
        }
        Ok(())
    }

    /// Remembers the topmost value.
    pub fn put(&mut self, key: u32) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    /// Remembers the topmost value under the next number.
    pub fn memoize(&mut self) -> Result<(), Problem> {
        self.put(self.memo.len() as u32)
    }

    pub fn get(&mut self, key: u32) -> Result<(), Problem> {
        let id =
            self.memo.get(&key).copied().ok_or_else(|| damaged("its pickle refers to something that is not there"))?;
        self.stack.push(id);
        Ok(())
    }
}

pub(super) fn damaged(reason: &str) -> Problem {
    Problem::Damaged(reason.to_owned())
}

/// Keys and values by turns.
pub(super) fn pairs(flat: Vec<Id>) -> Result<Vec<Entry>, Problem> {
    match flat.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(damaged("its pickle has a key without a value")),
    }
}
