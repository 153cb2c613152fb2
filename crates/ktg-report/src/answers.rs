//! What every network of a run answers, image by image: for calibration, and to find the images they disagree on.

use ktg_data::Dataset;
use ktg_train::measures::{Accumulator, MemberOutputs, argmax, cosine, mean_logits, softmax};
use ktg_train::{Error, Measures, SavedRun};

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

/// The answers of a run's networks to all images of `dataset`, in its order.
///
/// # Errors
/// If the data has other classes than the run, or an image cannot be read.
pub fn answers(run: &SavedRun, dataset: &Dataset) -> Result<Vec<Answer>, Error> {
    Ok(judge(run, dataset)?.1)
}

/// The measures of a run's networks on all images of `dataset`, and their answers, which they give once for both.
///
/// # Errors
/// As [`answers`].
pub fn judge(run: &SavedRun, dataset: &Dataset) -> Result<(Measures, Vec<Answer>), Error> {
    let mut outputs = run.outputs(dataset)?;
    let mut measures = Accumulator::new(run.graph.len(), dataset.classes());
    let mut answers = Vec::with_capacity(dataset.len());
    while let Some((batch, members)) = outputs.next()? {
        measures.add(&members, &batch.labels);
        for (i, (image, label)) in batch.indices.iter().zip(&batch.labels).enumerate() {
            answers.push(answer(&members, i, *image, *label as usize, dataset.classes()));
        }
    }
    Ok((measures.finish(), answers))
}

/// The answers to the image that is the `i`-th of a batch.
fn answer(members: &[MemberOutputs], i: usize, image: usize, label: usize, classes: usize) -> Answer {
    let logits: Vec<Vec<f64>> = members.iter().map(|member| member.logits_of(i, classes)).collect();
    let maps: Option<Vec<Vec<f64>>> = members.iter().map(|member| member.map_of(i)).collect();
    let maps = maps.filter(|maps| maps.iter().all(|map| map.len() == maps[0].len()));
    let probabilities: Vec<Vec<f64>> = logits.iter().map(|row| softmax(row)).collect();
    let mean = mean_logits(&logits);
    let ensemble = argmax(&mean);
    Answer {
        image,
        label,
        nodes: logits.iter().map(|row| argmax(row)).collect(),
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
