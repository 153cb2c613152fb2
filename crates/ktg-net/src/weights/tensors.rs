//! The safetensors format.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::array::StateDict;
use super::collected::Collected;
use super::error::WeightsError;

/// The tensors of a safetensors file.
///
/// # Errors
///
/// If the bytes are no whole safetensors file, or a tensor has a type that is not converted.
pub(super) fn read(bytes: &[u8], origin: &str) -> Result<Collected, WeightsError> {
    let format =
        |e: safetensors::SafeTensorError| WeightsError::Format { path: origin.to_owned(), reason: e.to_string() };
    let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
    let mut collected = Collected::default();
    for (name, view) in tensors.iter() {
        collected.take(name, view.dtype(), view.shape(), view.data(), origin)?;
    }
    Ok(collected)
}

/// The bytes of a safetensors file.
///
/// # Panics
///
/// Panics if an array's shape does not match its length.
pub fn to_bytes(dict: &StateDict, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = dict
        .iter()
        .map(|(name, array)| (name, &array.shape, array.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), data).expect("shape and length agree");
        (name.as_str(), view)
    });
    safetensors::serialize(views, metadata).expect("views are valid and names are distinct")
}
