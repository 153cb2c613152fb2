//! The section about a comparison.

use anyhow::Result;
use ktg_base::shell_word;
use ktg_figures::page::{Block, Figure, Page};
use ktg_graph::Graph;
use ktg_train::{RunRecord, Settings, TrainSettings};

use super::evaluated::{Evaluated, Options};
use super::run::{evaluated_blocks, result_blocks};
use crate::compare::{self, Comparison, Group, GroupRun, RunState};
use crate::{edges, figures};

/// Adds the sections about a comparison: tables and graphs, what the nodes look at, and a run of each method.
pub(super) fn section(page: &mut Page, comparison: &Comparison, options: &Options) -> Result<()> {
    let index = &comparison.index;
    let name = comparison.directory.file_name().map(|name| name.to_string_lossy().into_owned());
    let section = page.section(format!("Comparison {}", name.unwrap_or_default()));
    let seeds = index.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let (methods, about) = (index.methods.len(), about(comparison));
    section.push(Block::text(format!("{methods} methods, each trained with the seeds {seeds}. {about}")));
    let missing: Vec<String> =
        comparison.groups.iter().filter_map(|g| Some(format!("{}: {}", heading(g), g.missing()?))).collect();
    if !missing.is_empty() {
        section.push(Block::warning(format!("Runs are missing. {}.", missing.join("; "))));
    }
    section.blocks.extend(compare::tables(comparison).into_iter().map(|(_, table)| Block::Table(table)));
    if index.nodes.len() > 1 {
        for data in &index.data_sets {
            let caption = "Mean of the runs; bars are the standard deviation over the seeds.";
            section.push(Figure::new(compare::accuracy_figure(comparison, data), caption));
        }
    }
    let mut failures = comparison.failures().peekable();
    if failures.peek().is_some() {
        section.push(Block::settings(failures.map(|(run, reason)| (run.display().to_string(), reason))));
    }
    graphs(page, comparison);
    looks(page, comparison, options)?;
    let section = page.section("Settings and commands of the comparison");
    let mut commands = index.command.clone();
    commands += &format!("\nktg report {}", shell_word(&comparison.directory.display().to_string()));
    section.push(Block::code("To do it again", commands));
    if !index.plan.is_empty() {
        section.push(Block::code("Plan", index.plan.trim_end()));
    }
    if let Some(settings) = comparison.groups.iter().find_map(|group| group.settings.as_ref()) {
        section.push(Block::details("Settings of the first run", [Block::code("", settings.to_toml()?)]));
    }
    Ok(())
}

/// What the runs on each data set share, in sentences.
fn about(comparison: &Comparison) -> String {
    let sentence = |data: &String| {
        let mut groups = comparison.groups.iter().filter(|group| group.data == *data);
        let Some(settings) = groups.find_map(|group| group.settings.as_ref()) else {
            return format!("On {data}, no run has been begun.");
        };
        let Settings { side, train: TrainSettings { epochs, batch_size, learning_rate, .. }, .. } = settings;
        format!("On {data}: {side} px, {epochs} epochs of batches of {batch_size}, learning rate {learning_rate}.")
    };
    comparison.index.data_sets.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

fn heading(group: &Group) -> String {
    format!("{} x{} on {}", group.method, group.nodes, group.data)
}

/// The graphs side by side, those of one number of nodes in one figure.
fn graphs(page: &mut Page, comparison: &Comparison) {
    let section = page.section("Graphs");
    for nodes in &comparison.index.nodes {
        let mut shown: Vec<&Group> = Vec::new();
        for group in comparison.groups.iter().filter(|group| group.nodes == *nodes) {
            // Presets are the same on every data set.
            let same = |other: &&Group| other.method == group.method && other.graph.hash() == group.graph.hash();
            if !shown.iter().any(same) {
                shown.push(group);
            }
        }
        let caption = |group: &Group| match comparison.index.data_sets.len() {
            1 => group.method.clone(),
            _ => format!("{} on {}", group.method, group.data),
        };
        let graphs: Vec<(&Graph, String)> = shown.iter().map(|group| (&group.graph, caption(group))).collect();
        if let Some(sheet) = figures::sheet(&graphs) {
            let caption = "Colour: gate. Text: what is transferred, and in which direction.";
            section.push(Figure::new(sheet, format!("The graphs of {nodes} nodes. {caption}")).wide());
        }
    }
    let lines =
        comparison.groups.iter().map(|group| (heading(group), format!("{}. {}", group.origin, edges(&group.graph))));
    section.push(Block::details("Where the graphs come from", [Block::Settings(lines.collect())]));
}

/// For each data set: the same images through the first finished run of every method, then each of these runs.
fn looks(page: &mut Page, comparison: &Comparison, options: &Options) -> Result<()> {
    for data in &comparison.index.data_sets {
        let finished = comparison.groups.iter().filter(|group| group.data == *data && !group.finished().is_empty());
        let most = finished.map(|group| group.nodes).max().unwrap_or(0);
        let mut chosen = Vec::new();
        for group in comparison.groups.iter().filter(|group| group.data == *data && group.nodes == most) {
            // The first finished run stands for its group.
            let finished = group.runs.iter().find(|run| matches!(run.state, RunState::Finished(_)));
            let Some(GroupRun { directory, .. }) = finished else { continue };
            chosen.push((group, RunRecord::read(directory)?, Evaluated::open(directory, options)));
        }
        if chosen.is_empty() {
            continue;
        }
        let section = page.section(format!("What the nodes look at on {data}"));
        let mut pictures = Vec::new();
        for (group, _, evaluated) in &chosen {
            let Ok(evaluated) = evaluated else { continue };
            let seed = evaluated.run.settings.seed;
            let caption = format!("Attention maps of {}, seed {seed}.", heading(group));
            pictures.push(evaluated.attention(&evaluated.spread(options), &heading(group), caption)?);
        }
        let missing = Block::note("No attention maps: see the runs below.");
        section.push(if pictures.is_empty() { missing } else { Block::Figures(pictures) });
        for (group, record, evaluated) in &chosen {
            let mut blocks = vec![Block::text(format!("Run {}.", record.directory.path().display()))];
            blocks.extend(result_blocks(record));
            blocks.extend(evaluated_blocks(evaluated.as_ref(), false, options)?);
            section.push(Block::details(format!("One run of {}", heading(group)), blocks));
        }
    }
    Ok(())
}
