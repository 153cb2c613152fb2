//! Which paused trials go on, how many stay paused, and for how long.

use std::path::Path;

use super::{Event, Worker};
use crate::Error;
use crate::attributes::RUN;
use crate::storage::{Claimed, PausedTrial, RungValue};

impl Worker<'_> {
    /// Takes the paused trial that is to go on, if there is one.
    pub(super) fn claim_promotable(&mut self, name: &str) -> Result<Option<Claimed>, Error> {
        if !self.plan.pruner.pauses() {
            return Ok(None);
        }
        let paused = self.study.paused()?;
        if paused.is_empty() {
            return Ok(None);
        }
        let values = self.values_at_rungs()?;
        match self.plan.pruner.promotable(&values, &paused) {
            Some(PausedTrial { id, .. }) => self.study.claim_paused(id, name),
            None => Ok(None),
        }
    }

    fn values_at_rungs(&mut self) -> Result<Vec<RungValue>, Error> {
        // Retries take the values of others over: those must be known first.
        self.study.look()?;
        self.study.rungs(None)
    }

    /// Prunes the worst paused trials beyond the number that may be kept.
    pub(super) fn limit_paused(&mut self) -> Result<(), Error> {
        let Some(most) = self.plan.settings.most_paused else { return Ok(()) };
        let mut paused = self.study.paused()?;
        if paused.len() <= most {
            return Ok(());
        }
        let values = self.values_at_rungs()?;
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
        // Where no run is noted, there is none to clean up.
        let run = trial.as_ref().and_then(|trial| trial.attributes.get(RUN)?.as_str().map(Path::new));
        // In a copied study, it may be the original's, which still needs it.
        let is_own = |run: &&Path| self.is_own(&self.objective.occupant(run), run, Some(run));
        if let Some(run) = run.filter(is_own).filter(|_| pruned) {
            self.objective.over(run);
        }
        Ok(pruned)
    }

    /// The study ends: what is still paused will not go on.
    pub(super) fn prune_paused(&mut self) -> Result<(), Error> {
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
