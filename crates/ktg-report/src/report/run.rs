//! The section about one run, and its parts that others use.

use std::collections::BTreeSet;
use std::iter;

use anyhow::Result;
use ktg_base::shell_word;
use ktg_figures::draw;
use ktg_figures::page::{Block, Figure, Page};
use ktg_figures::table::{Cell, Column, Table};
use ktg_graph::Knowledge;
use ktg_train::measures::{Accuracy, EnsembleMeasures, Measures};
use ktg_train::{RunDirectory, RunRecord};

use super::classes::class_blocks;
use super::evaluated::{Evaluated, Options};
use crate::attention::most_disagreed;
use crate::cells::number_or_dash;
use crate::compare::network;
use crate::{edges, figures};

/// Adds the section about a run.
pub(super) fn section(page: &mut Page, directory: &RunDirectory, options: &Options) -> Result<()> {
    let run = RunRecord::read(directory)?;
    let directory = directory.path();
    let name = run.graph.name.clone().unwrap_or_else(|| "unnamed graph".to_owned());
    let place = shell_word(&directory.display().to_string());
    let section = page
        .section(format!("Run {}", directory.file_name().map_or(place.clone(), |n| n.to_string_lossy().into_owned())));
    let (network, seed, images) = (network(&run.graph), run.settings.seed, run.train_images);
    section.push(Block::text(format!("{name}: {network}, seed {seed}, {images} training images. {}", state(&run))));
    section.push(Figure::new(draw::svg(&run.graph), format!("The graph: {}.", edges(&run.graph))));
    section.blocks.extend(result_blocks(&run));
    let evaluated = Evaluated::open(&run.directory, options);
    section.blocks.extend(evaluated_blocks(evaluated.as_ref(), true, options)?);
    if let Ok(evaluated) = &evaluated {
        section.blocks.extend(class_blocks(evaluated, options)?);
    }
    let commands =
        format!("ktg train {place}/settings.toml --out again\nktg eval {place}\ntensorboard --logdir {place}");
    let details = [
        Block::code("Settings", run.settings.to_toml()?),
        Block::code("Graph", run.graph.to_toml()),
        Block::code("To train and to evaluate it again", commands),
    ];
    section.push(Block::details("Settings and commands", details));
    Ok(())
}

/// How far a run is and how well it does.
fn state(run: &RunRecord) -> String {
    let Some(result) = &run.result else {
        let done = run.epochs_done();
        return format!("Not finished: {done} of {} epochs are done.", run.settings.train.epochs);
    };
    let Measures { images, node_average, ensemble, .. } = &result.measures;
    let EnsembleMeasures { accuracy: Accuracy { top1, top5 }, nll, ece, .. } = ensemble;
    format!(
        "After {}, on {images} images: node average {:.2} %, ensemble {top1:.2} % (top-5 {top5:.2} %), NLL {nll:.3}, \
         ECE {ece:.3}.",
        result.length(),
        node_average.top1
    )
}

/// Training curves and diversity.
pub(super) fn result_blocks(run: &RunRecord) -> Vec<Block> {
    let caption = "Top-1 accuracy of every node and of the ensemble on the images that the run is judged on, and of the \
                   nodes on the augmented training images.";
    let mut blocks = vec![Figure::new(figures::training_curves(run), caption).into()];
    if let Some(measures) = run.measures() {
        let first = "How much the nodes differ, pair by pair; 0 for the same answers.";
        let captions = iter::once(first).chain(iter::repeat("1 for the same."));
        let matrices = figures::diversity(measures).into_iter().zip(captions);
        let matrices: Vec<Figure> = matrices.map(|(svg, caption)| Figure::new(svg, caption)).collect();
        if !matrices.is_empty() {
            blocks.push(Block::Figures(matrices));
        }
    }
    let caption = "Mean loss of every edge in every epoch, after its gate; dashed, each term of an edge that has several. \
                   Colors are the targets'.";
    let mut losses = vec![Figure::new(figures::edge_losses(run), caption).into()];
    losses.extend(term_losses(run).map(Block::Table));
    blocks.push(Block::details("Losses of the edges", losses));
    blocks
}

/// The losses of the last epoch by term, if an edge has several: which dashed line of the figure is which.
fn term_losses(run: &RunRecord) -> Option<Table> {
    let train = &run.epochs.last()?.train;
    if train.edges.iter().all(|edge| edge.terms.len() < 2) {
        return None;
    }
    let kinds: BTreeSet<Knowledge> = train.edges.iter().flat_map(|edge| edge.terms.keys().copied()).collect();
    let terms = kinds.iter().map(|knowledge| Column::right(knowledge.to_string()).under("its terms"));
    let columns = [Column::left("edge"), Column::right("loss")].into_iter().chain(terms);
    let mut table = Table::new(format!("Losses of epoch {}", train.epoch), columns);
    for edge in &train.edges {
        let terms = kinds.iter().map(|knowledge| number_or_dash(edge.terms.get(knowledge).copied(), 4));
        table.row([Cell::text(edge.to_string()), Cell::number(edge.loss, 4)].into_iter().chain(terms));
    }
    Some(table)
}

/// Calibration and attention maps; `with_spread`: over images of many classes, too.
pub(super) fn evaluated_blocks(
    evaluated: Result<&Evaluated, &Block>,
    with_spread: bool,
    options: &Options,
) -> Result<Vec<Block>> {
    let evaluated = match evaluated {
        Ok(evaluated) => evaluated,
        Err(block) => return Ok(vec![block.clone()]),
    };
    let caption = format!(
        "How sure the ensemble is of its answer, against how often it is right, in bins of equal width; {} images.",
        evaluated.answers.len()
    );
    let mut blocks = vec![Figure::new(figures::reliability(&evaluated.answers), caption).into()];
    if options.images > 0 {
        if with_spread {
            let caption = "What each node looks at: attention maps over the first image of some classes, blue low and red high, \
                           and the class that each node answers.";
            blocks.push(evaluated.attention(&evaluated.spread(options), "Attention maps", caption)?.wide().into());
        }
        let chosen = evaluated.chosen(options);
        if !chosen.is_empty() {
            let caption = "Attention maps over the images that were asked for.";
            blocks.push(evaluated.attention(&chosen, "Chosen images", caption)?.wide().into());
        }
        if evaluated.run.graph.len() > 1 {
            let images = most_disagreed(&evaluated.answers, options.images);
            let by_maps = evaluated.answers.iter().any(|answer| answer.attention_disagreement.is_some());
            let what = if by_maps { "attention maps" } else { "class probabilities" };
            let caption = format!(
                "The images whose {what} differ most between the nodes (mean cosine of all pairs), the first most of all."
            );
            blocks.push(evaluated.attention(&images, "Images that the nodes disagree on", caption)?.wide().into());
        }
    }
    Ok(blocks)
}
