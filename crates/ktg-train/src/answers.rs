//! What every network of a run answers, image by image: for calibration, and to find the images they disagree on.

use std::ops::ControlFlow;

use ktg_data::{Batch, Dataset};
use ktg_engine::Scratch;

use crate::evaluate::each_batch;
use crate::measures::{MemberOutputs, argmax, cosine, mean_logits, softmax};
use crate::{Error, SavedRun};

/// The answers to one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The image's place in the data set.
    pub image: usize,
    /// Its class.
    pub label: usize,
    /// The class that each node finds likeliest.
    pub nodes: Vec<usize>,
    /// The class that the ensemble finds likeliest.
    pub ensemble: usize,
    /// Probability that the ensemble gives to its answer, 0 to 1.
    pub confidence: f64,
    /// How much the nodes look at different places: 1 minus the mean cosine of the attention maps of all pairs, 0 to 1.
    /// `None` for a single network, and for maps that have different sizes.
    pub attention_disagreement: Option<f64>,
    /// How much the nodes think different things: 1 minus the mean cosine of the class probabilities of all pairs, 0 to
    /// 1; 0 for a single network.
    pub probability_disagreement: f64,
}

impl SavedRun {
    /// The answers to all images of `dataset`, in its order. `progress` hears how many images of how many are done.
    ///
    /// # Errors
    /// If the data has other classes than the run, or an image cannot be read.
    pub fn answers(&self, dataset: &Dataset, mut progress: impl FnMut(usize, usize)) -> Result<Vec<Answer>, Error> {
        self.check_classes(dataset)?;
        let train = &self.settings.train;
        let (batch_size, threads) = (train.evaluate_batch_size, train.loader_threads);
        let mut answers = Vec::with_capacity(dataset.len());
        let look = |members: &[MemberOutputs], batch: &Batch| {
            let images = batch.indices.iter().zip(&batch.labels).enumerate();
            answers.extend(
                images.map(|(i, (image, label))| answer(members, i, *image, *label as usize, dataset.classes())),
            );
            progress(answers.len(), dataset.len());
            ControlFlow::Continue(())
        };
        let pipeline = &self.transform.eval;
        let _ = each_batch((&self.nodes, &mut Scratch::default()), dataset, pipeline, batch_size, threads, look)?;
        Ok(answers)
    }
}

/// The answers to the image that is the `i`-th of a batch.
fn answer(members: &[MemberOutputs], i: usize, image: usize, label: usize, classes: usize) -> Answer {
    let part = |values: &[f32], length: usize| -> Vec<f64> {
        values[i * length..][..length].iter().map(|value| f64::from(*value)).collect()
    };
    let rows: Vec<Vec<f64>> = members.iter().map(|member| part(&member.logits, classes)).collect();
    let maps = members.iter().map(|member| member.maps.as_ref().map(|(values, positions)| part(values, *positions)));
    let maps: Option<Vec<Vec<f64>>> = maps.collect();
    let maps = maps.filter(|maps| maps.iter().all(|map| map.len() == maps[0].len()));
    let mean = mean_logits(&rows);
    let probabilities: Vec<Vec<f64>> = rows.iter().map(|row| softmax(row)).collect();
    let ensemble = argmax(&mean);
    Answer {
        image,
        label,
        nodes: rows.iter().map(|row| argmax(row)).collect(),
        ensemble,
        confidence: softmax(&mean)[ensemble],
        attention_disagreement: maps.and_then(|maps| disagreement(&maps)),
        probability_disagreement: disagreement(&probabilities).unwrap_or(0.0),
    }
}

/// 1 minus the mean cosine of all pairs; `None` if there are none.
fn disagreement(vectors: &[Vec<f64>]) -> Option<f64> {
    let pairs = (0..vectors.len()).flat_map(|a| (a + 1..vectors.len()).map(move |b| (a, b)));
    let cosines: Vec<f64> = pairs.map(|(a, b)| cosine(&vectors[a], &vectors[b])).collect();
    (!cosines.is_empty()).then(|| 1.0 - cosines.iter().sum::<f64>() / cosines.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disagreement_is_zero_for_the_same_and_one_for_the_orthogonal() {
        let (a, b) = (vec![1.0, 0.0], vec![0.0, 2.0]);
        assert_eq!(disagreement(&[a.clone(), a.clone()]), Some(0.0));
        assert_eq!(disagreement(&[a.clone(), b.clone()]), Some(1.0));
        // Two of the three pairs are orthogonal.
        let mixed = disagreement(&[a.clone(), a, b]).unwrap();
        assert!((mixed - 2.0 / 3.0).abs() < 1e-12, "{mixed}");
        assert_eq!(disagreement(&[vec![1.0]]), None);
    }
}
