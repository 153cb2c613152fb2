//! `ktg predict`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use indicatif::ProgressBar;
use ktg_base::create_dir_all;
use ktg_data::sources::ENDINGS;
use ktg_report::overlay;
use ktg_train::{Prediction, RunDirectory, SavedRun};
use serde_json::json;

use crate::args::PredictArgs;
use crate::guesses::{Guess, Guesses, guesses};
use crate::output::{note, print, print_json, warn};
use crate::predictions_csv::PredictionsCsv;
use crate::progress::bar;

pub fn run(args: &PredictArgs) -> Result<ExitCode> {
    let mut run = SavedRun::open(&RunDirectory::new(&args.run))?;
    warn(&run.warnings);
    if args.flip {
        run.judge_with_flips();
    }
    let images = image_files(&args.images)?;
    let mut csv = args.csv.as_deref().map(|path| PredictionsCsv::create(path, &run, args.top)).transpose()?;
    // What is printed would write into the bar.
    let bar = csv.as_ref().filter(|csv| csv.is_file()).map(|_| bar("{bar:24} {pos}/{len} images · {eta} left"));
    let bar = bar.unwrap_or_else(ProgressBar::hidden);
    bar.set_length(images.len() as u64);
    let stems = if args.overlays.is_some() { distinct_stems(&images) } else { vec![String::new(); images.len()] };
    let mut bad = 0;
    let at_once = run.settings.train.evaluate_batch_size;
    for (paths, stems) in images.chunks(at_once).zip(stems.chunks(at_once)) {
        let predictions = run.predict_files(paths)?;
        for ((path, stem), prediction) in paths.iter().zip(stems).zip(&predictions) {
            if let Err(error) = prediction {
                bad += 1;
                bar.suspend(|| note(&format!("error: {error}")));
            }
            match (&mut csv, prediction) {
                (Some(csv), Ok(prediction)) => {
                    overlays(args, &run, stem, prediction)?;
                    csv.row(path, &guesses(&run, prediction, args.top))?;
                }
                (Some(csv), Err(error)) => csv.bad_row(path, &error.to_string())?,
                (None, Ok(prediction)) => show(args, &run, path, stem, prediction)?,
                (None, Err(error)) if args.json => {
                    print_json(&json!({ "image": path.display().to_string(), "error": error.to_string() }))?;
                }
                (None, Err(_)) => {}
            }
        }
        bar.inc(paths.len() as u64);
    }
    bar.finish_and_clear();
    if let Some(csv) = csv {
        csv.finish()?;
    }
    if bad > 0 && images.len() > 1 {
        note(&format!("{bad} of {} images cannot be used; the others are classified", images.len()));
    }
    Ok(if bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The files that are meant: folders stand for the images in them and in their folders.
fn image_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let found = ktg_data::sources::image_files(path)?;
        if found.is_empty() {
            bail!("{}: no file in it or in its folders ends in .{}", path.display(), ENDINGS.join(", ."));
        }
        files.extend(found);
    }
    Ok(files)
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
    let written = overlays(args, run, stem, prediction)?;
    let Guesses { ensemble, nodes } = guesses(run, prediction, args.top);
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

/// Writes an image's overlays, if they are asked for; returns the files.
fn overlays(args: &PredictArgs, run: &SavedRun, stem: &str, prediction: &Prediction) -> Result<Vec<PathBuf>> {
    match &args.overlays {
        Some(directory) => write_overlays(prediction, run.settings.side, directory, stem),
        None => Ok(Vec::new()),
    }
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
