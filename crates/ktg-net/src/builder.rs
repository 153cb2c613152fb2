//! How architectures write their lists.

use crate::network::{Layer, Network, NormStyle, Op, Padding, Value};

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
        let op = Op::Conv2d { input: self.channels(x), output, kernel, stride, padding };
        self.layer(name, op, &[x], output)
    }

    /// A convolution of each channel by itself.
    pub fn depthwise(&mut self, name: &str, x: Value, kernel: usize, stride: usize, padding: Padding) -> Value {
        let channels = self.channels(x);
        self.layer(name, Op::Depthwise { channels, kernel, stride, padding }, &[x], channels)
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

    /// A rectifier.
    pub fn relu(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Relu, &[x], self.channels(x))
    }

    /// A rectifier that gives at most 6.
    pub fn relu6(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Relu6, &[x], self.channels(x))
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

    /// A fully connected layer of `output` features.
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
        }
    }
}
