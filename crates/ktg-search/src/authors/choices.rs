//! What the trials of a study of theirs choose from, and the same as a search space of ours.

use std::collections::BTreeMap;

use ktg_graph::{Design, Gate, Graph, MAX_NODES, Node, authors};
use serde_json::Value as Json;

use super::part::Part;
use crate::Error;
use crate::parameter::{ParameterKind, Slot};
use crate::space::{EdgeChoices, Space, first_repeated};
use crate::storage;

/// Their parameters with what there is to choose from.
pub(super) struct TheirChoices {
    names: BTreeMap<Part, Vec<String>>,
    /// The number of models.
    models: usize,
    /// Whether model 0 is the ensemble node; it is a network in DCL.
    pub has_ensemble: bool,
}

impl TheirChoices {
    /// Those of a study's parameters.
    ///
    /// # Errors
    /// If the study is not one of theirs, or uses what does not exist here.
    pub fn of(parameters: Vec<storage::Choices>) -> Result<Self, Error> {
        let mut names: BTreeMap<Part, Vec<String>> = BTreeMap::new();
        for storage::Choices { parameter, choices, trial } in parameters {
            let part = Part::parse(&parameter).ok_or_else(|| {
                let reason = "which the authors' code has not: it is not one of their studies";
                refused(format!("trial {trial} has the parameter `{parameter}`, {reason}"))
            })?;
            if matches!(part, Part::Pretrained(_)) {
                continue;
            }
            let texts = choices.iter().flatten().map(|choice| choice.as_str().map(str::to_owned));
            let texts: Vec<String> = texts.collect::<Option<_>>().unwrap_or_default();
            if texts.is_empty() {
                return Err(refused(format!("trial {trial}: the parameter `{parameter}` is no choice of names")));
            }
            if names.get(&part).is_some_and(|before| *before != texts) {
                let reason = "other choices than in the trials before; it cannot be one search space";
                return Err(refused(format!("trial {trial}: the parameter `{parameter}` has {reason}")));
            }
            names.insert(part, texts);
        }
        let models = (0..).take_while(|model| names.contains_key(&Part::Network(*model))).count();
        if let Some(part) = names.keys().find(|part| part.last_model() >= models) {
            let (name, missing) = (part.name(), Part::Network(models).name());
            return Err(refused(format!("it has a parameter `{name}` but no `{missing}`")));
        }
        let of_first = names.get(&Part::Network(0)).map(Vec::as_slice).unwrap_or_default();
        let has_ensemble = of_first.iter().all(|name| authors::is_ensemble(name));
        let choices = Self { names, models, has_ensemble };
        let networks = choices.networks().len();
        if !(1..=MAX_NODES).contains(&networks) {
            return Err(refused(format!("its trials have {networks} networks, and 1 to {MAX_NODES} can be read")));
        }
        Ok(choices)
    }

    /// The numbers of the models that are networks.
    fn networks(&self) -> std::ops::Range<usize> {
        let first = usize::from(self.has_ensemble);
        first..self.models.max(first)
    }

    /// All parameters that a whole trial has.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.names.keys().copied()
    }

    /// The same as a search space of ours.
    ///
    /// # Errors
    /// If a parameter is missing, or a choice does not exist here.
    pub fn space(&self) -> Result<Space, Error> {
        self.check_ensemble()?;
        let first = self.networks().start;
        let mut architectures = Vec::new();
        for model in self.networks() {
            architectures.push((model - first, self.read(Part::Network(model), authors::architecture)?));
        }
        let mut edges = Vec::new();
        for model in self.networks() {
            self.check_label_loss(model)?;
            let gates = self.read(Part::Gate { target: model, source: model }, authors::gate)?;
            edges.push(EdgeChoices { source: None, target: model - first, designs: Vec::new(), gates });
        }
        for target in self.networks() {
            for source in self.networks().filter(|source| *source != target) {
                let designs: Vec<Design> = self.read(Part::Loss { target, source }, authors::design_in_study)?;
                let gates: Vec<Gate> = self.read(Part::Gate { target, source }, authors::gate)?;
                edges.push(EdgeChoices { source: Some(source - first), target: target - first, designs, gates });
            }
        }
        let nodes = architectures.iter().map(|(_, choices)| Node::new(&choices[0])).collect();
        Space::of(Graph::new(nodes), &edges, &architectures)
    }

    /// The name and the choice in our space that a choice of theirs means; `None` of the ensemble node and of the loss of a
    /// label edge, which are what they are.
    ///
    /// # Errors
    /// If there is no such choice here.
    pub fn ours(&self, part: Part, choice: &str) -> Result<Option<(String, String)>, Error> {
        let node = |model: usize| model.checked_sub(self.networks().start);
        let (slot, choice) = match part {
            Part::Network(model) => {
                let Some(target) = node(model) else { return Ok(None) };
                (Slot { kind: ParameterKind::Architecture, source: None, target }, authors::architecture(choice)?)
            }
            Part::Loss { target, source } => {
                let (Some(target), Some(source)) = (node(target), node(source)) else { return Ok(None) };
                if source == target {
                    return Ok(None);
                }
                let design = authors::design_in_study(choice)?;
                (Slot { kind: ParameterKind::Design, source: Some(source), target }, design.to_string())
            }
            Part::Gate { target, source } => {
                let (Some(target), Some(source)) = (node(target), node(source)) else { return Ok(None) };
                let source = (source != target).then_some(source);
                (Slot { kind: ParameterKind::Gate, source, target }, authors::gate(choice)?.to_string())
            }
            Part::Pretrained(_) => return Ok(None),
        };
        Ok(Some((slot.name(), choice)))
    }

    /// What each choice of a part means here.
    fn read<T: PartialEq>(
        &self,
        part: Part,
        read: impl Fn(&str) -> Result<T, ktg_graph::Error>,
    ) -> Result<Vec<T>, Error> {
        let read = |name: &String| read(name).map_err(|e| refused(format!("the parameter `{}`: {e}", part.name())));
        let choices = self.names_of(part)?.iter().map(read).collect::<Result<Vec<T>, Error>>()?;
        match first_repeated(&choices) {
            None => Ok(choices),
            Some(_) => Err(refused(format!("two choices of the parameter `{}` mean the same here", part.name()))),
        }
    }

    fn names_of(&self, part: Part) -> Result<&[String], Error> {
        let names = self.names.get(&part);
        names.map(Vec::as_slice).ok_or_else(|| refused(format!("its trials have no parameter `{}`", part.name())))
    }

    /// Makes sure that the ensemble node learns nothing and teaches nothing.
    fn check_ensemble(&self) -> Result<(), Error> {
        let of_ensemble = |part: &Part| match part {
            Part::Gate { target, source } => self.has_ensemble && (*target == 0 || *source == 0),
            _ => false,
        };
        for part in self.parts().filter(of_ensemble) {
            for gate in self.read(part, authors::gate)? {
                if !gate.is_cut() {
                    let reason =
                        "an edge of the ensemble node is not supported here, unless its one choice is \"CutoffGate\"";
                    return Err(refused(format!("the parameter `{}`: {reason}", part.name())));
                }
            }
        }
        Ok(())
    }

    fn check_label_loss(&self, model: usize) -> Result<(), Error> {
        let part = Part::Loss { target: model, source: model };
        match self.names_of(part)?.iter().find(|name| !authors::is_label_loss(name)) {
            None => Ok(()),
            Some(name) => {
                let name_of_part = part.name();
                Err(refused(format!("the parameter `{name_of_part}` must be \"IndepLoss\", not {name:?}")))
            }
        }
    }
}

/// Why a study cannot be read.
pub(super) fn refused(reason: String) -> Error {
    Error::Setting(reason)
}

/// Whether a choice of [`Part::Pretrained`] is not a clear no.
pub(super) fn is_pretrained(choice: &Json) -> bool {
    choice.as_bool().unwrap_or_else(|| choice.as_f64() != Some(0.0))
}
