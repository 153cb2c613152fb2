//! What a node's network starts from.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ktg_engine::Factors;
use ktg_graph::{Factor, Node};
use ktg_net::{Fit, Network, WeightsError, WeightsFile, weights};

/// What a node's network starts from, and what of it stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// The file of its weights; `None`: all of them are random.
    pub path: Option<PathBuf>,
    /// All of the file's tensors, and no others, are the network's.
    pub strict: bool,
    /// Parameters and running statistics that the file gives, by their names; all others are random.
    pub loaded: BTreeSet<String>,
    /// Layers that never change, by their indices in [`Network::layers`].
    pub frozen: BTreeSet<usize>,
    /// Factor on the learning rate of what is loaded; `None`: 1.
    pub learning_rate_factor: Option<Factor>,
}

impl Start {
    /// What a node says of it; from a file at `path`, if from any.
    ///
    /// # Errors
    ///
    /// If what it freezes is not in the network, or is all of it.
    pub(crate) fn of_node(node: &Node, network: &Network, learns: bool, path: Option<PathBuf>) -> Result<Self, String> {
        let mut frozen = BTreeSet::new();
        for stage in node.freeze.iter().flat_map(|freeze| freeze.names()) {
            let layers = network.layers_of_stage(stage);
            if layers.is_empty() {
                let stages = network.stages().join(", ");
                let reason = format!("there is no stage `{stage}` to freeze in {}", node.architecture);
                return Err(format!("{reason}; write \"{}\", or some of {stages}", Network::BACKBONE));
            }
            frozen.extend(layers);
        }
        let parameters = network.parameters();
        if !frozen.is_empty() && parameters.iter().all(|parameter| frozen.contains(&parameter.layer)) {
            return Err("it freezes the whole network; write \"frozen = true\" instead of \"freeze\"".to_owned());
        }
        // Whoever only teaches has to be whole.
        let (strict, learning_rate_factor) = (node.strict || !learns, node.learning_rate_factor);
        Ok(Self { path, strict, loaded: BTreeSet::new(), frozen, learning_rate_factor })
    }

    /// Whether its file gives all of the network.
    pub(crate) fn is_whole(&self, network: &Network) -> bool {
        network.parameters().iter().all(|parameter| self.loaded.contains(&parameter.name))
    }

    /// What of its file's content fits the network; `origin` names it in messages.
    ///
    /// # Errors
    ///
    /// If the backbone differs, or, where the start is strict, anything.
    pub(crate) fn fit(&self, network: &Network, file: &WeightsFile, origin: &str) -> Result<Fit, WeightsError> {
        if self.strict {
            weights::check(&network.parameters(), &file.arrays, origin)?;
        }
        weights::fit(network, &file.arrays, origin)
    }

    /// What is special about the network's tensors, one each; none where nothing is.
    pub(crate) fn factors(&self, network: &Network) -> Vec<Factors> {
        let Some(factor) = self.learning_rate_factor else { return Vec::new() };
        let of_tensor = |name: &str| match self.loaded.contains(name) {
            true => Factors { learning_rate: factor.get(), ..Factors::ONE },
            false => Factors::ONE,
        };
        network.parameters().iter().map(|parameter| of_tensor(&parameter.name)).collect()
    }

    /// The stages of frozen layers that start at random, by their names.
    pub(crate) fn random_and_frozen(&self, network: &Network) -> Vec<String> {
        let parameters = network.parameters();
        let is_random = |name: &str| !self.loaded.contains(name);
        let odd = parameters.iter().filter(|p| self.frozen.contains(&p.layer) && is_random(&p.name));
        let mut stages: Vec<String> = odd.map(|parameter| parameter.stage().to_owned()).collect();
        stages.dedup();
        stages
    }
}
