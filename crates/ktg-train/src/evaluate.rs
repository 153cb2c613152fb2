//! Networks on a data set, in inference mode: their outputs batch by batch, and the measures of them.

use ktg_data::{Batch, Dataset, Loader, LoaderConfig, Transform};
use ktg_engine::{Images, Map, Node, Outputs, Scratch, Uploads, Wanted};

use crate::measures::{Accumulator, MemberOutputs};
use crate::{Error, EvaluateOn, Measures, TrainSettings};

/// The outputs of networks for all images of a data set, pulled batch by batch.
pub(crate) struct Inference {
    dataset: Dataset,
    transform: Transform,
    loader: Loader,
}

impl Inference {
    /// Starts with the first image of `dataset`.
    ///
    /// # Errors
    /// If the loader cannot start.
    pub fn new(dataset: &Dataset, transform: &Transform, settings: &TrainSettings) -> Result<Self, Error> {
        let config = LoaderConfig {
            batch_size: settings.evaluate_batch_size,
            threads: settings.loader_threads,
            ..LoaderConfig::new(transform.eval.clone())
        };
        let order = (0..dataset.len()).collect();
        let loader = Loader::new(dataset, config, order)?;
        Ok(Self { dataset: dataset.clone(), transform: transform.clone(), loader })
    }

    /// The next batch and what every network gives for it; `None` after the last.
    ///
    /// # Errors
    /// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]).
    pub fn next(
        &mut self,
        nodes: &[Box<dyn Node>],
        scratch: &mut Scratch,
    ) -> Result<Option<(Batch, Vec<MemberOutputs>)>, Error> {
        let Some(batch) = self.loader.next() else { return Ok(None) };
        let batch = batch?;
        let images = Images::new(&batch.images, batch.labels.len());
        let name_of = |i: usize| self.dataset.name_of(batch.indices[i]);
        let mut members = Vec::with_capacity(nodes.len());
        for Outputs { logits, attention_map, .. } in infer(nodes, images, &self.transform, scratch, name_of)? {
            let maps = attention_map.map(|Map { data, height, width }| (data, height * width));
            members.push(MemberOutputs { logits, maps });
        }
        Ok(Some((batch, members)))
    }
}

/// Logits and attention maps that every network gives for some images; if the transform says so, the means of those and of
/// what it gives for the mirror images, whose maps are mirrored back. `name_of` is an image's name, for errors.
///
/// # Errors
/// If a network answers NaN or infinity ([`Error::NotFinite`]).
pub(crate) fn infer(
    nodes: &[Box<dyn Node>],
    images: Images,
    transform: &Transform,
    scratch: &mut Scratch,
    name_of: impl Fn(usize) -> String,
) -> Result<Vec<Outputs>, Error> {
    let [uploads, uploads_of_mirrored] = [Uploads::default(), Uploads::default()];
    let mirrored = transform.eval_flip.then(|| mirrored(images.data, transform.size));
    let mut all = Vec::with_capacity(nodes.len());
    for (m, node) in nodes.iter().enumerate() {
        let mut outputs = node.infer(images.uploaded_once(&uploads), Wanted::MAP, scratch)?;
        if let Some(data) = &mirrored {
            let mirrored = Images::new(data, images.count).uploaded_once(&uploads_of_mirrored);
            let of_mirrored = node.infer(mirrored, Wanted::MAP, scratch)?;
            average_with_mirrored(&mut outputs, &of_mirrored);
        }
        if let Some(position) = outputs.logits.iter().position(|logit| !logit.is_finite()) {
            let classes = outputs.logits.len() / images.count;
            return Err(Error::NotFinite { node: m + 1, image: name_of(position / classes) });
        }
        all.push(outputs);
    }
    Ok(all)
}

/// Makes outputs the means of themselves and those for the mirror images.
fn average_with_mirrored(outputs: &mut Outputs, of_mirrored: &Outputs) {
    average(&mut outputs.logits, &of_mirrored.logits);
    if let (Some(map), Some(other)) = (&mut outputs.attention_map, &of_mirrored.attention_map) {
        average(&mut map.data, &mirrored(&other.data, other.width));
    }
}

fn average(values: &mut [f32], others: &[f32]) {
    values.iter_mut().zip(others).for_each(|(value, other)| *value = 0.5 * (*value + other));
}

/// Rows of so many columns, each the other way round.
fn mirrored(rows: &[f32], width: usize) -> Vec<f32> {
    rows.chunks_exact(width).flat_map(|row| row.iter().rev()).copied().collect()
}

/// The measures of networks and their ensemble on all images of a data set, pulled batch by batch.
pub(crate) struct Evaluation {
    inference: Inference,
    measures: Accumulator,
    done: usize,
}

impl Evaluation {
    /// Of so many networks.
    ///
    /// # Errors
    /// If the loader cannot start.
    pub fn new(
        nodes: usize,
        dataset: &Dataset,
        transform: &Transform,
        settings: &TrainSettings,
    ) -> Result<Self, Error> {
        let inference = Inference::new(dataset, transform, settings)?;
        Ok(Self { inference, measures: Accumulator::new(nodes, dataset.classes()), done: 0 })
    }

    /// The same, which also fits the ensemble's temperature to the images, unless they are the test images.
    #[must_use]
    pub fn calibrating_unless_on_test(mut self, evaluate_on: EvaluateOn) -> Self {
        if evaluate_on != EvaluateOn::Test {
            self.measures = self.measures.calibrating();
        }
        self
    }

    /// Takes the next batch in, and says how many images are done; `None` after the last.
    ///
    /// # Errors
    /// As [`Inference::next`].
    pub fn next(&mut self, nodes: &[Box<dyn Node>], scratch: &mut Scratch) -> Result<Option<usize>, Error> {
        let Some((batch, members)) = self.inference.next(nodes, scratch)? else { return Ok(None) };
        self.measures.add(&members, &batch.labels);
        self.done += batch.labels.len();
        Ok(Some(self.done))
    }

    /// Images of the data set.
    pub fn images(&self) -> usize {
        self.inference.dataset.len()
    }

    /// The measures of all images so far.
    pub fn finish(&self) -> Measures {
        self.measures.finish()
    }
}
