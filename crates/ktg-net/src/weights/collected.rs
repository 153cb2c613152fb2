//! The tensors of a file on their way to `f32`.

use std::collections::BTreeSet;

use half::{bf16, f16};
use safetensors::tensor::Dtype;

use super::array::{Array, StateDict};
use super::error::WeightsError;

/// What a reader has found so far.
#[derive(Default)]
pub(super) struct Collected {
    /// The arrays, under the names that the file has for them.
    pub arrays: StateDict,
    /// The types that numbers were converted from.
    pub converted: BTreeSet<String>,
}

/// Whether tensors of this type are left out: batch norm counts its batches in them.
pub(super) fn is_counter(kind: Dtype) -> bool {
    matches!(kind, Dtype::I64 | Dtype::I32)
}

impl Collected {
    /// Takes a tensor, whose numbers are little-endian and in row-major order, unless it is a counter; `origin` names the
    /// file in messages.
    ///
    /// # Errors
    ///
    /// If its type is not converted.
    pub fn take(
        &mut self,
        name: &str,
        kind: Dtype,
        shape: &[usize],
        bytes: &[u8],
        origin: &str,
    ) -> Result<(), WeightsError> {
        if is_counter(kind) {
            return Ok(());
        }
        let Some(data) = floats(kind, bytes) else {
            let (path, kind) = (origin.to_owned(), format!("{kind:?}"));
            return Err(WeightsError::Kind { path, name: name.to_owned(), kind });
        };
        if kind != Dtype::F32 {
            self.converted.insert(format!("{kind:?}"));
        }
        self.arrays.insert(name.to_owned(), Array { shape: shape.to_vec(), data });
        Ok(())
    }
}

/// The numbers of a tensor as `f32`; `None` if its type is not one of floating-point numbers that we convert.
fn floats(kind: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}
