//! The search space: which graphs a study chooses from (SPEC 8).

use std::collections::BTreeMap;

use ktg_graph::{Design, Document, Gate, Graph, Transfer, edge_name, parse_edge};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::Error;
use crate::settings::{EdgeChoice, EdgeSettings, SearchSettings};

/// A choice that a trial makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// As dashboards show it, such as `2->1 gate`, `label->1 gate`, `2->1 design` or `node 1 architecture`.
    pub name: String,
    /// What there is to choose from; at least two.
    pub choices: Vec<String>,
}

/// The index of the choice of each parameter.
pub type Genes = Vec<usize>;

/// What a parameter decides; nodes count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    LabelGate(usize),
    Design(usize, usize),
    Gate(usize, usize),
    Architecture(usize),
}

/// All graphs that a study chooses from: a graph in which parameters replace parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// What no parameter decides.
    base: Graph,
    parameters: Vec<Parameter>,
    slots: Vec<Slot>,
    /// For each parameter, what its choices do to a graph.
    effects: Vec<Vec<Effect>>,
}

/// What a choice does to a graph; nodes count from 0.
#[derive(Clone, Debug, PartialEq)]
enum Effect {
    LabelGate(usize, Gate),
    Design(usize, usize, Design),
    Gate(usize, usize, Gate),
    Architecture(usize, String),
}

impl Effect {
    /// Of a choice, as a study writes it.
    fn of(slot: Slot, choice: &str) -> Result<Self, ktg_graph::Error> {
        Ok(match slot {
            Slot::LabelGate(target) => Effect::LabelGate(target, choice.parse()?),
            Slot::Design(source, target) => Effect::Design(source, target, choice.parse()?),
            Slot::Gate(source, target) => Effect::Gate(source, target, choice.parse()?),
            Slot::Architecture(node) => Effect::Architecture(node, choice.to_owned()),
        })
    }

    fn apply(&self, graph: &mut Graph) {
        match self {
            Effect::LabelGate(target, gate) => graph.set_label_gate(*target, *gate),
            Effect::Architecture(node, name) => graph.node_mut(*node).architecture.clone_from(name),
            Effect::Design(source, target, design) => {
                if let Some(transfer) = graph.transfer(*source, *target) {
                    graph.set_transfer(*source, *target, Some(Transfer { design: *design, ..transfer }));
                }
            }
            Effect::Gate(source, target, gate) => {
                if let Some(transfer) = graph.transfer(*source, *target) {
                    graph.set_transfer(*source, *target, Some(Transfer { gate: *gate, ..transfer }));
                }
            }
        }
    }
}

/// As a study keeps it.
#[derive(Deserialize)]
struct Saved {
    graph: Json,
    parameters: Vec<Parameter>,
}

impl Space {
    /// The space over the nodes of `nodes`, whose edges are not looked at. A frozen node has no incoming edges, and a
    /// part with one choice only is no parameter.
    ///
    /// # Errors
    /// If an edge or architecture of the settings does not fit the graph, or a list of choices is empty.
    pub fn new(nodes: &Graph, settings: &SearchSettings) -> Result<Self, Error> {
        let m = nodes.len();
        let mut base = Graph::new(nodes.nodes().to_vec());
        base.name.clone_from(&nodes.name);
        let mut own: BTreeMap<(Option<usize>, usize), &EdgeSettings> = BTreeMap::new();
        for (key, edge) in &settings.edges {
            let ends = parse_edge(key, m).map_err(|e| Error::Setting(format!("`search.edges`: {e}")))?;
            if own.insert(ends, edge).is_some() {
                return Err(Error::Setting(format!("`search.edges` names the edge \"{key}\" twice")));
            }
        }
        let mut parameters = Vec::new();
        let trained = |target: &usize| !nodes.nodes()[*target].frozen;
        for target in (0..m).filter(trained) {
            let choice = EdgeChoices::of(None, target, own.get(&(None, target)).copied(), settings)?;
            match choice.gates[..] {
                [gate] => base.set_label_gate(target, gate),
                _ => parameters.push(gate_parameter(None, target, &choice.gates)),
            }
        }
        for target in (0..m).filter(trained) {
            for source in (0..m).filter(|source| *source != target) {
                let own = own.get(&(Some(source), target)).copied();
                let EdgeChoices { designs, gates } = EdgeChoices::of(Some(source), target, own, settings)?;
                if gates.iter().all(|gate| gate.is_cut()) {
                    continue;
                }
                if designs.len() > 1 {
                    let choices = designs.iter().map(|design| design.name().to_owned()).collect();
                    parameters.push(Parameter { name: format!("{} design", short(Some(source), target)), choices });
                }
                if gates.len() > 1 {
                    parameters.push(gate_parameter(Some(source), target, &gates));
                }
                base.set_transfer(source, target, Some(Transfer { design: designs[0], gate: gates[0] }));
            }
        }
        let all = &settings.architectures;
        if let Some(twice) = all.iter().enumerate().find(|(i, name)| all[..*i].contains(name)) {
            return Err(Error::Setting(format!("`search.architectures` names \"{}\" twice", twice.1)));
        }
        // Weights fit one architecture only.
        let free: Vec<usize> = (0..m).filter(trained).filter(|m| nodes.nodes()[*m].pretrained.is_none()).collect();
        match &all[..] {
            [] => {}
            [one] => free.into_iter().for_each(|node| base.node_mut(node).architecture.clone_from(one)),
            all => {
                for node in free {
                    parameters
                        .push(Parameter { name: format!("node {} architecture", node + 1), choices: all.to_vec() });
                }
            }
        }
        if parameters.is_empty() {
            return Err(Error::Setting("there is nothing to search: everything is fixed".to_owned()));
        }
        Self::from_parts(base, parameters)
    }

    fn from_parts(base: Graph, parameters: Vec<Parameter>) -> Result<Self, Error> {
        let mut slots = Vec::new();
        let mut effects = Vec::new();
        for Parameter { name, choices } in &parameters {
            let slot = slot(name, base.len())?;
            let of_choices: Result<Vec<Effect>, _> = choices.iter().map(|choice| Effect::of(slot, choice)).collect();
            let of_choices = of_choices.map_err(|e| Error::Setting(format!("the parameter `{name}`: {e}")))?;
            if of_choices.is_empty() {
                return Err(Error::Setting(format!("the parameter `{name}` has no choices")));
            }
            slots.push(slot);
            effects.push(of_choices);
        }
        Ok(Self { base, parameters, slots, effects })
    }

    /// The space as JSON, for the study.
    pub fn to_json(&self) -> Json {
        json!({ "graph": self.base, "parameters": self.parameters })
    }

    /// The space that a study keeps.
    pub fn from_json(json: &Json) -> Result<Self, Error> {
        let error = |e: String| Error::Setting(format!("the search space cannot be understood: {e}"));
        let saved: Saved = serde_json::from_value(json.clone()).map_err(|e| error(e.to_string()))?;
        let base = Document::parse_json(&saved.graph.to_string(), "space").map_err(|e| error(e.to_string()))?.graph;
        Self::from_parts(base, saved.parameters).map_err(|e| error(format!("{e}; was it written by a newer ktg?")))
    }

    /// The parameters: label gates, then each transfer edge's design and gate, then architectures.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The number of combinations of choices (several may be the same graph), as far as it can be counted.
    pub fn combinations(&self) -> f64 {
        self.parameters.iter().map(|parameter| parameter.choices.len() as f64).product()
    }

    /// The graph of some choices. Edges that are cut are left out.
    ///
    /// # Panics
    /// If there are not as many genes as parameters, or one exceeds its choices.
    pub fn graph(&self, genes: &[usize]) -> Graph {
        let mut graph = self.base.clone();
        assert_eq!(genes.len(), self.parameters.len(), "one gene for each parameter");
        for (effects, &gene) in self.effects.iter().zip(genes) {
            effects[gene].apply(&mut graph);
        }
        let cut: Vec<(usize, usize)> = (0..graph.len())
            .flat_map(|source| (0..self.base.len()).map(move |target| (source, target)))
            .filter(|(source, target)| source != target)
            .filter(|(source, target)| graph.transfer(*source, *target).is_some_and(|t| t.gate.is_cut()))
            .collect();
        cut.into_iter().for_each(|(source, target)| graph.set_transfer(source, target, None));
        graph
    }

    /// The genes that choices by name mean; `None` for a parameter without one.
    ///
    /// # Errors
    /// If a name is no parameter, or a choice is not one of its choices.
    pub fn genes<'a>(
        &self,
        choices: impl IntoIterator<Item = (&'a String, &'a Json)>,
    ) -> Result<Vec<Option<usize>>, Error> {
        let mut genes = vec![None; self.parameters.len()];
        for (name, choice) in choices {
            let Some(i) = self.parameters.iter().position(|parameter| parameter.name == *name) else {
                return Err(Error::Setting(format!("there is no parameter `{name}`")));
            };
            let allowed = &self.parameters[i].choices;
            let Some(gene) = allowed.iter().position(|allowed| choice.as_str() == Some(allowed)) else {
                let allowed = allowed.join(", ");
                return Err(Error::Setting(format!("`{name}` cannot be {choice}; choose from {allowed}")));
            };
            genes[i] = Some(gene);
        }
        Ok(genes)
    }

    /// The choices by name that make a graph. The design of an edge that the graph does not have is its first choice.
    ///
    /// # Errors
    /// If the space does not hold the graph.
    pub fn choices(&self, graph: &Graph) -> Result<serde_json::Map<String, Json>, Error> {
        let chosen = |slot: &Slot, parameter: &Parameter| match *slot {
            Slot::LabelGate(target) => graph.label_gate(target).name().to_owned(),
            Slot::Architecture(node) => graph.nodes()[node].architecture.clone(),
            Slot::Gate(source, target) => {
                graph.transfer(source, target).map_or(Gate::Cutoff, |t| t.gate).name().to_owned()
            }
            Slot::Design(source, target) => match graph.transfer(source, target) {
                Some(transfer) => transfer.design.name().to_owned(),
                None => parameter.choices[0].clone(),
            },
        };
        let foreign = || Error::Setting("the graph is not one of the search space".to_owned());
        if graph.len() != self.nodes() {
            return Err(foreign());
        }
        let choices =
            self.slots.iter().zip(&self.parameters).map(|(slot, p)| (p.name.clone(), Json::from(chosen(slot, p))));
        let choices: serde_json::Map<String, Json> = choices.collect();
        let genes = self.genes(&choices)?.into_iter().collect::<Option<Genes>>().ok_or_else(foreign)?;
        if self.graph(&genes).hash() != graph.hash() {
            return Err(foreign());
        }
        Ok(choices)
    }

    /// The genes without what does not matter: the design of a cut edge is `None`, and `correct` on a label edge is
    /// `through`, if that can be chosen.
    pub fn relevant(&self, genes: &[usize]) -> Vec<Option<usize>> {
        let graph = self.graph(genes);
        let parameters = self.slots.iter().zip(&self.parameters).zip(genes);
        let relevant = parameters.map(|((slot, parameter), &gene)| match *slot {
            Slot::Design(source, target) => graph.transfer(source, target).map(|_| gene),
            Slot::LabelGate(_) => {
                let same = parameter.choices[gene].parse().map(Gate::on_label).map(Gate::name).unwrap_or_default();
                parameter.choices.iter().position(|choice| choice == same).or(Some(gene))
            }
            _ => Some(gene),
        });
        relevant.collect()
    }

    /// Where each parameter goes when the nodes are renumbered, node i becoming `order[i]`: the value of parameter p
    /// becomes that of parameter `result[p]`. `None` if the space is not the same for all nodes.
    pub fn renumbering(&self, order: &[usize]) -> Option<Vec<usize>> {
        let position = |slot: &Slot| {
            let moved = match *slot {
                Slot::LabelGate(target) => Slot::LabelGate(order[target]),
                Slot::Design(source, target) => Slot::Design(order[source], order[target]),
                Slot::Gate(source, target) => Slot::Gate(order[source], order[target]),
                Slot::Architecture(node) => Slot::Architecture(order[node]),
            };
            self.slots.iter().position(|other| *other == moved)
        };
        let moves = self.slots.iter().map(position).collect::<Option<Vec<usize>>>()?;
        let same = |(from, to): (usize, &usize)| self.parameters[from].choices == self.parameters[*to].choices;
        let bases = order.iter().enumerate().all(|(i, to)| self.base.nodes()[i] == self.base.nodes()[*to]);
        (bases && moves.iter().enumerate().all(same)).then_some(moves)
    }

    /// The number of network nodes.
    pub fn nodes(&self) -> usize {
        self.base.len()
    }
}

/// What an edge may be.
struct EdgeChoices {
    designs: Vec<Design>,
    gates: Vec<Gate>,
}

impl EdgeChoices {
    fn of(
        source: Option<usize>,
        target: usize,
        own: Option<&EdgeSettings>,
        settings: &SearchSettings,
    ) -> Result<Self, Error> {
        let name = edge_name(source, target);
        let error = |e: String| Error::Setting(format!("`search.edges`, edge \"{name}\": {e}"));
        let gates = if source.is_none() { &settings.label_gates } else { &settings.gates };
        let mut choices = Self { designs: settings.designs.clone(), gates: gates.clone() };
        match (own, source) {
            (None, _) => {}
            (Some(EdgeSettings::Fixed(text)), None) => {
                choices.gates = vec![text.parse().map_err(|e: ktg_graph::Error| error(e.to_string()))?];
            }
            (Some(EdgeSettings::Fixed(text)), Some(_)) if text.trim().eq_ignore_ascii_case(Gate::Cutoff.name()) => {
                choices.gates = vec![Gate::Cutoff];
            }
            (Some(EdgeSettings::Fixed(text)), Some(_)) => {
                let transfer: Transfer = text.parse().map_err(|e: ktg_graph::Error| error(e.to_string()))?;
                choices = Self { designs: vec![transfer.design], gates: vec![transfer.gate] };
            }
            (Some(EdgeSettings::Choice(EdgeChoice { designs, gates })), _) => {
                if designs.is_some() && source.is_none() {
                    return Err(error("a label edge has gates but no designs".to_owned()));
                }
                choices.designs = designs.clone().unwrap_or(choices.designs);
                choices.gates = gates.clone().unwrap_or(choices.gates);
            }
        }
        let Self { designs, gates } = &choices;
        if gates.is_empty() || designs.is_empty() {
            return Err(error("it has nothing to choose from".to_owned()));
        }
        if gates.iter().enumerate().any(|(i, gate)| gates[..i].contains(gate))
            || designs.iter().enumerate().any(|(i, design)| designs[..i].contains(design))
        {
            return Err(error("it has the same choice twice".to_owned()));
        }
        Ok(choices)
    }
}

fn gate_parameter(source: Option<usize>, target: usize, gates: &[Gate]) -> Parameter {
    let choices = gates.iter().map(|gate| gate.name().to_owned()).collect();
    Parameter { name: format!("{} gate", short(source, target)), choices }
}

/// An edge in a parameter's name, such as `2->1`.
fn short(source: Option<usize>, target: usize) -> String {
    edge_name(source, target).replace(' ', "")
}

/// What a parameter of this name decides.
fn slot(name: &str, m: usize) -> Result<Slot, Error> {
    let unknown = || Error::Setting(format!("a parameter is called `{name}`, which says nothing here"));
    if let Some(node) = name.strip_prefix("node ").and_then(|rest| rest.strip_suffix(" architecture")) {
        let node = node.parse().ok().filter(|node| (1..=m).contains(node));
        return node.map(|node| Slot::Architecture(node - 1)).ok_or_else(unknown);
    }
    let (edge, part) = name.rsplit_once(' ').ok_or_else(unknown)?;
    match (parse_edge(edge, m)?, part) {
        ((None, target), "gate") => Ok(Slot::LabelGate(target)),
        ((Some(source), target), "gate") => Ok(Slot::Gate(source, target)),
        ((Some(source), target), "design") => Ok(Slot::Design(source, target)),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use ktg_graph::Node;
    use serde_json::json;

    use super::*;

    fn nodes(m: usize) -> Graph {
        Graph::new(vec![Node::new("abn-resnet-18"); m])
    }

    fn settings(text: &str) -> SearchSettings {
        SearchSettings::parse(&format!("[search]\n{text}"), "test").unwrap()
    }

    #[test]
    fn the_whole_space_has_a_label_gate_and_a_design_and_gate_for_every_pair() {
        let space = Space::new(&nodes(3), &SearchSettings::default()).unwrap();
        let names: Vec<&str> = space.parameters().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names[..5], ["label->1 gate", "label->2 gate", "label->3 gate", "2->1 design", "2->1 gate"]);
        assert_eq!(names.len(), 3 + 6 * 2);
        assert_eq!(space.combinations(), 4f64.powi(3) * 24f64.powi(6));
        assert_eq!(Space::from_json(&space.to_json()).unwrap(), space);
    }

    #[test]
    fn a_space_with_choices_of_another_version_is_refused_and_not_read_as_another() {
        let of_a_study = Space::new(&nodes(2), &SearchSettings::default()).unwrap().to_json().to_string();
        let message = |from: &str, to: &str| {
            assert!(of_a_study.contains(from), "{of_a_study}");
            Space::from_json(&of_a_study.replace(from, to).parse().unwrap()).unwrap_err().to_string()
        };
        let gate = message("\"linear\"", "\"confident\"");
        assert!(gate.contains("`label->1 gate`: unknown gate \"confident\""), "{gate}");
        let design = message("\"both apart\"", "\"features closer\"");
        assert!(design.contains("`2->1 design`: ") && design.contains("features closer"), "{design}");
        let none = message("[\"through\",\"cutoff\",\"linear\",\"correct\"]", "[]");
        assert!(none.contains("has no choices"), "{none}");
    }

    #[test]
    fn genes_become_a_graph_and_names_become_genes() {
        let space = Space::new(&nodes(2), &SearchSettings::default()).unwrap();
        let choices = json!({"label->1 gate": "linear", "label->2 gate": "correct", "2->1 design": "both apart",
            "2->1 gate": "correct", "1->2 design": "attention closer", "1->2 gate": "cutoff"});
        let genes = space.genes(choices.as_object().unwrap()).unwrap();
        let genes: Genes = genes.into_iter().map(Option::unwrap).collect();
        let graph = space.graph(&genes);
        assert_eq!((graph.label_gate(0), graph.label_gate(1)), (Gate::Linear, Gate::Correct));
        assert_eq!(graph.transfer(1, 0), Some(Transfer { design: Design::BothApart, gate: Gate::Correct }));
        assert_eq!(graph.transfer(0, 1), None);
        // The cut edge's design does not matter, and the label is always correct.
        assert_eq!(space.relevant(&genes), [Some(2), Some(0), Some(5), Some(3), None, Some(1)]);
        let message = space.genes(json!({"2->1 gate": "ajar"}).as_object().unwrap()).unwrap_err().to_string();
        assert_eq!(message, "`2->1 gate` cannot be \"ajar\"; choose from through, cutoff, linear, correct");
        assert!(space.genes(json!({"lr": 0.1}).as_object().unwrap()).is_err());
    }

    #[test]
    fn edges_can_be_fixed_or_have_choices_of_their_own() {
        let settings = settings(
            "label_gates = [\"through\"]\ngates = [\"through\", \"cutoff\"]\n[search.edges]\n\
             \"1 -> 2\" = \"attention apart, linear\"\n\"2 -> 1\" = { designs = [\"both closer\"] }\n\
             \"1->3\" = \"cutoff\"\n\"2 -> 3\" = { gates = [\"cutoff\"] }",
        );
        let space = Space::new(&nodes(3), &settings).unwrap();
        let names: Vec<&str> = space.parameters().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["2->1 gate", "3->1 design", "3->1 gate", "3->2 design", "3->2 gate"]);
        let graph = space.graph(&[0, 1, 1, 2, 0]);
        assert_eq!(graph.label_gate(2), Gate::Through);
        assert_eq!(graph.transfer(0, 1), Some(Transfer { design: Design::AttentionApart, gate: Gate::Linear }));
        assert_eq!(graph.transfer(1, 0), Some(Transfer { design: Design::BothCloser, gate: Gate::Through }));
        assert_eq!((graph.transfer(0, 2), graph.transfer(1, 2), graph.transfer(2, 0)), (None, None, None));
        assert_eq!(Space::from_json(&space.to_json()).unwrap(), space);
    }

    #[test]
    fn frozen_teachers_learn_from_nobody_and_architectures_are_searched() {
        let mut nodes = nodes(2);
        *nodes.node_mut(0) = Node::new("resnet-18").with_pretrained("t.safetensors").frozen();
        let space = Space::new(&nodes, &settings("architectures = [\"resnet-18\", \"resnet-34\"]")).unwrap();
        let names: Vec<&str> = space.parameters().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["label->2 gate", "1->2 design", "1->2 gate", "node 2 architecture"]);
        assert_eq!(space.graph(&[0, 0, 0, 1]).nodes()[1].architecture, "resnet-34");
        assert!(space.graph(&[0, 0, 0, 1]).check().is_ok());
        assert_eq!(space.renumbering(&[1, 0]), None);
    }

    #[test]
    fn renumbering_moves_genes_as_it_moves_nodes() {
        let space = Space::new(&nodes(3), &SearchSettings::default()).unwrap();
        let genes: Genes = (0..15).map(|i| i * 7 % space.parameters()[i].choices.len()).collect();
        let moves = space.renumbering(&[1, 2, 0]).unwrap();
        let mut moved = vec![0; 15];
        moves.iter().zip(&genes).for_each(|(to, gene)| moved[*to] = *gene);
        assert_ne!(space.graph(&genes), space.graph(&moved));
        assert_eq!(space.graph(&genes).hash(), space.graph(&moved).hash());
    }

    #[test]
    fn settings_that_do_not_fit_are_named() {
        let message = |m, text: &str| Space::new(&nodes(m), &settings(text)).unwrap_err().to_string();
        assert!(message(2, "[search.edges]\n\"1 -> 3\" = \"cutoff\"").contains("there is no node 3"));
        assert!(message(2, "[search.edges]\n\"1 -> 2\" = \"linear\"").contains("needs a design before its gate"));
        assert!(message(2, "[search.edges]\n\"1 -> 2\" = \"cutoff\"\n\"1->2\" = \"cutoff\"").contains("twice"));
        assert!(message(2, "gates = []").contains("nothing to choose from"));
        assert!(message(2, "gates = [\"linear\", \"linear\"]").contains("twice"));
        assert!(message(1, "label_gates = [\"through\"]").contains("nothing to search"));
    }
}
