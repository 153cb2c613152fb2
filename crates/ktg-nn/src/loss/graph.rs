//! The losses of all edges of a graph in one step.

use burn::tensor::{Device, Int, Tensor};
use ktg_graph::{Design, Direction, Gate, Graph};

use super::{GateWeights, LossSettings, Pairs, positions};
use crate::network::Outputs;

/// The right answers of a batch.
#[derive(Clone)]
pub struct NodeLabels {
    /// Class indices, `[n]`.
    pub own: Tensor<1, Int>,
    /// With mixup, the labels of the images that were mixed in, `[n]`, and the share of a sample's own.
    pub mixed: Option<(Tensor<1, Int>, f32)>,
}

/// An edge and where its losses are in [`GraphLosses::values`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EdgeParts {
    /// The node that teaches, from 0; `None` where the label does.
    pub source: Option<usize>,
    /// The node that learns, from 0.
    pub target: usize,
    /// From the class probabilities: one part, or for a label edge to a node with an attention branch two.
    pub probability: Vec<usize>,
    /// From the attention maps.
    pub attention: Option<usize>,
}

/// The losses of one step, on the device.
pub struct GraphLosses {
    /// All parts of all edges, gated and averaged over the batch, `[parts]`; their sum is what is minimised. `None` if
    /// nothing learns.
    pub values: Option<Tensor<1>>,
    /// Label edges in the order of their targets, then transfer edges in the order of the graph.
    pub edges: Vec<EdgeParts>,
    /// Which samples each node with outputs classifies correctly, `[nodes with outputs, n]` of 1 and 0; `None` if there
    /// is no such node.
    pub correct: Option<Tensor<2>>,
}

/// A transfer edge that is not cut.
struct Edge {
    source: usize,
    target: usize,
    design: Design,
    gate: Gate,
}

/// Edges whose losses are computed in one go.
struct Group {
    gates: Vec<Gate>,
    pairs: Pairs,
    /// By edge, the position of its source among the nodes with outputs.
    sources: Tensor<1, Int>,
    kind: Kind,
    direction: Direction,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Probability,
    /// Between nodes with maps of one size, by position among the nodes with outputs.
    Attention(Vec<usize>),
}

/// How a graph's edges are computed together; worked out at the first step, when the sizes of the maps are known.
struct Layout {
    /// Nodes with outputs.
    nodes: Vec<usize>,
    /// Nodes that the label teaches, by position in `nodes`, and their gates.
    labelled: Vec<usize>,
    label_gates: Vec<Gate>,
    /// Those of them with an attention branch, by position in `labelled`.
    with_branch: Vec<usize>,
    rows: Tensor<1, Int>,
    groups: Vec<Group>,
    edges: Vec<EdgeParts>,
}

/// Computes the losses of a graph.
pub struct GraphLoss {
    label_gates: Vec<Option<Gate>>,
    transfers: Vec<Edge>,
    settings: LossSettings,
    layout: Option<Layout>,
}

impl GraphLoss {
    /// Of the edges of `graph` that are not cut.
    pub fn new(graph: &Graph, settings: LossSettings) -> Self {
        let label_gate = |m: usize| Some(graph.label_gate(m)).filter(|gate| !gate.is_cut() && graph.is_trained(m));
        let transfers = graph.active_transfers();
        let edge = |(source, target, t): (usize, usize, ktg_graph::Transfer)| Edge {
            source,
            target,
            design: t.design,
            gate: t.gate,
        };
        Self {
            label_gates: (0..graph.len()).map(label_gate).collect(),
            transfers: transfers.map(edge).collect(),
            settings,
            layout: None,
        }
    }

    /// The losses for the nodes' outputs, on the tape for those that learn; nodes that nobody needs have none. `progress`
    /// is k/K at iteration k of K. Every call is for outputs of the same sizes but for the batch's.
    ///
    /// # Panics
    ///
    /// Panics if an attention edge joins nodes without maps or with maps of different size.
    pub fn forward(&mut self, outputs: &[Option<Outputs>], labels: &NodeLabels, progress: f64) -> GraphLosses {
        let Some(device) = outputs.iter().flatten().map(|o| o.logits.device()).next() else {
            return GraphLosses { values: None, edges: Vec::new(), correct: None };
        };
        if self.layout.is_none() {
            self.layout = Some(self.lay_out(outputs, &device));
        }
        let layout = self.layout.as_ref().expect("it was laid out above");
        let present: Vec<&Outputs> = layout.nodes.iter().filter_map(|&m| outputs[m].as_ref()).collect();
        let logits = Tensor::stack::<3>(present.iter().map(|o| o.logits.clone()).collect(), 0);
        let correct = super::correct(logits.clone().detach(), labels.own.clone());

        let mut values = Vec::new();
        if !layout.labelled.is_empty() {
            values.push(layout.label_losses(&present, &logits, labels, progress));
        }
        for group in &layout.groups {
            let losses = match &group.kind {
                Kind::Probability => {
                    super::probability(group.direction, logits.clone(), &group.pairs, self.settings.temperature)
                }
                Kind::Attention(nodes) => {
                    let map = |&row: &usize| present[row].attention_map.clone().expect("grouped by the maps");
                    let maps = Tensor::stack::<4>(nodes.iter().map(map).collect(), 0);
                    super::attention(group.direction, maps, &group.pairs, &self.settings.crop_sizes)
                }
            };
            let sources = || correct.clone().select(0, group.sources.clone());
            values.push(GateWeights::at(group.gates.iter().copied(), progress).means(losses, sources));
        }
        let values = (!values.is_empty()).then(|| Tensor::cat(values, 0));
        GraphLosses { values, edges: layout.edges.clone(), correct: Some(correct) }
    }

    fn lay_out(&self, outputs: &[Option<Outputs>], device: &Device) -> Layout {
        let nodes: Vec<usize> = (0..outputs.len()).filter(|&m| outputs[m].is_some()).collect();
        let row = |m: usize| nodes.iter().position(|&n| n == m);
        let labelled: Vec<usize> = (0..nodes.len()).filter(|&r| self.label_gates[nodes[r]].is_some()).collect();
        let has_branch = |r: usize| outputs[nodes[r]].as_ref().is_some_and(|o| o.attention_logits.is_some());
        let with_branch: Vec<usize> = (0..labelled.len()).filter(|&l| has_branch(labelled[l])).collect();
        let mut edges: Vec<EdgeParts> = Vec::new();
        for (l, &r) in labelled.iter().enumerate() {
            let branch = with_branch.iter().position(|&w| w == l).map(|b| labelled.len() + b);
            let probability = [l].into_iter().chain(branch).collect();
            edges.push(EdgeParts { target: nodes[r], probability, ..EdgeParts::default() });
        }
        let mut parts = labelled.len() + with_branch.len();
        let first_transfer = edges.len();
        let transfers: Vec<&Edge> =
            self.transfers.iter().filter(|e| row(e.source).is_some() && row(e.target).is_some()).collect();
        for edge in &transfers {
            edges.push(EdgeParts { source: Some(edge.source), target: edge.target, ..EdgeParts::default() });
        }

        let mut groups = Vec::new();
        for direction in [Direction::Closer, Direction::Apart] {
            let of = |is: fn(Design) -> bool| {
                let matching = transfers.iter().enumerate();
                matching.filter(move |(_, e)| is(e.design) && e.design.direction() == direction)
            };
            let mut add = |kind: Kind, members: Vec<(usize, (usize, usize))>, edges: &mut Vec<EdgeParts>| {
                if members.is_empty() {
                    return;
                }
                for (i, (t, _)) in members.iter().enumerate() {
                    let edge = &mut edges[first_transfer + t];
                    match kind {
                        Kind::Probability => edge.probability.push(parts + i),
                        Kind::Attention(_) => edge.attention = Some(parts + i),
                    }
                }
                parts += members.len();
                let pairs: Vec<(usize, usize)> = members.iter().map(|(_, pair)| *pair).collect();
                let sources = members.iter().filter_map(|(t, _)| row(transfers[*t].source));
                groups.push(Group {
                    gates: members.iter().map(|(t, _)| transfers[*t].gate).collect(),
                    pairs: Pairs::new(&pairs, device),
                    sources: positions(sources, device),
                    kind,
                    direction,
                });
            };
            let place = |e: &Edge, among: &dyn Fn(usize) -> Option<usize>| {
                let find = |m| among(m).expect("an attention edge joins nodes with maps of one size");
                (find(e.source), find(e.target))
            };
            let members = of(Design::probability).map(|(t, e)| (t, place(e, &row))).collect();
            add(Kind::Probability, members, &mut edges);

            let size = |m: usize| outputs[m].as_ref().and_then(|o| o.attention_map.as_ref()).map(|map| map.dims());
            let of_target = |e: &Edge| size(e.target).expect("an attention edge joins nodes with maps");
            let mut sizes: Vec<[usize; 3]> = of(Design::attention).map(|(_, e)| of_target(e)).collect();
            sizes.sort_unstable();
            sizes.dedup();
            for wanted in sizes {
                let among: Vec<usize> = (0..nodes.len()).filter(|&r| size(nodes[r]) == Some(wanted)).collect();
                let find = |m: usize| row(m).and_then(|r| among.iter().position(|&a| a == r));
                let here = of(Design::attention).filter(|(_, e)| size(e.target) == Some(wanted));
                let members = here.map(|(t, e)| (t, place(e, &find))).collect();
                add(Kind::Attention(among.clone()), members, &mut edges);
            }
        }
        Layout {
            label_gates: labelled.iter().filter_map(|&r| self.label_gates[nodes[r]]).collect(),
            rows: positions(labelled.iter().copied(), device),
            nodes,
            labelled,
            with_branch,
            groups,
            edges,
        }
    }
}

impl Layout {
    /// Cross-entropies of the perception branches, then of the attention branches, gated; `[labelled + with branch]`.
    fn label_losses(&self, present: &[&Outputs], logits: &Tensor<3>, labels: &NodeLabels, progress: f64) -> Tensor<1> {
        let perception = match self.labelled.len() == self.nodes.len() {
            true => logits.clone(),
            false => logits.clone().select(0, self.rows.clone()),
        };
        let branches = self.with_branch.iter().filter_map(|&l| present[self.labelled[l]].attention_logits.clone());
        let branches: Vec<Tensor<2>> = branches.collect();
        let all = match branches.is_empty() {
            true => perception,
            false => Tensor::cat(vec![perception, Tensor::stack::<3>(branches, 0)], 0),
        };
        let mut losses = super::cross_entropy(all.clone(), labels.own.clone());
        if let Some((partners, share)) = &labels.mixed {
            losses = losses * *share + super::cross_entropy(all, partners.clone()) * (1.0 - share);
        }
        // The label is always right, so the gate `correct` lets everything through (SPEC 5).
        let gates = self.label_gates.iter().copied().chain(self.with_branch.iter().map(|&l| self.label_gates[l]));
        let weights = GateWeights::of_labels(gates, progress);
        weights.means(losses, || unreachable!("no weight depends on it"))
    }
}
