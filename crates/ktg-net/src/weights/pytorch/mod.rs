//! Files that `torch.save` writes: a zip archive of a pickle, which says what there is, and of the tensors' numbers.
//!
//! A pickle is a program for a stack machine that may call any function of Python. The [`pickle`] here is only read for what a
//! dictionary of tensors needs; anything else is refused by its name.

mod calls;
mod globals;
mod machine;
mod pickle;
mod read;
mod tensor;
mod value;
mod zip;

pub(super) use read::{is_for, read};
