//! Cross-entropy with the ground truth.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use crate::network::Outputs;

/// Cross-entropy per sample `[n]` of logits `[n, classes]` with class indices `[n]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    -log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).squeeze_dim::<1>(1)
}

/// Loss of a label edge: cross-entropy of the perception logits, plus that of the attention branch's where there are
/// any.
pub fn label(target: &Outputs, labels: Tensor<1, Int>) -> Tensor<1> {
    let perception = cross_entropy(target.logits.clone(), labels.clone());
    match &target.attention_logits {
        Some(logits) => perception + cross_entropy(logits.clone(), labels),
        None => perception,
    }
}
