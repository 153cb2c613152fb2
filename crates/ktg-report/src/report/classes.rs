//! What a run's section says about the single classes.

use anyhow::Result;
use ktg_figures::page::{Block, Figure};

use super::evaluated::{Evaluated, Options};
use crate::Confusion;
use crate::figures;
use crate::mistakes::mistakes_figure;

/// So many classes fit into a table that everybody sees; one of more is folded.
const FEW: usize = 12;
/// So many classes fit into a matrix that can be read.
const READABLE: usize = 20;

/// The most confused classes with pictures, all classes as a table, and the confusion matrix.
pub(super) fn class_blocks(evaluated: &Evaluated, options: &Options) -> Result<Vec<Block>> {
    let Evaluated { run, data, answers } = evaluated;
    let confusion = Confusion::of(answers, &run.classes);
    let mut pairs = confusion.pairs();
    let classes = confusion.names().len();
    let mut blocks = Vec::new();
    pairs.truncate(options.images);
    if !pairs.is_empty() {
        let caption = "The classes that the ensemble confuses most. Left: an image of the class that stands before it, and what it \
                       is taken for. Right: an image of that other class. Of several images, those whose answer is surest.";
        blocks.push(Figure::new(mistakes_figure(run, data, answers, &pairs)?, caption).into());
    }
    let shown = if classes <= READABLE { (0..classes).collect() } else { confusion.most_confused(READABLE) };
    if !shown.is_empty() {
        let which = if classes <= READABLE { "" } else { " Only the classes of the most confused pairs are shown." };
        let caption = format!("How many percent of each class's images the ensemble takes for which class.{which}");
        blocks.push(Figure::new(figures::confusion(&confusion, &shown), caption).into());
    }
    let table = Block::Table(confusion.table());
    blocks.push(if classes <= FEW { table } else { Block::details(format!("All {classes} classes"), [table]) });
    Ok(blocks)
}
