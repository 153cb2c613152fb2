//! Reading a run directory: its networks, ready to evaluate and to predict.

use std::path::PathBuf;

use ktg_data::{Batch, Dataset, Image, Purpose, Transform, read_inputs};
use ktg_engine::{Computing, Images, Job, Map, Node, Outputs, Scratch, node};
use ktg_graph::Graph;
use ktg_net::{Architecture, Build, weights};

use crate::checkpoint::{self, Newest, weights_name};
use crate::data::open_data;
use crate::evaluate::{Evaluation, Inference, infer};
use crate::measures::{MemberOutputs, mean_logits, softmax};
use crate::{Error, Measures, RunDirectory, Settings};

/// The networks of a run, as its newest checkpoint has them, or with `train.keep = "best"` that of the best epoch so far.
pub struct SavedRun {
    /// The run directory.
    pub directory: RunDirectory,
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
    nodes: Vec<Box<dyn Node>>,
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
    /// Reads the newest usable checkpoint of a run.
    ///
    /// # Errors
    /// If there is no run, it has no usable checkpoint, or one of its files is damaged.
    pub fn open(directory: &RunDirectory) -> Result<Self, Error> {
        let settings = directory.settings()?;
        let document = directory.graph()?;
        let data = directory.data()?;
        let divergence = directory.divergence()?;
        let Some(Newest { path: checkpoint, mut warnings, .. }) =
            checkpoint::result(&directory.checkpoints(), settings.train.keep)?
        else {
            return Err(directory.error(match divergence {
                Some(reason) => format!("it diverged, and there is no checkpoint of before: {reason}"),
                None => "it has no usable checkpoint yet; train it with `ktg train --resume` first".to_owned(),
            }));
        };
        if let Some(reason) = divergence {
            let (path, checkpoint) = (directory.path().display(), checkpoint.display());
            warnings.push(format!("{path}: it diverged: {reason}. What is judged is what came before, {checkpoint}"));
        }
        let image = [settings.side, settings.side];
        let mut nodes = Vec::new();
        for (m, of_graph) in document.graph.nodes().iter().enumerate() {
            let architecture: Architecture =
                of_graph.architecture.parse().map_err(|e| document.node_error(m, format!("{e}")))?;
            let path = checkpoint.join(weights_name(m));
            let build = Build { side: Some(settings.side), ..Build::plain(data.channels, data.classes.len()) };
            let network = architecture.build(build);
            let mut node = node(network, image, Job::INFERENCE, m, Computing::default())?;
            node.load_weights(&weights::read(&path)?.arrays, &path.display().to_string())?;
            nodes.push(node);
        }
        let transform = Transform::new(&settings.augment, settings.side, data.channels)?;
        Ok(Self {
            directory: directory.clone(),
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

    /// From now on the networks are judged by their mean answer to an image and its mirror image, as with the setting
    /// `augment.eval_flip`.
    pub fn judge_with_flips(&mut self) {
        self.settings.augment.eval_flip = true;
        self.transform.eval_flip = true;
    }

    /// The images that the run's settings evaluate on.
    ///
    /// # Errors
    /// If the data cannot be opened.
    pub fn evaluation_data(&self) -> Result<Dataset, Error> {
        Ok(open_data(&self.settings, self.directory.path())?.evaluation)
    }

    /// Measures on `dataset`.
    ///
    /// # Errors
    /// If the data has other classes than the run, or an image cannot be read.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<Measures, Error> {
        self.check_classes(dataset)?;
        self.measure(Evaluation::new(self.nodes.len(), dataset, &self.transform, &self.settings.train)?)
    }

    /// Measures on the images that the run's settings evaluate on, as the run took them itself: with a temperature, unless
    /// they are the test images.
    ///
    /// # Errors
    /// If the data cannot be opened, has other classes than the run, or an image cannot be read.
    pub fn evaluate_as_trained(&self) -> Result<Measures, Error> {
        let dataset = self.evaluation_data()?;
        self.check_classes(&dataset)?;
        let evaluation = Evaluation::new(self.nodes.len(), &dataset, &self.transform, &self.settings.train)?;
        self.measure(evaluation.calibrating_unless_on_test(self.settings.split.evaluate_on))
    }

    fn measure(&self, mut evaluation: Evaluation) -> Result<Measures, Error> {
        let mut scratch = Scratch::default();
        while evaluation.next(&self.nodes, &mut scratch)?.is_some() {}
        Ok(evaluation.finish())
    }

    /// What the networks give for `dataset`, to be pulled batch by batch.
    ///
    /// # Errors
    /// If the data has other classes than the run.
    pub fn outputs(&self, dataset: &Dataset) -> Result<RunOutputs<'_>, Error> {
        self.check_classes(dataset)?;
        let inference = Inference::new(dataset, &self.transform, &self.settings.train)?;
        Ok(RunOutputs { nodes: &self.nodes, inference, scratch: Scratch::default() })
    }

    fn check_classes(&self, dataset: &Dataset) -> Result<(), Error> {
        if dataset.class_names() == self.classes {
            return Ok(());
        }
        let (known, found) = (self.classes.len(), dataset.classes());
        let problem = format!("its networks know {known} classes, and the data has {found} or others");
        Err(self.directory.error(format!("{problem}; judge it on data with the same classes")))
    }

    /// What the networks see in an image, which must have the run's number of channels; `name` is for errors.
    ///
    /// # Errors
    /// If a network answers NaN or infinity ([`Error::NotFinite`]).
    pub fn predict_image(&self, image: &Image, name: &str) -> Result<Prediction, Error> {
        let pipeline = &self.transform.eval;
        let mut input = vec![0.0; pipeline.values()];
        pipeline.apply(image, &mut ktg_data::rng(self.settings.seed, Purpose::Augment, 0, 0), &mut input)?;
        let predictions = self.predict_inputs(&input, &[name.to_owned()])?;
        Ok(predictions.into_iter().next().expect("one input, one prediction"))
    }

    /// What the networks see in some image files, all of which they see at once; for each that cannot be used, why.
    ///
    /// # Errors
    /// If a network answers NaN or infinity ([`Error::NotFinite`]).
    pub fn predict_files(&self, paths: &[PathBuf]) -> Result<Vec<Result<Prediction, ktg_data::Error>>, Error> {
        let inputs = read_inputs(paths, &self.transform.eval, self.upright, self.settings.seed);
        let (mut usable, mut names) = (Vec::new(), Vec::new());
        for (path, input) in paths.iter().zip(&inputs) {
            let Ok(input) = input else { continue };
            usable.extend_from_slice(input);
            names.push(path.display().to_string());
        }
        let mut predictions = self.predict_inputs(&usable, &names)?.into_iter();
        let mut next = || predictions.next().expect("a prediction for each input");
        Ok(inputs.into_iter().map(|input| input.map(|_| next())).collect())
    }

    /// What the networks say of inputs, one after the other in `data`; there is a name for each.
    fn predict_inputs(&self, data: &[f32], names: &[String]) -> Result<Vec<Prediction>, Error> {
        let (classes, count) = (self.classes.len(), names.len());
        if count == 0 {
            return Ok(Vec::new());
        }
        let (images, mut scratch) = (Images::new(data, count), Scratch::default());
        let outputs = infer(&self.nodes, images, &self.transform, &mut scratch, |i| names[i].clone())?;
        let inputs = data.chunks_exact(data.len() / count).enumerate();
        Ok(inputs.map(|(i, input)| prediction(&outputs, i, input, classes)).collect())
    }
}

/// What nodes with these outputs say of the `i`-th image of a batch.
fn prediction(outputs: &[Outputs], i: usize, input: &[f32], classes: usize) -> Prediction {
    let logits_of = |outputs: &Outputs| -> Vec<f64> {
        outputs.logits[i * classes..][..classes].iter().map(|logit| f64::from(*logit)).collect()
    };
    let map_of = |map: &Map| {
        let positions = map.height * map.width;
        (map.data[i * positions..][..positions].to_vec(), map.width)
    };
    let logits: Vec<Vec<f64>> = outputs.iter().map(logits_of).collect();
    let node = |(outputs, logits): (&Outputs, &Vec<f64>)| NodePrediction {
        probabilities: softmax(logits),
        map: outputs.attention_map.as_ref().map(map_of),
    };
    Prediction {
        input: input.to_vec(),
        nodes: outputs.iter().zip(&logits).map(node).collect(),
        ensemble: softmax(&mean_logits(&logits)),
    }
}

/// The outputs of a run's networks for a data set.
pub struct RunOutputs<'a> {
    nodes: &'a [Box<dyn Node>],
    inference: Inference,
    scratch: Scratch,
}

impl RunOutputs<'_> {
    /// The next batch, and what every node gives for it; `None` after the last.
    ///
    /// # Errors
    /// If an image cannot be read, or a network answers NaN or infinity ([`Error::NotFinite`]).
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot fail for good")]
    pub fn next(&mut self) -> Result<Option<(Batch, Vec<MemberOutputs>)>, Error> {
        self.inference.next(self.nodes, &mut self.scratch)
    }
}
