//! Files that `torch.save` writes: a zip archive of a pickle, which says what there is, and of the tensors' numbers; before PyTorch 1.6,
//! both one behind the other.
//!
//! A pickle is a program for a stack machine that may call any function of Python. The [`pickle`] here is only read for what a
//! dictionary of tensors needs; anything else is refused by its name.

mod calls;
mod globals;
mod machine;
mod old;
mod pickle;
mod read;
mod tensor;
mod value;
mod zip;

pub(super) use read::{is_for, read};
