//! What a network is, as data.
//!
//! A [`Network`] is a list of [`Layer`]s in the order in which they are computed, each with PyTorch's path as its name
//! (`layer1.0.conv1`), an operation with its sizes ([`Op`]), and the values it reads; and which values are the network's
//! outputs. Everything else is derived from that list: names, shapes and initial values of the
//! [parameters](Network::parameters), [shapes](Network::shapes) and work of all layers ([`table`]), and an engine's plan.
//!
//! An [`Architecture`] names a network (`abn-resnet-18`, `resnet-cifar-20`, ...); a function of its family builds the list.
//! [`weights`] reads and writes safetensors with PyTorch's parameter names, so that weights travel both ways, and reads what
//! `torch.save` writes.
//!
//! ```
//! let architecture: ktg_net::Architecture = "abn-resnet-18".parse()?;
//! let network = architecture.network(3, 200);
//! assert_eq!(network.layers[0].name, "conv1");
//! assert_eq!(network.map_side(224), 14);
//! # Ok::<(), ktg_net::ArchitectureError>(())
//! ```

mod architecture;
mod builder;
mod families;
mod family;
mod initial;
mod network;
mod parameters;
mod shapes;
mod stages;
pub mod table;
pub mod weights;

pub use architecture::{Architecture, ArchitectureError};
pub use builder::Builder;
pub use family::{Build, Family};
pub use network::{LAYER_NORM_EPSILON, Layer, Network, NormStyle, Op, Padding, Rate, Value};
pub use parameters::{Parameter, Role};
pub use shapes::{Shape, ShapeError};
pub use stages::Part;
pub use weights::{Array, Fit, StateDict, WeightsError, WeightsFile};
