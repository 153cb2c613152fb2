//! Flags that several commands have.

use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(ClapArgs, Clone, Debug, Default, PartialEq)]
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
    /// Type of number the networks compute in while they learn: f32, bf16 or, on PyTorch's devices (--device), f16; auto: bf16 where it was measured to be 1.3 times as fast
    #[arg(long, value_name = "NAME")]
    pub precision: Option<String>,
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

/// What happens to images that cannot be used.
#[derive(ClapArgs, Clone, Copy, Debug)]
pub struct ImageFlags {
    /// Do not decode every image before the first training (a broken file then stops a run when its turn comes)
    #[arg(long)]
    pub no_check: bool,
    /// List the images that cannot be used and go on without them, instead of stopping
    #[arg(long, conflicts_with = "no_check")]
    pub skip_bad: bool,
}
