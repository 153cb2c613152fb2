//! In which numbers networks compute, and where the nodes of a graph live.

use serde::{Deserialize, Serialize};

/// In which type of number networks compute in training steps. Weights, statistics, maps, logits, losses and the
/// optimizer are `f32` always, and so is everything when networks are judged or asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of `f32`.
    Bf16,
    /// 16 bits with more digits and less range: gradients are scaled up on their way back.
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

    /// That of a [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }

    /// As settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }
}

/// How the nodes of a graph compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Computing {
    /// In which numbers.
    pub precision: Precision,
    /// Which of the process' devices is the first node's, counted from 0; the other nodes live on the next ones in
    /// turn.
    pub first_device: usize,
}
