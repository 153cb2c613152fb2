//! Losses between class probabilities. Inputs are logits `[n, classes]` of target and source.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};

/// KL(p_s || p_t) = sum_c p_s log(p_s / p_t), eq. 1, in log space, so that probabilities of 0 and 1 stay finite.
pub(super) fn closer(target: Tensor<2>, source: Tensor<2>, temperature: f64) -> Tensor<1> {
    let target = log_softmax(target / temperature, 1);
    let source = log_softmax(source / temperature, 1);
    let kl = (source.clone().exp() * (source - target)).sum_dim(1).squeeze_dim::<1>(1);
    kl * (temperature * temperature)
}

/// Cosine similarity of p_s and p_t, eq. 2. A softmax over C classes is never shorter than 1/sqrt(C).
pub(super) fn apart(target: Tensor<2>, source: Tensor<2>, temperature: f64) -> Tensor<1> {
    let target = softmax(target / temperature, 1);
    let source = softmax(source / temperature, 1);
    let norm = |p: Tensor<2>| p.square().sum_dim(1).sqrt();
    let length = norm(target.clone()) * norm(source.clone());
    ((target * source).sum_dim(1) / length).squeeze_dim::<1>(1) * (temperature * temperature)
}
