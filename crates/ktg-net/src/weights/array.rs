//! Arrays by name.

use std::collections::BTreeMap;

/// A dense `f32` array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<f32>,
}

/// Arrays by name, in the order of their names.
pub type StateDict = BTreeMap<String, Array>;
