//! The thesis' tables 1 and 2, paired differences, and accuracy against the number of nodes.

use ktg_figures::chart::{self, ByNodes, Level, Role};
use ktg_figures::stats::{holm, paired, summary};
use ktg_figures::table::{Cell, Column, Table};
use ktg_train::RunResult;

use super::results::{Comparison, Group};
use super::thesis::Figure;
use crate::Error;

/// Confidence level of all intervals.
const LEVEL: f64 = 0.95;

/// A measure of a finished run, in percent or points.
type Value = fn(&RunResult) -> f64;

fn node_average(result: &RunResult) -> f64 {
    result.measures.node_average.top1
}

fn ensemble(result: &RunResult) -> f64 {
    result.measures.ensemble.accuracy.top1
}

fn gain(result: &RunResult) -> f64 {
    ensemble(result) - node_average(result)
}

/// Mean ± deviation of the finished runs, with a footnote if some are missing.
fn cell(group: &Group, value: Value) -> Cell {
    let values: Vec<f64> = group.finished().iter().map(|(_, result)| value(result)).collect();
    match (summary(&values), group.missing()) {
        (Some(s), None) => Cell::mean(s.mean, s.deviation, s.n, 2),
        (Some(s), Some(missing)) => {
            Cell::mean(s.mean, s.deviation, s.n, 2).footnote(format!("Over {} runs: {missing}.", s.n))
        }
        (None, missing) => Cell::missing(missing.unwrap_or_else(|| "not a number".to_owned())),
    }
}

fn thesis_cell(figure: Option<Figure>) -> Cell {
    match figure {
        Some((mean, Some(deviation))) => Cell::text(format!("{mean:.2} ± {deviation:.2}")),
        Some((mean, None)) => Cell::text(format!("{mean:.2}")),
        None => Cell::text("-"),
    }
}

/// "abn-resnet-18 x 3", as the thesis has it.
pub(crate) fn network(graph: &ktg_graph::Graph) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for node in graph.nodes() {
        match counts.iter_mut().find(|(name, _)| *name == node.architecture) {
            Some((_, count)) => *count += 1,
            None => counts.push((&node.architecture, 1)),
        }
    }
    let part = |&(name, count): &(&str, usize)| if count > 1 { format!("{name} x {count}") } else { name.to_owned() };
    counts.iter().map(part).collect::<Vec<_>>().join(" + ")
}

/// What the runs of a data set are judged on, such as "2485 test images".
fn judged_on(comparison: &Comparison, data: &str) -> Option<String> {
    let groups = comparison.groups.iter().filter(|group| group.data == data);
    let of = |group: &Group| {
        let images = group.finished().first()?.1.measures.images;
        let which = match group.settings.as_ref()?.split.evaluate_on {
            ktg_train::EvaluateOn::Test => "test images",
            ktg_train::EvaluateOn::Val => "validation images",
            ktg_train::EvaluateOn::SearchSplit => "held-out training images",
        };
        Some(format!("{images} {which}"))
    };
    groups.filter_map(of).next()
}

/// The thesis' table 1 for a data set: methods by number of nodes.
pub fn table_1(comparison: &Comparison, data: &str) -> Table {
    let with_thesis = comparison.groups.iter().any(|group| group.data == data && group.thesis.is_some());
    let mut columns = vec![
        Column::left("method"),
        Column::left("network"),
        Column::right("node average").under("accuracy [%]"),
        Column::right("ensemble").under("accuracy [%]"),
        Column::right("gain").under("accuracy [%]"),
        Column::right("runs"),
    ];
    if with_thesis {
        columns.push(Column::right("node average").under("thesis [%]"));
        columns.push(Column::right("ensemble").under("thesis [%]"));
    }
    let mut title = format!("Methods on {data}");
    if let Some(judged) = judged_on(comparison, data) {
        title += &format!(", {judged}");
    }
    let mut table = Table::new(title, columns);
    let mut first = true;
    for nodes in &comparison.index.nodes {
        let groups: Vec<&Group> =
            comparison.groups.iter().filter(|group| group.data == data && group.nodes == *nodes).collect();
        if groups.is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            table.rule();
        }
        for group in groups {
            let mut cells = vec![
                Cell::text(&*group.method),
                Cell::text(network(&group.graph)),
                cell(group, node_average),
                cell(group, ensemble),
                cell(group, gain),
                Cell::text(format!("{} of {}", group.finished().len(), group.runs.len())),
            ];
            if with_thesis {
                cells.push(thesis_cell(group.thesis.and_then(|row| row.node_average)));
                cells.push(thesis_cell(group.thesis.map(|row| row.ensemble)));
            }
            table.row(cells);
        }
    }
    table.note("Mean ± sample standard deviation over runs with different seeds. Gain: ensemble minus node average, run by run.");
    if with_thesis {
        table.note("Thesis: its own figures where the setting is the same (data, 224 px, ABN-ResNet-18, 300 epochs, batch 16).");
    }
    table
}

/// The thesis' table 2: ensemble accuracy of every method on every data set by number of nodes.
pub fn table_2(comparison: &Comparison) -> Table {
    let nodes = &comparison.index.nodes;
    let with_thesis = comparison.groups.iter().any(|group| group.thesis.is_some());
    let mut columns = vec![Column::left("data"), Column::left("method")];
    columns.extend(nodes.iter().map(|m| Column::right(m.to_string()).under("nodes, ensemble [%]")));
    if with_thesis {
        columns.extend(nodes.iter().map(|m| Column::right(m.to_string()).under("nodes, thesis [%]")));
    }
    let mut table = Table::new("Ensemble accuracy by data set and number of nodes", columns);
    for (i, data) in comparison.index.data_sets.iter().enumerate() {
        if i > 0 {
            table.rule();
        }
        for method in &comparison.index.methods {
            let groups: Vec<Option<&Group>> = nodes.iter().map(|m| comparison.group(&method.name, data, *m)).collect();
            if groups.iter().all(Option::is_none) {
                continue;
            }
            let mut cells = vec![Cell::text(data), Cell::text(&*method.name)];
            let planned = |group: &Option<&Group>| group.map_or_else(|| Cell::text("-"), |group| cell(group, ensemble));
            cells.extend(groups.iter().map(planned));
            if with_thesis {
                cells.extend(groups.iter().map(|g| thesis_cell(g.and_then(|g| g.thesis).map(|row| row.ensemble))));
            }
            table.row(cells);
        }
    }
    table.note("-: not part of the plan. Mean ± sample standard deviation over runs with different seeds.");
    table
}

/// Every method against the baseline, paired by seed: equal seeds have equal initial weights, order of images and
/// augmentation wherever the graphs allow it.
pub fn differences(comparison: &Comparison) -> Table {
    let baseline = &comparison.index.baseline;
    let columns = [
        Column::left("data"),
        Column::right("nodes"),
        Column::left("method"),
        Column::left("measure"),
        Column::right("difference"),
        Column::right("95 % interval"),
        Column::right("p"),
        Column::right("p, Holm"),
        Column::right("pairs"),
    ];
    let mut table = Table::new(format!("Differences to {baseline}, in points"), columns);
    let measures: [(&str, Value); 3] = [("ensemble", ensemble), ("node average", node_average), ("gain", gain)];
    let mut rows = Vec::new();
    for group in comparison.groups.iter().filter(|group| group.method != *baseline) {
        let Some(base) = comparison.group(baseline, &group.data, group.nodes) else { continue };
        for (name, value) in measures {
            let (ours, theirs) = (group.finished(), base.finished());
            let pairs = ours
                .iter()
                .filter_map(|(seed, run)| Some((value(run), value(theirs.iter().find(|(other, _)| other == seed)?.1))));
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.unzip();
            rows.push((group, name, a.len(), paired(&a, &b, LEVEL, 0)));
        }
    }
    let known: Vec<f64> = rows.iter().filter_map(|(.., paired)| paired.as_ref()?.p).collect();
    let mut adjusted = holm(&known).unwrap_or_default().into_iter();
    for (group, name, pairs, paired) in rows {
        let mut cells = vec![
            Cell::text(&*group.data),
            Cell::text(group.nodes.to_string()),
            Cell::text(&*group.method),
            Cell::text(name),
        ];
        match paired {
            None => {
                cells.push(Cell::missing(format!("{pairs} pairs of runs, 2 are needed")));
                cells.extend([Cell::text("-"), Cell::text("-"), Cell::text("-")]);
            }
            Some(paired) => {
                cells.push(Cell::mean(paired.mean, Some(paired.deviation), paired.n, 2));
                cells.push(Cell::text(format!("{:+.2} to {:+.2}", paired.interval.low, paired.interval.high)));
                match paired.p {
                    Some(p) => cells.extend([Cell::number(p, 3), Cell::number(adjusted.next().unwrap_or(1.0), 3)]),
                    None => cells.extend([Cell::text("-"), Cell::text("-")]),
                }
            }
        }
        cells.push(Cell::text(pairs.to_string()));
        table.row(cells);
    }
    table.note(format!(
        "Method minus {baseline}, run by run with the same seed: mean ± standard deviation of the differences, 95 % \
         confidence interval and p-value of the paired t-test, and the p-value adjusted for all rows of this table (Holm)."
    ));
    table.note(
        "The interval is about what other seeds would give on the same images; other images would add the sampling error \
         of the test set.",
    );
    table
}

/// Accuracy of the ensemble against the number of nodes, a line a method.
///
/// # Errors
/// If the chart cannot be drawn.
pub fn accuracy_figure(comparison: &Comparison, data: &str) -> Result<String, Error> {
    let mut methods = Vec::new();
    for (i, method) in comparison.index.methods.iter().enumerate() {
        let groups = comparison.groups.iter().filter(|group| group.data == data && group.method == method.name);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for group in groups {
            let nodes = u32::try_from(group.nodes).unwrap_or(u32::MAX);
            let values: Vec<f64> = group.finished().iter().map(|(_, result)| ensemble(result)).collect();
            if let Some(s) = summary(&values) {
                ours.push(Level { nodes, mean: s.mean, deviation: s.deviation, runs: s.n });
            }
            if let Some(row) = group.thesis {
                theirs.push(Level { nodes, mean: row.ensemble.0, deviation: row.ensemble.1, runs: 1 });
            }
        }
        let line = |name: String, reference: bool, mut levels: Vec<Level>| {
            levels.sort_by_key(|level| level.nodes);
            chart::Method { name, role: Role::Series(i), reference, levels }
        };
        if !ours.is_empty() {
            methods.push(line(method.name.clone(), false, ours));
        }
        if !theirs.is_empty() {
            methods.push(line(format!("{} (thesis)", method.name), true, theirs));
        }
    }
    let title = format!("Ensemble accuracy on {data}");
    Ok(chart::by_nodes(&ByNodes { title, y_title: "ensemble accuracy in %".to_owned(), methods })?)
}
