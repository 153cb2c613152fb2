//! The table `[graph]`.

use std::path::PathBuf;

use ktg_graph::{Factor, Freeze};
use serde::{Deserialize, Serialize};

/// The graph: a file, or a preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphSettings {
    /// A graph file, relative to the experiment file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Name of a preset; see `ktg graph preset --help`. Default, if there is no file either: independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Number of network nodes of the preset. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// Architecture of all nodes. Default for presets: abn-resnet-cifar-20. With a file, it replaces the file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Weights of the preset `kd`'s teacher, node 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// File of weights that every node starts from which has none of its own and is not frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// Whether all tensors of that file, and no others, must be the network's. Default: false, what fits is taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The part of every network that stays as it starts: `"backbone"`, or a list of stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Factor on the learning rate of what is loaded. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate_factor: Option<Factor>,
    /// How often stochastic depth drops the last residual block of an image, in every network that learns and says nothing of it: from 0
    /// to below 1. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<Factor>,
}
