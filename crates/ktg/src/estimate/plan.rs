//! `ktg compare --estimate`

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};
use indicatif::MultiProgress;
use ktg_report::compare::{Comparison, Plan, network};
use ktg_train::{Estimate, Experiment, Range, RunRecord};
use serde_json::json;

use super::words::{bytes, duration, memory, time};
use crate::args::CompareArgs;
use crate::compare::{Job, Prepared, directory, open, prepare};
use crate::jobs::run_jobs;
use crate::output::{note, print, print_json, table};

/// Runs of a plan that take the same, of which one is measured.
struct Cell<'a> {
    first: &'a Job,
    data: String,
    network: String,
    /// Of each run, the share that is not done yet.
    left: Vec<f64>,
    /// Runs that are not begun.
    new: usize,
}

pub fn run(args: &CompareArgs) -> Result<()> {
    let plan = Plan::read(&args.plan)?;
    let out = directory(&plan, args)?;
    let Prepared { jobs, settings, .. } = prepare(&plan, args, &out)?;
    let experiments = open(&jobs, &settings, args.images, &MultiProgress::new())?;
    let cells = cells(&plan, &jobs)?;
    let runs: usize = cells.iter().map(|cell| cell.left.len()).sum();
    let at_once = args.jobs.clamp(1, runs.max(1));
    let (mut lengths, mut disk, mut peak) = (Vec::new(), 0, None);
    let (mut rows, mut parts) = (Vec::new(), Vec::new());
    for cell in &cells {
        let Some(template) = &experiments[cell.first.data] else { continue };
        let mut experiment = template.with_graph(cell.first.graph.clone())?;
        experiment.settings.seed = cell.first.seed;
        note(&format!("measuring {} on {}", cell.network, cell.data));
        let estimate = measure(&experiment, at_once)?;
        let seconds = estimate.seconds.times(cell.left.iter().sum::<f64>() / at_once as f64);
        lengths.extend(cell.left.iter().map(|left| estimate.seconds.times(*left)));
        disk += cell.new as u64 * estimate.disk_bytes;
        peak = estimate.peak_memory_bytes;
        rows.push([
            cell.data.clone(),
            cell.network.clone(),
            cell.left.len().to_string(),
            duration(estimate.step.mean),
            duration(estimate.seconds.expected),
            bytes(estimate.disk_bytes),
        ]);
        parts.push(json!({
            "data": cell.data, "network": cell.network, "runs": cell.left.len(), "new": cell.new, "seconds": seconds,
            "run": estimate,
        }));
    }
    let total = together(&lengths, at_once);
    if args.json {
        return print_json(&json!({
            "runs": runs, "at_once": at_once, "seconds": total, "disk_bytes": disk, "peak_memory_bytes": peak,
            "cells": parts,
        }));
    }
    if runs == 0 {
        return print("nothing is left to train");
    }
    print(&table(["data", "network", "runs left", "a step", "a run", "on the disk"], rows))?;
    let jobs = if at_once > 1 { format!(", {at_once} at a time") } else { String::new() };
    print(&format!("\ntime      {} for {runs} runs{jobs}, by one process", time(total)))?;
    print(&memory(peak))?;
    print(&format!("disk      {}", bytes(disk)))
}

/// How long runs take together, so many at a time, of which each begins when another one ends.
fn together(lengths: &[Range], at_once: usize) -> Range {
    let mut ends = vec![Range::default(); at_once];
    for length in lengths {
        let first = ends.iter_mut().min_by(|a, b| a.expected.total_cmp(&b.expected));
        first.into_iter().for_each(|end| *end = end.plus(*length));
    }
    ends.into_iter().max_by(|a, b| a.expected.total_cmp(&b.expected)).unwrap_or_default()
}

/// The runs that are left, those together that have the same data, networks and settings.
fn cells<'a>(plan: &Plan, jobs: &'a [Job]) -> Result<Vec<Cell<'a>>> {
    let mut cells: BTreeMap<(usize, String), Cell> = BTreeMap::new();
    for job in jobs {
        if job.directory.is_finished() || Comparison::failure(&job.directory)?.is_some() {
            continue;
        }
        let network = network(&job.graph);
        let cell = cells.entry((job.data, network.clone())).or_insert_with(|| Cell {
            first: job,
            data: plan.data_sets[job.data].name.clone(),
            network,
            left: Vec::new(),
            new: 0,
        });
        if job.directory.has_run() {
            let record = RunRecord::read(&job.directory)?;
            cell.left.push(1.0 - record.epochs_done() as f64 / record.settings.train.epochs as f64);
        } else {
            cell.left.push(1.0);
            cell.new += 1;
        }
    }
    Ok(cells.into_values().collect())
}

/// The estimate for one of so many runs at a time, which are all measured at the same time; of their estimates, the slowest.
fn measure(experiment: &Experiment, at_once: usize) -> Result<Estimate> {
    let found: Mutex<Vec<Estimate>> = Mutex::default();
    let poisoned = |_| anyhow!("a thread broke down");
    run_jobs(&vec![experiment; at_once], at_once, &AtomicBool::new(false), |experiment| {
        let estimate = Estimate::measure(experiment)?;
        found.lock().map_err(poisoned)?.push(estimate);
        Ok(true)
    })?;
    let found = found.into_inner().map_err(|_| anyhow!("a thread broke down"))?;
    let slowest = found.into_iter().max_by(|a, b| a.seconds.expected.total_cmp(&b.seconds.expected));
    slowest.ok_or_else(|| anyhow!("nothing was measured"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_equal_runs_two_at_a_time_take_two_lengths() {
        let run = Range { low: 9.0, expected: 10.0, high: 12.0 };
        assert_eq!(together(&[run; 3], 2), run.times(2.0));
        assert_eq!(together(&[run; 3], 1), run.times(3.0));
        assert_eq!(together(&[run.times(0.5), run, run.times(0.5)], 2), run);
        assert_eq!(together(&[], 2), Range::default());
    }
}
