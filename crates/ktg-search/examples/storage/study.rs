//! The study that workers are timed on: real graphs of three nodes, half of the trials complete, half of them paused.

use std::collections::HashSet;

use ktg_graph::{Graph, Node};
use ktg_search::storage::StorageUrl;
use ktg_search::{PrunerKind, SamplerKind, SearchSettings, Space};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value as Json, json};

use crate::Result;
use crate::database::{Row, fill};

/// The study's name.
pub const NAME: &str = "search";

/// Three nodes, all gates and designs: 15 parameters.
pub fn space() -> Result<Space> {
    Ok(Space::new(&Graph::new(vec![Node::new("network"); 3]), &SearchSettings::default())?)
}

/// The settings of a search, as far as they are not the usual ones.
pub fn settings(sampler: SamplerKind, pruner: PrunerKind) -> SearchSettings {
    SearchSettings { sampler, pruner, ..SearchSettings::default() }
}

/// Whether a graph is worth a trial: every node learns something.
pub fn accepts(graph: &Graph) -> bool {
    (0..graph.len()).all(|node| graph.is_trained(node))
}

/// What a trial reports at a step, if it is as good as `quality`: its curve rises, and no two cross.
pub fn value(quality: f64, step: i64) -> f64 {
    quality + step as f64 / 1000.0
}

/// Writes the study, the same one each time. The complete trials were reported at all steps, the paused ones up to the
/// last rung before the end, where they are the worse half.
pub fn preload(url: &StorageUrl, trials: usize, reports: usize) -> Result<Json> {
    let (space, mut rng) = (space()?, ChaCha8Rng::seed_from_u64(0));
    let mut known = HashSet::new();
    let mut rows = Vec::new();
    while rows.len() < trials {
        let genes: Vec<usize> = space.parameters().iter().map(|p| rng.random_range(0..p.choices.len())).collect();
        let graph = space.graph(&genes);
        let hash = graph.hash().to_string();
        if accepts(&graph) && known.insert(hash.clone()) {
            let parameters = space.parameters().iter().zip(genes);
            let parameters = parameters.map(|(p, gene)| (p.name.clone(), p.choices.clone(), gene)).collect();
            rows.push(row(parameters, hash, reports as i64, &mut rng));
        }
    }
    fill(url, NAME, &rows)?;
    Ok(json!({"trials": trials, "reports": rows.iter().map(|row| row.reports.len()).sum::<usize>()}))
}

fn row(parameters: Vec<(String, Vec<String>, usize)>, graph: String, steps: i64, rng: &mut ChaCha8Rng) -> Row {
    let rungs: Vec<i64> = (0..).map(|rung| 1 << rung).take_while(|step| *step < steps).collect();
    let paused = rng.random_bool(0.5) && !rungs.is_empty();
    let quality = rng.random_range(0.0..0.5) + if paused { 0.0 } else { 0.5 };
    let last = if paused { rungs[rungs.len() - 1] } else { steps };
    Row {
        parameters,
        graph,
        reports: (1..=last).map(|step| value(quality, step)).collect(),
        rungs: rungs.iter().map(|step| value(quality, *step)).collect(),
        paused,
    }
}
