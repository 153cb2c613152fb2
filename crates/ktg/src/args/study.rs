//! `ktg study`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

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
    /// Read a study of the authors' published code into a new study: its errors become accuracies
    Import {
        /// Name of the new study
        study: String,
        /// Where the study to read is, as for --storage; it is only read
        #[arg(long, value_name = "URL")]
        from: String,
        /// Its name there [default: the only study there]
        #[arg(long, value_name = "NAME")]
        study_there: Option<String>,
        #[command(flatten)]
        storage: StorageArg,
    },
    /// Prune the trials that are paused: none of them will go on
    Close {
        /// Name of the study
        study: String,
        #[command(flatten)]
        storage: StorageArg,
    },
}
