//! `ktg compare`: trains what a plan names, and sums it up.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::MultiProgress;
use ktg_figures::table::Table;
use ktg_graph::Graph;
use ktg_report::compare::{self, Comparison, Index, IndexedGroup, IndexedMethod, Plan, RunState, slug};
use ktg_train::{Error, Experiment, GraphSettings, Outcome, RunDirectory, Settings, run, write_atomically};
use serde_json::json;

use crate::args::CompareArgs;
use crate::error::CliError;
use crate::export;
use crate::fixed::{Fixed, fixed_graph};
use crate::names::shell_word;
use crate::output::{note, print, print_json};
use crate::parallel::{in_parallel, pool};
use crate::progress::Progress;
use crate::search::say;
use crate::signals;
use crate::train::{self, Check};

/// Between two looks at runs that other processes work on.
const MOMENT: Duration = Duration::from_secs(2);

/// A run of the plan.
struct Job {
    name: String,
    directory: PathBuf,
    /// Of the plan's data sets, the one that it is on.
    data: usize,
    graph: Graph,
    seed: u64,
}

/// A plan made concrete.
struct Prepared {
    index: Index,
    jobs: Vec<Job>,
    /// Settings of each data set's runs, and where their paths start.
    settings: Vec<(Settings, PathBuf)>,
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
    let comparison = if args.read_only {
        Comparison::read(&out)?
    } else {
        let Prepared { index, jobs, settings } = prepare(&plan, args, &base, &out)?;
        let experiments = open(&jobs, &settings, args, &bars)?;
        train_all(jobs, &experiments, args, &stop, &bars)?;
        // Another process may have written another index meanwhile.
        Comparison::of(&out, index)?
    };
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

/// The command as it was typed.
pub fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).map(|word| shell_word(&word)).collect();
    format!("ktg {}", words.join(" "))
}

/// Fixes the graphs, makes sure that the runs that are there are of this plan, and writes down what belongs to the
/// comparison.
fn prepare(plan: &Plan, args: &CompareArgs, base: &Path, out: &Path) -> Result<Prepared, CliError> {
    let graphs = out.join("graphs");
    fs::create_dir_all(&graphs).map_err(|e| CliError::file("create", &graphs, &e))?;
    let seeds = plan.seeds();
    let (mut groups, mut jobs, mut all_settings) = (Vec::new(), Vec::new(), Vec::new());
    for (d, data) in plan.data_sets.iter().enumerate() {
        let (settings, data_base) = plan.settings(data, base)?;
        settings.check()?;
        for &nodes in &plan.nodes {
            for method in plan.methods.iter().filter(|method| plan.wants(method, data, nodes)) {
                // No slug has an underscore.
                let stem = format!("{}_{}_m{nodes}", slug(&data.name), slug(&method.name));
                let source = plan.source(method, data, nodes, base, args.storage.as_deref())?;
                let Fixed { graph, origin, .. } =
                    fixed_graph(&graphs.join(&stem), &source, plan, (method, data, nodes), &settings)?;
                let mut runs = Vec::new();
                for &seed in &seeds {
                    let directory = Path::new("runs").join(format!("{stem}_seed{seed}"));
                    check_run(&out.join(&directory), &graph, &Settings { seed, ..settings.clone() })?;
                    jobs.push(Job {
                        name: format!("{} x{nodes} on {}, seed {seed}", method.name, data.name),
                        directory: out.join(&directory),
                        data: d,
                        graph: graph.clone(),
                        seed,
                    });
                    runs.push(directory);
                }
                let graph = Path::new("graphs").join(format!("{stem}.toml"));
                let (method, data) = (method.name.clone(), data.name.clone());
                groups.push(IndexedGroup { method, data, nodes, origin, graph, runs });
            }
        }
        all_settings.push((settings, data_base));
    }
    let text = fs::read_to_string(&args.plan).map_err(|e| CliError::file("read", &args.plan, &e))?;
    let index = Index {
        command: command_line(),
        plan: plan.without_passwords(&text),
        baseline: plan.baseline.clone().unwrap_or_else(|| plan.methods[0].name.clone()),
        methods: plan.methods.iter().map(|m| IndexedMethod { name: m.name.clone(), thesis: m.thesis }).collect(),
        data_sets: plan.data_sets.iter().map(|data| data.name.clone()).collect(),
        nodes: plan.nodes.clone(),
        seeds,
        groups,
    };
    index.write(out)?;
    // Seed by seed, so that an impatient reader has all methods early.
    let order = |job: &Job| index.seeds.iter().position(|seed| *seed == job.seed);
    jobs.sort_by_key(order);
    Ok(Prepared { index, jobs, settings: all_settings })
}

/// Makes sure that a run that has been begun is one of the plan, before hours are spent on others.
fn check_run(directory: &Path, graph: &Graph, settings: &Settings) -> Result<(), CliError> {
    if !RunDirectory::is_one(directory) {
        return Ok(());
    }
    let run = RunDirectory::read(directory)?;
    let same = run.graph == *graph
        && run.settings.seed == settings.seed
        && run.settings.without_graph_and_seed() == settings.without_graph_and_seed();
    if same { Ok(()) } else { Err(other_plan(directory)) }
}

fn other_plan(directory: &Path) -> CliError {
    CliError::Other(format!(
        "{} holds a run of other settings, data or graph than the plan says now; give another --out, or undo the change",
        directory.display()
    ))
}

/// Opens each data set once, and decodes its images where a run is still to come.
fn open(
    jobs: &[Job],
    settings: &[(Settings, PathBuf)],
    args: &CompareArgs,
    bars: &MultiProgress,
) -> Result<Vec<Option<Experiment>>, CliError> {
    let open = |(d, (settings, base)): (usize, &(Settings, PathBuf))| {
        let finished = |job: &Job| job.directory.join("result.json").exists();
        if !jobs.iter().any(|job| job.data == d && !finished(job)) {
            return Ok(None);
        }
        // Which graph is opened with the data does not matter.
        let settings = Settings { graph: GraphSettings::default(), ..settings.clone() };
        let check = Check::of(args.images.no_check, args.images.skip_bad);
        train::open(settings, base, check, &Progress::among(bars, "compare")).map(Some)
    };
    settings.iter().enumerate().map(open).collect()
}

/// Trains all runs: `--jobs` at a time, and those that other processes work on are theirs.
fn train_all(
    jobs: Vec<Job>,
    experiments: &[Option<Experiment>],
    args: &CompareArgs,
    stop: &AtomicBool,
    bars: &MultiProgress,
) -> Result<(), CliError> {
    let at_once = args.jobs.min(jobs.len()).max(1);
    let threads = (rayon::current_num_threads() / at_once).max(1);
    let queue = Mutex::new(VecDeque::from(jobs));
    let busy = Mutex::new(Vec::new());
    let next = || -> Option<Job> { queue.lock().ok()?.pop_front() };
    let worker = || -> Result<(), CliError> {
        let pool = pool(threads)?;
        while !stop.load(Ordering::Relaxed) {
            let Some(job) = next() else { break };
            if !pool.install(|| train(&job, experiments, stop, bars))?
                && let Ok(mut busy) = busy.lock()
            {
                busy.push(job);
            }
        }
        Ok(())
    };
    in_parallel(at_once, stop, worker)?;
    let mut busy = busy.into_inner().unwrap_or_default();
    let (pool, mut said) = (pool(threads)?, false);
    while !busy.is_empty() && !args.no_wait && !stop.load(Ordering::Relaxed) {
        if !std::mem::replace(&mut said, true) {
            say(bars, &format!("waiting for {} runs of other processes (Ctrl-C leaves them to it)", busy.len()));
        }
        std::thread::sleep(MOMENT);
        // One that died leaves its run to us.
        let mut still = Vec::new();
        for job in busy {
            if stop.load(Ordering::Relaxed) || !pool.install(|| train(&job, experiments, stop, bars))? {
                still.push(job);
            }
        }
        busy = still;
    }
    Ok(())
}

/// Trains one run. `false`: another process is at it.
fn train(
    job: &Job,
    experiments: &[Option<Experiment>],
    stop: &AtomicBool,
    bars: &MultiProgress,
) -> Result<bool, CliError> {
    let failure = Comparison::failure_file(&job.directory);
    if failure.exists() || job.directory.join("result.json").exists() {
        return Ok(true);
    }
    if run::is_busy(&job.directory) {
        return Ok(false);
    }
    let Some(experiment) = &experiments[job.data] else { return Ok(true) };
    let mut experiment = experiment.with_graph(job.graph.clone())?;
    experiment.settings.seed = job.seed;
    if let Some(parent) = job.directory.parent() {
        fs::create_dir_all(parent).map_err(|e| CliError::file("create", parent, &e))?;
    }
    let mut progress = Progress::among(bars, job.name.clone()).quiet();
    match run::start_or_resume(experiment, &job.directory, stop, &mut progress) {
        Ok(Outcome::Finished(result)) => {
            let (average, ensemble) = (result.measures.node_average.top1, result.measures.ensemble.accuracy.top1);
            say(bars, &format!("{}: node average {average:.2} %, ensemble {ensemble:.2} %", job.name));
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
        Err(Error::OtherRun(directory)) => Err(other_plan(&directory)),
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
        export::table(&directory.join(name), &table)?;
    }
    for data in &comparison.index.data_sets {
        let svg = compare::accuracy_figure(comparison, data);
        export::figure(&directory.join(format!("accuracy-{}", slug(data))), &svg)?;
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
