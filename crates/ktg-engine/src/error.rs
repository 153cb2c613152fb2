//! What can go wrong while a network is computed.

use ktg_net::{ShapeError, WeightsError};

/// Why a node could not be made, or could not compute. The CPU engine always can.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The network cannot see such images.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Weights or an optimizer's memory that are another network's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Gradients in half precision are infinite or not a number with every scale.
    #[error("gradients in f16 are not finite, whatever their scale; train in bf16 or f32")]
    Overflow,
    /// A device that gave up: no memory, or the driver failed.
    #[error("{device} failed: {reason}")]
    Device {
        /// As `--device` names it.
        device: String,
        /// In its own words.
        reason: String,
    },
}
