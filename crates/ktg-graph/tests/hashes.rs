//! Hashes do not change: studies and comparisons keep them for years (`fixtures/make_graph_hashes.py` computes them
//! independently).

use std::path::Path;

use ktg_graph::{Design, Document, Graph, presets};
use serde_json::Value;

/// The graph of a case: a preset, or TOML.
fn graph(case: &Value) -> Graph {
    match case["toml"].as_str() {
        Some(text) => Document::parse_toml(text, "graph_hashes.json").unwrap().graph,
        None => {
            let (preset, architecture) = (case["preset"].as_str().unwrap(), case["architecture"].as_str().unwrap());
            presets::by_name(preset, case["nodes"].as_u64().unwrap() as usize, architecture).unwrap()
        }
    }
}

#[test]
fn the_hashes_of_200_graphs_are_what_they_were() {
    let cases = cases("graph_hashes.json");
    assert_eq!(cases.len(), 200);
    for preset in presets::NAMES {
        assert!(cases.iter().any(|case| case["preset"] == preset), "{preset} is missing");
    }
    check(&cases);
}

#[test]
fn so_do_those_of_all_other_designs_and_gates() {
    let cases = cases("graph_hashes_beyond.json");
    assert_eq!(cases.len(), 100);
    for design in Design::all() {
        let is_there = |case: &Value| case["toml"].as_str().unwrap().contains(&format!("\"{design}, "));
        assert!(cases.iter().any(is_there), "{design} is missing");
    }
    check(&cases);
}

#[test]
fn whether_maps_are_resized_belongs_to_what_a_graph_means() {
    let cases = cases("graph_hashes_resize.json");
    assert_eq!(cases.len(), 8);
    check(&cases);
    for case in &cases {
        let text = case["toml"].as_str().unwrap().replace(", resize", "");
        let without = Document::parse_toml(&text, "graph_hashes_resize.json").unwrap().graph;
        assert_ne!(without.hash().to_string(), case["hash"], "{text}");
    }
}

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn check(cases: &[Value]) {
    for case in cases {
        let graph = graph(case);
        assert!((2..=6).contains(&graph.len()), "{case}");
        assert_eq!(graph.hash().to_string(), case["hash"], "{case}");
        assert_eq!(graph.canonical().hash(), graph.hash(), "{case}");
    }
}
