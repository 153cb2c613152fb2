//! The plan of a comparison: which methods, on which data, with how many nodes, how often.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};
use ktg_base::{read_text, slug, toml_problem};
use ktg_search::storage::StorageUrl;
use ktg_train::Settings;
use serde::{Deserialize, Serialize};

/// A plan file. Relative paths in it start at the file; those in changed settings, at the experiment file.
///
/// ```toml
/// experiment = "photos.toml"     # settings of all runs
/// nodes = [2, 3]
/// repeats = 5                    # seeds 1 to 5
///
/// [[method]]
/// name = "Independent"
/// preset = "independent"
///
/// [[method]]
/// name = "Found"
/// study = "photos-m{nodes}"      # its best graph
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Experiment file of the data sets that name none.
    pub experiment: Option<PathBuf>,
    /// Numbers of network nodes.
    pub nodes: Vec<usize>,
    /// Runs of each method, data set and number of nodes; their seeds are 1, 2, ... Default: 5.
    #[serde(default = "five")]
    pub repeats: u64,
    /// Other seeds, instead of `repeats`.
    pub seeds: Option<Vec<u64>>,
    /// Architecture of all nodes, instead of the experiment's or the graph's.
    pub architecture: Option<String>,
    /// Directory of the comparison. Default: the plan's name without its ending, beside it.
    pub out: Option<PathBuf>,
    /// The method that the others are compared with, seed by seed. Default: the first.
    pub baseline: Option<String>,
    /// Changed settings of all runs, such as `train.epochs`.
    #[serde(default)]
    pub set: toml::Table,
    /// Data sets. Default: the experiment's.
    #[serde(default, rename = "data")]
    pub data_sets: Vec<DataSet>,
    /// Methods.
    #[serde(default, rename = "method")]
    pub methods: Vec<PlannedMethod>,
}

/// A data set of a plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// What tables call it.
    pub name: String,
    /// Its experiment file.
    pub experiment: Option<PathBuf>,
    /// Changed settings of its runs.
    #[serde(default)]
    pub set: toml::Table,
}

/// A method of a plan: where its graphs come from. In `graph` and `study`, `{nodes}` and `{data}` stand for the number of
/// nodes and the data set's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedMethod {
    /// What tables call it.
    pub name: String,
    /// A ready-made graph: independent, dml or diverse.
    pub preset: Option<String>,
    /// A graph file.
    pub graph: Option<String>,
    /// A study, whose best graph it is.
    pub study: Option<String>,
    /// Where the study is. Default: that of the environment (`KTG_STORAGE`), or else sqlite:///ktg.db beside the plan.
    pub storage: Option<String>,
    /// Another trial's graph than the best.
    pub trial: Option<i64>,
    /// Only with these numbers of nodes.
    pub nodes: Option<Vec<usize>>,
    /// Only on these data sets.
    pub data: Option<Vec<String>>,
    /// The data set that the thesis found its graph of the same name on (dogs, cub or cars), to put its figures beside.
    pub thesis: Option<FoundOn>,
}

/// A data set that the thesis searched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundOn {
    /// Stanford Dogs.
    Dogs,
    /// CUB-200-2011.
    Cub,
    /// Stanford Cars.
    Cars,
}

fn five() -> u64 {
    5
}

/// Where a method's graph comes from, for one data set and number of nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A ready-made graph.
    Preset(String),
    /// A file.
    File(PathBuf),
    /// A trial of a study; `None`: its best.
    Study {
        /// Where the study is.
        storage: StorageUrl,
        /// Its name.
        name: String,
        /// The trial's number.
        trial: Option<i64>,
    },
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// Names file and line of what is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        let origin = path.display().to_string();
        let mut plan: Self = toml::from_str(&text).map_err(|e| anyhow!(toml_problem(&text, &origin, &e)))?;
        if plan.data_sets.is_empty() {
            plan.data_sets = vec![DataSet { name: "data".to_owned(), experiment: None, set: toml::Table::new() }];
        }
        plan.check().map_err(|problem| anyhow!("{origin}: {problem}"))?;
        Ok(plan)
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.methods.is_empty(), "there is no method; add a table [[method]]");
        ensure!(
            !self.nodes.is_empty() && !self.nodes.contains(&0) && all_differ(&self.nodes),
            "`nodes` lists numbers of network nodes from 1 up, none twice"
        );
        let seeds = self.seeds();
        ensure!(!seeds.is_empty() && all_differ(&seeds), "there must be at least one seed, and none twice");
        check_names("methods", self.methods.iter().map(|method| &*method.name))?;
        check_names("data sets", self.data_sets.iter().map(|data| &*data.name))?;
        if let Some(baseline) = &self.baseline
            && !self.methods.iter().any(|method| method.name == *baseline)
        {
            bail!("`baseline` is \"{baseline}\", which is no method of the plan");
        }
        self.methods.iter().try_for_each(|method| self.check_method(method))
    }

    fn check_method(&self, method: &PlannedMethod) -> Result<()> {
        let name = &method.name;
        let sources = [&method.preset, &method.graph, &method.study];
        if sources.into_iter().flatten().count() != 1 {
            bail!("the method \"{name}\" needs one of `preset`, `graph` and `study`");
        }
        if method.preset.as_deref() == Some("kd") {
            bail!("the method \"{name}\": the preset kd needs a teacher's weights; use `ktg train`");
        }
        if method.study.is_none() && (method.storage.is_some() || method.trial.is_some()) {
            bail!("`storage` and `trial` of the method \"{name}\" belong to a `study`");
        }
        let is_known = |wanted: &&String| self.data_sets.iter().any(|data| data.name == **wanted);
        if let Some(data) = method.data.iter().flatten().find(|data| !is_known(data)) {
            bail!("the method \"{name}\" names a data set \"{data}\" that is not there");
        }
        if let Some(nodes) = method.nodes.iter().flatten().find(|nodes| !self.nodes.contains(nodes)) {
            bail!("the method \"{name}\" is for {nodes} nodes, which `nodes` does not list");
        }
        Ok(())
    }

    /// The plan's text without passwords of storages.
    pub fn without_passwords(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for url in self.methods.iter().filter_map(|method| method.storage.as_deref()) {
            let shown = url.parse::<StorageUrl>().map_or_else(|_| "...".to_owned(), |url| url.to_string());
            text = text.replace(url, &shown);
        }
        text
    }

    /// The seeds of the runs.
    pub fn seeds(&self) -> Vec<u64> {
        self.seeds.clone().unwrap_or_else(|| (1..=self.repeats).collect())
    }

    /// Whether a method is to be tried on a data set with so many nodes.
    pub fn wants(&self, method: &PlannedMethod, data: &DataSet, nodes: usize) -> bool {
        method.nodes.as_ref().is_none_or(|all| all.contains(&nodes))
            && method.data.as_ref().is_none_or(|all| all.contains(&data.name))
    }

    /// The settings of a data set's runs, but for graph and seed, and the directory where their paths start.
    ///
    /// # Errors
    /// If its experiment file or a changed setting is wrong.
    pub fn settings(&self, data: &DataSet, base: &Path) -> Result<(Settings, PathBuf)> {
        let file = data.experiment.as_ref().or(self.experiment.as_ref()).map(|file| base.join(file));
        let (mut settings, base) = read_experiment(file.as_deref(), base)?;
        for (key, value) in flat(&self.set).into_iter().chain(flat(&data.set)) {
            settings = settings.with(&key, &value)?;
        }
        Ok((settings, base))
    }

    /// Where the graph of a method comes from; the plan's paths start at `base`. `storage` is where studies are if the plan
    /// does not say.
    ///
    /// # Errors
    /// If its storage cannot be understood.
    pub fn source(
        &self,
        method: &PlannedMethod,
        data: &DataSet,
        nodes: usize,
        base: &Path,
        storage: Option<&str>,
    ) -> Result<Source> {
        let filled = |text: &str| text.replace("{nodes}", &nodes.to_string()).replace("{data}", &data.name);
        if let Some(file) = &method.graph {
            return Ok(Source::File(base.join(filled(file))));
        }
        let Some(study) = &method.study else {
            return Ok(Source::Preset(method.preset.clone().unwrap_or_default()));
        };
        let storage = match method.storage.as_deref().or(storage) {
            Some(url) => url.parse()?,
            None => StorageUrl::file(base.join("ktg.db")),
        };
        // A relative SQLite file is one beside the plan, whoever reads it from wherever.
        Ok(Source::Study { storage: storage.from_base(base), name: filled(study), trial: method.trial })
    }
}

/// The settings of an experiment file, and the directory where their relative paths start; without a file every setting
/// has its default, and paths start at `otherwise`.
///
/// # Errors
/// If the file cannot be read, or a setting is wrong.
pub fn read_experiment(file: Option<&Path>, otherwise: &Path) -> Result<(Settings, PathBuf)> {
    let (settings, base) = match file {
        Some(file) => (Settings::read(file)?, file.parent().unwrap_or(otherwise)),
        None => (Settings::default(), otherwise),
    };
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    Ok((settings, base.to_owned()))
}

fn all_differ<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(i, value)| !values[..i].contains(value))
}

/// Directories of runs are named after methods and data sets, on some systems whatever their case.
fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        ensure!(seen.insert(slug(name)), "two {what} are called \"{name}\", or nearly so");
    }
    Ok(())
}

/// Dotted keys and values in TOML.
fn flat(table: &toml::Table) -> Vec<(String, String)> {
    let entries = |(key, value): (&String, &toml::Value)| match value {
        // An inline table may be a value, as that of `train.schedule`.
        toml::Value::Table(inner) if !inner.contains_key("kind") && !inner.contains_key("preset") => {
            flat(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)).collect()
        }
        value => vec![(key.clone(), value.to_string())],
    };
    table.iter().flat_map(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        std::fs::write(&path, text).unwrap();
        Plan::read(&path).map_err(|e| e.to_string().replace(&path.display().to_string(), "plan.toml"))
    }

    const METHOD: &str = "nodes = [2, 3]\n[[method]]\nname = \"A\"\npreset = \"dml\"\n";

    #[test]
    fn a_short_plan_has_defaults() {
        let plan = read(METHOD).unwrap();
        assert_eq!((plan.seeds(), plan.data_sets.len()), (vec![1, 2, 3, 4, 5], 1));
        assert!(plan.wants(&plan.methods[0], &plan.data_sets[0], 3));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("nodes = [2]\n", "there is no method"),
            (&format!("{METHOD}graph = \"x\"\n"), "the method \"A\" needs one of"),
            (&format!("{METHOD}[[method]]\nname = \"a\"\npreset = \"dml\"\n"), "two methods are called \"a\""),
            (&format!("{METHOD}nodes = [4]\n"), "is for 4 nodes"),
            (&METHOD.replace("[2, 3]", "[2, 2]"), "none twice"),
            (&METHOD.replace("dml", "kd"), "needs a teacher's weights"),
            (&format!("{METHOD}data = [\"dogs\"]\n"), "names a data set \"dogs\" that is not there"),
            (&format!("baseline = \"B\"\n{METHOD}"), "which is no method"),
            (&format!("seeds = [1, 1]\n{METHOD}"), "none twice"),
            (&format!("{METHOD}prest = \"dml\"\n"), "plan.toml:5: unknown field `prest`"),
        ];
        for (text, expected) in cases {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn settings_are_changed_by_dotted_keys_and_tables() {
        let plan = read(&format!(
            "set = {{ train.epochs = 7, train.schedule = {{ kind = \"cosine\" }}, side = 14 }}\n{METHOD}"
        ));
        let plan = plan.unwrap();
        let (settings, _) = plan.settings(&plan.data_sets[0], Path::new(".")).unwrap();
        assert_eq!((settings.train.epochs, settings.side), (7, 14));
        assert_eq!(settings.train.schedule, ktg_train::Schedule::Cosine {});
    }

    #[test]
    fn passwords_stay_in_the_plan() {
        let text =
            "nodes = [2]\n[[method]]\nname = \"F\"\nstudy = \"s\"\nstorage = \"postgresql://u:secret@host/db\"\n";
        let shown = read(text).unwrap().without_passwords(text);
        assert!(!shown.contains("secret") && shown.contains("host/db") && shown.contains("name = \"F\""), "{shown}");
    }

    #[test]
    fn names_of_studies_and_files_are_filled_in() {
        let text = "nodes = [3]\n[[data]]\nname = \"dogs\"\n[[method]]\nname = \"F\"\nstudy = \"{data}-{nodes}\"\nstorage = \"sqlite:///s.db\"\n";
        let plan = read(text).unwrap();
        let source = plan.source(&plan.methods[0], &plan.data_sets[0], 3, Path::new("/p"), None).unwrap();
        let storage = StorageUrl::file("/p/s.db");
        assert_eq!(source, Source::Study { storage, name: "dogs-3".to_owned(), trial: None });
    }
}
