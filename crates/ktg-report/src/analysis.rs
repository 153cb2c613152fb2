//! What good graphs have in common, and what each edge of one is good for. The thesis leaves both open.

use std::collections::BTreeMap;

use ktg_figures::chart::{self, Effect, Forest};
use ktg_figures::stats::{self, CategoryRank, Enrichment, Importance, Paired};
use ktg_figures::table::{Cell, Column, Table};
use ktg_graph::{Design, Direction, Gate, Graph};
use ktg_search::Parameter;
use ktg_search::analysis::{AS_FOUND, Judged};
use ktg_search::attributes::NODE_AVERAGE;

use crate::cells::{LEVEL, adjusted_where_known, difference, emphasized_if_significant, interval, number_or_dash};
use crate::placed::PlacedGraphs;
use crate::{LeftOut, StudyRecord};

/// Shuffles of a permutation test, at least. A p-value that is adjusted for many tests needs more to be small at all.
const ROUNDS: usize = 2000;

/// What is counted in a graph.
pub fn feature_names() -> Vec<String> {
    let mut names =
        vec!["transfer edges".to_owned(), "edges that bring closer".to_owned(), "edges that push apart".to_owned()];
    names.extend(Design::THESIS.map(|design| design.to_string()));
    names.extend(transfer_gates().map(|gate| format!("transfer gate {gate}")));
    names.extend([Gate::Through, Gate::Linear, Gate::Cutoff].map(|gate| format!("label gate {gate}")));
    names
}

fn transfer_gates() -> impl Iterator<Item = Gate> {
    Gate::ALL.into_iter().filter(|gate| !gate.is_cut())
}

/// The counts of a graph, in the order of [`feature_names`]. The numbering of the nodes does not matter.
pub fn features(graph: &Graph) -> Vec<f64> {
    let transfers: Vec<_> = graph.active_transfers().map(|(_, _, transfer)| transfer).collect();
    let count = |wanted: &dyn Fn(&ktg_graph::Transfer) -> bool| transfers.iter().filter(|t| wanted(t)).count() as f64;
    let towards = |direction: Direction| count(&|transfer| transfer.design.direction() == Some(direction));
    let mut counts = vec![transfers.len() as f64, towards(Direction::Closer), towards(Direction::Apart)];
    counts.extend(Design::THESIS.map(|design| count(&|transfer| transfer.design == design)));
    counts.extend(transfer_gates().map(|gate| count(&|transfer| transfer.gate == gate)));
    // `correct` on a label edge is `through`.
    let labels = |gate: Gate| (0..graph.len()).filter(|m| graph.label_gate(*m).on_label() == gate).count() as f64;
    counts.extend([Gate::Through, Gate::Linear, Gate::Cutoff].map(labels));
    counts
}

/// What the best graphs of a study have more or less of than all its graphs.
#[derive(Clone, Debug)]
pub struct Common {
    /// Graphs that were judged.
    pub graphs: usize,
    /// How many of them count as the best.
    pub top: usize,
    /// Trials that are not among the graphs.
    pub left_out: LeftOut,
    /// One entry a feature.
    pub features: Vec<(String, Enrichment)>,
}

/// A parameter of a study and what its choice explains.
#[derive(Clone, Debug)]
pub struct ParameterImportance {
    /// As the study has it.
    pub parameter: Parameter,
    /// `None` if there is too little to compare.
    pub found: Option<Importance>,
    /// p-value of [`Importance`], adjusted for the number of parameters (Holm).
    pub adjusted: Option<f64>,
    /// PED-ANOVA for reaching the best quarter, as a share of all parameters.
    pub ped_anova: Option<f64>,
}

/// Compares the best `share` (0 to 1) of a study's graphs with all. `None` with fewer than ten graphs.
pub fn common(study: &StudyRecord, share: f64) -> Option<Common> {
    let space = study.metadata.space.as_ref()?;
    let PlacedGraphs { genes, places } = PlacedGraphs::of(study);
    let graphs = genes.len();
    if graphs < 10 {
        return None;
    }
    let top = ((graphs as f64 * share).round() as usize).clamp(3, graphs);
    let counts: Vec<Vec<f64>> = genes.iter().map(|genes| features(&space.graph(genes))).collect();
    let found = stats::enrichment(&places, &counts, top, ROUNDS, 0)?;
    let features = feature_names().into_iter().zip(found).collect();
    Some(Common { graphs, top, left_out: LeftOut::of(study), features })
}

impl Common {
    /// As a table.
    pub fn table(&self) -> Table {
        let means = [format!("best {}", self.top), format!("all {}", self.graphs)];
        let means = means.map(|heading| Column::right(heading).under("mean per graph"));
        let numbers = ["difference", "p", "p, adjusted"].map(Column::right);
        let columns = [Column::left("number of")].into_iter().chain(means).chain(numbers);
        let mut table = Table::new("What the best graphs have more or less of", columns);
        for (name, found) in &self.features {
            let [top, all, difference] = [found.top, found.all, found.difference].map(|count| Cell::number(count, 2));
            let [p, adjusted] = [found.p, found.adjusted].map(|p| Cell::number(p, 3));
            let cells = [Cell::text(&**name), top, all, difference, p, adjusted];
            table.row(emphasized_if_significant(cells, Some(found.adjusted)));
        }
        table.emphasis("adjusted p below 0.05");
        table.note("p: how often as many graphs, drawn at random from all, differ as much (permutation test, the graph is the unit); adjusted for the number of rows (Benjamini and Hochberg).");
        for sentence in self.left_out.sentences() {
            table.note(sentence);
        }
        table
    }
}

/// What the choice of each parameter explains of the places of a study's graphs.
pub fn importance(study: &StudyRecord) -> Vec<ParameterImportance> {
    let Some(space) = &study.metadata.space else { return Vec::new() };
    let PlacedGraphs { genes, places } = PlacedGraphs::of(study);
    // The design of a cut edge means nothing.
    let relevant: Vec<Vec<Option<usize>>> = genes.iter().map(|genes| space.relevant(genes)).collect();
    let rounds = ROUNDS.max(400 * space.parameters().len()).min(20_000);
    let mut all: Vec<ParameterImportance> = Vec::new();
    for (p, parameter) in space.parameters().iter().enumerate() {
        let chosen: Vec<Option<usize>> = relevant.iter().map(|choices| choices[p]).collect();
        let (scores, groups): (Vec<f64>, Vec<usize>) =
            places.iter().zip(&chosen).filter_map(|(place, choice)| Some((*place, (*choice)?))).unzip();
        let choices = parameter.choices.len();
        let ped_anova = if genes.len() < 20 { None } else { stats::ped_anova(&places, &chosen, choices, 0.25) };
        all.push(ParameterImportance {
            parameter: parameter.clone(),
            found: if scores.len() < 10 { None } else { stats::importance(&scores, &groups, rounds, 0) },
            adjusted: None,
            ped_anova,
        });
    }
    let p: Vec<Option<f64>> = all.iter().map(|parameter| Some(parameter.found.as_ref()?.p)).collect();
    let sum: f64 = all.iter().filter_map(|parameter| parameter.ped_anova).sum();
    for (parameter, adjusted) in all.iter_mut().zip(adjusted_where_known(&p)) {
        parameter.adjusted = adjusted;
        parameter.ped_anova = parameter.ped_anova.filter(|_| sum > 0.0).map(|value| value / sum);
    }
    all
}

/// The importances as a table.
pub fn importance_table(parameters: &[ParameterImportance]) -> Table {
    let numbers = ["explains", "by chance", "p, adjusted", "PED-ANOVA [%]"].map(Column::right);
    let choices = ["best choice", "worst choice"].map(Column::left);
    let columns = [Column::left("parameter")].into_iter().chain(numbers).chain(choices);
    let mut table = Table::new("What the choice for each edge explains", columns);
    for importance in parameters {
        let found = importance.found.as_ref();
        let mut groups: Vec<&CategoryRank> = found.iter().flat_map(|found| &found.groups).collect();
        groups.sort_by(|a, b| b.mean_rank.total_cmp(&a.mean_rank));
        let choice = |group: Option<&&CategoryRank>| {
            let words = |group: &&CategoryRank| {
                format!("{} ({:.2}, {} graphs)", importance.parameter.choices[group.category], group.mean_rank, group.n)
            };
            Cell::text(group.map_or_else(|| "-".to_owned(), words))
        };
        let cells = [
            Cell::text(&*importance.parameter.name),
            found.map_or_else(|| Cell::missing("too few graphs"), |found| Cell::number(found.effect, 3)),
            number_or_dash(found.map(|found| found.chance), 3),
            number_or_dash(importance.adjusted, 3),
            number_or_dash(importance.ped_anova.map(|share| 100.0 * share), 1),
            choice(groups.first()),
            choice(groups.last()),
        ];
        table.row(emphasized_if_significant(cells, importance.adjusted));
    }
    table.emphasis("adjusted p below 0.05");
    table.note("Explains: epsilon squared of Kruskal's and Wallis' test on the places of the graphs; by chance: its mean if the choice did not matter; p from shuffled choices, adjusted for the number of rows (Holm). In brackets: mean place of the graphs with that choice, from 0 (the worst) to 1 (the best).");
    table
}

/// What a change to a graph costs: the graph as found minus the changed one, over equal seeds.
#[derive(Clone, Debug)]
pub struct Contribution {
    /// The change, such as `1 -> 2 cut`.
    pub variant: String,
    /// Seeds that both were trained with.
    pub pairs: usize,
    /// By the name of the measure: `None` with fewer than two pairs.
    pub measures: Vec<(&'static str, Option<Paired>)>,
    /// p-value of the ensemble's difference, adjusted for the number of changes (Holm).
    pub adjusted: Option<f64>,
}

impl Contribution {
    /// What the change costs the ensemble.
    fn ensemble(&self) -> Option<&Paired> {
        self.measures[0].1.as_ref()
    }
}

/// What is compared: the name in tables and the names of what is added and subtracted in the trials.
const MEASURES: [(&str, &[&str], &[&str]); 5] = [
    ("ensemble", &["ensemble"], &[]),
    (NODE_AVERAGE, &[NODE_AVERAGE], &[]),
    ("gain", &["ensemble"], &[NODE_AVERAGE]),
    ("disagreement", &["disagreement"], &[]),
    ("attention cosine", &["attention cosine"], &[]),
];

/// What each change of an analysis costs.
pub fn contributions(judged: &[Judged]) -> Vec<Contribution> {
    let value = |judged: &Judged, name: &str| judged.measures.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    let sum = |judged: &Judged, names: &[&str]| names.iter().map(|name| value(judged, name)).sum::<Option<f64>>();
    let as_found: BTreeMap<u64, &Judged> =
        judged.iter().filter(|j| j.variant == AS_FOUND).map(|j| (j.seed, j)).collect();
    let mut names: Vec<&str> = Vec::new();
    for trial in judged.iter().filter(|j| j.variant != AS_FOUND) {
        if !names.contains(&&*trial.variant) {
            names.push(&trial.variant);
        }
    }
    let contribution = |name: &str| {
        let is_pair = |trial: &&Judged| trial.variant == name && as_found.contains_key(&trial.seed);
        let trials: Vec<&Judged> = judged.iter().filter(is_pair).collect();
        let compared = |plus: &[&str], minus: &[&str]| {
            let measure = |judged: &Judged| Some(sum(judged, plus)? - sum(judged, minus)?);
            let pairs = trials.iter().map(|trial| Some((measure(as_found[&trial.seed])?, measure(trial)?)));
            let (found, changed): (Vec<f64>, Vec<f64>) = pairs.collect::<Option<_>>()?;
            stats::paired(&found, &changed, LEVEL)
        };
        let measures = MEASURES.iter().map(|(measure, plus, minus)| (*measure, compared(plus, minus))).collect();
        Contribution { variant: name.to_owned(), pairs: trials.len(), measures, adjusted: None }
    };
    let mut all: Vec<Contribution> = names.into_iter().map(contribution).collect();
    let p: Vec<Option<f64>> = all.iter().map(|contribution| contribution.ensemble()?.p).collect();
    for (contribution, adjusted) in all.iter_mut().zip(adjusted_where_known(&p)) {
        contribution.adjusted = adjusted;
    }
    all
}

/// The contributions as tables: to the ensemble, and to what makes it.
pub fn contribution_tables(contributions: &[Contribution]) -> [Table; 2] {
    let numbers = ["points", "95 % interval", "p, adjusted", "pairs"].map(Column::right);
    let columns = std::iter::once(Column::left("change")).chain(numbers);
    let mut ensemble = Table::new("What each edge contributes to the ensemble: as found minus changed", columns);
    let unit = |name: &str| if matches!(name, "disagreement" | "attention cosine") { "of 1" } else { "points" };
    let columns = MEASURES[1..].iter().map(|(name, ..)| Column::right(*name).under(unit(name)));
    let columns = std::iter::once(Column::left("change")).chain(columns);
    let mut parts = Table::new("What each edge contributes to nodes and diversity: as found minus changed", columns);
    for contribution in contributions {
        let missing = if contribution.pairs < 2 { "two seeds are needed" } else { "not measured" };
        let cells = [
            Cell::text(&*contribution.variant),
            difference(contribution.ensemble(), 2, missing),
            interval(contribution.ensemble()),
            number_or_dash(contribution.adjusted, 3),
            Cell::text(contribution.pairs.to_string()),
        ];
        ensemble.row(emphasized_if_significant(cells, contribution.adjusted));
        let values = contribution.measures[1..].iter().map(|(name, paired)| {
            let decimals = if unit(name) == "of 1" { 3 } else { 2 };
            difference(paired.as_ref(), decimals, missing)
        });
        parts.row(std::iter::once(Cell::text(&*contribution.variant)).chain(values));
    }
    ensemble.emphasis("adjusted p below 0.05");
    ensemble.note(
        "Differences over equal seeds, mean ± standard deviation: above 0, the ensemble is better with the edge as it was \
         found. Interval and p: paired t-test; p adjusted for the number of changes (Holm).",
    );
    parts.note("Above 0, the graph as found has more of it. Gain: ensemble minus node average.");
    [ensemble, parts]
}

/// What each change costs the ensemble, as a picture.
pub fn contribution_figure(contributions: &[Contribution]) -> String {
    let row = |contribution: &Contribution| {
        let ensemble = contribution.ensemble();
        let text = match (ensemble, contribution.adjusted) {
            (Some(paired), Some(p)) => format!("{:+.2} (p = {p:.2})", paired.mean),
            (Some(paired), None) => format!("{:+.2}", paired.mean),
            (None, _) => "too few runs".to_owned(),
        };
        Effect {
            name: contribution.variant.clone(),
            estimate: ensemble.map_or(f64::NAN, |paired| paired.mean),
            interval: ensemble.map(|paired| (paired.interval.low, paired.interval.high)),
            text,
        }
    };
    chart::forest(&Forest {
        title: "What each edge contributes to the ensemble".to_owned(),
        x_title: "accuracy as found minus accuracy changed, in points".to_owned(),
        sides: ["better without".to_owned(), "better as found".to_owned()],
        heading: "points (p adjusted)".to_owned(),
        rows: contributions.iter().map(row).collect(),
    })
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Transfer, presets};

    use super::*;

    #[test]
    fn a_graph_is_counted_whatever_its_numbering() {
        let mut graph = presets::dml(3, "a");
        graph.set_label_gate(2, Gate::Cutoff);
        graph.set_transfer(0, 1, Some(Transfer { design: Design::ATTENTION_APART, gate: Gate::Linear }));
        let counts: BTreeMap<String, f64> = feature_names().into_iter().zip(features(&graph)).collect();
        let of = |name: &str| counts[name];
        assert_eq!((of("transfer edges"), of("edges that push apart"), of("probability closer")), (6.0, 1.0, 5.0));
        assert_eq!((of("transfer gate linear"), of("label gate through"), of("label gate cutoff")), (1.0, 2.0, 1.0));
        assert_eq!(features(&graph), features(&graph.canonical()));
    }

    fn judged(variant: &str, seed: u64, ensemble: f64, average: f64) -> Judged {
        let measures = vec![("ensemble".to_owned(), ensemble), ("node average".to_owned(), average)];
        Judged { variant: variant.to_owned(), seed, measures }
    }

    #[test]
    fn contributions_are_paired_by_seed() {
        let mut all = Vec::new();
        for (seed, base) in [(1, 70.0), (2, 74.0), (3, 78.0)] {
            all.push(judged("as found", seed, base, base - 2.0));
            all.push(judged("1 -> 2 cut", seed, base - 1.0 - 0.01 * seed as f64, base - 2.5));
        }
        // A seed that was not trained as found cannot be compared.
        all.push(judged("1 -> 2 cut", 4, 10.0, 10.0));
        let found = contributions(&all);
        assert_eq!((found.len(), found[0].pairs), (1, 3));
        let mean = |i: usize| found[0].measures[i].1.as_ref().unwrap().mean;
        assert!((mean(0) - 1.02).abs() < 1e-9 && (mean(1) - 0.5).abs() < 1e-9 && (mean(2) - 0.52).abs() < 1e-9);
        assert!(found[0].measures[3].1.is_none(), "it was not measured");
        assert!(found[0].adjusted.unwrap() < 0.001);
    }
}
