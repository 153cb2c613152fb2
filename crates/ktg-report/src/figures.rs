//! Figures of one run and of one study, as SVG.

use std::borrow::Borrow;

use ktg_figures::chart::{self, Bar, BarRow, Bars, Curve, Curves, History, Matrix, Reliability, Role, Rungs};
use ktg_figures::{draw, stats};
use ktg_graph::Graph;
use ktg_search::{ParameterKind, storage};
use ktg_train::measures::{CALIBRATION_BINS, PairMeasures};
use ktg_train::{EpochReport, Measures, RunRecord};

use crate::StudyRecord;
use crate::analysis::ParameterImportance;
use crate::answers::Answer;
use crate::confusion::Confusion;

/// Accuracy of every node and the ensemble after every judged epoch, and of the nodes on the training images.
pub fn training_curves(run: &RunRecord) -> String {
    let epoch = |report: &EpochReport| report.train.epoch as f64;
    let judged = |value: &dyn Fn(&Measures) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |report: &EpochReport| Some((epoch(report), value(report.evaluation.as_ref()?)?));
        run.epochs.iter().filter_map(point).collect()
    };
    let mut lines = Vec::new();
    for m in 0..run.graph.len() {
        let trained = |report: &EpochReport| Some((epoch(report), report.train.nodes.get(m)?.accuracy?));
        let line = |points, dashed| Curve { name: format!("node {}", m + 1), points, role: Role::Series(m), dashed };
        lines.push(line(run.epochs.iter().filter_map(trained).collect(), true));
        lines.push(line(judged(&|measures| Some(measures.nodes.get(m)?.top1)), false));
    }
    let points = judged(&|measures| Some(measures.ensemble.accuracy.top1));
    lines.push(Curve { name: "ensemble".to_owned(), points, role: Role::Ensemble, dashed: false });
    lines.retain(|line| !line.points.is_empty());
    let kinds = ["judged images".to_owned(), "training images, augmented".to_owned()];
    let title = "Accuracy while training".to_owned();
    chart::curves(&Curves { title, y_title: "accuracy in %".to_owned(), lines, kinds })
}

/// Loss of every edge, after its gate, over the epochs; dashed and without a name, that of each term of an edge that has
/// several.
pub fn edge_losses(run: &RunRecord) -> String {
    let mut lines: Vec<Curve> = Vec::new();
    for report in &run.epochs {
        let epoch = report.train.epoch as f64;
        for edge in &report.train.edges {
            let role = Role::Series(edge.to - 1);
            add_point(&mut lines, edge.to_string(), role, false, (epoch, edge.loss));
            if edge.terms.len() > 1 {
                for (knowledge, loss) in &edge.terms {
                    add_point(&mut lines, format!("{edge}, {knowledge}"), role, true, (epoch, *loss));
                }
            }
        }
    }
    lines.sort_by_key(|line| line.dashed);
    let kinds = ["edge".to_owned(), "one of its terms".to_owned()];
    let (title, y_title) = ("Loss of every edge".to_owned(), "mean loss after the gate".to_owned());
    chart::curves(&Curves { title, y_title, lines, kinds })
}

/// Adds a point to the line of this name, which begins with it if it is the first.
fn add_point(lines: &mut Vec<Curve>, name: String, role: Role, dashed: bool, point: (f64, f64)) {
    match lines.iter_mut().find(|line| line.name == name) {
        Some(line) => line.points.push(point),
        None => lines.push(Curve { name, points: vec![point], role, dashed }),
    }
}

/// How much the nodes differ, pair by pair: disagreement, cosine of the probabilities and, where maps can be compared,
/// of the attention maps.
pub fn diversity(measures: &Measures) -> Vec<String> {
    type Value = fn(&PairMeasures) -> Option<f64>;
    let kinds: [(&str, &str, Value); 3] = [
        ("Disagreement", "share of images answered differently", |pair| Some(pair.disagreement)),
        ("Class probabilities", "mean cosine", |pair| Some(pair.probability_cosine)),
        ("Attention maps", "mean cosine", |pair| pair.attention_cosine),
    ];
    let nodes = measures.nodes.len();
    let mut figures = Vec::new();
    for (title, measure, value) in kinds {
        let mut values = vec![vec![None; nodes]; nodes];
        for pair in &measures.pairs {
            let [a, b] = pair.nodes.map(|node| node - 1);
            values[a][b] = value(pair);
            values[b][a] = value(pair);
        }
        if values.iter().flatten().any(Option::is_some) {
            let names = (1..=nodes).map(|m| format!("node {m}")).collect();
            let (title, measure) = (title.to_owned(), measure.to_owned());
            let range = (0.0, 1.0);
            let figure = Matrix { title, names, values, range, decimals: 2, measure, ..Matrix::default() };
            figures.push(chart::matrix(&figure));
        }
    }
    figures
}

/// For each of some classes, how many percent of its images the ensemble takes for each of them.
pub fn confusion(confusion: &Confusion, classes: &[usize]) -> String {
    let percent = |label: usize, answer: usize| confusion.share(label, answer).map(|share| 100.0 * share);
    let row = |label: &usize| classes.iter().map(|answer| percent(*label, *answer)).collect();
    chart::matrix(&Matrix {
        title: "Which classes are taken for which".to_owned(),
        names: classes.iter().map(|label| confusion.names()[*label].clone()).collect(),
        values: classes.iter().map(row).collect(),
        range: (0.0, 100.0),
        decimals: 0,
        measure: "Rows: the images' class. Columns: what the ensemble takes them for, in % of the row's images."
            .to_owned(),
        wide: true,
        hides_zeros: true,
    })
}

/// Whether the ensemble is as sure as it is right.
pub fn reliability(answers: &[Answer]) -> String {
    let confidence: Vec<f64> = answers.iter().map(|answer| answer.confidence.clamp(0.0, 1.0)).collect();
    let correct: Vec<bool> = answers.iter().map(|answer| answer.ensemble == answer.label).collect();
    let found = stats::reliability(&confidence, &correct, CALIBRATION_BINS);
    let ece = found.as_ref().map(|found| found.ece);
    let title = "Confidence of the ensemble".to_owned();
    chart::reliability(&Reliability { title, bins: found.map_or_else(Vec::new, |found| found.bins), ece })
}

/// Every trial's last value against the epochs spent, and the best so far. Values of trials that are no graphs of the
/// study's search space would say nothing beside the others.
pub fn history(study: &StudyRecord) -> String {
    let is_shown = |trial: &&storage::Trial| study.metadata.space.is_none() || study.genes(trial).is_ok();
    let mut trials: Vec<&storage::Trial> = study.trials.iter().filter(is_shown).collect();
    // Those that are not over come last; texts of times sort as times.
    trials.sort_by_key(|trial| (trial.completed.is_none(), trial.completed.clone(), trial.number));
    let trial = |trial: &&storage::Trial| {
        let last = trial.last_report();
        chart::Trial {
            number: u64::try_from(trial.number).unwrap_or(0),
            value: last.map(|(_, value)| value).or(trial.value),
            epochs: last.map_or(0, |(step, _)| u64::try_from(step).unwrap_or(0)),
            state: match trial.state {
                storage::State::Complete => chart::State::Complete,
                storage::State::Pruned => chart::State::Pruned,
                storage::State::Fail => chart::State::Failed,
                storage::State::Running | storage::State::Waiting => chart::State::Running,
            },
        }
    };
    let trials = trials.iter().map(trial).collect();
    let (title, y_title) = (format!("Search of the study {}", study.name), value_title(study));
    chart::history(&History { title, y_title, trials })
}

/// What the values of a study's trials are.
fn value_title(study: &StudyRecord) -> String {
    format!("{} {}", study.judged_part(), study.metadata.objective.title())
}

/// How many trials reached each rung, and their values there. `None` for a study without rungs.
pub fn rungs(study: &StudyRecord) -> Option<String> {
    let rungs = study.rungs().into_iter().map(|rung| chart::Rung {
        epochs: rung.epoch.map_or(rung.number as u64 + 1, |epoch| u64::try_from(epoch).unwrap_or(0)),
        kept: rung.kept,
        stopped: rung.stopped,
    });
    let rungs: Vec<chart::Rung> = rungs.collect();
    let (title, y_title) = ("Rungs".to_owned(), value_title(study));
    (!rungs.is_empty()).then(|| chart::rungs(&Rungs { title, y_title, rungs }))
}

/// How much the design and the gate of every edge have to do with a graph's place in the search.
pub fn importance(parameters: &[ParameterImportance]) -> String {
    let kinds = [ParameterKind::Gate, ParameterKind::Design, ParameterKind::Architecture];
    let is_used = |kind: &ParameterKind| parameters.iter().any(|p| p.found.is_some() && p.parameter.kind() == *kind);
    let kinds: Vec<ParameterKind> = kinds.into_iter().filter(is_used).collect();
    let mut rows: Vec<BarRow> = Vec::new();
    for importance in parameters {
        let part = importance.parameter.part();
        let index = rows.iter().position(|row| row.name == part).unwrap_or_else(|| {
            rows.push(BarRow { name: part, bars: vec![None; kinds.len()] });
            rows.len() - 1
        });
        let Some(found) = &importance.found else { continue };
        let Some(kind) = kinds.iter().position(|kind| *kind == importance.parameter.kind()) else { continue };
        let stars = match importance.adjusted {
            Some(p) if p < 0.01 => " **",
            Some(p) if p < 0.05 => " *",
            _ => "",
        };
        let note = format!("{:.2}{stars}", found.effect);
        rows[index].bars[kind] = Some(Bar { value: found.effect, note });
    }
    let kinds = kinds.iter().map(ToString::to_string).collect();
    let title = "What the choice for each edge explains".to_owned();
    let x_title = "share of the variance of the places (epsilon squared)".to_owned();
    chart::bars(&Bars { title, x_title, kinds, rows })
}

/// The best graphs of a study side by side, each with its place; `None` if there are none.
pub fn best_graphs(study: &StudyRecord, top: usize) -> Option<String> {
    let mut graphs = Vec::new();
    for (place, trial) in study.best_first().into_iter().take(top).enumerate() {
        let value = study.value_in_words(trial);
        let Ok(graph) = study.graph(trial) else { continue };
        graphs.push((graph, format!("{}. trial {}, {value}", place + 1, trial.number)));
    }
    sheet(&graphs)
}

/// Graphs side by side, each with its caption; `None` if there are none. Those of two nodes are wide, those of many have
/// small texts.
pub fn sheet<G: Borrow<Graph>>(graphs: &[(G, String)]) -> Option<String> {
    let (first, _) = graphs.first()?;
    let columns = if first.borrow().len() == 3 { 3 } else { 2 };
    let pairs: Vec<(&Graph, &str)> = graphs.iter().map(|(graph, caption)| (graph.borrow(), &**caption)).collect();
    Some(draw::sheet(&pairs, columns.min(pairs.len())))
}
