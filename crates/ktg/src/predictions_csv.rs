//! Predictions as CSV: a row an image.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use ktg_base::{FileError, NewFile};
use ktg_train::SavedRun;

use crate::guesses::{Guess, Guesses};

/// A CSV file of predictions, or standard output. A file takes its name when it is complete.
pub struct PredictionsCsv {
    writer: csv::Writer<Box<dyn Write>>,
    file: Option<NewFile>,
    /// Classes that the ensemble has columns for.
    top: usize,
    nodes: usize,
}

impl PredictionsCsv {
    /// Begins the file `path`, or standard output for `-`, with its head: path, the ensemble's `top` classes with their
    /// probabilities, each node's class with its probability, and what is wrong with the image.
    ///
    /// # Errors
    /// If it cannot be created or written.
    pub fn create(path: &Path, run: &SavedRun, top: usize) -> Result<Self> {
        let (file, out): (Option<NewFile>, Box<dyn Write>) = if path == Path::new("-") {
            (None, Box::new(io::stdout()))
        } else {
            let mut file = NewFile::create(path)?;
            let out = file.file().try_clone().map_err(FileError::of("write", path))?;
            (Some(file), Box::new(out))
        };
        let (top, nodes) = (top.min(run.classes.len()), run.graph.len());
        let mut head = vec!["path".to_owned()];
        for place in 1..=top {
            let suffix = if place == 1 { String::new() } else { format!("_{place}") };
            head.extend([format!("class{suffix}"), format!("probability{suffix}")]);
        }
        for node in 1..=nodes {
            head.extend([format!("node_{node}_class"), format!("node_{node}_probability")]);
        }
        head.push("error".to_owned());
        let mut csv = Self { writer: csv::Writer::from_writer(out), file, top, nodes };
        csv.write(&head)?;
        Ok(csv)
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Adds an image with its likeliest classes, of which there are at least as many as columns.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn row(&mut self, path: &Path, guesses: &Guesses) -> Result<()> {
        let firsts = guesses.nodes.iter().filter_map(|node| node.first());
        let shown = guesses.ensemble.iter().take(self.top).chain(firsts);
        let cells = shown.flat_map(|Guess { class, probability }| [class.clone(), probability.to_string()]);
        let row: Vec<String> = [path.display().to_string()].into_iter().chain(cells).chain([String::new()]).collect();
        self.write(&row)
    }

    /// Adds an image that cannot be used.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn bad_row(&mut self, path: &Path, problem: &str) -> Result<()> {
        let mut row = vec![path.display().to_string()];
        row.resize(1 + 2 * (self.top + self.nodes), String::new());
        row.push(problem.to_owned());
        self.write(&row)
    }

    fn write(&mut self, row: &[String]) -> Result<()> {
        self.writer.write_record(row).map_err(|error| match error.into_kind() {
            // As it is, so that a pipe that is closed can be told from a disk that is full.
            csv::ErrorKind::Io(error) => error.into(),
            other => anyhow::anyhow!("cannot write CSV: {other:?}"),
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it cannot be written to its end.
    pub fn finish(mut self) -> Result<()> {
        self.writer.flush()?;
        drop(self.writer);
        self.file.map_or(Ok(()), |file| Ok(file.commit()?))
    }
}
