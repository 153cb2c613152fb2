//! The thesis' tables 1 and 2, paired differences, and accuracy against the number of nodes.

use ktg_base::slug;
use ktg_figures::chart::{self, ByNodes, Level, Role};
use ktg_figures::stats::{Paired, paired, summary};
use ktg_figures::table::{Cell, Column, Table};
use ktg_train::RunResult;

use super::results::{Comparison, Group, Index};
use super::thesis::Figure;
use crate::cells::{LEVEL, adjusted_where_known, difference, interval, number_or_dash};

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

fn released_cell(accuracy: Option<f64>) -> Cell {
    Cell::text(accuracy.map_or_else(|| "-".to_owned(), |accuracy| format!("{accuracy:.2}")))
}

/// What the columns of released accuracies show.
const RELEASED_NOTE: &str = "Released, one run: the ensemble of the checkpoints that the thesis' authors released, where the \
     setting is the same (crops of a plain ResNet-18's attention maps: 3, 5 and 7); a single run each, so no mean over runs.";

/// The architectures of a graph, equal ones summed up: "abn-resnet-18 x 2 + resnet-50".
pub fn network(graph: &ktg_graph::Graph) -> String {
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
    let mut groups = comparison.groups.iter().filter(|group| group.data == data);
    groups.find_map(|group| {
        let images = group.finished().first()?.1.measures.images;
        let which = match group.settings.as_ref()?.split.evaluate_on {
            ktg_train::EvaluateOn::Test => "test images",
            ktg_train::EvaluateOn::Val => "validation images",
            ktg_train::EvaluateOn::SearchSplit => "held-out training images",
        };
        Some(format!("{images} {which}"))
    })
}

/// The thesis' table 1 for a data set: methods by number of nodes.
pub fn table_1(comparison: &Comparison, data: &str) -> Table {
    let with_thesis = comparison.groups.iter().any(|group| group.data == data && group.thesis.is_some());
    let with_released = comparison.groups.iter().any(|group| group.data == data && group.released.is_some());
    let mut columns = vec![Column::left("method"), Column::left("network")];
    columns.extend(["node average", "ensemble", "gain"].map(|name| Column::right(name).under("accuracy [%]")));
    columns.push(Column::right("runs"));
    if with_thesis {
        columns.extend(["node average", "ensemble"].map(|name| Column::right(name).under("thesis [%]")));
    }
    if with_released {
        columns.push(Column::right("ensemble").under("released, one run [%]"));
    }
    let mut title = format!("Methods on {data}");
    if let Some(judged) = judged_on(comparison, data) {
        title += &format!(", {judged}");
    }
    let mut table = Table::new(title, columns);
    let mut nodes_above = None;
    // Groups come in the order of the numbers of nodes.
    for group in comparison.groups.iter().filter(|group| group.data == data) {
        if nodes_above.replace(group.nodes).is_some_and(|nodes| nodes != group.nodes) {
            table.rule();
        }
        let mut cells = vec![Cell::text(&*group.method), Cell::text(network(&group.graph))];
        cells.extend([node_average, ensemble, gain].map(|value: Value| cell(group, value)));
        cells.push(Cell::text(format!("{} of {}", group.finished().len(), group.runs.len())));
        if with_thesis {
            cells.push(thesis_cell(group.thesis.and_then(|row| row.node_average)));
            cells.push(thesis_cell(group.thesis.map(|row| row.ensemble)));
        }
        if with_released {
            cells.push(released_cell(group.released));
        }
        table.row(cells);
    }
    table.note("Mean ± sample standard deviation over runs with different seeds. Gain: ensemble minus node average, run by run.");
    for note in other_networks(comparison, data) {
        table.note(note);
    }
    if with_thesis {
        table.note("Thesis: its own figures where the setting is the same (data, 224 px, ABN-ResNet-18, 300 epochs, batch 16).");
    }
    if with_released {
        table.note(RELEASED_NOTE);
    }
    table
}

/// What must be known where a method has other networks than the baseline.
fn other_networks(comparison: &Comparison, data: &str) -> Vec<String> {
    let baseline = &comparison.index.baseline;
    let groups = comparison.groups.iter().filter(|group| group.data == data);
    let other = groups.filter_map(|group| {
        let base = comparison.group(baseline, data, group.nodes)?;
        let (ours, theirs) = (network(&group.graph), network(&base.graph));
        let (method, nodes) = (&group.method, group.nodes);
        (ours != theirs).then(|| format!("{method} x{nodes} has other networks than {baseline}: {ours}, not {theirs}."))
    });
    other.collect()
}

/// The thesis' table 2: ensemble accuracy of every method on every data set by number of nodes.
pub fn table_2(comparison: &Comparison) -> Table {
    let nodes = &comparison.index.nodes;
    let with_thesis = comparison.groups.iter().any(|group| group.thesis.is_some());
    let with_released = comparison.groups.iter().any(|group| group.released.is_some());
    let mut columns = vec![Column::left("data"), Column::left("method")];
    columns.extend(nodes.iter().map(|m| Column::right(m.to_string()).under("nodes, ensemble [%]")));
    if with_thesis {
        columns.extend(nodes.iter().map(|m| Column::right(m.to_string()).under("nodes, thesis [%]")));
    }
    if with_released {
        columns.extend(nodes.iter().map(|m| Column::right(m.to_string()).under("nodes, released, one run [%]")));
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
            if with_released {
                cells.extend(groups.iter().map(|group| released_cell(group.and_then(|group| group.released))));
            }
            table.row(cells);
        }
    }
    table.note("-: not part of the plan. Mean ± sample standard deviation over runs with different seeds.");
    if with_released {
        table.note(RELEASED_NOTE);
    }
    table
}

/// A value of the finished runs of two groups whose seeds both have, in the same order.
fn by_seed(group: &Group, base: &Group, value: Value) -> (Vec<f64>, Vec<f64>) {
    let (ours, theirs) = (group.finished(), base.finished());
    let partner = |seed: &u64| theirs.iter().find(|(other, _)| other == seed);
    ours.iter().filter_map(|(seed, run)| Some((value(run), value(partner(seed)?.1)))).unzip()
}

/// The ensembles of a group against those of another, paired by seed; `None` of fewer than two common seeds.
pub fn ensemble_difference(group: &Group, base: &Group) -> Option<Paired> {
    let (a, b) = by_seed(group, base, ensemble);
    paired(&a, &b, LEVEL)
}

/// Every method against the baseline, paired by seed: equal seeds have equal initial weights, order of images and
/// augmentation wherever the graphs allow it.
pub fn differences(comparison: &Comparison) -> Table {
    let baseline = &comparison.index.baseline;
    let names = [Column::left("data"), Column::right("nodes"), Column::left("method"), Column::left("measure")];
    let numbers = ["difference", "95 % interval", "p", "p, Holm", "pairs"].map(Column::right);
    let columns = names.into_iter().chain(numbers);
    let mut table = Table::new(format!("Differences to {baseline}, in points"), columns);
    let measures: [(&str, Value); 3] = [("ensemble", ensemble), ("node average", node_average), ("gain", gain)];
    let mut rows = Vec::new();
    for group in comparison.groups.iter().filter(|group| group.method != *baseline) {
        let Some(base) = comparison.group(baseline, &group.data, group.nodes) else { continue };
        for (name, value) in measures {
            let (a, b) = by_seed(group, base, value);
            rows.push((group, name, a.len(), paired(&a, &b, LEVEL)));
        }
    }
    let p: Vec<Option<f64>> = rows.iter().map(|(.., paired)| paired.as_ref()?.p).collect();
    for (((group, name, pairs, paired), p), adjusted) in rows.iter().zip(&p).zip(adjusted_where_known(&p)) {
        table.row([
            Cell::text(&*group.data),
            Cell::text(group.nodes.to_string()),
            Cell::text(&*group.method),
            Cell::text(*name),
            difference(paired.as_ref(), 2, &format!("{pairs} pairs of runs, 2 are needed")),
            interval(paired.as_ref()),
            number_or_dash(*p, 3),
            number_or_dash(adjusted, 3),
            Cell::text(pairs.to_string()),
        ]);
    }
    table.note(format!(
        "Method minus {baseline}, run by run with the same seed: mean ± standard deviation of the differences, 95 % \
         confidence interval and p-value of the paired t-test, and the p-value adjusted for the number of p-values in this \
         table (Holm)."
    ));
    table.note(
        "The interval is about what other seeds would give on the same images; other images would add the sampling error \
         of the test set.",
    );
    table
}

/// All tables of a comparison: one of each data set's methods, and where there are several of what they compare, those of
/// data sets and numbers of nodes and of differences between methods; with names as for files.
pub fn tables(comparison: &Comparison) -> Vec<(String, Table)> {
    let Index { data_sets, nodes, methods, .. } = &comparison.index;
    let several = data_sets.len() > 1;
    let mut tables = Vec::new();
    for data in data_sets {
        let name = if several { format!("table1-{}", slug(data)) } else { "table1".to_owned() };
        tables.push((name, table_1(comparison, data)));
    }
    if several || nodes.len() > 1 {
        tables.push(("table2".to_owned(), table_2(comparison)));
    }
    if methods.len() > 1 {
        tables.push(("differences".to_owned(), differences(comparison)));
    }
    tables
}

/// Accuracy of the ensemble against the number of nodes, a line a method.
pub fn accuracy_figure(comparison: &Comparison, data: &str) -> String {
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
        let names = [method.name.clone(), format!("{} (thesis)", method.name)];
        for ((name, reference), mut levels) in names.into_iter().zip([false, true]).zip([ours, theirs]) {
            levels.sort_by_key(|level| level.nodes);
            methods.push(chart::Method { name, role: Role::Series(i), reference, levels });
        }
    }
    methods.retain(|method| !method.levels.is_empty());
    let title = format!("Ensemble accuracy on {data}");
    chart::by_nodes(&ByNodes { title, y_title: "ensemble accuracy in %".to_owned(), methods })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ktg_graph::{Graph, presets};
    use ktg_train::RunDirectory;
    use ktg_train::measures::{Accuracy, EnsembleMeasures, Measures};

    use super::super::results::{GroupRun, Index, IndexedMethod, RunState};
    use super::*;

    fn finished(average: f64, ensemble: f64) -> RunState {
        let accuracy = |top1: f64| Accuracy { top1, top5: 99.0 };
        let measures = Measures {
            images: 100,
            nodes: vec![accuracy(average); 2],
            node_average: accuracy(average),
            ensemble: EnsembleMeasures { accuracy: accuracy(ensemble), nll: 1.0, ece: 0.1, calibrated: None },
            pairs: Vec::new(),
        };
        RunState::Finished(Box::new(RunResult {
            graph: None,
            graph_hash: String::new(),
            seed: 0,
            epochs: 1,
            best_epoch: None,
            stopped_early: false,
            train_images: 10,
            seconds: 1.0,
            measures,
        }))
    }

    fn group(method: &str, graph: Graph, runs: Vec<RunState>) -> Group {
        Group {
            method: method.to_owned(),
            data: "dogs".to_owned(),
            nodes: graph.len(),
            origin: String::new(),
            graph,
            settings: None,
            runs: runs
                .into_iter()
                .zip(1..)
                .map(|(state, seed)| GroupRun { seed, directory: RunDirectory::new(""), state })
                .collect(),
            thesis: None,
            released: None,
        }
    }

    fn comparison(groups: Vec<Group>) -> Comparison {
        let methods = ["Independent", "DML"].map(|name| IndexedMethod { name: name.to_owned(), thesis: None });
        Comparison {
            directory: PathBuf::new(),
            index: Index {
                command: String::new(),
                plan: String::new(),
                baseline: "Independent".to_owned(),
                methods: methods.to_vec(),
                data_sets: vec!["dogs".to_owned()],
                nodes: vec![2],
                seeds: vec![1, 2, 3],
                groups: Vec::new(),
                precisions: Default::default(),
            },
            groups,
        }
    }

    fn two_methods() -> Comparison {
        let independent = vec![finished(60.0, 70.0), finished(61.0, 72.0), finished(62.0, 74.0)];
        let dml = vec![finished(63.0, 71.5), RunState::Failed("diverged".to_owned()), finished(64.0, 74.5)];
        comparison(vec![
            group("Independent", presets::independent(2, "a"), independent),
            group("DML", presets::dml(2, "a"), dml),
        ])
    }

    #[test]
    fn a_failed_run_is_named_and_not_averaged_away() {
        let text = table_1(&two_methods(), "dogs").to_text();
        let line = |method: &str| text.lines().find(|line| line.starts_with(method)).unwrap().to_owned();
        assert!(line("Independent").contains("72.00 ± 2.00") && line("Independent").contains("3 of 3"), "{text}");
        assert!(line("DML").contains("73.00 ± 2.12") && line("DML").contains("2 of 3"), "{text}");
        assert!(text.contains("Over 2 runs: 1 of 3 runs failed"), "{text}");
        assert!(!text.contains("thesis") && !text.contains("eleased"), "no setting is the thesis'");
    }

    #[test]
    fn differences_are_of_equal_seeds() {
        // Seeds 1 and 3: 71.5 - 70 and 74.5 - 74, mean 1. Means of all runs would give 73 - 72 here by accident only.
        let csv = differences(&two_methods()).to_csv();
        let row = csv.lines().find(|line| line.contains("DML") && line.contains(",ensemble,")).unwrap();
        let fields: Vec<&str> = row.split(',').collect();
        let numbers: Vec<f64> = fields.iter().filter_map(|field| field.parse().ok()).collect();
        assert!(numbers.contains(&1.0) && numbers.iter().any(|v| (v - 0.5f64.sqrt()).abs() < 1e-9), "{row}");
        // t with one degree of freedom: 12.706 * 0.7071 / sqrt(2).
        assert!(row.contains("-5.35 to +7.35"), "{row}");
    }

    #[test]
    fn the_thesis_stands_beside_ours_where_it_has_figures() {
        let mut comparison = two_methods();
        comparison.groups[1].thesis =
            Some(super::super::thesis::Row { node_average: None, ensemble: (72.08, Some(0.42)) });
        let text = table_1(&comparison, "dogs").to_text();
        assert!(text.contains("72.08 ± 0.42") && text.contains("Thesis: its own figures"), "{text}");
        assert!(accuracy_figure(&comparison, "dogs").contains("DML (thesis)"));
        let text = table_2(&comparison).to_text();
        assert!(text.contains("72.08") && text.contains("73.00 ± 2.12"), "{text}");
    }

    #[test]
    fn released_runs_stand_in_a_column_of_their_own() {
        let mut comparison = two_methods();
        comparison.groups[0].released = Some(71.06);
        let text = table_1(&comparison, "dogs").to_text();
        let line = |text: &str, method: &str| text.lines().find(|line| line.contains(method)).unwrap().to_owned();
        assert!(line(&text, "Independent").trim_end().ends_with("71.06"), "{text}");
        assert!(line(&text, "DML").trim_end().ends_with('-'), "{text}");
        assert!(text.contains("released, one run [%]") && text.contains("no mean over runs"), "{text}");
        assert!(text.contains("crops of a plain ResNet-18's attention maps: 3, 5 and 7"), "{text}");
        assert!(!text.contains("thesis [%]"), "{text}");
        let text = table_2(&comparison).to_text();
        assert!(line(&text, "Independent").trim_end().ends_with("71.06"), "{text}");
        assert!(text.contains("nodes, released, one run [%]") && text.contains("no mean over runs"), "{text}");
    }

    #[test]
    fn nothing_finished_is_no_reason_to_fail() {
        let open = vec![RunState::Missing, RunState::Unfinished { done: 1, epochs: 3 }, RunState::Missing];
        let comparison = comparison(vec![group("Independent", presets::independent(2, "a"), open)]);
        let text = table_1(&comparison, "dogs").to_text();
        assert!(text.contains("missing: 3 of 3 runs not finished"), "{text}");
        assert!(accuracy_figure(&comparison, "dogs").contains("No run is finished yet."));
    }
}
