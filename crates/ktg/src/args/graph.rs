//! `ktg graph`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

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
    /// Draw a graph in the manner of the thesis' figure 2, as SVG, PNG or DOT
    Draw {
        #[command(flatten)]
        graph: GraphArg,
        /// File to write; .svg, .png or .dot decides the format [default: SVG to standard output]
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
