//! The steps of an augmentation pipeline, as they stand in a settings file.

use super::policy::{MAGNITUDES, Operation};
use serde::{Deserialize, Serialize};

/// One step of a pipeline. Steps may be written in a settings file:
///
/// ```toml
/// train = [
///     { step = "random-resized-crop", scale = [0.3, 1.0] },
///     { step = "horizontal-flip" },
/// ]
/// eval = [{ step = "resize", size = 256 }, { step = "center-crop" }]
/// ```
///
/// A `size` that is left out is the side of the network's input. All resizing is bilinear with
/// antialiasing, as torchvision does it on Pillow images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Cut out a random rectangle (see [`random_resized_crop_box`](crate::random_resized_crop_box))
    /// and resize it to `size` x `size`.
    RandomResizedCrop {
        /// Side of the result.
        size: Option<usize>,
        /// Least and greatest share of the area. Default 0.08 to 1.
        #[serde(default = "default_scale")]
        scale: [f64; 2],
        /// Least and greatest width / height. Default 1 to 1.3.
        #[serde(default = "default_ratio")]
        ratio: [f64; 2],
    },
    /// Resize so that the shorter side becomes `size`.
    Resize {
        /// The shorter side of the result.
        size: Option<usize>,
    },
    /// Resize to `size` x `size`, whatever the image's proportions.
    Stretch {
        /// Side of the result.
        size: Option<usize>,
    },
    /// Keep the whole image: resize it so that its longer side becomes `size`, in the middle of a square of one color, as
    /// Pillow's `ImageOps.pad`.
    Pad {
        /// Side of the result.
        size: Option<usize>,
        /// The color, 0 to 255, one value a channel. Default: black.
        #[serde(skip_serializing_if = "Option::is_none")]
        fill: Option<Vec<u8>>,
    },
    /// Cut out the middle, `size` x `size`; what reaches beyond the image is black.
    CenterCrop {
        /// Side of the result.
        size: Option<usize>,
    },
    /// Add a black border of `padding` pixels and cut out a random `size` x `size`. An image that
    /// is still too small gets a wider border.
    RandomCrop {
        /// Side of the result.
        size: Option<usize>,
        /// Width of the border. Default 0.
        #[serde(default)]
        padding: usize,
    },
    /// Mirror left and right with probability `p`.
    HorizontalFlip {
        /// Probability. Default 0.5.
        #[serde(default = "default_flip")]
        p: f64,
    },
    /// Change brightness, contrast, saturation and hue by random factors in random order, as torchvision's
    /// `ColorJitter`. Grey images have no saturation and hue.
    ColorJitter {
        /// The factor is between 1 - `brightness` (at least 0) and 1 + `brightness`. Default 0 (unchanged).
        #[serde(default)]
        brightness: f64,
        /// As `brightness`.
        #[serde(default)]
        contrast: f64,
        /// As `brightness`.
        #[serde(default)]
        saturation: f64,
        /// The hue turns by up to so much of the colour circle, both ways. 0 to 0.5, default 0.
        #[serde(default)]
        hue: f64,
    },
    /// Make a square around a random pixel black (DeVries & Taylor, "Improved regularization of convolutional neural
    /// networks with cutout", 2017). It may reach beyond the border.
    Cutout {
        /// Side of the square, in pixels of the image that this step gets. The paper takes 16 for CIFAR-10, 8 for
        /// CIFAR-100.
        size: usize,
        /// Probability. Default 1.
        #[serde(default = "default_cutout")]
        p: f64,
    },
    /// Some random operations (see [`Operation`](crate::Operation)) of the same strength, one after the other, as
    /// torchvision's `RandAugment` with nearest sampling on black (Cubuk et al., 2020).
    RandAugment {
        /// How many. 1 to 14, default 2.
        #[serde(default = "default_operations")]
        operations: usize,
        /// How strong. 0 to 30, default 9.
        #[serde(default = "default_magnitude")]
        magnitude: usize,
    },
    /// One random operation of random strength, as torchvision's `TrivialAugmentWide` with nearest sampling on black
    /// (Müller & Hutter, 2021).
    TrivialAugment {},
    /// Subtract `mean`, divide by `std`, channel by channel (values before are in 0..=1). Must be
    /// the last step.
    #[serde(rename = "normalise")]
    Normalize {
        /// One value a channel.
        mean: Vec<f32>,
        /// One value a channel.
        std: Vec<f32>,
    },
}

/// A larger input side, padding or intermediate size is a slip of the pen.
pub(super) const MAX_SIDE: usize = 8192;

impl Step {
    /// The size of the result where the step sets it: `default`, if it is left out.
    pub(super) fn size(&self, default: usize) -> Option<usize> {
        match self {
            Self::RandomResizedCrop { size, .. }
            | Self::Resize { size }
            | Self::Stretch { size }
            | Self::Pad { size, .. }
            | Self::CenterCrop { size }
            | Self::RandomCrop { size, .. } => Some(size.unwrap_or(default)),
            _ => None,
        }
    }

    /// What number is out of range for images of so many channels, if one is.
    pub(super) fn problem(&self, channels: usize) -> Option<String> {
        if let Some(size) = self.size(1).filter(|size| !(1..=MAX_SIDE).contains(size)) {
            return Some(format!("a size of {size}; it must be 1 to {MAX_SIDE}"));
        }
        let rises = |[low, high]: [f64; 2], most: f64| low > 0.0 && low <= high && high <= most;
        let is_probability = |p: f64| (0.0..=1.0).contains(&p);
        let is_amount = |amount: f64| (0.0..f64::INFINITY).contains(&amount);
        Some(match *self {
            Self::RandomResizedCrop { scale, .. } if !rises(scale, 1.0) => {
                format!("scale = {scale:?}; it must be two rising numbers above 0, at most 1")
            }
            Self::RandomResizedCrop { ratio, .. } if !rises(ratio, f64::MAX) => {
                format!("ratio = {ratio:?}; it must be two rising numbers above 0")
            }
            Self::RandomCrop { padding, .. } if padding > MAX_SIDE => {
                format!("a padding of {padding}; at most {MAX_SIDE} is possible")
            }
            Self::Pad { fill: Some(ref fill), .. } if fill.len() != channels => {
                format!("pad with fill = {fill:?} for images of {channels} channel(s); it takes one value a channel")
            }
            Self::HorizontalFlip { p } if !is_probability(p) => {
                format!("a flip probability of {p}; it must be 0 to 1")
            }
            Self::ColorJitter { brightness, contrast, saturation, hue } => {
                let amounts = [("brightness", brightness), ("contrast", contrast), ("saturation", saturation)];
                match amounts.into_iter().find(|&(_, amount)| !is_amount(amount)) {
                    Some((name, amount)) => {
                        format!("color-jitter with {name} = {amount}; it must be a number of 0 or more")
                    }
                    None if (0.0..=0.5).contains(&hue) => return None,
                    None => format!("color-jitter with hue = {hue}; it must be 0 to 0.5"),
                }
            }
            Self::Cutout { size: 0, .. } => "a cutout of size 0; it must be at least 1 pixel".into(),
            Self::Cutout { p, .. } if !is_probability(p) => format!("a cutout probability of {p}; it must be 0 to 1"),
            Self::RandAugment { operations, .. } if !(1..=Operation::ALL.len()).contains(&operations) => {
                format!("rand-augment with operations = {operations}; it must be 1 to 14")
            }
            Self::RandAugment { magnitude, .. } if magnitude >= MAGNITUDES => {
                format!("rand-augment with magnitude = {magnitude}; it must be 0 to 30")
            }
            Self::Normalize { ref mean, ref std }
                if !(mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0)) =>
            {
                format!("mean = {mean:?}, std = {std:?}; they must be finite, std above 0")
            }
            _ => return None,
        })
    }
}

pub(crate) fn default_scale() -> [f64; 2] {
    [0.08, 1.0]
}

pub(crate) fn default_ratio() -> [f64; 2] {
    [1.0, 1.3]
}

pub(crate) fn default_flip() -> f64 {
    0.5
}

fn default_cutout() -> f64 {
    1.0
}

fn default_operations() -> usize {
    2
}

fn default_magnitude() -> usize {
    9
}
