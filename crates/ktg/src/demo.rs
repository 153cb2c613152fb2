//! `ktg demo`: the whole main job on data that comes with the program. It writes an experiment, a search and a plan, and
//! then does what `ktg search`, `ktg compare` and `ktg report` do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use indicatif::MultiProgress;
use ktg_base::{create_dir_all, read_text, slug, write_atomically};
use ktg_data::{DataSource, Image};
use ktg_figures::draw::svg;
use ktg_report::compare::{Comparison, Group};
use ktg_report::report::{Options, Subject, page};
use ktg_report::{StudyRecord, edges};
use ktg_search::storage::{Patience, StorageUrl};
use ktg_search::{SearchSettings, WorkerSettings};
use ktg_train::{Experiment, RunResult, SavedRun, Settings};
use serde_json::json;

use crate::args::DemoArgs;
use crate::compare;
use crate::jobs::run_jobs;
use crate::methods::{Method, tables};
use crate::names::storage_option;
use crate::output::{note, print, print_json};
use crate::predict::write_overlays;
use crate::progress::{seconds, seconds_in_file};
use crate::search::{Search, notices, say};
use crate::signals;
use crate::train::Check;
use crate::trials::Trials;

/// What tables call the data.
const DATA: &str = "Fashion-MNIST";
/// Name of the study.
const STUDY: &str = "demo";
/// Passes over the search's training images in a trial that is not stopped.
const SEARCH_EPOCHS: usize = 10;
/// Images that the attention overlays show.
const OVERLAY_IMAGES: usize = 6;

/// The settings of the runs. They were chosen on the search split of the training images (docs/results.md), never by
/// looking at the test images.
fn experiment(epochs: usize) -> String {
    format!(
        r#"# The settings of the demo's runs.
side = 14
augment = "none"

[split]
train_share = 0.2

[train]
epochs = {epochs}
batch_size = 25
evaluate_every = 0
loader_threads = 1
schedule = {{ kind = "cosine" }}
"#
    )
}

/// The same for the search, which holds a part of the training images out. Before epoch 3, accuracies say little about
/// the end (docs/results.md).
fn search_experiment(epochs: usize) -> String {
    let epochs = epochs.min(SEARCH_EPOCHS);
    format!(
        r#"# The settings of the demo's search.
seed = 1
side = 14
augment = "none"

[graph]
nodes = 3
architecture = "abn-resnet-cifar-8"

[split]
train_share = 0.2
evaluate_on = "search-split"

[train]
epochs = {epochs}
batch_size = 25
evaluate_every = 1
log_every = 0
loader_threads = 1
schedule = {{ kind = "cosine" }}

[search]
sampler = "evolution"
pruner = "promotion"
min_resource = 3
"#
    )
}

/// The methods that are compared.
fn plan(repeats: u64) -> String {
    format!(
        r#"# What the demo compares: ktg compare plan.toml
experiment = "experiment.toml"
out = "."
nodes = [3]
repeats = {repeats}
architecture = "abn-resnet-cifar-8"

[[method]]
name = "Independent"
preset = "independent"

[[method]]
name = "DML"
preset = "dml"

[[method]]
name = "Found"
study = "{STUDY}"
storage = "sqlite:///search.db"

[[data]]
name = "{DATA}"
"#
    )
}

/// The files of a demo.
struct Files {
    search: PathBuf,
    plan: PathBuf,
    storage: StorageUrl,
}

pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let stop = signals::stop_flag()?;
    let bars = MultiProgress::new();
    let files = write_files(args)?;

    let found = search(args, &files, &stop, &bars)?;
    let searched = started.elapsed();
    let Some(comparison) = found.as_ref().map(|_| compare(args, &files, &stop, &bars)).transpose()? else {
        return Ok(interrupted());
    };
    let (Some(found), false) = (found, stop.load(Ordering::Relaxed)) else { return Ok(interrupted()) };

    write_graphs(&args.out, &comparison)?;
    draw_overlays(&args.out, &comparison)?;
    let report = write_report(args, &files, &comparison)?;
    let (best, _) = found.graph_of(None)?;
    let results: Vec<&RunResult> =
        comparison.groups.iter().flat_map(Group::finished).map(|(_, result)| result).collect();
    let Some(first) = results.first() else { bail!("no run of the demo is finished") };
    let training: f64 = results.iter().map(|result| result.seconds).sum();
    let methods: Vec<Method> = comparison.groups.iter().map(Method::of).collect();
    let value = best.value.unwrap_or(f64::NAN);
    let graph = comparison.groups.last().map(|group| &group.graph);
    if args.json {
        print_json(&json!({
            "methods": methods,
            "train_images": first.train_images,
            "test_images": first.measures.images,
            "epochs": args.epochs,
            "seconds": started.elapsed().as_secs_f64(),
            "training_seconds_of_all_runs": training,
            "out": args.out.display().to_string(),
            "search": {
                "trials": found.trials.len(),
                "epochs": found.epochs(),
                "best": value,
                "seconds": searched.as_secs_f64(),
                "graph": graph,
            },
            "graphs": args.out.join("graphs").display().to_string(),
            "overlays": args.out.join("attention").display().to_string(),
            "report": report.display().to_string(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "\nBuilt-in Fashion-MNIST subset: {} training and {} test images, {} epochs; \
         mean ± standard deviation of {} runs\n",
        first.train_images, first.measures.images, args.epochs, args.repeats
    ))?;
    print(&tables(&methods))?;
    print(&format!(
        "\nFound is the best of {} graphs tried on one half of the training images and evaluated on the other\n\
         ({} epochs of training in all; ensemble {value:.2} % there): {}",
        found.trials.len(),
        found.epochs(),
        graph.map(edges).unwrap_or_default()
    ))?;
    print(&format!("study               ktg study show {STUDY}{}", storage_option(&files.storage)))?;
    print(&format!("report              {} (open it in a browser)", report.display()))?;
    print(&format!("graph pictures      {}", args.out.join("graphs").display()))?;
    print(&format!("attention overlays  {}", args.out.join("attention").display()))?;
    print(&format!("runs                {}", args.out.join("runs").display()))?;
    let (elapsed, training) = (seconds(started.elapsed()), seconds_in_file(training));
    print(&format!("time                {elapsed} ({training} of training, all runs together)"))?;
    Ok(ExitCode::SUCCESS)
}

fn interrupted() -> ExitCode {
    note("stopped; start the same command again to go on");
    ExitCode::from(signals::INTERRUPTED)
}

/// Writes the experiments and the plan.
fn write_files(args: &DemoArgs) -> Result<Files> {
    let out = &args.out;
    create_dir_all(out)?;
    if Comparison::is_one(out) && Comparison::read(out)?.index.data_sets != [DATA] {
        let out = out.display();
        bail!("{out} holds a comparison that is not the demo's; give another --out");
    }
    let (search, plan_file) = (out.join("search.toml"), out.join("plan.toml"));
    write_atomically(&out.join("experiment.toml"), experiment(args.epochs).as_bytes())?;
    write_atomically(&search, search_experiment(args.epochs).as_bytes())?;
    write_atomically(&plan_file, plan(args.repeats).as_bytes())?;
    Ok(Files { search, plan: plan_file, storage: StorageUrl::file(out.join("search.db")) })
}

/// Searches with one worker a core, each on one thread, or goes on with the search. `None` if it was interrupted.
fn search(args: &DemoArgs, files: &Files, stop: &Arc<AtomicBool>, bars: &MultiProgress) -> Result<Option<StudyRecord>> {
    let text = read_text(&files.search)?;
    let origin = files.search.display().to_string();
    let template = Experiment::open(Settings::parse(&text, &origin)?, &args.out)?;
    let (notice, limit) = (notices(bars), Duration::from_secs(600));
    let search = Search {
        url: files.storage.clone(),
        study: STUDY.to_owned(),
        settings: SearchSettings::parse(&text, &origin)?,
        worker: WorkerSettings {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            seed: Some(1),
            ..WorkerSettings::new(args.trials, args.out.join("search.runs"))
        },
        patience: Patience { limit, stop: Arc::clone(stop), notice: Arc::clone(&notice) },
        enqueued: None,
    };
    let work = |_: &usize| {
        let objective = Trials {
            template: template.clone(),
            bars: bars.clone(),
            notice: Arc::clone(&notice),
            patience: limit,
            stop: Arc::clone(stop),
        };
        search.run(objective, stop, &mut |text| say(bars, text))
    };
    let workers: Vec<usize> = (0..rayon::current_num_threads()).collect();
    let workers: Vec<&usize> = workers.iter().collect();
    let stopped = run_jobs(&workers, workers.len(), stop, work).map_err(|error| match error.downcast_ref() {
        Some(ktg_search::Error::Study { .. }) => {
            let out = args.out.display();
            anyhow!("{error} (for another demo than the one in {out}, give another --out, or remove {out})")
        }
        _ => error,
    })?;
    if !stopped.is_empty() || stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    Ok(Some(StudyRecord::read(&search.url, STUDY)?))
}

/// Trains all methods with all seeds, a run a core, because small networks leave a second thread little to do.
fn compare(args: &DemoArgs, files: &Files, stop: &AtomicBool, bars: &MultiProgress) -> Result<Comparison> {
    let options = compare::Options {
        plan: &files.plan,
        out: Some(&args.out),
        storage: None,
        jobs: rayon::current_num_threads(),
        wait: true,
        check: Check::No,
    };
    compare::train_all(&options, stop, bars)
}

/// Draws the methods' graphs.
fn write_graphs(out: &Path, comparison: &Comparison) -> Result<()> {
    for group in &comparison.groups {
        let path = out.join("graphs").join(format!("{}.svg", slug(&group.method)));
        write_atomically(&path, svg(&group.graph).as_bytes())?;
    }
    Ok(())
}

/// Draws the attention of every node of each method's first run over the first test image of some classes.
fn draw_overlays(out: &Path, comparison: &Comparison) -> Result<()> {
    let directory = out.join("attention");
    let test = DataSource::default().open(Path::new("."))?.test;
    for group in &comparison.groups {
        let run = SavedRun::open(&group.runs[0].directory)?;
        for class in 0..OVERLAY_IMAGES.min(test.classes()) {
            let Some(i) = test.labels().iter().position(|&l| l as usize == class) else { continue };
            let image: &Image = &*test.image(i)?;
            let prediction = run.predict_image(image)?;
            let stem = format!("{}-{}", slug(&group.method), slug(&run.classes[class]));
            write_overlays(&prediction, run.settings.side, &directory, &stem)?;
        }
    }
    Ok(())
}

/// Writes the report about the runs and the search.
fn write_report(args: &DemoArgs, files: &Files, comparison: &Comparison) -> Result<PathBuf> {
    let subjects =
        [Subject::Comparison(comparison.directory.clone()), Subject::Study(files.storage.clone(), STUDY.to_owned())];
    let options = Options { images: OVERLAY_IMAGES, chosen: Vec::new(), evaluate: true, top: 6, progress: &|_| {} };
    let report = args.out.join("report.html");
    crate::report::write(&page(&subjects, Some("The demo: three networks that teach each other"), &options)?, &report)?;
    Ok(report)
}
