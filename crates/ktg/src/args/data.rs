//! `ktg data`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

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
