//! What can go wrong while a network is computed.

use ktg_net::{ShapeError, WeightsError};

/// Why a node could not be made, or could not compute. The CPU engine has no failure of the second kind.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The network cannot see such images.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Weights or an optimizer's memory that are another network's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A device that gave up: no memory, or the driver failed.
    #[error("{device} failed: {reason}")]
    Device {
        /// As `--device` names it.
        device: String,
        /// In its own words.
        reason: String,
    },
}
