//! The part of Python's pickle format, versions 2 to 5, that plain data and tensors need (Lib/pickletools.py describes it).
//!
//! A pickle is a list of instructions for a machine with a stack and a memo. Here the instructions that call functions know those
//! of [`Global`](super::globals::Global) only, and make data of them; nothing is executed. Values refer to each other by number, so that a pickle in
//! which a list holds itself, or one list many times, costs no more than its bytes.

use super::machine::{Machine, damaged, pairs};
use super::value::{Pickle, Problem, Value};

/// The longest pickle that is read: the names of a large network's tensors take a hundred kilobytes.
const MOST_BYTES: usize = 32 << 20;

/// Reads a pickle.
///
/// # Errors
///
/// If it is damaged, or names anything that is not a [`Global`](super::globals::Global).
pub(super) fn load(bytes: &[u8]) -> Result<Pickle<'_>, Problem> {
    if bytes.len() > MOST_BYTES {
        return Err(damaged(&format!("its pickle is longer than {MOST_BYTES} bytes")));
    }
    load_first(bytes).map(|(pickle, _)| pickle)
}

/// Reads the pickle that bytes begin with, and says how long it is.
///
/// # Errors
///
/// As for [`load`].
pub(super) fn load_first(bytes: &[u8]) -> Result<(Pickle<'_>, usize), Problem> {
    let mut machine = Machine::new(&bytes[..bytes.len().min(MOST_BYTES)]);
    while machine.step()? {}
    let (root, length) = (machine.pop()?, machine.read());
    Ok((Pickle { values: machine.values, root }, length))
}

impl Machine<'_> {
    /// Does one instruction; false at the end.
    fn step(&mut self) -> Result<bool, Problem> {
        let [instruction] = self.array()?;
        match instruction {
            // PROTO, FRAME: the version, and the length of a part.
            0x80 => {
                let [version] = self.array()?;
                if !(2..=5).contains(&version) {
                    return Err(Problem::Refused(format!("pickle version {version}")));
                }
            }
            0x95 => _ = self.array::<8>()?,
            // STOP
            b'.' => return Ok(false),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.mark(),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            b'2' => {
                let top = self.top()?;
                self.push_again(top);
            }
            // NONE, NEWTRUE, NEWFALSE, BINFLOAT
            b'N' | 0x88 | 0x89 => self.push(Value::Plain)?,
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Plain)?;
            }
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Number(number.into()))?;
            }
            b'K' => {
                let [number] = self.array()?;
                self.push(Value::Number(number.into()))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Number(number.into()))?;
            }
            0x8a => {
                let length = self.length::<1>()?;
                self.long(length)?;
            }
            0x8b => {
                let length = self.length::<4>()?;
                self.long(length)?;
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.plain_bytes::<1>()?,
            b'B' => self.plain_bytes::<4>()?,
            0x8e | 0x96 => self.plain_bytes::<8>()?,
            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_DICT
            b']' | b')' => self.push(Value::Sequence(Vec::new()))?,
            b'}' => self.push(Value::Dictionary(Vec::new()))?,
            // LIST and TUPLE; TUPLE1 to TUPLE3
            b'l' | b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items))?;
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(instruction - 0x84))?;
                self.push(Value::Sequence(items))?;
            }
            // DICT
            b'd' => {
                let entries = pairs(self.pop_to_mark()?)?;
                self.push(Value::Dictionary(entries))?;
            }
            // APPEND, APPENDS, SETITEM, SETITEMS
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let entry = self.pop_many(2)?;
                self.set(entry)?;
            }
            b'u' => {
                let entries = self.pop_to_mark()?;
                self.set(entries)?;
            }
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' => {
                let [key] = self.array()?;
                self.get(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.get(key)?;
            }
            b'q' => {
                let [key] = self.array()?;
                self.put(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.put(key)?;
            }
            0x94 => self.memoize()?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let (module, name) = (self.as_text(names[0])?, self.as_text(names[1])?);
                self.global(module, name)?;
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            // REDUCE
            b'R' => self.call()?,
            // BUILD: what was set on an `OrderedDict`, such as `_metadata`.
            b'b' => {
                self.pop()?;
                let top = self.top()?;
                if !matches!(self.value(top), Value::Dictionary(_)) {
                    return Err(damaged("something is set on a value that is no dictionary"));
                }
            }
            other => return Err(damaged(&format!("its pickle has the unknown instruction {other:#04x}"))),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::pytorch::value::Value;

    /// Whether a pickle of one view of a storage of four numbers is read.
    fn is_read(offset: i64, shape: &[i64], strides: &[i64]) -> bool {
        let number = |number: &i64| [&[0x8a, 8][..], &number.to_le_bytes()].concat();
        let tuple =
            |numbers: &[i64]| [b"(".to_vec(), numbers.iter().flat_map(number).collect(), b"t".to_vec()].concat();
        let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ";
        let arguments = [b"(".to_vec(), storage.to_vec(), number(&offset), tuple(shape), tuple(strides), b"t".to_vec()];
        let bytes = [b"\x80\x02ctorch._utils\n_rebuild_tensor\n".to_vec(), arguments.concat(), b"R.".to_vec()].concat();
        match load(&bytes) {
            Ok(pickle) => matches!(pickle.value(pickle.root), Value::Tensor(_)),
            Err(Problem::Damaged(_)) => false,
            Err(Problem::Refused(what)) => panic!("{what}"),
        }
    }

    #[test]
    fn views_must_be_within_their_storage() {
        assert!(
            is_read(0, &[2, 2], &[2, 1])
                && is_read(0, &[2, 2], &[1, 2])
                && is_read(3, &[], &[])
                && is_read(1, &[3], &[1])
        );
        assert!(is_read(i64::MAX, &[0, 3], &[3, 1]), "an empty tensor is nowhere");
        assert!(!is_read(0, &[2, 2], &[3, 1]) && !is_read(1, &[2, 2], &[2, 1]) && !is_read(4, &[], &[]));
        assert!(!is_read(0, &[5], &[0]), "expanded");
        for large in [i64::MAX, i64::MAX / 2, 1 << 32, 1 << 62] {
            assert!(!is_read(large, &[1], &[1]) && !is_read(0, &[2], &[large]) && !is_read(0, &[large, 4], &[0, 0]));
            assert!(!is_read(0, &[large, large, large], &[1, 1, 1]) && !is_read(large, &[2, 2], &[large, large]));
        }
        assert!(!is_read(-1, &[1], &[1]) && !is_read(0, &[-1], &[1]) && !is_read(1, &[2], &[-1]));
        assert!(!is_read(0, &[2, 2], &[1]));
        assert!(is_read(0, &[1; 64], &[1; 64]) && !is_read(0, &[1; 65], &[1; 65]));
    }

    #[test]
    fn names_are_refused_whichever_way_they_are_written() {
        for bytes in [&b"\x80\x02cos\nsystem\n."[..], b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93."] {
            assert!(matches!(load(bytes), Err(Problem::Refused(what)) if what == "os.system"));
        }
        // What makes objects, or takes them from tables and buffers.
        for instruction in [b'i', b'o', 0x81, 0x92, 0x82, 0x97, b'P', b'S', b'V'] {
            assert!(matches!(load(&[0x80, 2, b')', b')', instruction, b'.']), Err(Problem::Damaged(_))));
        }
        assert!(matches!(load(b"\x80\x06N."), Err(Problem::Refused(what)) if what == "pickle version 6"));
    }

    #[test]
    fn lists_may_hold_themselves() {
        let pickle = load(b"\x80\x02]q\x00h\x00a}q\x01(h\x01h\x01u.").ok().unwrap();
        assert_eq!(pickle.dictionary(pickle.root).unwrap(), [(pickle.root, pickle.root)]);
        for bytes in
            [&b""[..], b"\x80\x02", b".", b"a.", b"u.", b"(.", b"R.", b"Q.", b"h\x00.", b"K\x01Q.", b"NNR.", b"}Ns."]
        {
            assert!(matches!(load(bytes), Err(Problem::Damaged(_))), "{bytes:?}");
        }
    }
}
