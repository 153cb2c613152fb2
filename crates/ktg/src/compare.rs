//! `ktg compare`: trains what a plan names, and sums it up.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::MultiProgress;
use ktg_figures::png::png;
use ktg_figures::table::Table;
use ktg_graph::{Document, presets};
use ktg_report::StudyRecord;
use ktg_report::compare::{
    self, Comparison, DataSet, Index, IndexedGroup, IndexedMethod, Plan, PlannedMethod, RunState, Source, slug,
};
use ktg_train::{Error, Experiment, GraphSettings, Outcome, Settings, run, write_atomically};
use serde_json::json;

use crate::args::CompareArgs;
use crate::error::CliError;
use crate::names::shell_word;
use crate::output::{note, print, print_json};
use crate::parallel::{in_parallel, pool};
use crate::progress::Progress;
use crate::search::say;
use crate::signals;
use crate::train::{Check, left_out};

/// Between two looks at runs that other processes work on.
const MOMENT: Duration = Duration::from_secs(2);
const DEFAULT_ARCHITECTURE: &str = "abn-resnet-cifar-20";

/// A run of the plan.
struct Job {
    name: String,
    directory: PathBuf,
    settings: Settings,
    base: PathBuf,
}

pub fn run(args: &CompareArgs) -> Result<ExitCode, CliError> {
    let plan = Plan::read(&args.plan)?;
    let base = args.plan.parent().map(Path::to_owned).unwrap_or_default();
    let out = match (&args.out, &plan.out) {
        (Some(out), _) => out.clone(),
        (None, Some(out)) => base.join(out),
        (None, None) => args.plan.with_extension(""),
    };
    if out == args.plan {
        return Err(CliError::Other(format!("{} has no ending; give a directory with --out", out.display())));
    }
    let stop = signals::stop_flag()?;
    let bars = MultiProgress::new();
    let jobs = if args.read_only { Vec::new() } else { prepare(&plan, args, &base, &out)? };
    if !args.read_only {
        train_all(jobs, args, &stop, &bars)?;
    }
    let comparison = Comparison::read(&out)?;
    let files = write(&comparison, &out)?;
    if args.json {
        print_json(&summary(&comparison))?;
    } else {
        for (_, table) in tables(&comparison) {
            print(&format!("{}\n", table.to_text()))?;
        }
        failures(&comparison)?;
        print(&format!("files   {}", files.display()))?;
        print(&format!("report  ktg report {} -o report.html", shell_word(&out.display().to_string())))?;
    }
    let unfinished = comparison.groups.iter().any(|group| group.missing().is_some());
    if stop.load(Ordering::Relaxed) {
        note("stopped; start the same command again to go on");
        return Ok(ExitCode::from(signals::INTERRUPTED));
    }
    // A table with holes is not what was asked for.
    Ok(if unfinished && !args.read_only { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Fixes the graphs and writes down what belongs to the comparison.
fn prepare(plan: &Plan, args: &CompareArgs, base: &Path, out: &Path) -> Result<Vec<Job>, CliError> {
    let graphs = out.join("graphs");
    fs::create_dir_all(&graphs).map_err(|e| CliError::file("create", &graphs, &e))?;
    let seeds = plan.seeds();
    let (mut groups, mut jobs) = (Vec::new(), Vec::new());
    for data in &plan.data_sets {
        let (settings, data_base) = plan.settings(data, base)?;
        for &nodes in &plan.nodes {
            for method in plan.methods.iter().filter(|method| plan.wants(method, data, nodes)) {
                let stem = format!("{}-{}-m{nodes}", slug(&data.name), slug(&method.name));
                let file = graphs.join(format!("{stem}.toml"));
                let source = plan.source(method, data, nodes, base)?;
                let origin = fix_graph(&file, &source, plan, (method, data, nodes), &settings)?;
                let mut runs = Vec::new();
                for &seed in &seeds {
                    let directory = Path::new("runs").join(format!("{stem}-seed{seed}"));
                    let mut settings = settings.clone();
                    settings.seed = seed;
                    let file = std::path::absolute(&file).map_err(|e| CliError::file("find", &file, &e))?;
                    settings.graph = GraphSettings { file: Some(file), ..GraphSettings::default() };
                    settings.check()?;
                    jobs.push(Job {
                        name: format!("{} x{nodes} on {}, seed {seed}", method.name, data.name),
                        directory: out.join(&directory),
                        settings,
                        base: data_base.clone(),
                    });
                    runs.push(directory);
                }
                let graph = Path::new("graphs").join(format!("{stem}.toml"));
                let (method, data) = (method.name.clone(), data.name.clone());
                groups.push(IndexedGroup { method, data, nodes, origin, graph, runs });
            }
        }
    }
    let text = fs::read_to_string(&args.plan).map_err(|e| CliError::file("read", &args.plan, &e))?;
    let index = Index {
        command: format!("ktg compare {}", shell_word(&args.plan.display().to_string())),
        plan: text,
        baseline: plan.baseline.clone().unwrap_or_else(|| plan.methods[0].name.clone()),
        methods: plan.methods.iter().map(|m| IndexedMethod { name: m.name.clone(), thesis: m.thesis }).collect(),
        data_sets: plan.data_sets.iter().map(|data| data.name.clone()).collect(),
        nodes: plan.nodes.clone(),
        seeds,
        groups,
    };
    index.write(out)?;
    // Seed by seed, so that an impatient reader has all methods early.
    let order = |job: &Job| index.seeds.iter().position(|seed| *seed == job.settings.seed);
    jobs.sort_by_key(order);
    Ok(jobs)
}

/// Writes the graph of a group, unless it has been written before: a study may go on and find better ones meanwhile,
/// but runs that are compared have the same. Returns where it comes from, in words.
fn fix_graph(
    file: &Path,
    source: &Source,
    plan: &Plan,
    (method, data, nodes): (&PlannedMethod, &DataSet, usize),
    settings: &Settings,
) -> Result<String, CliError> {
    let origin_file = file.with_extension("origin");
    let of_preset = matches!(source, Source::Preset(_));
    if !of_preset && let (true, Ok(origin)) = (file.is_file(), fs::read_to_string(&origin_file)) {
        return Ok(origin.trim().to_owned());
    }
    let architecture = plan.architecture.as_deref().or(settings.graph.architecture.as_deref());
    let (mut graph, origin) = match source {
        Source::Preset(name) => {
            let architecture = architecture.unwrap_or(DEFAULT_ARCHITECTURE);
            (presets::by_name(name, nodes, architecture)?, format!("the preset {name}"))
        }
        Source::File(path) => (Document::read(path)?.graph, format!("the file {}", path.display())),
        Source::Study { storage, name, trial } => {
            let study = StudyRecord::read(storage, name)?;
            let (trial, graph) = study.graph_of(*trial)?;
            let value = trial.value.map_or(String::new(), |value| format!(", {value:.2} % there"));
            let (number, all) = (trial.number, study.trials.len());
            (graph, format!("trial {number} of {all} of the study \"{name}\" in {storage}{value}"))
        }
    };
    if graph.len() != nodes {
        return Err(CliError::Other(format!(
            "the method \"{}\" on {} has {} nodes ({origin}), and the plan wants {nodes}; put {{nodes}} into its name, or \
             limit the method with `nodes`",
            method.name,
            data.name,
            graph.len()
        )));
    }
    if let (Some(architecture), false) = (plan.architecture.as_deref(), of_preset) {
        graph.set_architecture(architecture);
    }
    graph.name = Some(format!("{} x{nodes}", method.name));
    if let Some(node) = graph.nodes().iter().find(|node| node.pretrained.is_some()) {
        // Its path would start somewhere else.
        let weights = node.pretrained.clone().unwrap_or_default();
        return Err(CliError::Other(format!(
            "the method \"{}\" has pretrained weights ({weights}), which plans do not carry; train it with `ktg train`",
            method.name
        )));
    }
    let text = graph.to_toml();
    match fs::read_to_string(file) {
        Ok(before) if before == text => {}
        Ok(_) => {
            return Err(CliError::Other(format!(
                "{} holds another graph than the plan names for \"{}\"; give another --out",
                file.display(),
                method.name
            )));
        }
        Err(_) => {
            // The origin first: where there is a graph, there is an origin.
            write_atomically(&origin_file, origin.as_bytes())?;
            write_atomically(file, text.as_bytes())?;
        }
    }
    Ok(origin)
}

/// Trains all runs: `--jobs` at a time, and those that other processes work on are theirs.
fn train_all(jobs: Vec<Job>, args: &CompareArgs, stop: &AtomicBool, bars: &MultiProgress) -> Result<(), CliError> {
    let at_once = args.jobs.min(jobs.len()).max(1);
    let threads = (rayon::current_num_threads() / at_once).max(1);
    check_images(&jobs, args, bars)?;
    let queue = Mutex::new(VecDeque::from(jobs));
    let busy = Mutex::new(Vec::new());
    let next = || -> Option<Job> { queue.lock().ok()?.pop_front() };
    let worker = || -> Result<(), CliError> {
        let pool = pool(threads)?;
        while !stop.load(Ordering::Relaxed) {
            let Some(job) = next() else { break };
            if !pool.install(|| train(&job, args, stop, bars))?
                && let Ok(mut busy) = busy.lock()
            {
                busy.push(job);
            }
        }
        Ok(())
    };
    in_parallel(at_once, stop, worker)?;
    let mut busy = busy.into_inner().unwrap_or_default();
    let mut said = false;
    while !busy.is_empty() && !args.no_wait && !stop.load(Ordering::Relaxed) {
        if !std::mem::replace(&mut said, true) {
            say(bars, &format!("waiting for {} runs of other processes (Ctrl-C leaves them to it)", busy.len()));
        }
        std::thread::sleep(MOMENT);
        // One that died leaves its run to us.
        let mut still = Vec::new();
        for job in busy {
            if stop.load(Ordering::Relaxed) || !train(&job, args, stop, bars)? {
                still.push(job);
            }
        }
        busy = still;
    }
    Ok(())
}

/// Decodes the images of every data set once, before hours are spent.
fn check_images(jobs: &[Job], args: &CompareArgs, bars: &MultiProgress) -> Result<(), CliError> {
    if args.no_check || args.skip_bad {
        return Ok(());
    }
    let mut seen: Vec<&ktg_data::DataSource> = Vec::new();
    for job in jobs.iter().filter(|job| !job.directory.join("result.json").exists()) {
        if !seen.contains(&&job.settings.data) {
            seen.push(&job.settings.data);
            drop(crate::train::open(job.settings.clone(), &job.base, Check::Stop, &Progress::among(bars, "compare"))?);
        }
    }
    Ok(())
}

/// Trains one run. `false`: another process is at it.
fn train(job: &Job, args: &CompareArgs, stop: &AtomicBool, bars: &MultiProgress) -> Result<bool, CliError> {
    let failure = Comparison::failure_file(&job.directory);
    if failure.exists() {
        if !args.retry_failed {
            return Ok(true);
        }
        fs::remove_file(&failure).map_err(|e| CliError::file("remove", &failure, &e))?;
    }
    let experiment = match args.skip_bad {
        false => Experiment::open(job.settings.clone(), &job.base)?,
        true => {
            let (experiment, bad) = Experiment::open_usable(job.settings.clone(), &job.base, &|_, _| {})?;
            left_out(&bad, |text| say(bars, text));
            experiment
        }
    };
    if let Some(parent) = job.directory.parent() {
        fs::create_dir_all(parent).map_err(|e| CliError::file("create", parent, &e))?;
    }
    let finished = job.directory.join("result.json").exists();
    let mut progress = Progress::among(bars, job.name.clone()).quiet();
    match run::start_or_resume(experiment, &job.directory, stop, &mut progress) {
        Ok(Outcome::Finished(result)) => {
            let (average, ensemble) = (result.measures.node_average.top1, result.measures.ensemble.accuracy.top1);
            if !finished {
                say(bars, &format!("{}: node average {average:.2} %, ensemble {ensemble:.2} %", job.name));
            }
            Ok(true)
        }
        Ok(Outcome::Interrupted { .. }) => Ok(true),
        Err(Error::Busy(_)) => Ok(false),
        // Other runs are not to blame, and shall not wait.
        Err(error @ (Error::Diverged { .. } | Error::NotFinite { .. })) => {
            write_atomically(&failure, format!("{error}\n").as_bytes())?;
            say(bars, &format!("{}: failed: {error}", job.name));
            Ok(true)
        }
        Err(Error::OtherRun(directory)) => Err(CliError::Other(format!(
            "{} holds a run of other settings, data or graph than the plan says now; give another --out, or undo the change",
            directory.display()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// All tables, with the names of their files.
fn tables(comparison: &Comparison) -> Vec<(String, Table)> {
    let data_sets = &comparison.index.data_sets;
    let several = data_sets.len() > 1;
    let name = |data: &String| if several { format!("table1-{}", slug(data)) } else { "table1".to_owned() };
    let mut tables: Vec<(String, Table)> =
        data_sets.iter().map(|data| (name(data), compare::table_1(comparison, data))).collect();
    if several || comparison.index.nodes.len() > 1 {
        tables.push(("table2".to_owned(), compare::table_2(comparison)));
    }
    if comparison.index.methods.len() > 1 {
        tables.push(("differences".to_owned(), compare::differences(comparison)));
    }
    tables
}

/// Writes all tables in all formats and the figures; returns their directory.
fn write(comparison: &Comparison, out: &Path) -> Result<PathBuf, CliError> {
    let directory = out.join("tables");
    fs::create_dir_all(&directory).map_err(|e| CliError::file("create", &directory, &e))?;
    for (name, table) in tables(comparison) {
        let formats =
            [("txt", table.to_text()), ("md", table.to_markdown()), ("csv", table.to_csv()), ("tex", table.to_latex())];
        for (ending, text) in formats {
            write_atomically(&directory.join(format!("{name}.{ending}")), text.as_bytes())?;
        }
    }
    for data in &comparison.index.data_sets {
        let svg = compare::accuracy_figure(comparison, data)?;
        let stem = directory.join(format!("accuracy-{}", slug(data)));
        write_atomically(&stem.with_extension("svg"), svg.as_bytes())?;
        write_atomically(&stem.with_extension("png"), &png(&svg, 2.0)?)?;
    }
    Ok(directory)
}

fn failures(comparison: &Comparison) -> Result<(), CliError> {
    for (_, directory, state) in comparison.groups.iter().flat_map(|group| &group.runs) {
        if let RunState::Failed(reason) = state {
            print(&format!("{} failed: {reason}", directory.display()))?;
        }
    }
    Ok(())
}

fn summary(comparison: &Comparison) -> serde_json::Value {
    let groups = comparison.groups.iter().map(|group| {
        let runs = group.runs.iter().map(|(seed, directory, state)| {
            let (state, result) = match state {
                RunState::Missing => ("missing", None),
                RunState::Unfinished { .. } => ("unfinished", None),
                RunState::Failed(_) => ("failed", None),
                RunState::Finished(result) => ("finished", Some(&result.measures)),
            };
            json!({"seed": seed, "run": directory.display().to_string(), "state": state, "measures": result})
        });
        json!({
            "method": group.method,
            "data": group.data,
            "nodes": group.nodes,
            "graph": group.graph,
            "origin": group.origin,
            "runs": runs.collect::<Vec<_>>(),
        })
    });
    json!({ "baseline": comparison.index.baseline, "groups": groups.collect::<Vec<_>>() })
}
