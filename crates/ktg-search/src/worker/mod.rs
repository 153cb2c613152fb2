//! A worker: takes trials, has them judged, and lets the pruner decide, until the study has all it shall have.

mod events;
mod paused;
mod settings;
mod trial;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ktg_base::random::{ChaCha8Rng, keyed};

pub use events::{Event, Origin, Outcome};
pub use settings::WorkerSettings;

use crate::Error;
use crate::attributes::{SPACE, TARGET};
use crate::history::History;
use crate::metadata::Agreement;
use crate::objective::Objective;
use crate::pruner::Pruner;
use crate::pulse::Pulse;
use crate::sampler::{Proposals, Sampler};
use crate::space::Space;
use crate::storage::{Claimed, Inserted, NewTrial, PausedTrial, Study};

/// What a worker searches, and how.
pub struct WorkerPlan {
    /// All graphs there are to choose from.
    pub space: Space,
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

impl<'a> Worker<'a> {
    /// A worker that begins when it is told to [`run`](Self::run).
    ///
    /// # Errors
    /// If the study searches another space, or was set up otherwise.
    pub fn new(
        mut study: Study,
        plan: WorkerPlan,
        objective: &'a mut dyn Objective,
        stop: &'a AtomicBool,
        tell: &'a mut dyn FnMut(Event),
    ) -> Result<Self, Error> {
        let WorkerPlan { space, agreements, sampler, pruner, settings } = plan;
        Agreement::new(SPACE, space.to_json()).settle(&mut study)?;
        for agreement in &agreements {
            agreement.settle(&mut study)?;
        }
        // One that adds none says nothing about how many there shall be.
        if settings.trials > 0 {
            study.put_attribute(TARGET, &settings.trials.into())?;
        }
        let pulse = Pulse::start(&study, settings.heartbeat, settings.silence)?;
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
            let could_hear = self.pulse.could_hear();
            if could_hear {
                for reaped in self.study.reap(self.settings.silence, self.settings.retries)? {
                    (self.tell)(Event::Reaped { number: reaped.number, retry: reaped.retry });
                }
            }
            // Who works is asked before what there is to do: who finishes in between is then seen in both.
            let busy = self.study.busy()?;
            if let Some((claimed, origin)) = self.claim()? {
                self.run_trial(claimed, origin)?;
                continue;
            }
            if !exhausted {
                match self.create()? {
                    Some(Inserted::Trial(claimed)) => {
                        self.run_trial(claimed, Origin::New)?;
                        continue;
                    }
                    Some(_) => {}
                    None => {
                        exhausted = true;
                        (self.tell)(Event::Exhausted);
                    }
                }
            }
            // Meanwhile another one may have taken the last there was to do.
            let busy = busy.max(self.study.busy()?);
            if busy == 0 {
                self.prune_paused()?;
                return Ok(true);
            }
            // Not before it is known that those others live.
            if !self.settings.wait && could_hear {
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
        // Of retries, too, which take the values of others over.
        self.study.look()?;
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
        keyed([self.seed, count, attempt, 0])
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
