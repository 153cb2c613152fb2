//! Records an objective: trains many random graphs with several seeds each, and writes how good their ensembles were after
//! every epoch, on held-out and on test images, so that ways of searching can be compared without training
//! (`crates/ktg-search/examples/compare.rs`, `optuna_search.py`). `recorded.csv` has its lines.
//!
//! `record recorded.toml OUT.csv`; started again, it goes on with the trainings that OUT.csv lacks.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use ktg_data::Dataset;
use ktg_graph::{Graph, presets};
use ktg_search::sampler::{Random, Sampler};
use ktg_search::{SearchSettings, Space};
use ktg_train::{Experiment, Run, RunDirectory, SavedRun, Settings};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The first line of the file.
const HEAD: &str =
    "graph,seed,epoch,training,held_out,held_out_nodes,held_out_nll,held_out_calibrated_nll,test,test_nodes,test_nll";

/// Trains random graphs with several seeds, and writes how good they were after every epoch.
#[derive(Parser)]
struct Args {
    /// The experiment of all trainings; its graph says which networks
    experiment: PathBuf,
    /// File to write, or to go on with
    out: PathBuf,
    /// Graphs
    #[arg(long, default_value_t = 150)]
    graphs: usize,
    /// Trainings of each
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Trainings at a time, each on one thread
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Test images of each class that are looked at
    #[arg(long, default_value_t = 25)]
    test_images: usize,
}

/// A training, and which graph it trains.
struct Task<'a> {
    seed: u64,
    graph: &'a Graph,
    hash: String,
}

/// Independent, DML, and as many random graphs of the thesis' space as there shall be, each once.
fn graphs(template: &Experiment, count: usize) -> Result<Vec<Graph>, AnyError> {
    let nodes = template.written_graph();
    let network = &nodes.nodes()[0].architecture;
    let space = Space::new(nodes, &SearchSettings::default())?;
    let mut graphs = vec![presets::independent(nodes.len(), network), presets::dml(nodes.len(), network)];
    let mut seen: HashSet<_> = graphs.iter().map(Graph::hash).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    while graphs.len() < count {
        let genes = Random.propose(&space, &[], &mut rng).swap_remove(0);
        let graph = space.graph(&genes).canonical();
        if template.fits(&graph) && seen.insert(graph.hash()) {
            graphs.push(graph);
        }
    }
    Ok(graphs)
}

/// Trains a graph in `directory`; returns a line for each epoch. One that diverges has fewer of them.
fn train(template: &Experiment, test: &Dataset, task: &Task, directory: &Path) -> Result<String, AnyError> {
    let mut experiment = template.with_graph(task.graph.clone())?;
    experiment.settings.seed = task.seed;
    let directory = RunDirectory::new(directory);
    let mut run = Run::start(experiment, &directory)?;
    let mut lines = String::new();
    loop {
        let epoch = match run.next_epoch() {
            Ok(Some(epoch)) => epoch,
            Ok(None) => break,
            Err(error) if error.is_divergence() => {
                eprintln!("{} with seed {}: {error}", task.hash, task.seed);
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let training: Vec<f64> = epoch.train.nodes.iter().filter_map(|node| node.accuracy).collect();
        let training = training.iter().sum::<f64>() / training.len().max(1) as f64;
        let held_out = epoch.evaluation.ok_or("every epoch is evaluated")?;
        let calibrated = held_out.ensemble.calibrated.ok_or("the temperature is fitted on held-out images")?;
        // Every epoch ends with a checkpoint.
        let test = SavedRun::open(&directory)?.evaluate(test)?;
        lines += &format!(
            "{},{},{},{training:.2},{:.2},{:.2},{:.4},{:.4},{:.2},{:.2},{:.4}\n",
            task.hash,
            task.seed,
            epoch.train.epoch,
            held_out.ensemble.accuracy.top1,
            held_out.node_average.top1,
            held_out.ensemble.nll,
            calibrated.nll,
            test.ensemble.accuracy.top1,
            test.node_average.top1,
            test.ensemble.nll,
        );
    }
    if lines.is_empty() {
        // It diverged at once, and would do so again.
        lines = format!("{},{},0{}\n", task.hash, task.seed, ",".repeat(HEAD.matches(',').count() - 2));
    }
    Ok(lines)
}

/// The trainings that a file holds already, as graph and seed.
fn known(out: &Path) -> Result<HashSet<(String, u64)>, AnyError> {
    let text = match std::fs::read_to_string(out) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error.into()),
    };
    let training = |line: &str| {
        let mut fields = line.split(',');
        Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
    };
    Ok(text.lines().skip(1).filter_map(training).collect())
}

fn main() -> Result<(), AnyError> {
    let args = Args::parse();
    let origin = args.experiment.display().to_string();
    let folder = args.experiment.parent().filter(|folder| !folder.as_os_str().is_empty());
    let base = folder.unwrap_or(Path::new("."));
    let mut settings = Settings::parse(&std::fs::read_to_string(&args.experiment)?, &origin)?;
    settings.train.evaluate_every = 1;
    let test = settings.data.open(base)?.test.take_per_class(args.test_images);
    let template = Experiment::open(settings, base)?;
    let graphs = graphs(&template, args.graphs)?;
    let known = known(&args.out)?;
    let mut file = OpenOptions::new().create(true).append(true).open(&args.out)?;
    if known.is_empty() {
        writeln!(file, "{HEAD}")?;
    }
    let mut tasks = Vec::new();
    for seed in 1..=args.seeds {
        for graph in &graphs {
            let hash = graph.hash().to_string();
            if !known.contains(&(hash.clone(), seed)) {
                tasks.push(Task { seed, graph, hash });
            }
        }
    }
    eprintln!("{} trainings, {} known", args.seeds as usize * graphs.len(), known.len());
    let (next, file) = (AtomicUsize::new(0), Mutex::new(file));
    let scratch = args.out.with_extension("runs");
    let work = |thread: usize| -> Result<(), AnyError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let directory = scratch.join(thread.to_string());
            let _ = std::fs::remove_dir_all(&directory);
            let lines = pool.install(|| train(&template, &test, task, &directory))?;
            // All of a training at once, so that an interrupted one is done again.
            file.lock().map_err(|_| "another thread broke down")?.write_all(lines.as_bytes())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..args.threads).map(|thread| scope.spawn(move || work(thread))).collect();
        handles.into_iter().try_for_each(|handle| handle.join().map_err(|_| "a thread broke down")?)
    })
}
