//! What goes into a network and what comes out, as host arrays.

use ktg_net::{Network, Value};

use crate::{Draws, Uploads};

/// A batch of images, `[count, channels, height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Row-major.
    pub data: &'a [f32],
    /// Number of images.
    pub count: usize,
    /// Copies of the same images, for nodes that do not read the host's memory.
    #[cfg_attr(not(feature = "torch"), expect(dead_code))]
    pub(crate) uploads: Option<&'a Uploads>,
    /// What random decisions follow from while a network learns.
    pub(crate) draws: Draws,
}

impl<'a> Images<'a> {
    /// So many images.
    pub fn new(data: &'a [f32], count: usize) -> Self {
        Self { data, count, uploads: None, draws: Draws::default() }
    }

    /// The same images, copied to a device only once for all nodes that are given the same `uploads`.
    ///
    /// A collection of copies is for one batch only.
    pub fn uploaded_once(self, uploads: &'a Uploads) -> Self {
        Self { uploads: Some(uploads), ..self }
    }

    /// The same images, for which a network that learns makes its random decisions so.
    pub fn drawn(self, draws: Draws) -> Self {
        Self { draws, ..self }
    }
}

/// Attention maps of a batch, `[count, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Row-major.
    pub data: Vec<f32>,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

impl Map {
    /// Pixels of one map.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }
}

/// What a forward pass gives for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Class logits of the perception branch, `[count, classes]`.
    pub logits: Vec<f32>,
    /// Class logits of the attention branch, `[count, classes]`; absent in plain networks or where not wanted.
    pub attention_logits: Option<Vec<f32>>,
    /// Attention maps: the branch's sigmoid, or in a plain network the channel mean of the squared last feature map
    /// (Zagoruyko & Komodakis 2017). Absent where not wanted.
    pub attention_map: Option<Map>,
}

/// Gradients of the losses at the outputs, each as large as its output. `None` where no loss can have one, which
/// follows from the graph and not from values; such an output's layers are left alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputGradients {
    /// At the class logits.
    pub logits: Option<Vec<f32>>,
    /// At the attention branch's.
    pub attention_logits: Option<Vec<f32>>,
    /// At the attention maps.
    pub attention_map: Option<Vec<f32>>,
}

impl OutputGradients {
    /// The gradient at one of the network's outputs.
    pub(crate) fn of(&self, network: &Network, output: Value) -> Option<&[f32]> {
        if output == network.logits {
            self.logits.as_deref()
        } else if output == network.attention_map {
            self.attention_map.as_deref()
        } else {
            self.attention_logits.as_deref()
        }
    }
}
