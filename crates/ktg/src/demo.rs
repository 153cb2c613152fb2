//! `ktg demo`: the whole main job on data that comes with the program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use ktg_data::{DataSource, Image};
use ktg_graph::{Graph, draw, presets};
use ktg_train::{Experiment, GraphSettings, Measures, Outcome, SavedRun, Schedule, Settings, overlay, run};
use serde_json::json;

use crate::args::DemoArgs;
use crate::error::CliError;
use crate::methods::{Method, tables};
use crate::output::{print, print_json};
use crate::progress::{Progress, seconds};
use crate::signals;

/// Runs per method.
pub const REPEATS: u64 = 3;
/// Passes over the training images.
pub const EPOCHS: usize = 10;
/// Network nodes.
const NODES: usize = 3;
const ARCHITECTURE: &str = "abn-resnet-cifar-8";
/// Images that the attention overlays show.
const OVERLAY_IMAGES: usize = 6;

/// The demo's settings but for graph and seed. They were chosen on the search split of the training images
/// (docs/results.md), never by looking at the test images.
fn settings(args: &DemoArgs) -> Settings {
    let mut settings = Settings { side: 14, ..Settings::default() };
    settings.split.train_share = 1.0;
    settings.train.epochs = args.epochs;
    settings.train.batch_size = 50;
    settings.train.evaluate_every = 0;
    settings.train.schedule = Schedule::Cosine;
    settings
}

pub fn run(args: &DemoArgs) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let stop = signals::stop_flag()?;
    std::fs::create_dir_all(&args.out).map_err(|e| other("create", &args.out, &e))?;
    let diverse = presets::diverse(NODES, ARCHITECTURE);
    let diverse = diverse.ok_or_else(|| CliError::Other("there is no diverse graph of this size".to_owned()))?;
    let methods = [
        ("Independent", presets::independent(NODES, ARCHITECTURE)),
        ("DML", presets::dml(NODES, ARCHITECTURE)),
        ("Diverse", diverse),
    ];
    let mut results: Vec<Vec<Measures>> = vec![Vec::new(); methods.len()];
    // Seed by seed, so that an impatient reader has all methods early.
    for seed in 1..=args.repeats {
        for ((name, graph), results) in methods.iter().zip(&mut results) {
            let directory = run_directory(&args.out, name, seed);
            let label = format!("{name}, run {seed} of {}", args.repeats);
            match train(args, graph, name, seed, &directory, &stop, &label)? {
                Outcome::Finished(result) => results.push(result.measures),
                Outcome::Interrupted { .. } => {
                    eprintln!("stopped; start the same command again to go on");
                    return Ok(ExitCode::from(signals::INTERRUPTED));
                }
            }
        }
    }
    let graphs = draw_graphs(&args.out, &methods)?;
    let overlays = draw_overlays(&args.out, &methods)?;
    let summed: Vec<Method> =
        methods.iter().zip(results).map(|((name, graph), results)| Method::new(name, graph, results)).collect();
    let images = summed[0].measures[0].images;
    if args.json {
        print_json(&json!({
            "methods": summed,
            "test_images": images,
            "epochs": args.epochs,
            "seconds": started.elapsed().as_secs_f64(),
            "out": args.out,
            "graphs": graphs,
            "overlays": overlays,
        }))?;
    } else {
        print(&format!(
            "Built-in Fashion-MNIST subset, {images} test images, {} epochs; mean ± standard deviation of {} runs\n",
            args.epochs, args.repeats
        ))?;
        print(&tables(&summed))?;
        print(&format!("\ngraph pictures      {}", graphs.display()))?;
        print(&format!("attention overlays  {}", overlays.display()))?;
        print(&format!("runs                {}", args.out.display()))?;
        print(&format!("time                {}", seconds(started.elapsed())))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_directory(out: &Path, method: &str, seed: u64) -> PathBuf {
    out.join("runs").join(format!("{}-seed{seed}", method.to_lowercase()))
}

/// Trains one run, or goes on with it, if it is of the same settings.
fn train(
    args: &DemoArgs,
    graph: &Graph,
    name: &str,
    seed: u64,
    directory: &Path,
    stop: &std::sync::atomic::AtomicBool,
    label: &str,
) -> Result<Outcome, CliError> {
    let mut settings = settings(args);
    settings.seed = seed;
    settings.graph = GraphSettings {
        preset: Some(name.to_lowercase()),
        nodes: Some(graph.len()),
        architecture: Some(ARCHITECTURE.to_owned()),
        ..GraphSettings::default()
    };
    let mut progress = Progress::new(label);
    let saved = directory.join("settings.toml");
    if !saved.is_file() {
        let experiment = Experiment::open(settings, Path::new("."))?;
        return Ok(run::start(experiment, directory, stop, &mut progress)?);
    }
    let saved = Settings::read(&saved)?;
    settings.graph = saved.graph.clone();
    if saved != settings {
        let directory = directory.display();
        return Err(CliError::Other(format!(
            "{directory} holds a run with other settings; give another --out, or remove it"
        )));
    }
    Ok(run::resume(directory, stop, &mut progress)?)
}

fn draw_graphs(out: &Path, methods: &[(&str, Graph)]) -> Result<PathBuf, CliError> {
    let directory = out.join("graphs");
    std::fs::create_dir_all(&directory).map_err(|e| other("create", &directory, &e))?;
    for (name, graph) in methods {
        let path = directory.join(format!("{}.svg", name.to_lowercase()));
        ktg_train::write_atomically(&path, draw::svg(graph).as_bytes())?;
    }
    Ok(directory)
}

/// Attention of every node of each method's first run over the first test image of some classes.
fn draw_overlays(out: &Path, methods: &[(&str, Graph)]) -> Result<PathBuf, CliError> {
    let directory = out.join("attention");
    std::fs::create_dir_all(&directory).map_err(|e| other("create", &directory, &e))?;
    let test = DataSource::default().open(Path::new("."))?.test;
    for (name, _) in methods {
        let run = SavedRun::open(&run_directory(out, name, 1))?;
        for class in 0..OVERLAY_IMAGES.min(test.classes()) {
            let Some(i) = test.labels().iter().position(|&l| l as usize == class) else { continue };
            let image: &Image = &*test.image(i)?;
            let prediction = run.predict_image(image)?;
            for (m, node) in prediction.nodes.iter().enumerate() {
                let Some((map, width)) = &node.map else { continue };
                let class_name = run.classes[class].replace(|c: char| !c.is_alphanumeric(), "-");
                let file = format!("{}-{class_name}-node{}.png", name.to_lowercase(), m + 1);
                let path = directory.join(file);
                let picture = overlay(&prediction.input, run.settings.side, map, *width);
                picture.save(&path).map_err(|e| other("write", &path, &e))?;
            }
        }
    }
    Ok(directory)
}

fn other(action: &str, path: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::Other(format!("cannot {action} {}: {error}", path.display()))
}
