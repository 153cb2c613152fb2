//! What of a file fits a network.

use std::collections::{BTreeMap, BTreeSet};

use ktg_base::text::grouped;

use super::array::{Array, StateDict};
use super::check::{difference, first_three, is_counter, unknown};
use super::error::WeightsError;
use super::looks::{Shapes, backbone, looks_like};
use super::positions::{resized, side_of};
use crate::network::{Network, Op, Value};
use crate::parameters::Parameter;
use crate::stages::{Part, stage_of};

/// The weights in a file that a network starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// What is loaded, under the network's names.
    pub arrays: StateDict,
    /// The parameters and running statistics of the network that are not in `arrays` and start fresh, in the order of the layers.
    pub fresh: Vec<String>,
    /// The tensors of the file that are not used, but for counters.
    pub unused: Vec<String>,
    /// How many tensors the file has, but for counters.
    tensors: usize,
    /// What is new, for people: a few words each.
    new: Vec<String>,
    /// How the first convolution was made to take other images, if it was.
    first_convolution: Option<String>,
    /// How embeddings of positions were made to fit images of another side, if they were.
    positions: Option<String>,
}

impl Fit {
    /// One line about what was taken, what is new and what was not used; `None` if the file is the network's, tensor by tensor.
    pub fn summary(&self) -> Option<String> {
        let is_whole = self.fresh.is_empty() && self.unused.is_empty();
        let is_as_it_was = self.first_convolution.is_none() && self.positions.is_none();
        if is_whole && is_as_it_was && self.new.is_empty() {
            return None;
        }
        let taken = grouped((self.tensors - self.unused.len()) as u64);
        let mut parts = vec![format!("{taken} of its {} tensors are taken", grouped(self.tensors as u64))];
        parts.extend(self.first_convolution.clone());
        parts.extend(self.positions.clone());
        if !self.new.is_empty() {
            parts.push(format!("new: {}", self.new.join(", ")));
        }
        if !self.unused.is_empty() {
            parts.push(format!("not used: {}", stages(&self.unused)));
        }
        Some(parts.join("; "))
    }
}

/// The stages of these names, the first few of them.
fn stages(names: &[String]) -> String {
    const MOST: usize = 8;
    let stages: BTreeSet<&str> = names.iter().map(|name| stage_of(name)).collect();
    let first: Vec<String> = stages.iter().take(MOST).map(|stage| format!("`{stage}`")).collect();
    let more = stages.len().saturating_sub(MOST);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// What of a file's `arrays` a network starts from; `origin` names the file in messages.
///
/// * The backbone must be whole, but for the number of channels of the first convolution, whose weights are then summed over
///   the file's channels for grey images, and else repeated and scaled by the ratio of both numbers, so that equal channels give
///   what they gave (as timm does), and for a transformer's embeddings of positions, which are resized to images of another side (bicubic,
///   as torchvision does).
/// * The head and the layers of an attention branch are taken where names and shapes fit, and start fresh elsewhere. Stages
///   of the branch that the file does not have (`att_layer4`) start from the stages that they are copies of (`layer4`).
/// * Tensors of the file in other places than the backbone's stages need not be used.
///
/// # Errors
///
/// [`WeightsError::Mismatch`], which says what differs in the backbone and what the file looks like.
pub fn fit(network: &Network, arrays: &StateDict, origin: &str) -> Result<Fit, WeightsError> {
    let mut fitting = Fitting::of(network, arrays);
    fitting.take_all();
    fitting.check_backbone().map_err(|reason| WeightsError::Mismatch { path: origin.to_owned(), reason })?;
    Ok(fitting.finish())
}

/// Layer by layer.
struct Fitting<'a> {
    network: &'a Network,
    file: &'a StateDict,
    parameters: Vec<Parameter>,
    parts: Vec<Part>,
    loaded: StateDict,
    /// Names of the file that were taken.
    used: BTreeSet<&'a str>,
    fresh: Vec<String>,
    /// Stages of the branch, and the stages that they start from.
    copied: BTreeMap<String, String>,
    first_convolution: Option<String>,
    positions: Option<String>,
    /// Of the backbone: what differs, and how many parameters do not.
    problems: Vec<String>,
    matching: usize,
}

impl<'a> Fitting<'a> {
    fn of(network: &'a Network, file: &'a StateDict) -> Self {
        Self {
            network,
            file,
            parameters: network.parameters(),
            parts: network.parts(),
            loaded: StateDict::new(),
            used: BTreeSet::new(),
            fresh: Vec::new(),
            copied: BTreeMap::new(),
            first_convolution: None,
            positions: None,
            problems: Vec::new(),
            matching: 0,
        }
    }

    fn take_all(&mut self) {
        let parameters = self.parameters.clone();
        for layer in parameters.chunk_by(|a, b| a.layer == b.layer) {
            let part = self.parts[layer[0].layer];
            let differences: Vec<String> =
                layer.iter().filter_map(|parameter| difference(parameter, self.file)).collect();
            let fits = differences.is_empty();
            if fits {
                layer.iter().for_each(|parameter| self.take(parameter, &parameter.name));
            }
            match part {
                Part::Backbone if fits => self.matching += layer.len(),
                Part::Backbone if self.take_other_channels(layer) || self.take_other_positions(layer) => {}
                Part::Backbone => self.problems.extend(differences),
                _ if fits => {}
                Part::Branch if self.take_copy(layer) => {}
                Part::Branch | Part::Head => self.fresh.extend(layer.iter().map(|parameter| parameter.name.clone())),
            }
        }
    }

    /// Takes an array of the file, under the name of a parameter of its shape.
    fn take(&mut self, parameter: &Parameter, name: &str) {
        if let Some((name, array)) = self.file.get_key_value(name) {
            self.used.insert(name);
            self.loaded.insert(parameter.name.clone(), array.clone());
        }
    }

    /// Takes a layer of the branch from the layer of the backbone that it is a copy of, if the file has that.
    fn take_copy(&mut self, layer: &[Parameter]) -> bool {
        let stages: Vec<String> = self.network.stages();
        let original = |parameter: &Parameter| parameter.name.strip_prefix("att_").map(str::to_owned);
        let fits = layer.iter().all(|parameter| {
            let name = original(parameter).filter(|name| stages.iter().any(|stage| stage == stage_of(name)));
            name.and_then(|name| self.file.get(&name)).is_some_and(|array| array.shape == parameter.shape)
        });
        if fits {
            for parameter in layer {
                let name = original(parameter).unwrap_or_default();
                self.take(parameter, &name);
                self.copied.insert(parameter.stage().to_owned(), stage_of(&name).to_owned());
            }
        }
        fits
    }

    /// Takes the first convolution for images of another number of channels, if that is all that differs.
    fn take_other_channels(&mut self, layer: &[Parameter]) -> bool {
        // What has a bias has it behind the weights.
        let [parameter, bias @ ..] = layer else { return false };
        if bias.iter().any(|bias| difference(bias, self.file).is_some()) {
            return false;
        }
        let Parameter { name, shape, layer, .. } = parameter;
        let of_network = &self.network.layers[*layer];
        let reads_images = of_network.inputs.first() == Some(&Value::IMAGES);
        let (true, Op::Conv2d { .. }, Some((key, array))) =
            (reads_images, &of_network.op, self.file.get_key_value(name))
        else {
            return false;
        };
        let (&[output, channels, height, width], [of_output, of_channels, of_window @ ..]) =
            (&shape[..], &array.shape[..])
        else {
            return false;
        };
        if *of_output != output || of_window != [height, width] || *of_channels == 0 {
            return false;
        }
        let layer = &of_network.name;
        self.first_convolution = Some(match channels {
            1 => format!("`{layer}` is summed over its {of_channels} channels"),
            _ => format!("`{layer}` is repeated for {channels} channels and scaled by {of_channels}/{channels}"),
        });
        self.used.insert(key);
        self.loaded.insert(name.clone(), with_channels(array, *of_channels, channels));
        bias.iter().for_each(|bias| self.take(bias, &bias.name));
        true
    }

    /// Takes embeddings of the positions in images of another side.
    fn take_other_positions(&mut self, layer: &[Parameter]) -> bool {
        let [parameter] = layer else { return false };
        let Op::Positions { channels, tokens } = self.network.layers[parameter.layer].op else { return false };
        let Some((key, array)) = self.file.get_key_value(&parameter.name) else { return false };
        let &[1, of_file, width] = &array.shape[..] else { return false };
        let (Some(from), Some(to)) = (side_of(of_file), side_of(tokens)) else { return false };
        if width != channels {
            return false;
        }
        self.positions = Some(format!("`{key}` is resized from {from}x{from} to {to}x{to} patches"));
        self.used.insert(key);
        let data = resized(&array.data, from, to, width);
        self.loaded.insert(parameter.name.clone(), Array { shape: parameter.shape.clone(), data });
        true
    }

    /// Errs if anything of the backbone differs: with what differs and what the file looks like; where it is of another network, with
    /// the latter alone.
    fn check_backbone(&mut self) -> Result<(), String> {
        let is_of_backbone = |parameter: &&Parameter| self.parts[parameter.layer] == Part::Backbone;
        let of_backbone: Vec<&Parameter> = self.parameters.iter().filter(is_of_backbone).collect();
        let stages: BTreeSet<&str> = of_backbone.iter().map(|parameter| parameter.stage()).collect();
        let is_odd = |name: &&&String| {
            stages.contains(stage_of(name)) && !self.used.contains(name.as_str()) && !is_counter(name)
        };
        // A stage may hold layers of the backbone and the head, which need not fit.
        let names: BTreeSet<&str> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let odd = self.file.keys().filter(|name| is_odd(&name) && !names.contains(name.as_str()));
        self.problems.extend(odd.map(|name| unknown(name)));
        if self.problems.is_empty() {
            return Ok(());
        }
        let matches_little = self.matching * 2 < of_backbone.len();
        let of_file: Shapes = self.file.iter().map(|(name, array)| (name.as_str(), &array.shape[..])).collect();
        let own: Shapes =
            self.parameters.iter().map(|parameter| (parameter.name.as_str(), &parameter.shape[..])).collect();
        let looks = looks_like(&of_file);
        Err(match (backbone(&of_file), backbone(&own)) {
            (Some(of_file), Some(own)) if of_file != own => format!("{looks}, and the network is {own}"),
            (None, _) if matches_little => looks,
            _ => format!("{}; {looks}", first_three(&self.problems)),
        })
    }

    fn finish(self) -> Fit {
        let new = self.what_is_new();
        let is_unused = |name: &&String| !self.used.contains(name.as_str()) && !is_counter(name);
        Fit {
            new,
            unused: self.file.keys().filter(is_unused).cloned().collect(),
            tensors: self.file.keys().filter(|name| !is_counter(name)).count(),
            arrays: self.loaded,
            fresh: self.fresh,
            first_convolution: self.first_convolution,
            positions: self.positions,
        }
    }

    /// What is new, for people: the head by its name, the branch as a whole, with what of it is not new.
    fn what_is_new(&self) -> Vec<String> {
        let is_of = |part: Part| move |parameter: &&Parameter| self.parts[parameter.layer] == part;
        let is_fresh = |parameter: &Parameter| !self.loaded.contains_key(&parameter.name);
        let head = self.parameters.iter().filter(is_of(Part::Head)).find(|parameter| is_fresh(parameter));
        let mut new: Vec<String> =
            head.map(|parameter| format!("`{}`", self.network.layers[parameter.layer].name)).into_iter().collect();

        let mut kept: Vec<&str> = Vec::new();
        let mut fresh: BTreeSet<&str> = BTreeSet::new();
        for parameter in self.parameters.iter().filter(is_of(Part::Branch)) {
            let stage = parameter.stage();
            if is_fresh(parameter) {
                fresh.insert(stage);
            }
            if kept.last() != Some(&stage) {
                kept.push(stage);
            }
        }
        kept.retain(|stage| !fresh.contains(stage));
        if fresh.is_empty() && self.copied.is_empty() {
            return new;
        }
        let but = |stage: &&str| match self.copied.get(*stage) {
            Some(original) => format!("`{stage}`, which starts from `{original}`"),
            None => format!("`{stage}`"),
        };
        let but: Vec<String> = kept.iter().map(but).collect();
        new.push(match but.is_empty() {
            true => "the attention branch".to_owned(),
            false => format!("the attention branch (but for {})", but.join(", ")),
        });
        new
    }
}

/// The weights `[output, from, height, width]` of a convolution, for images of `to` channels.
fn with_channels(weights: &Array, from: usize, to: usize) -> Array {
    let mut shape = weights.shape.clone();
    shape[1] = to;
    let window = shape[2] * shape[3];
    let scale = from as f32 / to as f32;
    let mut data = Vec::with_capacity(shape.iter().product());
    for of_output in weights.data.chunks_exact(from * window) {
        let channels: Vec<&[f32]> = of_output.chunks_exact(window).collect();
        if to == 1 {
            data.extend((0..window).map(|pixel| channels.iter().map(|channel| channel[pixel]).sum::<f32>()));
        } else {
            let repeated = channels.iter().cycle().take(to);
            data.extend(repeated.flat_map(|channel| channel.iter().map(|value| value * scale)));
        }
    }
    Array { shape, data }
}
