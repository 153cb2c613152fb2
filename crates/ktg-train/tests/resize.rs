//! An attention edge between networks whose maps differ in size: refused, or the source's are resized.

use std::fs;
use std::path::Path;

use ktg_graph::Document;
use ktg_train::{GraphSettings, Settings};

mod common;
use common::{assert_same_contents, finish, is_step, settings, stop_at, train};

/// A graph of two kinds of networks, with this edge.
fn write_graph(path: &Path, edge: &str) {
    let nodes = "[nodes]\n1 = \"resnet-cifar-8\"\n2 = \"abn-resnet-cifar-8\"\n";
    fs::write(path, format!("{nodes}[edges]\n\"label -> 1\" = \"through\"\n\"label -> 2\" = \"through\"\n{edge}\n"))
        .unwrap();
}

fn settings_of(graph: &Path) -> Settings {
    let graph = GraphSettings { file: Some(graph.to_owned()), ..GraphSettings::default() };
    Settings { graph, ..settings() }
}

#[test]
fn without_resize_it_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let graph = temporary.path().join("g.toml");
    write_graph(&graph, "\"1 -> 2\" = \"attention closer, linear\"");
    let message = train(settings_of(&graph), &temporary.path().join("run")).unwrap_err().to_string();
    let expected = "g.toml:7: edge `1 -> 2` compares attention maps, but they are 2x2 and 4x4 at 8 px; `resize = true` on that \
                    edge makes the first as large as the second: \"1 -> 2\" = \"attention closer, linear, resize\"";
    assert!(message.ends_with(expected), "{message}");
    assert!(!temporary.path().join("run").exists());
    // What the sentence says to write is right.
    let edge = message.rsplit_once(": ").unwrap().1;
    write_graph(&graph, edge);
    train(settings_of(&graph), &temporary.path().join("run")).unwrap();
}

#[test]
fn with_resize_it_trains_stops_and_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let [through, stopped, without] = ["through", "stopped", "without"].map(|name| temporary.path().join(name));
    let graph = temporary.path().join("g.toml");
    write_graph(
        &graph,
        "\"1 -> 2\" = { design = \"attention closer\", resize = true }\n\"2 -> 1\" = \"both apart, resize\"",
    );
    train(settings_of(&graph), &through).unwrap();
    assert_eq!(stop_at(settings_of(&graph), &stopped, is_step(4)), 4);
    finish(&stopped);
    assert_same_contents(&stopped, &through, "after stopping");
    let kept = Document::read(&through.join("graph.toml")).unwrap().graph;
    assert!(kept.active_transfers().count() == 2 && kept.active_transfers().all(|(_, _, transfer)| transfer.resize));
    // The edges teach something.
    write_graph(&graph, "");
    train(settings_of(&graph), &without).unwrap();
    let metrics = |directory: &Path| fs::read(directory.join("metrics.jsonl")).unwrap();
    assert_ne!(metrics(&without), metrics(&through));
    for line in String::from_utf8(metrics(&through)).unwrap().lines().filter(|line| line.contains("\"step\"")) {
        assert!(line.contains("\"attention\""), "{line}");
    }
}
