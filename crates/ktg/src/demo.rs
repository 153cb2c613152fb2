//! `ktg demo`: the whole main job on data that comes with the program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use ktg_data::{Augment, DataSource, Image, Preset};
use ktg_graph::{Document, Graph, draw, presets};
use ktg_train::{Experiment, GraphSettings, Outcome, RunResult, SavedRun, Schedule, Settings, run};
use serde_json::json;

use crate::args::DemoArgs;
use crate::error::CliError;
use crate::methods::{Method, tables};
use crate::output::{note, print, print_json};
use crate::predict::write_overlays;
use crate::progress::{Progress, seconds};
use crate::signals;

/// Runs per method.
pub const REPEATS: u64 = 3;
/// Passes over the training images.
pub const EPOCHS: usize = 20;
/// Network nodes.
const NODES: usize = 3;
const ARCHITECTURE: &str = "abn-resnet-cifar-8";
/// Images that the attention overlays show.
const OVERLAY_IMAGES: usize = 6;

/// The demo's settings but for graph and seed. They were chosen on the search split of the training images
/// (docs/results.md), never by looking at the test images.
fn settings(args: &DemoArgs) -> Settings {
    let mut settings = Settings { side: 14, ..Settings::default() };
    settings.augment = Augment::preset(Preset::None);
    settings.split.train_share = 0.2;
    settings.train.epochs = args.epochs;
    settings.train.batch_size = 25;
    settings.train.evaluate_every = 0;
    settings.train.loader_threads = 1;
    settings.train.schedule = Schedule::Cosine {};
    settings
}

pub fn run(args: &DemoArgs) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let stop = signals::stop_flag()?;
    std::fs::create_dir_all(&args.out).map_err(|e| CliError::file("create", &args.out, &e))?;
    let diverse = presets::diverse(NODES, ARCHITECTURE);
    let diverse = diverse.ok_or_else(|| CliError::Other("there is no diverse graph of this size".to_owned()))?;
    let methods = [
        ("Independent", presets::independent(NODES, ARCHITECTURE)),
        ("DML", presets::dml(NODES, ARCHITECTURE)),
        ("Diverse", diverse),
    ];
    let Some(results) = train_all(args, &methods, &stop)? else {
        note("stopped; start the same command again to go on");
        return Ok(ExitCode::from(signals::INTERRUPTED));
    };
    let graphs = draw_graphs(&args.out, &methods)?;
    let overlays = draw_overlays(&args.out, &methods)?;
    let training: f64 = results.iter().flatten().map(|result| result.seconds).sum();
    let measures = |results: &[RunResult]| results.iter().map(|r| r.measures.clone()).collect();
    let summed: Vec<Method> =
        methods.iter().zip(&results).map(|((name, graph), r)| Method::new(name, graph, measures(r))).collect();
    let (train_images, test_images) = (results[0][0].train_images, results[0][0].measures.images);
    if args.json {
        print_json(&json!({
            "methods": summed,
            "train_images": train_images,
            "test_images": test_images,
            "epochs": args.epochs,
            "seconds": started.elapsed().as_secs_f64(),
            "training_seconds_of_all_runs": training,
            "out": args.out.display().to_string(),
            "graphs": graphs.display().to_string(),
            "overlays": overlays.display().to_string(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "\nBuilt-in Fashion-MNIST subset: {train_images} training and {test_images} test images, {} epochs; \
         mean ± standard deviation of {} runs\n",
        args.epochs, args.repeats
    ))?;
    print(&tables(&summed))?;
    print(&format!("\ngraph pictures      {}", graphs.display()))?;
    print(&format!("attention overlays  {}", overlays.display()))?;
    print(&format!("runs                {}", args.out.join("runs").display()))?;
    let (elapsed, training) = (seconds(started.elapsed()), seconds(Duration::from_secs_f64(training)));
    print(&format!("time                {elapsed} ({training} of training, all runs together)"))?;
    Ok(ExitCode::SUCCESS)
}

/// Trains all methods with all seeds: as many runs at a time as there are threads, each on one thread, which keeps the
/// cores busier than many threads in small networks and makes the results independent of their number. `None` if it
/// was interrupted.
fn train_all(
    args: &DemoArgs,
    methods: &[(&str, Graph)],
    stop: &AtomicBool,
) -> Result<Option<Vec<Vec<RunResult>>>, CliError> {
    // Seed by seed, so that an impatient reader has all methods early.
    let jobs: Vec<(u64, usize)> =
        (1..=args.repeats).flat_map(|seed| (0..methods.len()).map(move |m| (seed, m))).collect();
    let next = AtomicUsize::new(0);
    let bars = MultiProgress::new();
    let worker = || -> Result<Vec<(usize, RunResult)>, CliError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = pool.map_err(|e| CliError::Other(format!("cannot start a thread: {e}")))?;
        let mut results = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Some(&(seed, m)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let (name, graph) = &methods[m];
            match pool.install(|| train(args, graph, name, seed, stop, &bars)) {
                Ok(Outcome::Finished(result)) => results.push((m, result)),
                Ok(Outcome::Interrupted { .. }) => break,
                Err(e) => {
                    // One failure ends all; the other runs keep their checkpoints.
                    stop.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
        Ok(results)
    };
    let workers = rayon::current_num_threads().min(jobs.len());
    let finished: Vec<Result<_, CliError>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let joined = |handle: ScopedJoinHandle<_>| match handle.join() {
            Ok(results) => results,
            Err(_) => Err(CliError::Other("a training thread broke down".to_owned())),
        };
        handles.into_iter().map(joined).collect()
    });
    let mut results: Vec<Vec<RunResult>> = vec![Vec::new(); methods.len()];
    for (m, result) in finished.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        results[m].push(result);
    }
    for results in &mut results {
        results.sort_by_key(|result| result.seed);
    }
    let done: usize = results.iter().map(Vec::len).sum();
    Ok((done == jobs.len()).then_some(results))
}

fn run_directory(out: &Path, method: &str, seed: u64) -> PathBuf {
    out.join("runs").join(format!("{}-seed{seed}", method.to_lowercase()))
}

/// Trains one run, or goes on with it, if it is of the same settings and graph.
fn train(
    args: &DemoArgs,
    graph: &Graph,
    name: &str,
    seed: u64,
    stop: &AtomicBool,
    bars: &MultiProgress,
) -> Result<Outcome, CliError> {
    let directory = run_directory(&args.out, name, seed);
    let mut settings = settings(args);
    settings.seed = seed;
    settings.graph = GraphSettings {
        preset: Some(name.to_lowercase()),
        nodes: Some(graph.len()),
        architecture: Some(ARCHITECTURE.to_owned()),
        ..GraphSettings::default()
    };
    let mut progress = Progress::among(bars, format!("{name}, run {seed} of {}", args.repeats));
    let saved = directory.join("settings.toml");
    if !saved.is_file() {
        let experiment = Experiment::open(settings, Path::new("."))?;
        return Ok(run::start(experiment, &directory, stop, &mut progress)?);
    }
    let saved = Settings::read(&saved)?;
    settings.graph = saved.graph.clone();
    let same_graph = Document::read(&directory.join("graph.toml"))?.graph.hash() == graph.hash();
    if saved != settings || !same_graph {
        let directory = directory.display();
        return Err(CliError::Other(format!(
            "{directory} holds a run with other settings; give another --out, or remove it"
        )));
    }
    let finished = directory.join("result.json").exists();
    let outcome = run::resume(&directory, stop, &mut progress)?;
    if finished {
        progress.line(&format!("{name}, run {seed} of {}: trained before, taken as it is", args.repeats));
    }
    Ok(outcome)
}

fn draw_graphs(out: &Path, methods: &[(&str, Graph)]) -> Result<PathBuf, CliError> {
    let directory = out.join("graphs");
    std::fs::create_dir_all(&directory).map_err(|e| CliError::file("create", &directory, &e))?;
    for (name, graph) in methods {
        let path = directory.join(format!("{}.svg", name.to_lowercase()));
        ktg_train::write_atomically(&path, draw::svg(graph).as_bytes())?;
    }
    Ok(directory)
}

/// Attention of every node of each method's first run over the first test image of some classes.
fn draw_overlays(out: &Path, methods: &[(&str, Graph)]) -> Result<PathBuf, CliError> {
    let directory = out.join("attention");
    let test = DataSource::default().open(Path::new("."))?.test;
    for (name, _) in methods {
        let run = SavedRun::open(&run_directory(out, name, 1))?;
        for class in 0..OVERLAY_IMAGES.min(test.classes()) {
            let Some(i) = test.labels().iter().position(|&l| l as usize == class) else { continue };
            let image: &Image = &*test.image(i)?;
            let prediction = run.predict_image(image)?;
            let class = run.classes[class].replace(|c: char| !c.is_alphanumeric(), "-");
            let stem = format!("{}-{class}", name.to_lowercase());
            write_overlays(&prediction, run.settings.side, &directory, &stem)?;
        }
    }
    Ok(directory)
}
