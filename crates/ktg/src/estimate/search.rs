//! `ktg search --estimate`

use anyhow::{Result, anyhow};
use indicatif::MultiProgress;
use ktg_base::random::{below, keyed};
use ktg_graph::Graph;
use ktg_search::{ParameterKind, PrunerKind, SearchSettings, Space};
use ktg_train::{Estimate, Experiment, Range};

use super::words::{bytes, duration, memory, pace, time};
use crate::args::SearchArgs;
use crate::output::{print, warn};
use crate::progress::Progress;
use crate::search::{confirm, settings};
use crate::train;

/// So many random graphs are tried, to find one that can be trained.
const ATTEMPTS: usize = 1000;

pub fn run(args: &SearchArgs) -> Result<()> {
    let (settings, base, search) = settings(args)?;
    let progress = Progress::among(&MultiProgress::new(), "estimate");
    let template = train::open(settings, &base, args.images, &progress)?;
    warn(&template.warnings);
    let space = Space::new(template.written_graph(), &search)?;
    let graphs = graphs(&space, &template, &search)?;
    let measure = |graph| Ok(Estimate::measure(&template.with_graph(graph)?)?);
    let estimates: Vec<Estimate> = graphs.into_iter().map(measure).collect::<Result<_>>()?;
    for (i, estimate) in estimates.iter().enumerate() {
        print(&match search.architectures.get(i) {
            Some(name) => format!("{name}: {} a trial of full length", duration(estimate.seconds.expected)),
            None => pace(estimate, template.settings.train.images_per_step()),
        })?;
    }
    let trials = args.trials as f64;
    let full = average(&estimates).times(trials);
    print(&format!("time      at most {}: {} trials of full length, by one worker", time(full), args.trials))?;
    let epochs = u32::try_from(template.settings.train.epochs)?;
    print(&format!("          {}", pruned(&search, epochs, full)))?;
    if let Some(confirm) = confirm(args)? {
        let (trainings, again) = (confirm.trainings(), average(&estimates).times(confirm.trainings() as f64));
        print(&format!("          {} more to confirm the best: at most {trainings} trainings", time(again)))?;
    }
    print(&memory(estimates.last().and_then(|estimate| estimate.peak_memory_bytes)))?;
    print(&disk(args, &search, &estimates))
}

/// How long all trials take with the pruner, in words.
fn pruned(search: &SearchSettings, epochs: u32, full: Range) -> String {
    let (pruner, eta) = (search.pruner, search.reduction_factor);
    match search.pruner_settings().expected_share(epochs) {
        None => format!("the pruner {pruner} stops some of them; how many, their values decide"),
        Some(_) if pruner == PrunerKind::None => "the pruner none stops none of them".to_owned(),
        Some(share) => format!(
            "about {} if one trial in {eta} goes on at each rung, as the pruner {pruner} has it in the long run: {:.0} % of \
             all epochs",
            time(full.times(share)),
            100.0 * share
        ),
    }
}

/// The mean over the architectures; from the cheapest to the dearest. Random trials have the architecture of each node from
/// all with equal chances.
fn average(estimates: &[Estimate]) -> Range {
    let seconds = || estimates.iter().map(|estimate| estimate.seconds);
    Range {
        low: seconds().map(|range| range.low).fold(f64::INFINITY, f64::min),
        expected: seconds().map(|range| range.expected).sum::<f64>() / estimates.len() as f64,
        high: seconds().map(|range| range.high).fold(0.0, f64::max),
    }
}

/// Checkpoints of the trial at hand and of paused ones, and what stays of every trial.
fn disk(args: &SearchArgs, search: &SearchSettings, estimates: &[Estimate]) -> String {
    let most = |value: fn(&Estimate) -> u64| estimates.iter().map(value).max().unwrap_or(0);
    let checkpoint = most(|estimate| estimate.checkpoint_bytes);
    let kept = most(|estimate| (estimate.checkpoints as u64 + 1) * estimate.checkpoint_bytes);
    let stays = most(|estimate| estimate.disk_bytes - estimate.checkpoints as u64 * estimate.checkpoint_bytes);
    let trials = args.trials as u64;
    let mut text = format!(
        "disk      {}: checkpoints of the trial at hand, which go when it is over, and {} a trial that stay",
        bytes(kept + trials * stays),
        bytes(stays)
    );
    if search.pruner == PrunerKind::Promotion {
        let paused = args.max_paused.map_or(trials, |most| trials.min(most as u64));
        let most = bytes(paused * checkpoint);
        text += &format!("; and at most {most} of paused trials, of which each keeps a checkpoint (see --max-paused)");
    }
    text
}

/// A graph of the search space for each architecture that nodes may have, or one where they have the template's.
fn graphs(space: &Space, template: &Experiment, search: &SearchSettings) -> Result<Vec<Graph>> {
    if search.architectures.is_empty() {
        return Ok(vec![graph(space, template, None)?]);
    }
    search.architectures.iter().map(|name| graph(space, template, Some(name))).collect()
}

/// A random graph of the search space that trials would train, whose nodes all have this architecture, if there is a choice.
fn graph(space: &Space, template: &Experiment, architecture: Option<&str>) -> Result<Graph> {
    let mut rng = keyed([template.settings.seed, 0, 0, 0]);
    for _ in 0..ATTEMPTS {
        let mut genes = Vec::new();
        for parameter in space.parameters() {
            let named = architecture.filter(|_| parameter.kind() == ParameterKind::Architecture);
            let place = named.and_then(|name| parameter.choices.iter().position(|choice| choice == name));
            genes.push(place.unwrap_or_else(|| below(&mut rng, parameter.choices.len() as u64) as usize));
        }
        let graph = space.graph(&genes);
        if template.fits(&graph) {
            return Ok(graph);
        }
    }
    Err(untrainable())
}

fn untrainable() -> anyhow::Error {
    anyhow!("of {ATTEMPTS} random graphs of the search space, none can be trained; look at the table [search]")
}
