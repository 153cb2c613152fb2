//! A stand-in for training: its values follow from the graph, and it goes on from a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ktg_graph::{Graph, Node};
use ktg_search::pruner::Pruner;
use ktg_search::sampler::Sampler;
use ktg_search::storage::Study;
use ktg_search::{
    Error, Event, Objective, ObjectiveKind, Occupant, Report, SearchSettings, Space, Task, Work, Worker, WorkerPlan,
    WorkerSettings,
};

/// The value of a graph after a step: rises, and better graphs are not always better at the start.
pub fn value(graph: &Graph, step: i64) -> f64 {
    let hash = graph.hash().to_string();
    let part = |digits: &str| f64::from(u32::from_str_radix(digits, 16).unwrap()) / f64::from(u32::MAX);
    let (level, slope) = (part(&hash[..8]), part(&hash[8..16]));
    level * (1.0 - 1.0 / (1.0 + (0.3 + slope) * step as f64))
}

/// The last step that is saved in a directory.
pub fn saved(directory: &Path) -> i64 {
    fs::read_to_string(directory.join("step")).map_or(0, |text| text.parse().unwrap())
}

/// Saves a step so that a death in between leaves the old one.
pub fn save(directory: &Path, step: i64) {
    let temporary = directory.join(format!("step-{}", std::process::id()));
    fs::write(&temporary, step.to_string()).unwrap();
    fs::rename(temporary, directory.join("step")).unwrap();
}

/// Whose run is in a directory, as [`train`] marks it.
pub fn occupant(directory: &Path) -> Occupant {
    match fs::read_to_string(directory.join("study.json")) {
        Ok(mark) => serde_json::from_str(&mark).map_or(Occupant::Unknown, Occupant::Trial),
        Err(_) if directory.join("step").exists() => Occupant::Unmarked,
        Err(_) => Occupant::Nobody,
    }
}

/// Does a step of a task as training does, or finishes it; counts the steps that it computes.
pub fn train(steps: u32, task: &Task, step: i64, computed: &mut u64, pace: Duration) -> Report {
    if step > i64::from(steps) {
        return Report::Finished(value(&task.graph, steps.into()), vec![]);
    }
    fs::create_dir_all(&task.directory).unwrap();
    if !matches!(occupant(&task.directory), Occupant::Unmarked | Occupant::Unknown) {
        let mark = serde_json::to_string(&task.study).unwrap();
        fs::write(task.directory.join("study.json"), mark).unwrap();
    }
    if step > saved(&task.directory) {
        std::thread::sleep(pace);
        *computed += 1;
        save(&task.directory, step);
    }
    Report::Step(step, value(&task.graph, step))
}

/// Does a step, or finishes.
type Step<'a> = Box<dyn FnMut(&Task, i64, &mut u64) -> Result<Report, String> + 'a>;

/// An objective that a test writes.
pub struct Scripted<'a> {
    pub steps: u32,
    /// Is asked for the steps after the last that was reported, and once more to finish.
    pub step: Step<'a>,
    /// Which graphs it accepts.
    pub accepts: fn(&Graph) -> bool,
    /// The steps that were computed.
    pub computed: u64,
    /// The numbers and graphs it was given.
    pub tasks: Vec<(i64, Graph)>,
    pub paused: Vec<PathBuf>,
    pub over: Vec<PathBuf>,
}

impl<'a> Scripted<'a> {
    pub fn new(steps: u32, step: impl FnMut(&Task, i64, &mut u64) -> Result<Report, String> + 'a) -> Self {
        let accepts = |graph: &Graph| (0..graph.len()).all(|node| graph.is_trained(node));
        Self { steps, step: Box::new(step), accepts, computed: 0, tasks: vec![], paused: vec![], over: vec![] }
    }

    /// The stand-in, at full speed.
    pub fn training(steps: u32) -> Self {
        Self::new(steps, move |task, step, computed| Ok(train(steps, task, step, computed, Duration::ZERO)))
    }
}

/// A task of a scripted objective.
struct ScriptedWork<'a, 'b> {
    objective: &'a mut Scripted<'b>,
    task: Task,
    done: i64,
}

impl Work for ScriptedWork<'_, '_> {
    fn next(&mut self) -> Result<Report, String> {
        self.done += 1;
        (self.objective.step)(&self.task, self.done, &mut self.objective.computed)
    }
}

impl Objective for Scripted<'_> {
    fn steps(&self) -> u32 {
        self.steps
    }

    fn accepts(&self, graph: &Graph) -> bool {
        (self.accepts)(graph)
    }

    fn occupant(&self, directory: &Path) -> Occupant {
        occupant(directory)
    }

    fn start<'a>(&'a mut self, task: Task) -> Box<dyn Work + 'a> {
        self.tasks.push((task.number, task.graph.clone()));
        Box::new(ScriptedWork { objective: self, done: task.reported, task })
    }

    fn paused(&mut self, directory: &Path) {
        self.paused.push(directory.to_owned());
    }

    fn over(&mut self, directory: &Path) {
        self.over.push(directory.to_owned());
    }
}

/// The space of graphs of so many nodes, with settings in TOML.
pub fn space(nodes: usize, settings: &str) -> Space {
    let settings = SearchSettings::parse(&format!("[search]\n{settings}"), "test").unwrap();
    Space::new(&Graph::new(vec![Node::new("abn-resnet-18"); nodes]), &settings).unwrap()
}

/// Settings of workers that test quickly.
pub fn quick(trials: i64, runs: &Path) -> WorkerSettings {
    WorkerSettings {
        heartbeat: Duration::from_millis(200),
        silence: Duration::from_secs(5),
        ..WorkerSettings::new(trials, runs)
    }
}

/// How a worker decides.
pub type Ways = (Box<dyn Sampler>, Box<dyn Pruner>);

/// Works on a study until it is done (`true`) or the worker is asked to stop.
pub fn work(
    study: Study,
    space: Space,
    (sampler, pruner): Ways,
    objective: &mut dyn Objective,
    settings: WorkerSettings,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<bool, Error> {
    let plan = WorkerPlan { space, values: ObjectiveKind::Accuracy, agreements: vec![], sampler, pruner, settings };
    Worker::new(study, plan, objective, stop, tell)?.run()
}
