//! How a report is made, and what the networks of a run say again for it.

use anyhow::Result;
use ktg_data::Dataset;
use ktg_figures::page::{Block, Figure};
use ktg_train::{RunDirectory, SavedRun};

use crate::answers::{Answer, answers};
use crate::attention::{self, attention_figure};

/// How a report is made.
pub struct Options<'a> {
    /// Images of each kind whose attention maps are shown.
    pub images: usize,
    /// Names of further images to show, or ends of their names.
    pub chosen: Vec<String>,
    /// Whether the networks see their images again, which attention maps, calibration and confused classes need.
    pub evaluate: bool,
    /// Best graphs of a study that are shown.
    pub top: usize,
    /// Hears what is being done, in words.
    pub progress: &'a dyn Fn(&str),
}

/// A run's networks with the images they are evaluated on, and their answers.
pub(super) struct Evaluated {
    pub run: SavedRun,
    pub data: Dataset,
    pub answers: Vec<Answer>,
}

impl Evaluated {
    /// `Err`: why there is none, as a block for the page.
    pub fn open(directory: &RunDirectory, options: &Options) -> Result<Self, Block> {
        if !options.evaluate {
            return Err(Block::note("Attention maps, calibration and confused classes were left out on request."));
        }
        let opened = SavedRun::open(directory).and_then(|run| {
            let data = run.evaluation_data()?;
            let answers = answers(&run, &data)?;
            (options.progress)(&format!("{}: evaluated on {} images", directory.path().display(), data.len()));
            Ok(Self { run, data, answers })
        });
        opened.map_err(|error| {
            Block::warning(format!("Attention maps, calibration and confused classes are missing: {error}."))
        })
    }

    /// The images that were asked for, those that are there.
    pub fn chosen(&self, options: &Options) -> Vec<usize> {
        let find = |name: &String| (0..self.data.len()).find(|i| self.data.name_of(*i).ends_with(&**name));
        options.chosen.iter().filter_map(find).collect()
    }

    /// Attention maps over some images.
    pub fn attention(&self, images: &[usize], title: &str, caption: impl Into<String>) -> Result<Figure> {
        Ok(Figure::new(attention_figure(&self.run, &self.data, images, title)?, caption))
    }

    /// Images spread over the classes, the same for all runs on the same data.
    pub fn spread(&self, options: &Options) -> Vec<usize> {
        attention::spread_over_classes(&self.data, options.images)
    }
}
