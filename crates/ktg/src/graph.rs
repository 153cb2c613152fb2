//! `ktg graph`

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use ktg_base::{edge_name, read_text, write_atomically};
use ktg_figures::draw;
use ktg_figures::png::png;
use ktg_graph::{Document, Gate, Graph, Node, authors, import_authors_config, presets};
use ktg_net::Architecture;

use crate::args::{GraphCommand, OutputArgs};
use crate::export::{PIXELS, ending};
use crate::output::{note, print, table};

pub fn run(command: &GraphCommand) -> Result<ExitCode> {
    match command {
        GraphCommand::Show { graph, json } => {
            let graph = read(&graph.graph)?;
            print(&if *json { graph.to_json() } else { describe(&graph) })?;
        }
        GraphCommand::Check { files } => return check(files),
        GraphCommand::Preset { name, nodes, architecture, output } => {
            architecture.parse::<Architecture>()?;
            write(&presets::by_name(name, *nodes, architecture)?, output)?;
        }
        GraphCommand::Import { file, output } => {
            let graph = import_authors_config(&read_text(file)?, &file.display().to_string())?;
            write(&graph, output)?;
            say_crops(&graph);
        }
        GraphCommand::Draw { graph, out } => {
            let graph = read(&graph.graph)?;
            match out {
                None => print(draw::svg(&graph).trim_end())?,
                Some(path) => {
                    let picture = match ending(path) {
                        "svg" => draw::svg(&graph).into_bytes(),
                        "png" => png(&draw::svg(&graph), PIXELS)?,
                        "dot" | "gv" => draw::dot(&graph).into_bytes(),
                        _ => bail!("{}: the name must end in .svg, .png or .dot", path.display()),
                    };
                    write_atomically(path, &picture)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A graph file, or a preset and its size, `dml:3`.
fn read(name: &str) -> Result<Graph> {
    let path = Path::new(name);
    if !path.exists()
        && let Some((preset, size)) = name.rsplit_once(':')
        && let Ok(size) = size.parse()
    {
        return Ok(presets::by_name(preset, size, "abn-resnet-18")?);
    }
    Ok(read_checked(path)?.graph)
}

/// Says what the authors' code does otherwise with a graph of theirs, if anything.
fn say_crops(graph: &Graph) {
    if let Some(sentence) = authors::crops_note(graph) {
        note(sentence);
    }
}

/// Reads a graph file and checks that its architectures exist; says what the authors' code does otherwise with a file of
/// theirs.
fn read_checked(path: &Path) -> Result<Document> {
    let document = Document::read(path)?;
    for (m, node) in document.graph.nodes().iter().enumerate() {
        if let Err(e) = node.architecture.parse::<Architecture>() {
            return Err(document.node_error(m, e.to_string()).into());
        }
    }
    if document.is_of_authors {
        say_crops(&document.graph);
    }
    Ok(document)
}

fn check(files: &[std::path::PathBuf]) -> Result<ExitCode> {
    let mut bad = 0;
    for file in files {
        match read_checked(file) {
            Ok(document) => print(&format!("{}: good, {}", file.display(), document.graph.hash()))?,
            Err(e) => {
                note(&format!("error: {e}"));
                bad += 1;
            }
        }
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(graph: &Graph, output: &OutputArgs) -> Result<()> {
    let Some(path) = &output.out else { return print(graph.to_toml().trim_end()) };
    let text = match ending(path) {
        "toml" => graph.to_toml(),
        "json" => graph.to_json(),
        _ => bail!("{}: the name must end in .toml or .json", path.display()),
    };
    Ok(write_atomically(path, text.as_bytes())?)
}

/// What a node starts from, and how it learns from there.
fn weights_of(node: &Node) -> String {
    let mut words = vec![node.pretrained.as_deref().unwrap_or("fresh").to_owned()];
    if node.strict {
        words.push("strict".to_owned());
    }
    if let Some(freeze) = &node.freeze {
        words.push(format!("keeps {}", freeze.names().join(" ")));
    }
    if let Some(factor) = node.learning_rate_factor {
        words.push(format!("learning rate x {}", factor.get()));
    }
    if let Some(rate) = node.drop_path {
        words.push(format!("drop path {}", rate.get()));
    }
    words.join(", ")
}

/// Nodes and edges in words.
fn describe(graph: &Graph) -> String {
    let node = |(m, node): (usize, &Node)| {
        let weights = weights_of(node);
        let state = match (node.frozen, graph.is_trained(m)) {
            (true, _) => ", frozen",
            (false, true) => "",
            (false, false) => ", not trained (no incoming edge)",
        };
        [(m + 1).to_string(), node.architecture.clone(), format!("{weights}{state}")]
    };
    let edge =
        |source, target, loss: &str, gate: Gate| [edge_name(source, target), loss.to_owned(), gate.name().to_owned()];
    let labels = (0..graph.len()).filter(|m| !graph.label_gate(*m).is_cut());
    let labels = labels.map(|m| edge(None, m, "cross-entropy", graph.label_gate(m)));
    let transfers = graph.active_transfers().map(|(s, t, transfer)| {
        let resize = if transfer.resize { ", resize" } else { "" };
        edge(Some(s), t, &format!("{}{resize}", transfer.design), transfer.gate)
    });
    let name = graph.name.as_deref().unwrap_or("graph without a name");
    let nodes = table(["node", "network", "weights"], graph.nodes().iter().enumerate().map(node));
    let edges = table(["edge", "loss", "gate"], labels.chain(transfers));
    format!("{name}\n\n{nodes}\n\n{edges}\n\nhash {}", graph.hash())
}
