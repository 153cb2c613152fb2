//! Small spaces with falling gates and mixed designs: every combination of choices, held against brute force.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ktg_base::random::keyed;
use ktg_graph::{Design, Gate, Graph, Node, Transfer};
use ktg_search::sampler::{self, Observation, Proposals};
use ktg_search::{ParameterKind, SamplerKind, SearchSettings, Space};

/// Spaces of so many equal nodes, by their `[search]`.
const SPACES: [(usize, &str); 6] = [
    (
        2,
        r#"
        label_gates = ["through", "correct", "falling"]
        gates = ["through", "falling"]
        designs = ["probability closer + attention apart", "attention apart"]
        "#,
    ),
    (
        2,
        r#"
        gates = ["falling", "cutoff", "correct"]
        designs = ["probability apart + attention closer", "both apart", "probability closer + attention apart"]
        label_gates = ["cutoff", "correct", "falling"]
        "#,
    ),
    // Edges of one choice, and edges with choices of their own.
    (
        2,
        r#"
        label_gates = ["linear", "falling"]
        [edges]
        "1 -> 2" = "attention apart + probability closer, falling"
        "2 -> 1" = { designs = ["probability closer + attention apart", "both closer"], gates = ["cutoff", "falling"] }
        "#,
    ),
    (
        2,
        r#"
        label_gates = ["through", "falling"]
        gates = ["cutoff", "falling"]
        designs = ["probability closer + attention apart"]
        architectures = ["a", "b"]
        "#,
    ),
    (
        3,
        r#"
        label_gates = ["through", "falling"]
        gates = ["cutoff", "falling"]
        designs = ["probability apart + attention closer"]
        "#,
    ),
    // The thesis' space.
    (2, ""),
];

fn space(nodes: usize, search: &str) -> Space {
    let text = format!("[search]\n{}", search.replace("[edges]", "[search.edges]"));
    let settings = SearchSettings::parse(&text, "test").unwrap();
    Space::new(&equal_nodes(nodes), &settings).unwrap()
}

fn equal_nodes(nodes: usize) -> Graph {
    Graph::new(vec![Node::new("a"); nodes])
}

/// The spaces of [`SPACES`], and one with every design there is.
fn spaces() -> Vec<Space> {
    let everything = SearchSettings {
        label_gates: vec![Gate::Falling],
        gates: vec![Gate::Falling, Gate::Cutoff],
        designs: Design::all(),
        ..SearchSettings::default()
    };
    let mut spaces: Vec<Space> = SPACES.iter().map(|(nodes, search)| space(*nodes, search)).collect();
    spaces.push(Space::new(&equal_nodes(2), &everything).unwrap());
    spaces
}

/// All combinations of choices, the first parameter fastest.
fn combinations(space: &Space) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for parameter in space.parameters() {
        let choices = 0..parameter.choices.len();
        all = choices.flat_map(|gene| all.iter().map(move |genes| [&genes[..], &[gene]].concat())).collect();
    }
    assert_eq!(all.len() as f64, space.combinations());
    all
}

fn permutations(nodes: usize) -> Vec<Vec<usize>> {
    let Some(last) = nodes.checked_sub(1) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(last) {
        for place in 0..nodes {
            let mut order = shorter.clone();
            order.insert(place, last);
            all.push(order);
        }
    }
    all
}

/// What a graph teaches, edge by edge in words: label edges and open transfer edges.
type Meaning = (Vec<String>, BTreeMap<(Option<usize>, usize), String>);

/// What a graph means when node i is called `order[i]`.
fn meaning(graph: &Graph, order: &[usize]) -> Meaning {
    let mut architectures = vec![String::new(); graph.len()];
    let mut edges = BTreeMap::new();
    for target in 0..graph.len() {
        architectures[order[target]].clone_from(&graph.nodes()[target].architecture);
        match graph.label_gate(target) {
            Gate::Cutoff => {}
            // The label is always right.
            Gate::Correct => drop(edges.insert((None, order[target]), Gate::Through.to_string())),
            gate => drop(edges.insert((None, order[target]), gate.to_string())),
        }
        for source in (0..graph.len()).filter(|source| *source != target) {
            if let Some(Transfer { design, gate, .. }) = graph.transfer(source, target)
                && gate != Gate::Cutoff
            {
                edges.insert((Some(order[source]), order[target]), format!("{design}, {gate}"));
            }
        }
    }
    (architectures, edges)
}

/// Equal for graphs that mean the same under some numbering of the nodes, and for no others.
fn least_meaning(graph: &Graph) -> Meaning {
    permutations(graph.len()).iter().map(|order| meaning(graph, order)).min().unwrap()
}

/// Makes sure that two things are equal exactly if two others are, over many pairs of them.
struct OneToOne<A, B> {
    there: BTreeMap<A, B>,
    back: BTreeMap<B, A>,
}

impl<A: Ord + Clone + std::fmt::Debug, B: Ord + Clone + std::fmt::Debug> OneToOne<A, B> {
    fn new() -> Self {
        Self { there: BTreeMap::new(), back: BTreeMap::new() }
    }

    fn add(&mut self, a: A, b: B) {
        assert_eq!(self.there.entry(a.clone()).or_insert_with(|| b.clone()), &b, "{a:?}");
        assert_eq!(self.back.entry(b.clone()).or_insert_with(|| a.clone()), &a, "{b:?}");
    }
}

#[test]
fn a_graph_has_what_its_choices_say() {
    for space in spaces() {
        for genes in combinations(&space) {
            let graph = space.graph(&genes);
            for (parameter, gene) in space.parameters().iter().zip(&genes) {
                let choice = &parameter.choices[*gene];
                let (source, target) = match parameter.kind() {
                    ParameterKind::Architecture => continue,
                    _ => ktg_graph::parse_edge(&parameter.part(), graph.len()).unwrap(),
                };
                let Some(source) = source else {
                    assert_eq!(graph.label_gate(target).name(), choice);
                    continue;
                };
                match (parameter.kind(), graph.transfer(source, target)) {
                    (ParameterKind::Gate, transfer) => {
                        assert_eq!(transfer.map_or(Gate::Cutoff, |transfer| transfer.gate).name(), choice);
                    }
                    (_, Some(transfer)) => assert_eq!(transfer.design.to_string(), *choice),
                    (_, None) => {}
                }
            }
        }
    }
}

#[test]
fn graphs_have_equal_hashes_exactly_if_they_mean_the_same() {
    for space in spaces() {
        let mut hashes = OneToOne::new();
        for genes in combinations(&space) {
            let graph = space.graph(&genes);
            hashes.add(graph.hash(), least_meaning(&graph));
        }
    }
}

#[test]
fn choices_of_a_graph_lead_back_to_it() {
    for space in spaces() {
        for genes in combinations(&space) {
            let graph = space.graph(&genes);
            let choices = space.choices(&graph).unwrap();
            let back: Vec<usize> = space.genes(&choices).unwrap().into_iter().map(Option::unwrap).collect();
            assert_eq!(space.graph(&back).hash(), graph.hash(), "{choices:?}");
        }
        assert_eq!(Space::from_json(&space.to_json()).unwrap(), space);
    }
}

#[test]
fn what_is_relevant_is_equal_exactly_if_nothing_that_matters_differs() {
    for space in spaces() {
        let unmoved: Vec<usize> = (0..space.nodes()).collect();
        let mut relevant = OneToOne::new();
        for genes in combinations(&space) {
            relevant.add(space.relevant(&genes), meaning(&space.graph(&genes), &unmoved));
        }
    }
}

#[test]
fn renumbered_choices_make_the_same_graph() {
    let mut moved_spaces = 0;
    for space in spaces() {
        for order in permutations(space.nodes()) {
            let Some(moves) = space.renumbering(&order) else { continue };
            moved_spaces += 1;
            for genes in combinations(&space) {
                let mut moved = vec![0; genes.len()];
                moves.iter().zip(&genes).for_each(|(to, gene)| moved[*to] = *gene);
                assert_eq!(meaning(&space.graph(&genes), &order), meaning(&space.graph(&moved), &identity(&order)));
                assert_eq!(space.graph(&genes).hash(), space.graph(&moved).hash());
            }
        }
    }
    // All but the one whose edges have choices of their own, which knows one order.
    assert_eq!(moved_spaces, 5 * 2 + 6 + 1);
}

fn identity(order: &[usize]) -> Vec<usize> {
    (0..order.len()).collect()
}

/// Asks a sampler as a worker does until it has nothing new; the hashes in the order in which they were proposed.
fn proposed(kind: SamplerKind, space: &Space, accepts: &dyn Fn(&Graph) -> bool) -> Vec<String> {
    let mut sampler = sampler::by_kind(kind);
    let known = RefCell::new(BTreeSet::new());
    let (mut history, mut hashes) = (Vec::new(), Vec::new());
    loop {
        let count = hashes.len() as u64;
        let mut rng = keyed([7, count, 0, 0]);
        let proposals = Proposals { space, known: &|hash| known.borrow().contains(hash), accepts };
        let Some(proposal) = proposals.next(&mut *sampler, &history, &mut rng) else { return hashes };
        assert_eq!(space.graph(&proposal.genes).hash().to_string(), proposal.hash);
        known.borrow_mut().insert(proposal.hash.clone());
        // Any values, and not all as far: graphs with many open edges are good.
        let edges = space.graph(&proposal.genes).active_transfers().count();
        let value = edges as f64 + count as f64 / 1e6;
        history.push(Observation::new(space, count as i64, proposal.genes, 1 + (count % 3) as i64, value));
        hashes.push(proposal.hash);
    }
}

#[test]
fn every_sampler_proposes_every_graph_once_and_then_ends() {
    for space in spaces() {
        let is_taught = |graph: &Graph| (0..graph.len()).all(|node| graph.is_trained(node));
        let accepts: [&dyn Fn(&Graph) -> bool; 2] = [&|_| true, &is_taught];
        for accepts in accepts {
            let graphs = combinations(&space).into_iter().map(|genes| space.graph(&genes));
            let distinct: BTreeMap<Meaning, String> = graphs
                .filter(|graph| accepts(graph))
                .map(|graph| (least_meaning(&graph), graph.hash().to_string()))
                .collect();
            let mut wanted: Vec<String> = distinct.into_values().collect();
            wanted.sort();
            for kind in [SamplerKind::Random, SamplerKind::Tpe, SamplerKind::Evolution] {
                let mut found = proposed(kind, &space, accepts);
                found.sort();
                assert_eq!(found, wanted, "{kind:?}");
            }
        }
    }
}

#[test]
fn a_mixed_design_is_one_choice_however_it_is_spelled() {
    let spelled = space(
        2,
        r#"
        gates = ["through", "falling"]
        designs = ["attention apart + probability closer", "both closer"]
        [edges]
        "2 -> 1" = { designs = ["probability closer", "ATT closer + prob apart"], gates = ["falling", "linear"] }
        "#,
    );
    let choices = |name: &str| {
        let parameter = spelled.parameters().iter().find(|parameter| parameter.name == name);
        parameter.unwrap_or_else(|| panic!("{name}")).choices.join(" | ")
    };
    assert_eq!(choices("1->2 design"), "probability closer + attention apart | both closer");
    assert_eq!(choices("1->2 gate"), "through | falling");
    assert_eq!(choices("2->1 design"), "probability closer | probability apart + attention closer");
    assert_eq!(choices("2->1 gate"), "falling | linear");

    let twice = r#"["attention apart + probability closer", "probability closer + attention apart"]"#;
    for search in [format!("designs = {twice}"), format!("edges.\"1 -> 2\" = {{ designs = {twice} }}")] {
        let settings = SearchSettings::parse(&format!("[search]\n{search}"), "test").unwrap();
        let error = Space::new(&equal_nodes(2), &settings).unwrap_err().to_string();
        assert!(error.ends_with("names \"probability closer + attention apart\" twice"), "{error}");
    }
    let contradiction = "[search]\ndesigns = [\"attention apart + attention closer\"]";
    assert!(SearchSettings::parse(contradiction, "test").is_err());
}
