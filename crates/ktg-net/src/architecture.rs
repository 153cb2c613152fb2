//! Names of networks and what they stand for.

use std::fmt;
use std::str::FromStr;

use crate::family::{Build, Family};
use crate::network::Network;

/// A kind of network, by the name that graph files use.
///
/// | name | network |
/// | --- | --- |
/// | `abn-resnet-18`, `-34`, `-50`, `-101`, `-152` | Attention Branch Network on a ResNet, made for 224 px |
/// | `abn-resnet-cifar-D`, `-DxK` | the same on the CIFAR ResNet of depth D = 6n + 2 >= 8, K times as wide, made for 32 px |
/// | `resnet-18`, `-34`, `-50`, `-101`, `-152` | plain ResNet (He et al. 2016) |
/// | `resnet-cifar-D`, `-DxK` | plain CIFAR ResNet |
/// | `wide-resnet-D-K` | wide ResNet of depth D = 6n + 4, K times as wide (Zagoruyko & Komodakis 2016), made for 32 px |
/// | `efficientnet-lite0` to `-lite4` | EfficientNet-Lite, made for 224 to 300 px |
/// | `convnext-tiny`, `-small`, `-base` | ConvNeXt (Liu et al., CVPR 2022), made for 224 px |
/// | `abn-convnext-tiny`, `-small`, `-base` | Attention Branch Network on it |
/// | `vit-tiny-16`, `-small-16`, `-base-16` | vision transformer of 16x16 patches (Dosovitskiy et al., ICLR 2021), made for 224 px |
///
/// Any input side works, as strides round up; EfficientNet-Lite, whose padding is TensorFlow's for the side that it is made for, and
/// ConvNeXt, whose strides round down, need 32 px or more, and sides for a transformer are multiples of its patches'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    family: &'static Family,
    variant: String,
}

/// A name that is no network of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no network `{name}`; write one of {}", list())]
pub struct ArchitectureError {
    name: String,
}

fn list() -> String {
    let names: Vec<String> = Family::ALL.iter().map(|f| format!("{} ({})", f.pattern(), f.variants)).collect();
    names.join(", ")
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(name: &str) -> Result<Self, ArchitectureError> {
        for family in Family::ALL {
            if let Some(variant) = name.strip_prefix(family.prefix)
                && (family.build)(variant, Build::plain(3, 2)).is_some()
            {
                return Ok(Self { family, variant: variant.to_owned() });
            }
        }
        Err(ArchitectureError { name: name.to_owned() })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.family.prefix, self.variant)
    }
}

impl Architecture {
    /// The network for images of `channels` channels, of the side that it is made for, and so many classes, each at least 1.
    pub fn network(&self, channels: usize, classes: usize) -> Network {
        self.build(Build::plain(channels, classes))
    }

    /// The network for something in particular.
    pub fn build(&self, build: Build) -> Network {
        (self.family.build)(&self.variant, build).expect("parsing a name checks its variant")
    }

    /// Side of the images that it is made for, in pixels.
    pub fn side(&self) -> usize {
        (self.family.side)(&self.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "abn-resnet-18",
            "abn-resnet-cifar-8",
            "resnet-50",
            "resnet-cifar-110",
            "resnet-cifar-8x4",
            "wide-resnet-28-10",
            "efficientnet-lite3",
        ] {
            assert_eq!(name.parse::<Architecture>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn wrong_names_are_refused_with_the_right_ones() {
        let wrong = [
            "",
            "resnet",
            "resnet-19",
            "resnet-018",
            "resnet-+18",
            "abn-resnet-cifar-2",
            "abn-resnet-cifar-21",
            "resnet-cifar-8x1",
            "resnet-cifar-8x",
            "wide-resnet-28",
            "wide-resnet-27-10",
            "efficientnet-lite5",
            "efficientnet-lite00",
            "vgg-16",
            "resnet--8",
            "resnet-cifar-1208",
        ];
        for name in wrong {
            let message = name.parse::<Architecture>().unwrap_err().to_string();
            assert!(message.contains("abn-resnet-DEPTH (18, 34, 50, 101, 152)"), "{message}");
        }
    }

    #[test]
    fn map_sides_follow_the_strides() {
        let side = |name: &str, side| name.parse::<Architecture>().unwrap().network(3, 2).map_side(side);
        assert_eq!(side("abn-resnet-18", 224), 14);
        assert_eq!(side("resnet-18", 224), 7);
        assert_eq!(side("abn-resnet-cifar-20", 32), 16);
        assert_eq!(side("resnet-cifar-20", 32), 8);
        assert_eq!(side("abn-resnet-cifar-8", 17), 9);
    }
}
