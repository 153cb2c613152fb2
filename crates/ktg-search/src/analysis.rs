//! What each edge of a graph is good for: the graph is trained again without the edge, and with the edge's direction
//! flipped, several times each, as trials of a study of their own, so that any number of workers share the work.

use ktg_graph::{Gate, Graph, Transfer, edge_name};
use serde_json::{Value as Json, json};

use crate::attributes::{BASE, SEED, SPACE, TARGET, VARIANT};
use crate::edges::add_new;
use crate::settings::{EdgeChoice, EdgeSettings};
use crate::storage::{Enqueued, State, Study, Trial};
use crate::{Error, SearchSettings, Space};

/// [`Variant::name`] of the graph itself.
pub const AS_FOUND: &str = "as found";

/// A graph that differs from another in at most one edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Such as `1 -> 2 cut`, `label -> 1 cut`, `2 -> 1 flipped`; the graph itself is [`AS_FOUND`].
    pub name: String,
    /// The changed graph.
    pub graph: Graph,
}

/// The graph itself, then each of its edges cut off, then each transfer edge flipped: it pulls where it pushed, and the
/// other way round. A variant in which a node that has no pretrained weights learns nothing is left out: it would only
/// show that an untrained network is bad.
pub fn variants(graph: &Graph) -> Vec<Variant> {
    let mut variants = vec![Variant { name: AS_FOUND.to_owned(), graph: graph.clone() }];
    let mut add = |source: Option<usize>, target: usize, change: &str, edit: &dyn Fn(&mut Graph)| {
        let mut graph = graph.clone();
        edit(&mut graph);
        if (0..graph.len()).all(|node| graph.is_useful(node)) {
            variants.push(Variant { name: format!("{} {change}", edge_name(source, target)), graph });
        }
    };
    for target in (0..graph.len()).filter(|node| !graph.label_gate(*node).is_cut()) {
        add(None, target, "cut", &|graph| graph.set_label_gate(target, Gate::Cutoff));
    }
    for (source, target, _) in graph.active_transfers() {
        add(Some(source), target, "cut", &|graph| graph.set_transfer(source, target, None));
    }
    for (source, target, transfer) in graph.active_transfers() {
        let flipped = Transfer { design: transfer.design.flipped(), ..transfer };
        add(Some(source), target, "flipped", &|graph| graph.set_transfer(source, target, Some(flipped)));
    }
    variants
}

/// The space that holds every variant of a graph; see [`choices`].
///
/// # Errors
/// If the graph's nodes are all frozen.
pub fn space(graph: &Graph) -> Result<Space, Error> {
    Space::new(graph, &choices(graph))
}

/// What there is to choose from in the space that holds every variant of a graph: the thesis' designs and gates, and
/// those that the variants have beyond them.
pub fn choices(graph: &Graph) -> SearchSettings {
    let mut settings = SearchSettings::default();
    for Variant { graph, .. } in variants(graph) {
        for target in 0..graph.len() {
            add_new(&mut settings.label_gates, graph.label_gate(target));
        }
        for (source, target, Transfer { design, gate, resize }) in graph.written_transfers() {
            add_new(&mut settings.designs, design);
            add_new(&mut settings.gates, gate);
            if resize {
                let choice = EdgeChoice { resize, ..EdgeChoice::default() };
                settings.edges.insert(edge_name(Some(source), target), EdgeSettings::Choice(choice));
            }
        }
    }
    settings
}

/// The trials of an analysis: every variant with every seed, seed by seed, so that an unfinished analysis can be read.
///
/// # Errors
/// If a variant is not in the space.
pub fn trials(space: &Space, variants: &[Variant], seeds: &[u64]) -> Result<Vec<Enqueued>, Error> {
    let mut trials = Vec::new();
    for seed in seeds {
        for variant in variants {
            let parameters = space.choices(&variant.graph)?;
            let attributes = vec![(VARIANT.to_owned(), json!(variant.name)), (SEED.to_owned(), json!(seed))];
            trials.push(Enqueued { parameters, graph: variant.graph.hash().to_string(), attributes });
        }
    }
    Ok(trials)
}

/// Prepares the study of an analysis, or makes sure that it is this one; returns how many trials it has, retries aside.
/// An analysis that is there already gets the trials that it lacks, such as those of further seeds.
///
/// # Errors
/// If the study analyses another graph, is a search, or the storage fails.
pub fn prepare(study: &mut Study, graph: &Graph, trials: &[Enqueued]) -> Result<usize, Error> {
    let base = json!(graph);
    if study.attribute(BASE)?.is_none() && (study.attribute(SPACE)?.is_some() || study.count()? > 0) {
        return Err(study.error("it is a search, not an analysis; give another --name"));
    }
    if study.attribute_or(BASE, &base)? != base {
        return Err(study.error("it analyses another graph; give another --name, or delete it"));
    }
    let count = study.enqueue_missing(trials, &[VARIANT, SEED])?;
    study.put_attribute(TARGET, &json!(count))?;
    Ok(count)
}

/// A finished trial of an analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The variant's name.
    pub variant: String,
    /// The seed it was trained with.
    pub seed: u64,
    /// What was measured, by name: `ensemble`, and what the objective adds.
    pub measures: Vec<(String, f64)>,
}

/// The complete trials of an analysis, and how many of all are not complete.
pub fn judged(trials: &[Trial]) -> (Vec<Judged>, usize) {
    // One that died was repeated by a later trial.
    let counted = trials.iter().filter(|trial| trial.state != State::Fail || !trial.is_repeated_among(trials));
    let mut open = 0;
    let mut all = Vec::new();
    for trial in counted {
        let variant = trial.attributes.get(VARIANT).and_then(Json::as_str);
        let seed = trial.attributes.get(SEED).and_then(Json::as_u64);
        let (Some(variant), Some(seed), Some(value), State::Complete) = (variant, seed, trial.value, trial.state)
        else {
            open += 1;
            continue;
        };
        let numbers = trial.attributes.iter().filter(|(name, _)| *name != SEED);
        let numbers = numbers.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        let measures = std::iter::once(("ensemble".to_owned(), value)).chain(numbers).collect();
        all.push(Judged { variant: variant.to_owned(), seed, measures });
    }
    (all, open)
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Design, Node, presets};

    use super::*;

    fn found() -> Graph {
        let mut graph = presets::independent(2, "abn-resnet-18");
        graph.set_label_gate(1, Gate::Cutoff);
        graph.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_CLOSER, Gate::Linear)));
        graph.set_transfer(1, 0, Some(Transfer::new(Design::ATTENTION_APART, Gate::Correct)));
        graph
    }

    #[test]
    fn every_edge_is_cut_and_flipped_once() {
        let variants = variants(&found());
        let names: Vec<&str> = variants.iter().map(|variant| &*variant.name).collect();
        // Without the edge 1 -> 2, node 2 would learn nothing.
        assert_eq!(names, ["as found", "label -> 1 cut", "2 -> 1 cut", "2 -> 1 flipped", "1 -> 2 flipped"]);
        assert_eq!(variants[0].graph, found());
        assert!(variants[2].graph.transfer(1, 0).is_none());
        let flipped = variants[4].graph.transfer(0, 1).unwrap();
        assert_eq!((flipped.design, flipped.gate), (Design::BOTH_APART, Gate::Linear));
    }

    #[test]
    fn every_variant_comes_back_out_of_its_parameters() {
        let graph = found();
        let (space, variants) = (space(&graph).unwrap(), variants(&graph));
        let trials = trials(&space, &variants, &[1, 2]).unwrap();
        assert_eq!(trials.len(), 2 * variants.len());
        for (trial, variant) in trials.iter().zip(variants.iter().cycle()) {
            let genes: Vec<usize> = space.genes(&trial.parameters).unwrap().into_iter().map(Option::unwrap).collect();
            assert_eq!(space.graph(&genes).hash(), variant.graph.hash(), "{}", variant.name);
        }
        assert_eq!(trials[variants.len()].attributes[1], (SEED.to_owned(), json!(2)));
    }

    #[test]
    fn graphs_of_the_thesis_have_its_space() {
        let thesis = Space::new(&found(), &SearchSettings::default()).unwrap();
        assert_eq!(space(&found()).unwrap().to_json().to_string(), thesis.to_json().to_string());
    }

    /// A graph with mixed designs and falling gates; one edge is cut, and one resizes maps.
    fn beyond_the_thesis() -> Graph {
        let mut graph = presets::independent(3, "abn-resnet-18");
        let mixed = |name: &str, gate| Some(Transfer::new(name.parse().unwrap(), gate));
        graph.set_label_gate(0, Gate::Falling);
        graph.set_transfer(0, 1, mixed("probability closer + attention apart", Gate::Linear).map(Transfer::resized));
        graph.set_transfer(1, 2, mixed("both apart", Gate::Falling));
        graph.set_transfer(2, 1, mixed("probability closer + attention apart", Gate::Cutoff));
        graph
    }

    #[test]
    fn mixed_designs_and_falling_gates_come_back_out_of_their_parameters() {
        let graph = beyond_the_thesis();
        let (space, variants) = (space(&graph).unwrap(), variants(&graph));
        let names: Vec<&str> = variants.iter().map(|variant| &*variant.name).collect();
        let expected = "as found, label -> 1 cut, label -> 2 cut, label -> 3 cut, 1 -> 2 cut, 2 -> 3 cut, 1 -> 2 flipped, 2 -> 3 flipped";
        let left_out = "label -> 1 cut, ";
        assert_eq!(names.join(", "), expected.replace(left_out, ""), "node 1 has no other teacher");
        let flipped = &variants.iter().find(|variant| variant.name == "1 -> 2 flipped").unwrap().graph;
        let design = flipped.transfer(0, 1).unwrap().design;
        assert_eq!(design.to_string(), "probability apart + attention closer");

        let trials = trials(&space, &variants, &[1]).unwrap();
        for (trial, variant) in trials.iter().zip(&variants) {
            let genes: Vec<usize> = space.genes(&trial.parameters).unwrap().into_iter().map(Option::unwrap).collect();
            assert_eq!(space.graph(&genes).hash(), variant.graph.hash(), "{}", variant.name);
        }
        // The thesis' choices come first, so that its parameters keep their numbers.
        let choices = |name: &str| {
            let parameter = space.parameters().iter().find(|parameter| parameter.name == name).unwrap();
            parameter.choices.clone()
        };
        assert_eq!(choices("1->2 gate"), ["through", "cutoff", "linear", "correct", "falling"]);
        assert_eq!(choices("label->2 gate"), choices("1->2 gate"));
        let thesis = Design::THESIS.map(|design| design.to_string());
        assert_eq!(choices("3->1 design")[..6], thesis);
        assert_eq!(
            choices("3->1 design")[6..],
            ["probability closer + attention apart", "probability apart + attention closer"]
        );
        // An edge that falls does not make labels fall.
        let mut graph = graph;
        graph.set_label_gate(0, Gate::Through);
        assert!(!super::space(&graph).unwrap().label_gates().contains(&Gate::Falling));
    }

    #[test]
    fn a_frozen_teacher_stays_one() {
        let teacher = Node::new("resnet-18").with_pretrained("t.safetensors").frozen();
        let graph = presets::kd(2, "resnet-18", teacher);
        let names: Vec<String> = variants(&graph).into_iter().map(|variant| variant.name).collect();
        assert_eq!(names, ["as found", "label -> 2 cut", "1 -> 2 cut", "1 -> 2 flipped"]);
        let trials = trials(&space(&graph).unwrap(), &variants(&graph), &[1]).unwrap();
        assert_eq!(trials.len(), 4);
    }
}
