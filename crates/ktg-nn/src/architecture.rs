//! Names of networks and what they stand for.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use rand::Rng;

use crate::block::BlockKind;
use crate::network::{Layout, Network};

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

/// A family of networks: everything that differs between them. To add one, add a row to [`Family::ALL`].
#[derive(Debug)]
pub struct Family {
    /// Name before the depth, such as `abn-resnet`.
    pub name: &'static str,
    /// The depths there are, for messages.
    pub depths: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Blocks per stage of the given depth; `None`: there is no such network.
    layout: fn(usize) -> Option<Layout>,
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Family {}

impl Family {
    /// All families, in the order in which help lists them.
    pub const ALL: &'static [Family] = &[
        Family {
            name: "abn-resnet",
            depths: "18, 34, 50",
            help: "Attention Branch Network on a ResNet, made for 224 px",
            layout: |depth| imagenet(depth, true),
        },
        Family {
            name: "abn-resnet-cifar",
            depths: "6n+2 from 8 up (8, 14, 20, 32, 56, 110)",
            help: "Attention Branch Network on a CIFAR ResNet, made for 32 px",
            layout: |depth| cifar(depth, true),
        },
        Family {
            name: "resnet",
            depths: "18, 34, 50",
            help: "plain ResNet; its attention map is the mean square of the last features",
            layout: |depth| imagenet(depth, false),
        },
        Family {
            name: "resnet-cifar",
            depths: "6n+2 from 8 up (8, 14, 20, 32, 56, 110)",
            help: "plain CIFAR ResNet",
            layout: |depth| cifar(depth, false),
        },
    ];
}

fn imagenet(depth: usize, attention: bool) -> Option<Layout> {
    let (kind, blocks) = match depth {
        18 => (BlockKind::Basic, [2, 2, 2, 2]),
        34 => (BlockKind::Basic, [3, 4, 6, 3]),
        50 => (BlockKind::Bottleneck, [3, 4, 6, 3]),
        _ => return None,
    };
    Some(Layout { kind, blocks: blocks.to_vec(), width: 64, large_stem: true, attention, residual_attention: false })
}

fn cifar(depth: usize, attention: bool) -> Option<Layout> {
    if depth < 8 || depth % 6 != 2 {
        return None;
    }
    let blocks = vec![(depth - 2) / 6; 3];
    Some(Layout { kind: BlockKind::Basic, blocks, width: 16, large_stem: false, attention, residual_attention: true })
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
        if depth > 1202 || (family.layout)(depth).is_none() {
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

/// What a network is built for.
///
/// ```
/// use ktg_nn::{NetworkConfig, burn::tensor::Device};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// let config = NetworkConfig::new("abn-resnet-cifar-20".parse().unwrap(), 81);
/// let network = config.init(&Device::flex().autodiff(), &mut ChaCha8Rng::seed_from_u64(0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The kind of network.
    pub architecture: Architecture,
    /// Number of classes. At least 1.
    pub classes: usize,
    /// Channels of the input images. Default: 3.
    pub channels: usize,
}

impl NetworkConfig {
    /// A network for colour images.
    pub fn new(architecture: Architecture, classes: usize) -> Self {
        Self { architecture, classes, channels: 3 }
    }

    /// Sets the number of image channels.
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Builds the network with fresh random weights (SPEC 3: Kaiming-normal convolutions, fan-out; batch norm at 1 and
    /// 0; fully connected layer as PyTorch's default). The same generator state gives the same weights anywhere.
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Network {
        Network::init(self, &self.layout(), device, rng)
    }

    /// Side of the attention map for images of side `side`, in pixels.
    ///
    /// Attention edges can only join networks whose maps have the same side.
    pub fn map_side(&self, side: usize) -> usize {
        self.layout().map_side(side)
    }

    fn layout(&self) -> Layout {
        let Architecture { family, depth } = self.architecture;
        (family.layout)(depth).expect("parsing a name checks its depth")
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
        let side = |name: &str, side| NetworkConfig::new(name.parse().unwrap(), 2).map_side(side);
        assert_eq!(side("abn-resnet-18", 224), 14);
        assert_eq!(side("resnet-18", 224), 7);
        assert_eq!(side("abn-resnet-cifar-20", 32), 16);
        assert_eq!(side("resnet-cifar-20", 32), 8);
        assert_eq!(side("abn-resnet-cifar-8", 17), 9);
    }
}
