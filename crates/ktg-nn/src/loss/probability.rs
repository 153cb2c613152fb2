//! Losses between class probabilities. Inputs are logits `[nodes, n, classes]`, results `[pairs, n]`.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};

use super::Pairs;

/// KL(p_s || p_t) = sum_c p_s log(p_s / p_t), eq. 1, in log space, so that probabilities of 0 and 1 stay finite.
pub(super) fn closer(logits: Tensor<3>, pairs: &Pairs, temperature: f64) -> Tensor<2> {
    let all = log_softmax(softened(logits, temperature), 2);
    let source = pairs.of_sources(all.clone().detach());
    let target = pairs.of_targets(all);
    let kl = (source.clone().exp() * (source - target)).sum_dim(2).squeeze_dim::<2>(2);
    hardened(kl, temperature)
}

/// Cosine similarity of p_s and p_t, eq. 2. A softmax over C classes is never shorter than 1/sqrt(C).
pub(super) fn apart(logits: Tensor<3>, pairs: &Pairs, temperature: f64) -> Tensor<2> {
    let all = softmax(softened(logits, temperature), 2);
    let lengths = all.clone().square().sum_dim(2).sqrt();
    let (source, source_length) = (pairs.of_sources(all.clone().detach()), pairs.of_sources(lengths.clone().detach()));
    let (target, target_length) = (pairs.of_targets(all), pairs.of_targets(lengths));
    let cosine = (target * source).sum_dim(2) / (target_length * source_length);
    hardened(cosine.squeeze_dim::<2>(2), temperature)
}

fn softened(logits: Tensor<3>, temperature: f64) -> Tensor<3> {
    if temperature == 1.0 { logits } else { logits / temperature }
}

fn hardened(losses: Tensor<2>, temperature: f64) -> Tensor<2> {
    if temperature == 1.0 { losses } else { losses * (temperature * temperature) }
}
