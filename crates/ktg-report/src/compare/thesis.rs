//! The thesis' own figures and those of what its authors released, to stand beside ours where the setting is the same.

use ktg_data::{Augment, Preset, SourceKind};
use ktg_graph::{Graph, Output, presets};
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

/// Accuracies in percent of the ensembles that the authors released for a network, one run each, on Stanford Dogs with 2, 3,
/// 4 and 5 nodes.
struct Released {
    network: &'static str,
    independent: [f64; 4],
    found: [f64; 4],
}

/// All that the authors released.
const RELEASED: [Released; 2] = [
    Released {
        network: "abn-resnet-18",
        independent: [71.06, 71.85, 72.69, 72.61],
        found: [74.20, 74.01, 74.23, 74.52],
    },
    Released { network: "resnet-18", independent: [68.48, 69.07, 69.43, 69.60], found: [72.60, 72.32, 72.83, 71.93] },
];

/// What the authors call a graph.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    Independent,
    Dml,
    /// Found on this data set.
    Found(FoundOn),
}

/// A run that the authors may have made, too.
struct Known<'a> {
    data: FoundOn,
    /// Architecture of all nodes.
    network: &'a str,
    nodes: usize,
    method: Method,
}

/// What a run is in the authors' words, if it has their setting: one of their data sets, all of it, at 224 px, 300 epochs of
/// batches of 16 from fresh weights, equal networks, judged on the test images. `found_on` says that the graph was found,
/// and on what; graphs without it are recognised as independent or DML.
fn known<'a>(settings: &Settings, graph: &'a Graph, found_on: Option<FoundOn>) -> Option<Known<'a>> {
    let data = match &settings.data.kind {
        SourceKind::StanfordDogs(_) => FoundOn::Dogs,
        SourceKind::Cub(_) => FoundOn::Cub,
        SourceKind::StanfordCars(_) => FoundOn::Cars,
        _ => return None,
    };
    let nodes = graph.len();
    let network = &*graph.nodes().first()?.architecture;
    let alike = graph.nodes().iter().all(|node| node.architecture == network && node.pretrained.is_none());
    if !alike || !papers(settings) || !has_papers_crops(settings, network, graph) {
        return None;
    }
    let is = |preset: Graph| preset.hash() == graph.hash();
    let method = match found_on {
        Some(source) => Method::Found(source),
        None if is(presets::independent(nodes, network)) => Method::Independent,
        None if is(presets::dml(nodes, network)) => Method::Dml,
        None => return None,
    };
    Some(Known { data, network, nodes, method })
}

/// The thesis' figures for a run like this one, if it has the thesis' setting (see `known`) with ABN-ResNet-18.
pub fn row_for(settings: &Settings, graph: &Graph, found_on: Option<FoundOn>) -> Option<Row> {
    let Known { data, network, nodes, method } = known(settings, graph, found_on)?;
    let column = nodes.checked_sub(3).filter(|column| *column < 3 && network == "abn-resnet-18")?;
    match (data, method) {
        (FoundOn::Dogs, Method::Independent) => Some(TABLE_1[0][column]),
        (FoundOn::Dogs, Method::Dml) => Some(TABLE_1[1][column]),
        (FoundOn::Dogs, Method::Found(FoundOn::Dogs)) => Some(TABLE_1[2][column]),
        (data, Method::Found(source)) => {
            let (_, _, ensembles) = TABLE_2.iter().find(|(on, from, _)| (*on, *from) == (data, source))?;
            Some(Row { node_average: None, ensemble: (ensembles[column], None) })
        }
        _ => None,
    }
}

/// Accuracy in percent of the ensemble that the authors released for a run like this one: a single run's, no mean.
pub fn released_for(settings: &Settings, graph: &Graph, found_on: Option<FoundOn>) -> Option<f64> {
    let Known { data, network, nodes, method } = known(settings, graph, found_on)?;
    let released = RELEASED.iter().find(|released| data == FoundOn::Dogs && released.network == network)?;
    let ensembles = match method {
        Method::Independent => released.independent,
        Method::Found(FoundOn::Dogs) => released.found,
        _ => return None,
    };
    ensembles.get(nodes.checked_sub(2)?).copied()
}

/// Whether the crops of attention maps are as in the paper. Of a plain ResNet's map, which has 7 x 7 pixels, the authors' code
/// compares smaller ones; what no edge compares does not matter there.
fn has_papers_crops(settings: &Settings, network: &str, graph: &Graph) -> bool {
    let crop_sizes = &settings.loss.crop_sizes;
    match network {
        "resnet-18" => {
            let mut transfers = graph.active_transfers();
            *crop_sizes == [3, 5, 7] || !transfers.any(|(_, _, transfer)| transfer.design.reads(Output::AttentionMap))
        }
        _ => *crop_sizes == Settings::default().loss.crop_sizes,
    }
}

/// Whether all that decides about a run's result, but for data, graph, seed and crops of attention maps, is as in the paper.
fn papers(settings: &Settings) -> bool {
    let augment = Augment::preset(Preset::FineGrained);
    let paper = Settings { side: 224, augment, ..Settings::default() };
    let mut ours = settings.decisive();
    (ours.seed, ours.graph, ours.data) = (paper.seed, paper.graph.clone(), paper.data.clone());
    ours.loss.crop_sizes.clone_from(&paper.loss.crop_sizes);
    let (train, standard) = (&mut ours.train, &paper.train);
    (train.log_every, train.record_steps) = (standard.log_every, standard.record_steps);
    (train.evaluate_every, train.evaluate_batch_size) = (standard.evaluate_every, standard.evaluate_batch_size);
    ours == paper.decisive() && settings.data.skip.is_none()
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Design, Gate, Transfer};

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
        graph.set_label_gate(1, Gate::Linear);
        let row = row_for(&paper("stanford-cars"), &graph, Some(FoundOn::Dogs)).unwrap();
        assert_eq!((row.node_average, row.ensemble), (None, (90.41, None)));
        assert_eq!(row_for(&paper("stanford-dogs"), &graph, Some(FoundOn::Cub)), None);
    }

    #[test]
    fn released_runs_are_of_both_networks_and_of_two_to_five_nodes() {
        let dogs = paper("stanford-dogs");
        let mut small_crops = dogs.clone();
        small_crops.loss.crop_sizes = vec![3, 5, 7];
        let independent =
            |network: &str| [2, 3, 4, 5].map(|m| released_for(&dogs, &presets::independent(m, network), None).unwrap());
        assert_eq!(independent("abn-resnet-18"), [71.06, 71.85, 72.69, 72.61]);
        assert_eq!(independent("resnet-18"), [68.48, 69.07, 69.43, 69.60]);
        let found = |settings: &Settings, network: &str| {
            [2, 3, 4, 5].map(|m| released_for(settings, &with_attention(m, network), Some(FoundOn::Dogs)))
        };
        assert_eq!(found(&dogs, "abn-resnet-18"), [74.20, 74.01, 74.23, 74.52].map(Some));
        assert_eq!(found(&small_crops, "resnet-18"), [72.60, 72.32, 72.83, 71.93].map(Some));
        // The thesis has means of ABN-ResNet-18 only, and of 3 nodes and more.
        assert_eq!(row_for(&dogs, &presets::independent(3, "resnet-18"), None), None);
        assert_eq!(row_for(&dogs, &presets::independent(2, "abn-resnet-18"), None), None);
    }

    /// A graph in which one edge reads attention maps.
    fn with_attention(nodes: usize, network: &str) -> Graph {
        let mut graph = presets::dml(nodes, network);
        graph.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_APART, Gate::Through)));
        graph
    }

    #[test]
    fn where_attention_is_read_the_crops_are_those_of_the_authors_for_the_network() {
        let standard = paper("stanford-dogs");
        let with_crops = |crops: &[usize]| {
            let mut settings = standard.clone();
            settings.loss.crop_sizes = crops.to_vec();
            settings
        };
        let (small, other) = (with_crops(&[3, 5, 7]), with_crops(&[3]));
        let of = |graph: Graph| {
            [&standard, &small, &other].map(|settings| released_for(settings, &graph, Some(FoundOn::Dogs)))
        };
        assert_eq!(of(with_attention(3, "resnet-18")), [None, Some(72.32), None]);
        assert_eq!(of(presets::dml(3, "resnet-18")), [Some(72.32); 3]);
        let mut cut = with_attention(3, "resnet-18");
        cut.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_APART, Gate::Cutoff)));
        assert_eq!(of(cut), [Some(72.32); 3]);
        assert_eq!(of(with_attention(3, "abn-resnet-18")), [Some(74.01), None, None]);
        let thesis = |settings: &Settings| row_for(settings, &presets::dml(3, "abn-resnet-18"), None);
        assert!(thesis(&standard).is_some());
        assert_eq!((thesis(&small), thesis(&other)), (None, None));
    }

    #[test]
    fn what_was_not_released_stands_nowhere() {
        let graph = presets::independent(3, "abn-resnet-18");
        let nothing = [
            released_for(&paper("stanford-dogs"), &presets::dml(3, "abn-resnet-18"), None),
            released_for(&paper("stanford-dogs"), &graph, Some(FoundOn::Cub)),
            released_for(&paper("stanford-dogs"), &presets::independent(6, "abn-resnet-18"), None),
            released_for(&paper("stanford-dogs"), &presets::independent(1, "abn-resnet-18"), None),
            released_for(&paper("stanford-dogs"), &presets::independent(3, "abn-resnet-34"), None),
            released_for(&paper("cub-200-2011"), &graph, Some(FoundOn::Dogs)),
        ];
        assert_eq!(nothing, [None; 6]);
        let mut short = paper("stanford-dogs");
        short.train.epochs = 100;
        assert_eq!(released_for(&short, &graph, None), None);
        let mut mixed = graph;
        mixed.node_mut(2).architecture = "resnet-18".to_owned();
        assert_eq!(released_for(&paper("stanford-dogs"), &mixed, Some(FoundOn::Dogs)), None);
    }
}
