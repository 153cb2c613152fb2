//! Judging networks on a data set.

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
pub(crate) fn member_outputs(network: &Network, images: Tensor<4>) -> MemberOutputs {
    let outputs = network.forward(images, Wanted::MAP);
    let maps = outputs.attention_map.map(|map| {
        let [_, height, width] = map.dims();
        (weights::values(map), height * width)
    });
    MemberOutputs { logits: weights::values(outputs.logits), maps }
}

/// Measures of inference networks ([`Network::valid`](ktg_nn::burn::module::Module::valid)) and their ensemble on all
/// images of `dataset`. `progress` hears how many images of how many are done.
pub fn evaluate(
    networks: &[Network],
    dataset: &Dataset,
    pipeline: &Pipeline,
    batch_size: usize,
    threads: usize,
    device: &Device,
    mut progress: impl FnMut(usize, usize),
) -> Result<Measures, Error> {
    let config = LoaderConfig { batch_size, threads, ..LoaderConfig::new(pipeline.clone()) };
    let loader = Loader::new(dataset, config, (0..dataset.len()).collect())?;
    let mut all = Accumulator::new(networks.len(), dataset.classes());
    let mut done = 0;
    for batch in loader {
        let mut batch = batch?;
        let images = image_tensor(&mut batch, device);
        let members: Vec<MemberOutputs> = networks.iter().map(|n| member_outputs(n, images.clone())).collect();
        all.add(&members, &batch.labels);
        done += batch.labels.len();
        progress(done, dataset.len());
    }
    Ok(all.finish())
}
