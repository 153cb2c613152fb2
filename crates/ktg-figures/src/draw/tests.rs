//! What holds for pictures of all graphs up to six nodes.

use proptest::prelude::*;
use proptest::sample::select;

use super::curve::{Area, Strip};
use super::layout::Layout;
use super::{sheet, svg};
use ktg_graph::Design;
use ktg_graph::Gate;
use ktg_graph::{Graph, Node, Transfer};

fn node() -> impl Strategy<Value = Node> {
    let names = ["abn-resnet-18", "resnet-50", "abn-resnet-cifar-110", "a-name-that-is-much-too-long-to-be-shown", "m"];
    (select(names.to_vec()), 0..4).prop_map(|(name, kind)| match kind {
        0 => Node::new(name).frozen(),
        1 => Node::new(name).with_pretrained("weights.safetensors"),
        _ => Node::new(name),
    })
}

fn gate(cut: f64) -> impl Strategy<Value = Gate> {
    (0.0..1.0, select(vec![Gate::Through, Gate::Linear, Gate::Correct]))
        .prop_map(move |(chance, gate)| if chance < cut { Gate::Cutoff } else { gate })
}

/// A graph of 2 to 6 nodes, from one without edges to one with all.
fn graph() -> impl Strategy<Value = Graph> {
    (2..=6_usize, select(vec![0.0, 0.0, 0.3, 0.7, 1.0])).prop_flat_map(|(m, cut)| {
        let nodes = prop::collection::vec(node(), m);
        let labels = prop::collection::vec(gate(cut), m);
        let transfers = prop::collection::vec((select(Design::ALL.to_vec()), gate(cut)), m * m);
        (nodes, labels, transfers).prop_map(move |(nodes, labels, transfers)| {
            let mut graph = Graph::new(nodes);
            for (target, label) in labels.into_iter().enumerate() {
                graph.set_label_gate(target, label);
                for source in (0..m).filter(|source| *source != target) {
                    let (design, gate) = transfers[target * m + source];
                    graph.set_transfer(source, target, Some(Transfer { design, gate }));
                }
            }
            graph
        })
    })
}

/// Each text of an edge, and everything that it must not touch.
fn texts_and_shapes(layout: &Layout) -> (Vec<Strip>, Vec<Strip>) {
    let labels = layout.labels.iter().map(|label| label.area);
    let shapes: Vec<Area> = layout.nodes.iter().map(|node| node.area).chain([layout.ensemble]).chain(labels).collect();
    (layout.transfers.iter().map(|edge| edge.text).collect(), shapes.into_iter().map(Strip::from).collect())
}

/// Whether the text is one element with all that was opened closed again, in a weak sense: there is no XML reader here.
fn well_formed(svg: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg.trim_end();
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        if text.contains('>') || text.split('&').skip(1).any(|part| !part.contains(';')) {
            return Err(format!("text {text:?}"));
        }
        let end = rest.find('>').ok_or("a tag without end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}>"));
            }
            if open.is_empty() {
                return if rest.is_empty() { Ok(()) } else { Err("more than one element".to_owned()) };
            }
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let quoted: Vec<&str> = attributes.split('"').collect();
        let names: Vec<&str> = quoted.iter().step_by(2).map(|name| name.trim()).collect();
        let well_named = |name: &&str| name.strip_suffix('=').is_some_and(|n| !n.is_empty() && !n.contains([' ', '=']));
        if names.split_last().is_none_or(|(last, names)| !last.is_empty() || !names.iter().all(well_named)) {
            return Err(format!("attributes {attributes:?}"));
        }
        if (1..names.len()).any(|i| names[i..].contains(&names[i - 1])) {
            return Err(format!("an attribute twice: {attributes:?}"));
        }
        if !closed {
            open.push(name);
        }
    }
    Err("the root is not closed".to_owned())
}

#[test]
fn what_is_not_well_formed_is_noticed() {
    for good in ["<a/><b></b>", "<a><b x=\"1\" y=\"2\"/>text &amp; more</a>"].map(|inner| format!("<r>{inner}</r>\n")) {
        assert_eq!(well_formed(&good), Ok(()));
    }
    for bad in
        ["<a>", "<a></b>", "<a x=1></a>", "<a x=\"1\" x=\"2\"/>", "<a/></a>", "<r>&</r>", "<r></r><r></r>", "<r/>"]
    {
        assert!(well_formed(bad).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn texts_touch_nothing(graph in graph()) {
        let layout = Layout::of(&graph);
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
        let layout = Layout::of(&graph);
        let (_, shapes) = texts_and_shapes(&layout);
        for (i, shape) in shapes.iter().enumerate() {
            for other in &shapes[..i] {
                prop_assert_eq!(shape.depth(other), 0.0);
            }
        }
        for edge in &layout.transfers {
            let others = layout.nodes.iter().enumerate().filter(|(i, _)| ![edge.source, edge.target].contains(i));
            let shapes = others.map(|(_, node)| node.area).chain([layout.ensemble]);
            for shape in shapes.map(|area| area.grown(6.0)) {
                let points = edge.curve.points(100);
                prop_assert!(!points.iter().any(|point| shape.ellipse_contains(*point)), "{}", edge.source);
            }
        }
    }

    #[test]
    fn arrow_heads_are_apart(graph in graph()) {
        let layout = Layout::of(&graph);
        let ends: Vec<_> = layout.transfers.iter().flat_map(|edge| [edge.curve.from, edge.curve.to]).collect();
        for (i, end) in ends.iter().enumerate() {
            for other in &ends[..i] {
                prop_assert!((*end - *other).length() > 11.0, "{:?} and {:?}", end, other);
            }
        }
    }

    #[test]
    fn every_edge_is_in_the_picture(graph in graph()) {
        let svg = svg(&graph);
        prop_assert_eq!(well_formed(&svg), Ok(()));
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        for design in Design::ALL {
            let edges = graph.active_transfers().filter(|(_, _, transfer)| transfer.design == design).count();
            prop_assert_eq!(svg.matches(&format!(">{}</text>", design.label())).count(), edges);
        }
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
        prop_assert_eq!(well_formed(&sheet), Ok(()));
        prop_assert!(!sheet.contains("NaN") && !sheet.contains("inf"));
        prop_assert_eq!(sheet.matches("<svg").count(), graphs.len() + 1);
        for caption in &captions {
            let escaped = format!(">{caption}</text>");
            prop_assert_eq!(sheet.matches(&escaped).count(), 1);
        }
        let edges: usize = graphs.iter().map(|graph| graph.active_transfers().count()).sum();
        let labels = Design::ALL.map(|design| sheet.matches(&format!(">{}</text>", design.label())).count());
        prop_assert_eq!(labels.iter().sum::<usize>(), edges);
    }

    #[test]
    fn the_same_graph_gives_the_same_picture(graph in graph()) {
        prop_assert_eq!(svg(&graph), svg(&graph.clone()));
    }
}
