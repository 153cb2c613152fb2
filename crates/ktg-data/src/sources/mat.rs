//! MATLAB files of version 5 to 7.2: numbers, text, cells and structs, as the lists of Stanford Dogs and Stanford Cars.
//!
//! Written here because the crates at hand do not serve: `matfile` knows no cells and structs, `matrw` 0.1.4 refuses
//! what SciPy writes, others bind a C library. Format: MathWorks, "MAT-File Format", chapter 1.

use flate2::read::ZlibDecoder;
use std::collections::BTreeMap;
use std::io::Read;

/// A variable. Shapes are dropped: arrays are lists in the order of the file (column by column).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Numbers(Vec<f64>),
    Text(String),
    Cells(Vec<Value>),
    /// The values of each field, one for each element.
    Structs(BTreeMap<String, Vec<Value>>),
    /// Something that no data set of ours has: sparse arrays, objects, functions, text of several rows.
    Other,
}

const HEAD: usize = 128;
/// Cells within cells; a damaged file could nest as deep as it is long.
const MAX_DEPTH: usize = 16;
/// More than any list in use; a compressed variable can claim to unpack to anything.
const MAX_UNPACKED: u64 = 32 << 20;
/// Of one array of structs; each costs memory even where there are no elements.
const MAX_FIELDS: usize = 1000;

// Data types of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const INT64: u32 = 12;
const UINT64: u32 = 13;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;
const UTF16: u32 = 17;
const UTF32: u32 = 18;

/// All variables of a file by name; the error says what is wrong with it.
pub(crate) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Value>, String> {
    let Some((head, content)) = bytes.split_at_checked(HEAD) else {
        return Err("too short for a MATLAB file; it is cut off or something else".into());
    };
    if head.starts_with(b"MATLAB 7.3") || bytes.starts_with(b"\x89HDF") {
        return Err("a MATLAB 7.3 (HDF5) file; save it with `-v7` in MATLAB, or with scipy.io.savemat".into());
    }
    let big_endian = match &head[126..] {
        b"IM" => false,
        b"MI" => true,
        _ => return Err("not a MATLAB file of version 5 to 7.2".into()),
    };
    let mut variables = BTreeMap::new();
    let mut reader = Reader { bytes: content, big_endian };
    let mut budget = MAX_UNPACKED;
    while !reader.bytes.is_empty() {
        let (kind, data) = reader.element()?;
        let unpacked;
        let array = match kind {
            MATRIX => data,
            COMPRESSED => {
                unpacked = unpack(data, &mut budget)?;
                match (Reader { bytes: &unpacked, big_endian }).element()? {
                    (MATRIX, data) => data,
                    _ => return Err("damaged: a compressed variable is no array".into()),
                }
            }
            _ => continue,
        };
        let (name, value) = Reader { bytes: array, big_endian }.array(0)?;
        variables.insert(name, value);
    }
    Ok(variables)
}

fn unpack(data: &[u8], budget: &mut u64) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = ZlibDecoder::new(data).take(*budget + 1).read_to_end(&mut unpacked);
    read.map_err(|error| format!("damaged: a compressed variable cannot be unpacked ({error})"))?;
    *budget = budget.checked_sub(unpacked.len() as u64).ok_or("its variables unpack to more than 32 MiB")?;
    Ok(unpacked)
}

/// What is left of some bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or("cut off or damaged")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, String> {
        let word = self.take(4)?;
        Ok(self.integer(word) as u32)
    }

    fn integer(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    /// The type and the data of the next element, which may be packed into the eight bytes of its tag.
    fn element(&mut self) -> Result<(u32, &'a [u8]), String> {
        let word = self.word()?;
        if word >> 16 != 0 {
            let length = (word >> 16) as usize;
            let data = self.take(4)?.get(..length).ok_or("damaged: a small element of more than 4 bytes")?;
            return Ok((word & 0xFFFF, data));
        }
        let length = self.word()? as usize;
        let data = self.take(length)?;
        // Padded to eight bytes, but for compressed ones; the last may lack it.
        if word != COMPRESSED {
            self.bytes = self.bytes.get(length.next_multiple_of(8) - length..).unwrap_or_default();
        }
        Ok((word, data))
    }

    /// The content of a MATRIX element: its name and its value.
    fn array(&mut self, depth: usize) -> Result<(String, Value), String> {
        if self.bytes.is_empty() {
            return Ok((String::new(), Value::Numbers(Vec::new()))); // how an empty cell may be written
        }
        if depth > MAX_DEPTH {
            return Err("damaged: cells are nested too deeply".into());
        }
        let (_, flags) = self.element()?;
        let flags = self.integer(flags.get(..4).ok_or("damaged: an array without a class")?);
        let (_, dimensions) = self.element()?;
        let dimensions = dimensions.chunks_exact(4).map(|four| self.integer(four) as usize).collect::<Vec<_>>();
        let count = dimensions.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        let count = count.ok_or("damaged: an array of impossible size")?;
        let (_, name) = self.element()?;
        let name = String::from_utf8_lossy(name).into_owned();
        const COMPLEX: u64 = 0x800;
        let value = match flags & 0xFF {
            1 => Value::Cells(self.values(count, depth)?),
            2 => self.structs(count, depth)?,
            4 if dimensions.first().is_some_and(|&rows| rows > 1) => Value::Other,
            4 => {
                let (kind, data) = self.element()?;
                Value::Text(self.text(kind, data)?)
            }
            6..=15 if flags & COMPLEX == 0 => {
                let (kind, data) = self.element()?;
                Value::Numbers(self.numbers(kind, data)?)
            }
            _ => Value::Other,
        };
        if let Value::Numbers(numbers) = &value
            && numbers.len() != count
        {
            return Err(format!("damaged: {} numbers in an array of {count}", numbers.len()));
        }
        Ok((name, value))
    }

    /// `count` arrays one after the other.
    fn values(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, String> {
        // No capacity in advance: the count is not to be trusted, but each value takes at least eight bytes.
        (0..count).map(|_| self.value(depth)).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        match self.element()? {
            (MATRIX, data) => Ok(Reader { bytes: data, ..*self }.array(depth + 1)?.1),
            _ => Err("damaged: a cell or field is no array".into()),
        }
    }

    fn structs(&mut self, count: usize, depth: usize) -> Result<Value, String> {
        let (_, length) = self.element()?;
        let length = self.integer(length.get(..4).ok_or("damaged: a struct without field names")?) as usize;
        let (_, names) = self.element()?;
        if length == 0 || names.is_empty() {
            return Ok(Value::Other);
        }
        if names.len() / length > MAX_FIELDS {
            return Err(format!("damaged: an array of structs with more than {MAX_FIELDS} fields"));
        }
        let name = |field: &[u8]| {
            let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let names: Vec<String> = names.chunks(length).map(name).collect();
        let mut columns = vec![Vec::new(); names.len()];
        for _ in 0..count {
            for column in &mut columns {
                column.push(self.value(depth)?);
            }
        }
        Ok(Value::Structs(names.into_iter().zip(columns).collect()))
    }

    fn text(&self, kind: u32, data: &[u8]) -> Result<String, String> {
        let unit = |n: usize| data.chunks_exact(n).map(|unit| self.integer(unit));
        match kind {
            // MATLAB writes single-byte text as UTF-8, SciPy too; other bytes are shown as unknown letters.
            INT8 | UINT8 | UTF8 => Ok(String::from_utf8_lossy(data).into_owned()),
            UINT16 | UTF16 => Ok(String::from_utf16_lossy(&unit(2).map(|unit| unit as u16).collect::<Vec<_>>())),
            UTF32 | UINT32 => Ok(unit(4).map(|unit| char::from_u32(unit as u32).unwrap_or('\u{FFFD}')).collect()),
            _ => Err("damaged: text of an unknown type".into()),
        }
    }

    fn numbers(&self, kind: u32, data: &[u8]) -> Result<Vec<f64>, String> {
        let list = |size: usize, number: fn(u64) -> f64| {
            data.chunks_exact(size).map(|bytes| number(self.integer(bytes))).collect::<Vec<f64>>()
        };
        Ok(match kind {
            INT8 => list(1, |n| f64::from(n as i8)),
            UINT8 => list(1, |n| n as f64),
            INT16 => list(2, |n| f64::from(n as i16)),
            UINT16 => list(2, |n| n as f64),
            INT32 => list(4, |n| f64::from(n as i32)),
            UINT32 => list(4, |n| n as f64),
            SINGLE => list(4, |n| f64::from(f32::from_bits(n as u32))),
            DOUBLE => list(8, f64::from_bits),
            INT64 => list(8, |n| n as i64 as f64),
            UINT64 => list(8, |n| n as f64),
            _ => return Err("damaged: numbers of an unknown type".into()),
        })
    }
}

impl Value {
    /// The text of a char array.
    pub(crate) fn text(&self) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        Some(text)
    }

    /// A whole number from 0 on that is the only one of its array.
    pub(crate) fn index(&self) -> Option<usize> {
        let Self::Numbers(numbers) = self else { return None };
        let [number] = numbers[..] else { return None };
        let is_index = (0.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0;
        is_index.then_some(number as usize)
    }
}
