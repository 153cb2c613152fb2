//! Graph files: what is accepted, and the message and place for everything that is not.

use std::path::Path;

use ktg_graph::{Design, Document, Gate, Graph, Node, Transfer};

const EXAMPLE: &str = r#"name = "diverse-2"
[nodes]
1 = "abn-resnet-18"
2 = { architecture = "abn-resnet-34", pretrained = "teacher.safetensors" }
3 = { architecture = "abn-resnet-50", frozen = true }
[edges]
"label -> 1" = "through"
" label->2 " = { gate = "linear" }
"1 -> 2" = "attention apart, linear"
"2->1" = { design = "probability closer", gate = "correct" }
"3 -> 1" = "att-apart"
"3 -> 2" = { design = "both_closer" }
"#;

fn transfer(design: Design, gate: Gate) -> Option<Transfer> {
    Some(Transfer::new(design, gate))
}

fn example() -> Graph {
    let mut graph = Graph::new(vec![
        Node::new("abn-resnet-18"),
        Node::new("abn-resnet-34").with_pretrained("teacher.safetensors"),
        Node::new("abn-resnet-50").frozen(),
    ]);
    graph.name = Some("diverse-2".to_owned());
    graph.set_label_gate(0, Gate::Through);
    graph.set_label_gate(1, Gate::Linear);
    graph.set_transfer(0, 1, transfer(Design::ATTENTION_APART, Gate::Linear));
    graph.set_transfer(1, 0, transfer(Design::PROBABILITY_CLOSER, Gate::Correct));
    graph.set_transfer(2, 0, transfer(Design::ATTENTION_APART, Gate::Through));
    graph.set_transfer(2, 1, transfer(Design::BOTH_CLOSER, Gate::Through));
    graph
}

#[test]
fn reads_all_spellings() {
    let document = Document::parse_toml(EXAMPLE, "g.toml").unwrap();
    assert_eq!(document.graph, example());
}

#[test]
fn writes_what_people_would_write() {
    let text = example().to_toml();
    assert_eq!(
        text,
        r#"name = "diverse-2"

[nodes]
1 = "abn-resnet-18"
2 = { architecture = "abn-resnet-34", pretrained = "teacher.safetensors" }
3 = { architecture = "abn-resnet-50", frozen = true }

[edges]
"label -> 1" = "through"
"label -> 2" = "linear"
"2 -> 1" = "probability closer, correct"
"3 -> 1" = "attention apart"
"1 -> 2" = "attention apart, linear"
"3 -> 2" = "both closer"
"#
    );
    assert_eq!(Document::parse_toml(&text, "").unwrap().graph, example());
}

#[test]
fn json_has_the_same_structure() {
    let json = example().to_json();
    assert_eq!(Document::parse_json(&json, "").unwrap().graph, example());
    assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), example());
    assert_eq!(toml::from_str::<Graph>(EXAMPLE).unwrap(), example());
    let same = serde_json::to_value(example()).unwrap();
    assert_eq!(same, serde_json::from_str::<serde_json::Value>(&json).unwrap());
    let error = serde_json::from_str::<Graph>("{}").unwrap_err().to_string();
    assert!(error.starts_with("the graph has no nodes"), "{error}");
}

#[test]
fn any_text_comes_back() {
    let mut graph = Graph::new(vec![Node::new("\u{7f} ''' \\ \"\"\"").with_pretrained("a\r\nb\tc\0")]);
    for name in ["\r\n", "\n\r", "'\"\n'''\"\"\"", "# [x]\n1 = 2", "\u{2028}\u{85}\u{feff}", " "] {
        graph.name = Some(name.to_owned());
        assert_eq!(Document::parse_json(&graph.to_json(), "").unwrap().graph, graph, "{name:?}");
        assert_eq!(Document::parse_toml(&graph.to_toml(), "").unwrap().graph, graph, "{name:?}");
    }
}

#[test]
fn later_errors_find_the_line() {
    let document = Document::parse_toml(EXAMPLE, "g.toml").unwrap();
    let node = document.node_error(1, "unknown architecture");
    assert_eq!(node.to_string(), "g.toml:4: unknown architecture");
    let edge = |source, target| document.edge_error(source, target, "x").to_string();
    assert_eq!(edge(None, 1), "g.toml:8: x");
    assert_eq!(edge(Some(1), 0), "g.toml:10: x");
    // An edge that is not written is reported at its target.
    assert_eq!(edge(Some(0), 2), "g.toml:5: x");
    assert_eq!(document.node_error(9, "x").to_string(), "g.toml: x");
}

/// The whole message for a wrong TOML file.
fn toml_error(text: &str) -> String {
    Document::parse_toml(text, "g.toml").unwrap_err().to_string()
}

fn json_error(text: &str) -> String {
    Document::parse_json(text, "g.json").unwrap_err().to_string()
}

/// The message for lines of edges, the first of which is line 6, in a graph of two nodes and a
/// frozen third.
fn edge_error(edges: &str) -> String {
    let nodes = "[nodes]\n1 = \"a\"\n2 = \"a\"\n3 = { architecture = \"a\", frozen = true }\n";
    toml_error(&format!("{nodes}[edges]\n{edges}"))
}

#[test]
fn wrong_edges() {
    for (edges, message) in [
        (
            "\"1 -> 1\" = \"both apart\"",
            "g.toml:6: edge \"1 -> 1\" would make a node teach itself; an edge needs two different nodes",
        ),
        ("\"1 -> 4\" = \"both apart\"", "g.toml:6: there is no node 4 in edge \"1 -> 4\"; the graph has nodes 1 to 3"),
        (
            "\"0 -> 1\" = \"both apart\"",
            "g.toml:6: \"0\" in edge \"0 -> 1\" is not a node; use a node's number, or \"label\" as the source",
        ),
        (
            "\"lable -> 1\" = \"through\"",
            "g.toml:6: \"lable\" in edge \"lable -> 1\" is not a node; use a node's number, or \"label\" as the source",
        ),
        (
            "\"1 -> label\" = \"both apart\"",
            "g.toml:6: an edge cannot end at the label, which learns nothing; did you mean \"label -> 1\"?",
        ),
        (
            "\"1 -> ensemble\" = \"both apart\"",
            "g.toml:6: the ensemble node is implied and averages all nodes, so edges of it are not written; remove this edge",
        ),
        (
            "\"ensemble -> 1\" = \"both apart\"",
            "g.toml:6: the ensemble node is implied and averages all nodes, so edges of it are not written; remove this edge",
        ),
        ("\"1 to 2\" = \"both apart\"", "g.toml:6: an edge is written \"1 -> 2\" or \"label -> 1\", not \"1 to 2\""),
        (
            "\"1 -> 2 -> 1\" = \"both apart\"",
            "g.toml:6: an edge is written \"1 -> 2\" or \"label -> 1\", not \"1 -> 2 -> 1\"",
        ),
        (
            "\"1 -> 2\" = \"both apart\"\n\n\"1->2\" = \"both apart\"",
            "g.toml:8: edge \"1 -> 2\" is written twice, first on line 6; remove one",
        ),
        (
            "\"1 -> 2\" = \"both part\"",
            "g.toml:6: unknown design \"both part\"; did you mean \"both apart\"? valid designs: probability closer, probability apart, attention closer, attention apart, both closer, both apart, relation closer, relation apart",
        ),
        (
            "\"1 -> 2\" = \"both apart, liner\"",
            "g.toml:6: unknown gate \"liner\"; did you mean \"linear\"? valid gates: through, cutoff, linear, correct, falling",
        ),
        (
            "\"1 -> 2\" = \"both apart, linear, x\"",
            "g.toml:6: unknown gate \"linear, x\"; did you mean \"linear\"? valid gates: through, cutoff, linear, correct, falling",
        ),
        (
            "\"1 -> 2\" = \"probability closer +\"",
            "g.toml:6: a term is missing after \"+\" in the design \"probability closer +\"",
        ),
        (
            "\"1 -> 2\" = \"probability closer + + attention apart, linear\"",
            "g.toml:6: a term is missing after \"+\" in the design \"probability closer + + attention apart\"",
        ),
        (
            "\"1 -> 2\" = { design = \"+ attention apart\" }",
            "g.toml:6: a term is missing before \"+\" in the design \"+ attention apart\"",
        ),
        (
            "\"1 -> 2\" = \"probability closer, attention apart\"",
            "g.toml:6: terms of a design are joined by \" + \"; write \"probability closer + attention apart\"",
        ),
        (
            "\"1 -> 2\" = \"prob closer + att apart, relation closer, linear\"",
            "g.toml:6: terms of a design are joined by \" + \"; write \"prob closer + att apart + relation closer, linear\"",
        ),
        (
            "\"1 -> 2\" = { design = \"probability closer, attention apart\" }",
            "g.toml:6: terms of a design are joined by \" + \"; write \"probability closer + attention apart\"",
        ),
        (
            "\"1 -> 2\" = \"linear\"",
            "g.toml:6: a transfer edge needs a design before its gate, such as \"probability closer, linear\"; leave the edge out to cut it",
        ),
        (
            "\"1 -> 2\" = { gate = \"linear\" }",
            "g.toml:6: edge \"1 -> 2\" has no \"design\", such as \"probability closer\"",
        ),
        (
            "[edges.\"1 -> 2\"]\ndesign = \"both apart\"\ngate = \"x\"",
            "g.toml:8: unknown gate \"x\"; valid gates: through, cutoff, linear, correct, falling",
        ),
        (
            "[edges.\"1 -> 2\"]\ndesign = \"both apart\"\ngates = \"x\"",
            "g.toml:8: unknown key \"gates\"; did you mean \"gate\"? valid keys: design, gate, resize",
        ),
        ("\"1 -> 2\" = 1", "g.toml:6: a transfer edge must be a text in quotes, not a number"),
        ("\"1 -> 2\" = \"\"", "g.toml:6: a transfer edge is empty"),
        ("\"1 -> 2\" = { design = 1979-05-27 }", "g.toml:6: \"design\" must be a text in quotes, not a date"),
        (
            "\"label -> 1\" = \"thru\"",
            "g.toml:6: unknown gate \"thru\"; did you mean \"through\"? valid gates: through, cutoff, linear, correct, falling",
        ),
        (
            "\"label -> 1\" = \"both apart, linear\"",
            "g.toml:6: a label edge has a gate but no design; write \"through\" instead of \"both apart, linear\"",
        ),
        ("\"label -> 1\" = { design = \"both apart\" }", "g.toml:6: unknown key \"design\"; valid keys: gate"),
        ("\"label -> 1\" = {}", "g.toml:6: the gate of a label edge must be a text in quotes, not a table"),
        (
            "\"1 -> 2\" = \"both apart\"\n\"1 -> 3\" = \"both apart\"",
            "g.toml:7: edge \"1 -> 3\" would train node 3, which is frozen; remove the edge or \"frozen\" of node 3",
        ),
        (
            "\"label -> 3\" = \"through\"",
            "g.toml:6: edge \"label -> 3\" would train node 3, which is frozen; remove the edge or \"frozen\" of node 3",
        ),
    ] {
        assert_eq!(edge_error(edges), message, "{edges}");
    }
    // Cut edges into a frozen node do nothing.
    let cut = "[nodes]\n1 = \"a\"\n2 = { architecture = \"a\", frozen = true }\n\
               [edges]\n\"label -> 2\" = \"cutoff\"\n\"1 -> 2\" = \"both apart, cutoff\"";
    assert!(Document::parse_toml(cut, "").is_ok());
}

#[test]
fn wrong_nodes_and_files() {
    let many: String = (1..=65).map(|i| format!("{i} = \"a\"\n")).collect();
    let many = format!("[nodes]\n{many}");
    for (text, message) in [
        ("", "g.toml:1: the graph has no nodes; list them under \"nodes\", such as 1 = \"abn-resnet-18\""),
        ("\n[nodes]\n", "g.toml:2: the graph has no nodes; list them under \"nodes\", such as 1 = \"abn-resnet-18\""),
        ("nodes = 3", "g.toml:1: \"nodes\" must be a table of keys and values, not a number"),
        (
            "[nodes]\n1 = \"a\"\n[edge]",
            "g.toml:3: unknown key \"edge\"; did you mean \"edges\"? valid keys: name, nodes, edges",
        ),
        ("name = 3\n[nodes]\n1 = \"a\"", "g.toml:1: \"name\" must be a text in quotes, not a number"),
        ("edges = []\n[nodes]\n1 = \"a\"", "g.toml:1: \"edges\" must be a table of keys and values, not a list"),
        (
            "[nodes]\n1 = \"a\"\n3 = \"a\"",
            "g.toml:3: nodes must be numbered from 1 without gaps, but there is a node 3 and no node 2",
        ),
        ("[nodes]\n1 = \"a\"\n01 = \"a\"", "g.toml:3: a node's key must be its number 1, 2, 3 and so on, not \"01\""),
        ("[nodes]\nx = \"a\"", "g.toml:2: a node's key must be its number 1, 2, 3 and so on, not \"x\""),
        ("[nodes]\n1 = \"\"", "g.toml:2: node 1 is empty"),
        (
            "[nodes]\n1 = true",
            "g.toml:2: node 1 must be the name of an architecture or a table such as { architecture = \"abn-resnet-18\", frozen = true }, not true or false",
        ),
        ("[nodes]\n1 = { frozen = true }", "g.toml:2: node 1 has no \"architecture\", such as \"abn-resnet-18\""),
        ("[nodes.1]\narchitecture = 18", "g.toml:2: \"architecture\" of node 1 must be a text in quotes, not a number"),
        (
            "[nodes.1]\narchitecture = \"a\"\nfrozen = \"yes\"",
            "g.toml:3: \"frozen\" of node 1 must be true or false, not a text",
        ),
        (
            "[nodes.1]\narchitecture = \"a\"\npretrained = true",
            "g.toml:3: \"pretrained\" of node 1 must be a text in quotes, not true or false",
        ),
        (
            "[nodes.1]\narchitecture = \"a\"\npretraind = \"b\"",
            "g.toml:3: unknown key \"pretraind\"; did you mean \"pretrained\"? valid keys: architecture, pretrained, frozen, strict, freeze, learning_rate_factor, drop_path",
        ),
        (&many, "g.toml:66: a graph can have at most 64 nodes, but this is one more"),
    ] {
        assert_eq!(toml_error(text), message, "{text}");
    }
    assert!(toml_error("[nodes]\n1 = \"a\"\n1 = \"b\"").starts_with("g.toml:3: this is not valid TOML: duplicate key"));
    assert!(toml_error("[nodes]\n1 = \"a\n").starts_with("g.toml:2: this is not valid TOML: "));
    assert!(toml_error("[nodes]\n1 = \"a\"\n[edges]\n1 -> 2 = \"both apart\"").starts_with("g.toml:4: "));
}

#[test]
fn wrong_json() {
    let edge = |edges: &str| {
        json_error(&format!("{{\n\"nodes\": {{\"1\": \"a\",\n\"2\": \"a\"}},\n\"edges\": {{\n{edges}\n}}\n}}"))
    };
    for (message, expected) in [
        (json_error("{\"nodes\":\n [}"), "g.json:2: this is not valid JSON: expected value"),
        (
            json_error("{\n\"nodes\": {\n\"1\": \"\\ud800\"}}"),
            "g.json:3: this is not valid JSON: unexpected end of hex escape",
        ),
        (json_error(""), "g.json:1: this is not valid JSON: EOF while parsing a value"),
        (json_error("[]"), "g.json:1: invalid type: sequence, expected a map"),
        (
            json_error("{\"nodes\": {\"1\":\nnull}}"),
            "g.json:2: invalid type: null, expected a text, true or false, or a table of keys and values",
        ),
        (json_error("{\"nodes\": {\n\"1\": \"a\",\n\"1\": \"b\"}}"), "g.json:3: duplicate key: `1`"),
        (json_error("{\"nodes\": {\"1\": \"a\"},\n\"nodes\": {}}"), "g.json:2: duplicate key: `nodes`"),
        (edge("\"1 -> 2\": \"both apart\",\n\"1 -> 2\": \"both apart\""), "g.json:6: duplicate key: `1 -> 2`"),
        // From here on the keys lead to the place.
        (json_error("{\"nodes\": []}"), "g.json: nodes: \"nodes\" must be a table of keys and values, not a list"),
        (
            json_error("{\"edges\": {}}"),
            "g.json: the graph has no nodes; list them under \"nodes\", such as 1 = \"abn-resnet-18\"",
        ),
        (
            json_error("{\"nodes\": {\"1\": 3}}"),
            "g.json: nodes[\"1\"]: node 1 must be the name of an architecture or a table such as { architecture = \"abn-resnet-18\", frozen = true }, not a number",
        ),
        (
            json_error("{\"nodes\": {\"1\": {\"architecture\": \"a\", \"frozen\": 1}}}"),
            "g.json: nodes[\"1\"][\"frozen\"]: \"frozen\" of node 1 must be true or false, not a number",
        ),
        (
            json_error("{\"nodes\": {\"1\": \"a\"},\n\"names\": {}}"),
            "g.json: names: unknown key \"names\"; did you mean \"name\"? valid keys: name, nodes, edges",
        ),
        (
            edge("\"1 -> 3\": \"both apart\""),
            "g.json: edges[\"1 -> 3\"]: there is no node 3 in edge \"1 -> 3\"; the graph has nodes 1 to 2",
        ),
        (
            edge("\"1 -> 2\": {\n\"design\": \"both apart\",\n\"gate\": \"x\"}"),
            "g.json: edges[\"1 -> 2\"][\"gate\"]: unknown gate \"x\"; valid gates: through, cutoff, linear, correct, falling",
        ),
        (
            edge("\"1 -> 2\": \"both apart\",\n\"1->2\": \"both apart\""),
            "g.json: edges[\"1->2\"]: edge \"1 -> 2\" is written twice; remove one",
        ),
    ] {
        assert_eq!(message, expected);
    }
    // Neither deep nesting nor any other text overflows the stack.
    let deep = format!("{{\"nodes\": {}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(json_error(&deep).starts_with("g.json:1: "));
    let deep = format!("nodes = {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(toml_error(&deep).starts_with("g.toml:1: "));
}

#[test]
fn later_errors_find_the_key_in_json() {
    let document = Document::parse_json(&example().to_json(), "g.json").unwrap();
    assert_eq!(document.node_error(1, "x").to_string(), "g.json: nodes[\"2\"]: x");
    assert_eq!(document.edge_error(Some(0), 1, "x").to_string(), "g.json: edges[\"1 -> 2\"]: x");
    assert_eq!(document.edge_error(Some(0), 2, "x").to_string(), "g.json: nodes[\"3\"]: x");
}

#[test]
fn reads_by_extension() {
    let folder = std::env::temp_dir().join(format!("ktg-graph-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let toml = write("g.TOML", format!("\u{feff}{EXAMPLE}").as_bytes());
    assert_eq!(Document::read(&toml).unwrap().graph, example());
    let json = write("g.json", example().to_json().as_bytes());
    assert_eq!(Document::read(&json).unwrap().graph, example());

    let message = |path: &Path| {
        let text = Document::read(path).unwrap_err().to_string();
        text.strip_prefix(&path.display().to_string()).expect("the file's name comes first").to_owned()
    };
    let other = write("g.yaml", b"");
    assert_eq!(message(&other), ": the name of a graph file must end in .toml or .json");
    let latin = write("latin.toml", b"[nodes]\n1 = \"\xe9\"");
    assert_eq!(message(&latin), ":2: this is not UTF-8 text; save the file as UTF-8");
    assert!(message(&folder.join("none.toml")).starts_with(": cannot read the file: "));
    std::fs::remove_dir_all(&folder).unwrap();
}
