//! Pictures of graphs show what the graphs say.

use ktg_figures::draw::{dot, sheet, svg};
use ktg_graph::{Node, presets};

#[test]
fn shows_what_the_graph_says() {
    let svg = svg(&presets::kd(3, "student", Node::new("teacher")));
    assert_eq!(svg.matches(">Label<").count(), 2);
    assert_eq!(svg.matches(">Prob closer<").count(), 2);
    assert_eq!(svg.matches(">frozen<").count(), 1);
    assert_eq!(svg.matches(">student<").count(), 2);
    assert!(svg.contains("1 -&gt; 3: probability closer, through"));
    assert!(svg.contains(">through</text>") && !svg.contains(">linear</text>"));
    assert!(svg.contains(">closer</text>") && !svg.contains(">apart</text>"));
    assert!(!svg.contains("NaN"));
}

#[test]
fn text_is_escaped() {
    let mut graph = presets::independent(1, "<a&\"b\">");
    graph.name = Some("x\u{7}</svg>".to_owned());
    let svg = svg(&graph);
    assert!(svg.contains("&lt;a&amp;&quot;b&quot;&gt;"));
    assert!(svg.contains("<title>x\u{fffd}&lt;/svg&gt;</title>"));
    assert_eq!(svg.matches("</svg>").count(), 1);
}

#[test]
fn any_size_can_be_drawn() {
    for m in [0, 1, 20] {
        let svg = svg(&presets::dml(m, &"long ".repeat(30)));
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "M = {m}");
    }
}

#[test]
fn a_sheet_shows_every_graph_with_its_caption() {
    let (two, three) = (presets::dml(2, "a"), presets::independent(3, "b"));
    let svg = sheet(&[(&two, "1. trial 42, 78.30 %"), (&three, "2. <trial>"), (&two, "")], 2);
    assert_eq!(svg.matches(">Ensemble<").count(), 3);
    assert_eq!(svg.matches(">Prob closer<").count(), 4);
    assert!(svg.contains(">1. trial 42, 78.30 %</text>") && svg.contains(">2. &lt;trial&gt;</text>"));
    assert_eq!(svg.matches(">through</text>").count(), 1, "one legend");
}

#[test]
fn a_sheet_may_be_empty_or_narrow() {
    assert_eq!(sheet(&[], 0).matches("<svg").count(), 1);
    let graph = presets::diverse(2, "a").expect("exists");
    assert_eq!(sheet(&[(&graph, "x")], 0), sheet(&[(&graph, "x")], 7));
}

#[test]
fn graphviz_gets_every_edge_that_is_not_cut() {
    let graph = presets::kd(3, "student", Node::new("teacher"));
    let dot = dot(&graph);
    assert_eq!(dot.matches("label ->").count(), 2);
    assert_eq!(dot.matches("Prob closer").count(), 2);
    assert_eq!(dot.matches("-> ensemble").count(), 3);
    assert!(dot.contains("1\\nteacher\\n(frozen)"), "{dot}");
}

#[test]
fn names_are_quoted_for_graphviz() {
    let mut graph = presets::independent(1, "a\"b\\c");
    graph.name = Some("x\"; y\n".to_owned());
    let dot = dot(&graph);
    assert!(dot.starts_with("digraph \"x\\\"; y\\n\" {"), "{dot}");
    assert!(dot.contains("1\\na\\\"b\\\\c"), "{dot}");
}
