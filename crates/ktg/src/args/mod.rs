//! Commands and their arguments; the help texts are here.

mod data;
mod flags;
mod graph;
mod net;
mod report;
mod search;
mod study;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ktg_train::EvaluateOn;

pub use data::{DataArgs, DataCommand};
pub use flags::{ImageFlags, SettingFlags};
pub use graph::{GraphCommand, OutputArgs};
pub use net::NetCommand;
pub use report::{AnalyseArgs, CompareArgs, ReportArgs, WatchArgs};
pub use search::{SearchArgs, WorkerArgs};
pub use study::{DEFAULT_STORAGE, StorageArg, StudyCommand};

/// Train ensembles of image classifiers that teach each other.
///
/// M networks learn the same images together. A knowledge transfer graph says who pulls whom closer or pushes whom
/// apart, in class probabilities, attention maps or both (by choice, also in how class probabilities correlate), through
/// which gate. The ensemble, the mean of their logits, gains most when its members are good but differ.
///
/// Start with `ktg demo`; then `ktg train` on images of your own.
#[derive(Parser, Debug)]
#[command(name = "ktg", version, max_term_width = 100)]
pub struct Args {
    /// Threads for computing [default: one per core]. Results do not depend on it; `demo` trains so many runs at a time,
    /// each on one thread
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Which code computes the networks: auto (the fastest this processor can run), avx512, avx2, neon, portable, or
    /// reference (plain and slow, from the definitions, to compare with)
    #[arg(long, global = true, value_name = "NAME", env = ktg_engine::VARIABLE, default_value = "auto", hide_env_values = true)]
    pub kernels: ktg_engine::Choice,
    /// Where the networks are computed: cpu; by PyTorch (docs/gpu.md) on cuda, cuda:1, mps or, its CPU, torch; or auto (the first
    /// cuda device, else cpu). Of several, as in cuda:0,cuda:1, each node lives on the next
    #[arg(long, global = true, value_name = "NAMES", env = ktg_engine::Device::VARIABLE, default_value = "auto", hide_env_values = true)]
    pub device: ktg_engine::Devices,
    /// Let NVIDIA's GPUs round the factors of products and convolutions to TF32, as PyTorch does in convolutions by itself:
    /// some times faster, about 1e-3 off
    #[arg(long, global = true)]
    pub tf32: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Search for a graph and compare it with two others, on data that comes with the program, in under ten minutes
    Demo(DemoArgs),
    /// List the devices that networks can be computed on
    Devices,
    /// Train the networks of one graph, or go on with an interrupted run
    Train(Box<TrainArgs>),
    /// Look at data, check it, split it for the search, pack it for speed
    #[command(subcommand)]
    Data(DataCommand),
    /// Search for the graph: work on a study, alone or together with as many workers as you start
    Search(Box<SearchArgs>),
    /// Look at studies, take their best graphs, export their trials
    #[command(subcommand)]
    Study(StudyCommand),
    /// Train the methods of a plan, several times each, and put them into tables
    Compare(CompareArgs),
    /// Ask what good graphs have in common, and train one again without each of its edges
    Analyse(Box<AnalyseArgs>),
    /// Write one HTML file about runs, comparisons and studies, with every table and figure
    Report(ReportArgs),
    /// Watch a run or a study that others work on
    Watch(WatchArgs),
    /// Judge the networks of finished or unfinished runs; runs of the same graph are summed up
    Eval(EvalArgs),
    /// Classify images, and show what each network looks at
    Predict(PredictArgs),
    /// List the kinds of networks there are, and what they consist of
    #[command(subcommand)]
    Net(NetCommand),
    /// Look at, check, make, import and draw knowledge transfer graphs
    #[command(subcommand)]
    Graph(GraphCommand),
    /// Print a script that completes `ktg` commands in your shell
    #[command(after_help = "Example: ktg completions bash > ~/.local/share/bash-completion/completions/ktg")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Whether networks are computed by it.
    pub fn computes(&self) -> bool {
        match self {
            Command::Demo(_) | Command::Train(_) | Command::Search(_) | Command::Compare(_) => true,
            Command::Analyse(_) | Command::Eval(_) | Command::Predict(_) => true,
            Command::Devices | Command::Data(_) | Command::Study(_) | Command::Report(_) | Command::Watch(_) => false,
            Command::Net(_) | Command::Graph(_) | Command::Completions { .. } => false,
        }
    }
}

/// Searches for a graph on a part of the built-in Fashion-MNIST subset's training images, then trains Independent (no
/// teaching), DML (mutual learning) and the found graph on all of them, several times each, and prints a table in the
/// form of the thesis' table 1. Interrupted, it goes on where it was when started again.
#[derive(ClapArgs, Debug)]
pub struct DemoArgs {
    /// Directory for runs, graph pictures and attention overlays
    #[arg(long, default_value = "ktg-demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Runs per method, with seeds 1, 2, ...
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub repeats: u64,
    /// Graphs that the search tries
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub trials: i64,
    /// Passes over the training images; fewer are faster and show less
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub epochs: usize,
    /// End with one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Settings come from an experiment file; every flag below replaces one of its settings. The effective settings are
/// saved in the run directory, together with graph, metrics, checkpoints and result.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg train --preset dml --nodes 2 --epochs 20 --out runs/dml       # on the built-in data
  ktg train photos.toml --graph found.toml --seed 2 --out runs/found-2
  ktg train --resume runs/found-2
  ktg train photos.toml --estimate                                  # how long it would take
Watch it: tensorboard --logdir runs

An experiment file for your own photos, one folder per class in photos/train and photos/test:
  side = 64
  augment = \"fine-grained\"
  [graph]
  preset = \"dml\"
  nodes = 2
  architecture = \"abn-resnet-cifar-20\"
  [data]
  source = \"folder\"
  root = \"photos\"
  [train]
  epochs = 60")]
pub struct TrainArgs {
    /// Experiment file (TOML) [default: every setting at its default, on the built-in data]
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: Option<PathBuf>,
    /// Run directory; must be new or empty
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "estimate"])]
    pub out: Option<PathBuf>,
    /// Go on with the run in this directory, exactly as if it had not been interrupted; with --epochs, until it has so many
    #[arg(long, value_name = "DIR", conflicts_with_all = ["experiment", "out", "skip_bad"])]
    pub resume: Option<PathBuf>,
    /// Only say how long it would take, and how much memory and disk it would need, from a few steps and evaluation batches;
    /// writes nothing. Images are decoded first, as for a training; --no-check leaves that out
    #[arg(long, conflicts_with = "resume")]
    pub estimate: bool,
    #[command(flatten)]
    pub settings: SettingFlags,
    #[command(flatten)]
    pub images: ImageFlags,
    /// End with the result, or with the estimate, as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Judges the newest checkpoint of each run, or with `train.keep = "best"` its best epoch's, on its evaluation images.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg eval runs/*
  ktg eval runs/found-2 --classes             # which classes are taken for which
  ktg eval runs/found-2 --classes --json | jq '.classes[0].matrix'")]
pub struct EvalArgs {
    /// Run directories
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Other images than the run's settings say
    #[arg(long, value_name = "WHICH")]
    pub on: Option<On>,
    /// For each run, which classes are taken for which: the most confused pairs, and a table of all classes, the worst
    /// first; with --json also the confusion matrix (a row a class, a column an answer)
    #[arg(long)]
    pub classes: bool,
    /// Judge by the mean answer to each image and its mirror image (as with the setting augment.eval_flip)
    #[arg(long)]
    pub flip: bool,
    /// Print one line of JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum On {
    Test,
    Val,
    SearchSplit,
}

impl From<On> for EvaluateOn {
    fn from(on: On) -> Self {
        match on {
            On::Test => EvaluateOn::Test,
            On::Val => EvaluateOn::Val,
            On::SearchSplit => EvaluateOn::SearchSplit,
        }
    }
}

/// Shows the likeliest classes per node and for the ensemble.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg predict --run runs/found-2 new/*.jpg --overlays seen
  ktg predict --run runs/found-2 new --csv answers.csv        # all images in new and its folders

The columns of the CSV file: path; the ensemble's class and its probability; class_2, probability_2, ... up to --top; for each
node node_1_class, node_1_probability, ...; error, which says why an image cannot be used.")]
pub struct PredictArgs {
    /// Run directory with the trained networks
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Image files, or folders: all images in them and in their folders, in the order of their names
    #[arg(required = true, value_name = "IMAGE_OR_FOLDER")]
    pub images: Vec<PathBuf>,
    /// Classes to show
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = at_least_one)]
    pub top: usize,
    /// Write each node's attention over each image to this directory, as PNG
    #[arg(long, value_name = "DIR")]
    pub overlays: Option<PathBuf>,
    /// Write a table with a row an image to this file, or - to standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub csv: Option<PathBuf>,
    /// Take the mean answer to each image and its mirror image (as with the setting augment.eval_flip)
    #[arg(long)]
    pub flip: bool,
    /// Print one line of JSON per image
    #[arg(long)]
    pub json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("it must be a whole number from 1 up".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
