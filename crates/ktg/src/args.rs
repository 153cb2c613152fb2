//! Commands and their arguments; the help texts are here.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ktg_train::EvaluateOn;

/// Train ensembles of image classifiers that teach each other.
///
/// M networks learn the same images together. A knowledge transfer graph says who pulls whom closer or pushes whom
/// apart, in class probabilities or attention maps, through which gate. The ensemble, the mean of their logits, gains
/// most when its members are good but differ.
///
/// Start with `ktg demo`; then `ktg train` on images of your own.
#[derive(Parser, Debug)]
#[command(name = "ktg", version, max_term_width = 100)]
pub struct Args {
    /// Threads for computing [default: one per core]. Results are the same, bit for bit, only for equal numbers; `demo`
    /// trains so many runs at a time, each on one thread
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Which code computes the networks on the CPU: auto (the fastest this processor can run), avx512, avx2, portable,
    /// or reference (the slow operations of the Burn framework, to compare with)
    #[arg(long, global = true, value_name = "NAME", env = ktg_nn::kernels::VARIABLE, default_value = "auto", hide_env_values = true)]
    pub kernels: ktg_nn::kernels::Choice,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Search for a graph and compare it with two others, on data that comes with the program, in under ten minutes
    Demo(DemoArgs),
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
    /// Judge the networks of finished or unfinished runs; runs of the same graph are summed up
    Eval(EvalArgs),
    /// Classify images, and show what each network looks at
    Predict(PredictArgs),
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

/// Searches for a graph on a part of the built-in Fashion-MNIST subset's training images, then trains Independent (no
/// teaching), DML (mutual learning) and the found graph on all of them, several times each, and prints a table in the
/// form of the thesis' table 1. Interrupted, it goes on where it was when started again.
#[derive(ClapArgs, Debug)]
pub struct DemoArgs {
    /// Directory for runs, graph pictures and attention overlays
    #[arg(long, default_value = "ktg-demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Runs per method, with seeds 1, 2, ...
    #[arg(long, default_value_t = crate::demo::REPEATS, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub repeats: u64,
    /// Graphs that the search tries
    #[arg(long, default_value_t = crate::demo::TRIALS, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub trials: i64,
    /// Passes over the training images; fewer are faster and show less
    #[arg(long, default_value_t = crate::demo::EPOCHS, value_name = "N")]
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
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this directory, exactly as if it had not been interrupted
    #[arg(long, value_name = "DIR", conflicts_with_all = ["experiment", "out", "settings"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Do not decode every image before training (a broken file then stops the run when its turn comes)
    #[arg(long)]
    pub no_check: bool,
    /// List the images that cannot be used and train without them, instead of stopping
    #[arg(long, conflicts_with_all = ["no_check", "resume"])]
    pub skip_bad: bool,
    /// End with the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(ClapArgs, Debug, Default)]
#[group(id = "settings", multiple = true)]
pub struct SettingFlags {
    /// Graph file
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub graph: Option<PathBuf>,
    /// Graph preset: independent, dml, kd or diverse
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Network nodes of the preset
    #[arg(long, value_name = "M")]
    pub nodes: Option<usize>,
    /// Architecture of all nodes, such as abn-resnet-18 or abn-resnet-cifar-20
    #[arg(long, value_name = "NAME")]
    pub architecture: Option<String>,
    /// Seed of weights, order and augmentation
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Side of the networks' input in pixels
    #[arg(long, value_name = "PX")]
    pub side: Option<usize>,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Images a step
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate before the schedule's factor
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Write the losses of all nodes and edges every N steps (1: every step, 0: never)
    #[arg(long, value_name = "N")]
    pub log_every: Option<u64>,
    /// Write initial weights and the first N batches, to be checked against PyTorch (fixtures/verify_run.py)
    #[arg(long, value_name = "N")]
    pub record_steps: Option<u64>,
    /// Any setting by its name in the experiment file, such as train.momentum=0.8 (paths start at the experiment file);
    /// may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// One worker. It takes graphs that others enqueued, gave back or lost, or chooses new ones, trains each on one part of
/// the training images, judges its ensemble on the other, and stops hopeless ones early, until the study has N trials.
/// Start as many as you like, on as many machines as reach the storage. Ctrl-C gives the trial at hand back.
///
/// What is searched, and how, is in the table [search] of the experiment file; see docs/search.md.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg search photos.toml --study photos --trials 200
  ktg search photos.toml --study photos --trials 6000 --storage postgresql://user:password@host/studies
  ktg study best photos --out best        # then: ktg train photos.toml --graph best/photos-1.toml --out runs/best
Watch it: optuna-dashboard sqlite:///ktg.db

In the experiment file:
  [search]
  sampler = \"evolution\"                       # random, tpe, evolution
  pruner = \"promotion\"                        # none, median, asha, promotion, hyperband
  gates = [\"through\", \"linear\", \"cutoff\"]
  [search.edges]
  \"label -> 1\" = \"through\"                 # fixed
  \"2 -> 1\" = { designs = [\"both closer\"] }  # a choice of its own")]
pub struct SearchArgs {
    /// Experiment file (TOML) [default: every setting at its default, on the built-in data]
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: Option<PathBuf>,
    /// Name of the study; it is made if there is none
    #[arg(long, value_name = "NAME")]
    pub study: String,
    #[command(flatten)]
    pub storage: StorageArg,
    /// Trials that the study shall have in the end, those of all workers together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    pub trials: i64,
    /// Directory of the trials' runs; workers that share it go on with each other's checkpoints [default: STUDY.runs]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// How graphs are chosen, instead of the experiment file's: random, tpe or evolution
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<ktg_search::SamplerKind>,
    /// How hopeless trials are stopped, instead of the experiment file's: none, median, asha, promotion or hyperband
    #[arg(long, value_name = "NAME")]
    pub pruner: Option<ktg_search::PrunerKind>,
    /// Seed of the sampler: a single worker with the same seed chooses the same graphs [default: another one each time]
    #[arg(long, value_name = "N")]
    pub sampler_seed: Option<u64>,
    /// The most trials that are kept waiting for their promotion; of more, the worst are pruned and their checkpoints
    /// deleted [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_paused: Option<usize>,
    /// Leave when there is nothing to do, even if other workers may still die or leave something to continue
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds between signs of life
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    pub heartbeat: f64,
    /// Seconds without a sign of life after which a worker's trial is given to another; the same for all workers
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS")]
    pub silence: f64,
    /// How often a graph is tried again when its workers die
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub retries: usize,
    /// Minutes to wait for a database that is away or a disk that is full
    #[arg(long, default_value_t = 30.0, value_name = "MINUTES")]
    pub patience: f64,
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Do not decode every image before the first trial
    #[arg(long)]
    pub no_check: bool,
    /// List the images that cannot be used and search without them, instead of stopping
    #[arg(long, conflicts_with = "no_check")]
    pub skip_bad: bool,
}

/// Where studies are kept if nothing else is said.
pub const DEFAULT_STORAGE: &str = "sqlite:///ktg.db";

#[derive(ClapArgs, Debug)]
pub struct StorageArg {
    /// Where studies are kept: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "KTG_STORAGE", default_value = DEFAULT_STORAGE, value_name = "URL", hide_env_values = true)]
    pub storage: String,
}

#[derive(Subcommand, Debug)]
pub enum StudyCommand {
    /// List the studies of a storage
    List {
        #[command(flatten)]
        storage: StorageArg,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Describe a study: its trials by state, its rungs, its best graphs
    Show {
        /// Name of the study
        study: String,
        #[command(flatten)]
        storage: StorageArg,
        /// Graphs to show
        #[arg(long, default_value_t = 10, value_name = "N")]
        top: usize,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a study's best graphs as files for `ktg train`, with pictures
    Best {
        /// Name of the study
        study: String,
        #[command(flatten)]
        storage: StorageArg,
        /// Graphs to write
        #[arg(long, default_value_t = 1, value_name = "N")]
        top: usize,
        /// Directory for the files [default: the best graph on standard output]
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Write all trials of a study as CSV or JSON
    Export {
        /// Name of the study
        study: String,
        #[command(flatten)]
        storage: StorageArg,
        /// File to write; .csv or .json decides the format [default: CSV on standard output]
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Prune the trials that are paused: none of them will go on
    Close {
        /// Name of the study
        study: String,
        #[command(flatten)]
        storage: StorageArg,
    },
}

/// Judges the newest checkpoint of each run on its evaluation images.
#[derive(ClapArgs, Debug)]
pub struct EvalArgs {
    /// Run directories
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Other images than the run's settings say
    #[arg(long, value_name = "WHICH")]
    pub on: Option<On>,
    /// Print one line of JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Say what the data is: classes and images of each part; decodes nothing
    Info {
        #[command(flatten)]
        data: DataArgs,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Decode every image: counts per class, and every image that cannot be used
    Check {
        #[command(flatten)]
        data: DataArgs,
        /// Write the names of the images that cannot be used to this file, for `skip` in the table [data]
        #[arg(long, value_name = "FILE")]
        skip_list: Option<PathBuf>,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the split that a search trains and judges by, or compare one with the data
    #[command(after_help = "\
Examples:
  ktg data split photos.toml --out split.json        # then, in photos.toml: [split] file = \"split.json\"
  ktg data split photos.toml --read split.json")]
    Split {
        #[command(flatten)]
        data: DataArgs,
        /// File to write
        #[arg(short, long, value_name = "FILE", required_unless_present = "read")]
        out: Option<PathBuf>,
        /// Read a split instead, and say whether it is one of this data
        #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "share", "split_seed"])]
        read: Option<PathBuf>,
        /// Share of each class that is trained on [default: split.search_share of the experiment file, 0.5]
        #[arg(long, value_name = "SHARE")]
        share: Option<f64>,
        /// Seed of the choice [default: split.seed of the experiment file, 0]
        #[arg(long, value_name = "N")]
        split_seed: Option<u64>,
    },
    /// Write decoded images to one file that is mapped into memory, so that epochs do not decode them again
    ///
    /// A pack in use must not be written over (cp, rsync --inplace): replace it by `ktg data pack`, or by mv.
    #[command(after_help = "\
Example:
  ktg data pack photos.toml --short-side 256 --out photos.pack
then, in the experiment file:
  [data]
  source = \"pack\"
  file = \"photos.pack\"")]
    Pack {
        #[command(flatten)]
        data: DataArgs,
        /// File to write
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Reduce larger images until their shorter side is so many pixels [default: keep them as they are]
        #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u16).range(1..=8192))]
        short_side: Option<u16>,
        /// List the images that cannot be used and pack the others, instead of stopping
        #[arg(long)]
        skip_bad: bool,
    },
}

/// Which data.
#[derive(ClapArgs, Debug)]
pub struct DataArgs {
    /// Experiment file (TOML), whose table [data] counts [default: the built-in data]
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: Option<PathBuf>,
    /// Kind of data, instead of the experiment file's: fashion-mnist, folder, list, idx, stanford-dogs, stanford-cars,
    /// cub-200-2011, cifar-10, cifar-100 or pack
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Folder that the data lies in, instead of the experiment file's
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Any setting by its name in the experiment file, such as data.classes=names.txt (paths start at the experiment file);
    /// may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
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
pub struct PredictArgs {
    /// Run directory with the trained networks
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Image files
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Classes to show
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub top: usize,
    /// Write each node's attention over each image to this directory, as PNG
    #[arg(long, value_name = "DIR")]
    pub overlays: Option<PathBuf>,
    /// Print one line of JSON per image
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand, Debug)]
pub enum GraphCommand {
    /// Describe a graph: nodes, edges, hash
    Show {
        #[command(flatten)]
        graph: GraphArg,
        /// Print it as JSON, the same structure as the TOML file
        #[arg(long)]
        json: bool,
    },
    /// Check graph files: one line per good file, one error sentence with file and line per bad one
    Check {
        /// Graph files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print a ready-made graph as a file to edit
    #[command(after_help = "\
Presets:
  independent  label edges only: M networks that ignore each other
  dml          every network pulls every other's probabilities closer (deep mutual learning)
  kd           node 1 is a frozen teacher of the others (give its weights in the file)
  diverse      hand-made for M = 2 or 3: good networks that look at different places")]
    Preset {
        /// independent, dml, kd or diverse
        name: String,
        /// Number of network nodes
        #[arg(long, default_value_t = 2, value_name = "M")]
        nodes: usize,
        /// Architecture of all nodes
        #[arg(long, default_value = "abn-resnet-18", value_name = "NAME")]
        architecture: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Turn the authors' config.json into a graph file
    Import {
        /// The authors' config.json
        file: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Draw a graph in the manner of the thesis' figure 2, as SVG or DOT
    Draw {
        #[command(flatten)]
        graph: GraphArg,
        /// File to write; .svg or .dot decides the format [default: SVG to standard output]
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(ClapArgs, Debug)]
pub struct GraphArg {
    /// A graph file (TOML or JSON, the authors' config.json too), or a preset and its size such as dml:3
    #[arg(value_name = "GRAPH")]
    pub graph: String,
}

#[derive(ClapArgs, Debug)]
pub struct OutputArgs {
    /// File to write; .json or .toml decides the format [default: TOML to standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
