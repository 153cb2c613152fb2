//! Networks on a data set, in inference mode: their outputs batch by batch, and the measures of them.

use ktg_data::{Batch, Dataset, Loader, LoaderConfig, Pipeline};
use ktg_engine::{Images, Map, Node, Outputs, Scratch, Wanted};

use crate::measures::{Accumulator, MemberOutputs};
use crate::{Error, Measures, TrainSettings};

/// The outputs of networks for all images of a data set, pulled batch by batch.
pub(crate) struct Inference {
    dataset: Dataset,
    loader: Loader,
}

impl Inference {
    /// Starts with the first image of `dataset`.
    ///
    /// # Errors
    /// If the loader cannot start.
    pub fn new(dataset: &Dataset, pipeline: &Pipeline, settings: &TrainSettings) -> Result<Self, Error> {
        let config = LoaderConfig {
            batch_size: settings.evaluate_batch_size,
            threads: settings.loader_threads,
            ..LoaderConfig::new(pipeline.clone())
        };
        let order = (0..dataset.len()).collect();
        Ok(Self { dataset: dataset.clone(), loader: Loader::new(dataset, config, order)? })
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
        let images = Images { data: &batch.images, count: batch.labels.len() };
        let mut members = Vec::with_capacity(nodes.len());
        for (m, node) in nodes.iter().enumerate() {
            let outputs = node.infer(images, Wanted::MAP, scratch);
            let classes = self.dataset.classes();
            check_finite(m, &outputs, |position| self.dataset.name_of(batch.indices[position / classes]))?;
            let Outputs { logits, attention_map, .. } = outputs;
            let maps = attention_map.map(|Map { data, height, width }| (data, height * width));
            members.push(MemberOutputs { logits, maps });
        }
        Ok(Some((batch, members)))
    }
}

/// Makes sure that network `m` (from 0) answers with numbers; `name_of` is the image of the logit at a place.
pub(crate) fn check_finite(m: usize, outputs: &Outputs, name_of: impl Fn(usize) -> String) -> Result<(), Error> {
    match outputs.logits.iter().position(|logit| !logit.is_finite()) {
        Some(position) => Err(Error::NotFinite { node: m + 1, image: name_of(position) }),
        None => Ok(()),
    }
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
    pub fn new(nodes: usize, dataset: &Dataset, pipeline: &Pipeline, settings: &TrainSettings) -> Result<Self, Error> {
        let inference = Inference::new(dataset, pipeline, settings)?;
        Ok(Self { inference, measures: Accumulator::new(nodes, dataset.classes()), done: 0 })
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
