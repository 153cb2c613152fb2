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

mod augment;
mod batch;
mod cache;
mod classes;
mod dataset;
mod decode;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod inputs;
mod inspect;
mod lines;
mod loader;
mod order;
mod pack_file;
mod parallel;
mod random;
pub mod sources;
mod split_file;
mod splits;

pub use augment::{
    Adjustment, Augment, AugmentationSpace, CropBox, MAGNITUDES, Normalization, Operation, Pipeline, Preset, Step,
    Transform, color_jitter, random_resized_crop_box,
};
pub use batch::{Batch, Mixed};
pub use dataset::Dataset;
pub use decode::{Image, MAX_PIXELS};
pub use error::{BadImage, Error};
pub use inputs::read_inputs;
pub use inspect::{Duplicate, Inspection};
pub use ktg_base::random::ChaCha8Rng;
pub use loader::{Loader, LoaderConfig};
pub use order::{balanced_order, epoch_order, stratified_split};
pub use random::{Purpose, rng};
pub use sources::{DataSource, PackSummary, SourceKind, pack};
pub use split_file::SplitFile;
pub use splits::Splits;
