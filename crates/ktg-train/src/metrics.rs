//! What a run reports: one JSON line per logged step and per epoch, without times, so that an interrupted and resumed
//! run writes the same bytes as one that ran through.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ktg_base::read_text;
use ktg_graph::Knowledge;
use serde::{Deserialize, Serialize};

use crate::{Error, Measures};

/// Losses of one step, or their means over an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Counted from 1 over the whole training.
    pub step: u64,
    /// Counted from 1.
    pub epoch: usize,
    /// After the schedule.
    pub learning_rate: f64,
    /// Per node.
    pub nodes: Vec<NodeReport>,
    /// Per edge that is not cut: label edges first, then by target and source.
    pub edges: Vec<EdgeReport>,
}

/// Training figures of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Sum of the losses of its incoming edges; `None` if it is not trained.
    pub loss: Option<f64>,
    /// Top-1 accuracy on the augmented training images in percent; `None` if it did not see them.
    pub accuracy: Option<f64>,
}

/// Losses of an edge, batch means after the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// `label` or the source node, counted from 1.
    pub from: Source,
    /// The target node, counted from 1.
    pub to: usize,
    /// Sum of the parts below, or the cross-entropy of a label edge.
    pub loss: f64,
    /// The losses of its design's terms.
    #[serde(flatten)]
    pub terms: BTreeMap<Knowledge, f64>,
}

/// Where an edge starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// At a network node, counted from 1.
    Node(usize),
    /// At the label.
    Label(LabelName),
}

/// The word `label`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelName {
    /// The ground truth.
    Label,
}

impl StepReport {
    /// Puts `combine` of each figure and the same one of `other` in its place; what one of them lacks, the result lacks.
    fn combine(&mut self, other: &Self, combine: impl Fn(f64, f64) -> f64) {
        let combine_known = |own: &mut Option<f64>, other: Option<f64>| {
            *own = own.zip(other).map(|(own, other)| combine(own, other));
        };
        for (own, other) in self.nodes.iter_mut().zip(&other.nodes) {
            combine_known(&mut own.loss, other.loss);
            combine_known(&mut own.accuracy, other.accuracy);
        }
        for (own, other) in self.edges.iter_mut().zip(&other.edges) {
            own.loss = combine(own.loss, other.loss);
            own.terms.retain(|knowledge, own| {
                let other = other.terms.get(knowledge);
                other.is_some_and(|other| {
                    *own = combine(*own, *other);
                    true
                })
            });
        }
    }
}

impl std::fmt::Display for EdgeReport {
    /// The edge as graph files write it, `1 -> 2`.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.from {
            Source::Node(source) => write!(f, "{source} -> {}", self.to),
            Source::Label(_) => write!(f, "label -> {}", self.to),
        }
    }
}

/// An epoch's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Means over the epoch's steps; `step` is its last one.
    pub train: StepReport,
    /// After the epoch, if it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Measures>,
}

/// What a line is about.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Line<'a> {
    Step(&'a StepReport),
    Epoch(&'a EpochReport),
}

/// The epochs that a `metrics.jsonl` holds, oldest first; of one that is there twice, the last report. The last line is
/// left out if it is cut off: it is being written, or the power failed.
///
/// # Errors
///
/// If the file cannot be read, or another line is none of ours.
pub(crate) fn epochs(path: &Path) -> Result<Vec<EpochReport>, Error> {
    let text = read_text(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut by_epoch = BTreeMap::new();
    for (i, line) in whole.lines().enumerate() {
        let report = epoch(line)
            .map_err(|reason| Error::run(path, format!("line {}: {reason}; restore it, or train anew", i + 1)))?;
        by_epoch.extend(report.map(|report| (report.train.epoch, report)));
    }
    Ok(by_epoch.into_values().collect())
}

/// The epoch that a line is about, if it is about one; the error says what is wrong.
fn epoch(line: &str) -> Result<Option<EpochReport>, String> {
    let line: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if line["kind"] != "epoch" {
        return Ok(None);
    }
    let report: EpochReport = serde_json::from_value(line).map_err(|e| e.to_string())?;
    let nodes = 1..=report.train.nodes.len();
    for edge in &report.train.edges {
        let source_exists = !matches!(edge.from, Source::Node(source) if !nodes.contains(&source));
        if !nodes.contains(&edge.to) || !source_exists {
            return Err(format!("there is no edge `{edge}` between {} nodes", nodes.end()));
        }
    }
    report.evaluation.iter().try_for_each(Measures::check)?;
    Ok(Some(report))
}

/// Appends to `metrics.jsonl`.
pub(crate) struct MetricsFile {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl MetricsFile {
    /// Opens the file and cuts it to `bytes`, its length when the checkpoint was written.
    pub fn open(path: &Path, bytes: u64) -> Result<Self, Error> {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let mut file = opened.map_err(Error::file("open", path))?;
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0)).map(drop)).map_err(Error::file("write", path))?;
        Ok(Self { file, path: path.to_owned(), bytes })
    }

    pub fn write(&mut self, line: &Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).map_err(|e| Error::Setting(e.to_string()))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(Error::file("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Waits until everything is on the disk; returns the length in bytes.
    pub fn sync(&mut self) -> Result<u64, Error> {
        self.file.sync_all().map_err(Error::file("write", &self.path))?;
        Ok(self.bytes)
    }
}

/// Sums reports into means, of the batches of a step or the steps of an epoch. Part of the checkpoint, in full precision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReportSums {
    #[serde(rename = "steps")]
    count: u64,
    sum: Option<StepReport>,
}

impl ReportSums {
    pub fn add(&mut self, report: &StepReport) {
        self.count += 1;
        let Some(sum) = &mut self.sum else {
            self.sum = Some(report.clone());
            return;
        };
        sum.combine(report, |sum, value| sum + value);
        (sum.step, sum.learning_rate) = (report.step, report.learning_rate);
    }

    /// The means; `None` if nothing was added.
    pub fn mean(&self) -> Option<StepReport> {
        let sum = self.sum.as_ref()?;
        let mut mean = sum.clone();
        mean.combine(sum, |sum, _| sum / self.count as f64);
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_read_back_as_written() {
        let terms = BTreeMap::from([(Knowledge::Attention, 1.0 / 3.0)]);
        let edge = |from| EdgeReport { from, to: 2, loss: 0.1 + 0.2, terms: terms.clone() };
        let report = StepReport {
            step: 3,
            epoch: 1,
            learning_rate: 0.1,
            nodes: vec![NodeReport { loss: Some(2.5), accuracy: None }],
            edges: vec![edge(Source::Label(LabelName::Label)), edge(Source::Node(1))],
        };
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            text.contains(r#"{"from":"label","to":2,"loss":0.30000000000000004,"attention":0.3333333333333333}"#),
            "{text}"
        );
        assert!(text.contains(r#""from":1"#), "{text}");
        assert_eq!(serde_json::from_str::<StepReport>(&text).unwrap(), report);
    }

    #[test]
    fn terms_are_combined_by_their_knowledge() {
        let of = |terms: &[(Knowledge, f64)]| StepReport {
            edges: vec![EdgeReport { from: Source::Node(1), to: 2, loss: 1.0, terms: terms.iter().copied().collect() }],
            ..StepReport::default()
        };
        let mut sums = ReportSums::default();
        sums.add(&of(&[(Knowledge::Probability, 1.0), (Knowledge::Relation, 5.0)]));
        sums.add(&of(&[(Knowledge::Attention, 3.0), (Knowledge::Relation, 7.0)]));
        assert_eq!(sums.mean().unwrap().edges[0].terms, BTreeMap::from([(Knowledge::Relation, 6.0)]));
    }

    #[test]
    fn means_are_over_steps() {
        let node = |loss| StepReport {
            step: 1,
            epoch: 1,
            learning_rate: 0.1,
            nodes: vec![NodeReport { loss: Some(loss), accuracy: None }],
            edges: vec![],
        };
        let mut sums = ReportSums::default();
        assert!(sums.mean().is_none());
        sums.add(&node(1.0));
        sums.add(&node(2.0));
        assert_eq!(sums.mean().unwrap().nodes[0].loss, Some(1.5));
    }
}
