//! `ktg demo`: the whole main job on data that comes with the program. It writes an experiment, a search and a plan, and
//! then does what `ktg search`, `ktg compare` and `ktg report` do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use indicatif::MultiProgress;
use ktg_base::{create_dir_all, slug, write_atomically};
use ktg_data::{DataSource, Image};
use ktg_figures::draw::svg;
use ktg_figures::stats::Paired;
use ktg_report::compare::{Comparison, Group, ensemble_difference};
use ktg_report::report::{Options, Subject, page};
use ktg_report::{StudyRecord, edges};
use ktg_search::storage::StorageUrl;
use ktg_search::{SearchSettings, WorkerSettings};
use ktg_train::{Experiment, RunResult, SavedRun, Settings};
use serde_json::json;

use crate::args::{CompareArgs, DemoArgs, ImageFlags};
use crate::compare;
use crate::jobs::run_jobs;
use crate::methods::{Method, difference_in_words, tables};
use crate::names::storage_option;
use crate::output::{print, print_json};
use crate::predict::write_overlays;
use crate::progress::{seconds, seconds_in_file};
use crate::signals;
use crate::study_worker::Search;

/// What tables call the data.
const DATA: &str = "Fashion-MNIST";
/// The method whose graph the search found.
const FOUND: &str = "Found";
/// Name of the study.
const STUDY: &str = "demo";
/// Passes over the search's training images in a trial that is not stopped.
const SEARCH_EPOCHS: usize = 10;
/// Images that the attention overlays show.
const OVERLAY_IMAGES: usize = 6;

/// The settings of the runs and the search. They were chosen on the search split of the training images
/// (docs/results.md), never by looking at the test images.
const SHARED: &str = r#"
side = 14
augment = "none"
split.train_share = 0.2
train.batch_size = 25
train.loader_threads = 1
train.schedule = { kind = "cosine" }
"#;

fn experiment(epochs: usize) -> String {
    format!("# The settings of the demo's runs.{SHARED}train.epochs = {epochs}\ntrain.evaluate_every = 0\n")
}

/// The search holds a part of the training images out. Before epoch 3, accuracies say little about the end
/// (docs/results.md).
fn search_experiment(epochs: usize) -> String {
    let epochs = epochs.min(SEARCH_EPOCHS);
    format!(
        r#"# The settings of the demo's search.{SHARED}train.epochs = {epochs}
train.evaluate_every = 1
train.log_every = 0
seed = 1
split.evaluate_on = "search-split"
graph = {{ nodes = 3, architecture = "abn-resnet-cifar-8" }}
search = {{ sampler = "evolution", pruner = "promotion", min_resource = 3 }}
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
name = "{FOUND}"
study = "{STUDY}"
storage = "sqlite:///search.db"

[[data]]
name = "{DATA}"
"#
    )
}

/// Where the study is.
fn storage(args: &DemoArgs) -> StorageUrl {
    StorageUrl::file(args.out.join("search.db"))
}

pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let stop = signals::stop_flag()?;
    let bars = MultiProgress::new();
    let interrupted = || signals::interrupted("stopped; start the same command again to go on");
    write_files(args)?;

    let Some(found) = search(args, &stop, &bars)? else { return Ok(interrupted()) };
    let searched = started.elapsed();
    let comparison = compare(args, &stop, &bars)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(interrupted());
    }

    write_graphs(&args.out, &comparison)?;
    draw_overlays(&args.out, &comparison)?;
    let report = write_report(args, &comparison)?;
    let (best, _) = found.graph_of(None)?;
    let results: Vec<&RunResult> =
        comparison.groups.iter().flat_map(Group::finished).map(|(_, result)| result).collect();
    let Some(first) = results.first() else { bail!("no run of the demo is finished") };
    let training: f64 = results.iter().map(|result| result.seconds).sum();
    let methods: Vec<Method> = comparison.groups.iter().map(Method::of).collect();
    let value = best.value.unwrap_or(f64::NAN);
    let graph = comparison.groups.last().map(|group| &group.graph);
    if args.json {
        let differences = differences(&comparison).into_iter().map(|(other, found)| {
            json!({
                "method": FOUND, "other": other, "seeds": found.n, "mean": found.mean, "std": found.deviation,
                "low": found.interval.low, "high": found.interval.high, "p": found.p,
            })
        });
        print_json(&json!({
            "methods": methods,
            "differences": differences.collect::<Vec<_>>(),
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
    print("")?;
    for (other, difference) in differences(&comparison) {
        print(&difference_in_words(FOUND, other, &difference))?;
    }
    print(&format!(
        "\nFound is the best of {} graphs tried on one half of the training images and evaluated on the other\n\
         ({} epochs of training in all; ensemble {value:.2} % there): {}",
        found.trials.len(),
        found.epochs(),
        graph.map(edges).unwrap_or_default()
    ))?;
    print(&format!("study               ktg study show {STUDY}{}", storage_option(&storage(args))))?;
    print(&format!("report              {} (open it in a browser)", report.display()))?;
    print(&format!("graph pictures      {}", args.out.join("graphs").display()))?;
    print(&format!("attention overlays  {}", args.out.join("attention").display()))?;
    print(&format!("runs                {}", args.out.join("runs").display()))?;
    let (elapsed, training) = (seconds(started.elapsed()), seconds_in_file(training));
    print(&format!("time                {elapsed} ({training} of training, all runs together)"))?;
    Ok(ExitCode::SUCCESS)
}

/// The found graph's ensemble minus that of every other method, seed by seed.
fn differences(comparison: &Comparison) -> Vec<(&str, Paired)> {
    let groups = &comparison.groups;
    let Some(found) = groups.iter().find(|group| group.method == FOUND) else { return Vec::new() };
    let others = groups.iter().filter(|group| group.method != FOUND);
    others.filter_map(|other| Some((&*other.method, ensemble_difference(found, other)?))).collect()
}

/// Writes the experiments and the plan.
fn write_files(args: &DemoArgs) -> Result<()> {
    let out = &args.out;
    create_dir_all(out)?;
    if Comparison::is_one(out) && Comparison::read(out)?.index.data_sets != [DATA] {
        let out = out.display();
        bail!("{out} holds a comparison that is not the demo's; give another --out");
    }
    write_atomically(&out.join("experiment.toml"), experiment(args.epochs).as_bytes())?;
    write_atomically(&out.join("search.toml"), search_experiment(args.epochs).as_bytes())?;
    Ok(write_atomically(&out.join("plan.toml"), plan(args.repeats).as_bytes())?)
}

/// Searches with one worker a core, each on one thread, or goes on with the search. `None` if it was interrupted.
fn search(args: &DemoArgs, stop: &Arc<AtomicBool>, bars: &MultiProgress) -> Result<Option<StudyRecord>> {
    let text = search_experiment(args.epochs);
    let origin = args.out.join("search.toml").display().to_string();
    let template = Experiment::open(Settings::parse(&text, &origin)?, &args.out)?;
    let search = Search {
        url: storage(args),
        study: STUDY.to_owned(),
        settings: SearchSettings::parse(&text, &origin)?,
        worker: WorkerSettings {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            seed: Some(1),
            ..WorkerSettings::new(args.trials, args.out.join("search.runs"))
        },
        patience: Duration::from_secs(600),
        enqueued: None,
    };
    let work = |_: &()| search.run(template.clone(), stop, bars);
    let workers = vec![&(); rayon::current_num_threads()];
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
fn compare(args: &DemoArgs, stop: &AtomicBool, bars: &MultiProgress) -> Result<Comparison> {
    let compare_args = CompareArgs {
        plan: args.out.join("plan.toml"),
        out: Some(args.out.clone()),
        jobs: rayon::current_num_threads(),
        read_only: false,
        no_wait: false,
        estimate: false,
        storage: None,
        images: ImageFlags { no_check: true, skip_bad: false },
        json: false,
    };
    compare::train_all(&compare_args, stop, bars)
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
            let prediction = run.predict_image(image, "a test image")?;
            let stem = format!("{}-{}", slug(&group.method), slug(&run.classes[class]));
            write_overlays(&prediction, run.settings.side, &directory, &stem)?;
        }
    }
    Ok(())
}

/// Writes the report about the runs and the search.
fn write_report(args: &DemoArgs, comparison: &Comparison) -> Result<PathBuf> {
    let subjects = [Subject::Comparison(comparison.directory.clone()), Subject::Study(storage(args), STUDY.to_owned())];
    let options = Options { images: OVERLAY_IMAGES, chosen: Vec::new(), evaluate: true, top: 6, progress: &|_| {} };
    let report = args.out.join("report.html");
    crate::report::write(&page(&subjects, Some("The demo: three networks that teach each other"), &options)?, &report)?;
    Ok(report)
}
