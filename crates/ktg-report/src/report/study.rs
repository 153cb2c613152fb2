//! The section about a study.

use anyhow::Result;
use ktg_base::shell_word;
use ktg_figures::draw;
use ktg_figures::page::{Block, Figure, Page};
use ktg_figures::table::{Cell, Column, Table};
use ktg_graph::Graph;
use ktg_search::JudgedPart;
use ktg_search::analysis::judged;
use ktg_search::attributes::NODE_AVERAGE;
use ktg_search::storage::{State, Trial};

use super::evaluated::Options;
use crate::analysis::{common, contribution_figure, contribution_tables, contributions, importance, importance_table};
use crate::cells::number_or_dash;
use crate::{LeftOut, StudyRecord, counted, edges, figures};

/// The part of a study's graphs that counts as the best.
const BEST: f64 = 0.1;

/// Adds the section about a study, and about the analysis of a graph if it is one.
pub(super) fn section(page: &mut Page, study: &StudyRecord, options: &Options) -> Result<()> {
    if let Some(graph) = &study.metadata.analysed {
        return analysis(page, study, graph);
    }
    let section = page.section(format!("Study {}", study.name));
    section.push(Block::text(summary(study)));
    let caption =
        "Every trial's last value, against the epochs of training that it and all before it took, and the best so far.";
    section.push(Figure::new(figures::history(study), caption));
    if let Some(rungs) = figures::rungs(study) {
        let caption = "Where trials are compared, and which of them went on. How many got there is below.";
        section.push(Figure::new(rungs, caption));
    }
    if let Some(sheet) = figures::best_graphs(study, options.top) {
        let caption = match study.metadata.imported.as_ref().map(|imported| imported.judged) {
            None => "The best graphs, judged on the held-out part of the training images.",
            Some(JudgedPart::Ensemble) => "The best graphs.",
            Some(JudgedPart::FirstNode) => {
                "The best graphs, by the accuracy of node 1. The ensemble in the pictures was not judged there."
            }
        };
        section.push(Figure::new(sheet, caption).wide());
    }
    let best: Vec<&Trial> = study.best_first().into_iter().take(options.top).collect();
    if !best.is_empty() {
        section.push(best_table(study, &best));
    }
    let section = page.section(format!("What makes graphs good, in {}", study.name));
    let numbers = match study.judged_part() {
        JudgedPart::Ensemble => {
            "where nodes are alike, their numbers are arbitrary, and the counts of the first table, which know no numbers, \
             say more than the single edges of the second."
        }
        JudgedPart::FirstNode => {
            "node 1 is the one whose accuracy counts, and only the numbers of other nodes that are alike are arbitrary."
        }
    };
    section.push(Block::text(format!(
        "A trial's place is how far it came, then its last value. Edges are named by the numbers of the nodes; {numbers} \
         The tests assume graphs that were chosen without looking at the others, as in random search; samplers that learn \
         repeat what was good, so that p-values are too small."
    )));
    if study.metadata.space.is_none() {
        section.push(Block::note("The study has no search space of this program: its graphs are not known."));
        return Ok(());
    }
    match common(study, BEST) {
        Some(common) => section.push(common.table()),
        None => {
            let mut sentences = vec!["Fewer than ten graphs have been judged: too few to compare.".to_owned()];
            sentences.extend(LeftOut::of(study).sentences());
            section.push(Block::note(sentences.join(" ")))
        }
    };
    let parameters = importance(study);
    if parameters.iter().any(|parameter| parameter.found.is_some()) {
        let caption = "How much of a graph's place the choice for each edge explains, one choice at a time. * adjusted p \
                       below 0.05, ** below 0.01.";
        section.push(Figure::new(figures::importance(&parameters), caption));
        section.push(Block::details("All parameters", [importance_table(&parameters).into()]));
    }
    let mut blocks = vec![Block::code("To see it, and to go on", commands(study))];
    if let Some(pruner) = &study.metadata.pruner_in_words {
        blocks.push(Block::settings([("pruner", pruner.clone())]));
    }
    if let Some(settings) = study.settings()? {
        blocks.push(Block::code("Settings of all trials", settings.to_toml()?));
    }
    section.push(Block::details("Settings and commands", blocks));
    Ok(())
}

fn summary(study: &StudyRecord) -> String {
    let states = [State::Complete, State::Pruned, State::Fail, State::Running, State::Waiting];
    let counts = counted(states.map(|state| (study.count(state), state.to_string().to_lowercase())));
    let (trials, storage, epochs) = (study.trials.len(), &study.storage, study.epochs());
    let mut text = format!("{trials} trials in {storage} ({counts}), {epochs} epochs of training.");
    if let Some(imported) = &study.metadata.imported {
        text += &format!(" The study was {imported}.");
    }
    if let Some(space) = &study.metadata.space {
        let (nodes, parameters, combinations) = (space.nodes(), space.parameters().len(), space.combinations());
        text += &format!(
            " The search space has {nodes} nodes, {parameters} parameters and {combinations:.1e} combinations."
        );
    }
    if let Ok(best) = study.best_in_words() {
        text += &format!(" The best graph is that of {best}.");
    }
    if let Some(sentence) = study.unranked().sentence() {
        text += &format!(" {sentence}.");
    }
    text
}

fn best_table(study: &StudyRecord, best: &[&Trial]) -> Table {
    let objective = study.metadata.objective;
    let value = format!("value ({})", objective.title());
    let numbers = ["trial", &value, "node average [%]"].map(Column::right);
    let again = study.confirmed.iter().map(|_| Column::left("trained again"));
    let columns = numbers.into_iter().chain(again).chain([Column::left("edges")]);
    let mut table = Table::new("The best graphs", columns);
    for trial in best {
        let average = trial.attributes.get(NODE_AVERAGE).and_then(serde_json::Value::as_f64);
        let mut cells = vec![
            Cell::text(trial.number.to_string()),
            number_or_dash(trial.value, objective.decimals()),
            number_or_dash(average, 2),
        ];
        if study.confirmed.is_some() {
            cells.push(Cell::text(study.trained_again_in_words(trial)));
        }
        cells.push(Cell::text(study.edges(trial)));
        table.row(cells);
    }
    table.note("The best of many is better on the images it was chosen by than on others: only other images tell how good it is.");
    table
}

fn commands(study: &StudyRecord) -> String {
    let (name, storage) = (shell_word(&study.name), study.storage.shell_word());
    let trials = study.metadata.target.map_or("N".to_owned(), |target| target.to_string());
    let search = match study.metadata.imported {
        None => format!("ktg search EXPERIMENT.toml --study {name} --storage {storage} --trials {trials}\n"),
        Some(_) => String::new(),
    };
    format!(
        "{search}\
         ktg watch {name} --storage {storage}\n\
         optuna-dashboard {storage}\n\
         ktg study best {name} --storage {storage} -o best\n\
         ktg analyse {name} EXPERIMENT.toml --storage {storage} --edges"
    )
}

/// The section about an analysis of a graph's edges.
fn analysis(page: &mut Page, study: &StudyRecord, graph: &Graph) -> Result<()> {
    let (judged, open) = judged(&study.trials);
    let section = page.section(format!("What each edge is good for: {}", study.name));
    let seeds = judged.iter().map(|trial| trial.seed).collect::<std::collections::BTreeSet<_>>().len();
    section.push(Block::text(format!(
        "The graph was trained again as it was found, without each edge, and with each transfer edge's direction flipped: \
         {} trainings with {seeds} seeds. Differences are over equal seeds.",
        judged.len()
    )));
    if open > 0 {
        section.push(Block::warning(format!("{open} trainings are not complete and are left out.")));
    }
    section.push(Figure::new(draw::svg(graph), format!("The graph as it was found: {}.", edges(graph))));
    let contributions = contributions(&judged);
    let caption = "The ensemble's accuracy as found minus that after the change, with 95 % confidence intervals.";
    section.push(Figure::new(contribution_figure(&contributions), caption));
    section.blocks.extend(contribution_tables(&contributions).map(Block::Table));
    let failed = study.count(State::Fail);
    if failed > 0 {
        section.push(Block::note(format!("{failed} trainings failed or were repeated.")));
    }
    if let Some(settings) = study.settings()? {
        section.push(Block::details("Settings", [Block::code("Settings of all trainings", settings.to_toml()?)]));
    }
    Ok(())
}
