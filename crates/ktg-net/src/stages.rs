//! The parts of a network that its weights are talked of by.

use std::collections::BTreeSet;

use crate::network::{Network, Op, Value};
use crate::parameters::Parameter;

/// What a layer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What all classes share.
    Backbone,
    /// The attention branch: what only its logits and the attention map need.
    Branch,
    /// The layer that gives the class logits.
    Head,
}

impl Network {
    /// The name that stands for all stages of the backbone.
    pub const BACKBONE: &'static str = "backbone";

    /// What each layer belongs to. Networks without logits of an attention branch have no branch.
    pub fn parts(&self) -> Vec<Part> {
        let main = self.needed_for(&[self.logits], false);
        let branch = self.attention_logits.map(|logits| self.needed_for(&[logits, self.attention_map], true));
        let part = |layer: usize| {
            if self.logits.layer() == Some(layer) {
                Part::Head
            } else if !main.contains(&layer) && branch.as_ref().is_some_and(|branch| branch.contains(&layer)) {
                Part::Branch
            } else {
                Part::Backbone
            }
        };
        (0..self.layers.len()).map(part).collect()
    }

    /// The layers that these values are computed from, those of maps that weight others among them or not.
    fn needed_for(&self, values: &[Value], with_maps: bool) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<usize> = values.iter().filter_map(|value| value.layer()).collect();
        while let Some(layer) = open.pop() {
            if !needed.insert(layer) {
                continue;
            }
            let inputs = &self.layers[layer].inputs;
            let followed = if self.layers[layer].op == Op::Attend && !with_maps { &inputs[..1] } else { &inputs[..] };
            open.extend(followed.iter().filter_map(|value| value.layer()));
        }
        needed
    }

    /// The names of the stages, `conv1`, `bn1`, `layer1` and so on: the first parts of the names of all layers that keep
    /// something, in their order.
    pub fn stages(&self) -> Vec<String> {
        let mut stages: Vec<String> = Vec::new();
        for parameter in self.parameters() {
            let stage = parameter.stage();
            if stages.last().is_none_or(|last| last != stage) {
                stages.push(stage.to_owned());
            }
        }
        stages
    }

    /// The layers, by their indices, that keep something and belong to a stage: [`BACKBONE`](Self::BACKBONE), one of
    /// [`stages`](Self::stages), or a part of one, such as `layer4.0`. None if there is no such stage.
    pub fn layers_of_stage(&self, stage: &str) -> BTreeSet<usize> {
        let parts = self.parts();
        let belongs = |layer: &usize| match self.layers[*layer].name.strip_prefix(stage) {
            _ if stage == Self::BACKBONE => parts[*layer] == Part::Backbone,
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        };
        self.parameters().iter().map(|parameter| parameter.layer).filter(belongs).collect()
    }
}

impl Parameter {
    /// The stage that it belongs to.
    pub fn stage(&self) -> &str {
        stage_of(&self.name)
    }
}

/// The stage of a layer or parameter.
pub(crate) fn stage_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use crate::{Architecture, Network};

    use super::Part;

    fn network(name: &str) -> Network {
        name.parse::<Architecture>().unwrap().network(3, 10)
    }

    #[test]
    fn stages_are_the_first_parts_of_names() {
        assert_eq!(network("resnet-18").stages(), ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]);
        let stages = network("abn-resnet-cifar-8").stages();
        let branch = ["att_layer3", "bn_att", "att_conv", "bn_att2", "att_conv2", "att_conv3", "bn_att3"];
        assert_eq!(stages[..4], ["conv1", "bn1", "layer1", "layer2"]);
        assert_eq!(
            (&stages[4..11], &stages[11..]),
            (&branch.map(String::from)[..], &["layer3".into(), "fc".into()][..])
        );
    }

    #[test]
    fn every_layer_belongs_to_one_part() {
        for (name, branch) in
            [("resnet-50", false), ("resnet-cifar-8", false), ("abn-resnet-50", true), ("abn-resnet-cifar-8", true)]
        {
            let network = network(name);
            for (layer, part) in network.layers.iter().zip(network.parts()) {
                let is_of_branch = branch
                    && ["att_", "bn_att", "relu_att", "sigmoid"].iter().any(|start| layer.name.starts_with(start));
                let expected = if layer.name == "fc" {
                    Part::Head
                } else if is_of_branch {
                    Part::Branch
                } else {
                    Part::Backbone
                };
                assert_eq!(part, expected, "{name}: {}", layer.name);
            }
        }
    }

    #[test]
    fn layers_are_found_by_whole_parts_of_names() {
        let network = network("abn-resnet-18");
        let names = |stage: &str| -> Vec<&str> {
            network.layers_of_stage(stage).into_iter().map(|layer| network.layers[layer].name.as_str()).collect()
        };
        assert_eq!(names("conv1"), ["conv1"]);
        assert_eq!(names("layer4.1"), ["layer4.1.conv1", "layer4.1.bn1", "layer4.1.conv2", "layer4.1.bn2"]);
        assert!(names("layer").is_empty() && names("layer5").is_empty() && names("").is_empty());
        let all = network.layers_of_stage(Network::BACKBONE).len() + names("fc").len() + 6 + names("att_layer4").len();
        let kept: std::collections::BTreeSet<usize> = network.parameters().iter().map(|p| p.layer).collect();
        assert_eq!(all, kept.len(), "{kept:?}");
    }
}
