//! How architectures write their lists.

use crate::network::{Layer, Network, NormStyle, Op, Padding, Rate, Value};

/// Appends layers to a list. Every method takes the layer's name and the values it reads, and gives its result.
pub struct Builder {
    layers: Vec<Layer>,
    /// By value.
    channels: Vec<usize>,
}

impl Builder {
    /// For images of so many channels.
    pub fn new(channels: usize) -> Self {
        Self { layers: Vec::new(), channels: vec![channels] }
    }

    /// Channels (or features) of a value.
    pub fn channels(&self, value: Value) -> usize {
        self.channels[value.index()]
    }

    /// How many layers there are so far.
    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    fn layer(&mut self, name: &str, op: Op, inputs: &[Value], channels: usize) -> Value {
        self.layers.push(Layer { name: name.to_owned(), op, inputs: inputs.to_vec(), frozen: false });
        self.channels.push(channels);
        Value::of_layer(self.layers.len() - 1)
    }

    /// A convolution to `output` channels, with the padding that keeps the size at stride 1.
    pub fn conv2d(&mut self, name: &str, x: Value, output: usize, kernel: usize, stride: usize) -> Value {
        self.padded_conv2d(name, x, output, kernel, stride, Padding::around(kernel / 2))
    }

    /// The same with any padding.
    pub fn padded_conv2d(
        &mut self,
        name: &str,
        x: Value,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Value {
        let op = Op::Conv2d { input: self.channels(x), output, kernel, stride, padding, bias: false };
        self.layer(name, op, &[x], output)
    }

    /// A convolution with bias of squares of `side` pixels that lie side by side.
    pub fn patches(&mut self, name: &str, x: Value, output: usize, side: usize) -> Value {
        self.biased_conv2d(name, x, output, side, side, Padding::around(0))
    }

    /// A convolution with bias.
    pub fn biased_conv2d(
        &mut self,
        name: &str,
        x: Value,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> Value {
        let op = Op::Conv2d { input: self.channels(x), output, kernel, stride, padding, bias: true };
        self.layer(name, op, &[x], output)
    }

    /// A convolution of each channel by itself.
    pub fn depthwise(&mut self, name: &str, x: Value, kernel: usize, stride: usize, padding: Padding) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::Depthwise { channels, kernel, stride, padding, bias: false }, &[x], channels)
    }

    /// A convolution of each channel by itself with bias, which keeps the size.
    pub fn biased_depthwise(&mut self, name: &str, x: Value, kernel: usize) -> Value {
        let (channels, padding) = (self.channels(x), Padding::around(kernel / 2));
        self.layer(name, Op::Depthwise { channels, kernel, stride: 1, padding, bias: true }, &[x], channels)
    }

    /// Batch normalization with PyTorch's constants.
    pub fn batch_norm(&mut self, name: &str, x: Value) -> Value {
        self.styled_batch_norm(name, x, NormStyle::PyTorch)
    }

    /// Batch normalization with other constants.
    pub fn styled_batch_norm(&mut self, name: &str, x: Value, style: NormStyle) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::BatchNorm { channels, style }, &[x], channels)
    }

    /// Layer normalization.
    pub fn layer_norm(&mut self, name: &str, x: Value) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::LayerNorm { channels }, &[x], channels)
    }

    /// A rectifier.
    pub fn relu(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Relu, &[x], self.channels(x))
    }

    /// A rectifier that gives at most 6.
    pub fn relu6(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Relu6, &[x], self.channels(x))
    }

    /// A Gaussian error linear unit.
    pub fn gelu(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Gelu, &[x], self.channels(x))
    }

    /// A learned number for each channel, which it is multiplied with.
    pub fn layer_scale(&mut self, name: &str, x: Value) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::LayerScale { channels }, &[x], channels)
    }

    /// Stochastic depth; the value itself where the rate is 0.
    pub fn drop_path(&mut self, name: &str, x: Value, rate: f64) -> Value {
        let rate = Rate::new(rate);
        if rate == Rate::new(0.0) { x } else { self.layer(name, Op::DropPath { rate }, &[x], self.channels(x)) }
    }

    /// The logistic function.
    pub fn sigmoid(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Sigmoid, &[x], self.channels(x))
    }

    /// `a + b`
    pub fn add(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.layer(name, Op::Add, &[a, b], self.channels(a))
    }

    /// `x * map`, where the map has one channel.
    pub fn attend(&mut self, name: &str, x: Value, map: Value) -> Value {
        self.layer(name, Op::Attend, &[x, map], self.channels(x))
    }

    /// The largest value of every window.
    pub fn max_pool(&mut self, name: &str, x: Value, kernel: usize, stride: usize, padding: usize) -> Value {
        self.layer(name, Op::MaxPool { kernel, stride, padding }, &[x], self.channels(x))
    }

    /// The mean over height and width.
    pub fn global_average_pool(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::GlobalAveragePool, &[x], self.channels(x))
    }

    /// The mean over channels of the squares.
    pub fn mean_square(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::MeanSquare, &[x], 1)
    }

    /// A map's pixels as tokens, behind one that is learned.
    pub fn class_token(&mut self, name: &str, x: Value) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::ClassToken { channels }, &[x], channels)
    }

    /// So many tokens and what is learned for their positions.
    pub fn positions(&mut self, name: &str, x: Value, tokens: usize) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::Positions { channels, tokens }, &[x], channels)
    }

    /// Softmax attention of queries, keys and values.
    pub fn attention(&mut self, name: &str, qkv: Value, heads: usize) -> Value {
        self.layer(name, Op::Attention { heads }, &[qkv], self.channels(qkv) / 3)
    }

    /// What the first of them sees of the others, as a map.
    pub fn class_attention(&mut self, name: &str, qkv: Value, heads: usize, map: [usize; 2]) -> Value {
        self.layer(name, Op::ClassAttention { heads, map }, &[qkv], 1)
    }

    /// The first token.
    pub fn first_token(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::FirstToken, &[x], self.channels(x))
    }

    /// A fully connected layer of `output` features, of a vector or of each pixel of a map.
    pub fn linear(&mut self, name: &str, x: Value, output: usize) -> Value {
        let op = Op::Linear { input: self.channels(x), output };
        self.layer(name, op, &[x], output)
    }

    /// The network with these outputs: class logits, those of the attention branch, attention map.
    ///
    /// # Panics
    ///
    /// If the two kinds of logits are not of the same number of classes, or the map has not one channel.
    pub fn finish(self, logits: Value, attention_logits: Option<Value>, attention_map: Value) -> Network {
        let classes = self.channels(logits);
        assert!(attention_logits.is_none_or(|value| self.channels(value) == classes), "logits of as many classes");
        assert_eq!(self.channels(attention_map), 1, "channels of the attention map");
        Network {
            channels: self.channels[0],
            classes,
            declared: (0..self.layers.len()).collect(),
            layers: self.layers,
            logits,
            attention_logits,
            attention_map,
            patch: 1,
        }
    }
}
