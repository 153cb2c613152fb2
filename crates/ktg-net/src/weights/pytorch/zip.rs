//! Zip archives without compression, as `torch.save` writes them (APPNOTE.TXT 6.3.10, with zip64).

use std::collections::BTreeMap;

/// The files in an archive, by name.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, Entry>,
}

/// What the directory at the end of an archive says of a file.
struct Entry {
    is_encrypted: bool,
    /// 0: its bytes are stored as they are.
    method: usize,
    size: usize,
    /// Where its local header begins, which its bytes follow.
    header: usize,
}

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const LOCATOR_64_LENGTH: usize = 20;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;

/// Whether bytes begin as those of an archive do.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL)
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    ///
    /// What is damaged.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let (count, start) =
            directory(bytes).ok_or("the directory at the end of the file is missing: it is cut off")?;
        let mut entries = BTreeMap::new();
        let mut at = start;
        for _ in 0..count {
            let (name, entry, next) = entry(bytes, at).ok_or("the directory at the end of the file is damaged")?;
            if entries.insert(name, entry).is_some() {
                return Err(format!("there are two files `{name}` in it"));
            }
            at = next;
        }
        Ok(Self { bytes, entries })
    }

    /// The names of all files, in their order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.entries.keys().copied()
    }

    /// The bytes of a file; `None` if there is none of this name.
    ///
    /// # Errors
    ///
    /// If it is compressed, encrypted or damaged.
    pub fn get(&self, name: &str) -> Result<Option<&'a [u8]>, String> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if entry.is_encrypted {
            return Err(format!("`{name}` in it is encrypted"));
        }
        if entry.method != 0 {
            let method = entry.method;
            return Err(format!("`{name}` in it is compressed (method {method}), which torch.save does not do"));
        }
        let content = content(self.bytes, entry).ok_or_else(|| format!("`{name}` in it is cut off"))?;
        Ok(Some(content))
    }
}

/// A little-endian number of `N` bytes at most eight; `None` if it is not there, or too large for this machine.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    u64::from_le_bytes(wide).try_into().ok()
}

/// Whether these bytes are at that place.
fn has(bytes: &[u8], at: usize, signature: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(signature))
}

/// How many files the directory lists, and where it begins.
fn directory(bytes: &[u8]) -> Option<(usize, usize)> {
    let last = bytes.len().checked_sub(END_LENGTH)?;
    // A comment of up to 65,535 bytes may follow.
    let first = last.saturating_sub(usize::from(u16::MAX));
    let end = (first..=last).rev().find(|at| has(bytes, *at, END))?;
    let locator = end.checked_sub(LOCATOR_64_LENGTH).filter(|at| has(bytes, *at, LOCATOR_64));
    let Some(locator) = locator else {
        return Some((number::<2>(bytes, end + 10)?, number::<4>(bytes, end + 16)?));
    };
    let end = number::<8>(bytes, locator + 8)?;
    if !has(bytes, end, END_64) {
        return None;
    }
    Some((number::<8>(bytes, end.checked_add(32)?)?, number::<8>(bytes, end.checked_add(48)?)?))
}

/// The entry of the directory at that place: a name, what is said of the file, and where the next entry begins.
fn entry(bytes: &[u8], at: usize) -> Option<(&str, Entry, usize)> {
    if !has(bytes, at, ENTRY) {
        return None;
    }
    let [name_length, extra_length, comment_length] =
        [number::<2>(bytes, at + 28)?, number::<2>(bytes, at + 30)?, number::<2>(bytes, at + 32)?];
    let extra_at = at + ENTRY_LENGTH + name_length;
    let name = str::from_utf8(bytes.get(at + ENTRY_LENGTH..extra_at)?).ok()?;
    let extra = bytes.get(extra_at..extra_at + extra_length)?;
    // In this order, those of the 32-bit numbers that are all ones are in the zip64 field instead.
    let mut wide = zip64_numbers(extra);
    let mut or_wide = |at| match number::<4>(bytes, at)? {
        0xffff_ffff => wide.next(),
        small => Some(small),
    };
    let size = or_wide(at + 24)?;
    let _packed_size = or_wide(at + 20)?;
    let header = or_wide(at + 42)?;
    let is_encrypted = number::<2>(bytes, at + 8)? & 1 != 0;
    let entry = Entry { is_encrypted, method: number::<2>(bytes, at + 10)?, size, header };
    Some((name, entry, extra_at + extra_length + comment_length))
}

/// The numbers of the zip64 field among the extra fields.
fn zip64_numbers(extra: &[u8]) -> impl Iterator<Item = usize> {
    let mut rest = extra;
    let mut found: &[u8] = &[];
    while let (Some(kind), Some(length)) = (number::<2>(rest, 0), number::<2>(rest, 2)) {
        let Some(field) = rest.get(4..4 + length) else { break };
        if kind == 1 {
            found = field;
        }
        rest = &rest[4 + length..];
    }
    found.as_chunks::<8>().0.iter().map_while(|bytes| number::<8>(bytes, 0))
}

/// The bytes of a file. Where they begin, only the local header says: PyTorch moves them to multiples of 64 bytes by an extra field
/// that the directory does not have.
fn content<'a>(bytes: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    if !has(bytes, entry.header, LOCAL) {
        return None;
    }
    let lengths = number::<2>(bytes, entry.header + 26)? + number::<2>(bytes, entry.header + 28)?;
    let start = entry.header + LOCAL_LENGTH + lengths;
    bytes.get(start..start.checked_add(entry.size)?)
}
