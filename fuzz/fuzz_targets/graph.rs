//! Graph files in TOML and JSON and the authors' `config.json`. What is read must be read alike once written.

#![no_main]

use ktg_graph::{Document, import_authors_config};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let read = [Document::parse_toml(text, "a.toml"), Document::parse_json(text, "a.json")];
    let graphs = read.into_iter().flatten().map(|document| document.graph);
    for graph in graphs.chain(import_authors_config(text, "config.json")) {
        let (toml, json) = (graph.to_toml(), graph.to_json());
        assert_eq!(Document::parse_toml(&toml, "b.toml").expect("our own TOML").graph, graph);
        assert_eq!(Document::parse_json(&json, "b.json").expect("our own JSON").graph, graph);
    }
});
