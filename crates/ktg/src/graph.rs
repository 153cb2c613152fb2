//! `ktg graph`

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use ktg_base::{edge_name, write_atomically};
use ktg_figures::draw;
use ktg_figures::png::png;
use ktg_graph::{Document, Graph, import_authors_config, presets};
use ktg_net::Architecture;

use crate::args::{GraphCommand, OutputArgs};
use crate::export::PIXELS;
use crate::output::{print, table};

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
            let text = std::fs::read_to_string(file).map_err(|e| anyhow!("cannot read {}: {e}", file.display()))?;
            write(&import_authors_config(&text, &file.display().to_string())?, output)?;
        }
        GraphCommand::Draw { graph, out } => {
            let graph = read(&graph.graph)?;
            match out {
                None => print(draw::svg(&graph).trim_end())?,
                Some(path) => {
                    let picture = match extension(path) {
                        "svg" => draw::svg(&graph).into_bytes(),
                        "png" => png(&draw::svg(&graph), PIXELS)?,
                        "dot" | "gv" => draw::dot(&graph).into_bytes(),
                        _ => {
                            let path = path.display();
                            bail!("{path}: the name must end in .svg, .png or .dot");
                        }
                    };
                    write_atomically(path, &picture)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
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

/// Reads a graph file and checks that its architectures exist.
fn read_checked(path: &Path) -> Result<Document> {
    let document = Document::read(path)?;
    for (m, node) in document.graph.nodes().iter().enumerate() {
        if let Err(e) = node.architecture.parse::<Architecture>() {
            return Err(document.node_error(m, e.to_string()).into());
        }
    }
    Ok(document)
}

fn check(files: &[std::path::PathBuf]) -> Result<ExitCode> {
    let mut bad = 0;
    for file in files {
        match read_checked(file) {
            Ok(document) => print(&format!("{}: good, {}", file.display(), document.graph.hash()))?,
            Err(e) => {
                eprintln!("error: {e}");
                bad += 1;
            }
        }
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(graph: &Graph, output: &OutputArgs) -> Result<()> {
    let Some(path) = &output.out else { return print(graph.to_toml().trim_end()) };
    let text = match extension(path) {
        "toml" => graph.to_toml(),
        "json" => graph.to_json(),
        _ => bail!("{}: the name must end in .toml or .json", path.display()),
    };
    Ok(write_atomically(path, text.as_bytes())?)
}

/// Nodes and edges in words.
fn describe(graph: &Graph) -> String {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let mut nodes = vec![row(["node", "network", "weights"])];
    for (m, node) in graph.nodes().iter().enumerate() {
        let weights = node.pretrained.as_deref().unwrap_or("fresh");
        let state = if node.frozen {
            ", frozen"
        } else if graph.is_trained(m) {
            ""
        } else {
            ", not trained (no incoming edge)"
        };
        nodes.push(row([&(m + 1).to_string(), &node.architecture, &format!("{weights}{state}")]));
    }
    let mut edges = vec![row(["edge", "loss", "gate"])];
    for m in 0..graph.len() {
        if !graph.label_gate(m).is_cut() {
            edges.push(row([&edge_name(None, m), "cross-entropy", graph.label_gate(m).name()]));
        }
    }
    for (source, target, transfer) in graph.active_transfers() {
        let edge = edge_name(Some(source), target);
        edges.push(row([&edge, transfer.design.name(), transfer.gate.name()]));
    }
    let name = graph.name.as_deref().unwrap_or("graph without a name");
    format!("{name}\n\n{}\n\n{}\n\nhash {}", table(&nodes), table(&edges), graph.hash())
}
