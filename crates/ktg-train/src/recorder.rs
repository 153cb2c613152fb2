//! What another implementation needs to check ours: initial weights and the first batches.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ktg_base::{create_dir_all, write_atomically};
use ktg_data::Batch;
use ktg_net::weights;
use safetensors::tensor::{Dtype, TensorView};

use crate::Error;
use crate::checkpoint::weights_name;
use crate::trainer::Trainer;

/// Collects the batches of the first steps and writes `initial/node1.safetensors` ... and `batches.safetensors`
/// (`images.K`: f32 `[n, channels, height, width]`, `labels.K`: i32 `[n]`, K from 1).
pub(crate) struct Recorder {
    directory: PathBuf,
    steps: u64,
    all_steps: u64,
    batches: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Recorder {
    /// Writes the initial weights. `steps` is how many batches will be recorded, of `all_steps` in the training.
    pub fn start(directory: &Path, trainer: &Trainer, steps: u64, all_steps: u64) -> Result<Self, Error> {
        let initial = directory.join("initial");
        create_dir_all(&initial)?;
        for m in 0..trainer.node_count() {
            write_atomically(&initial.join(weights_name(m)), &weights::to_bytes(&trainer.state(m)?.0, None))?;
        }
        Ok(Self { directory: directory.to_owned(), steps, all_steps, batches: Vec::new() })
    }

    /// Records the batch of `step` (from 1). The file is written anew each time, so that it is whole at any instant.
    pub fn batch(&mut self, step: u64, batch: &Batch) -> Result<(), Error> {
        if step > self.steps {
            return Ok(());
        }
        let n = batch.labels.len();
        let images = batch.images.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vec![n, batch.channels, batch.height, batch.width];
        self.batches.push((format!("images.{step}"), Dtype::F32, shape, images));
        let labels = batch.labels.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect();
        self.batches.push((format!("labels.{step}"), Dtype::I32, vec![n], labels));
        let path = self.directory.join("batches.safetensors");
        let mut views = Vec::new();
        for (name, dtype, shape, data) in &self.batches {
            let view = TensorView::new(*dtype, shape.clone(), data);
            views.push((name.as_str(), view.map_err(|e| Error::run(&path, e.to_string()))?));
        }
        let metadata = HashMap::from([("steps".to_owned(), self.all_steps.to_string())]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::run(&path, e.to_string()))?;
        Ok(write_atomically(&path, &bytes)?)
    }
}
