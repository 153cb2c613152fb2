//! Names of networks and what they stand for.

use std::fmt;
use std::str::FromStr;

use crate::family::Family;
use crate::network::Network;

/// A kind of network, by the name that graph files use.
///
/// | name | network |
/// | --- | --- |
/// | `abn-resnet-18`, `-34`, `-50` | Attention Branch Network on a ResNet, made for 224 px |
/// | `abn-resnet-cifar-D` | the same on the CIFAR ResNet of depth D = 6n + 2 >= 8, made for 32 px |
/// | `resnet-18`, `-34`, `-50` | plain ResNet (He et al. 2016) |
/// | `resnet-cifar-D` | plain CIFAR ResNet |
///
/// Any input side works: strides round up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    family: &'static Family,
    depth: usize,
}

/// A name that is no network of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no network `{name}`; write one of {}", list())]
pub struct ArchitectureError {
    name: String,
}

fn list() -> String {
    let names: Vec<String> = Family::ALL.iter().map(|f| format!("{}-DEPTH (depth {})", f.name, f.depths)).collect();
    names.join(", ")
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(name: &str) -> Result<Self, ArchitectureError> {
        let unknown = || ArchitectureError { name: name.to_owned() };
        let (family, depth) = name.rsplit_once('-').ok_or_else(unknown)?;
        let family = Family::ALL.iter().find(|f| f.name == family).ok_or_else(unknown)?;
        let depth: usize = depth.parse().map_err(|_| unknown())?;
        // A depth above this is a typing error, and would build for minutes before memory runs out.
        if depth > 1202 || (family.build)(depth, 3, 2).is_none() {
            return Err(unknown());
        }
        Ok(Self { family, depth })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.family.name, self.depth)
    }
}

impl Architecture {
    /// The network for images of `channels` channels and so many classes, each at least 1.
    pub fn network(self, channels: usize, classes: usize) -> Network {
        (self.family.build)(self.depth, channels, classes).expect("parsing a name checks its depth")
    }

    /// Its family.
    pub fn family(self) -> &'static Family {
        self.family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["abn-resnet-18", "abn-resnet-cifar-8", "resnet-50", "resnet-cifar-110"] {
            assert_eq!(name.parse::<Architecture>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn wrong_names_are_refused_with_the_right_ones() {
        for name in ["", "resnet", "resnet-19", "abn-resnet-cifar-2", "abn-resnet-cifar-21", "vgg-16", "resnet--8"] {
            let message = name.parse::<Architecture>().unwrap_err().to_string();
            assert!(message.contains("abn-resnet-DEPTH (depth 18, 34, 50)"), "{message}");
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
