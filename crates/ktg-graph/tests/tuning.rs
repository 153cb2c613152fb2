//! How a node learns: `strict`, `freeze` and `learning_rate_factor` for given weights, and `drop_path`.

use ktg_graph::{Document, Factor, Freeze, Graph, Node, presets};

const EXAMPLE: &str = r#"[nodes]
1 = { architecture = "a", pretrained = "w.pth", freeze = "backbone", learning_rate_factor = 0.1 }
2 = { architecture = "a", pretrained = "w.pth", strict = true, freeze = ["bn1", "conv1", "layer1"], learning_rate_factor = 0.0 }
3 = { architecture = "a", freeze = ["layer1"] }

[edges]
"label -> 1" = "through"
"#;

fn stages(names: &[&str]) -> Freeze {
    Freeze::stages(names.iter().map(|name| (*name).to_owned())).unwrap()
}

fn example() -> Graph {
    let start = Node::new("a").with_pretrained("w.pth");
    let mut graph = Graph::new(vec![
        Node { freeze: Some(Freeze::Backbone), learning_rate_factor: Factor::new(0.1), ..start.clone() },
        Node {
            strict: true,
            freeze: Some(stages(&["conv1", "bn1", "layer1"])),
            learning_rate_factor: Factor::new(0.0),
            ..start
        },
        Node { freeze: Some(stages(&["layer1"])), ..Node::new("a") },
    ]);
    graph.set_label_gate(0, ktg_graph::Gate::Through);
    graph
}

#[test]
fn they_are_read_and_written() {
    assert_eq!(Document::parse_toml(EXAMPLE, "g.toml").unwrap().graph, example());
    assert_eq!(example().to_toml(), EXAMPLE);
    assert_eq!(Document::parse_json(&example().to_json(), "g.json").unwrap().graph, example());
    assert_eq!(example().check(), Ok(()));
    // A stage alone, the backbone in a list, and whole numbers.
    let node = |fields: &str| {
        let text = format!("[nodes]\n1 = {{ architecture = \"a\", pretrained = \"w\", {fields} }}");
        Document::parse_toml(&text, "g.toml")
            .map(|document| document.graph.nodes()[0].clone())
            .map_err(|e| e.to_string())
    };
    assert_eq!(node("freeze = \"layer1\"").unwrap().freeze, Some(stages(&["layer1"])));
    assert_eq!(node("freeze = [\"backbone\"]").unwrap().freeze, Some(Freeze::Backbone));
    let dropping = Graph::new(vec![Node { drop_path: Factor::new(0.25), ..Node::new("a") }]);
    assert!(dropping.to_toml().contains("1 = { architecture = \"a\", drop_path = 0.25 }"), "{}", dropping.to_toml());
    assert_eq!(Document::parse_toml(&dropping.to_toml(), "g.toml").unwrap().graph, dropping);
    assert_eq!(node("learning_rate_factor = 2").unwrap().learning_rate_factor, Factor::new(2.0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let message = |fields: &str| {
        let text = format!("[nodes.1]\narchitecture = \"a\"\n{fields}");
        Document::parse_toml(&text, "g.toml").unwrap_err().to_string()
    };
    let kinds = "must be \"backbone\" or a list of stages such as [\"conv1\", \"bn1\", \"layer1\"]";
    for (fields, expected) in [
        ("strict = 1", "g.toml:3: \"strict\" of node 1 must be true or false, not a number"),
        (
            "strict = true",
            "g.toml:3: \"strict\" of node 1 is about a weights file; name one under \"pretrained\", or leave it out",
        ),
        (
            "learning_rate_factor = 0.5",
            "g.toml:3: \"learning_rate_factor\" of node 1 is about loaded weights; name a file under \"pretrained\", or leave it out",
        ),
        (
            "pretrained = \"w\"\nlearning_rate_factor = -1",
            "g.toml:4: \"learning_rate_factor\" of node 1 must be a number from 0 up, not -1",
        ),
        (
            "pretrained = \"w\"\nlearning_rate_factor = nan",
            "g.toml:4: \"learning_rate_factor\" of node 1 must be a number from 0 up, not NaN",
        ),
        (
            "pretrained = \"w\"\nlearning_rate_factor = \"0.1\"",
            "g.toml:4: \"learning_rate_factor\" of node 1 must be a number from 0 up, not a text",
        ),
        ("freeze = true", &format!("g.toml:3: \"freeze\" of node 1 {kinds}, not true or false")),
        ("freeze = []", &format!("g.toml:3: \"freeze\" of node 1 {kinds}; leave it out to freeze nothing")),
        ("freeze = [\n\"a\",\n3]", "g.toml:5: a stage in \"freeze\" of node 1 must be a text in quotes, not a number"),
        (
            "frozen = true\nfreeze = \"backbone\"",
            "g.toml:4: \"freeze\" of node 1 is too much: the whole node is frozen; leave one of them out",
        ),
        (
            "frozen = true\npretrained = \"w\"\nlearning_rate_factor = 1",
            "g.toml:5: \"learning_rate_factor\" of node 1 is too much: the node is frozen and learns nothing; leave one of them out",
        ),
        (
            "drop_path = 1",
            "g.toml:3: \"drop_path\" of node 1 must be below 1: it is how often the last block is dropped",
        ),
        ("drop_path = -0.1", "g.toml:3: \"drop_path\" of node 1 must be a number from 0 up, not -0.1"),
        (
            "frozen = true\ndrop_path = 0.1",
            "g.toml:4: \"drop_path\" of node 1 is too much: the node is frozen and drops nothing; leave one of them out",
        ),
    ] {
        assert_eq!(message(fields), expected, "{fields}");
    }
    let mut graph = presets::independent(1, "a");
    graph.node_mut(0).strict = true;
    assert_eq!(
        graph.check().unwrap_err().to_string(),
        "\"strict\" of node 1 is about a weights file; name one under \"pretrained\", or leave it out"
    );
}

#[test]
fn they_belong_to_what_a_graph_means() {
    let graph = |change: &dyn Fn(&mut Node)| {
        let mut graph = presets::dml(2, "a");
        graph.node_mut(0).pretrained = Some("w".to_owned());
        change(graph.node_mut(0));
        graph.hash()
    };
    let factor = |number: f64| move |node: &mut Node| node.learning_rate_factor = Factor::new(number);
    let freeze = |names: &'static [&'static str]| move |node: &mut Node| node.freeze = Some(stages(names));
    let hashes = [
        graph(&|_| ()),
        graph(&|node| node.strict = true),
        graph(&factor(1.0)),
        graph(&factor(0.1)),
        graph(&factor(0.0)),
        graph(&|node| node.freeze = Some(Freeze::Backbone)),
        graph(&freeze(&["a", "bc"])),
        graph(&freeze(&["ab", "c"])),
        graph(&freeze(&["abc"])),
        graph(&|node| node.frozen = true),
        graph(&|node| node.drop_path = Factor::new(0.1)),
        graph(&|node| node.drop_path = Factor::new(0.2)),
    ];
    let different: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len(), "{hashes:?}");
    assert_eq!(graph(&freeze(&["a", "bc"])), graph(&freeze(&["bc", "a"])), "the order of stages means nothing");
    // The numbering of the nodes means nothing here either.
    let (mut first, mut second) = (presets::dml(2, "a"), presets::dml(2, "a"));
    first.node_mut(0).freeze = Some(Freeze::Backbone);
    second.node_mut(1).freeze = Some(Freeze::Backbone);
    assert_eq!((first.hash(), first.canonical()), (second.hash(), second.canonical()));
    // Studies on disk refer to hashes.
    assert_eq!(example().hash().to_string(), "d7f9c1eb2b8332737830ad150c21becc");
}
