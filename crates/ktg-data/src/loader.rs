//! Batches, decoded and augmented ahead of their use.

use crate::augment::{cutmix, mixup};
use crate::{Batch, Dataset, Error, Pipeline, Purpose, rng};
use ktg_base::random::below;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Samples in a batch.
    pub batch_size: usize,
    /// Worker threads; with 0, the calling thread does the work when a batch is asked for.
    pub threads: usize,
    /// Finished batches that wait for each worker (at least 1).
    pub prefetch: usize,
    /// Leave out a last batch that is not full (usual for training).
    pub drop_last: bool,
    /// `transform.train` or `transform.eval`.
    pub pipeline: Pipeline,
    /// Seed of the augmentation.
    pub seed: u64,
    /// Epoch, which the augmentation depends on.
    pub epoch: u64,
    /// Parameter of mixup, 0.001 to 4: samples are blended in shares from Beta(alpha, alpha). Default: no mixup.
    pub mixup: Option<f64>,
    /// Parameter of CutMix, 0.001 to 4: a box of every sample is another one's, in shares from Beta(alpha, alpha). With
    /// mixup too, a fair draw decides which of them a batch gets. Default: no CutMix.
    pub cutmix: Option<f64>,
    /// Number of the first batch to yield (to go on in the middle of an epoch).
    pub start_batch: usize,
}

impl LoaderConfig {
    /// Batches of 64, two worker threads, the last batch kept, everything else 0.
    pub fn new(pipeline: Pipeline) -> Self {
        Self {
            batch_size: 64,
            threads: 2,
            prefetch: 2,
            drop_last: false,
            pipeline,
            seed: 0,
            epoch: 0,
            mixup: None,
            cutmix: None,
            start_batch: 0,
        }
    }
}

/// An iterator over the batches of one epoch.
///
/// Each sample's random numbers come from [`rng`]`(seed, Purpose::Augment, epoch, number in the
/// data set)`; a sample that comes again in the epoch has others: its number is that plus so many
/// times the length of the data set. Worker w makes the batches w, w + threads, ... into a channel of its own, from
/// which they are taken in turn. So neither content nor order depends on the number of threads.
/// After an error it ends. Dropping it early stops and joins the workers.
#[derive(Debug)]
pub struct Loader {
    plan: Arc<Plan>,
    /// The next batch to yield.
    next: usize,
    /// Threads and what they have finished; none where the calling thread does the work.
    workers: Vec<(JoinHandle<()>, Finished)>,
    /// The worker whose turn it is.
    turn: usize,
}

/// What a worker has finished, in order.
type Finished = Receiver<Result<Batch, Error>>;

/// What all workers know.
#[derive(Debug)]
struct Plan {
    dataset: Dataset,
    order: Vec<usize>,
    /// Number of each place in the order, from which its sample's random numbers come.
    numbers: Vec<u64>,
    config: LoaderConfig,
    batches: usize,
}

impl Loader {
    /// Starts loading the samples `order` (numbers in the data set) in batches.
    ///
    /// # Errors
    /// If the batch size is 0, an index is not below the length of the data set, the pipeline takes
    /// other channels, or a thread cannot be started.
    pub fn new(dataset: &Dataset, config: LoaderConfig, order: Vec<usize>) -> Result<Self, Error> {
        if config.batch_size == 0 {
            return Err(Error::Setting("a batch size of 0; it must be at least 1".into()));
        }
        mixup::check(config.mixup, config.cutmix)?;
        if config.pipeline.channels() != dataset.channels() {
            let (wanted, found) = (config.pipeline.channels(), dataset.channels());
            return Err(Error::Setting(format!("augmentation for {wanted} channel(s), data of {found}")));
        }
        if let Some(&index) = order.iter().find(|&&index| index >= dataset.len()) {
            return Err(Error::Setting(format!("sample {index} of a data set of {} samples", dataset.len())));
        }
        let whole = order.len() / config.batch_size;
        let batches = if config.drop_last { whole } else { order.len().div_ceil(config.batch_size) };
        let (first, threads) = (config.start_batch.min(batches), config.threads);
        let numbers = numbers_of_draws(&order, dataset.len());
        let plan = Arc::new(Plan { dataset: dataset.clone(), order, numbers, config, batches });
        let mut loader = Self { plan, next: first, workers: Vec::new(), turn: 0 };
        for worker in 0..threads.min(batches - first) {
            loader.start_worker(first + worker, threads)?;
        }
        Ok(loader)
    }

    /// Batches in the whole epoch, those before `start_batch` included.
    pub fn batches(&self) -> usize {
        self.plan.batches
    }

    fn start_worker(&mut self, first: usize, step: usize) -> Result<(), Error> {
        let (sender, finished) = sync_channel(self.plan.config.prefetch.max(1));
        let plan = self.plan.clone();
        let thread = std::thread::Builder::new()
            .name(format!("loader {}", self.workers.len()))
            .spawn(move || work(&plan, first, step, &sender))
            .map_err(|error| Error::Loader(format!("cannot start a worker thread: {error}")))?;
        self.workers.push((thread, finished));
        Ok(())
    }
}

/// A number for each sample in `order`, out of `samples`: its own when it first comes, another one each time it comes again.
fn numbers_of_draws(order: &[usize], samples: usize) -> Vec<u64> {
    let mut next: Vec<u64> = (0..samples as u64).collect();
    let number = |&sample: &usize| {
        let number = next[sample];
        next[sample] += samples as u64;
        number
    };
    order.iter().map(number).collect()
}

/// Makes every `step`-th batch until all are made, one fails, or nobody takes them any more.
fn work(plan: &Plan, first: usize, step: usize, finished: &SyncSender<Result<Batch, Error>>) {
    for number in (first..plan.batches).step_by(step) {
        let batch = plan.batch(number);
        let failed = batch.is_err();
        if finished.send(batch).is_err() || failed {
            return;
        }
    }
}

impl Plan {
    fn batch(&self, number: usize) -> Result<Batch, Error> {
        let LoaderConfig { batch_size, pipeline, seed, epoch, .. } = &self.config;
        let start = number * batch_size;
        let end = (start + batch_size).min(self.order.len());
        let indices = self.order[start..end].to_vec();
        let mut images = Vec::with_capacity(indices.len() * pipeline.values());
        for (&index, &number) in indices.iter().zip(&self.numbers[start..end]) {
            let mut rng = rng(*seed, Purpose::Augment, *epoch, number);
            let appended = pipeline.append(self.dataset.image(index)?.as_ref(), &mut rng, &mut images);
            appended.map_err(|error| match error {
                Error::Setting(problem) => Error::image(self.dataset.name_of(index), problem),
                other => other,
            })?;
        }
        let labels = indices.iter().map(|&index| self.dataset.label(index)).collect();
        let (channels, size) = (pipeline.channels(), pipeline.size());
        let mut batch = Batch { indices, images, labels, channels, height: size, width: size, mixed: None };
        self.mix(&mut batch, number);
        Ok(batch)
    }

    /// Mixes the samples of a batch, if the settings say so.
    fn mix(&self, batch: &mut Batch, number: usize) {
        let LoaderConfig { seed, epoch, mixup, cutmix, .. } = self.config;
        let generator = |purpose| rng(seed, purpose, epoch, number as u64);
        let (mixup, cutmix) = match (mixup, cutmix) {
            (Some(_), Some(_)) if below(&mut generator(Purpose::Mixing), 2) == 0 => (mixup, None),
            (Some(_), Some(_)) => (None, cutmix),
            at_most_one => at_most_one,
        };
        if let Some(alpha) = mixup {
            mixup::mix(batch, alpha, &mut generator(Purpose::Mixup));
        }
        if let Some(alpha) = cutmix {
            cutmix::mix(batch, alpha, &mut generator(Purpose::CutMix));
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.plan.batches {
            return None;
        }
        let batch = if self.workers.is_empty() {
            self.plan.batch(self.next)
        } else {
            let turn = self.turn;
            self.turn = (turn + 1) % self.workers.len();
            // A channel that closes early means that its worker panicked.
            let died = |_| Err(Error::Loader("a worker thread died; this is a bug".into()));
            self.workers[turn].1.recv().unwrap_or_else(died)
        };
        self.next = if batch.is_ok() { self.next + 1 } else { self.plan.batches };
        Some(batch)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // All channels first: a worker that waits to hand over a batch wakes up when its channel closes.
        let (threads, channels): (Vec<_>, Vec<_>) = self.workers.drain(..).unzip();
        drop(channels);
        for thread in threads {
            let _ = thread.join(); // a panic was reported already, as an error in the place of its batch
        }
    }
}
