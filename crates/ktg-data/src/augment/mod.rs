//! What happens to an image between the data set and the network.

mod affine;
mod color;
mod crop;
pub(crate) mod cutmix;
mod geometry;
pub(crate) mod mixup;
mod pipeline;
mod policy;
mod settings;
mod step;

pub use crop::{CropBox, random_resized_crop_box};
pub use pipeline::Pipeline;
pub use policy::{Adjustment, AugmentationSpace, MAGNITUDES, Operation, color_jitter};
pub use settings::{Augment, Normalization, Preset, Transform};
pub use step::Step;
