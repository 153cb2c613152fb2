//! Measures of nodes and ensemble (SPEC 6), accumulated batch by batch on the host in `f64`.

pub use ktg_engine::loss::argmax;
use serde::{Deserialize, Serialize};

pub use crate::calibration::Calibrated;
use crate::calibration::Scores;

/// Bins of the expected calibration error (Guo et al., ICML 2017), of equal width.
pub const CALIBRATION_BINS: usize = 15;

/// What a set of networks achieves on a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Number of images.
    pub images: usize,
    /// Per network node.
    pub nodes: Vec<Accuracy>,
    /// Mean over the nodes.
    pub node_average: Accuracy,
    /// Of the ensemble node.
    pub ensemble: EnsembleMeasures,
    /// Diversity of every pair of nodes.
    pub pairs: Vec<PairMeasures>,
}

/// Share of correct answers in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The label has the highest logit (of equal ones, the first class counts).
    pub top1: f64,
    /// The label is among the five highest logits.
    pub top5: f64,
}

/// Measures of the ensemble node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnsembleMeasures {
    /// Accuracy in percent.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// Mean negative log-likelihood in nats of the softmax of the ensemble logits.
    pub nll: f64,
    /// Expected calibration error, 0 to 1.
    pub ece: f64,
    /// The likelihood with its best temperature, fitted on these same images; never on test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<Calibrated>,
}

impl Measures {
    /// Mean of a value over all pairs of nodes; `None` without pairs, or if one has no such value.
    pub fn pair_mean(&self, value: impl Fn(&PairMeasures) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.pairs.iter().map(value).collect::<Option<_>>()?;
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Errs unless all pairs are pairs of the nodes: what a damaged file says may be anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let count = self.nodes.len();
        let is_pair = |nodes: &[usize; 2]| nodes.iter().all(|node| (1..=count).contains(node));
        match self.pairs.iter().map(|pair| pair.nodes).find(|nodes| !is_pair(nodes)) {
            Some([a, b]) => Err(format!("there is no pair of nodes {a} and {b} among {count} nodes")),
            None => Ok(()),
        }
    }
}

/// How much two nodes differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairMeasures {
    /// The two nodes, counted from 1, the smaller first.
    pub nodes: [usize; 2],
    /// Share of images, 0 to 1, for which the two answer differently.
    pub disagreement: f64,
    /// Mean cosine of the class probabilities.
    pub probability_cosine: f64,
    /// Mean cosine of the whole attention maps, where both have the same size.
    pub attention_cosine: Option<f64>,
}

/// Outputs of one node for a batch.
pub struct MemberOutputs {
    /// Logits `[n, classes]`, row-major.
    pub logits: Vec<f32>,
    /// Attention maps `[n, positions]`, row-major, and their number of positions.
    pub maps: Option<(Vec<f32>, usize)>,
}

impl MemberOutputs {
    /// The logits of image `i` of the batch.
    pub fn logits_of(&self, i: usize, classes: usize) -> Vec<f64> {
        row(&self.logits, i, classes)
    }

    /// The attention map of image `i` of the batch, if there are maps.
    pub fn map_of(&self, i: usize) -> Option<Vec<f64>> {
        self.maps.as_ref().map(|(maps, positions)| row(maps, i, *positions))
    }
}

/// Row `i` of a row-major matrix.
fn row(values: &[f32], i: usize, length: usize) -> Vec<f64> {
    values[i * length..][..length].iter().map(|value| f64::from(*value)).collect()
}

#[derive(Clone, Copy, Default)]
struct Hits {
    top1: u64,
    top5: u64,
}

#[derive(Clone, Copy, Default)]
struct Bin {
    correct: u64,
    confidence: f64,
}

/// Collects outputs of batches.
pub struct Accumulator {
    classes: usize,
    images: usize,
    nodes: Vec<Hits>,
    ensemble: Hits,
    nll: f64,
    bins: [Bin; CALIBRATION_BINS],
    /// Sums over the images so far.
    pairs: Vec<PairMeasures>,
    /// What the ensemble's temperature is fitted to, if it is.
    scores: Option<Scores>,
}

impl Accumulator {
    /// For `nodes` networks over `classes` classes.
    pub fn new(nodes: usize, classes: usize) -> Self {
        let pairs = (1..=nodes).flat_map(|a| (a + 1..=nodes).map(move |b| [a, b]));
        let nothing =
            |nodes| PairMeasures { nodes, disagreement: 0.0, probability_cosine: 0.0, attention_cosine: Some(0.0) };
        Self {
            classes,
            images: 0,
            nodes: vec![Hits::default(); nodes],
            ensemble: Hits::default(),
            nll: 0.0,
            bins: [Bin::default(); CALIBRATION_BINS],
            pairs: pairs.map(nothing).collect(),
            scores: None,
        }
    }

    /// The same, which also fits the ensemble's temperature to the images.
    #[must_use]
    pub fn calibrating(mut self) -> Self {
        self.scores = Some(Scores::new(self.classes));
        self
    }

    /// Adds a batch. Every node gives as many rows as there are labels.
    ///
    /// # Panics
    ///
    /// Panics if lengths do not match or a label is not below the number of classes.
    pub fn add(&mut self, members: &[MemberOutputs], labels: &[u32]) {
        assert_eq!(members.len(), self.nodes.len(), "one set of outputs per node");
        for (i, &label) in labels.iter().enumerate() {
            let logits: Vec<Vec<f64>> = members.iter().map(|member| member.logits_of(i, self.classes)).collect();
            let maps: Vec<Option<Vec<f64>>> = members.iter().map(|member| member.map_of(i)).collect();
            let probabilities: Vec<Vec<f64>> = logits.iter().map(|row| softmax(row)).collect();
            self.add_image(&logits, label as usize);
            for pair in &mut self.pairs {
                let [a, b] = pair.nodes.map(|node| node - 1);
                pair.disagreement += f64::from(argmax(&logits[a]) != argmax(&logits[b]));
                pair.probability_cosine += cosine(&probabilities[a], &probabilities[b]);
                let both = maps[a].as_ref().zip(maps[b].as_ref()).filter(|(a, b)| a.len() == b.len());
                pair.attention_cosine = pair.attention_cosine.zip(both).map(|(sum, (a, b))| sum + cosine(a, b));
            }
        }
    }

    fn add_image(&mut self, rows: &[Vec<f64>], label: usize) {
        self.images += 1;
        for (hits, row) in self.nodes.iter_mut().zip(rows) {
            hits.add(row, label);
        }
        let mean = mean_logits(rows);
        self.ensemble.add(&mean, label);
        if let Some(scores) = &mut self.scores {
            scores.add(&mean, label);
        }
        let probabilities = softmax(&mean);
        let answer = argmax(&mean);
        let highest = mean.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // -log softmax, from the logits so that a vanishing probability stays finite.
        self.nll += mean.iter().map(|v| (v - highest).exp()).sum::<f64>().ln() + highest - mean[label];
        let confidence = probabilities[answer];
        let bin = &mut self.bins[calibration_bin(confidence)];
        bin.correct += u64::from(answer == label);
        bin.confidence += confidence;
    }

    /// The measures over all images so far (zeros if there are none).
    pub fn finish(&self) -> Measures {
        let n = (self.images as f64).max(1.0);
        let accuracy =
            |hits: &Hits| Accuracy { top1: 100.0 * hits.top1 as f64 / n, top5: 100.0 * hits.top5 as f64 / n };
        let nodes: Vec<Accuracy> = self.nodes.iter().map(accuracy).collect();
        let mean = |value: fn(&Accuracy) -> f64| nodes.iter().map(value).sum::<f64>() / nodes.len() as f64;
        let mean_of_pair = |pair: &PairMeasures| PairMeasures {
            nodes: pair.nodes,
            disagreement: pair.disagreement / n,
            probability_cosine: pair.probability_cosine / n,
            attention_cosine: pair.attention_cosine.map(|sum| sum / n),
        };
        let gap = |bin: &Bin| (bin.correct as f64 - bin.confidence).abs();
        Measures {
            images: self.images,
            node_average: Accuracy { top1: mean(|a| a.top1), top5: mean(|a| a.top5) },
            ensemble: EnsembleMeasures {
                accuracy: accuracy(&self.ensemble),
                nll: self.nll / n,
                ece: self.bins.iter().map(gap).sum::<f64>() / n,
                calibrated: self.scores.as_ref().map(Scores::calibrate),
            },
            pairs: self.pairs.iter().map(mean_of_pair).collect(),
            nodes,
        }
    }
}

impl Hits {
    fn add(&mut self, logits: &[f64], label: usize) {
        let own = logits[label];
        // Ahead of the label: higher logits, and equal ones of earlier classes. A NaN answers nothing correctly.
        let ahead = logits.iter().enumerate().filter(|&(c, &v)| v > own || (v == own && c < label)).count();
        if !own.is_nan() {
            self.top1 += u64::from(ahead == 0);
            self.top5 += u64::from(ahead < 5);
        }
    }
}

/// Bins are open below and closed above, as in Guo et al.: the first holds (0, 1/15].
fn calibration_bin(confidence: f64) -> usize {
    let bin = (confidence * CALIBRATION_BINS as f64).ceil() as usize;
    bin.clamp(1, CALIBRATION_BINS) - 1
}

/// Logits of the ensemble node (thesis eq. 5), from those of every node.
pub fn mean_logits(rows: &[Vec<f64>]) -> Vec<f64> {
    let classes = rows.first().map_or(0, Vec::len);
    (0..classes).map(|c| rows.iter().map(|row| row[c]).sum::<f64>() / rows.len() as f64).collect()
}

/// Softmax of logits.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|v| (v - highest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|v| v / sum).collect()
}

/// Cosine of two vectors; 0 if one of them is zero.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 { dot(a, b) / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(logits: &[f32], maps: Option<(&[f32], usize)>) -> MemberOutputs {
        MemberOutputs { logits: logits.to_vec(), maps: maps.map(|(m, n)| (m.to_vec(), n)) }
    }

    #[test]
    fn the_ensemble_is_the_mean_of_logits() {
        assert_eq!(mean_logits(&[vec![1.0, 2.0], vec![3.0, -2.0]]), [2.0, 0.0]);
    }

    #[test]
    fn ties_count_for_the_first_class() {
        let mut all = Accumulator::new(1, 3);
        all.add(&[member(&[1.0, 1.0, 0.0, 1.0, 1.0, 0.0], None)], &[0, 1]);
        assert_eq!(all.finish().nodes[0].top1, 50.0);
    }

    #[test]
    fn nan_is_never_right() {
        let mut all = Accumulator::new(1, 2);
        all.add(&[member(&[f32::NAN, 0.0], None)], &[0]);
        assert_eq!(all.finish().nodes[0], Accuracy { top1: 0.0, top5: 0.0 });
    }

    #[test]
    fn certain_and_wrong_keeps_the_nll_finite() {
        let mut all = Accumulator::new(1, 2);
        all.add(&[member(&[2000.0, 0.0], None)], &[1]);
        let ensemble = all.finish().ensemble;
        assert_eq!((ensemble.nll, ensemble.ece), (2000.0, 1.0));
    }

    #[test]
    fn maps_of_different_sizes_are_not_compared() {
        let mut all = Accumulator::new(2, 2);
        let a = member(&[1.0, 0.0], Some((&[1.0, 0.0], 2)));
        let b = member(&[0.0, 1.0], Some((&[1.0], 1)));
        all.add(&[a, b], &[0]);
        let pair = all.finish().pairs[0];
        assert_eq!((pair.nodes, pair.disagreement, pair.attention_cosine), ([1, 2], 1.0, None));
    }
}
