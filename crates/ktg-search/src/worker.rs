//! A worker: takes trials, has them judged, and lets the pruner decide, until the study has all it shall have.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ktg_graph::Graph;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value as Json, json};

use crate::Error;
use crate::history::History;
use crate::objective::{Ended, Objective, Task};
use crate::pruner::{Pruner, Reported, Verdict};
use crate::pulse::Pulse;
use crate::sampler::{Proposals, Random, Sampler};
use crate::space::{Genes, Space};
use crate::storage::{Claimed, GRAPH, Inserted, NewTrial, PausedTrial, RungValue, State, Study, Trial};

/// User attribute of a study: its search space, see [`Space::from_json`].
pub const SPACE: &str = "search space";
/// User attribute of a trial: where its run is kept.
pub const RUN: &str = "run";
/// User attribute of a trial: why it failed.
pub const REASON: &str = "reason";
/// System attribute of an enqueued trial: choices by name. Optuna's name.
const FIXED_PARAMS: &str = "fixed_params";
/// Trials of more steps are reported at every so-many-th step, and where the pruner decides: dashboards and Optuna read
/// all reports of all trials.
const REPORTS: i64 = 20;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The study shall have so many trials, retries aside.
    pub trials: i64,
    /// Directory of the runs, `trial-00012` and so on. Should be one that all workers reach.
    pub runs: PathBuf,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// A trial without a heartbeat for so long is taken from its worker.
    pub silence: Duration,
    /// A graph is tried again so many times when workers fall silent over it.
    pub retries: usize,
    /// Seed of the sampler. `None`: another one each time.
    pub seed: Option<u64>,
    /// Whether to stay while others work, in case that one of them dies or leaves a trial to continue.
    pub wait: bool,
    /// The most paused trials; of more, the worst are pruned. `None`: any number.
    pub most_paused: Option<usize>,
}

impl WorkerSettings {
    /// The settings for so many trials, with their usual values.
    pub fn new(trials: i64, runs: impl Into<PathBuf>) -> Self {
        Self {
            trials,
            runs: runs.into(),
            heartbeat: Duration::from_secs(20),
            silence: Duration::from_secs(120),
            retries: 3,
            seed: None,
            wait: true,
            most_paused: None,
        }
    }
}

/// Why a worker has a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sampler chose it.
    New,
    /// Someone enqueued it, gave it back, or lost it.
    Waiting,
    /// It was paused and belongs to the top of its rung now.
    Promoted,
}

/// What a worker tells of its work.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// It begins to work on a trial.
    Started {
        /// The trial's number.
        number: i64,
        /// Why.
        origin: Origin,
        /// The graph.
        graph: &'a Graph,
    },
    /// The trial was stopped for now, or is over.
    Ended {
        /// The trial's number.
        number: i64,
        /// How.
        outcome: Outcome,
        /// The last step and its value.
        last: Option<(i64, f64)>,
    },
    /// Another worker fell silent.
    Reaped {
        /// The number of its trial.
        number: i64,
        /// The trial that repeats it.
        retry: Option<i64>,
    },
    /// Nothing to do while others work on so many trials.
    Waiting(i64),
    /// The study holds every graph of the space.
    Exhausted,
    /// So many paused trials were pruned at the end.
    PrunedPaused(usize),
}

/// How the work on a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has its final value.
    Complete(f64),
    /// It was stopped for good.
    Pruned,
    /// It was stopped at this rung, and may go on.
    Paused(u32),
    /// It cannot be judged, for this reason.
    Failed(String),
    /// It was given back, because the worker was asked to stop.
    GivenBack,
    /// Another worker has it now.
    Lost,
}

/// A worker of a study.
pub struct Worker<'a> {
    study: Study,
    space: Space,
    sampler: Box<dyn Sampler>,
    pruner: Box<dyn Pruner>,
    objective: &'a mut dyn Objective,
    settings: WorkerSettings,
    stop: &'a AtomicBool,
    tell: &'a mut dyn FnMut(Event),
    history: History,
    pulse: Pulse,
    /// Names this worker among all.
    name: String,
    /// The number of trials it has asked for.
    work: u64,
    seed: u64,
}

/// Why a trial stopped before its end.
enum Stopped {
    Pruned,
    Paused(u32),
    Lost,
    Asked,
    Error(Error),
}

impl<'a> Worker<'a> {
    /// A worker that begins when it is told to [`run`](Self::run).
    ///
    /// # Errors
    /// If the study searches another space, or was set up otherwise (`setup`: a name and a text for all that must be the
    /// same for all workers).
    #[expect(clippy::too_many_arguments, reason = "a worker is where everything meets")]
    pub fn new(
        mut study: Study,
        space: Space,
        setup: &[(&str, Json)],
        sampler: Box<dyn Sampler>,
        pruner: Box<dyn Pruner>,
        objective: &'a mut dyn Objective,
        settings: WorkerSettings,
        stop: &'a AtomicBool,
        tell: &'a mut dyn FnMut(Event),
    ) -> Result<Self, Error> {
        agree(&mut study, SPACE, &space.to_json())?;
        for (key, value) in setup {
            agree(&mut study, key, value)?;
        }
        let pulse = Pulse::start(&study, settings.heartbeat)?;
        let random = RandomState::new().hash_one(std::process::id());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let name = format!("{}/{}/{since:x}{:04x}", host(), std::process::id(), random & 0xffff);
        let seed = settings.seed.unwrap_or(random);
        Ok(Self {
            study,
            space,
            sampler,
            pruner,
            objective,
            settings,
            stop,
            tell,
            history: History::default(),
            pulse,
            name,
            work: 0,
            seed,
        })
    }

    /// Works until the study is done (`true`) or it is asked to stop.
    pub fn run(&mut self) -> Result<bool, Error> {
        let mut exhausted = false;
        let mut waited = false;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            for reaped in self.study.reap(self.settings.silence, self.settings.retries)? {
                (self.tell)(Event::Reaped { number: reaped.number, retry: reaped.retry });
            }
            // Who works is asked before what there is to do: who finishes in between is then seen in both.
            let busy = self.study.busy()?;
            if let Some((claimed, origin)) = self.claim()? {
                self.attend(claimed, origin)?;
                continue;
            }
            if !exhausted {
                match self.create()? {
                    Some(Inserted::Trial(claimed)) => {
                        self.attend(claimed, Origin::New)?;
                        continue;
                    }
                    Some(_) => {}
                    None => {
                        exhausted = true;
                        (self.tell)(Event::Exhausted);
                    }
                }
            }
            if busy == 0 {
                self.prune_paused()?;
                return Ok(true);
            }
            if !self.settings.wait {
                return Ok(true);
            }
            if !std::mem::replace(&mut waited, true) {
                (self.tell)(Event::Waiting(busy));
            }
            self.pause();
        }
    }

    /// A moment, shorter than anything that may happen meanwhile, that ends when the worker is asked to stop.
    fn pause(&self) {
        let moment = (self.settings.heartbeat / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let mut left = moment;
        while !left.is_zero() && !self.stop.load(Ordering::Relaxed) {
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
    }

    /// The name of the next piece of work.
    fn next_name(&mut self) -> String {
        self.work += 1;
        format!("{}/{}", self.name, self.work)
    }

    /// Takes a trial that exists: a waiting one, or a paused one that is to go on.
    fn claim(&mut self) -> Result<Option<(Claimed, Origin)>, Error> {
        let name = self.next_name();
        if let Some(claimed) = self.study.claim_waiting(&name)? {
            return Ok(Some((claimed, Origin::Waiting)));
        }
        if !self.pruner.pauses() {
            return Ok(None);
        }
        let paused = self.study.paused()?;
        if paused.is_empty() {
            return Ok(None);
        }
        let values = self.study.rungs(None)?;
        let Some(PausedTrial { id, .. }) = self.pruner.promotable(&values, &paused) else { return Ok(None) };
        Ok(self.study.claim_paused(id, &name)?.map(|claimed| (claimed, Origin::Promoted)))
    }

    /// Adds a trial of a new graph. `None`: there is none.
    fn create(&mut self) -> Result<Option<Inserted>, Error> {
        let name = self.next_name();
        for attempt in 0.. {
            let count = self.study.count()?;
            if count >= self.settings.trials {
                return Ok(Some(Inserted::Full));
            }
            if self.sampler.learns() {
                self.history.update(&mut self.study, &self.space)?;
            }
            let mut rng = self.rng(count as u64, attempt);
            let history = self.history.observations();
            let (study, objective) = (&self.study, &*self.objective);
            let proposals = Proposals {
                space: &self.space,
                known: &|hash| study.knows(hash),
                accepts: &|graph| objective.accepts(graph),
            };
            let Some(proposed) = proposals.next(&mut *self.sampler, history, &mut rng) else { return Ok(None) };
            let new = new_trial(&self.space, &proposed.genes, proposed.hash);
            match self.study.insert(&new, &name, self.settings.trials)? {
                // Another worker had the same idea a moment ago.
                Inserted::Known => {}
                inserted => return Ok(Some(inserted)),
            }
        }
        Ok(None)
    }

    /// The generator for the trial that follows `count` others, whoever asks.
    fn rng(&self, count: u64, attempt: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([self.seed, count, attempt, 0]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }

    /// Works on a trial of this worker.
    fn attend(&mut self, claimed: Claimed, origin: Origin) -> Result<(), Error> {
        let Claimed { id, number } = claimed;
        self.pulse.set(Some(id));
        let result = self.attend_beating(id, number, origin);
        self.pulse.set(None);
        let (outcome, last) = result?;
        (self.tell)(Event::Ended { number, outcome, last });
        Ok(())
    }

    fn attend_beating(&mut self, id: i64, number: i64, origin: Origin) -> Result<(Outcome, Option<(i64, f64)>), Error> {
        let Some(trial) = self.study.trial(id)? else { return Ok((Outcome::Lost, None)) };
        let genes = match self.complete_genes(&trial)? {
            Ok(genes) => genes,
            Err(reason) => return Ok((self.fail(id, reason)?, None)),
        };
        let graph = self.space.graph(&genes);
        let directory = self.directory(&trial);
        self.study.set_attribute(id, RUN, &json!(directory.to_string_lossy()))?;
        (self.tell)(Event::Started { number, origin, graph: &graph });
        let mut reports = trial.reports.clone();
        let (ended, stopped) = self.judge(&trial, &graph, &directory, &mut reports);
        let last = reports.last_key_value().map(|(step, value)| (*step, *value));
        let ended = match (ended, stopped) {
            (_, Some(Stopped::Error(error))) => return Err(error),
            (Err(reason), _) => {
                self.study.give_back(id)?;
                return Err(Error::Objective(reason));
            }
            (Ok(ended), stopped) => (ended, stopped),
        };
        let outcome = match ended {
            (Ended::Finished(value, attributes), _) => {
                match self.study.finish(id, State::Complete, Some(value), &attributes)? {
                    true => Outcome::Complete(value),
                    false => Outcome::Lost,
                }
            }
            (Ended::Failed(reason), _) => self.fail(id, reason)?,
            (Ended::Stopped, Some(Stopped::Pruned)) => {
                match self.study.finish(id, State::Pruned, last.map(|(_, value)| value), &[])? {
                    true => Outcome::Pruned,
                    false => Outcome::Lost,
                }
            }
            (Ended::Stopped, Some(Stopped::Paused(rung))) => {
                // What is not needed goes first: afterwards, another worker may be at it.
                self.objective.paused(&directory);
                match self.study.pause(id, rung)? {
                    true => Outcome::Paused(rung),
                    false => Outcome::Lost,
                }
            }
            (Ended::Stopped, Some(Stopped::Lost)) => Outcome::Lost,
            (Ended::Stopped, _) => {
                self.study.give_back(id)?;
                Outcome::GivenBack
            }
        };
        match outcome {
            Outcome::Complete(_) | Outcome::Pruned | Outcome::Failed(_) => self.objective.over(&directory),
            Outcome::Paused(_) => self.limit_paused()?,
            Outcome::GivenBack | Outcome::Lost => {}
        }
        Ok((outcome, last))
    }

    /// Has the trial judged; `reports` gets what is reported.
    fn judge(
        &mut self,
        trial: &Trial,
        graph: &Graph,
        directory: &Path,
        reports: &mut BTreeMap<i64, f64>,
    ) -> (Result<Ended, String>, Option<Stopped>) {
        let reported = reports.last_key_value().map_or(0, |(step, _)| *step);
        let task = Task { number: trial.number, graph, directory, reported, stop: self.stop };
        let steps = i64::from(self.objective.steps());
        let (study, pruner, pulse) = (&mut self.study, &*self.pruner, &self.pulse);
        let mut rungs = trial.rung();
        let mut stopped = None;
        let mut report = |step: i64, value: f64| {
            let mut decide = || -> Result<Option<Stopped>, Error> {
                if pulse.lost() {
                    return Ok(Some(Stopped::Lost));
                }
                let every = (steps / REPORTS).max(1);
                if pruner.decides_at(step) || step % every == 0 || step >= steps {
                    if !study.report(trial.id, step, value)? {
                        return Ok(Some(Stopped::Lost));
                    }
                    reports.insert(step, value);
                    let mut reported = Reported { id: trial.id, number: trial.number, rungs, reports };
                    let verdict = pruner.judge(study, &mut reported)?;
                    rungs = reported.rungs;
                    match verdict {
                        // After the last step there is nothing to save any more.
                        _ if step >= steps => {}
                        Verdict::Continue => {}
                        Verdict::Stop => return Ok(Some(Stopped::Pruned)),
                        Verdict::Pause(rung) => return Ok(Some(Stopped::Paused(rung))),
                    }
                }
                Ok(task.stop.load(Ordering::Relaxed).then_some(Stopped::Asked))
            };
            stopped = decide().unwrap_or_else(|error| Some(Stopped::Error(error)));
            if stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = self.objective.run(&task, &mut report);
        (ended, stopped)
    }

    /// All genes of a trial: those it has, those it was enqueued with, and for the rest, and for a graph that is not
    /// noted yet, new ones, which it then has. `Err`: what is wrong with it.
    fn complete_genes(&mut self, trial: &Trial) -> Result<Result<Genes, String>, Error> {
        let fixed = match trial.system.get(FIXED_PARAMS) {
            Some(Json::Object(fixed)) => fixed.clone(),
            _ => serde_json::Map::new(),
        };
        let given = match (self.space.genes(&trial.parameters), self.space.genes(&fixed)) {
            (Ok(own), Ok(fixed)) => own.into_iter().zip(fixed).map(|(own, fixed)| own.or(fixed)).collect::<Vec<_>>(),
            (Err(e), _) | (_, Err(e)) => return Ok(Err(e.to_string())),
        };
        if let Some(genes) = given.iter().copied().collect::<Option<Genes>>()
            && trial.attributes.contains_key(GRAPH)
            && trial.parameters.len() == genes.len()
        {
            return Ok(Ok(genes));
        }
        let mut rng = self.rng(trial.number as u64, u64::MAX);
        let mut draw = || {
            let random = Random.propose(&self.space, &[], &mut rng).swap_remove(0);
            given.iter().zip(random).map(|(given, random)| given.unwrap_or(random)).collect::<Genes>()
        };
        let accepted = (0..1000).map(|_| draw()).find(|genes| self.objective.accepts(&self.space.graph(genes)));
        let Some(genes) = accepted else {
            return Ok(Err("no graph with these parameters can be trained".to_owned()));
        };
        let hash = self.space.graph(&genes).hash().to_string();
        self.study.describe(trial.id, &new_trial(&self.space, &genes, hash))?;
        Ok(Ok(genes))
    }

    /// Where a trial's run is kept: where it was, if that can be reached.
    fn directory(&self, trial: &Trial) -> PathBuf {
        let before = trial.attributes.get(RUN).and_then(Json::as_str).map(PathBuf::from);
        before.filter(|path| path.is_dir()).unwrap_or_else(|| {
            let path = self.settings.runs.join(format!("trial-{:05}", trial.number));
            std::path::absolute(&path).unwrap_or(path)
        })
    }

    fn fail(&mut self, id: i64, reason: String) -> Result<Outcome, Error> {
        let attributes = [(REASON.to_owned(), json!(reason))];
        Ok(match self.study.finish(id, State::Fail, None, &attributes)? {
            true => Outcome::Failed(reason),
            false => Outcome::Lost,
        })
    }

    /// Prunes the worst paused trials beyond the number that may be kept.
    fn limit_paused(&mut self) -> Result<(), Error> {
        let Some(most) = self.settings.most_paused else { return Ok(()) };
        let mut paused = self.study.paused()?;
        if paused.len() <= most {
            return Ok(());
        }
        let values = self.study.rungs(None)?;
        let value = |trial: &PausedTrial| {
            let own = |v: &&RungValue| v.id == trial.id && v.rung == trial.rung;
            values.iter().find(own).map_or(f64::NEG_INFINITY, |v| v.value)
        };
        paused.sort_by(|a, b| b.rung.cmp(&a.rung).then(value(b).total_cmp(&value(a))));
        for trial in &paused[most..] {
            self.prune(trial.id)?;
        }
        Ok(())
    }

    /// Ends a paused trial for good.
    fn prune(&mut self, id: i64) -> Result<bool, Error> {
        let trial = self.study.trial(id)?;
        let pruned = self.study.prune_paused(id)?;
        if let Some(trial) = trial.filter(|_| pruned) {
            self.objective.over(&self.directory(&trial));
        }
        Ok(pruned)
    }

    /// The study ends: what is still paused will not go on.
    fn prune_paused(&mut self) -> Result<(), Error> {
        let mut pruned = 0;
        for trial in self.study.paused()? {
            pruned += usize::from(self.prune(trial.id)?);
        }
        if pruned > 0 {
            (self.tell)(Event::PrunedPaused(pruned));
        }
        Ok(())
    }
}

fn new_trial<'a>(space: &'a Space, genes: &[usize], graph: String) -> NewTrial<'a> {
    let parameters = space.parameters().iter().zip(genes);
    NewTrial { parameters: parameters.map(|(p, gene)| (p.name.as_str(), &p.choices[..], *gene)).collect(), graph }
}

/// Writes an attribute of the study, or makes sure that it is the same.
fn agree(study: &mut Study, key: &str, value: &Json) -> Result<(), Error> {
    let theirs = study.attribute_or(key, value)?;
    if theirs == *value {
        return Ok(());
    }
    let lines = |json: &Json| json.as_str().map_or_else(|| format!("{json:#}"), str::to_owned);
    let (ours, theirs) = (lines(value), lines(&theirs));
    let mut pairs = ours.lines().zip(theirs.lines());
    let difference = match pairs.find(|(a, b)| a != b) {
        Some((ours, theirs)) => format!("`{}` here, `{}` there", ours.trim(), theirs.trim()),
        None => "one has more than the other".to_owned(),
    };
    Err(study
        .error(format!("it was started with another {key} ({difference}); give another --study, or undo the change")))
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map_or_else(|| "host".to_owned(), |name| name.trim().to_owned())
}
