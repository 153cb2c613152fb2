//! Which layers are computed together.

use ktg_net::{Network, Op, Value};

use crate::Wanted;

/// Layers that one call of a kernel computes: a layer, and the sums and activations behind it that the kernel does along
/// with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The layer whose operation and parameters it has.
    pub layer: usize,
    /// What the layer reads, and behind it what is added.
    pub reads: Vec<Value>,
    /// The last of `reads` is added to the result. (Of an [`Op::Attend`], it is what was weighted.)
    pub adds: bool,
    /// The result goes through a ReLU.
    pub relu: bool,
    /// The result.
    pub gives: Value,
}

impl Call {
    /// Which values the way back needs: how many of those read, and whether the result. `op` is the layer's.
    pub fn needs(&self, op: &Op) -> (usize, bool) {
        match op {
            Op::Conv2d { .. } | Op::Depthwise { .. } | Op::Linear { .. } | Op::MaxPool { .. } | Op::MeanSquare => {
                (1, false)
            }
            Op::LayerNorm { .. } | Op::LayerScale { .. } | Op::Gelu => (1, false),
            Op::Attention { .. } | Op::ClassAttention { .. } => (1, false),
            Op::BatchNorm { .. } => (1, self.relu),
            Op::Attend => (2, false),
            Op::Relu | Op::Relu6 | Op::Sigmoid => (0, true),
            Op::Add | Op::GlobalAveragePool | Op::DropPath { .. } => (0, false),
            Op::ClassToken { .. } | Op::Positions { .. } | Op::FirstToken => (0, false),
        }
    }

    /// Whether the part of the gradient that the call has for a value it reads is computed in the place of the result's
    /// gradient, which is not needed any more then.
    pub fn is_in_place(&self, op: &Op, read: usize) -> bool {
        match op {
            Op::Relu | Op::Relu6 | Op::Gelu | Op::Sigmoid | Op::LayerNorm { .. } => true,
            Op::DropPath { .. } | Op::Positions { .. } => true,
            // With a sum, the gradient that is left in place belongs to what was added.
            Op::BatchNorm { .. } => read == usize::from(self.adds),
            Op::LayerScale { .. } => self.adds && read == 1,
            Op::Attend => read == 0,
            // Both summands have the gradient of the sum; the first gets a copy.
            Op::Add => read == 1,
            _ => false,
        }
    }
}

/// The calls that compute what is wanted of a network, in order.
pub(crate) fn calls(network: &Network, wanted: Wanted) -> Vec<Call> {
    let outputs = wanted.outputs(network);
    let is_live = live(network, &outputs);
    let readers = readers(network, &is_live);
    // The only reader of a value that nobody else is interested in.
    let follower = |value: Value| match readers[value.index()][..] {
        [reader] if !outputs.contains(&value) => Some(reader),
        _ => None,
    };
    let mut is_done = vec![false; network.layers.len()];
    let mut calls = Vec::new();
    for (index, layer) in network.layers.iter().enumerate().filter(|(index, _)| is_live[*index]) {
        if is_done[index] {
            continue;
        }
        let (mut reads, mut gives) = (layer.inputs.clone(), Value::of_layer(index));
        let (mut adds, mut relu) = (false, false);
        let follower_that_is = |op: Op, value: Value| follower(value).filter(|&reader| network.layers[reader].op == op);
        let is_norm = matches!(layer.op, Op::BatchNorm { .. });
        let adds_anything = is_norm || matches!(layer.op, Op::LayerScale { .. });
        let may_add = adds_anything || layer.op == Op::Attend;
        if let Some(sum) = follower_that_is(Op::Add, gives).filter(|_| may_add) {
            let other = network.layers[sum].inputs.iter().copied().find(|&value| value != gives);
            // Norms and scales add anything that is there already, attention what it weighted.
            let fits = |other: &Value| if adds_anything { *other < gives } else { *other == layer.inputs[0] };
            if let Some(other) = other.filter(fits) {
                reads.push(other);
                (adds, is_done[sum], gives) = (true, true, Value::of_layer(sum));
            }
        }
        if let Some(rectifier) = follower_that_is(Op::Relu, gives).filter(|_| is_norm) {
            (relu, is_done[rectifier], gives) = (true, true, Value::of_layer(rectifier));
        }
        calls.push(Call { layer: index, reads, adds, relu, gives });
    }
    calls
}

/// Which layers the outputs need.
fn live(network: &Network, outputs: &[Value]) -> Vec<bool> {
    let mut is_live = vec![false; network.layers.len()];
    for index in (0..network.layers.len()).rev() {
        is_live[index] |= outputs.contains(&Value::of_layer(index));
        if is_live[index] {
            let inputs = network.layers[index].inputs.iter().filter_map(|value| value.layer());
            inputs.for_each(|input| is_live[input] = true);
        }
    }
    is_live
}

/// By value, the live layers that read it; one that reads it twice is there twice.
fn readers(network: &Network, is_live: &[bool]) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); network.layers.len() + 1];
    for (index, layer) in network.layers.iter().enumerate().filter(|(index, _)| is_live[*index]) {
        layer.inputs.iter().for_each(|value| readers[value.index()].push(index));
    }
    readers
}

#[cfg(test)]
mod tests {
    use ktg_net::Builder;

    use super::*;

    fn names(network: &Network, wanted: Wanted) -> Vec<String> {
        let name = |call: &Call| {
            let end = [call.adds.then_some("+add"), call.relu.then_some("+relu")];
            network.layers[call.layer].name.clone() + &end.into_iter().flatten().collect::<String>()
        };
        calls(network, wanted).iter().map(name).collect()
    }

    #[test]
    fn norms_take_the_sum_and_the_rectifier_behind_them_along() {
        let network = "abn-resnet-cifar-8".parse::<ktg_net::Architecture>().unwrap().network(3, 4);
        let names = names(&network, Wanted::MAP);
        assert_eq!(
            names[..6],
            ["conv1", "bn1+relu", "layer1.0.conv1", "layer1.0.bn1+relu", "layer1.0.conv2", "layer1.0.bn2+add+relu"]
        );
        let second = names.iter().position(|name| name == "layer2.0.conv2").unwrap();
        assert_eq!(
            names[second..second + 4],
            ["layer2.0.conv2", "layer2.0.bn2", "layer2.0.downsample.0", "layer2.0.downsample.1+add+relu"]
        );
        // Features weighted by the map are added to the features; the attention logits, which are not wanted, are missing.
        assert!(names.contains(&"attention+add".to_owned()) && !names.contains(&"att_conv2".to_owned()), "{names:?}");
    }

    #[test]
    fn what_others_read_is_not_taken_along() {
        let mut net = Builder::new(1);
        let a = net.batch_norm("a", Value::IMAGES);
        let b = net.relu("b", a);
        let sum = net.add("sum", b, a);
        let twice = net.batch_norm("twice", sum);
        let doubled = net.add("doubled", twice, twice);
        let pooled = net.global_average_pool("pool", doubled);
        let map = net.mean_square("map", a);
        let network = net.finish(pooled, None, map);
        assert_eq!(names(&network, Wanted::ALL), ["a", "b", "sum", "twice", "doubled", "pool", "map"]);
        assert_eq!(names(&network, Wanted { attention_map: false, ..Wanted::ALL }).last().unwrap(), "pool");
    }
}
