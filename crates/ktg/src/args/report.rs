//! `ktg compare`, `ktg analyse`, `ktg report`, `ktg watch`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{ImageFlags, SettingFlags, StorageArg, WorkerArgs};

/// Trains every method of the plan on every data set, with every number of nodes and every seed, each in a run directory
/// of its own, and prints the thesis' tables 1 and 2 and the differences to a baseline. Finished runs are taken as they
/// are, interrupted ones go on; start it several times, on several machines that share the directory, and the processes
/// share the work.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Example: ktg compare methods.toml --jobs 2

A plan, methods.toml:
  experiment = \"photos.toml\"         # settings of all runs
  nodes = [2, 3]
  repeats = 5
  [[method]]
  name = \"Independent\"
  preset = \"independent\"
  [[method]]
  name = \"DML\"
  preset = \"dml\"
  [[method]]
  name = \"Found\"
  study = \"photos-m{nodes}\"          # the best graph of a study; or graph = \"found-{nodes}.toml\"
  [[data]]                            # optional: several data sets, as for the thesis' table 2
  name = \"photos\"")]
pub struct CompareArgs {
    /// Plan (TOML)
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Directory of the comparison [default: the plan's `out`, or its name without the ending]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs at a time, which share the threads. Small networks keep the cores busier with one thread each
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub jobs: usize,
    /// Only put into tables what is there
    #[arg(long)]
    pub read_only: bool,
    /// Do not wait for runs that other processes work on
    #[arg(long)]
    pub no_wait: bool,
    /// Only say how long the runs that are left would take, and how much memory and disk they would need, from a few steps of
    /// each kind of run; writes nothing
    #[arg(long, conflicts_with = "read_only")]
    pub estimate: bool,
    /// Where studies are that the plan names without a storage [default: sqlite:///ktg.db beside the plan]
    #[arg(long, env = "KTG_STORAGE", value_name = "URL", hide_env_values = true)]
    pub storage: Option<String>,
    #[command(flatten)]
    pub images: ImageFlags,
    /// Print one line of JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Without --edges: what the best graphs of a study have more of than all of them, and what the choice for each edge
/// explains. With --edges: trains a graph again as it is, without each edge, and with each transfer edge's direction
/// flipped, with several seeds, in a study of its own that any number of workers share; then says what each edge
/// contributes to the ensemble, to the nodes and to their diversity.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg analyse photos
  ktg analyse photos photos.toml --edges --seeds 5 --epochs 20     # start it as often as you have cores
  ktg report photos \"photos edges\" -o report.html")]
pub struct AnalyseArgs {
    /// Name of the study
    #[arg(value_name = "STUDY")]
    pub study: String,
    /// Experiment file of the search, for --edges [default: every setting at its default, on the built-in data]
    #[arg(value_name = "EXPERIMENT", requires = "edges")]
    pub experiment: Option<PathBuf>,
    #[command(flatten)]
    pub storage: StorageArg,
    /// Train the graph again with changed edges
    #[arg(long)]
    pub edges: bool,
    /// The trial whose graph it is [default: the best]
    #[arg(long, value_name = "N", requires = "edges")]
    pub trial: Option<i64>,
    /// Trainings of each change, with the seeds 1, 2, ...; more may be asked for later
    #[arg(long, default_value_t = 3, requires = "edges", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Name of the study of the changed graphs [default: "STUDY edges"]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Directory of the trainings' runs [default: NAME.runs]
    #[arg(long, value_name = "DIR", requires = "edges")]
    pub runs: Option<PathBuf>,
    /// Share of the graphs that count as the best
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub best: f64,
    #[command(flatten)]
    pub worker: WorkerArgs,
    #[command(flatten)]
    pub settings: SettingFlags,
    #[command(flatten)]
    pub images: ImageFlags,
    /// Print one line of JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// The file needs nothing else: no network, no script, no other file. It has tables, training curves, graphs, diversity,
/// calibration, confused classes, attention maps, the history of searches, the settings and the commands to do it again.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg report methods photos -o report.html       # the comparison in ./methods and the study photos of ktg.db
  ktg report runs/* -o runs.html --figures figures")]
pub struct ReportArgs {
    /// Run directories, directories of comparisons, names of studies
    #[arg(required = true, value_name = "RUN_OR_STUDY")]
    pub subjects: Vec<String>,
    #[command(flatten)]
    pub storage: StorageArg,
    /// File to write
    #[arg(short, long, default_value = "report.html", value_name = "FILE")]
    pub out: PathBuf,
    /// Write every figure to this directory, too, as SVG and PNG, and every table as text, Markdown, CSV and LaTeX
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Title of the report
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Images whose attention maps are shown: so many spread over the classes, and so many that the nodes disagree on; and
    /// so many pairs of confused classes
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub images: usize,
    /// Images to show as well, by name, such as photos/apple-3.jpg or its end; may be repeated
    #[arg(long = "image", value_name = "NAME")]
    pub chosen: Vec<String>,
    /// Do not let the networks judge their images again: no attention maps, no calibration, no confused classes
    #[arg(long)]
    pub no_judging: bool,
    /// Best graphs of a study to show
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub top: usize,
}

/// Shows how far it is, what is best so far, and how long it will take, until it is done or Ctrl-C. Whoever works on it is
/// not disturbed. On a terminal the picture renews itself; elsewhere it is printed once.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  ktg watch photos                      # the study photos in ktg.db
  ktg watch runs/found-2                # a run
In a browser:
  tensorboard --logdir runs             # losses and accuracies of runs
  optuna-dashboard sqlite:///ktg.db     # trials of studies")]
pub struct WatchArgs {
    /// A run directory, the directory of a comparison, or the name of a study
    #[arg(value_name = "RUN_OR_STUDY")]
    pub subject: String,
    #[command(flatten)]
    pub storage: StorageArg,
    /// Seconds between two looks
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub every: f64,
    /// Look once
    #[arg(long)]
    pub once: bool,
    /// Trials that the study shall have, to tell how long it will take
    #[arg(long, value_name = "N")]
    pub trials: Option<i64>,
}
