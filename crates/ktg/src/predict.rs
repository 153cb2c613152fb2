//! `ktg predict`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use ktg_base::create_dir_all;
use ktg_report::overlay;
use ktg_train::{Error, Prediction, RunDirectory, SavedRun};
use serde::Serialize;
use serde_json::json;

use crate::args::PredictArgs;
use crate::output::{note, print, print_json, warn};

pub fn run(args: &PredictArgs) -> Result<ExitCode> {
    let mut run = SavedRun::open(&RunDirectory::new(&args.run))?;
    warn(&run.warnings);
    if args.flip {
        run.judge_with_flips();
    }
    let mut bad = 0;
    for (path, stem) in args.images.iter().zip(distinct_stems(&args.images)) {
        match run.predict(path) {
            Ok(prediction) => show(args, &run, path, &stem, &prediction)?,
            Err(Error::Data(error)) => {
                bad += 1;
                note(&format!("error: {error}"));
                if args.json {
                    print_json(&json!({ "image": path.display().to_string(), "error": error.to_string() }))?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if bad > 0 && args.images.len() > 1 {
        note(&format!("{bad} of {} images cannot be used; the others are classified", args.images.len()));
    }
    Ok(if bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The images' names without their endings, as names of files. Equal ones, as of images in different folders, get a
/// number that makes no other one's name.
fn distinct_stems(images: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let stems: Vec<String> = images.iter().map(stem).collect();
    // Some file systems do not tell `A` from `a`.
    let own: HashSet<String> = stems.iter().map(|stem| stem.to_lowercase()).collect();
    let mut taken = HashSet::new();
    let mut distinct = Vec::new();
    for stem in stems {
        let mut name = stem.clone();
        let mut number = 1;
        while taken.contains(&name.to_lowercase()) || (number > 1 && own.contains(&name.to_lowercase())) {
            number += 1;
            name = format!("{stem}-{number}");
        }
        taken.insert(name.to_lowercase());
        distinct.push(name);
    }
    distinct
}

/// Prints what the networks say of an image, and writes its overlays under the name `stem`.
fn show(args: &PredictArgs, run: &SavedRun, path: &Path, stem: &str, prediction: &Prediction) -> Result<()> {
    let written = match &args.overlays {
        Some(directory) => write_overlays(prediction, run.settings.side, directory, stem)?,
        None => Vec::new(),
    };
    let top = |probabilities: &[f64]| {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        order.truncate(args.top);
        let guess = |c: usize| Guess { class: run.classes[c].clone(), probability: probabilities[c] };
        order.into_iter().map(guess).collect::<Vec<_>>()
    };
    let nodes: Vec<_> = prediction.nodes.iter().map(|node| top(&node.probabilities)).collect();
    let ensemble = top(&prediction.ensemble);
    if !args.json {
        return print(&text(path, &ensemble, &nodes, &written));
    }
    print_json(&json!({
        "image": path.display().to_string(),
        "ensemble": ensemble,
        "nodes": nodes,
        "overlays": written.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
    }))
}

/// What a network takes an image for.
#[derive(Serialize)]
struct Guess {
    class: String,
    probability: f64,
}

fn text(path: &Path, ensemble: &[Guess], nodes: &[Vec<Guess>], overlays: &[PathBuf]) -> String {
    let line = |name: &str, top: &[Guess]| {
        let word = |guess: &Guess| format!("{} {:.1} %", guess.class, 100.0 * guess.probability);
        let classes: Vec<String> = top.iter().map(word).collect();
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
pub fn write_overlays(prediction: &Prediction, side: usize, directory: &Path, stem: &str) -> Result<Vec<PathBuf>> {
    create_dir_all(directory)?;
    let mut written = Vec::new();
    for (m, node) in prediction.nodes.iter().enumerate() {
        let Some((map, width)) = &node.map else { continue };
        let file = directory.join(format!("{stem}-node{}.png", m + 1));
        let picture = overlay(&prediction.input, side, map, *width);
        picture.save(&file).map_err(|e| anyhow!("cannot write {}: {e}", file.display()))?;
        written.push(file);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_get_numbers_that_no_other_image_has() {
        let stems = |paths: &[&str]| distinct_stems(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(stems(&["x.png", "x-2.png", "b/x.png"]), ["x", "x-2", "x-3"]);
        assert_eq!(stems(&["b/x.png", "x.jpg", "x-2.png", "c/x-2.png"]), ["x", "x-3", "x-2", "x-2-2"]);
        assert_eq!(stems(&["a/p.png", "b/P.png", "p"]), ["p", "P-2", "p-3"]);
        assert_eq!(stems(&["x-2.png", "x.png", "y/x-2.png", "z/x.png"]), ["x-2", "x", "x-2-2", "x-3"]);
    }
}
