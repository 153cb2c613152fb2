//! The `[search]` table of an experiment file.

use std::collections::BTreeMap;

use ktg_base::toml_problem;
use ktg_graph::{Design, Gate};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What is searched, and how. In TOML; whatever is left out has its default, and unknown keys are errors.
///
/// ```toml
/// [search]
/// gates = ["through", "linear", "cutoff"]
/// designs = ["probability closer", "attention apart"]
/// sampler = "evolution"
/// pruner = "promotion"
///
/// [search.edges]
/// "label -> 1" = "through"                       # fixed
/// "1 -> 2" = "attention apart, linear"           # fixed
/// "2 -> 1" = { designs = ["both closer"] }       # a choice of its own
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSettings {
    /// Gates of label edges. Default: the thesis' four, of which `correct` and `through` mean the same there.
    pub label_gates: Vec<Gate>,
    /// Gates of transfer edges. Default: the thesis' four.
    pub gates: Vec<Gate>,
    /// Designs of transfer edges. Default: the thesis' six.
    pub designs: Vec<Design>,
    /// Architectures that every node may have. Default: none, each node has the one that the graph gives it.
    pub architectures: Vec<String>,
    /// Whether every edge between attention maps of different size resizes the source's. Default: no, graphs with such an
    /// edge are left out.
    pub resize: bool,
    /// Edges that are fixed, or have choices of their own, such as `"1 -> 2"`.
    pub edges: BTreeMap<String, EdgeSettings>,
    /// What makes a graph better than another. Default: accuracy, as in the thesis.
    pub objective: ObjectiveKind,
    /// How graphs are chosen. Default: random, as in the thesis.
    pub sampler: SamplerKind,
    /// How hopeless trials are stopped. Default: asha, as in the thesis.
    pub pruner: PrunerKind,
    /// The epoch of the first rung (asha, promotion, hyperband). Default: 1.
    pub min_resource: u32,
    /// One trial in so many goes on at each rung, and the next rung is so many times as many epochs away. Default: 2.
    pub reduction_factor: u32,
    /// So many rungs are left out at the start (asha, promotion). Default: 0.
    pub min_early_stopping_rate: u32,
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self {
            label_gates: Gate::THESIS.to_vec(),
            gates: Gate::THESIS.to_vec(),
            designs: Design::THESIS.to_vec(),
            architectures: Vec::new(),
            resize: false,
            edges: BTreeMap::new(),
            objective: ObjectiveKind::Accuracy,
            sampler: SamplerKind::Random,
            pruner: PrunerKind::Asha,
            min_resource: 1,
            reduction_factor: 2,
            min_early_stopping_rate: 0,
        }
    }
}

/// An edge with settings of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum EdgeSettings {
    /// Fixed, as graph files write it: `"attention apart, linear"`, `"through"` for a label edge, `"cutoff"`.
    Fixed(String),
    /// A choice.
    Choice(EdgeChoice),
}

/// What an edge may be; what is left out is as for all edges.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeChoice {
    /// Designs, for a transfer edge.
    pub designs: Option<Vec<Design>>,
    /// Gates.
    pub gates: Option<Vec<Gate>>,
    /// Whether the source's attention maps are resized, where a design reads them, even if not all edges do so.
    pub resize: bool,
}

/// What makes a graph better than another, on the images that are held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveKind {
    /// The ensemble's accuracy in percent: the thesis.
    #[default]
    Accuracy,
    /// The ensemble's negative log-likelihood with the temperature that fits these images best; a trial's value is minus
    /// that, so that larger is better here, too.
    Nll,
}

/// A way of choosing graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplerKind {
    /// Every choice alike: the thesis.
    Random,
    /// Tree-structured Parzen estimator.
    Tpe,
    /// Regularised evolution.
    Evolution,
    /// Thompson sampling with a linear model of a graph's edges.
    Model,
}

/// A way of stopping hopeless trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrunerKind {
    /// All trials run to the end.
    None,
    /// Stops what is worse than the median of the complete trials.
    Median,
    /// Asynchronous successive halving, as Optuna has it: the thesis.
    Asha,
    /// Asynchronous successive halving in which a stopped trial goes on when it later belongs to the top of its rung.
    Promotion,
    /// Several halvings that start at different epochs.
    Hyperband,
}

/// A pruner with its numbers, as a study keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PrunerSettings {
    /// All trials run to the end.
    None,
    /// Stops what is worse than the median of the complete trials.
    Median,
    /// Asynchronous successive halving.
    Asha(Halving),
    /// The same, in which a stopped trial may go on.
    Promotion(Halving),
    /// Several halvings that start at different epochs.
    Hyperband(Halving),
}

/// The numbers of successive halving; see [`SearchSettings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// The epoch of the first rung.
    pub min_resource: u32,
    /// One trial in so many goes on at each rung.
    pub reduction_factor: u32,
    /// Rungs that are left out at the start.
    pub min_early_stopping_rate: u32,
}

impl std::fmt::Display for PrunerSettings {
    /// The values that a study keeps, in words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_value(self).map_err(|_| std::fmt::Error)?;
        let words = json.as_object().into_iter().flatten().map(|(name, value)| match value.as_str() {
            Some(kind) => kind.to_owned(),
            None => format!("{name} {value}"),
        });
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

/// Reads and writes names as files do.
macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident),+) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.serialize(f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let all = [$(($type::$variant, $type::$variant.to_string())),+];
                let known = all.iter().find(|(_, name)| name == text);
                known.map(|(kind, _)| *kind).ok_or_else(|| {
                    let names = all.map(|(_, name)| name).join(", ");
                    Error::Setting(format!("there is no {} \"{text}\"; choose from {names}", $what))
                })
            }
        }
    };
}

names!(ObjectiveKind, "objective", Accuracy, Nll);
names!(SamplerKind, "sampler", Random, Tpe, Evolution, Model);
names!(PrunerKind, "pruner", None, Median, Asha, Promotion, Hyperband);

impl SearchSettings {
    /// The `[search]` table of an experiment file's text; `origin` names the file in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            search: SearchSettings,
        }
        let file: File = toml::from_str(text).map_err(|e| Error::Setting(toml_problem(text, origin, &e)))?;
        file.search.check().map_err(|e| Error::Setting(format!("{origin}: {e}")))?;
        Ok(file.search)
    }

    /// The pruner with its numbers.
    pub fn pruner_settings(&self) -> PrunerSettings {
        let halving = Halving {
            min_resource: self.min_resource,
            reduction_factor: self.reduction_factor,
            min_early_stopping_rate: self.min_early_stopping_rate,
        };
        match self.pruner {
            PrunerKind::None => PrunerSettings::None,
            PrunerKind::Median => PrunerSettings::Median,
            PrunerKind::Asha => PrunerSettings::Asha(halving),
            PrunerKind::Promotion => PrunerSettings::Promotion(halving),
            PrunerKind::Hyperband => PrunerSettings::Hyperband(halving),
        }
    }

    /// Checks every number's range.
    pub fn check(&self) -> Result<(), Error> {
        let rules = [
            (self.min_resource >= 1, "`search.min_resource` is at least 1"),
            (self.reduction_factor >= 2, "`search.reduction_factor` is at least 2"),
            (self.min_early_stopping_rate <= 20, "`search.min_early_stopping_rate` is at most 20"),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, rule)| Err(Error::Setting((*rule).to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_among_others() {
        let text = "seed = 1\n[search]\nsampler = \"tpe\"\ngates = [\"through\"]\n[search.edges]\n\
                    \"1 -> 2\" = \"both apart\"\n\"2 -> 1\" = { gates = [\"linear\"] }\n[train]\nepochs = 3\n";
        let settings = SearchSettings::parse(text, "e.toml").unwrap();
        assert_eq!((settings.sampler, settings.gates), (SamplerKind::Tpe, vec![Gate::Through]));
        assert_eq!(settings.edges["1 -> 2"], EdgeSettings::Fixed("both apart".to_owned()));
        assert_eq!(SearchSettings::parse("seed = 1", "e.toml").unwrap(), SearchSettings::default());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let message = |text: &str| SearchSettings::parse(text, "e.toml").unwrap_err().to_string();
        assert!(message("seed = 1\n[search]\nsampler = \"tpee\"\n").starts_with("e.toml:3: unknown variant `tpee`"));
        assert!(message("[search]\ngate = []\n").starts_with("e.toml:2: unknown field `gate`"));
        assert!(message("[search]\ngates = [\"linaer\"]\n").contains("did you mean \"linear\"?"));
        assert_eq!(message("[search]\nreduction_factor = 1\n"), "e.toml: `search.reduction_factor` is at least 2");
        assert_eq!(
            "tpee".parse::<SamplerKind>().unwrap_err().to_string(),
            "there is no sampler \"tpee\"; choose from random, tpe, evolution, model"
        );
    }
}
