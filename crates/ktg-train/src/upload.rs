//! Batches on their way to the device.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use ktg_data::{Batch, Loader};
use ktg_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use ktg_nn::device::DeviceError;
use ktg_nn::kernels::{self, Queue};

use crate::{Error, Precision};

/// A batch on the device.
#[derive(Clone)]
pub struct StepBatch {
    /// `[n, channels, height, width]`
    pub(crate) images: Tensor<4>,
    /// Class indices, `[n]`.
    pub(crate) labels: Tensor<1, Int>,
    /// The labels of the images that were mixed in, `[n]`, and the share of a sample's own.
    pub(crate) mixed: Option<(Tensor<1, Int>, f32)>,
    /// Images in the batch.
    pub(crate) len: usize,
}

/// A batch's images as a tensor `[n, channels, height, width]`, by way of memory that the device reads by itself.
pub(crate) fn image_tensor(batch: &mut Batch, device: &Device) -> Tensor<4> {
    let shape = [batch.labels.len(), batch.channels, batch.height, batch.width];
    let mut data = TensorData::new(std::mem::take(&mut batch.images), shape);
    if kernels::is_gpu(device) {
        device.staging([&mut data].into_iter());
    }
    Tensor::from_data(data, device)
}

fn label_tensor(labels: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    Tensor::from_data(TensorData::new(values, [labels.len()]), device)
}

impl StepBatch {
    /// Brings a batch to an autodiff device.
    pub fn new(mut batch: Batch, device: &Device, precision: Precision) -> Self {
        let labels = label_tensor(&batch.labels, device);
        let mixed = batch.mixed.as_ref().map(|mixed| (label_tensor(&mixed.labels, device), mixed.share));
        let len = batch.labels.len();
        let mut images = image_tensor(&mut batch, device);
        if precision != Precision::F32 {
            images = images.cast(precision.dtype());
        }
        Self { images, labels, mixed, len }
    }
}

/// Batches ahead of the step that a GPU works on.
const AHEAD: usize = 2;

/// A batch on the device and, where it was asked for, as it was before.
pub(crate) type Uploaded = (StepBatch, Option<Batch>);

/// The batches of a loader, on the device. For a GPU a thread of its own brings them there, in a queue of its own, while
/// the steps before them are computed; to the CPU there is no way to go.
pub(crate) enum Uploads {
    /// To the CPU.
    Here(Box<Upload>),
    /// To a GPU.
    Ahead { batches: Option<Receiver<Result<Uploaded, Error>>>, thread: Option<JoinHandle<()>> },
}

/// Brings one batch after another to the device.
pub(crate) struct Upload {
    loader: Loader,
    device: Device,
    precision: Precision,
    /// Batches that are still to be given back as they are, too.
    keep: u64,
}

impl Iterator for Upload {
    type Item = Result<Uploaded, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.loader.next()?;
        Some(batch.map_err(Error::from).map(|batch| {
            let kept = (self.keep > 0).then(|| batch.clone());
            self.keep = self.keep.saturating_sub(1);
            (StepBatch::new(batch, &self.device, self.precision), kept)
        }))
    }
}

impl Uploads {
    /// `device` is one with autodiff; the first `keep` batches come as they are, too.
    pub fn new(loader: Loader, device: &Device, precision: Precision, keep: u64) -> Self {
        let upload = Upload { loader, device: device.clone(), precision, keep };
        if !kernels::is_gpu(device) {
            return Uploads::Here(Box::new(upload));
        }
        let (sender, receiver) = sync_channel(AHEAD);
        let thread = thread::spawn(move || {
            let mut upload = upload;
            // The thread ends with the batches, or when nobody takes them any more because the run was stopped.
            while let Some(batch) = kernels::in_queue(Queue::Uploads, || upload.next()) {
                if sender.send(batch).is_err() {
                    return;
                }
            }
        });
        Uploads::Ahead { batches: Some(receiver), thread: Some(thread) }
    }
}

impl Iterator for Uploads {
    type Item = Result<Uploaded, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Uploads::Here(upload) => upload.next(),
            Uploads::Ahead { batches, thread } => {
                let batch = batches.as_ref().and_then(|batches| batches.recv().ok());
                // A thread that broke down did not come to the end of the batches.
                if batch.is_none() && thread.take().is_some_and(|thread| thread.join().is_err()) {
                    let reason = "it took no more batches".to_owned();
                    return Some(Err(DeviceError::Failed(reason).into()));
                }
                batch
            }
        }
    }
}

impl Drop for Uploads {
    /// Waits for the thread, which must not talk to the device when the program ends.
    fn drop(&mut self) {
        if let Uploads::Ahead { batches, thread } = self {
            drop(batches.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}
