//! Which graph a waiting trial is, which is decided and noted when it is taken; and that no other trial is that graph.

use ktg_base::random::keyed;
use serde_json::Value as Json;

use super::{Outcome, Worker, new_trial};
use crate::Error;
use crate::attributes::{FIXED_PARAMS, GRAPH};
use crate::sampler::draw;
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

    /// Whether a trial has all parameters, and its graph is noted.
    fn is_described(&self, trial: &Trial) -> bool {
        trial.attributes.contains_key(GRAPH) && trial.parameters.len() == self.plan.space.parameters().len()
    }

    /// All genes of a trial: those it has, those it was enqueued with, and for the rest, if it is not described yet,
    /// some by chance, of a graph that the study does not have if there is one; other ones in each `attempt`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn genes(&self, trial: &Trial, attempt: u64) -> Result<Genes, Error> {
        let space = &self.plan.space;
        let given = self.given(trial)?;
        if self.is_described(trial) {
            return Ok(given.into_iter().flatten().collect());
        }
        let mut rng = keyed([self.seed, trial.number as u64, u64::MAX, attempt]);
        let mut draw = || -> Genes {
            let random = draw(space, &mut rng);
            given.iter().zip(random).map(|(given, random)| given.unwrap_or(random)).collect()
        };
        // What is given whole is drawn the same every time.
        let draws = if given.contains(&None) { 1000 } else { 1 };
        let mut accepted = None;
        for genes in (0..draws).map(|_| draw()) {
            let graph = space.graph(&genes);
            let is_accepted = self.objective.accepts(&graph);
            if is_accepted && !self.study.knows(&graph.hash().to_string()) {
                return Ok(genes);
            }
            accepted = accepted.or(is_accepted.then_some(genes));
        }
        accepted.ok_or_else(|| Error::Setting("no graph with these parameters can be trained".to_owned()))
    }

    /// The genes that a trial has or was enqueued with.
    ///
    /// # Errors
    /// What is wrong with them.
    fn given(&self, trial: &Trial) -> Result<Vec<Option<usize>>, Error> {
        let fixed = trial.system.get(FIXED_PARAMS).and_then(Json::as_object);
        let own = self.plan.space.genes(&trial.parameters)?;
        let fixed = self.plan.space.genes(fixed.into_iter().flatten())?;
        Ok(own.into_iter().zip(fixed).map(|(own, fixed)| own.or(fixed)).collect())
    }
}
