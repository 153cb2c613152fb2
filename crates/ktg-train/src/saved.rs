//! Reading a run directory: its networks, ready to judge and to predict.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ktg_base::read_text;
use ktg_data::{Dataset, Image, Purpose, Transform};
use ktg_engine::{Images, Job, Node, Outputs, Scratch, Wanted, ensemble_logits, node};
use ktg_graph::{Document, Graph};
use ktg_net::{Architecture, weights};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Newest, weights_name};
use crate::evaluate::evaluate;
use crate::{Error, Measures, Settings};

pub(crate) const SETTINGS: &str = "settings.toml";
pub(crate) const GRAPH: &str = "graph.toml";
pub(crate) const DATA: &str = "data.json";
/// Images that the run leaves out.
pub(crate) const SKIPPED: &str = "skipped.txt";
/// The search split, where it came from a file.
pub(crate) const SPLIT: &str = "split.json";
pub(crate) const RESULT: &str = "result.json";

/// What a run remembers of its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    pub classes: Vec<String>,
    pub channels: usize,
    pub train_images: usize,
    /// SHA-256 over the names and labels of all training images, in order.
    pub train_fingerprint: String,
    /// The same of the images that the run is judged by.
    #[serde(default)]
    pub evaluation_fingerprint: String,
    /// For a pack, its checksum: other pixels are other data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<u32>,
    /// Whether photos are turned as EXIF says.
    #[serde(default)]
    pub upright: bool,
}

impl DataFile {
    /// Of the run in `directory`.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(DATA);
        serde_json::from_str(&read_text(&path)?).map_err(|e| Error::run(&path, e.to_string()))
    }

    /// Of the images that a run trains on and is judged by.
    pub fn of(train: &Dataset, evaluation: &Dataset) -> Self {
        let fingerprint = |data: &Dataset| {
            let line = |i: usize| format!("{}\t{}\n", data.short_name(i), data.label(i));
            checkpoint::checksum((0..data.len()).map(line).collect::<String>().as_bytes())
        };
        Self {
            classes: train.class_names().to_vec(),
            channels: train.channels(),
            train_images: train.len(),
            train_fingerprint: fingerprint(train),
            evaluation_fingerprint: fingerprint(evaluation),
            pack: train.pack_checksum(),
            upright: train.is_upright(),
        }
    }
}

/// The networks of a run, as its newest checkpoint has them.
pub struct SavedRun {
    /// The run directory.
    pub directory: PathBuf,
    /// The run's settings.
    pub settings: Settings,
    /// The run's graph.
    pub graph: Graph,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Channels of the networks' input.
    pub channels: usize,
    /// Whether photos are turned as EXIF says.
    pub upright: bool,
    /// What happens to images.
    pub transform: Transform,
    /// The checkpoint that the weights come from.
    pub checkpoint: PathBuf,
    /// A sentence about each newer checkpoint that cannot be used.
    pub warnings: Vec<String>,
    pub(crate) nodes: Vec<Box<dyn Node>>,
}

/// What one node sees in one image.
#[derive(Clone, Debug)]
pub struct NodePrediction {
    /// Probability of every class.
    pub probabilities: Vec<f64>,
    /// Attention map, row-major, and its width.
    pub map: Option<(Vec<f32>, usize)>,
}

/// What all nodes and the ensemble say of one image.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The pixels that the networks saw, `[channels, side, side]`.
    pub input: Vec<f32>,
    /// Per node.
    pub nodes: Vec<NodePrediction>,
    /// Probability of every class according to the ensemble node.
    pub ensemble: Vec<f64>,
}

impl SavedRun {
    /// Reads a run directory.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let settings_path = directory.join(SETTINGS);
        if !settings_path.is_file() {
            return Err(Error::run(directory, "there is no run in it (no settings.toml)"));
        }
        let settings = Settings::read(&settings_path)?;
        let document = Document::read(&directory.join(GRAPH))?;
        let data = DataFile::read(directory)?;
        let Some(Newest { path: checkpoint, warnings, .. }) = checkpoint::newest(&directory.join("checkpoints"))?
        else {
            let reason = "it has no usable checkpoint yet; train it with `ktg train --resume` first";
            return Err(Error::run(directory, reason));
        };
        let image = [settings.side, settings.side];
        let mut nodes = Vec::new();
        for (m, of_graph) in document.graph.nodes().iter().enumerate() {
            let architecture: Architecture =
                of_graph.architecture.parse().map_err(|e| document.node_error(m, format!("{e}")))?;
            let path = checkpoint.join(weights_name(m));
            let mut node = node(architecture.network(data.channels, data.classes.len()), image, Job::INFERENCE)?;
            node.load_weights(&weights::read(&path)?.arrays, &path.display().to_string())?;
            nodes.push(node);
        }
        let transform = Transform::new(&settings.augment, settings.side, data.channels)?;
        Ok(Self {
            directory: directory.to_owned(),
            settings,
            graph: document.graph,
            classes: data.classes,
            channels: data.channels,
            upright: data.upright,
            transform,
            checkpoint,
            warnings,
            nodes,
        })
    }

    /// The images that the run's settings judge by.
    pub fn evaluation_data(&self) -> Result<Dataset, Error> {
        Ok(crate::experiment::open_data(&self.settings, &self.directory)?.evaluation)
    }

    /// Measures on `dataset`, which must have the run's classes.
    pub fn evaluate(&self, dataset: &Dataset, progress: impl FnMut(usize, usize)) -> Result<Measures, Error> {
        self.check_classes(dataset)?;
        let train = &self.settings.train;
        let (batch, threads) = (train.evaluate_batch_size, train.loader_threads);
        let mut progress = progress;
        let always = |done, all| {
            progress(done, all);
            ControlFlow::Continue(())
        };
        let scratch = &mut Scratch::default();
        let measures = evaluate((&self.nodes, scratch), dataset, &self.transform.eval, batch, threads, always)?;
        measures.ok_or_else(|| Error::run(&self.directory, "judging was interrupted"))
    }

    pub(crate) fn check_classes(&self, dataset: &Dataset) -> Result<(), Error> {
        if dataset.class_names() == self.classes {
            return Ok(());
        }
        let reason = format!(
            "its networks know {} classes, and the data has {} or others; judge it on data with the same classes",
            self.classes.len(),
            dataset.classes()
        );
        Err(Error::run(&self.directory, reason))
    }

    /// What the networks see in an image file.
    pub fn predict(&self, path: &Path) -> Result<Prediction, Error> {
        self.predict_image(&Image::read(path, self.channels, self.upright)?)
    }

    /// What the networks see in an image, which must have the run's number of channels.
    pub fn predict_image(&self, image: &Image) -> Result<Prediction, Error> {
        let pipeline = &self.transform.eval;
        let mut input = vec![0.0; pipeline.values()];
        pipeline.apply(image, &mut ktg_data::rng(self.settings.seed, Purpose::Augment, 0, 0), &mut input)?;
        let (images, mut scratch) = (Images { data: &input, count: 1 }, Scratch::default());
        let nodes = self.nodes.iter();
        let outputs: Vec<Outputs> = nodes.map(|node| node.infer(images, Wanted::MAP, &mut scratch)).collect();
        let logits: Vec<&[f32]> = outputs.iter().map(|outputs| &outputs.logits[..]).collect();
        let ensemble = probabilities(&ensemble_logits(&logits));
        let nodes = outputs.iter().map(|outputs| NodePrediction {
            probabilities: probabilities(&outputs.logits),
            map: outputs.attention_map.as_ref().map(|map| (map.data.clone(), map.width)),
        });
        let nodes = nodes.collect();
        Ok(Prediction { input, nodes, ensemble })
    }
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    crate::measures::softmax(&logits)
}
