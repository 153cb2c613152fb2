//! Settings made concrete: the data opened, the graph read, everything checked before hours are spent.

use std::path::{Path, PathBuf};

use ktg_base::edge_name;
use ktg_data::{BadImage, Dataset, SplitFile, Splits, Transform};
use ktg_engine::{Computing, Precision, bf16_may_gain};
use ktg_graph::{Document, Factor, Graph, Node, Output, Transfer, presets};
use ktg_net::{Architecture, Build, Network, Op};

use crate::data::{Data, DataFile, split_data};
use crate::pretrained::{found, name_of, node_error, open_weights};
use crate::schedule::Length;
use crate::start::Start;
use crate::{Error, GraphSettings, PrecisionSetting, Settings};

/// A run that can start: what `Settings` stand for. Copies share the images.
#[derive(Clone)]
pub struct Experiment {
    /// The settings, with paths of the data that hold from anywhere.
    pub settings: Settings,
    /// The graph. Pretrained weights have names made of their content (`pretrained/SHA256.safetensors`), so that equal graphs have equal
    /// hashes wherever their weights lie.
    pub graph: Graph,
    /// What each node's network starts from.
    pub starts: Vec<Start>,
    /// The node's networks.
    pub networks: Vec<Network>,
    /// The images to train on.
    pub train: Dataset,
    /// The images to evaluate on.
    pub evaluation: Dataset,
    /// What a run remembers of both, computed once.
    pub(crate) data: DataFile,
    /// What happens to images.
    pub transform: Transform,
    /// What the user should know about the data and the weights, a sentence each.
    pub warnings: Vec<String>,
    /// Names of the images that are left out.
    pub skipped: Vec<String>,
    /// Whose run it will be, where somebody keeps many: the study of a trial, for instance. It is kept with the run.
    pub owner: Option<serde_json::Value>,
    /// Which of the process' devices is the first node's ([`Computing::first_device`](ktg_engine::Computing)).
    pub first_device: usize,
    /// Whether `train.precision` was `auto`; in the settings is what that is on this machine.
    pub auto_precision: bool,
    /// The search split, if the settings take it from a file.
    pub(crate) split: Option<SplitFile>,
    /// The graph as it was written.
    written: Graph,
    /// Where relative paths of weights in the graph may start: beside the graph file, if there is one, or else beside the
    /// experiment file.
    weights_bases: Vec<PathBuf>,
    /// A weights file that graphs may name by its content, and where it lies.
    named_weights: Option<(String, PathBuf)>,
}

/// Of the nodes of presets, if the settings do not say.
pub const DEFAULT_ARCHITECTURE: &str = "abn-resnet-cifar-20";

impl Experiment {
    /// Opens data and graph. Relative paths in the settings start at `base`, the experiment file's directory.
    pub fn open(settings: Settings, base: &Path) -> Result<Self, Error> {
        let splits = open_splits(&settings, base)?;
        Self::of_splits(settings, base, splits)
    }

    /// Decodes all images of the data and opens the experiment without those that cannot be used, which are given too.
    /// `progress` hears how many of how many images are done.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if without those images a class or a part of the data is empty.
    pub fn open_usable(
        settings: Settings,
        base: &Path,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(Self, Vec<BadImage>), Error> {
        let splits = open_splits(&settings, base)?;
        let bad = splits.bad_images(0, progress);
        let names: Vec<_> = bad.iter().map(|image| image.name.clone()).collect();
        Ok((Self::of_splits(settings, base, splits.without(&names)?)?, bad))
    }

    fn of_splits(mut settings: Settings, base: &Path, splits: Splits) -> Result<Self, Error> {
        let skipped = splits.skipped.clone();
        let Data { train, evaluation, split, mut warnings } = split_data(&settings, base, splits)?;
        let base = std::path::absolute(base).map_err(Error::file("find", base))?;
        if let Some((_, Some(place))) = settings.data.kind.place_mut() {
            *place = base.join(&*place);
        }
        let (images, step) = (train.len(), settings.train.images_per_step());
        if images < step {
            let problem = format!("there are {images} training images, fewer than one batch of {step}");
            let advice = if settings.train.accumulate > 1 { " or `train.accumulate`" } else { "" };
            return Err(Error::Setting(format!("{problem}; lower `train.batch_size`{advice}")));
        }
        let transform = Transform::new(&settings.augment, settings.side, train.channels())?;
        let (written, document) = read_graph(&settings.graph, &base)?;
        let beside_graph = settings.graph.file.as_ref().and_then(|file| Some(base.join(file).parent()?.to_owned()));
        let weights_bases: Vec<PathBuf> = beside_graph.into_iter().chain([base]).collect();
        written.check()?;
        let networks = networks_of(&written, document.as_ref(), settings.side, &train)?;
        let mut graph = written.clone();
        let (starts, notes) =
            open_weights(&mut graph, &networks, document.as_ref(), &|path| found(path, &weights_bases))?;
        warnings.extend(notes);
        warnings.extend(untrained(&graph));
        warnings.extend(of_one_pixel(&graph, &networks, settings.side));
        let asked = settings.train.precision;
        let architectures = written.nodes().iter().map(|node| node.architecture.as_str());
        let precision = asked.given().unwrap_or_else(|| PrecisionSetting::decide(architectures, settings.side));
        settings.train.precision = precision.into();
        warnings.extend(about_precision(asked, precision));
        Ok(Self {
            settings,
            graph,
            starts,
            networks,
            data: DataFile::of(&train, &evaluation),
            train,
            evaluation,
            transform,
            warnings,
            skipped,
            owner: None,
            first_device: 0,
            auto_precision: asked == PrecisionSetting::Auto,
            split,
            written,
            weights_bases,
            named_weights: None,
        })
    }

    /// The same experiment with another graph; the data is shared, not opened again. Pretrained weights are where they
    /// would be if this graph had been written in place of the first.
    ///
    /// # Errors
    /// If the graph does not fit its networks, or its weights cannot be read.
    pub fn with_graph(&self, graph: Graph) -> Result<Self, Error> {
        graph.check()?;
        let networks = networks_of(&graph, None, self.settings.side, &self.train)?;
        let mut hashed = graph.clone();
        let find = |path: &str| match &self.named_weights {
            Some((name, place)) if name == path => Some(place.clone()),
            _ => found(path, &self.weights_bases),
        };
        let (starts, _) = open_weights(&mut hashed, &networks, None, &find)?;
        let of_one_pixel = of_one_pixel(&hashed, &networks, self.settings.side);
        let warnings = untrained(&hashed).chain(of_one_pixel).collect();
        Ok(Self { graph: hashed, networks, starts, warnings, written: graph, ..self.clone() })
    }

    /// Has the graphs that are given to it find a weights file by the name that [`GraphSettings::named_weights`] gave.
    pub fn know_weights(&mut self, named: Option<(String, PathBuf)>) {
        self.named_weights = named;
    }

    /// A text that differs where the images differ that are trained or evaluated on.
    pub fn data_fingerprint(&self) -> String {
        self.data.fingerprint()
    }

    /// Whether a graph's networks exist, its attention edges join maps of the same size or resize them, and all nodes learn or know
    /// something: those that only teach have whole weights. Of weights it knows those of its own graph.
    pub fn fits(&self, graph: &Graph) -> bool {
        let may_be = |m: usize| graph.is_trained(m) || graph.is_useful(m) && self.is_whole(&graph.nodes()[m]);
        networks_of(graph, None, self.settings.side, &self.train).is_ok() && (0..graph.len()).all(may_be)
    }

    /// Whether a node's file gives all its weights, unless it is of no file that is known here.
    fn is_whole(&self, node: &Node) -> bool {
        let is_same = |other: &&Node| {
            node.pretrained.is_some()
                && (&other.pretrained, &other.architecture) == (&node.pretrained, &node.architecture)
        };
        let known = self.written.nodes().iter().position(|other| is_same(&other));
        known.is_none_or(|known| self.starts[known].is_whole(&self.networks[known]))
    }

    /// The graph as it was written: with the paths of pretrained weights that its author gave.
    pub fn written_graph(&self) -> &Graph {
        &self.written
    }

    /// Decodes every image once, so that a broken file is known before training. `progress` hears how many of how many
    /// are done.
    pub fn check_images(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<(), Error> {
        let all = self.train.len() + self.evaluation.len();
        let mut bad = self.train.bad_images(0, &|done, _| progress(done, all));
        bad.extend(self.evaluation.bad_images(0, &|done, _| progress(self.train.len() + done, all)));
        Ok(ktg_data::Error::of_bad_images(bad, all)?)
    }

    /// What would have been otherwise all along in a longer training; `None`: nothing, so that it can be extended.
    pub(crate) fn depends_on_length(&self) -> Option<String> {
        let graph = &self.graph;
        let of_labels = (0..graph.len()).map(|node| graph.label_gate(node));
        let mut gates = of_labels.chain(graph.active_transfers().map(|(_, _, transfer)| transfer.gate));
        let train = &self.settings.train;
        if train.schedule.depends_on_length() {
            Some("the learning rate (`train.schedule`)".to_owned())
        } else if train.chooses() && train.evaluate_every > 1 {
            // The last epoch is judged, whichever it is.
            Some("the choice of an epoch (`train.evaluate_every`)".to_owned())
        } else {
            gates.find(|gate| gate.is_timed()).map(|gate| format!("a gate (`{gate}`)"))
        }
    }

    /// In which numbers its nodes compute, and where they live.
    pub fn computing(&self) -> Computing {
        let precision = self.settings.train.precision.given().expect("it is decided when the experiment is opened");
        Computing { precision, first_device: self.first_device }
    }

    /// How long its training is.
    pub fn length(&self) -> Length {
        let train = &self.settings.train;
        Length { epochs: train.epochs, batches: self.train.len() / train.images_per_step() }
    }
}

/// Opens the data of settings that can be trained on the process' devices.
fn open_splits(settings: &Settings, base: &Path) -> Result<Splits, Error> {
    settings.check()?;
    settings.check_choice()?;
    settings.check_precision()?;
    Ok(settings.data.open(base)?)
}

/// What `auto` is, and whether bf16 gains nothing.
fn about_precision(asked: PrecisionSetting, precision: Precision) -> Option<String> {
    match (asked, precision) {
        (PrecisionSetting::Auto, Precision::F32) => Some(
            "`train.precision` is auto: f32, as bf16 is not known to be faster here (docs/performance.md)".to_owned(),
        ),
        (PrecisionSetting::Auto, _) => Some(format!("`train.precision` is auto: {}", precision.name())),
        (_, Precision::Bf16) if !bf16_may_gain() => {
            Some("bf16 saves memory on this processor, but no time (docs/performance.md)".to_owned())
        }
        _ => None,
    }
}

/// A sentence about every node that answers at random.
fn untrained(graph: &Graph) -> impl Iterator<Item = String> + '_ {
    (0..graph.len())
        .filter(|m| !graph.is_useful(*m))
        .map(|m| format!("node {} is not trained and has no pretrained weights: its answers are random", m + 1))
}

/// A sentence about every edge whose attention loss is the same whatever the networks do.
fn of_one_pixel<'a>(graph: &'a Graph, networks: &'a [Network], side: usize) -> impl Iterator<Item = String> + 'a {
    let is_blind = move |(source, target, transfer): &(usize, usize, Transfer)| {
        let is_one_pixel = |node: usize| networks[node].map_side(side) == 1;
        transfer.design.reads(Output::AttentionMap)
            && is_one_pixel(*target)
            && (is_one_pixel(*source) || transfer.resize)
    };
    graph.active_transfers().filter(is_blind).map(move |(source, target, _)| {
        let name = edge_name(Some(source), target);
        format!(
            "edge `{name}` compares attention maps of one pixel (at {side} px), which are always alike: that teaches nothing; \
             use larger images, or leave attention out"
        )
    })
}

/// The nodes' networks, where the edges fit them.
fn networks_of(graph: &Graph, document: Option<&Document>, side: usize, data: &Dataset) -> Result<Vec<Network>, Error> {
    let mut networks = Vec::new();
    for (m, node) in graph.nodes().iter().enumerate() {
        let architecture: Architecture =
            node.architecture.parse().map_err(|e| node_error(document, m, format!("{e}")))?;
        let rate = node.drop_path.map_or(0.0, Factor::get);
        let build = Build { side: Some(side), drop_path: rate, ..Build::plain(data.channels(), data.classes()) };
        let network = architecture.build(build);
        if rate > 0.0 && !network.layers.iter().any(|layer| matches!(layer.op, Op::DropPath { .. })) {
            let reason = format!("{architecture} has no stochastic depth; leave out its `drop_path`");
            return Err(node_error(document, m, reason));
        }
        network.shapes([side, side]).map_err(|e| node_error(document, m, e.to_string()))?;
        networks.push(network);
    }
    for (source, target, transfer) in graph.active_transfers() {
        let (a, b) = (networks[source].map_side(side), networks[target].map_side(side));
        if transfer.design.reads(Output::AttentionMap) && a != b && !transfer.resize {
            let name = edge_name(Some(source), target);
            let message = format!(
                "edge `{name}` compares attention maps, but they are {a}x{a} and {b}x{b} at {side} px; `resize = true` on that \
                 edge makes the first as large as the second: \"{name}\" = \"{}\"",
                transfer.resized()
            );
            return Err(match document {
                Some(document) => document.edge_error(Some(source), target, message).into(),
                None => Error::Setting(message),
            });
        }
    }
    Ok(networks)
}

fn read_graph(settings: &GraphSettings, base: &Path) -> Result<(Graph, Option<Document>), Error> {
    let GraphSettings { file, preset, nodes, architecture, teacher, .. } = settings;
    let wrong = |reason: String| Err(Error::Setting(reason));
    if let Some(file) = file {
        if preset.is_some() {
            return wrong("`[graph]` names a `file` and a `preset`; leave one of them out".into());
        }
        if nodes.is_some() || teacher.is_some() {
            let reason = "`graph.nodes` and `graph.teacher` belong to presets; the graph file says it itself";
            return wrong(reason.into());
        }
        let document = Document::read(&base.join(file))?;
        let mut graph = document.graph.clone();
        if let Some(architecture) = architecture {
            graph.set_architecture(architecture);
        }
        if let Some(key) = settings.key_of_nodes() {
            let weights = settings.pretrained.as_ref().map(|path| text_of(&base.join(path))).transpose()?;
            if !settings.give_to(&mut graph, weights.as_deref()) {
                let file = file.display();
                return wrong(format!("`graph.{key}` is for nodes without weights of their own, and {file} has none"));
            }
        }
        return Ok((graph, Some(document)));
    }
    let preset = preset.as_deref().unwrap_or("independent");
    let architecture = architecture.as_deref().unwrap_or(DEFAULT_ARCHITECTURE);
    let mut graph = presets::by_name(preset, nodes.unwrap_or(2), architecture)?;
    if let Some(teacher) = teacher {
        if preset != "kd" {
            return wrong("`graph.teacher` belongs to the preset `kd`".into());
        }
        graph.node_mut(0).pretrained = Some(text_of(teacher)?);
    }
    let weights = settings.pretrained.as_deref().map(text_of).transpose()?;
    settings.give_to(&mut graph, weights.as_deref());
    Ok((graph, None))
}

/// A path as graphs have it.
fn text_of(path: &Path) -> Result<String, Error> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::Setting(format!("the path {} is not UTF-8", path.display())))
}

impl GraphSettings {
    /// The first of the settings that are about every node, if any is there.
    pub fn key_of_nodes(&self) -> Option<&'static str> {
        let keys = [
            ("pretrained", self.pretrained.is_some()),
            ("strict", self.strict),
            ("freeze", self.freeze.is_some()),
            ("learning_rate_factor", self.learning_rate_factor.is_some()),
            ("drop_path", self.drop_path.is_some()),
        ];
        keys.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }

    /// Whether a node's weights are these, by the path that was written for both: as of a study's graph, which was searched
    /// with them.
    pub fn are_of(&self, node: &Node) -> bool {
        let path = self.pretrained.as_deref().and_then(Path::to_str);
        path.is_some() && node.pretrained.as_deref() == path
    }

    /// The name of the weights file, made of its content as run directories have it, and where it lies; relative paths start
    /// at `base`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn named_weights(&self, base: &Path) -> Result<Option<(String, PathBuf)>, Error> {
        let Some(path) = &self.pretrained else { return Ok(None) };
        let path = base.join(path);
        let bytes = std::fs::read(&path).map_err(Error::file("read the weights file", &path))?;
        Ok(Some((name_of(&bytes), path)))
    }

    /// Gives them to the nodes that have no other weights of their own, with the weights under the name `pretrained`; whether
    /// there are such.
    pub fn give_to(&self, graph: &mut Graph, pretrained: Option<&str>) -> bool {
        let mut is_given = false;
        for m in 0..graph.len() {
            let node = graph.node_mut(m);
            let (is_own, is_theirs) = (self.are_of(node), node.pretrained.is_none() && !node.frozen);
            if is_own || is_theirs {
                node.pretrained = pretrained.map(str::to_owned);
                is_given = true;
            }
            if is_theirs || is_own && !node.frozen {
                node.strict = self.strict;
                node.freeze = node.freeze.take().or_else(|| self.freeze.clone());
                node.learning_rate_factor = self.learning_rate_factor;
            }
            if !node.frozen && node.drop_path.is_none() && self.drop_path.is_some() {
                node.drop_path = self.drop_path;
                is_given = true;
            }
        }
        is_given
    }
}
