//! Several runs side by side, at the beginning of a report.

use anyhow::Result;
use ktg_figures::page::Page;
use ktg_figures::table::{Cell, Column, Table};
use ktg_train::{Measures, RunDirectory, RunRecord};

use crate::compare::network;

/// A measure of a run.
struct Measure {
    name: &'static str,
    /// Whether it is one in percent, of which more is better; of the others, less is.
    is_accuracy: bool,
    value: fn(&Measures) -> f64,
}

/// What runs are compared by, in the order of the columns.
static MEASURES: [Measure; 5] = [
    Measure { name: "node average", is_accuracy: true, value: |measures| measures.node_average.top1 },
    Measure { name: "ensemble", is_accuracy: true, value: |measures| measures.ensemble.accuracy.top1 },
    Measure { name: "gain", is_accuracy: true, value: gain },
    Measure { name: "NLL", is_accuracy: false, value: |measures| measures.ensemble.nll },
    Measure { name: "ECE", is_accuracy: false, value: |measures| measures.ensemble.ece },
];

impl Measure {
    fn column(&self) -> Column {
        let column = Column::right(self.name);
        if self.is_accuracy { column.under("accuracy [%]") } else { column }
    }

    fn decimals(&self) -> usize {
        if self.is_accuracy { 2 } else { 3 }
    }
}

fn gain(measures: &Measures) -> f64 {
    measures.ensemble.accuracy.top1 - measures.node_average.top1
}

/// A run with its name in the table.
struct Row {
    name: String,
    record: RunRecord,
    /// Why its training broke off, if it did.
    divergence: Option<String>,
}

impl Row {
    /// What is missing of an unfinished run, in a sentence.
    fn unfinished(&self) -> Option<String> {
        if self.record.result.is_some() {
            return None;
        }
        let state = match &self.divergence {
            Some(reason) => format!("Not finished: {reason}."),
            None => "Not finished.".to_owned(),
        };
        let judged = self.record.epochs.iter().rev().find(|epoch| epoch.evaluation.is_some());
        Some(match judged {
            Some(epoch) => format!("{state} Its figures are those of epoch {}.", epoch.train.epoch),
            None => state,
        })
    }
}

/// Adds a section with a table of runs, if there are several.
pub(super) fn section(page: &mut Page, directories: &[&RunDirectory]) -> Result<()> {
    if directories.len() < 2 {
        return Ok(());
    }
    let names = names(directories);
    let mut rows = Vec::new();
    for (directory, name) in directories.iter().zip(names) {
        rows.push(Row { name, record: RunRecord::read(directory)?, divergence: directory.divergence()? });
    }
    page.section("Runs side by side").push(table(&rows));
    Ok(())
}

/// The directories' own names; where two have the same, all have their whole paths.
fn names(directories: &[&RunDirectory]) -> Vec<String> {
    let short = |directory: &&RunDirectory| {
        let path = directory.path();
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = directories.iter().map(short).collect();
    let all_differ = names.iter().enumerate().all(|(i, name)| !names[..i].contains(name));
    if !all_differ {
        names = directories.iter().map(|directory| directory.path().display().to_string()).collect();
    }
    names
}

fn table(rows: &[Row]) -> Table {
    let mut columns = ["run", "graph", "network"].map(Column::left).to_vec();
    columns.extend(["seed", "epochs"].map(Column::right));
    columns.extend(MEASURES.iter().map(Measure::column));
    columns.push(Column::right("images"));
    let mut table = Table::new("Runs side by side", columns);
    let judged_on = &rows[0].record.judged_on;
    // Runs of early versions do not say it.
    let judged_alike = !judged_on.is_empty() && rows.iter().all(|row| row.record.judged_on == *judged_on);
    let best_of = |measure| if judged_alike { best(rows, measure) } else { None };
    let best: Vec<Option<f64>> = MEASURES.iter().map(best_of).collect();
    for row in rows {
        let RunRecord { settings, graph, result, .. } = &row.record;
        let all = settings.train.epochs;
        let done = row.record.epochs_done();
        let name = Cell::text(&*row.name);
        let mut cells = vec![
            match row.unfinished() {
                Some(remark) => name.footnote(remark),
                None => name,
            },
            Cell::text(graph.name.as_deref().unwrap_or("-")),
            Cell::text(network(graph)),
            Cell::text(settings.seed.to_string()),
            Cell::text(result.as_ref().map_or_else(|| format!("{done} of {all}"), |result| result.epochs.to_string())),
        ];
        for (measure, best) in MEASURES.iter().zip(&best) {
            let value = row.record.measures().map(measure.value);
            let cell =
                value.map_or_else(|| Cell::missing("not judged yet"), |value| Cell::number(value, measure.decimals()));
            let is_best = result.is_some() && value.is_some() && value == *best;
            cells.push(if is_best { cell.emphasized() } else { cell });
        }
        let images = row.record.measures().map(|measures| measures.images.to_string());
        cells.push(Cell::text(images.unwrap_or_else(|| "-".to_owned())));
        table.row(cells);
    }
    table.note("Gain: ensemble minus node average. Images: those that the run is judged on.");
    if !judged_alike {
        table.note("The runs are judged on different images: none is marked as the best.");
    }
    table
}

/// The best value of the finished runs, where there are several.
fn best(rows: &[Row], measure: &Measure) -> Option<f64> {
    let finished = rows.iter().filter_map(|row| row.record.result.as_ref());
    let values: Vec<f64> = finished.map(|result| (measure.value)(&result.measures)).filter(|v| v.is_finite()).collect();
    let sign = if measure.is_accuracy { 1.0 } else { -1.0 };
    let best = values.iter().copied().max_by(|a, b| (sign * a).total_cmp(&(sign * b)));
    best.filter(|_| values.len() > 1)
}
