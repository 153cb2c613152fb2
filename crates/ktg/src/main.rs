//! `ktg`: ensembles of deep networks that teach each other. See `ktg --help`.

mod analyse;
mod args;
mod compare;
mod confirm;
mod data;
mod demo;
mod devices;
mod estimate;
mod eval;
mod export;
mod fixed;
mod found;
mod graph;
mod guesses;
mod jobs;
mod methods;
mod names;
mod net;
mod output;
mod predict;
mod predictions_csv;
mod progress;
mod pytorch;
mod report;
mod search;
mod seats;
mod signals;
mod study;
mod study_worker;
mod tf32;
mod torch_version;
mod train;
mod trials;
mod watch;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    match pytorch::check().and_then(|()| run(Args::parse())) {
        Ok(code) => code,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(args: Args) -> Result<ExitCode> {
    ktg_engine::choose(args.kernels)?;
    if args.command.computes() || args.tf32 {
        tf32::settle(&args.device, args.tf32)?;
    }
    args.device.choose()?;
    // This thread computes too. Were it to wait for as many threads as there are cores, a woken one would now and then be
    // put on the core it is about to leave, while another core sleeps. 0 stands for one thread per core.
    let threads = args.threads.unwrap_or(0).into();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global();
    pool.map_err(|e| anyhow!("cannot start the threads: {e}"))?;
    match args.command {
        Command::Demo(args) => return demo::run(&args),
        Command::Train(args) if args.estimate => estimate::train(&args)?,
        Command::Search(args) if args.estimate => estimate::search(&args)?,
        Command::Compare(args) if args.estimate => estimate::plan(&args)?,
        Command::Train(args) => return train::run(&args),
        Command::Data(command) => return data::run(&command),
        Command::Search(args) => return search::run(&args),
        Command::Study(command) => study::run(&command)?,
        Command::Compare(args) => return compare::run(&args),
        Command::Analyse(args) => return analyse::run(&args),
        Command::Report(args) => report::run(&args)?,
        Command::Watch(args) => watch::run(&args)?,
        Command::Eval(args) => eval::run(&args)?,
        Command::Predict(args) => return predict::run(&args),
        Command::Devices => devices::run()?,
        Command::Net(command) => net::run(&command)?,
        Command::Graph(command) => return graph::run(&command),
        Command::Completions { shell } => output::completions(shell)?,
    }
    Ok(ExitCode::SUCCESS)
}
