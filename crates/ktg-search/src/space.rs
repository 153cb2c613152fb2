//! The search space: which graphs a study chooses from (SPEC 8).

use std::collections::{BTreeMap, BTreeSet};

use ktg_graph::{Design, Document, Gate, Graph, Output, Transfer, edge_name, parse_edge};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::Error;
use crate::edges::{EdgeChoices, edge_choices, first_repeated};
use crate::parameter::{Parameter, ParameterKind, Slot};
use crate::settings::{EdgeSettings, SearchSettings};

/// The index of the choice of each parameter.
pub type Genes = Vec<usize>;

/// All graphs that a study chooses from: a graph in which parameters replace parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// What no parameter decides.
    base: Graph,
    parameters: Vec<Parameter>,
    /// Edges, as (source, target), that resize the source's attention maps if their design reads them.
    resized: BTreeSet<(usize, usize)>,
}

/// As a study keeps it.
#[derive(Deserialize)]
struct Saved {
    graph: Json,
    parameters: Vec<SavedParameter>,
    #[serde(default)]
    resize: Vec<String>,
}

#[derive(Deserialize)]
struct SavedParameter {
    name: String,
    choices: Vec<String>,
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
        let trained: Vec<usize> = (0..m).filter(|node| !nodes.nodes()[*node].frozen).collect();
        let labels = trained.iter().map(|target| (None, *target));
        let others = |target: usize| (0..m).filter(move |source| *source != target);
        let transfers = trained.iter().flat_map(|target| others(*target).map(|source| (Some(source), *target)));
        let mut edges = Vec::new();
        for (source, target) in labels.chain(transfers) {
            let own = own.get(&(source, target)).copied();
            edges.push(edge_choices(source, target, own, settings)?);
        }
        let architectures = &settings.architectures;
        if let Some(name) = first_repeated(architectures) {
            return Err(Error::Setting(format!("`search.architectures` names \"{name}\" twice")));
        }
        // Weights fit one architecture only.
        let free: Vec<usize> = trained.into_iter().filter(|node| nodes.nodes()[*node].pretrained.is_none()).collect();
        if free.is_empty() && !architectures.is_empty() {
            let reason = "`search.architectures` has nothing to choose for: all nodes that learn start from weights, which \
                          fit one architecture only; leave out one of the two";
            return Err(Error::Setting(reason.to_owned()));
        }
        let architectures: Vec<_> = free.into_iter().map(|node| (node, architectures.clone())).collect();
        let space = Self::of(base, &edges, &architectures)?;
        if space.parameters.is_empty() {
            return Err(Error::Setting("there is nothing to search: everything is fixed".to_owned()));
        }
        Ok(space)
    }

    /// The space over the nodes of a graph without edges. A part with one choice only is no parameter; a node without
    /// choices of architectures keeps its own. There may be no parameters at all.
    ///
    /// # Errors
    /// If a choice says nothing.
    pub(crate) fn of(
        mut base: Graph,
        edges: &[EdgeChoices],
        architectures: &[(usize, Vec<String>)],
    ) -> Result<Self, Error> {
        let m = base.len();
        let mut parameters = Vec::new();
        let mut resized = BTreeSet::new();
        let mut decide = |kind, source, target, choices: Vec<String>| -> Result<(), Error> {
            if choices.len() > 1 {
                parameters.push(Parameter::new(Slot { kind, source, target }.name(), choices, m)?);
            }
            Ok(())
        };
        for EdgeChoices { source, target, designs, gates, resize } in edges {
            let (source, target) = (*source, *target);
            match source {
                _ if *gates == [Gate::Cutoff] => continue,
                None if gates.len() == 1 => base.set_label_gate(target, gates[0]),
                None => {}
                Some(source_node) => {
                    decide(ParameterKind::Design, source, target, names(designs))?;
                    base.set_transfer(source_node, target, Some(Transfer::new(designs[0], gates[0])));
                    resized.extend(resize.then_some((source_node, target)));
                }
            }
            decide(ParameterKind::Gate, source, target, names(gates))?;
        }
        for (node, architectures) in architectures {
            if let [only] = &architectures[..] {
                base.node_mut(*node).architecture.clone_from(only);
            }
            decide(ParameterKind::Architecture, None, *node, architectures.clone())?;
        }
        Ok(Self { base, parameters, resized })
    }

    /// The space as JSON, for the study.
    pub fn to_json(&self) -> Json {
        let mut json = json!({ "graph": self.base, "parameters": self.parameters });
        if !self.resized.is_empty() {
            let name = |(source, target): &(usize, usize)| edge_name(Some(*source), *target);
            json["resize"] = self.resized.iter().map(name).collect();
        }
        json
    }

    /// The space that a study keeps.
    ///
    /// # Errors
    /// If it cannot be understood.
    pub fn from_json(json: &Json) -> Result<Self, Error> {
        let saved: Saved = serde_json::from_value(json.clone()).map_err(|e| Error::Setting(e.to_string()))?;
        let base = Document::parse_json(&saved.graph.to_string(), "space")?.graph;
        let parameter = |saved: SavedParameter| Parameter::new(saved.name, saved.choices, base.len());
        let parameters = saved.parameters.into_iter().map(parameter).collect::<Result<_, _>>()?;
        let mut resized = BTreeSet::new();
        for edge in &saved.resize {
            let (source, target) = parse_edge(edge, base.len())?;
            resized.extend(source.map(|source| (source, target)));
        }
        Ok(Self { base, parameters, resized })
    }

    /// The parameters: label gates, then each transfer edge's design and gate, then architectures.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The number of network nodes.
    pub fn nodes(&self) -> usize {
        self.base.len()
    }

    /// The designs that transfer edges of its graphs may have.
    pub fn designs(&self) -> BTreeSet<Design> {
        let fixed = self.base_transfers().map(|transfer| transfer.design);
        fixed.chain(self.parameters.iter().flat_map(Parameter::designs)).collect()
    }

    /// The gates that transfer edges of its graphs may have.
    pub fn transfer_gates(&self) -> BTreeSet<Gate> {
        let fixed = self.base_transfers().map(|transfer| transfer.gate);
        let of_transfers = self.parameters.iter().filter(|parameter| parameter.slot.source.is_some());
        fixed.chain(of_transfers.flat_map(Parameter::gates)).collect()
    }

    /// The gates that label edges of its graphs may have.
    pub fn label_gates(&self) -> BTreeSet<Gate> {
        let of_label = |target| Slot { kind: ParameterKind::Gate, source: None, target };
        let gates = |target| match self.parameters.iter().find(|parameter| parameter.slot == of_label(target)) {
            Some(parameter) => parameter.gates().collect(),
            None => vec![self.base.label_gate(target)],
        };
        (0..self.nodes()).flat_map(gates).collect()
    }

    /// What transfer edges have where no parameter decides, and of what they are offered the first.
    fn base_transfers(&self) -> impl Iterator<Item = Transfer> {
        self.base.written_transfers().map(|(_, _, transfer)| transfer)
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
        for (parameter, gene) in self.parameters.iter().zip(genes) {
            parameter.put(*gene, &mut graph);
        }
        for source in 0..graph.len() {
            for target in 0..graph.len() {
                let Some(transfer) = graph.transfer(source, target) else { continue };
                if transfer.gate.is_cut() {
                    graph.set_transfer(source, target, None);
                } else if self.resized.contains(&(source, target)) && transfer.design.reads(Output::AttentionMap) {
                    graph.set_transfer(source, target, Some(transfer.resized()));
                }
            }
        }
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
        let foreign = || Error::Setting("the graph is not one of the search space".to_owned());
        if graph.len() != self.nodes() {
            return Err(foreign());
        }
        let choice = |parameter: &Parameter| (parameter.name.clone(), Json::from(parameter.made_by(graph)));
        let choices: serde_json::Map<String, Json> = self.parameters.iter().map(choice).collect();
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
        self.parameters.iter().zip(genes).map(|(parameter, gene)| parameter.relevant(*gene, &graph)).collect()
    }

    /// Where each parameter goes when the nodes are renumbered, node i becoming `order[i]`: the value of parameter p
    /// becomes that of parameter `result[p]`. `None` if the space is not the same for all nodes.
    pub fn renumbering(&self, order: &[usize]) -> Option<Vec<usize>> {
        let position = |parameter: &Parameter| {
            let Slot { kind, source, target } = parameter.slot;
            let moved = Slot { kind, source: source.map(|source| order[source]), target: order[target] };
            self.parameters.iter().position(|other| other.slot == moved && other.choices == parameter.choices)
        };
        let nodes = self.base.nodes();
        let is_same = order.iter().enumerate().all(|(from, to)| nodes[from] == nodes[*to]);
        let resizes_same = self.resized.iter().all(|(s, t)| self.resized.contains(&(order[*s], order[*t])));
        (is_same && resizes_same).then(|| self.parameters.iter().map(position).collect())?
    }
}

fn names(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
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
        assert_eq!(graph.transfer(1, 0), Some(Transfer::new(Design::BOTH_APART, Gate::Correct)));
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
        assert_eq!(graph.transfer(0, 1), Some(Transfer::new(Design::ATTENTION_APART, Gate::Linear)));
        assert_eq!(graph.transfer(1, 0), Some(Transfer::new(Design::BOTH_CLOSER, Gate::Through)));
        assert_eq!((graph.transfer(0, 2), graph.transfer(1, 2), graph.transfer(2, 0)), (None, None, None));
        assert_eq!(Space::from_json(&space.to_json()).unwrap(), space);
    }

    #[test]
    fn what_edges_may_be_is_what_is_offered_and_what_is_fixed() {
        let space = Space::new(
            &nodes(2),
            &settings(
                "label_gates = [\"falling\", \"through\"]\ngates = [\"cutoff\", \"through\"]\ndesigns = [\"both closer\"]\n\
                 [search.edges]\n\"label -> 2\" = \"linear\"\n\
                 \"1 -> 2\" = { designs = [\"attention apart + prob closer\", \"both apart\"], gates = [\"correct\"] }",
            ),
        )
        .unwrap();
        let mixed: Design = "probability closer + attention apart".parse().unwrap();
        assert_eq!(space.designs(), BTreeSet::from([Design::BOTH_CLOSER, Design::BOTH_APART, mixed]));
        assert_eq!(space.transfer_gates(), BTreeSet::from([Gate::Cutoff, Gate::Through, Gate::Correct]));
        assert_eq!(space.label_gates(), BTreeSet::from([Gate::Falling, Gate::Through, Gate::Linear]));
        let thesis = Space::new(&nodes(3), &SearchSettings::default()).unwrap();
        assert_eq!(thesis.designs(), BTreeSet::from(Design::THESIS));
        assert_eq!(thesis.transfer_gates(), BTreeSet::from(Gate::THESIS));
        assert_eq!(thesis.label_gates(), BTreeSet::from(Gate::THESIS));
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
    fn edges_that_resize_do_so_with_attention_only() {
        let space = |text: &str| Space::new(&nodes(2), &settings(text)).unwrap();
        let lists =
            "designs = [\"probability closer\", \"both apart\"]\ngates = [\"through\"]\nlabel_gates = [\"through\"]";
        let of_all = space(&format!("{lists}\nresize = true"));
        let graph = of_all.graph(&[0, 1]);
        assert_eq!(graph.transfer(1, 0), Some(Transfer::new(Design::PROBABILITY_CLOSER, Gate::Through)));
        assert_eq!(graph.transfer(0, 1), Some(Transfer::new(Design::BOTH_APART, Gate::Through).resized()));
        assert_eq!(graph.check(), Ok(()));
        assert_eq!(
            of_all.choices(&graph).unwrap(),
            *json!({"2->1 design": "probability closer", "1->2 design": "both apart"}).as_object().unwrap()
        );
        assert!(of_all.renumbering(&[1, 0]).is_some());
        let of_one = space(&format!("{lists}\n[search.edges]\n\"1 -> 2\" = \"att apart, resize\""));
        assert_eq!(of_one.graph(&[1]).transfer(0, 1).map(|transfer| transfer.resize), Some(true));
        assert_eq!(of_one.graph(&[1]).transfer(1, 0).map(|transfer| transfer.resize), Some(false));
        let own = space(&format!("{lists}\n[search.edges]\n\"1 -> 2\" = {{ resize = true }}"));
        assert_eq!(own.graph(&[1, 1]).transfer(0, 1).map(|transfer| transfer.resize), Some(true));
        assert_eq!(own.renumbering(&[1, 0]), None, "one of two edges resizes");
        for space in [of_all, of_one, own] {
            assert_eq!(Space::from_json(&space.to_json()).unwrap(), space);
        }
        assert_eq!(
            space(lists).to_json().get("resize"),
            None,
            "studies of spaces that resize nothing stay as they were"
        );
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
        assert!(message(1, "label_gates = [\"through\"]").contains("nothing to search"));
        let own = |edge: &str, own: &str| message(2, &format!("[search.edges]\n\"{edge}\" = {own}"));
        assert!(own("label -> 2", "{ resize = true }").ends_with("no attention maps to resize; leave `resize` out"));
        assert!(own("1 -> 2", "{ designs = [\"prob closer\"], resize = true }").contains("none of its designs reads"));
        assert!(own("1 -> 2", "\"prob closer, resize\"").contains("which \"probability closer\" does not read"));
    }

    #[test]
    fn a_list_that_is_empty_or_has_a_choice_twice_is_named_as_it_was_written() {
        let message = |text: &str| Space::new(&nodes(2), &settings(text)).unwrap_err().to_string();
        let twice = "designs = [\"both apart\", \"attention apart + prob closer\", \"prob closer + att apart\"]";
        let of_edge = |lists: &str| message(&format!("[search.edges]\n\"1 -> 2\" = {{ {lists} }}"));
        for (message, expected) in [
            (message(twice), "`search.designs` names \"probability closer + attention apart\" twice"),
            (message("gates = [\"linear\", \"linear\"]"), "`search.gates` names \"linear\" twice"),
            (message("label_gates = [\"correct\", \"correct\"]"), "`search.label_gates` names \"correct\" twice"),
            (
                of_edge(twice),
                "`search.edges`, edge \"1 -> 2\": `designs` names \"probability closer + attention apart\" twice",
            ),
            (
                of_edge("gates = [\"falling\", \"falling\"]"),
                "`search.edges`, edge \"1 -> 2\": `gates` names \"falling\" twice",
            ),
            (message("designs = []"), "`search.designs` is empty: there is nothing to choose from"),
            (message("gates = []"), "`search.gates` is empty: there is nothing to choose from"),
            (message("label_gates = []"), "`search.label_gates` is empty: there is nothing to choose from"),
            (
                of_edge("gates = []"),
                "`search.edges`, edge \"1 -> 2\": `gates` is empty: there is nothing to choose from",
            ),
        ] {
            assert_eq!(message, expected);
        }
    }
}
