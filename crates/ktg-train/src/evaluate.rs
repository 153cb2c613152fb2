//! Judging networks on a data set.

use std::ops::ControlFlow;

use ktg_data::{Batch, Dataset, Loader, LoaderConfig, Pipeline};
use ktg_engine::{Images, Node, Outputs, Scratch, Wanted};

use crate::measures::{Accumulator, MemberOutputs};
use crate::{Error, Measures};

/// What the networks answer in inference mode.
fn member_outputs(nodes: &[Box<dyn Node>], images: Images, scratch: &mut Scratch) -> Vec<MemberOutputs> {
    let mut members = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Outputs { logits, attention_map, .. } = node.infer(images, Wanted::MAP, scratch);
        let maps = attention_map.map(|map| {
            let pixels = map.pixels();
            (map.data, pixels)
        });
        members.push(MemberOutputs { logits, maps });
    }
    members
}

/// Measures of networks and their ensemble on all images of `dataset`. `progress` hears how many images of how many are
/// done; if it breaks, there are no measures.
///
/// # Errors
///
/// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]).
pub fn evaluate(
    (nodes, scratch): (&[Box<dyn Node>], &mut Scratch),
    dataset: &Dataset,
    pipeline: &Pipeline,
    batch_size: usize,
    threads: usize,
    mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<Measures>, Error> {
    let mut all = Accumulator::new(nodes.len(), dataset.classes());
    let mut done = 0;
    let judged = each_batch((nodes, scratch), dataset, pipeline, batch_size, threads, |members, batch| {
        all.add(members, &batch.labels);
        done += batch.labels.len();
        progress(done, dataset.len())
    })?;
    Ok(judged.is_continue().then(|| all.finish()))
}

/// Shows `look` what the networks answer to all images of `dataset`, batch by batch, until it breaks.
///
/// # Errors
///
/// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]).
pub(crate) fn each_batch(
    (nodes, scratch): (&[Box<dyn Node>], &mut Scratch),
    dataset: &Dataset,
    pipeline: &Pipeline,
    batch_size: usize,
    threads: usize,
    mut look: impl FnMut(&[MemberOutputs], &Batch) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let config = LoaderConfig { batch_size, threads, ..LoaderConfig::new(pipeline.clone()) };
    let loader = Loader::new(dataset, config, (0..dataset.len()).collect())?;
    for batch in loader {
        let batch = batch?;
        let images = Images { data: &batch.images, count: batch.labels.len() };
        let members = member_outputs(nodes, images, scratch);
        for (m, member) in members.iter().enumerate() {
            if let Some(position) = member.logits.iter().position(|v| !v.is_finite()) {
                let image = dataset.name_of(batch.indices[position / dataset.classes()]);
                return Err(Error::NotFinite { node: m + 1, image });
            }
        }
        if look(&members, &batch).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
