//! Judging networks on a data set.

use std::ops::ControlFlow;

use ktg_data::{Batch, Dataset, Loader, LoaderConfig, Pipeline};
use ktg_nn::burn::tensor::{Device, Tensor, TensorData};
use ktg_nn::{Network, Wanted, weights};

use crate::measures::{Accumulator, MemberOutputs};
use crate::{Error, Measures};

/// A batch's images as a tensor `[n, channels, height, width]`.
pub(crate) fn image_tensor(batch: &mut Batch, device: &Device) -> Tensor<4> {
    let shape = [batch.labels.len(), batch.channels, batch.height, batch.width];
    Tensor::from_data(TensorData::new(std::mem::take(&mut batch.images), shape), device)
}

/// Outputs of an inference network for images `[n, channels, height, width]`.
fn member_outputs(network: &Network, images: Tensor<4>) -> MemberOutputs {
    let outputs = network.forward(images, Wanted::MAP);
    let maps = outputs.attention_map.map(|map| {
        let [_, height, width] = map.dims();
        (weights::values(map), height * width)
    });
    MemberOutputs { logits: weights::values(outputs.logits), maps }
}

/// Measures of inference networks ([`Network::valid`](ktg_nn::burn::module::Module::valid)) and their ensemble on all
/// images of `dataset`. `progress` hears how many images of how many are done; if it breaks, there are no measures.
///
/// # Errors
///
/// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]).
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
/// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]).
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
        let members: Vec<MemberOutputs> = networks.iter().map(|n| member_outputs(n, images.clone())).collect();
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
