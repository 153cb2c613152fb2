//! The list of layers.

/// What a layer reads or gives: the images, or the result of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(usize);

impl Value {
    /// The images that a network is given.
    pub const IMAGES: Value = Value(0);

    /// The result of the layer at `index` of the list.
    pub fn of_layer(index: usize) -> Self {
        Value(index + 1)
    }

    /// Which value it is: 0 for the images, i + 1 for the result of layer i.
    pub fn index(self) -> usize {
        self.0
    }

    /// The layer that gives it; `None` for the images.
    pub fn layer(self) -> Option<usize> {
        self.0.checked_sub(1)
    }
}

/// Zeros around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Above the first row and before the first column.
    pub before: usize,
    /// Below the last row and behind the last column.
    pub after: usize,
}

impl Padding {
    /// The same on all sides.
    pub fn around(zeros: usize) -> Self {
        Self { before: zeros, after: zeros }
    }
}

/// The constants of batch normalizations, which the frameworks that networks come from have chosen otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormStyle {
    /// PyTorch's.
    PyTorch,
    /// Those of TensorFlow's published networks.
    TensorFlow,
}

impl NormStyle {
    /// What is added to the variance.
    pub fn epsilon(self) -> f64 {
        match self {
            NormStyle::PyTorch => 1e-5,
            NormStyle::TensorFlow => 1e-3,
        }
    }

    /// Share of the newest batch in the running statistics.
    pub fn momentum(self) -> f64 {
        match self {
            NormStyle::PyTorch => 0.1,
            NormStyle::TensorFlow => 0.01,
        }
    }
}

/// An operation, with everything that does not depend on the size of the images. Maps are `[batch, channels, height,
/// width]`, vectors `[batch, features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Square convolution; weights `[output, input, kernel, kernel]`.
    Conv2d {
        /// Channels of the input.
        input: usize,
        /// Channels of the result.
        output: usize,
        /// Side of the window.
        kernel: usize,
        /// Pixels from one position to the next, in both directions.
        stride: usize,
        /// Zeros around the image.
        padding: Padding,
        /// Whether each channel of the result has a number that is added.
        bias: bool,
    },
    /// Square convolution of each channel by itself; weights `[channels, 1, kernel, kernel]`.
    Depthwise {
        /// Channels of input and result.
        channels: usize,
        /// Side of the window.
        kernel: usize,
        /// Pixels from one position to the next, in both directions.
        stride: usize,
        /// Zeros around the image.
        padding: Padding,
        /// Whether each channel of the result has a number that is added.
        bias: bool,
    },
    /// Batch normalization (Ioffe & Szegedy 2015), normalized by the biased variance of the batch, while the running variance
    /// collects the unbiased one.
    BatchNorm {
        /// Channels of input and result.
        channels: usize,
        /// Its constants.
        style: NormStyle,
    },
    /// Layer normalization (Ba, Kiros & Hinton 2016) of each pixel over its channels, by their biased variance plus
    /// [`LAYER_NORM_EPSILON`].
    LayerNorm {
        /// Channels of input and result.
        channels: usize,
    },
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x (1 + erf(x / sqrt 2)) / 2`, the exact GELU (Hendrycks & Gimpel 2016).
    Gelu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// Product of each channel and a number that is learned, `[channels, 1, 1]` (Touvron et al. 2021).
    LayerScale {
        /// Channels of input and result.
        channels: usize,
    },
    /// Stochastic depth (Huang et al. 2016): in training, each image's values are 0 with a probability of `rate`, else divided by
    /// `1 - rate`; otherwise, they stay.
    DropPath {
        /// From 0 to below 1.
        rate: Rate,
    },
    /// Sum of two values of the same shape.
    Add,
    /// Product of a map and a map of one channel, which weights all channels alike.
    Attend,
    /// Maximum of every window.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Pixels from one position to the next, in both directions.
        stride: usize,
        /// Ignored pixels around the image.
        padding: usize,
    },
    /// Mean over height and width: a map to a vector.
    GlobalAveragePool,
    /// Mean over channels of the squares: a map to one of one channel (Zagoruyko & Komodakis 2017).
    MeanSquare,
    /// Fully connected layer with bias, of a vector or of each pixel of a map; weights `[output, input]`.
    Linear {
        /// Features of the input.
        input: usize,
        /// Features of the result.
        output: usize,
    },
    /// The pixels of a map as tokens, behind a token that is learned, `[1, 1, channels]`: a map of height 1 whose columns are the
    /// tokens, this one first.
    ClassToken {
        /// Channels of map and tokens.
        channels: usize,
    },
    /// Tokens and what is learned for their positions, `[1, tokens, channels]`, added.
    Positions {
        /// Channels of a token.
        channels: usize,
        /// Number of tokens.
        tokens: usize,
    },
    /// Softmax attention among tokens (Vaswani et al. 2017): of the queries of all heads, all keys and all values in the channels of
    /// each token, to the results of all heads.
    Attention {
        /// Number of heads.
        heads: usize,
    },
    /// What the first token sees of the others in [`Op::Attention`], the mean of all heads: to a map of one channel.
    ClassAttention {
        /// Number of heads.
        heads: usize,
        /// Height and width of the map whose pixels the others are.
        map: [usize; 2],
    },
    /// The first token, as a vector.
    FirstToken,
}

/// What layer normalization adds to the variance in all networks here.
pub const LAYER_NORM_EPSILON: f64 = 1e-6;

/// A probability, in millionths, so that lists of layers can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    /// The nearest to `rate`, which is from 0 to below 1.
    pub fn new(rate: f64) -> Self {
        Self((rate * 1e6).round().clamp(0.0, 999_999.0) as u32)
    }

    /// As a number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl Op {
    /// Whether it has parameters that are learned.
    pub fn has_parameters(&self) -> bool {
        matches!(
            self,
            Op::Conv2d { .. }
                | Op::Depthwise { .. }
                | Op::BatchNorm { .. }
                | Op::LayerNorm { .. }
                | Op::LayerScale { .. }
                | Op::Linear { .. }
                | Op::ClassToken { .. }
                | Op::Positions { .. }
        )
    }

    /// Whether it is a convolution, depthwise or not, or fully connected, and adds a number to each channel of its result.
    pub fn has_bias(&self) -> bool {
        matches!(self, Op::Conv2d { bias: true, .. } | Op::Depthwise { bias: true, .. } | Op::Linear { .. })
    }

    /// The constants of a batch normalization.
    pub fn norm_style(&self) -> Option<NormStyle> {
        match self {
            Op::BatchNorm { style, .. } => Some(*style),
            _ => None,
        }
    }
}

/// A step of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// PyTorch's path, such as `layer1.0.conv1`; operations without parameters have one too, which nothing depends on. Where PyTorch
    /// keeps a tensor by itself, such as `class_token`, that tensor's.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// From which values: one, or two for [`Op::Add`] and [`Op::Attend`] (the map that weights comes second).
    pub inputs: Vec<Value>,
    /// It stays as it is in training: its parameters and running statistics do not move, and batch norm normalizes by the
    /// running statistics.
    pub frozen: bool,
}

/// An image classifier as a list of layers. Made by [`Architecture::network`](crate::Architecture::network), or with a
/// [`Builder`](crate::Builder).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Channels of the images.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// In the order in which they are computed: a layer reads only what stands before it.
    pub layers: Vec<Layer>,
    /// Indices of the layers in the order in which PyTorch's module declares them, which is the order in which they get
    /// their initial random numbers.
    pub declared: Vec<usize>,
    /// Class logits, `[batch, classes]`.
    pub logits: Value,
    /// Class logits of the attention branch, `[batch, classes]`; plain networks have none.
    pub attention_logits: Option<Value>,
    /// Attention map, `[batch, 1, height, width]`.
    pub attention_map: Value,
    /// The sides of images are multiples of it, in pixels.
    pub patch: usize,
}

impl Network {
    /// By value ([`Value::index`]), whether any of the given outputs depends on it.
    pub fn sources(&self, outputs: impl IntoIterator<Item = Value>) -> Vec<bool> {
        let mut marked = vec![false; self.layers.len() + 1];
        outputs.into_iter().for_each(|output| marked[output.index()] = true);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            if marked[index + 1] {
                layer.inputs.iter().for_each(|value| marked[value.index()] = true);
            }
        }
        marked
    }
}
