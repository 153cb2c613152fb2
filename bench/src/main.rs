//! One case of the benchmark as a server that `bench/compare` drives; see `bench/README.md` for the protocol.

mod account;
mod spec;

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use ktg_data::Batch;
use ktg_engine::account::{record, recorded};
use ktg_engine::loss::{GraphLoss, LossSettings};
use ktg_engine::{
    Choice, Computing, Devices, Images, Outputs, Precision, Rule, Uploads, Wanted, choose, chosen, computes,
};
use ktg_graph::{Document, Graph};
use ktg_net::{Build, Role};
use ktg_train::Trainer;
use ktg_train::schedule::{Length, Position};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use crate::account::Machine;
use crate::spec::CaseSpec;

/// Runs steps of one benchmark case, on command.
///
/// Reads lines from standard input: `train N`, `infer N`, `tiles` (how fast products in bf16 are at the moment), `memory`, `quit`; answers
/// each with a line of JSON.
#[derive(Parser)]
struct Args {
    /// ARCHITECTURE:BATCH:SIDE:CLASSES, such as abn-resnet-18:16:224:120
    #[arg(long)]
    case: CaseSpec,
    /// Threads that share the work.
    #[arg(long)]
    threads: usize,
    /// The graph; its architectures are replaced by the case's.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/graph.toml"))]
    graph: PathBuf,
    /// auto, reference, portable, neon, avx2 or avx512
    #[arg(long, default_value = "auto")]
    kernels: Choice,
    /// Print where so many training steps spend their time, and end (kernels of our own only)
    #[arg(long, value_name = "STEPS")]
    account: Option<u64>,
    /// f32, bf16 or f16: the numbers in which the networks compute while they learn
    #[arg(long, default_value = "f32")]
    precision: String,
}

/// Multiply-adds a second of products in bf16, at the moment.
fn peak_bf16() -> Result<f64, &'static str> {
    match chosen() {
        Choice::Kernels(kernels) => Ok(kernels.peak_bf16()),
        Choice::Reference => Err("the reference engine has no products in bf16"),
    }
}

/// By which instructions products in bf16 are computed on the CPU.
fn bf16_instructions() -> Option<&'static str> {
    match chosen() {
        Choice::Kernels(kernels) => kernels.bf16_instructions(),
        Choice::Reference => None,
    }
}

/// With a small learning rate: random labels cannot be learned, and the losses shall stay finite.
const RULE: Rule = Rule::sgd(0.01, 0.9, 1e-4);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    choose(args.kernels)?;
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).use_current_thread().build_global()?;
    let precision = Precision::from_name(&args.precision).filter(|precision| computes(*precision));
    let precision = precision.ok_or_else(|| format!("{} does not compute in {}", Devices::chosen(), args.precision))?;
    let mut case = Case::new(&args.graph, args.case, precision)?;
    if let Some(steps) = args.account {
        return case.account(steps);
    }
    say(json!({
        "ready": true,
        "kernels": chosen().to_string(),
        "bf16": bf16_instructions(),
        "parameters": case.parameters(),
    }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (command, count) = line.trim().split_once(' ').unwrap_or((line.trim(), "1"));
        match (command, count.parse()) {
            ("train", Ok(count)) if count > 0 => say(case.train(count)?)?,
            ("infer", Ok(count)) if count > 0 => say(case.infer(count)?)?,
            ("tiles", _) => say(json!({ "gflops": 2e-9 * peak_bf16()? }))?,
            ("memory", _) => say(json!({ "peak_rss_mib": peak_memory() }))?,
            ("quit", _) => break,
            _ => say(json!({ "error": format!("unknown command `{}`", line.trim()) }))?,
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
    step: usize,
}

impl Case {
    fn new(graph: &Path, spec: CaseSpec, precision: Precision) -> Result<Self, Box<dyn std::error::Error>> {
        let CaseSpec { architecture, batch, side, classes } = spec;
        let graph: Graph = Document::read(graph)?.graph;
        let networks = vec![architecture.build(Build { side: Some(side), ..Build::plain(3, classes) }); graph.len()];
        let loss = GraphLoss::new(&graph, &LossSettings::default(), &[]);
        let trainer =
            Trainer::new(&graph, networks, [side, side], &[], 1, loss, Computing { precision, first_device: 0 })?;
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
        Ok(Self { trainer, batch, step: 0 })
    }

    /// Parameters of one node.
    fn parameters(&mut self) -> usize {
        let parameters = self.trainer.nodes().0[0].network().parameters();
        parameters.iter().filter(|parameter| parameter.role == Role::Learned).map(|parameter| parameter.len()).sum()
    }

    /// So many training steps, one after the other: milliseconds of all of them, the sum of the last one's losses, and
    /// images.
    fn train(&mut self, count: u64) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        let mut last = f64::NAN;
        let start = Instant::now();
        for _ in 0..count {
            // The step only matters to the linear gate, which stays at one half.
            let at = Position { step: self.step as u64, ..Position::default() };
            self.step += 1;
            let length = Length { epochs: 2, batches: self.step };
            let report = self.trainer.step(std::slice::from_ref(&self.batch), at, length, RULE)?;
            last = report.nodes.iter().filter_map(|node| node.loss).sum();
        }
        // A GPU may still be at the last update.
        Devices::chosen().wait();
        let ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(json!({ "ms": ms, "loss": last, "images": self.batch.labels.len() as u64 * count }))
    }

    /// Prints where training steps spend their time.
    fn account(&mut self, steps: u64) -> Result<(), Box<dyn std::error::Error>> {
        let Choice::Kernels(kernels) = chosen() else { return Err("only our own kernels keep an account".into()) };
        self.train(2)?;
        let machine = Machine::measure(kernels);
        record();
        let start = Instant::now();
        self.train(steps)?;
        let seconds = start.elapsed().as_secs_f64();
        account::print(&recorded(), steps, seconds, &machine);
        Ok(())
    }

    /// The ensemble's answer to the batch, so many times: milliseconds of all of them, the mean logit (as a check), and
    /// images.
    fn infer(&mut self, count: u64) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        let nothing = Wanted { attention_logits: false, attention_map: false };
        let (nodes, scratch) = self.trainer.nodes();
        let mut values = Vec::new();
        let start = Instant::now();
        for _ in 0..count {
            let uploads = Uploads::default();
            let images = Images::new(&self.batch.images, self.batch.labels.len());
            let mut outputs: Vec<Outputs> = Vec::with_capacity(nodes.len());
            for node in nodes {
                outputs.push(node.infer(images.uploaded_once(&uploads), nothing, scratch)?);
            }
            let logits: Vec<&[f32]> = outputs.iter().map(|outputs| &outputs.logits[..]).collect();
            values = ensemble_logits(&logits);
        }
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
        Ok(json!({ "ms": ms, "loss": mean, "images": self.batch.labels.len() as u64 * count }))
    }
}

/// Logits of the ensemble node: the mean over the logits of all network nodes (thesis, eq. 5).
fn ensemble_logits(members: &[&[f32]]) -> Vec<f32> {
    let mean = |i: usize| members.iter().map(|member| member[i]).sum::<f32>() / members.len() as f32;
    (0..members[0].len()).map(mean).collect()
}
