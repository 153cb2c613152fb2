//! What several crates need and none of them is about: files written whole, names of files, words of commands, sentences about
//! texts, and random numbers that are functions of what they are for.

pub mod files;
pub mod names;
pub mod random;
pub mod text;

pub use files::{FileError, NewFile, create_dir_all, read_text, sync_parent, write_atomically, write_synced};
pub use names::{edge_name, shell_word, slug, study_file_name};
pub use text::{first_difference, line_of_key, toml_message, toml_problem};
