//! `ktg demo`: the whole main job on data that comes with the program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use ktg_data::{Augment, DataSource, Image, Preset};
use ktg_figures::draw;
use ktg_graph::{Graph, presets};
use ktg_report::compare::{Comparison, Index, IndexedGroup, IndexedMethod};
use ktg_report::report::{Options, Subject, page};
use ktg_report::{StudyRecord, edges};
use ktg_search::storage::{Patience, StorageUrl};
use ktg_search::{PrunerKind, SamplerKind, SearchSettings, WorkerSettings};
use ktg_train::{EvaluateOn, Experiment, GraphSettings, Outcome, RunResult, SavedRun, Schedule, Settings, run};
use serde_json::json;

use crate::args::DemoArgs;
use crate::compare::command_line;
use crate::error::CliError;
use crate::methods::{Method, tables};
use crate::names::storage_option;
use crate::output::{note, print, print_json};
use crate::parallel::{in_parallel, pool};
use crate::predict::write_overlays;
use crate::progress::{Progress, seconds, seconds_in_file};
use crate::search::{Search, notices, say};
use crate::signals;

use crate::trials::Trials;

/// Runs per method.
pub const REPEATS: u64 = 3;
/// Passes over the training images.
pub const EPOCHS: usize = 20;
/// Trials of the search.
pub const TRIALS: i64 = 60;
/// Passes over the search's training images in a trial that is not stopped.
const SEARCH_EPOCHS: usize = 10;
/// What tables call the data.
const DATA: &str = "Fashion-MNIST";
/// Name of the study.
const STUDY: &str = "demo";
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
    let bars = MultiProgress::new();
    let interrupted = || {
        note("stopped; start the same command again to go on");
        Ok(ExitCode::from(signals::INTERRUPTED))
    };
    let Some(found) = search(args, &stop, &bars)? else { return interrupted() };
    let searched = started.elapsed();
    let methods = [
        ("Independent", presets::independent(NODES, ARCHITECTURE)),
        ("DML", presets::dml(NODES, ARCHITECTURE)),
        ("Found", found.graph),
    ];
    let graphs = write_graphs(&args.out, &methods)?;
    write_index(args, &methods)?;
    let Some(results) = train_all(args, &methods, &stop, &bars)? else { return interrupted() };
    let overlays = draw_overlays(&args.out, &methods)?;
    let training: f64 = results.iter().flatten().map(|result| result.seconds).sum();
    let measures = |results: &[RunResult]| results.iter().map(|r| r.measures.clone()).collect();
    let summed: Vec<Method> =
        methods.iter().zip(&results).map(|((name, graph), r)| Method::new(name, graph, measures(r))).collect();
    let (train_images, test_images) = (results[0][0].train_images, results[0][0].measures.images);
    if args.json {
        let report = write_report(args)?;
        print_json(&json!({
            "methods": summed,
            "train_images": train_images,
            "test_images": test_images,
            "epochs": args.epochs,
            "seconds": started.elapsed().as_secs_f64(),
            "training_seconds_of_all_runs": training,
            "out": args.out.display().to_string(),
            "search": {
                "trials": found.trials,
                "epochs": found.epochs,
                "best": found.value,
                "seconds": searched.as_secs_f64(),
                "graph": methods[2].1,
            },
            "graphs": graphs.display().to_string(),
            "overlays": overlays.display().to_string(),
            "report": report.display().to_string(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "\nBuilt-in Fashion-MNIST subset: {train_images} training and {test_images} test images, {} epochs; \
         mean ± standard deviation of {} runs\n",
        args.epochs, args.repeats
    ))?;
    print(&tables(&summed))?;
    print(&format!(
        "\nFound is the best of {} graphs tried on one half of the training images and judged on the other\n\
         ({} epochs of training in all; ensemble {:.2} % there): {}",
        found.trials, found.epochs, found.value, found.edges
    ))?;
    print(&format!("study               ktg study show {STUDY}{}", storage_option(&storage(&args.out))))?;
    print(&format!("report              {} (open it in a browser)", write_report(args)?.display()))?;
    print(&format!("graph pictures      {}", graphs.display()))?;
    print(&format!("attention overlays  {}", overlays.display()))?;
    print(&format!("runs                {}", args.out.join("runs").display()))?;
    let (elapsed, training) = (seconds(started.elapsed()), seconds_in_file(training));
    print(&format!("time                {elapsed} ({training} of training, all runs together)"))?;
    Ok(ExitCode::SUCCESS)
}

/// The graph that the search found, and how.
struct Best {
    graph: Graph,
    edges: String,
    value: f64,
    trials: usize,
    epochs: i64,
}

fn storage(out: &Path) -> StorageUrl {
    StorageUrl::file(out.join("search.db"))
}

/// Searches with one worker a core, each on one thread, or goes on with the search. `None` if it was interrupted.
fn search(args: &DemoArgs, stop: &Arc<AtomicBool>, bars: &MultiProgress) -> Result<Option<Best>, CliError> {
    let mut settings = settings(args);
    settings.seed = 1;
    settings.split.evaluate_on = EvaluateOn::SearchSplit;
    settings.train.epochs = SEARCH_EPOCHS.min(args.epochs);
    settings.train.evaluate_every = 1;
    settings.train.log_every = 0;
    settings.graph.nodes = Some(NODES);
    settings.graph.architecture = Some(ARCHITECTURE.to_owned());
    let template = Experiment::open(settings, Path::new("."))?;
    let notice = notices(bars);
    let limit = Duration::from_secs(600);
    let search = Search {
        url: storage(&args.out),
        study: STUDY.to_owned(),
        settings: SearchSettings {
            sampler: SamplerKind::Evolution,
            pruner: PrunerKind::Promotion,
            // Earlier, accuracies say little about the end (docs/results.md).
            min_resource: 3,
            ..SearchSettings::default()
        },
        worker: WorkerSettings {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            seed: Some(1),
            ..WorkerSettings::new(args.trials, args.out.join("search.runs"))
        },
        patience: Patience { limit, stop: Arc::clone(stop), notice: Arc::clone(&notice) },
        enqueued: None,
    };
    let worker = || -> Result<bool, CliError> {
        let template = template.with_graph(template.written_graph().clone())?;
        let objective = Trials { template, bars: bars.clone(), notice: Arc::clone(&notice), patience: limit };
        pool(1)?.install(|| search.run(objective, stop, &mut |text| say(bars, text)))
    };
    let done = in_parallel(rayon::current_num_threads(), stop, worker);
    let done = done.map_err(|error| match error {
        CliError::Search(ktg_search::Error::Study { .. }) => elsewhere(&error, args),
        other => other,
    })?;
    if done.contains(&false) {
        return Ok(None);
    }
    let found = StudyRecord::read(&search.url, STUDY)?;
    let (best, graph) = found.graph_of(None)?;
    Ok(Some(Best {
        edges: edges(&graph),
        graph,
        value: best.value.unwrap_or(f64::NAN),
        trials: found.trials.len(),
        epochs: found.epochs(),
    }))
}

/// What to do when the output directory holds a demo with other options.
fn elsewhere(error: &dyn std::fmt::Display, args: &DemoArgs) -> CliError {
    let out = args.out.display();
    CliError::Other(format!("{error} (for another demo than the one in {out}, give another --out, or remove {out})"))
}

/// Trains all methods with all seeds, a run a core, because small networks leave a second thread little to do. `None` if
/// it was interrupted.
fn train_all(
    args: &DemoArgs,
    methods: &[(&str, Graph)],
    stop: &AtomicBool,
    bars: &MultiProgress,
) -> Result<Option<Vec<Vec<RunResult>>>, CliError> {
    // Seed by seed, so that an impatient reader has all methods early.
    let jobs: Vec<(u64, usize)> =
        (1..=args.repeats).flat_map(|seed| (0..methods.len()).map(move |m| (seed, m))).collect();
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, RunResult)>, CliError> {
        let pool = pool(1)?;
        let mut results = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Some(&(seed, m)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            match pool.install(|| train(args, methods[m].0, seed, stop, bars))? {
                Outcome::Finished(result) => results.push((m, result)),
                Outcome::Interrupted { .. } => break,
            }
        }
        Ok(results)
    };
    let finished = in_parallel(rayon::current_num_threads().min(jobs.len()), stop, worker)?;
    let mut results: Vec<Vec<RunResult>> = vec![Vec::new(); methods.len()];
    for (m, result) in finished.into_iter().flatten() {
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
fn train(args: &DemoArgs, name: &str, seed: u64, stop: &AtomicBool, bars: &MultiProgress) -> Result<Outcome, CliError> {
    let directory = run_directory(&args.out, name, seed);
    let mut settings = settings(args);
    settings.seed = seed;
    settings.graph = GraphSettings { file: Some(graph_file(&args.out, name, "toml")), ..GraphSettings::default() };
    let mut progress = Progress::among(bars, format!("{name}, run {seed} of {}", args.repeats));
    let finished = directory.join("result.json").exists();
    let experiment = Experiment::open(settings, Path::new("."))?;
    let outcome = match run::start_or_resume(experiment, &directory, stop, &mut progress) {
        Err(e @ ktg_train::Error::OtherRun(_)) => return Err(elsewhere(&e, args)),
        other => other?,
    };
    if finished {
        progress.line(&format!("{name}, run {seed} of {}: trained before, taken as it is", args.repeats));
    }
    Ok(outcome)
}

fn graph_file(out: &Path, method: &str, extension: &str) -> PathBuf {
    out.join("graphs").join(format!("{}.{extension}", method.to_lowercase()))
}

/// Writes the methods' graphs, as files and as pictures.
fn write_graphs(out: &Path, methods: &[(&str, Graph)]) -> Result<PathBuf, CliError> {
    let directory = out.join("graphs");
    std::fs::create_dir_all(&directory).map_err(|e| CliError::file("create", &directory, &e))?;
    for (name, graph) in methods {
        ktg_train::write_atomically(&graph_file(out, name, "toml"), graph.to_toml().as_bytes())?;
        ktg_train::write_atomically(&graph_file(out, name, "svg"), draw::svg(graph).as_bytes())?;
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

/// Notes what is compared, so that `ktg watch` and `ktg report` know it.
fn write_index(args: &DemoArgs, methods: &[(&str, Graph)]) -> Result<(), CliError> {
    let out = &args.out;
    if Comparison::is_one(out) && Comparison::read(out)?.index.data_sets != [DATA] {
        let out = out.display();
        return Err(CliError::Other(format!("{out} holds a comparison that is not the demo's; give another --out")));
    }
    let relative = |path: PathBuf| path.strip_prefix(out).map(Path::to_owned).unwrap_or(path);
    let seeds: Vec<u64> = (1..=args.repeats).collect();
    let group = |(name, _): &(&str, Graph)| IndexedGroup {
        method: (*name).to_owned(),
        data: DATA.to_owned(),
        nodes: NODES,
        origin: match *name {
            "Found" => format!("the best graph of the study \"{STUDY}\" in {}", storage(out)),
            preset => format!("the preset {}", preset.to_lowercase()),
        },
        graph: relative(graph_file(out, name, "toml")),
        runs: seeds.iter().map(|seed| relative(run_directory(out, name, *seed))).collect(),
    };
    let index = Index {
        command: command_line(),
        plan: String::new(),
        baseline: methods[0].0.to_owned(),
        methods: methods.iter().map(|(name, _)| IndexedMethod { name: (*name).to_owned(), thesis: None }).collect(),
        data_sets: vec![DATA.to_owned()],
        nodes: vec![NODES],
        groups: methods.iter().map(group).collect(),
        seeds,
    };
    Ok(index.write(out)?)
}

/// Writes the report about the runs and the search.
fn write_report(args: &DemoArgs) -> Result<PathBuf, CliError> {
    let out = &args.out;
    let subjects = [Subject::Comparison(out.clone()), Subject::Study(storage(out), STUDY.to_owned())];
    let options = Options { images: OVERLAY_IMAGES, chosen: Vec::new(), judge: true, top: 6, progress: &|_| {} };
    let report = out.join("report.html");
    crate::report::write(&page(&subjects, Some("The demo: three networks that teach each other"), &options)?, &report)?;
    Ok(report)
}
