//! What `torch.save` wrote before PyTorch 1.6, and many published weights still are: pickles one behind the other, of a number that marks
//! the format, its version, the machine, the content and the names of the storages; then the storages themselves, each with its length
//! before it.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::machine::damaged;
use super::pickle::load_first;
use super::tensor::width;
use super::value::{Pickle, Problem, Value};

/// The only version of the format.
const VERSION: i64 = 1001;

/// What is in a file.
pub(super) struct OldFile<'a> {
    /// Its content.
    pub pickle: Pickle<'a>,
    /// The bytes of the storages, by their names.
    pub storages: HashMap<&'a str, &'a [u8]>,
}

impl<'a> OldFile<'a> {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it is damaged, was written on a big-endian machine, or holds other things than plain data and tensors.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        let mut at = 0;
        let mut next = || -> Result<(Pickle<'a>, &'a [u8]), Problem> {
            let (pickle, length) = load_first(&bytes[at..])?;
            let text = &bytes[at..at + length];
            at += length;
            Ok((pickle, text))
        };
        next()?;
        let (version, _) = next()?;
        if !matches!(version.value(version.root), Value::Number(VERSION)) {
            return Err(Problem::Refused("another version of PyTorch's format before 1.6".to_owned()));
        }
        let (_, machine) = next()?;
        if is_big_endian(machine) {
            return Err(Problem::Refused("big-endian numbers".to_owned()));
        }
        let (pickle, _) = next()?;
        let (names, _) = next()?;
        let storages = storages(&pickle, &names, &bytes[at..])?;
        Ok(Self { pickle, storages })
    }
}

/// Whether the description of the machine says so: `"little_endian"`, perhaps the instruction that remembers the text (two bytes or
/// five), and `False`.
fn is_big_endian(description: &[u8]) -> bool {
    const KEY: &[u8] = b"little_endian";
    const FALSE: u8 = 0x89;
    let key = description.windows(KEY.len()).position(|part| part == KEY);
    key.is_some_and(|at| {
        let behind = &description[at + KEY.len()..];
        let value = match behind.first() {
            Some(b'q') => behind.get(2),
            Some(b'r') => behind.get(5),
            Some(0x94) => behind.get(1),
            first => first,
        };
        value == Some(&FALSE)
    })
}

/// Where each storage is, in the order of the names.
fn storages<'a>(
    pickle: &Pickle<'a>,
    names: &Pickle<'a>,
    bytes: &'a [u8],
) -> Result<HashMap<&'a str, &'a [u8]>, Problem> {
    let kinds: HashMap<&str, Option<Dtype>> = pickle.storages().map(|storage| (storage.key, storage.kind)).collect();
    let Value::Sequence(names_of_storages) = names.value(names.root) else {
        return Err(damaged("the names of its storages are no list"));
    };
    let (mut found, mut rest) = (HashMap::new(), bytes);
    for name in names_of_storages {
        let Value::Text(name) = *names.value(*name) else { return Err(damaged("the name of a storage is no text")) };
        let kind = kinds.get(name).ok_or_else(|| damaged(&format!("storage `{name}` is of no tensor")))?;
        let cut_off = || damaged(&format!("storage `{name}` is cut off"));
        let (count, behind) = rest.split_first_chunk::<8>().ok_or_else(cut_off)?;
        let length = usize::try_from(i64::from_le_bytes(*count)).ok();
        let length = length.and_then(|count| count.checked_mul(kind.map_or(1, width))).ok_or_else(cut_off)?;
        let (storage, behind) = behind.split_at_checked(length).ok_or_else(cut_off)?;
        found.insert(name, storage);
        rest = behind;
    }
    Ok(found)
}
