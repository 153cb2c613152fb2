//! Augmentation settings, and the pipelines that they become for a given image side.

use super::mixup;
use super::step::{default_flip, default_ratio, default_scale};
use crate::{Error, Pipeline, Step};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A ready-made pair of pipelines, for input of side `size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Photographs. Training: random resized crop (scale 0.08 to 1, ratio 1 to 1.3), flip.
    /// Evaluation: shorter side to `size` * 256 / 224, centre crop.
    FineGrained,
    /// Small images. Training: shorter side to `size`, random crop with a border of 4 pixels, flip.
    /// Evaluation: shorter side to `size`, centre crop. Resizing and centre crop change nothing on
    /// images of that size.
    #[default]
    Cifar,
    /// Photographs, whole. Training: longer side to `size`, the rest of the square black, flip. Evaluation: the same
    /// without flip.
    Whole,
    /// Nothing random: stretch to `size` x `size` where needed.
    #[serde(alias = "resize")]
    None,
}

/// Means and standard deviations that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Those that nearly all published weights for ImageNet expect: mean (0.485, 0.456, 0.406), standard deviation (0.229,
    /// 0.224, 0.225). For grey images the means of the three, 0.449 and 0.226.
    Imagenet,
}

impl Normalization {
    /// For images of so many channels.
    fn step(self, channels: usize) -> Step {
        match (self, channels) {
            (Self::Imagenet, 1) => Step::Normalize { mean: vec![0.449], std: vec![0.226] },
            (Self::Imagenet, _) => Step::Normalize { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] },
        }
    }
}

/// Augmentation settings: a preset by name (`augment = "fine-grained"`), or a table that changes
/// one.
///
/// ```toml
/// [augment]
/// preset = "cifar"
/// flip = false
/// mean = [0.2860]
/// std = [0.3530]
/// ```
///
/// `train` and `eval` replace the preset's steps (see [`Step`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct Augment {
    /// The preset to start from.
    pub preset: Preset,
    /// Whether the preset's horizontal flip is used.
    pub flip: bool,
    /// Normalise with a mean and a standard deviation that are known by name, at the end of both pipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<Normalization>,
    /// Normalise with this mean instead, one value a channel.
    pub mean: Option<Vec<f32>>,
    /// The standard deviation that goes with `mean`.
    pub std: Option<Vec<f32>>,
    /// Mixup while training: samples are blended in shares from Beta(mixup, mixup), 0.001 to 4. Default: none.
    pub mixup: Option<f64>,
    /// CutMix while training: a box of every sample is another one's, in shares from Beta(cutmix, cutmix), 0.001 to 4. With
    /// mixup too, each batch gets one of them, by a fair draw. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
    /// Networks are judged by the mean of their logits for an image and for its mirror image. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub eval_flip: bool,
    /// Own steps for training.
    pub train: Option<Vec<Step>>,
    /// Own steps for evaluation.
    pub eval: Option<Vec<Step>>,
}

impl Default for Augment {
    fn default() -> Self {
        Self::preset(Preset::default())
    }
}

impl Augment {
    /// A preset as it is.
    pub fn preset(preset: Preset) -> Self {
        Self {
            preset,
            flip: true,
            normalize: None,
            mean: None,
            std: None,
            mixup: None,
            cutmix: None,
            eval_flip: false,
            train: None,
            eval: None,
        }
    }

    /// The preset's steps for training and for evaluation, for input of side `size`.
    fn preset_steps(&self, size: usize) -> [Vec<Step>; 2] {
        let (fit, center_crop) = (Step::Resize { size: None }, Step::CenterCrop { size: None });
        let (mut train, eval) = match self.preset {
            Preset::FineGrained => {
                let short_side = (size as f64 * 256.0 / 224.0).round() as usize;
                let crop = Step::RandomResizedCrop { size: None, scale: default_scale(), ratio: default_ratio() };
                (vec![crop], vec![Step::Resize { size: Some(short_side) }, center_crop])
            }
            Preset::Cifar => (vec![fit.clone(), Step::RandomCrop { size: None, padding: 4 }], vec![fit, center_crop]),
            Preset::Whole => {
                let pad = Step::Pad { size: None, fill: None };
                (vec![pad.clone()], vec![pad])
            }
            Preset::None => return [vec![Step::Stretch { size: None }], vec![Step::Stretch { size: None }]],
        };
        if self.flip {
            train.push(Step::HorizontalFlip { p: default_flip() });
        }
        [train, eval]
    }

    fn normalize_step(&self, channels: usize) -> Result<Option<Step>, Error> {
        match (self.normalize, &self.mean, &self.std) {
            (None, Some(mean), Some(std)) => Ok(Some(Step::Normalize { mean: mean.clone(), std: std.clone() })),
            (named, None, None) => Ok(named.map(|normalization| normalization.step(channels))),
            (None, ..) => {
                Err(Error::Setting("augmentation: `mean` and `std` go together, one of them is missing".into()))
            }
            (Some(_), ..) => Err(Error::Setting(
                "augmentation: `normalize` stands for a mean and a standard deviation; leave out either it or `mean` and `std`"
                    .into(),
            )),
        }
    }
}

/// What happens to an image between the data set and the network: one pipeline to train, one to
/// evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Side of the network's input, in pixels.
    pub size: usize,
    /// For training.
    pub train: Pipeline,
    /// For evaluation; draws no random numbers unless its own steps say so.
    pub eval: Pipeline,
    /// Parameter of mixup while training; see [`LoaderConfig::mixup`](crate::LoaderConfig::mixup).
    pub mixup: Option<f64>,
    /// Parameter of CutMix while training; see [`LoaderConfig::cutmix`](crate::LoaderConfig::cutmix).
    pub cutmix: Option<f64>,
    /// Whether networks are judged by their mean answer to an image and its mirror image. The pipeline for evaluation mirrors
    /// nothing; that is for those to do who ask the networks.
    pub eval_flip: bool,
}

impl Transform {
    /// The pipelines for input of `channels` x `size` x `size`.
    ///
    /// # Errors
    /// If `size` is 0 or huge, `mean` or `std` do not match the channels, or own steps cannot give
    /// that size (see [`Pipeline::new`]).
    pub fn new(augment: &Augment, size: usize, channels: usize) -> Result<Self, Error> {
        let normalize = augment.normalize_step(channels)?;
        mixup::check(augment.mixup, augment.cutmix)?;
        let pipeline = |own: &Option<Vec<Step>>, preset: Vec<Step>| {
            let mut steps = own.clone().unwrap_or(preset);
            steps.extend(normalize.clone());
            Pipeline::new(size, channels, steps)
        };
        let [train, eval] = augment.preset_steps(size);
        let (train, eval) = (pipeline(&augment.train, train)?, pipeline(&augment.eval, eval)?);
        let Augment { mixup, cutmix, eval_flip, .. } = *augment;
        Ok(Self { size, train, eval, mixup, cutmix, eval_flip })
    }
}

// `remote = "Self"` makes these functions of the type itself, for the traits' to call.
impl Serialize for Augment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Augment {
    /// From the name of a preset or a table. Written by hand because an untagged enum would hide
    /// which key of the table is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Augment;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("the name of an augmentation preset or a table of augmentation settings")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Augment, E> {
                Preset::deserialize(de::value::StrDeserializer::new(name)).map(Augment::preset)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Augment, A::Error> {
                Augment::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}
