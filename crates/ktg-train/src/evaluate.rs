//! Judging networks on a data set.

use std::ops::ControlFlow;

use ktg_data::{Batch, Dataset, Loader, LoaderConfig, Pipeline};
use ktg_nn::burn::tensor::{Device, Tensor};
use ktg_nn::device;
use ktg_nn::kernels::{Queue, in_queue};
use ktg_nn::{Network, Outputs, Wanted, weights};

use crate::measures::{Accumulator, MemberOutputs};
use crate::upload::image_tensor;
use crate::{Error, Measures};

/// Outputs of inference networks for images `[n, channels, height, width]`. All networks are started before the first
/// answer is waited for; on a GPU each has its own queue.
fn member_outputs(networks: &[Network], images: &Tensor<4>) -> Result<Vec<MemberOutputs>, Error> {
    let answer =
        |(m, network): (usize, &Network)| in_queue(Queue::Network(m), || network.forward(images.clone(), Wanted::MAP));
    let outputs: Vec<Outputs> = networks.iter().enumerate().map(answer).collect();
    let read = |outputs: Outputs| {
        let map = outputs.attention_map.map(|map| {
            let [_, height, width] = map.dims();
            weights::try_values(map).map(|values| (values, height * width))
        });
        Ok(MemberOutputs { logits: weights::try_values(outputs.logits)?, maps: map.transpose()? })
    };
    outputs.into_iter().map(read).collect()
}

/// Measures of inference networks ([`Network::valid`](ktg_nn::burn::module::Module::valid)) and their ensemble on all
/// images of `dataset`. `progress` hears how many images of how many are done; if it breaks, there are no measures.
///
/// # Errors
///
/// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]), or the device fails
/// ([`Error::Device`]).
pub fn evaluate(
    networks: &[Network],
    dataset: &Dataset,
    pipeline: &Pipeline,
    batch_size: usize,
    threads: usize,
    device: &Device,
    mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<Measures>, Error> {
    let mut all = Accumulator::new(networks.len(), dataset.classes());
    let mut done = 0;
    let judged = each_batch(networks, dataset, pipeline, batch_size, threads, device, |members, batch| {
        all.add(members, &batch.labels);
        done += batch.labels.len();
        progress(done, dataset.len())
    })?;
    Ok(judged.is_continue().then(|| all.finish()))
}

/// Shows `look` the outputs of inference networks for all images of `dataset`, batch by batch, until it breaks.
///
/// # Errors
/// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]), or the device fails
/// ([`Error::Device`]).
pub(crate) fn each_batch(
    networks: &[Network],
    dataset: &Dataset,
    pipeline: &Pipeline,
    batch_size: usize,
    threads: usize,
    device: &Device,
    mut look: impl FnMut(&[MemberOutputs], &Batch) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let config = LoaderConfig { batch_size, threads, ..LoaderConfig::new(pipeline.clone()) };
    let loader = Loader::new(dataset, config, (0..dataset.len()).collect())?;
    for batch in loader {
        let mut batch = batch?;
        let images = image_tensor(&mut batch, device);
        let members = device::guarded(|| member_outputs(networks, &images))??;
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
