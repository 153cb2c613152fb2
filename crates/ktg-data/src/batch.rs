//! What a network is given at a time.

/// Some samples, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of each sample in the data set.
    pub indices: Vec<usize>,
    /// Pixel values, sample x channel x row x column.
    pub images: Vec<f32>,
    /// Class of each sample.
    pub labels: Vec<u32>,
    /// Channels of each image.
    pub channels: usize,
    /// Rows of each image.
    pub height: usize,
    /// Columns of each image.
    pub width: usize,
    /// How the samples were mixed with each other, if they were.
    pub mixed: Option<Mixed>,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples; a loader yields no such batch.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// How the samples of a [`Batch`] were mixed: blended by mixup, or put together of two by CutMix.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Class of each sample's partner.
    pub labels: Vec<u32>,
    /// Weight of each sample's own pixels (mixup) or their number (CutMix), and of its label, from 0.5 to 1; its partner
    /// has the rest.
    pub share: f32,
}
