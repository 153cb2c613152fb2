//! Canonical numbering of a small directed graph with coloured nodes and edges.
//!
//! The method is the usual one (McKay, "Practical graph isomorphism", 1981) in its plainest form.
//! Nodes are told apart by *colour refinement*: nodes whose surroundings differ get different
//! colours until nothing changes. If some still look alike, each of them in turn is singled out and
//! refinement goes on, which gives a tree of numberings. The leaf whose refinement history, its
//! *trace*, is smallest wins. Two prunings keep the tree small: a branch whose trace is already
//! larger than the best is left, and nodes that a known automorphism carries into each other need
//! only be tried once.

use std::cmp::Ordering;

/// What a node sees: its own colour, then (colour, edge to it, edge from it) of all others, sorted.
type Surroundings = (usize, Vec<(usize, u16, u16)>);

/// The surroundings that occur after refinement, in the order of the colours. For a numbering that
/// tells all nodes apart this contains the whole graph, so leaves with equal traces are isomorphic.
type Trace = Vec<Surroundings>;

/// The nodes in canonical order: graphs that are equal up to a renumbering are identical when their
/// nodes are put into this order.
///
/// `colours[v]` tells nodes apart from the start and comes first in the order; `edges[s][t]` is the
/// colour of the edge s -> t, where "no edge" is a colour like any other.
pub(crate) fn canonical_order(colours: &[usize], edges: &[Vec<u16>]) -> Vec<usize> {
    let mut search = Search { edges, automorphisms: Vec::new(), best: None };
    search.find_interchangeable(colours);
    search.explore(colours.to_vec(), &mut Vec::new(), &mut Vec::new());
    search.best.map(|leaf| leaf.order).unwrap_or_default()
}

struct Leaf {
    /// The nodes that were singled out on the way, in turn.
    path: Vec<usize>,
    traces: Vec<Trace>,
    order: Vec<usize>,
}

struct Search<'a> {
    edges: &'a [Vec<u16>],
    /// Renumberings known to leave the graph unchanged: node v becomes node `automorphism[v]`.
    automorphisms: Vec<Vec<usize>>,
    best: Option<Leaf>,
}

impl Search<'_> {
    fn len(&self) -> usize {
        self.edges.len()
    }

    /// Notes every pair of nodes that can simply change places. In the graphs people write most
    /// (all networks learn from all others alike) that is every pair, and no search is left.
    fn find_interchangeable(&mut self, colours: &[usize]) {
        for u in 0..self.len() {
            for v in u + 1..self.len() {
                let alike = colours[u] == colours[v]
                    && self.edges[u][v] == self.edges[v][u]
                    && (0..self.len())
                        .filter(|w| ![u, v].contains(w))
                        .all(|w| self.edges[u][w] == self.edges[v][w] && self.edges[w][u] == self.edges[w][v]);
                if alike {
                    let mut swap: Vec<usize> = (0..self.len()).collect();
                    swap.swap(u, v);
                    self.automorphisms.push(swap);
                }
            }
        }
    }

    /// Searches the subtree in which the nodes of `path` have been singled out.
    ///
    /// Returns the depth of the tree node at which to go on: its own, or a smaller one when the rest
    /// of this subtree has turned out to mirror one that was searched before.
    fn explore(&mut self, colours: Vec<usize>, path: &mut Vec<usize>, traces: &mut Vec<Trace>) -> usize {
        let (colours, trace) = self.refine(colours);
        traces.push(trace);
        let next = self.explore_refined(&colours, path, traces);
        traces.pop();
        next
    }

    fn explore_refined(&mut self, colours: &[usize], path: &mut Vec<usize>, traces: &mut Vec<Trace>) -> usize {
        let depth = path.len();
        let against_best = match &self.best {
            None => Ordering::Less,
            Some(best) => {
                let comparable = traces.len().min(best.traces.len());
                traces[..comparable].cmp(&best.traces[..comparable])
            }
        };
        if against_best == Ordering::Greater {
            return depth;
        }
        let Some(cell) = first_shared_colour(colours) else {
            return self.reach_leaf(colours, path, traces, against_best);
        };
        let mut tried = Vec::new();
        for v in cell {
            if self.mirrors_one_of(&tried, v, path) {
                continue;
            }
            tried.push(v);
            let mut singled_out: Vec<usize> = colours.iter().map(|colour| 2 * colour + 1).collect();
            singled_out[v] -= 1;
            path.push(v);
            let next = self.explore(singled_out, path, traces);
            path.pop();
            if next < depth {
                return next;
            }
        }
        depth
    }

    /// All nodes are told apart: keeps the numbering if it is the best, and learns an automorphism
    /// if it is as good as the best.
    fn reach_leaf(&mut self, colours: &[usize], path: &[usize], traces: &[Trace], against_best: Ordering) -> usize {
        let mut order = vec![0; self.len()];
        for (node, position) in colours.iter().enumerate() {
            order[*position] = node;
        }
        match &self.best {
            Some(best) if against_best == Ordering::Equal => {
                let mut automorphism = vec![0; self.len()];
                for (from, to) in best.order.iter().zip(&order) {
                    automorphism[*from] = *to;
                }
                // It carries the branch with the best leaf into ours, from where the paths part, so
                // nothing new can be found below that point.
                let common = best.path.iter().zip(path).take_while(|(a, b)| a == b);
                let common = common.count();
                self.automorphisms.push(automorphism);
                common
            }
            _ => {
                self.best = Some(Leaf { path: path.to_vec(), traces: traces.to_vec(), order });
                path.len()
            }
        }
    }

    /// Whether automorphisms that leave every node of `path` in place carry a tried node to `v`.
    fn mirrors_one_of(&self, tried: &[usize], v: usize, path: &[usize]) -> bool {
        if tried.is_empty() {
            return false;
        }
        let usable: Vec<&Vec<usize>> = self
            .automorphisms
            .iter()
            .filter(|automorphism| path.iter().all(|node| automorphism[*node] == *node))
            .collect();
        // An automorphism has a finite order, so following them forwards reaches whole orbits.
        let mut reached = vec![false; self.len()];
        let mut open = vec![v];
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut reached[node], true) {
                open.extend(usable.iter().map(|automorphism| automorphism[node]));
            }
        }
        tried.iter().any(|node| reached[*node])
    }

    /// Gives different colours to nodes with different surroundings until that changes nothing. The
    /// new colours are 0, 1, 2, ... and refine the order of the given ones.
    fn refine(&self, mut colours: Vec<usize>) -> (Vec<usize>, Trace) {
        let mut count = 0;
        loop {
            let seen: Vec<Surroundings> = (0..self.len())
                .map(|v| {
                    let others = (0..self.len()).filter(|w| *w != v);
                    let mut others: Vec<_> = others.map(|w| (colours[w], self.edges[w][v], self.edges[v][w])).collect();
                    others.sort_unstable();
                    (colours[v], others)
                })
                .collect();
            let mut trace = seen.clone();
            trace.sort_unstable();
            trace.dedup();
            for (colour, surroundings) in colours.iter_mut().zip(&seen) {
                *colour = trace.partition_point(|other| other < surroundings);
            }
            if trace.len() == count {
                return (colours, trace);
            }
            count = trace.len();
        }
    }
}

/// The nodes of the first colour that several nodes have.
fn first_shared_colour(colours: &[usize]) -> Option<Vec<usize>> {
    let cell = |colour| -> Vec<usize> { (0..colours.len()).filter(|v| colours[*v] == colour).collect() };
    (0..colours.len()).map(cell).find(|nodes| nodes.len() > 1)
}
