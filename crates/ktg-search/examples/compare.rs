//! Compares ways of searching on a recorded objective: the ensemble accuracy, after each of eight epochs, of every graph
//! of two networks of which the first learns from the label through an open gate (`bench/recorded-m2.csv`, made by
//! `bench/src/bin/record.rs`). The searches are real, study and all; only the training is looked up.
//!
//! `cargo run --release -p ktg-search --example compare -- bench/recorded-m2.csv [SEEDS [SAMPLER]]`

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ktg_graph::{Gate, Graph, Node};
use ktg_search::storage::{Patience, StorageUrl, Study};
use ktg_search::{
    EdgeSettings, Objective, ObjectiveKind, PrunerKind, Report, SamplerKind, SearchSettings, Space, Task, Work, Worker,
    WorkerPlan, WorkerSettings, pruner, sampler,
};

type AnyError = Box<dyn std::error::Error>;

/// The recorded curves, by the graph's canonical hash.
type Table = HashMap<String, Vec<f64>>;

/// The architecture that the curves were recorded with; it is part of the hashes.
const ARCHITECTURE: &str = "abn-resnet-cifar-8";

/// A way of searching.
#[derive(Clone, Copy)]
struct Method {
    sampler: SamplerKind,
    pruner: PrunerKind,
    /// The epoch of the first rung.
    min_resource: u32,
}

/// Every sampler with every pruner that the thesis or this program proposes, and some others.
fn methods() -> Vec<Method> {
    let mut methods = Vec::new();
    for sampler in [SamplerKind::Random, SamplerKind::Tpe, SamplerKind::Evolution, SamplerKind::Model] {
        methods.push(Method { sampler, pruner: PrunerKind::None, min_resource: 1 });
        if sampler == SamplerKind::Random {
            methods.push(Method { sampler, pruner: PrunerKind::Median, min_resource: 1 });
            methods.push(Method { sampler, pruner: PrunerKind::Hyperband, min_resource: 1 });
        }
        for min_resource in [1, 4] {
            for pruner in [PrunerKind::Asha, PrunerKind::Promotion] {
                methods.push(Method { sampler, pruner, min_resource });
            }
        }
    }
    methods
}

/// Looks accuracies up, and counts what training would have cost.
struct Recorded<'a> {
    table: &'a Table,
    epochs: u32,
    /// Final values to reach, ascending.
    goals: &'a [f64],
    /// Set when the last goal is reached.
    stop: &'a AtomicBool,
    /// Graphs tried.
    trials: u64,
    /// Epochs of training.
    spent: u64,
    /// Trials and epochs when each goal was reached.
    reached: Vec<(u64, u64)>,
}

impl Objective for Recorded<'_> {
    fn steps(&self) -> u32 {
        self.epochs
    }

    /// All graphs in which both nodes are trained were recorded.
    fn accepts(&self, graph: &Graph) -> bool {
        self.table.contains_key(&graph.hash().to_string())
    }

    fn start<'b>(&'b mut self, task: Task) -> Box<dyn Work + 'b> {
        if task.reported == 0 {
            self.trials += 1;
        }
        Box::new(RecordedWork { objective: self, hash: task.graph.hash().to_string(), done: task.reported })
    }
}

/// A trial whose values are in the table.
struct RecordedWork<'a, 'b> {
    objective: &'a mut Recorded<'b>,
    hash: String,
    done: i64,
}

impl Work for RecordedWork<'_, '_> {
    fn next(&mut self) -> Result<Report, String> {
        let Self { objective, hash, done } = self;
        let curve = objective.table.get(hash).ok_or_else(|| format!("the graph {hash} was not recorded"))?;
        if *done < i64::from(objective.epochs) {
            objective.spent += 1;
            *done += 1;
            // A training that diverged has no further values.
            let value = curve.get(*done as usize - 1);
            return Ok(value.map_or(Report::Failed("diverged".to_owned()), |value| Report::Step(*done, *value)));
        }
        let value = curve.last().copied().unwrap_or(f64::NAN);
        while objective.goals.get(objective.reached.len()).is_some_and(|goal| value >= *goal) {
            objective.reached.push((objective.trials, objective.spent));
        }
        if objective.reached.len() == objective.goals.len() {
            objective.stop.store(true, Ordering::Relaxed);
        }
        Ok(Report::Finished(value, Vec::new()))
    }
}

fn read(path: &str) -> Result<Table, AnyError> {
    let text = std::fs::read_to_string(path)?;
    let line = |line: &str| -> Option<(String, Vec<f64>)> {
        let mut fields = line.split(',');
        let hash = fields.next()?.to_owned();
        let values = fields.skip(1).map_while(|value| value.parse().ok()).collect();
        Some((hash, values))
    };
    Ok(text.lines().skip(1).filter_map(line).collect())
}

/// Trials and epochs at which each goal was reached; a goal that was never reached is missing.
fn search(method: Method, seed: u64, table: &Table, epochs: u32, goals: &[f64]) -> Result<Vec<(u64, u64)>, AnyError> {
    let directory = tempfile::tempdir()?;
    let url = StorageUrl::file(directory.path().join("study.db"));
    let settings = SearchSettings {
        sampler: method.sampler,
        pruner: method.pruner,
        min_resource: method.min_resource,
        label_gates: vec![Gate::Through, Gate::Linear, Gate::Cutoff],
        edges: [("label -> 1".to_owned(), EdgeSettings::Fixed("through".to_owned()))].into(),
        ..SearchSettings::default()
    };
    let space = Space::new(&Graph::new(vec![Node::new(ARCHITECTURE); 2]), &settings)?;
    let study = Study::open(&url, "compare", true, Patience::none())?;
    let stop = AtomicBool::new(false);
    let mut objective = Recorded { table, epochs, goals, stop: &stop, trials: 0, spent: 0, reached: Vec::new() };
    let worker = WorkerSettings {
        seed: Some(seed),
        heartbeat: Duration::from_secs(60),
        silence: Duration::from_secs(600),
        ..WorkerSettings::new(table.len() as i64, directory.path())
    };
    let (sampler, pruner) = (sampler::by_kind(method.sampler), pruner::by_settings(&settings, "compare", epochs));
    let mut silent = |_: ktg_search::Event| {};
    let plan =
        WorkerPlan { space, values: ObjectiveKind::Accuracy, agreements: vec![], sampler, pruner, settings: worker };
    Worker::new(study, plan, &mut objective, &stop, &mut silent)?.run()?;
    Ok(objective.reached)
}

/// "123 ± 45", with the number of seeds that never got there.
fn spread(values: &[f64], seeds: usize) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    match (values.len(), seeds - values.len()) {
        (0, _) => "never".to_owned(),
        (_, 0) => format!("{mean:.0} ± {deviation:.0}"),
        (_, missed) => format!("{mean:.0} ± {deviation:.0} ({missed} never)"),
    }
}

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: compare RECORDED.csv [SEEDS [SAMPLER]]")?;
    let seeds: usize = arguments.next().map_or(Ok(20), |n| n.parse())?;
    let only: Option<SamplerKind> = arguments.next().map(|name| name.parse()).transpose()?;
    let table = read(&path)?;
    let epochs = table.values().map(Vec::len).max().unwrap_or(0);
    let complete = table.values().filter(|curve| curve.len() == epochs);
    let mut finals: Vec<f64> = complete.filter_map(|curve| curve.last().copied()).collect();
    finals.sort_by(|a, b| b.total_cmp(a));
    let share = |share: f64| finals[((finals.len() as f64 * share) as usize).min(finals.len() - 1)];
    let goals = [share(0.05), share(0.01), share(0.002)];
    println!(
        "{} graphs, {epochs} epochs; final accuracies: best {:.2}, top 0.2 % {:.2}, top 1 % {:.2}, top 5 % {:.2}, \
         median {:.2}, worst {:.2}; {seeds} seeds\n",
        table.len(),
        finals[0],
        goals[2],
        goals[1],
        goals[0],
        share(0.5),
        finals[finals.len() - 1]
    );
    let head = goals.map(|goal| format!("trials to {goal:.1} % | epochs to {goal:.1} %")).join(" | ");
    println!("| sampler | pruner | first rung | {head} |\n| --- | --- | --- | {} |", ["---"; 6].join(" | "));
    for method in methods().into_iter().filter(|method| only.is_none_or(|only| only == method.sampler)) {
        let results = (0..seeds as u64)
            .map(|seed| search(method, seed, &table, epochs as u32, &goals))
            .collect::<Result<Vec<_>, _>>()?;
        let cells = (0..goals.len()).map(|goal| {
            let reached: Vec<&(u64, u64)> = results.iter().filter_map(|reached| reached.get(goal)).collect();
            let trials: Vec<f64> = reached.iter().map(|(trials, _)| *trials as f64).collect();
            let epochs: Vec<f64> = reached.iter().map(|(_, epochs)| *epochs as f64).collect();
            format!("{} | {}", spread(&trials, seeds), spread(&epochs, seeds))
        });
        let rung = match method.pruner {
            PrunerKind::None | PrunerKind::Median => "-".to_owned(),
            _ => method.min_resource.to_string(),
        };
        println!("| {} | {} | {rung} | {} |", method.sampler, method.pruner, cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}
