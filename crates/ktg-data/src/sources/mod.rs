//! Where data comes from: the sources with their options, one a file.

mod builtin;
pub(crate) mod cifar;
pub(crate) mod class_names;
pub(crate) mod cub;
mod folder;
pub(crate) mod idx;
mod kind;
mod list;
pub(crate) mod mat;
mod official;
mod pack;
mod place;
mod settings;
pub(crate) mod stanford_cars;
pub(crate) mod stanford_dogs;
pub(crate) mod table;

pub use builtin::BuiltIn;
pub use cifar::{Cifar10, Cifar100, Labels};
pub use folder::{ENDINGS, Folder, image_files};
pub use idx::Idx;
pub use kind::SourceKind;
pub use list::List;
pub use official::Published;
pub use pack::{PackFile, PackSummary, pack};
pub use settings::DataSource;
