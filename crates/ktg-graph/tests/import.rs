//! Import of the authors' `config.json`.

use ktg_graph::{Design, Document, Gate, Graph, Node, Transfer, import_authors_config};
use serde_json::{Value, json};

fn loss(name: &str, gate: &str, soft: i32, attention: i32) -> Value {
    json!({"name": name, "args": {
        "T": 1, "loss_weight": 1, "gate": {"name": gate, "args": {}},
        "soft_loss_positive": soft, "att_loss_positive": attention,
    }})
}

fn cut() -> Value {
    loss("IndependentLoss", "CutoffGate", 1, 1)
}

/// Two networks: 1 learns from the label, 2 also from 1.
fn config() -> Value {
    json!({
        "doc": "ignored",
        "models": [
            {"name": "Ensemble", "args": {"source_list": [1, 2]}, "load_weight": {"path": null}},
            {"name": "resnet18_abn", "args": {"pre_ABN": false}, "load_weight": {"path": null}},
            {"name": "resnet20", "args": {}, "load_weight": {"path": "w.pkl", "model_id": 0}},
        ],
        "losses": [
            [cut(), cut(), cut()],
            [cut(), loss("IndependentLoss", "ThroughGate", 1, 1), loss("KLLoss", "CutoffGate", 1, 1)],
            [cut(), loss("KL_AttLoss", "LinearGate", 0, 0), loss("IndependentLoss", "CorrectGate", 1, 1)],
        ],
        "gpu": {"id": 0},
    })
}

fn mixed(name: &str) -> Design {
    name.parse().unwrap()
}

fn expected(design: Design, gate: Gate) -> Graph {
    let second = Node::new("resnet-cifar-20").with_pretrained("w.pkl");
    let mut graph = Graph::new(vec![Node::new("abn-resnet-18"), second]);
    graph.set_label_gate(0, Gate::Through);
    graph.set_label_gate(1, Gate::Correct);
    graph.set_transfer(0, 1, Some(Transfer::new(design, gate)));
    graph
}

#[test]
fn imports_targets_as_rows() {
    let graph = import_authors_config(&config().to_string(), "config.json");
    assert_eq!(graph, Ok(expected(Design::BOTH_APART, Gate::Linear)));
}

#[test]
fn imports_every_design_and_gate() {
    let designs = [
        ("KLLoss", 1, 0, Design::PROBABILITY_CLOSER),
        ("KLLoss", 0, 1, Design::PROBABILITY_APART),
        ("AttLoss", 0, 1, Design::ATTENTION_CLOSER),
        ("AttLoss", 1, 0, Design::ATTENTION_APART),
        ("KL_AttLoss", 1, 1, Design::BOTH_CLOSER),
        ("KL_AttLoss", 0, 0, Design::BOTH_APART),
        ("KL_AttLoss", 1, 0, mixed("probability closer + attention apart")),
        ("KL_AttLoss", 0, 1, mixed("probability apart + attention closer")),
    ];
    let gates = [
        ("ThroughGate", Gate::Through),
        ("LinearGate", Gate::Linear),
        ("PositiveLinearGate", Gate::Linear),
        ("NegativeLinearGate", Gate::Falling),
        ("CorrectGate", Gate::Correct),
    ];
    for (name, soft, attention, design) in designs {
        for (gate_name, gate) in gates {
            let mut config = config();
            config["losses"][2][1] = loss(name, gate_name, soft, attention);
            let graph = import_authors_config(&config.to_string(), "");
            assert_eq!(graph, Ok(expected(design, gate)), "{name} {gate_name}");
        }
    }
}

#[test]
fn imports_every_network() {
    for (theirs, ours) in [
        ("resnet34_abn", "abn-resnet-34"),
        ("resnet50", "resnet-50"),
        ("resnet110_abn", "abn-resnet-cifar-110"),
        ("resnet44", "resnet-cifar-44"),
        ("resnet18_vanilla", "resnet-18"),
        ("ResNet20_ABN", "abn-resnet-cifar-20"),
    ] {
        let mut config = config();
        config["models"][1]["name"] = json!(theirs);
        let graph = import_authors_config(&config.to_string(), "").unwrap();
        assert_eq!(graph.nodes()[0].architecture, ours);
    }
}

/// As DCL writes it: no ensemble, and a loss that has no flag because it always brings closer.
fn config_of_dcl() -> Value {
    let loss = |name: &str, gate: &str| json!({"name": name, "args": {"T": 1, "loss_weight": 1, "gate": {"name": gate, "args": {}}}});
    json!({
        "models": [
            {"name": "resnet32", "args": {}, "load_weight": {"path": null}},
            {"name": "resnet110", "args": {}, "load_weight": {"path": "./pre-train/ResNet110.pkl", "model_id": 0}},
        ],
        "losses": [
            [loss("IndependentLoss", "LinearGate"), loss("KLLoss", "CorrectGate")],
            [loss("KLLoss", "CutoffGate"), loss("IndependentLoss", "CutoffGate")],
        ],
    })
}

#[test]
fn a_file_without_an_ensemble_node_is_read() {
    let graph = import_authors_config(&config_of_dcl().to_string(), "").unwrap();
    let teacher = Node::new("resnet-cifar-110").with_pretrained("./pre-train/ResNet110.pkl");
    let mut expected = Graph::new(vec![Node::new("resnet-cifar-32"), teacher]);
    expected.set_label_gate(0, Gate::Linear);
    let transfer = Transfer::new(Design::PROBABILITY_CLOSER, Gate::Correct);
    expected.set_transfer(1, 0, Some(transfer));
    assert_eq!(graph, expected);
}

#[test]
fn networks_that_do_not_exist_here_are_named() {
    let mut config = config_of_dcl();
    config["models"][1] = json!({"name": "WideResNet", "args": {"depth": 28, "widen_factor": 2}});
    let error = import_authors_config(&config.to_string(), "c.json").unwrap_err().to_string();
    assert!(error.starts_with("c.json: models[1]: unknown network \"WideResNet\"; "), "{error}");
}

#[test]
fn a_file_is_recognised() {
    let folder = std::env::temp_dir().join(format!("ktg-import-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.json");
    std::fs::write(&path, format!("{:#}", config())).unwrap();
    let document = Document::read(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(document.graph, expected(Design::BOTH_APART, Gate::Linear));
    let origin = path.display();
    assert_eq!(document.node_error(1, "x").to_string(), format!("{origin}: models[2]: x"));
    assert_eq!(document.edge_error(None, 1, "x").to_string(), format!("{origin}: losses[2][2]: x"));
    assert_eq!(document.edge_error(Some(0), 1, "x").to_string(), format!("{origin}: losses[2][1]: x"));
}

/// The message after changing one place of the configuration.
fn error(pointer: &str, value: Value) -> String {
    let mut config = config();
    *config.pointer_mut(pointer).expect("exists") = value;
    import_authors_config(&config.to_string(), "c.json").unwrap_err().to_string()
}

#[test]
fn what_is_not_supported_is_said() {
    for (pointer, value, message) in [
        (
            "/losses/0/1",
            loss("KLLoss", "ThroughGate", 1, 1),
            "losses[0][1]: an edge of the ensemble node is not supported here; cut it with gate \"CutoffGate\"",
        ),
        (
            "/losses/1/0",
            loss("KLLoss", "LinearGate", 1, 1),
            "losses[1][0]: an edge of the ensemble node is not supported here; cut it with gate \"CutoffGate\"",
        ),
        (
            "/losses/2/1",
            loss("L2Loss", "LinearGate", 0, 1),
            "losses[2][1]: unknown loss name \"L2Loss\"; did you mean \"KLLoss\"? valid loss names: KLLoss, AttLoss, KL_AttLoss",
        ),
        (
            "/losses/2/1/args/gate/name",
            json!("LinerGate"),
            "losses[2][1]: unknown gate \"LinerGate\"; did you mean \"LinearGate\"? valid gates: ThroughGate, CutoffGate, LinearGate, CorrectGate, PositiveLinearGate, NegativeLinearGate",
        ),
        (
            "/losses/2/1/args/T",
            json!(2),
            "losses[2][1]: \"T\" must be 1, not 2; write 1, and `temperature` under [loss] of the experiment file, which is that of all edges",
        ),
        (
            "/losses/2/2/args/T",
            json!(4),
            "losses[2][2]: \"T\" must be 1, not 4, which the authors' code ignores for \"IndependentLoss\"; write 1 for what it does",
        ),
        (
            "/losses/2/1",
            json!({"name": "AttLoss", "args": {"T": 2, "loss_weight": 1, "gate": {"name": "ThroughGate"}}}),
            "losses[2][1]: \"T\" must be 1, not 2, which the authors' code ignores for \"AttLoss\"; write 1 for what it does",
        ),
        (
            "/losses/2/1",
            json!({"name": "KLLoss", "args": {"T": 1, "loss_weight": 1, "gate": {"name": "ThroughGate"}}}),
            "losses[2][1]: \"soft_loss_positive\" must be 1 (closer) or 0 (apart), not null",
        ),
        (
            "/losses/2/2/args/loss_weight",
            json!(0.5),
            "losses[2][2]: \"loss_weight\" must be 1, not 0.5, and only a gate can weigh an edge here",
        ),
        (
            "/losses/2/1",
            json!({"name": "KLLoss", "args": {"T": 1, "loss_weight": 2, "gate": {"name": "ThroughGate"}}}),
            "losses[2][1]: \"loss_weight\" must be 1, not 2, which the authors' code ignores for a \"KLLoss\"; write 1 for what it does",
        ),
        (
            "/losses/2/1/args/soft_loss_positive",
            json!(2),
            "losses[2][1]: \"soft_loss_positive\" must be 1 (closer) or 0 (apart), not 2",
        ),
        (
            "/losses/2/1/args",
            json!({"gate": {"name": "ThroughGate"}}),
            "losses[2][1]: \"soft_loss_positive\" must be 1 (closer) or 0 (apart), not null",
        ),
        (
            "/losses/1/1",
            loss("KLLoss", "LinearGate", 0, 0),
            "losses[1][1]: the label edge of node 1 must be \"IndependentLoss\", not \"KLLoss\"",
        ),
        ("/losses/1", json!([cut(), cut()]), "losses[1] must be a list of 3, one for each of \"models\""),
        (
            "/losses/2/1/args",
            json!({}),
            "losses[2][1]: unknown gate \"\"; valid gates: ThroughGate, CutoffGate, LinearGate, CorrectGate, PositiveLinearGate, NegativeLinearGate",
        ),
        ("/losses", json!({}), "\"losses\" must be a list of 3, one for each of \"models\""),
        ("/losses", json!([]), "\"losses\" must be a list of 3, one for each of \"models\""),
        ("/models", json!([]), "\"models\" must list 1 to 64 networks, not 0"),
        (
            "/models",
            json!([{"name": "Ensemble"}]),
            "\"models\" must list 1 to 64 networks after the ensemble node, not 0",
        ),
        (
            "/models/1/args/pre_ABN",
            json!(true),
            "models[1]: \"pre_ABN\" asks for weights that come with the authors' code, which is not supported; set it to false and give a file as the \"path\" of \"load_weight\"",
        ),
        ("/models/2/load_weight/path", json!(3), "models[2]: \"path\" must be the name of a file or null, not 3"),
    ] {
        assert_eq!(error(pointer, value), format!("c.json: {message}"));
    }
    let message = error("/models/1/name", json!("resnet18_anb"));
    assert!(message.starts_with("c.json: models[1]: unknown network \"resnet18_anb\"; did you mean \"resnet18_abn\"? valid networks: resnet18_abn, resnet18, resnet34_abn"), "{message}");
}

#[test]
fn syntax_errors_name_the_line() {
    let error = import_authors_config("{\n\"models\"", "c.json").unwrap_err();
    assert!(error.to_string().starts_with("c.json:2: this is not valid JSON: "), "{error}");
}
