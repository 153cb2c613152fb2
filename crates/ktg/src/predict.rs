//! `ktg predict`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ktg_train::{Prediction, SavedRun, overlay};
use serde_json::json;

use crate::args::PredictArgs;
use crate::error::CliError;
use crate::output::{note, print, print_json};

pub fn run(args: &PredictArgs) -> Result<ExitCode, CliError> {
    let run = SavedRun::open(&args.run)?;
    for warning in &run.warnings {
        note(&format!("warning: {warning}"));
    }
    for (number, path) in args.images.iter().enumerate() {
        let prediction = run.predict(path)?;
        let mut written = Vec::new();
        if let Some(directory) = &args.overlays {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            // Two images may share a name in different folders.
            let same = args.images[..number].iter().filter(|other| other.file_stem() == path.file_stem()).count();
            let stem = if same > 0 { format!("{stem}-{}", same + 1) } else { stem };
            written = write_overlays(&prediction, run.settings.side, directory, &stem)?;
        }
        let top = |probabilities: &[f64]| {
            let mut order: Vec<usize> = (0..probabilities.len()).collect();
            order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
            order.truncate(args.top);
            order.into_iter().map(|c| (run.classes[c].clone(), probabilities[c])).collect::<Vec<_>>()
        };
        let nodes: Vec<_> = prediction.nodes.iter().map(|node| top(&node.probabilities)).collect();
        let ensemble = top(&prediction.ensemble);
        if args.json {
            let classes = |top: &[(String, f64)]| {
                top.iter().map(|(class, p)| json!({ "class": class, "probability": p })).collect::<Vec<_>>()
            };
            print_json(&json!({
                "image": path.display().to_string(),
                "ensemble": classes(&ensemble),
                "nodes": nodes.iter().map(|n| classes(n)).collect::<Vec<_>>(),
                "overlays": written.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
            }))?;
        } else {
            print(&text(path, &ensemble, &nodes, &written))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Top = [(String, f64)];

fn text(path: &Path, ensemble: &Top, nodes: &[Vec<(String, f64)>], overlays: &[PathBuf]) -> String {
    let line = |name: &str, top: &Top| {
        let classes: Vec<String> = top.iter().map(|(class, p)| format!("{class} {:.1} %", 100.0 * p)).collect();
        format!("\n  {name:<9} {}", classes.join(" · "))
    };
    let mut text = format!("{}{}", path.display(), line("ensemble", ensemble));
    for (m, top) in nodes.iter().enumerate() {
        text += &line(&format!("node {}", m + 1), top);
    }
    for file in overlays {
        text += &format!("\n  attention {}", file.display());
    }
    text
}

/// Writes each node's attention over what it saw as `DIRECTORY/STEM-node1.png`, ...; returns the files.
pub fn write_overlays(
    prediction: &Prediction,
    side: usize,
    directory: &Path,
    stem: &str,
) -> Result<Vec<PathBuf>, CliError> {
    std::fs::create_dir_all(directory).map_err(|e| CliError::file("create", directory, &e))?;
    let mut written = Vec::new();
    for (m, node) in prediction.nodes.iter().enumerate() {
        let Some((map, width)) = &node.map else { continue };
        let file = directory.join(format!("{stem}-node{}.png", m + 1));
        let picture = overlay(&prediction.input, side, map, *width);
        picture.save(&file).map_err(|e| CliError::file("write", &file, &e))?;
        written.push(file);
    }
    Ok(written)
}
