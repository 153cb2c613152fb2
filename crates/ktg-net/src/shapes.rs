//! Shapes of all values, for images of a given size.

use std::fmt;

use crate::network::{Network, Op, Padding};

/// Shape of a value of one image; a vector has height and width 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels, or features of a vector.
    pub channels: usize,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

impl Shape {
    /// Pixels of a channel.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Numbers.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.channels * self.pixels()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.height, self.width) {
            (1, 1) => write!(f, "{}", self.channels),
            (height, width) => write!(f, "{} x {height} x {width}", self.channels),
        }
    }
}

/// Images that are too small for a network, or a list whose layers do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A window is larger than what it moves over.
    #[error("images of {height} x {width} pixels are too small for layer `{layer}`, whose window has side {kernel}")]
    Small {
        /// The layer.
        layer: String,
        /// Side of its window.
        kernel: usize,
        /// Of the images.
        height: usize,
        /// Of the images.
        width: usize,
    },
    /// The images are not whole patches.
    #[error(
        "images of {height} x {width} pixels cannot be cut into squares of {patch} pixels; give a `side` that is a multiple of {patch}"
    )]
    Uneven {
        /// Side of a patch.
        patch: usize,
        /// Of the images.
        height: usize,
        /// Of the images.
        width: usize,
    },
    /// A layer reads something that it cannot.
    #[error("layer `{layer}` cannot read a value of shape {found}")]
    Unfit {
        /// The layer.
        layer: String,
        /// What it reads.
        found: String,
    },
}

impl Network {
    /// The shapes of all values of one image, by [`Value::index`](crate::Value::index); the first is the image's.
    ///
    /// # Errors
    ///
    /// If the images are too small, or the list is wrong.
    pub fn shapes(&self, [height, width]: [usize; 2]) -> Result<Vec<Shape>, ShapeError> {
        let patch = self.patch;
        if height % patch != 0 || width % patch != 0 {
            return Err(ShapeError::Uneven { patch, height, width });
        }
        let mut shapes = vec![Shape { channels: self.channels, height, width }];
        for layer in &self.layers {
            let x = shapes[layer.inputs[0].index()];
            let second = layer.inputs.get(1).map(|value| shapes[value.index()]);
            let unfit = |shape: Shape| ShapeError::Unfit { layer: layer.name.clone(), found: shape.to_string() };
            let windows = |kernel: usize, stride: usize, Padding { before, after }: Padding| {
                let positions = |side: usize| Some((side + before + after).checked_sub(kernel)? / stride + 1);
                let small = || ShapeError::Small { layer: layer.name.clone(), kernel, height, width };
                Ok([positions(x.height).ok_or_else(small)?, positions(x.width).ok_or_else(small)?])
            };
            let shape = match layer.op {
                Op::Conv2d { input, output, kernel, stride, padding, .. } if input == x.channels => {
                    let [height, width] = windows(kernel, stride, padding)?;
                    Shape { channels: output, height, width }
                }
                Op::Depthwise { channels, kernel, stride, padding, .. } if channels == x.channels => {
                    let [height, width] = windows(kernel, stride, padding)?;
                    Shape { height, width, ..x }
                }
                Op::MaxPool { kernel, stride, padding } => {
                    let [height, width] = windows(kernel, stride, Padding::around(padding))?;
                    Shape { height, width, ..x }
                }
                Op::BatchNorm { channels, .. } | Op::LayerNorm { channels } | Op::LayerScale { channels }
                    if channels == x.channels =>
                {
                    x
                }
                Op::Relu | Op::Relu6 | Op::Gelu | Op::Sigmoid | Op::DropPath { .. } => x,
                Op::Add if second == Some(x) => x,
                Op::Attend if second == Some(Shape { channels: 1, ..x }) => x,
                Op::GlobalAveragePool => Shape { height: 1, width: 1, ..x },
                Op::MeanSquare => Shape { channels: 1, ..x },
                Op::Linear { input, output } if input == x.channels => Shape { channels: output, ..x },
                Op::ClassToken { channels } if channels == x.channels => {
                    Shape { channels, height: 1, width: 1 + x.pixels() }
                }
                Op::Positions { channels, tokens } if x == (Shape { channels, height: 1, width: tokens }) => x,
                Op::Attention { heads } if x.height == 1 && x.channels % (3 * heads) == 0 => {
                    Shape { channels: x.channels / 3, ..x }
                }
                Op::ClassAttention { heads, map: [height, width] }
                    if x.height == 1 && x.channels % (3 * heads) == 0 && x.width == 1 + height * width =>
                {
                    Shape { channels: 1, height, width }
                }
                Op::FirstToken if x.height == 1 => Shape { width: 1, ..x },
                _ => return Err(unfit(second.unwrap_or(x))),
            };
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Side of the attention map for images of side `side`, in pixels; 0 if they are too small.
    ///
    /// Attention edges can only join networks whose maps have the same side.
    pub fn map_side(&self, side: usize) -> usize {
        self.shapes([side; 2]).map_or(0, |shapes| shapes[self.attention_map.index()].height)
    }
}
