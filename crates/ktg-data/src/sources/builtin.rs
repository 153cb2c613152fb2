//! The built-in subset of Fashion-MNIST (see `data/fashion-mnist/README.md` for its making and
//! licence).

use super::place;
use crate::{Dataset, Error, Image, Splits};
use serde::{Deserialize, Serialize};

const CLASS_NAMES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
const SIDE: usize = 28;

/// Contact sheets: tiles read row by row, sorted by class, equally many of each.
static TRAIN: &[u8] = include_bytes!("../../data/fashion-mnist/train.png");
static TEST: &[u8] = include_bytes!("../../data/fashion-mnist/test.png");

/// Options of the built-in data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuiltIn {
    /// 1 (grey) or 3 (colour). Default 1.
    pub channels: Option<usize>,
}

impl BuiltIn {
    pub(super) fn open(&self) -> Result<Splits, Error> {
        let channels = place::channels(self.channels, 1)?;
        let datasets = [("train", TRAIN), ("test", TEST)].map(|(split, sheet)| {
            let sheet = Image::decode(sheet, 1, false)
                .map_err(|problem| Error::image(format!("built-in Fashion-MNIST {split} sheet"), problem))?;
            let images = tiles(&sheet, channels);
            let per_class = images.len() / CLASS_NAMES.len();
            let labels = (0..images.len()).map(|i| (i / per_class) as u32).collect();
            Dataset::from_images(split, CLASS_NAMES.map(String::from).to_vec(), images, labels)
        });
        Splits::from_parts(datasets.into_iter().collect::<Result<_, _>>()?, Vec::new())
    }
}

/// Cuts a grey contact sheet into its tiles.
fn tiles(sheet: &Image, channels: usize) -> Vec<Image> {
    let (rows, columns) = (sheet.height / SIDE, sheet.width / SIDE);
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let tile = |(row, column)| {
        let lines = (0..SIDE).map(|y| (row * SIDE + y) * sheet.width + column * SIDE);
        let pixels = lines.flat_map(|start| &sheet.pixels[start..start + SIDE]).copied().collect();
        Image { width: SIDE, height: SIDE, channels: 1, pixels }.with_channels(channels)
    };
    places.map(tile).collect()
}
