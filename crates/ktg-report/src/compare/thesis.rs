//! The thesis' own figures, to stand beside ours where the setting is the same (SPEC 9 and 10).

use ktg_data::{Augment, Preset, SourceKind};
use ktg_graph::{Graph, presets};
use ktg_train::Settings;

use super::plan::FoundOn;

/// A mean and its standard deviation over runs, in percent.
pub type Figure = (f64, Option<f64>);

/// A row of the thesis' tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Mean accuracy of the nodes; table 2 does not give it.
    pub node_average: Option<Figure>,
    /// Accuracy of the ensemble.
    pub ensemble: Figure,
}

/// Table 1, Stanford Dogs: rows independent, DML and found, columns 3, 4 and 5 nodes.
const TABLE_1: [[Row; 3]; 3] = [
    [row(68.04, 0.28, 71.41, 0.34), row(68.30, 0.27, 72.06, 0.53), row(68.24, 0.26, 72.32, 0.18)],
    [row(70.50, 0.26, 72.08, 0.42), row(71.50, 0.31, 72.87, 0.29), row(71.15, 0.28, 72.50, 0.16)],
    [row(70.95, 0.16, 73.41, 0.30), row(71.46, 0.22, 74.16, 0.22), row(70.23, 0.33, 74.14, 0.50)],
];

/// Table 2: trained and tested on, found on, and the ensemble with 3, 4 and 5 nodes.
const TABLE_2: [(FoundOn, FoundOn, [f64; 3]); 4] = [
    (FoundOn::Cub, FoundOn::Dogs, [71.82, 73.03, 72.13]),
    (FoundOn::Cub, FoundOn::Cub, [74.17, 72.22, 74.05]),
    (FoundOn::Cars, FoundOn::Dogs, [89.94, 89.98, 90.41]),
    (FoundOn::Cars, FoundOn::Cars, [90.04, 89.57, 90.73]),
];

const fn row(average: f64, average_sd: f64, ensemble: f64, ensemble_sd: f64) -> Row {
    Row { node_average: Some((average, Some(average_sd))), ensemble: (ensemble, Some(ensemble_sd)) }
}

/// The thesis' figures for a run like this one, if it has the thesis' setting: one of its data sets, all of it, at 224 px,
/// ABN-ResNet-18, 300 epochs of batches of 16, judged on the test images. `found_on` says that the graph was found, and
/// on what; graphs without it are recognised as independent or DML.
pub fn row_for(settings: &Settings, graph: &Graph, found_on: Option<FoundOn>) -> Option<Row> {
    let data = match &settings.data.kind {
        SourceKind::StanfordDogs(_) => FoundOn::Dogs,
        SourceKind::Cub(_) => FoundOn::Cub,
        SourceKind::StanfordCars(_) => FoundOn::Cars,
        _ => return None,
    };
    let same = papers(settings)
        && graph.nodes().iter().all(|node| node.architecture == "abn-resnet-18" && node.pretrained.is_none());
    let column = graph.len().checked_sub(3).filter(|column| same && *column < 3)?;
    let m = graph.len();
    let is = |preset: Graph| preset.hash() == graph.hash();
    match (data, found_on) {
        (FoundOn::Dogs, None) if is(presets::independent(m, "abn-resnet-18")) => Some(TABLE_1[0][column]),
        (FoundOn::Dogs, None) if is(presets::dml(m, "abn-resnet-18")) => Some(TABLE_1[1][column]),
        (FoundOn::Dogs, Some(FoundOn::Dogs)) => Some(TABLE_1[2][column]),
        (data, Some(source)) => {
            let (_, _, ensembles) = TABLE_2.iter().find(|(on, from, _)| (*on, *from) == (data, source))?;
            Some(Row { node_average: None, ensemble: (ensembles[column], None) })
        }
        _ => None,
    }
}

/// Whether all that decides about a run's result, but for data, graph and seed, is as in the paper.
fn papers(settings: &Settings) -> bool {
    let augment = Augment::preset(Preset::FineGrained);
    let paper = Settings { side: 224, augment, ..Settings::default() };
    let mut ours = settings.decisive();
    (ours.seed, ours.graph, ours.data) = (paper.seed, paper.graph.clone(), paper.data.clone());
    let (train, standard) = (&mut ours.train, &paper.train);
    (train.log_every, train.record_steps) = (standard.log_every, standard.record_steps);
    (train.evaluate_every, train.evaluate_batch_size) = (standard.evaluate_every, standard.evaluate_batch_size);
    ours == paper.decisive() && settings.data.skip.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(source: &str) -> Settings {
        Settings::parse(
            &format!("side = 224\naugment = \"fine-grained\"\n[data]\nsource = \"{source}\"\nroot = \"x\"\n"),
            "paper",
        )
        .unwrap()
    }

    #[test]
    fn the_setting_must_be_the_same() {
        let dml = presets::dml(4, "abn-resnet-18");
        let row = row_for(&paper("stanford-dogs"), &dml, None).unwrap();
        assert_eq!((row.node_average, row.ensemble), (Some((71.50, Some(0.31))), (72.87, Some(0.29))));
        let mut short = paper("stanford-dogs");
        short.train.epochs = 299;
        assert_eq!(row_for(&short, &dml, None), None);
        let mut slow = paper("stanford-dogs");
        slow.train.learning_rate = 0.01;
        assert_eq!(row_for(&slow, &dml, None), None);
        assert_eq!(row_for(&paper("cub-200-2011"), &dml, None), None);
        assert_eq!(row_for(&paper("stanford-dogs"), &presets::dml(6, "abn-resnet-18"), None), None);
        assert_eq!(row_for(&paper("stanford-dogs"), &presets::dml(4, "abn-resnet-34"), None), None);
    }

    #[test]
    fn graphs_carried_to_other_data_are_in_table_2() {
        let mut graph = presets::independent(5, "abn-resnet-18");
        graph.set_label_gate(1, ktg_graph::Gate::Linear);
        let row = row_for(&paper("stanford-cars"), &graph, Some(FoundOn::Dogs)).unwrap();
        assert_eq!((row.node_average, row.ensemble), (None, (90.41, None)));
        assert_eq!(row_for(&paper("stanford-dogs"), &graph, Some(FoundOn::Cub)), None);
    }
}
