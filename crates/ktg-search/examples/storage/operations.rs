//! The operations of a search, timed as `bench/optuna_storage.py` times Optuna's.

use std::time::Instant;

use ktg_search::storage::{Inserted, NewTrial, Patience, State, StorageUrl, Study};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value as Json, json};

use crate::Result;
use crate::database::{Row, fill};

/// What a trial has.
pub struct Size {
    pub params: usize,
    pub reports: usize,
}

/// Milliseconds of every operation by its kind.
#[derive(Default)]
struct Times {
    create: Vec<f64>,
    report: Vec<f64>,
    finish: Vec<f64>,
}

/// Runs trials in a new study that holds `preload` others.
pub fn run(url: &StorageUrl, size: &Size, trials: usize, preload: usize) -> Result<Json> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let space = space(size.params);
    let name = format!("storage-benchmark-{}", std::process::id());
    let rows: Vec<Row> = (0..preload).map(|_| row(&space, size, &mut rng)).collect();
    fill(url, &name, &rows)?;

    let start = Instant::now();
    let mut study = Study::open(url, &name, false, Patience::none())?;
    study.look()?;
    let opened = milliseconds(start);
    let (mut times, mut whole) = (Times::default(), Vec::new());
    for _ in 0..trials {
        let start = Instant::now();
        trial(&mut study, &space, size, &mut times, &mut rng)?;
        whole.push(milliseconds(start));
    }
    Ok(json!({
        "create_ms": median(times.create), "report_ms": median(times.report), "finish_ms": median(times.finish),
        "trial_ms": whole.iter().sum::<f64>() / whole.len() as f64, "open_ms": opened,
        "trials": trials, "params": size.params, "reports": size.reports, "preload": preload, "study": name,
    }))
}

/// A whole trial. Unlike Optuna's, it is added together with its parameters.
fn trial(
    study: &mut Study,
    space: &[(String, Vec<String>)],
    size: &Size,
    times: &mut Times,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    let parameters = space.iter().map(|(name, all)| (name.as_str(), &all[..], rng.random_range(0..all.len())));
    let new = NewTrial { parameters: parameters.collect(), graph: hash(rng) };
    let work = hash(rng);
    let inserted = timed(&mut times.create, || study.insert(&new, &work, i64::MAX))?;
    let Inserted::Trial(claimed) = inserted else { return Err("the trial was not added".into()) };
    for step in 1..=size.reports as i64 {
        let value = rng.random();
        let known = timed(&mut times.report, || study.report(claimed.id, step, value))?;
        expect(known)?;
    }
    let value = Some(rng.random());
    let known = timed(&mut times.finish, || study.finish(claimed.id, State::Complete, value, &[]))?;
    expect(known)
}

fn expect(known: bool) -> Result<()> {
    if known { Ok(()) } else { Err("the trial is not ours any more".into()) }
}

fn timed<T>(times: &mut Vec<f64>, operation: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = operation();
    times.push(milliseconds(start));
    result
}

pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// `None` if there are none.
pub fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    let (low, high) = (times.get(times.len().wrapping_sub(1) / 2)?, times.get(times.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Parameters of 4 and 6 choices, in turn.
fn space(params: usize) -> Vec<(String, Vec<String>)> {
    let choices = |i: usize| (0..[4, 6][i % 2]).map(|choice| format!("choice-{choice}")).collect();
    (0..params).map(|i| (format!("param_{i:02}"), choices(i))).collect()
}

fn row(space: &[(String, Vec<String>)], size: &Size, rng: &mut ChaCha8Rng) -> Row {
    let parameter = |(name, choices): &(String, Vec<String>)| {
        let gene = rng.random_range(0..choices.len());
        (name.clone(), choices.clone(), gene)
    };
    let parameters = space.iter().map(parameter).collect();
    let reports = (0..size.reports).map(|_| rng.random()).collect();
    Row { parameters, graph: hash(rng), reports, rungs: vec![], paused: false }
}

/// As long as a graph's.
fn hash(rng: &mut ChaCha8Rng) -> String {
    let words: [u64; 4] = rng.random();
    words.map(|word| format!("{word:016x}")).concat()
}
