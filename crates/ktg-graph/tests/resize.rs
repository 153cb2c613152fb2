//! Edges whose source's attention maps are resized: read, written, and refused where there are none.

use ktg_graph::{Design, Document, Gate, Graph, Node, Transfer};

const EXAMPLE: &str = r#"[nodes]
1 = "a"
2 = "b"
3 = "b"

[edges]
"label -> 1" = "through"
"2 -> 1" = "attention apart, resize"
"1 -> 2" = "both closer, linear, resize"
"1 -> 3" = "attention closer, linear"
"#;

fn example() -> Graph {
    let mut graph = Graph::new(vec![Node::new("a"), Node::new("b"), Node::new("b")]);
    graph.set_label_gate(0, Gate::Through);
    graph.set_transfer(1, 0, Some(Transfer::new(Design::ATTENTION_APART, Gate::Through).resized()));
    graph.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_CLOSER, Gate::Linear).resized()));
    graph.set_transfer(0, 2, Some(Transfer::new(Design::ATTENTION_CLOSER, Gate::Linear)));
    graph
}

/// The graph with this edge, which is on line 5, or the message.
fn with_edge(edge: &str) -> Result<Graph, String> {
    let text = format!("[nodes]\n1 = \"a\"\n2 = \"b\"\n[edges]\n{edge}");
    let document = Document::parse_toml(&text, "g.toml");
    document.map(|document| document.graph).map_err(|error| error.to_string())
}

#[test]
fn it_is_read_and_written() {
    assert_eq!(Document::parse_toml(EXAMPLE, "g.toml").unwrap().graph, example());
    assert_eq!(example().to_toml(), EXAMPLE);
    assert_eq!(Document::parse_json(&example().to_json(), "g.json").unwrap().graph, example());
    let json = serde_json::to_value(example()).unwrap();
    assert_eq!(serde_json::from_value::<Graph>(json).unwrap(), example());
    assert_eq!(example().check(), Ok(()));
}

#[test]
fn other_spellings() {
    let transfer = |edge: &str| with_edge(edge).unwrap().transfer(1, 0);
    let resized = Some(Transfer::new(Design::ATTENTION_APART, Gate::Through).resized());
    let plain = Some(Transfer::new(Design::ATTENTION_APART, Gate::Through));
    for (edge, expected) in [
        ("\"2 -> 1\" = { design = \"attention apart\", resize = true }", resized),
        ("\"2 -> 1\" = { design = \"attention apart\", gate = \"through\", resize = true }", resized),
        ("\"2 -> 1\" = \" Att-apart ,through , Resize \"", resized),
        ("\"2 -> 1\" = { design = \"attention apart\", resize = false }", plain),
        ("\"2 -> 1\" = { design = \"attention apart\" }", plain),
    ] {
        assert_eq!(transfer(edge), expected, "{edge}");
    }
}

#[test]
fn it_stays_in_the_canonical_form_and_renumberings_mean_the_same() {
    let canonical = example().canonical();
    assert_eq!(canonical.active_transfers().filter(|(_, _, transfer)| transfer.resize).count(), 2);
    let renumbered = r#"[nodes]
        3 = "a"
        1 = "b"
        2 = "b"
        [edges]
        "label -> 3" = "through"
        "1 -> 3" = { design = "attention apart", resize = true }
        "3 -> 1" = "both closer, linear, resize"
        "3 -> 2" = "attention closer, linear""#;
    let renumbered = Document::parse_toml(renumbered, "g.toml").unwrap().graph;
    assert_eq!((renumbered.canonical(), renumbered.hash()), (canonical, example().hash()));
    let mut without = example();
    without.set_transfer(1, 0, Some(Transfer::new(Design::ATTENTION_APART, Gate::Through)));
    assert_ne!(without.hash(), example().hash());
}

#[test]
fn where_it_makes_no_sense_it_is_refused() {
    let message = |edge: &str| with_edge(edge).unwrap_err();
    let no_maps = "\"resize\" is about attention maps, which \"probability closer\" does not read; leave it out";
    assert_eq!(message("\"1 -> 2\" = \"probability closer, resize\""), format!("g.toml:5: {no_maps}"));
    assert_eq!(
        message("[edges.\"1 -> 2\"]\ndesign = \"prob closer\"\ngate = \"linear\"\nresize = true"),
        format!("g.toml:8: {no_maps}")
    );
    assert_eq!(
        message("\"1 -> 2\" = { design = \"attention apart\", resize = 1 }"),
        "g.toml:5: \"resize\" must be true or false, not a number"
    );
    assert_eq!(
        message("\"label -> 2\" = { gate = \"through\", resize = true }"),
        "g.toml:5: unknown key \"resize\"; valid keys: gate"
    );
    assert!(message("\"1 -> 2\" = \"resize\"").starts_with("g.toml:5: unknown design \"resize\""));
    assert!(message("\"1 -> 2\" = \"attention apart, resize, linear\"").starts_with("g.toml:5: unknown gate"));
}
