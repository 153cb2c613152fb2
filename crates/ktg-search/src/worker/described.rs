//! Which graph a waiting trial is, which is decided and noted when it is taken; and that no other trial is that graph.

use serde_json::Value as Json;

use super::{Outcome, Worker, new_trial};
use crate::Error;
use crate::attributes::FIXED_PARAMS;
use crate::space::Genes;
use crate::storage::Trial;

/// So often what an enqueued trial leaves open is drawn, in the hope for a graph that no other trial has.
const DRAWS: u64 = 20;

impl Worker<'_> {
    /// Decides which graph a trial is, and notes it in the study. `Err`: how the trial ends, because it is no graph that
    /// can be trained, or that of another trial.
    pub(super) fn describe(&mut self, trial: &Trial) -> Result<Result<Genes, Outcome>, Error> {
        let mut twin = None;
        for attempt in 0..DRAWS {
            self.study.look()?;
            let genes = match self.genes(trial, attempt) {
                Ok(genes) => genes,
                Err(reason) => return Ok(Err(Outcome::Failed(reason.to_string()))),
            };
            let graph = self.plan.space.graph(&genes).hash().to_string();
            twin = self.study.describe(trial.id, &new_trial(&self.plan.space, &genes, graph))?;
            let is_open = self.given(trial)?.contains(&None);
            if twin.is_none() || !is_open {
                return Ok(twin.map_or(Ok(genes), |number| Err(Outcome::SameGraph(number))));
            }
        }
        Ok(Err(twin.map_or(Outcome::Lost, Outcome::SameGraph)))
    }

    /// The genes that a trial has or was enqueued with.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn given(&self, trial: &Trial) -> Result<Vec<Option<usize>>, Error> {
        let fixed = trial.system.get(FIXED_PARAMS).and_then(Json::as_object);
        let own = self.plan.space.genes(&trial.parameters)?;
        let fixed = self.plan.space.genes(fixed.into_iter().flatten())?;
        Ok(own.into_iter().zip(fixed).map(|(own, fixed)| own.or(fixed)).collect())
    }
}
