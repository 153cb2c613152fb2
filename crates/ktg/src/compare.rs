//! `ktg compare`: trains what a plan names, and sums it up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use indicatif::MultiProgress;
use ktg_base::{create_dir_all, read_text, shell_word, slug};
use ktg_graph::Graph;
use ktg_report::compare::{self, Comparison, Index, IndexedGroup, IndexedMethod, Plan, RunState};
use ktg_train::{Error, Experiment, GraphSettings, PrecisionSetting, Run, RunDirectory, RunResult, Settings};
use serde_json::json;

use crate::args::{CompareArgs, ImageFlags};
use crate::export;
use crate::fixed::Wanted;
use crate::jobs::run_jobs;
use crate::output::{print, print_json};
use crate::progress::{Progress, pull, say};
use crate::seats::Seat;
use crate::signals;
use crate::train;

/// Between two looks at runs that other processes work on.
const MOMENT: Duration = Duration::from_secs(2);

/// A run of the plan.
pub struct Job {
    name: String,
    pub directory: RunDirectory,
    /// Of the plan's data sets, the one that it is on.
    pub data: usize,
    pub graph: Graph,
    pub seed: u64,
}

/// A plan made concrete.
pub struct Prepared {
    index: Index,
    pub jobs: Vec<Job>,
    /// Settings of each data set's runs, and where their paths start.
    pub settings: Vec<(Settings, PathBuf)>,
}

pub fn run(args: &CompareArgs) -> Result<ExitCode> {
    let stop = signals::stop_flag()?;
    let comparison = match args.read_only {
        true => Comparison::read(&directory(&Plan::read(&args.plan)?, args)?)?,
        false => train_all(args, &stop, &MultiProgress::new())?,
    };
    let files = write(&comparison)?;
    if args.json {
        print_json(&summary(&comparison))?;
    } else {
        for (_, table) in compare::tables(&comparison) {
            print(&format!("{}\n", table.to_text()))?;
        }
        for (run, reason) in comparison.failures() {
            print(&format!("{} failed: {reason}", run.display()))?;
        }
        print(&format!("files   {}", files.display()))?;
        let word = shell_word(&comparison.directory.display().to_string());
        print(&format!("report  ktg report {word} -o report.html"))?;
    }
    let unfinished = comparison.groups.iter().any(|group| group.missing().is_some());
    if stop.load(Ordering::Relaxed) {
        return Ok(signals::interrupted("stopped; start the same command again to go on"));
    }
    // A table with holes is not what was asked for.
    Ok(if unfinished && !args.read_only { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The directory of a comparison.
pub fn directory(plan: &Plan, args: &CompareArgs) -> Result<PathBuf> {
    let out = match (&args.out, &plan.out) {
        (Some(out), _) => out.to_owned(),
        (None, Some(out)) => base(&args.plan).join(out),
        (None, None) => args.plan.with_extension(""),
    };
    if out == args.plan {
        bail!("{} has no ending; give a directory with --out", out.display());
    }
    Ok(out)
}

/// Where the paths of a plan start.
fn base(plan: &Path) -> PathBuf {
    plan.parent().map(Path::to_owned).unwrap_or_default()
}

/// The command as it was typed.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).map(|word| shell_word(&word)).collect();
    format!("ktg {}", words.join(" "))
}

/// Trains all runs of a plan: several at a time, and those that other processes work on are theirs. Where `stop` is set
/// meanwhile, what is not done is missing in the comparison.
pub fn train_all(args: &CompareArgs, stop: &AtomicBool, bars: &MultiProgress) -> Result<Comparison> {
    let plan = Plan::read(&args.plan)?;
    let out = directory(&plan, args)?;
    let Prepared { index, jobs, settings } = prepare(&plan, args, &out)?;
    index.write(&out)?;
    for (data, precision) in &index.precisions {
        say(bars, &format!("`train.precision` is auto: {precision} for all runs on {data}"));
    }
    let experiments = open(&jobs, &settings, args.images, bars)?;
    let work = |job: &Job| train(job, experiments[job.data].as_ref(), stop, bars);
    let all: Vec<&Job> = jobs.iter().collect();
    let mut busy = run_jobs(&all, args.jobs, stop, work)?;
    if !busy.is_empty() && !args.no_wait {
        let count = busy.len();
        say(bars, &format!("waiting for {count} runs of other processes (Ctrl-C leaves them to it)"));
    }
    while !busy.is_empty() && !args.no_wait && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(MOMENT);
        // One that died leaves its run to us.
        busy = run_jobs(&busy, args.jobs, stop, work)?;
    }
    // Another process may have written another index meanwhile.
    Comparison::of(&out, index)
}

/// Fixes the graphs, unless nothing is to be written, and makes sure that the runs that are there are of this plan.
pub fn prepare(plan: &Plan, args: &CompareArgs, out: &Path) -> Result<Prepared> {
    let graphs = out.join("graphs");
    if !args.estimate {
        create_dir_all(&graphs)?;
    }
    let base = base(&args.plan);
    let seeds = plan.seeds();
    let (mut groups, mut jobs, mut all_settings) = (Vec::new(), Vec::new(), Vec::new());
    // What `auto` was when the comparison was begun, maybe on another machine.
    let decided = if Comparison::is_one(out) { Index::read(out)?.precisions } else { BTreeMap::new() };
    let mut precisions = BTreeMap::new();
    for (d, data) in plan.data_sets.iter().enumerate() {
        let (mut settings, data_base) = plan.settings(data, &base)?;
        settings.check()?;
        let first_job = jobs.len();
        let weights = settings.graph.named_weights(&data_base)?.map(|(name, _)| name);
        for &nodes in &plan.nodes {
            for method in plan.methods.iter().filter(|method| plan.wants(method, data, nodes)) {
                // No slug has an underscore.
                let stem = format!("{}_{}_m{nodes}", slug(&data.name), slug(&method.name));
                let source = plan.source(method, data, nodes, &base, args.storage.as_deref())?;
                let weights = weights.as_deref();
                let wanted = Wanted { plan, method, data, nodes, source, settings: &settings, weights };
                let file = graphs.join(&stem);
                let (graph, origin) = if args.estimate { wanted.look(&file)? } else { wanted.fix(&file)? };
                let mut runs = Vec::new();
                for &seed in &seeds {
                    let run = Path::new("runs").join(format!("{stem}_seed{seed}"));
                    let directory = RunDirectory::new(out.join(&run));
                    let name = format!("{} x{nodes} on {}, seed {seed}", method.name, data.name);
                    jobs.push(Job { name, directory, data: d, graph: graph.clone(), seed });
                    runs.push(run);
                }
                let graph = Path::new("graphs").join(format!("{stem}.toml"));
                let (method, data) = (method.name.clone(), data.name.clone());
                groups.push(IndexedGroup { method, data, nodes, origin, graph, runs });
            }
        }
        let jobs = &jobs[first_job..];
        if settings.train.precision == PrecisionSetting::Auto {
            settings.train.precision = decided.get(&data.name).copied().unwrap_or_else(|| {
                let nodes = jobs.iter().flat_map(|job| job.graph.nodes());
                PrecisionSetting::decide(nodes.map(|node| node.architecture.as_str()), settings.side).into()
            });
            precisions.insert(data.name.clone(), settings.train.precision);
        }
        for job in jobs {
            check_run(&job.directory, &job.graph, &Settings { seed: job.seed, ..settings.clone() })?;
        }
        all_settings.push((settings, data_base));
    }
    let text = read_text(&args.plan)?;
    let index = Index {
        command: command_line(),
        plan: plan.without_passwords(&text),
        baseline: plan.baseline.clone().unwrap_or_else(|| plan.methods[0].name.clone()),
        methods: plan.methods.iter().map(|m| IndexedMethod { name: m.name.clone(), thesis: m.thesis }).collect(),
        data_sets: plan.data_sets.iter().map(|data| data.name.clone()).collect(),
        nodes: plan.nodes.clone(),
        seeds,
        groups,
        precisions,
    };
    // Seed by seed, so that an impatient reader has all methods early.
    jobs.sort_by_key(|job| index.seeds.iter().position(|seed| *seed == job.seed));
    Ok(Prepared { index, jobs, settings: all_settings })
}

/// Makes sure that a run that has been begun is one of the plan, before hours are spent on others.
fn check_run(directory: &RunDirectory, graph: &Graph, settings: &Settings) -> Result<()> {
    if !directory.has_run() {
        return Ok(());
    }
    let run = directory.settings()?;
    let same = directory.graph()?.graph == *graph
        && run.seed == settings.seed
        && run.without_graph_and_seed() == settings.without_graph_and_seed();
    if same { Ok(()) } else { Err(other_plan(directory.path())) }
}

fn other_plan(directory: &Path) -> anyhow::Error {
    anyhow!(
        "{} holds a run of other settings, data or graph than the plan says now; give another --out, or undo the change",
        directory.display()
    )
}

/// Opens each data set once, and decodes its images where a run is still to come.
pub fn open(
    jobs: &[Job],
    settings: &[(Settings, PathBuf)],
    images: ImageFlags,
    bars: &MultiProgress,
) -> Result<Vec<Option<Experiment>>> {
    let mut experiments = Vec::new();
    for (d, (settings, base)) in settings.iter().enumerate() {
        if jobs.iter().filter(|job| job.data == d).all(|job| job.directory.is_finished()) {
            experiments.push(None);
            continue;
        }
        // Which graph is opened with the data does not matter.
        let without_graph = Settings { graph: GraphSettings::default(), ..settings.clone() };
        let mut experiment = train::open(without_graph, base, images, &Progress::among(bars, "compare"))?;
        experiment.know_weights(settings.graph.named_weights(base)?);
        experiments.push(Some(experiment));
    }
    Ok(experiments)
}

/// Trains one run. `false`: another process is at it.
fn train(job: &Job, experiment: Option<&Experiment>, stop: &AtomicBool, bars: &MultiProgress) -> Result<bool> {
    if job.directory.is_finished() || Comparison::failure(&job.directory)?.is_some() {
        return Ok(true);
    }
    if job.directory.is_busy() {
        return Ok(false);
    }
    let Some(experiment) = experiment else { return Ok(true) };
    let seat = Seat::take();
    match pull_job(job, experiment, seat.first_device(job.graph.len()), stop, bars) {
        Ok(Some(result)) => {
            let (average, ensemble) = (result.measures.node_average.top1, result.measures.ensemble.accuracy.top1);
            say(bars, &format!("{}: node average {average:.2} %, ensemble {ensemble:.2} %", job.name));
            Ok(true)
        }
        Ok(None) => Ok(true),
        Err(Error::Busy(_)) => Ok(false),
        // Other runs are not to blame, and shall not wait.
        Err(error) if error.is_divergence() => {
            say(bars, &format!("{}: failed: {error}", job.name));
            Ok(true)
        }
        Err(Error::OtherRun(directory)) => Err(other_plan(&directory)),
        Err(error) => Err(error.into()),
    }
}

/// Trains a run to its end, unless it is stopped.
fn pull_job(
    job: &Job,
    experiment: &Experiment,
    first_device: usize,
    stop: &AtomicBool,
    bars: &MultiProgress,
) -> Result<Option<RunResult>, Error> {
    let mut experiment = experiment.with_graph(job.graph.clone())?;
    experiment.settings.seed = job.seed;
    experiment.first_device = first_device;
    let mut run = Run::start_or_resume(experiment, &job.directory)?;
    pull(&mut run, stop, &mut Progress::among(bars, job.name.clone()).quiet())?;
    Ok(run.result().cloned())
}

/// Writes all tables in all formats and the figures; returns their directory.
fn write(comparison: &Comparison) -> Result<PathBuf> {
    let directory = comparison.directory.join("tables");
    create_dir_all(&directory)?;
    for (name, table) in compare::tables(comparison) {
        export::table(&directory.join(name), &table)?;
    }
    for data in &comparison.index.data_sets {
        let svg = compare::accuracy_figure(comparison, data);
        export::figure(&directory.join(format!("accuracy-{}", slug(data))), &svg)?;
    }
    Ok(directory)
}

fn summary(comparison: &Comparison) -> serde_json::Value {
    let groups = comparison.groups.iter().map(|group| {
        let runs = group.runs.iter().map(|run| {
            let (state, result) = match &run.state {
                RunState::Missing => ("missing", None),
                RunState::Unfinished { .. } => ("unfinished", None),
                RunState::Failed(_) => ("failed", None),
                RunState::Finished(result) => ("finished", Some(&result.measures)),
            };
            let directory = run.directory.path().display().to_string();
            json!({"seed": run.seed, "run": directory, "state": state, "measures": result})
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
