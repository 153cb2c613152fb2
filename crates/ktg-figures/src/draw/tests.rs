//! What holds for pictures of all graphs up to six nodes.

use std::collections::BTreeMap;

use ktg_graph::{Design, Gate, Graph, Node, Transfer};
use proptest::prelude::*;
use proptest::sample::select;
use resvg::usvg::roxmltree::Document;

use super::arrange::arranged;
use super::curve::{Strip, ellipse_contains, points};
use super::layout::Layout;
use super::{sheet, svg};

fn node() -> impl Strategy<Value = Node> {
    let names = ["abn-resnet-18", "resnet-50", "abn-resnet-cifar-110", "a-name-that-is-much-too-long-to-be-shown", "m"];
    (select(names.to_vec()), 0..4).prop_map(|(name, kind)| match kind {
        0 => Node::new(name).frozen(),
        1 => Node::new(name).with_pretrained("weights.safetensors"),
        _ => Node::new(name),
    })
}

fn gate(cut: f64) -> impl Strategy<Value = Gate> {
    (0.0..1.0, select(Gate::ALL.into_iter().filter(|gate| !gate.is_cut()).collect::<Vec<_>>()))
        .prop_map(move |(chance, gate)| if chance < cut { Gate::Cutoff } else { gate })
}

/// A graph of 2 to 6 nodes, from one without edges to one with all, with any designs or with those only whose texts have
/// several lines.
fn graph() -> impl Strategy<Value = Graph> {
    let mixed = Design::all().into_iter().filter(|design| design.direction().is_none()).collect();
    prop_oneof![graph_of(Design::all()), graph_of(mixed)]
}

fn graph_of(designs: Vec<Design>) -> impl Strategy<Value = Graph> {
    (2..=6_usize, select(vec![0.0, 0.0, 0.3, 0.7, 1.0])).prop_flat_map(move |(m, cut)| {
        let designs = designs.clone();
        let nodes = prop::collection::vec(node(), m);
        let labels = prop::collection::vec(gate(cut), m);
        let transfers = prop::collection::vec((select(designs), gate(cut)), m * m);
        (nodes, labels, transfers).prop_map(move |(nodes, labels, transfers)| {
            let mut graph = Graph::new(nodes);
            for (target, label) in labels.into_iter().enumerate() {
                graph.set_label_gate(target, label);
                for source in (0..m).filter(|source| *source != target) {
                    let (design, gate) = transfers[target * m + source];
                    graph.set_transfer(source, target, Some(Transfer::new(design, gate)));
                }
            }
            graph
        })
    })
}

/// Each text of an edge, and everything that it must not touch.
fn texts_and_shapes(layout: &Layout) -> (Vec<Strip>, Vec<Strip>) {
    (layout.transfers.iter().map(|edge| edge.text).collect(), layout.shapes().map(Strip::from).collect())
}

/// How often each line of each design's text is there.
fn texts_in(svg: &str, designs: &[Design]) -> BTreeMap<String, usize> {
    let lines = designs.iter().flat_map(|design| design.labels());
    let counted = lines.map(|line| (svg.matches(&format!(">{line}</text>")).count(), line));
    counted.filter(|(count, _)| *count > 0).map(|(count, line)| (line, count)).collect()
}

/// How often each line should be there: once for each edge that has it.
fn edge_texts<'a>(graphs: impl IntoIterator<Item = &'a Graph>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, _, transfer) in graphs.into_iter().flat_map(Graph::active_transfers) {
        for line in transfer.design.labels() {
            *counts.entry(line).or_default() += 1;
        }
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn texts_touch_nothing(graph in graph()) {
        let layout = arranged(&graph);
        let (texts, shapes) = texts_and_shapes(&layout);
        prop_assert_eq!(texts.len(), graph.active_transfers().count());
        for (i, text) in texts.iter().enumerate() {
            for other in texts[..i].iter().chain(&shapes) {
                prop_assert_eq!(text.depth(other), 0.0, "text {}: {:?} on {:?}", i, text, other);
            }
        }
        prop_assert_eq!(layout.trouble.collisions, 0.0);
        // Half a pixel for each is a corner here and there, not a line through a word.
        prop_assert!(layout.trouble.crossings <= 0.5 * texts.len() as f64, "{:?}", layout.trouble);
    }

    #[test]
    fn shapes_touch_nothing(graph in graph()) {
        let layout = arranged(&graph);
        let (_, shapes) = texts_and_shapes(&layout);
        for (i, shape) in shapes.iter().enumerate() {
            for other in &shapes[..i] {
                prop_assert_eq!(shape.depth(other), 0.0);
            }
        }
        for edge in &layout.transfers {
            let others = layout.nodes.iter().enumerate().filter(|(i, _)| ![edge.source, edge.target].contains(i));
            let shapes = others.map(|(_, node)| node.area).chain([layout.ensemble]);
            for shape in shapes.map(|area| area.inflate(6.0, 6.0)) {
                let points = points(&edge.curve, 100);
                prop_assert!(!points.iter().any(|point| ellipse_contains(&shape, *point)), "{}", edge.source);
            }
        }
    }

    #[test]
    fn arrow_heads_are_apart(graph in graph()) {
        let layout = arranged(&graph);
        let ends: Vec<_> = layout.transfers.iter().flat_map(|edge| [edge.curve.p0, edge.curve.p2]).collect();
        for (i, end) in ends.iter().enumerate() {
            for other in &ends[..i] {
                prop_assert!((*end - *other).length() > 11.0, "{:?} and {:?}", end, other);
            }
        }
    }

    #[test]
    fn every_edge_is_in_the_picture(graph in graph()) {
        let svg = svg(&graph);
        prop_assert!(Document::parse(&svg).is_ok());
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        prop_assert_eq!(texts_in(&svg, &Design::all()), edge_texts([&graph]));
        let labels = (0..graph.len()).filter(|target| !graph.label_gate(*target).is_cut()).count();
        prop_assert_eq!(svg.matches(">Label</text>").count(), labels);
        for (source, target, transfer) in graph.active_transfers() {
            let tooltip = format!("{} -&gt; {}: {}, {}<", source + 1, target + 1, transfer.design, transfer.gate);
            prop_assert!(svg.contains(&tooltip), "{}", tooltip);
        }
    }

    #[test]
    fn every_graph_is_on_the_sheet(graphs in prop::collection::vec(graph(), 1..5), columns in 0..6_usize) {
        let captions: Vec<String> = (1..=graphs.len()).map(|place| format!("{place}. trial {}", 7 * place)).collect();
        let shown: Vec<(&Graph, &str)> = graphs.iter().zip(&captions).map(|(g, c)| (g, c.as_str())).collect();
        let sheet = sheet(&shown, columns);
        prop_assert!(Document::parse(&sheet).is_ok());
        prop_assert!(!sheet.contains("NaN") && !sheet.contains("inf"));
        prop_assert_eq!(sheet.matches(">Ensemble</text>").count(), graphs.len());
        for caption in &captions {
            let escaped = format!(">{caption}</text>");
            prop_assert_eq!(sheet.matches(&escaped).count(), 1);
        }
        prop_assert_eq!(texts_in(&sheet, &Design::all()), edge_texts(&graphs));
    }

    #[test]
    fn the_same_graph_gives_the_same_picture(graph in graph()) {
        prop_assert_eq!(svg(&graph), svg(&graph.clone()));
    }
}
