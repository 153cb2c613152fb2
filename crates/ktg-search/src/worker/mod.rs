//! A worker: takes trials, has them judged, and lets the pruner decide, until the study has all it shall have.

mod described;
mod events;
mod paused;
mod settings;
mod trial;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ktg_base::random::keyed;
use serde_json::json;

pub use events::{Event, Origin, Outcome};
pub use settings::WorkerSettings;

use crate::attributes::{OBJECTIVE, SPACE, TARGET};
use crate::history::History;
use crate::imported::Imported;
use crate::mark::{StudyMark, unforeseen};
use crate::metadata::Agreement;
use crate::objective::Objective;
use crate::pruner::Pruner;
use crate::pulse::Pulse;
use crate::sampler::{Proposals, Sampler};
use crate::space::Space;
use crate::storage::{Claimed, Inserted, NewTrial, Study};
use crate::{Error, ObjectiveKind, confirmation};

/// What a worker searches, and how.
pub struct WorkerPlan {
    /// All graphs there are to choose from.
    pub space: Space,
    /// What the objective's values are.
    pub values: ObjectiveKind,
    /// What must be the same for all workers of the study, besides the space.
    pub agreements: Vec<Agreement>,
    /// Chooses graphs.
    pub sampler: Box<dyn Sampler>,
    /// Stops the unpromising ones.
    pub pruner: Box<dyn Pruner>,
    /// How this worker works.
    pub settings: WorkerSettings,
}

/// A worker of a study.
pub struct Worker<'a> {
    study: Study,
    plan: WorkerPlan,
    objective: &'a mut dyn Objective,
    stop: &'a AtomicBool,
    tell: &'a mut dyn FnMut(Event),
    history: History,
    /// What runs that it begins keep of the study.
    mark: StudyMark,
    /// Whether the study holds every graph of the space.
    exhausted: bool,
    /// Whether it has told of runs that are not the study's.
    said_foreign: bool,
    pulse: Pulse,
    /// Names this worker among all.
    name: String,
    /// The number of trials it has asked for.
    work: u64,
    seed: u64,
}

impl<'a> Worker<'a> {
    /// A worker that begins when it is told to [`run`](Self::run).
    ///
    /// # Errors
    /// If the study searches another space, was set up otherwise, or was imported.
    pub fn new(
        mut study: Study,
        plan: WorkerPlan,
        objective: &'a mut dyn Objective,
        stop: &'a AtomicBool,
        tell: &'a mut dyn FnMut(Event),
    ) -> Result<Self, Error> {
        if let Some(imported) = Imported::of(&mut study)? {
            let Imported { study: there, storage, .. } = imported;
            let reason = format!("it was imported from the study {there:?} in {storage}, whose settings are not known");
            return Err(study.error(format!("{reason}, and cannot be searched on; give another --study")));
        }
        let settings = &plan.settings;
        if settings.trials > 0
            && let Some(confirmation) = confirmation::read(&mut study)?
        {
            let reason = format!("it confirms what the study {:?} found, and is not searched", confirmation.search);
            return Err(study.error(format!("{reason}; give another --study")));
        }
        // Before the space, so that a study with a space and without this is one of an earlier version.
        if study.attribute(SPACE)?.is_some() {
            study.attribute_or(OBJECTIVE, &json!(ObjectiveKind::Accuracy))?;
        }
        Agreement::new(OBJECTIVE, json!(plan.values)).settle(&mut study)?;
        Agreement::new(SPACE, plan.space.to_json()).settle(&mut study)?;
        for agreement in &plan.agreements {
            agreement.settle(&mut study)?;
        }
        // One that adds none says nothing about how many there shall be.
        if settings.trials > 0 {
            study.put_attribute(TARGET, &settings.trials.into())?;
        }
        let pulse = Pulse::start(study.shared(), settings.heartbeat, settings.silence)?;
        let random = unforeseen();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let name = format!("{}/{}/{since:x}{:04x}", host(), std::process::id(), random & 0xffff);
        let seed = settings.seed.unwrap_or(random);
        let mark = StudyMark::of(&mut study)?;
        let (history, exhausted, said_foreign, work) = (History::default(), false, false, 0);
        Ok(Self { study, plan, objective, stop, tell, history, mark, exhausted, said_foreign, pulse, name, work, seed })
    }

    /// Works until the study is done (`true`) or it is asked to stop.
    pub fn run(&mut self) -> Result<bool, Error> {
        let mut waited = false;
        while !self.stop.load(Ordering::Relaxed) {
            let could_hear = self.pulse.could_hear();
            let WorkerSettings { silence, retries, .. } = self.plan.settings;
            for reaped in self.study.reap(&self.pulse.silent(), silence, retries)? {
                (self.tell)(Event::Reaped { number: reaped.number, retry: reaped.retry });
            }
            // Who works is asked before what there is to do: who finishes in between is then seen in both.
            let busy = self.study.busy()?;
            if let Some((claimed, origin)) = self.next_trial()? {
                self.run_trial(claimed, origin)?;
                continue;
            }
            // Meanwhile another one may have taken the last there was to do.
            let busy = busy.max(self.study.busy()?);
            if busy == 0 {
                self.prune_paused()?;
                return Ok(true);
            }
            // Not before it is known that those others live.
            if !self.plan.settings.wait && could_hear {
                return Ok(true);
            }
            if !std::mem::replace(&mut waited, true) {
                (self.tell)(Event::Waiting(busy));
            }
            self.pause();
        }
        Ok(false)
    }

    /// A moment, shorter than anything that may happen meanwhile, that ends when the worker is asked to stop.
    fn pause(&self) {
        self.study.hang_up();
        let mut left = (self.plan.settings.heartbeat / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        while !left.is_zero() && !self.stop.load(Ordering::Relaxed) {
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
    }

    /// A trial for this worker: a waiting one, a paused one that is to go on, or a new one.
    fn next_trial(&mut self) -> Result<Option<(Claimed, Origin)>, Error> {
        self.work += 1;
        let name = format!("{}/{}", self.name, self.work);
        if let Some(claimed) = self.study.claim_waiting(&name)? {
            return Ok(Some((claimed, Origin::Waiting)));
        }
        if let Some(claimed) = self.claim_promotable(&name)? {
            return Ok(Some((claimed, Origin::Promoted)));
        }
        Ok(self.create(&name)?.map(|claimed| (claimed, Origin::New)))
    }

    /// Adds a trial of a new graph, unless the study has enough of them, or all that there are.
    fn create(&mut self, name: &str) -> Result<Option<Claimed>, Error> {
        let WorkerPlan { space, sampler, settings, .. } = &mut self.plan;
        let mut attempt = 0;
        while !self.exhausted {
            let count = self.study.count()?;
            if count >= settings.trials {
                break;
            }
            if sampler.learns() {
                self.history.update(&mut self.study, space)?;
            }
            // Whoever asks for the trial that follows so many others has the same numbers.
            let mut rng = keyed([self.seed, count as u64, attempt, 0]);
            let proposals = Proposals {
                space,
                known: &|hash| self.study.knows(hash),
                accepts: &|graph| self.objective.accepts(graph),
            };
            let Some(proposed) = proposals.next(&mut **sampler, &self.history.observations, &mut rng) else {
                self.exhausted = true;
                (self.tell)(Event::Exhausted);
                break;
            };
            let new = new_trial(space, &proposed.genes, proposed.hash);
            match self.study.insert(&new, name, settings.trials)? {
                Inserted::Trial(claimed) => return Ok(Some(claimed)),
                Inserted::Full => break,
                // Another worker had the same idea a moment ago.
                Inserted::Known => attempt += 1,
            }
        }
        Ok(None)
    }
}

fn new_trial<'a>(space: &'a Space, genes: &[usize], graph: String) -> NewTrial<'a> {
    let parameters = space.parameters().iter().zip(genes);
    NewTrial { parameters: parameters.map(|(p, gene)| (p.name.as_str(), &p.choices[..], *gene)).collect(), graph }
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map_or_else(|| "host".to_owned(), |name| name.trim().to_owned())
}
