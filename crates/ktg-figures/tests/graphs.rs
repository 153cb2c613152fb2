//! Pictures of graphs show what the graphs say.

use ktg_figures::draw::{dot, sheet, svg};
use ktg_graph::{Design, Direction, Gate, Graph, Node, Transfer, presets};

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

/// Two nodes, one of which teaches a design to the other, whose label is cut.
fn one_edge(design: Design, gate: Gate) -> Graph {
    let mut graph = presets::independent(2, "a");
    graph.set_label_gate(1, Gate::Cutoff);
    graph.set_transfer(0, 1, Some(Transfer::new(design, gate)));
    graph
}

#[test]
fn a_mixed_design_has_a_line_of_its_own_and_a_text_for_each_term() {
    let mixed: Design = "probability closer + attention apart".parse().unwrap();
    let picture = svg(&one_edge(mixed, Gate::Falling));
    assert_eq!(picture.matches(">Prob closer<").count(), 1);
    assert_eq!(picture.matches(">Attention apart<").count(), 1);
    assert!(picture.contains("1 -&gt; 2: probability closer + attention apart, falling"));
    assert!(picture.contains(">mixed</text>") && !picture.contains(">closer</text>"), "{picture}");
    // In the picture and in the legend.
    assert_eq!(picture.matches("stroke-dasharray=\"9 3 2 3\"").count(), 2);
    assert_eq!(picture.matches("stroke-dasharray").count(), 2);

    let dot = dot(&one_edge(mixed, Gate::Falling));
    assert!(dot.contains("1 -> 2 [label=\"Prob closer\\nAttention apart\", style=dotted, color="), "{dot}");
    assert!(dot.contains("tooltip=\"falling\""), "{dot}");
}

#[test]
fn the_line_of_every_design_says_its_direction() {
    for design in Design::all() {
        let picture = svg(&one_edge(design, Gate::Through));
        let (pattern, name) = match design.direction() {
            Some(Direction::Closer) => (None, "closer"),
            Some(Direction::Apart) => (Some("stroke-dasharray=\"6 4\""), "apart"),
            None => (Some("stroke-dasharray=\"9 3 2 3\""), "mixed"),
        };
        let shown: Vec<&str> = ["closer", "apart", "mixed"]
            .into_iter()
            .filter(|word| picture.contains(&format!(">{word}</text>")))
            .collect();
        assert_eq!(shown, [name], "{design}");
        let patterned = picture.matches("stroke-dasharray").count();
        assert_eq!(patterned, if pattern.is_some() { 2 } else { 0 }, "{design}");
        assert!(pattern.is_none_or(|pattern| picture.matches(pattern).count() == 2), "{design}");
    }
}
