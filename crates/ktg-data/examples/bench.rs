//! Loads images on one thread, for `bench/data`; see `bench/README.md` for the protocol.
//!
//! ```text
//! bench serve SOURCE train|eval       # answers every line `go` with a line of JSON
//! bench pack SOURCE FILE SHORT_SIDE
//! ```
//!
//! SOURCE is a data source, [`DataSource`], in JSON.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ktg_data::{Augment, DataSource, Dataset, Loader, LoaderConfig, Pipeline, Preset, Transform, epoch_order};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Side of the network's input.
const SIDE: usize = 224;
/// As in training.
const BATCH: usize = 16;

fn serve(source: &DataSource, which: &str) -> Result<()> {
    let data = source.open(Path::new("."))?.train;
    let transform = Transform::new(&Augment::preset(Preset::FineGrained), SIDE, data.channels())?;
    let pipeline = match which {
        "train" => transform.train,
        "eval" => transform.eval,
        _ => return Err(format!("there is no pipeline `{which}`; choose from train, eval").into()),
    };
    say(&json!({ "ready": true, "images": data.len() }))?;
    let mut epoch = 0;
    for line in std::io::stdin().lock().lines() {
        match line?.trim() {
            "go" => {
                say(&pass(&data, &pipeline, epoch)?)?;
                epoch += 1;
            }
            "quit" => break,
            other => say(&json!({ "error": format!("unknown command `{other}`") }))?,
        }
    }
    Ok(())
}

/// One pass over all images, with other crops in every epoch. Only loading is timed.
fn pass(data: &Dataset, pipeline: &Pipeline, epoch: u64) -> Result<Value> {
    let config = LoaderConfig { batch_size: BATCH, threads: 0, epoch, ..LoaderConfig::new(pipeline.clone()) };
    let mut spent = Duration::ZERO;
    let mut start = Instant::now();
    let (mut images, mut shape) = (0, [0; 3]);
    let (mut values, mut squares) = (vec![0.0; data.channels()], 0.0);
    for batch in Loader::new(data, config, epoch_order(data.len(), 0, epoch, false))? {
        let batch = batch?;
        spent += start.elapsed();
        images += batch.len();
        shape = [batch.channels, batch.height, batch.width];
        for (i, plane) in batch.images.chunks_exact(batch.height * batch.width).enumerate() {
            values[i % batch.channels] += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
            squares += plane.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        }
        drop(batch);
        start = Instant::now();
    }
    if data.cached_bytes() > 0 {
        return Err("decoded images were cached, so the next pass would decode none".into());
    }
    let pixels = (images * shape[1] * shape[2]) as f64;
    let means: Vec<f64> = values.iter().map(|sum| sum / pixels).collect();
    let mean_square = squares / (pixels * means.len() as f64);
    Ok(json!({
        "seconds": spent.as_secs_f64(), "images": images, "shape": shape, "means": means, "mean_square": mean_square,
    }))
}

fn say(answer: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}

fn pack(source: &DataSource, file: &Path, short_side: usize) -> Result<()> {
    let splits = source.open(Path::new("."))?;
    ktg_data::pack(&splits, source.kind.name(), Some(short_side), file, 0, &|_, _| true)?;
    Ok(())
}

fn run(arguments: &[&str]) -> Result<()> {
    let source = |text: &str| serde_json::from_str::<DataSource>(text).map_err(|error| format!("SOURCE: {error}"));
    match arguments {
        ["serve", text, pipeline] => serve(&source(text)?, pipeline),
        ["pack", text, file, side] => pack(&source(text)?, Path::new(file), side.parse()?),
        _ => Err("usage: bench serve SOURCE train|eval, or bench pack SOURCE FILE SHORT_SIDE".into()),
    }
}

fn main() -> ExitCode {
    // As `ktg` does.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
