//! What a node shows to others, prepared once a step.

use crate::{Map, Outputs};

/// The outputs of a node as losses read them.
pub struct Shown<'a> {
    /// The outputs.
    pub outputs: &'a Outputs,
    /// Number of classes.
    pub classes: usize,
    /// Logarithms of the class probabilities, softened by the temperature, `[count, classes]`.
    log_probabilities: Vec<f64>,
    /// The probabilities themselves.
    probabilities: Vec<f64>,
    /// By sample, whether the label's logit is the highest (of equal ones, the first).
    pub correct: Vec<bool>,
}

impl<'a> Shown<'a> {
    /// Of outputs for samples with these labels.
    pub fn new(outputs: &'a Outputs, labels: &[u32], temperature: f64) -> Self {
        let classes = outputs.logits.len() / labels.len();
        let mut log_probabilities = Vec::with_capacity(outputs.logits.len());
        for logits in outputs.logits.chunks_exact(classes) {
            log_softmax(logits, temperature, &mut log_probabilities);
        }
        let probabilities = log_probabilities.iter().map(|p| p.exp()).collect();
        let rows = outputs.logits.chunks_exact(classes).zip(labels);
        let correct = rows.map(|(logits, label)| argmax(logits) == *label as usize).collect();
        Self { outputs, classes, log_probabilities, probabilities, correct }
    }

    /// Softened class probabilities of sample `i`, and their logarithms.
    pub fn probabilities(&self, i: usize) -> (&[f64], &[f64]) {
        let range = i * self.classes..(i + 1) * self.classes;
        (&self.probabilities[range.clone()], &self.log_probabilities[range])
    }

    /// The attention map of sample `i`, and the maps' sizes.
    ///
    /// # Panics
    ///
    /// Panics if the node has no map: experiments with an attention edge to or from such a node are refused.
    pub fn map(&self, i: usize) -> (&[f32], &Map) {
        let map = self.outputs.attention_map.as_ref().expect("an attention edge joins nodes with maps");
        (&map.data[i * map.pixels()..][..map.pixels()], map)
    }
}

/// Appends the logarithms of the softmax of `logits / temperature`, from which probabilities of 0 and 1 stay finite.
pub(super) fn log_softmax(logits: &[f32], temperature: f64, to: &mut Vec<f64>) {
    let start = to.len();
    to.extend(logits.iter().map(|logit| f64::from(*logit) / temperature));
    let softened = &mut to[start..];
    let highest = softened.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = highest + softened.iter().map(|v| (v - highest).exp()).sum::<f64>().ln();
    softened.iter_mut().for_each(|v| *v -= log_sum);
}

/// Index of the first maximum; NaN is none.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
