//! What the trials of a study of theirs choose from, and the same as a search space of ours.

use std::collections::BTreeMap;
use std::ops::Range;

use ktg_graph::{Design, Gate, Graph, MAX_NODES, Node, authors};
use serde_json::{Value as Json, json};

use super::part::Part;
use crate::edges::{EdgeChoices, add_new};
use crate::parameter::{ParameterKind, Slot};
use crate::space::Space;
use crate::storage::{self, State, Trial};

/// Their parameters with what there is to choose from, whether it exists here or not.
pub(super) struct TheirChoices {
    offered: BTreeMap<Part, Vec<String>>,
    /// The number of models.
    models: usize,
    /// Whether model 0 is the ensemble node; it is a network in DCL.
    pub has_ensemble: bool,
}

impl TheirChoices {
    /// Those of a study's parameters.
    pub fn of(parameters: Vec<storage::Choices>) -> Self {
        let mut offered: BTreeMap<Part, Vec<String>> = BTreeMap::new();
        for storage::Choices { parameter, choices } in parameters {
            let Some(part) = Part::parse(&parameter) else { continue };
            let of_part = offered.entry(part).or_default();
            for choice in choices.iter().flatten().filter_map(Json::as_str) {
                add_new(of_part, choice.to_owned());
            }
        }
        let models = (0..).take_while(|model| offered.contains_key(&Part::Network(*model))).count();
        let of_first = offered.get(&Part::Network(0)).map(Vec::as_slice).unwrap_or_default();
        let has_ensemble = of_first.iter().all(|name| authors::is_ensemble(name));
        Self { offered, models, has_ensemble }
    }

    /// The numbers of the models that are networks.
    fn networks(&self) -> Range<usize> {
        let first = usize::from(self.has_ensemble);
        first..self.models.max(first)
    }

    /// All parameters that say which graph a trial has.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let networks = self.networks();
        networks.clone().flat_map(move |target| {
            let edges =
                networks.clone().map(move |source| [Part::Loss { target, source }, Part::Gate { target, source }]);
            std::iter::once(Part::Network(target)).chain(edges.flatten())
        })
    }

    /// All that is offered and exists here, as a search space of ours.
    ///
    /// # Errors
    /// If there are no networks or too many, or nothing that a parameter offers exists here: the reason.
    pub fn space(&self) -> Result<Space, String> {
        let networks = self.networks();
        match networks.len() {
            0 => return Err("none says which networks it has".to_owned()),
            1..=MAX_NODES => {}
            more => return Err(format!("they have {more} networks, and at most {MAX_NODES} can be read")),
        }
        let first = networks.start;
        let mut nodes = Vec::new();
        let mut architectures = Vec::new();
        for model in networks.clone() {
            let choices = self.translated(Part::Network(model), authors::architecture)?;
            nodes.push(Node::new(&choices[0]));
            architectures.push((model - first, choices));
        }
        let mut edges = Vec::new();
        for model in networks.clone() {
            let gates = self.translated(Part::Gate { target: model, source: model }, authors::gate)?;
            edges.push(EdgeChoices { source: None, target: model - first, designs: Vec::new(), gates, resize: false });
        }
        for target in networks.clone() {
            for source in networks.clone().filter(|source| *source != target) {
                let designs: Vec<Design> = self.translated(Part::Loss { target, source }, authors::design_in_study)?;
                let gates: Vec<Gate> = self.translated(Part::Gate { target, source }, authors::gate)?;
                edges.push(EdgeChoices {
                    source: Some(source - first),
                    target: target - first,
                    designs,
                    gates,
                    resize: false,
                });
            }
        }
        Space::of(Graph::new(nodes), &edges, &architectures).map_err(|e| e.to_string())
    }

    /// What the choices of a part mean here, those that exist here; at least one.
    fn translated<T: PartialEq>(
        &self,
        part: Part,
        read: impl Fn(&str) -> Result<T, ktg_graph::Error>,
    ) -> Result<Vec<T>, String> {
        let mut choices = Vec::new();
        for name in self.offered.get(&part).into_iter().flatten() {
            if let Ok(choice) = read(name) {
                add_new(&mut choices, choice);
            }
        }
        match choices.is_empty() {
            true => Err(format!("none has a parameter `{}` with a choice that exists here", part.name())),
            false => Ok(choices),
        }
    }

    /// What a trial has chosen, under our names.
    ///
    /// # Errors
    /// If something of it does not exist here, or it was judged without a whole graph: the reason.
    pub fn ours(&self, trial: &Trial) -> Result<BTreeMap<String, Json>, String> {
        let mut ours = BTreeMap::new();
        for (name, choice) in &trial.parameters {
            let part = Part::parse(name).ok_or_else(|| {
                format!(
                    "the parameter `{name}` is not in the form of the authors' published studies, such as `02_01_gate`"
                )
            })?;
            if let Some((slot, choice)) = self.slot(part, choice)? {
                ours.insert(slot.name(), json!(choice));
            }
        }
        let missing = self.parts().map(Part::name).find(|name| !trial.parameters.contains_key(name));
        match missing {
            Some(name) if matches!(trial.state, State::Complete | State::Pruned) => {
                Err(format!("there is no parameter `{name}`"))
            }
            _ => Ok(ours),
        }
    }

    /// What a choice means here; `None` of the ensemble node and of the loss of a label edge, which are what they are.
    ///
    /// # Errors
    /// If there is no such choice here: the reason.
    fn slot(&self, part: Part, choice: &Json) -> Result<Option<(Slot, String)>, String> {
        let name = part.name();
        if part.last_model() >= self.models {
            return Err(format!("there is a parameter `{name}` but no `{}`", Part::Network(self.models).name()));
        }
        let unknown = |_| format!("`{name}` is {choice}, which does not exist here");
        let text = choice.as_str().unwrap_or_default();
        let node = |model: usize| model.checked_sub(self.networks().start);
        let gene = match part {
            Part::Network(model) => {
                let Some(target) = node(model) else { return Ok(None) };
                let architecture = authors::architecture(text).map_err(unknown)?;
                (Slot { kind: ParameterKind::Architecture, source: None, target }, architecture)
            }
            Part::Loss { target, source } => {
                let (Some(target), Some(source)) = (node(target), node(source)) else { return Ok(None) };
                if source == target {
                    return match authors::is_label_loss(text) {
                        true => Ok(None),
                        false => Err(format!("`{name}` is {choice}; the loss of a label must be \"IndepLoss\"")),
                    };
                }
                let design = authors::design_in_study(text).map_err(unknown)?;
                (Slot { kind: ParameterKind::Design, source: Some(source), target }, design.to_string())
            }
            Part::Gate { target, source } => {
                let gate = authors::gate(text).map_err(unknown)?;
                let (Some(target), Some(source)) = (node(target), node(source)) else {
                    return match gate.is_cut() {
                        true => Ok(None),
                        false => Err(format!("`{name}` is {choice}; an edge of the ensemble node must be cut here")),
                    };
                };
                let source = (source != target).then_some(source);
                (Slot { kind: ParameterKind::Gate, source, target }, gate.to_string())
            }
            Part::Pretrained(_) if is_no(choice) => return Ok(None),
            Part::Pretrained(_) => {
                return Err(format!("`{name}` is {choice}; weights that only their code knows are not supported"));
            }
        };
        Ok(Some(gene))
    }
}

/// Whether a choice of [`Part::Pretrained`] is a clear no.
fn is_no(choice: &Json) -> bool {
    choice.as_bool() == Some(false) || choice.as_f64() == Some(0.0)
}
