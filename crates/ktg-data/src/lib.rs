//! Data for knowledge transfer graphs: data sets, stratified splits, augmentation and a batch
//! loader.
//!
//! The crate knows no tensors. From settings to batches:
//!
//! 1. [`DataSource`] (settings) `.open()` gives [`Splits`]: one [`Dataset`] each for training, test and,
//!    if wanted, validation.
//! 2. [`Dataset::check`] decodes every image once, so that a broken file is known before training.
//! 3. [`Augment`] (settings) becomes a [`Transform`]: one [`Pipeline`] for training, one for evaluation.
//! 4. [`Loader`] decodes and augments ahead on worker threads and yields a [`Batch`] at a time.
//!
//! All randomness is counter based ([`rng`]): what a sample looks like depends on the seed, the
//! epoch and the sample, never on the number of threads or on what was drawn before.
//!
//! ```
//! use ktg_data::*;
//! # fn main() -> Result<(), ktg_data::Error> {
//! let splits = DataSource::default().open(std::path::Path::new("."))?; // the built-in Fashion-MNIST subset
//! let train = splits.train.take_per_class(20);
//! let transform = Transform::new(&Augment::preset(Preset::Cifar), 28, train.channels())?;
//! let order = epoch_order(train.len(), 1, 0, true);
//! let config = LoaderConfig { batch_size: 16, ..LoaderConfig::new(transform.train) };
//! for batch in Loader::new(&train, config, order)? {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), batch.labels.len() * 28 * 28);
//! }
//! # Ok(()) }
//! ```

mod affine;
mod augment;
mod builtin;
mod cache;
mod cifar;
mod colour;
mod crop;
mod cub;
mod dataset;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod idx;
mod image;
mod inspect;
mod jpeg;
mod list;
mod loader;
mod mat;
mod mixup;
mod official;
mod order;
mod pack;
mod panics;
mod parallel;
mod pipeline;
mod policy;
mod random;
mod source;
mod split_file;
mod splits;
mod stanford_cars;
mod stanford_dogs;
mod step;

pub use augment::{Augment, Preset, Transform};
pub use crop::{CropBox, random_resized_crop_box};
pub use dataset::{BadImage, Dataset};
pub use error::Error;
pub use image::{Image, MAX_PIXELS};
pub use inspect::{Duplicate, Inspection};
pub use ktg_base::random::ChaCha8Rng;
pub use loader::{Batch, Loader, LoaderConfig};
pub use mixup::Mixed;
pub use order::{epoch_order, stratified_split};
pub use pack::{PackSummary, pack};
pub use pipeline::Pipeline;
pub use policy::{Adjustment, AugmentationSpace, MAGNITUDES, Operation, color_jitter};
pub use random::{Purpose, rng};
pub use source::{DataSource, SOURCES, Source};
pub use split_file::SplitFile;
pub use splits::Splits;
pub use step::Step;
