//! `ktg search`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{ImageFlags, SettingFlags, StorageArg};

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
  ktg search photos.toml --study photos --trials 200 --confirm 8    # the best 8 again, with new seeds
  ktg study best photos --out best        # then: ktg train photos.toml --graph best/photos-1.toml --out runs/best
Watch it: optuna-dashboard sqlite:///ktg.db

In the experiment file:
  [search]
  sampler = \"evolution\"                       # random, tpe, evolution, model
  pruner = \"promotion\"                        # none, median, asha, promotion, hyperband
  objective = \"accuracy\"                      # or nll
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
    /// How graphs are chosen, instead of the experiment file's: random, tpe, evolution or model
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<ktg_search::SamplerKind>,
    /// How hopeless trials are stopped, instead of the experiment file's: none, median, asha, promotion or hyperband
    #[arg(long, value_name = "NAME")]
    pub pruner: Option<ktg_search::PrunerKind>,
    /// What makes a graph better, instead of the experiment file's: accuracy, or nll (the ensemble's negative
    /// log-likelihood, its temperature fitted on the same images)
    #[arg(long, value_name = "NAME")]
    pub objective: Option<ktg_search::ObjectiveKind>,
    /// When the study has its trials, train its K best graphs again, with new seeds, in rounds that drop the worse half:
    /// `ktg study best` then answers the winner. All workers share the work; give all of them the same K
    #[arg(long, value_name = "K", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub confirm: Option<usize>,
    /// Trainings that `--confirm` may spend on all graphs together [default: 3 K]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub confirm_trainings: Option<usize>,
    /// Seed of the sampler: a single worker with the same seed chooses the same graphs [default: another one each time]
    #[arg(long, value_name = "N")]
    pub sampler_seed: Option<u64>,
    /// The most trials that are kept waiting for their promotion; of more, the worst are pruned and their checkpoints
    /// deleted [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_paused: Option<usize>,
    /// Only say how long N trials would take one worker, and how much memory and disk they would need, from a few steps of a
    /// graph of the search space; writes nothing and does not look at the study
    #[arg(long)]
    pub estimate: bool,
    #[command(flatten)]
    pub worker: WorkerArgs,
    #[command(flatten)]
    pub settings: SettingFlags,
    #[command(flatten)]
    pub images: ImageFlags,
}

/// How a worker works together with others.
#[derive(ClapArgs, Debug)]
pub struct WorkerArgs {
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
}
