//! One case of the benchmark as a server that `bench/compare` drives; see `bench/README.md` for the protocol.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use ktg_data::Batch;
use ktg_graph::{Document, Graph};
use ktg_nn::burn::tensor::{Tensor, TensorData};
use ktg_nn::device::{self, DeviceChoice};
use ktg_nn::kernels::{self, Choice};
use ktg_nn::loss::LossSettings;
use ktg_nn::{Network, NetworkConfig, Wanted, ensemble_logits};
use ktg_train::trainer::{Moment, Trainer};
use ktg_train::{Precision, SgdSettings, StepBatch};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

/// Runs steps of one benchmark case, on command.
///
/// Reads lines from standard input: `train`, `infer`, `memory`, `quit`; answers each with a line of JSON.
#[derive(Parser)]
struct Args {
    /// abn-resnet-18-train, abn-resnet-18-infer, abn-resnet-cifar-20-train or abn-resnet-cifar-20-infer
    #[arg(long)]
    case: String,
    /// Threads that share the work.
    #[arg(long)]
    threads: usize,
    /// The graph; its architectures are replaced by the case's.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/graph.toml"))]
    graph: PathBuf,
    /// auto, reference, portable, avx2 or avx512
    #[arg(long, default_value = "auto")]
    kernels: Choice,
    /// cpu, or a GPU as `ktg devices` lists them
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// f32, bf16 or f16
    #[arg(long, default_value = "f32")]
    precision: String,
    /// Images a step, instead of the case's own number
    #[arg(long)]
    batch: Option<usize>,
}

/// Network, batch, side of the images, classes.
const NETWORKS: [(&str, usize, usize, usize); 2] =
    [("abn-resnet-18", 16, 224, 120), ("abn-resnet-cifar-20", 128, 32, 10)];
/// Small: random labels cannot be learned, and the losses shall stay finite.
const LEARNING_RATE: f64 = 0.01;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    kernels::choose(args.kernels)?;
    kernels::keep_freed_memory();
    device::choose(args.device)?;
    let precision = serde_json::from_value(json!(args.precision)).map_err(|_| "--precision is f32, bf16 or f16")?;
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).use_current_thread().build_global()?;
    let network = args.case.trim_end_matches("-train").trim_end_matches("-infer");
    let &(name, batch, side, classes) =
        NETWORKS.iter().find(|(name, ..)| *name == network).ok_or("there is no such case")?;
    let mut case = Case::new(&args.graph, name, args.batch.unwrap_or(batch), side, classes, precision)?;
    say(json!({
        "ready": true,
        "kernels": kernels::chosen().to_string(),
        "parameters": case.parameters(),
        "device": kernels::hardware(&device::chosen()).map_or("cpu".to_owned(), |hardware| hardware.name),
    }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if let Some(count) = line.trim().strip_prefix("steps ") {
            let count = count.parse().map_err(|_| "steps takes a number")?;
            let (ms, loss, images) = case.steps(count)?;
            say(json!({ "ms": ms, "loss": loss, "images": images }))?;
            continue;
        }
        match line.trim() {
            "train" => {
                let (ms, loss) = case.train()?;
                say(json!({ "ms": ms, "loss": loss }))?;
            }
            "infer" => {
                let (ms, loss) = case.infer();
                say(json!({ "ms": ms, "loss": loss }))?;
            }
            "memory" => say(json!({ "peak_rss_mib": peak_memory() }))?,
            "quit" => break,
            other => say(json!({ "error": format!("unknown command `{other}`") }))?,
        }
    }
    Ok(())
}

fn say(answer: serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}

/// Most memory this process has ever had, in MiB; `None` where the system does not say.
fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

struct Case {
    trainer: Trainer,
    batch: Batch,
    step: u64,
    /// Made at the first inference.
    members: Option<(Vec<Network>, Tensor<4>)>,
}

impl Case {
    fn new(
        graph: &Path,
        network: &str,
        batch: usize,
        side: usize,
        classes: usize,
        precision: Precision,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let graph: Graph = Document::read(graph)?.graph;
        let config = NetworkConfig::new(network.parse()?, classes);
        let nodes = graph.nodes().len();
        let sgd = SgdSettings { momentum: 0.9, weight_decay: 1e-4 };
        let device = device::chosen();
        let trainer =
            Trainer::new(&graph, &vec![config; nodes], &vec![None; nodes], 1, LossSettings::default(), sgd, &device)?
                .with_precision(precision)?;
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let batch = Batch {
            indices: (0..batch).collect(),
            images: (0..batch * 3 * side * side).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 24) as f32).collect(),
            labels: (0..batch).map(|_| rng.next_u32() % classes as u32).collect(),
            channels: 3,
            height: side,
            width: side,
            mixed: None,
        };
        Ok(Self { trainer, batch, step: 0, members: None })
    }

    /// Parameters of one node.
    fn parameters(&self) -> usize {
        let (weights, _) = self.trainer.state(0);
        weights.iter().filter(|(name, _)| !name.contains("running")).map(|(_, array)| array.data.len()).sum()
    }

    /// Milliseconds of a whole training step, its batch excluded, and the sum of all losses.
    fn train(&mut self) -> Result<(f64, f64), ktg_train::Error> {
        let batch = self.batch.clone();
        self.step += 1;
        // The step number only matters to the linear gate, which stays at one half.
        let at = Moment { step: self.step, steps: 2 * self.step, epoch: 1, learning_rate: LEARNING_RATE };
        let start = Instant::now();
        let report = self.trainer.step(batch, at)?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        Ok((ms, report.nodes.iter().filter_map(|node| node.loss).sum()))
    }

    /// Milliseconds of so many training steps, their batch on the device before; the loss of the last, and images.
    fn steps(&mut self, count: u64) -> Result<(f64, f64, usize), Box<dyn std::error::Error>> {
        let device = device::chosen().autodiff();
        let batch = StepBatch::new(self.batch.clone(), &device, self.trainer.precision());
        let start = Instant::now();
        for _ in 0..count {
            self.step += 1;
            let at = Moment { step: self.step, steps: 2 * self.step, epoch: 1, learning_rate: LEARNING_RATE };
            self.trainer.submit(batch.clone(), at)?;
        }
        self.trainer.wait()?;
        device.sync()?;
        let reports = self.trainer.known_reports();
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let last = reports.last().map_or(f64::NAN, |report| report.nodes.iter().filter_map(|node| node.loss).sum());
        Ok((ms, last, count as usize * self.batch.labels.len()))
    }

    /// Milliseconds of the ensemble's answer to the batch, and its mean logit (as a check).
    fn infer(&mut self) -> (f64, f64) {
        let (networks, images) = self.members.get_or_insert_with(|| {
            let Batch { labels, channels, height, width, images, .. } = &self.batch;
            let data = TensorData::new(images.clone(), [labels.len(), *channels, *height, *width]);
            (self.trainer.networks(), Tensor::from_data(data, &device::chosen()))
        });
        let nothing = Wanted { attention_logits: false, attention_map: false };
        let start = Instant::now();
        let logits: Vec<Tensor<2>> =
            networks.iter().map(|network| network.forward(images.clone(), nothing).logits).collect();
        let values = ktg_nn::weights::values(ensemble_logits(&logits));
        let ms = start.elapsed().as_secs_f64() * 1e3;
        (ms, values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64)
    }
}
