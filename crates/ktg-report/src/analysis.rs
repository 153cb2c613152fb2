//! What good graphs have in common, and what each edge of one is good for. The thesis leaves both open.

use std::collections::{BTreeMap, BTreeSet};

use ktg_figures::chart::{self, Effect, Forest};
use ktg_figures::stats::{self, CategoryRank, Enrichment, Importance, Paired};
use ktg_figures::table::{Cell, Column, Table};
use ktg_graph::{Design, Direction, Gate, Graph, Term};
use ktg_search::analysis::{AS_FOUND, Judged};
use ktg_search::attributes::NODE_AVERAGE;
use ktg_search::{Parameter, Space};

use crate::cells::{LEVEL, adjusted_where_known, difference, emphasized_if_significant, interval, number_or_dash};
use crate::placed::PlacedGraphs;
use crate::{LeftOut, StudyRecord};

/// Shuffles of a permutation test, at least. A p-value that is adjusted for many tests needs more to be small at all.
const ROUNDS: usize = 2000;

/// Something that is counted in a graph. The numbering of the nodes does not matter.
#[derive(Clone, Copy, Debug)]
enum Feature {
    /// Transfer edges.
    Edges,
    /// Those whose terms all have this direction; `None`: those of which some have the one, some the other.
    Directed(Option<Direction>),
    /// Those whose design has this term.
    Term(Term),
    /// Those of this design.
    Design(Design),
    /// Those with this gate.
    TransferGate(Gate),
    /// Label edges with this gate; `correct` is `through` there.
    LabelGate(Gate),
}

impl Feature {
    /// What is counted in the graphs of a space, in the order of the tables.
    fn all(space: &Space) -> Vec<Feature> {
        let designs = counted(space.designs(), &Design::THESIS);
        let mut features =
            vec![Feature::Edges, Feature::Directed(Some(Direction::Closer)), Feature::Directed(Some(Direction::Apart))];
        if designs.iter().any(|design| design.direction().is_none()) {
            features.push(Feature::Directed(None));
            let terms: BTreeSet<Term> = designs.iter().flat_map(|design| design.terms()).collect();
            let designs_with = |wanted: Term| designs.iter().filter(|design| has(**design, wanted)).count();
            // What one design only has is counted with that design.
            features.extend(terms.into_iter().filter(|term| designs_with(*term) > 1).map(Feature::Term));
        }
        features.extend(designs.into_iter().map(Feature::Design));
        let gates = counted(space.transfer_gates(), &Gate::THESIS).into_iter().filter(|gate| !gate.is_cut());
        features.extend(gates.map(Feature::TransferGate));
        let mut label_gates = counted(space.label_gates().into_iter().map(Gate::on_label).collect(), &LABEL_GATES);
        // Those that are cut come last.
        label_gates.sort_by_key(|gate| gate.is_cut());
        features.extend(label_gates.into_iter().map(Feature::LabelGate));
        features
    }

    /// The name in tables, behind "number of".
    fn name(self) -> String {
        match self {
            Feature::Edges => "transfer edges".to_owned(),
            Feature::Directed(Some(Direction::Closer)) => "edges that bring closer".to_owned(),
            Feature::Directed(Some(Direction::Apart)) => "edges that push apart".to_owned(),
            Feature::Directed(None) => "mixed edges".to_owned(),
            Feature::Term(term) => format!("edges with {term}"),
            Feature::Design(design) => design.to_string(),
            Feature::TransferGate(gate) => format!("transfer gate {gate}"),
            Feature::LabelGate(gate) => format!("label gate {gate}"),
        }
    }

    fn count(self, graph: &Graph) -> f64 {
        let transfers = graph.active_transfers().map(|(_, _, transfer)| transfer);
        let count = match self {
            Feature::Edges => transfers.count(),
            Feature::Directed(direction) => transfers.filter(|t| t.design.direction() == direction).count(),
            Feature::Term(term) => transfers.filter(|t| has(t.design, term)).count(),
            Feature::Design(design) => transfers.filter(|t| t.design == design).count(),
            Feature::TransferGate(gate) => transfers.filter(|t| t.gate == gate).count(),
            Feature::LabelGate(gate) => (0..graph.len()).filter(|m| graph.label_gate(*m).on_label() == gate).count(),
        };
        count as f64
    }
}

fn has(design: Design, term: Term) -> bool {
    design.terms().any(|other| other == term)
}

/// The thesis' gates of label edges that differ in what they do.
const LABEL_GATES: [Gate; 3] = [Gate::Through, Gate::Linear, Gate::Cutoff];

/// What is counted of what a space offers: all that the thesis has if there is nothing else, and otherwise what is offered,
/// the thesis' first.
fn counted<T: Copy + Ord>(offered: BTreeSet<T>, thesis: &[T]) -> Vec<T> {
    if offered.iter().all(|one| thesis.contains(one)) {
        return thesis.to_vec();
    }
    let known = thesis.iter().copied().filter(|one| offered.contains(one));
    known.chain(offered.iter().copied().filter(|one| !thesis.contains(one))).collect()
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
    let features = Feature::all(space);
    let counts_in = |graph: &Graph| features.iter().map(|feature| feature.count(graph)).collect();
    let counts: Vec<Vec<f64>> = genes.iter().map(|genes| counts_in(&space.graph(genes))).collect();
    let found = stats::enrichment(&places, &counts, top, ROUNDS, 0)?;
    let features = features.into_iter().map(Feature::name).zip(found).collect();
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
    use ktg_search::SearchSettings;

    use super::*;

    fn space(search: &str) -> Space {
        let settings = SearchSettings::parse(&format!("[search]\n{search}"), "test").unwrap();
        Space::new(&presets::dml(3, "a"), &settings).unwrap()
    }

    fn names(search: &str) -> Vec<String> {
        Feature::all(&space(search)).into_iter().map(Feature::name).collect()
    }

    /// The names of what is counted, and how often it is in a graph.
    fn counts(search: &str, graph: &Graph) -> BTreeMap<String, f64> {
        Feature::all(&space(search)).into_iter().map(|feature| (feature.name(), feature.count(graph))).collect()
    }

    #[test]
    fn a_graph_is_counted_whatever_its_numbering() {
        let mut graph = presets::dml(3, "a");
        graph.set_label_gate(2, Gate::Cutoff);
        graph.set_transfer(0, 1, Some(Transfer::new(Design::ATTENTION_APART, Gate::Linear)));
        let counts_of_thesis = counts("", &graph);
        let of = |name: &str| counts_of_thesis[name];
        assert_eq!((of("transfer edges"), of("edges that push apart"), of("probability closer")), (6.0, 1.0, 5.0));
        assert_eq!((of("transfer gate linear"), of("label gate through"), of("label gate cutoff")), (1.0, 2.0, 1.0));
        assert_eq!(counts("", &graph.canonical()), counts_of_thesis);
    }

    const THESIS: [&str; 15] = [
        "transfer edges",
        "edges that bring closer",
        "edges that push apart",
        "probability closer",
        "probability apart",
        "attention closer",
        "attention apart",
        "both closer",
        "both apart",
        "transfer gate through",
        "transfer gate linear",
        "transfer gate correct",
        "label gate through",
        "label gate linear",
        "label gate cutoff",
    ];

    #[test]
    fn in_the_space_of_the_thesis_and_in_parts_of_it_the_same_is_counted() {
        assert_eq!(names(""), THESIS);
        let part = "designs = [\"attention apart\", \"both closer\"]\ngates = [\"through\", \"cutoff\"]\nlabel_gates = [\"correct\"]";
        assert_eq!(names(part), THESIS);
    }

    #[test]
    fn a_larger_space_has_rows_for_what_it_offers_and_no_term_has_the_same_as_its_only_design() {
        let search = "designs = [\"both apart\", \"prob closer + att apart\", \"prob closer\"]\n\
                      gates = [\"falling\", \"cutoff\", \"through\"]";
        let expected = [
            "transfer edges",
            "edges that bring closer",
            "edges that push apart",
            "mixed edges",
            "edges with probability closer",
            "edges with attention apart",
            "probability closer",
            "both apart",
            "probability closer + attention apart",
            "transfer gate through",
            "transfer gate falling",
            "label gate through",
            "label gate linear",
            "label gate cutoff",
        ];
        assert_eq!(names(search), expected);

        let mut graph = presets::dml(3, "a");
        let mixed = "probability closer + attention apart".parse().unwrap();
        graph.set_transfer(0, 1, Some(Transfer::new(mixed, Gate::Falling)));
        graph.set_transfer(1, 0, Some(Transfer::new(Design::BOTH_APART, Gate::Falling)));
        graph.set_transfer(2, 0, Some(Transfer::new(mixed, Gate::Cutoff)));
        let counted = counts(search, &graph);
        let of = |names: [&str; 3]| names.map(|name| counted[name]);
        assert_eq!(of(["transfer edges", "mixed edges", "probability closer + attention apart"]), [5.0, 1.0, 1.0]);
        assert_eq!(of(["edges that bring closer", "edges that push apart", "both apart"]), [3.0, 1.0, 1.0]);
        let terms = ["edges with probability closer", "edges with attention apart"];
        assert_eq!(terms.map(|name| counted[name]), [4.0, 2.0]);
        assert_eq!((counted["transfer gate falling"], counted["transfer gate through"]), (2.0, 3.0));

        // Labels that may fall, and a gate that only an edge of its own may have.
        let falling = names(
            "label_gates = [\"cutoff\", \"falling\", \"correct\"]\n[search.edges]\n\"1 -> 2\" = \"both closer, falling\"",
        );
        assert_eq!(falling[..9], THESIS[..9]);
        let gates = ["transfer gate through", "transfer gate linear", "transfer gate correct", "transfer gate falling"];
        assert_eq!(falling[9..13], gates);
        assert_eq!(falling[13..], ["label gate through", "label gate falling", "label gate cutoff"]);
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
