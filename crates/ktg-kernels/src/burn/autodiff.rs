//! Gradients of the operations.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use super::{KernelOps, NormOptions};
use crate::Window;

/// The backward passes a backend must have so that autodiff works on it.
pub trait KernelGradients: Backend {
    /// Gradient of a convolution's images, which have the given dimensions.
    fn conv2d_backward_data(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        images: [usize; 4],
        window: Window,
    ) -> FloatTensor<Self>;

    /// Gradient of a convolution's weights, which have the given dimensions.
    fn conv2d_backward_weights(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        weights: [usize; 4],
        window: Window,
    ) -> FloatTensor<Self>;

    /// Gradients of a batch norm's input, weight, bias and residual.
    #[allow(clippy::type_complexity)]
    fn batch_norm_backward(
        gradient: FloatTensor<Self>,
        state: NormBackward<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>);

    /// Gradient of a max-pool's input.
    fn max_pool_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;

    /// Gradient of a global average pool's input, which has the given dimensions.
    fn global_average_pool_backward(gradient: FloatTensor<Self>, images: [usize; 4]) -> FloatTensor<Self>;
}

/// What a batch norm keeps for its backward pass; see [`BackwardPass`](crate::BackwardPass).
#[derive(Clone, Debug)]
pub struct NormBackward<B: Backend> {
    pub(super) x: FloatTensor<B>,
    pub(super) weight: FloatTensor<B>,
    pub(super) mean: FloatTensor<B>,
    pub(super) variance: FloatTensor<B>,
    /// The output where a ReLU made it. It is the next layer's input, so keeping it costs no memory.
    pub(super) relu_output: Option<FloatTensor<B>>,
    pub(super) epsilon: f32,
    pub(super) from_batch: bool,
    pub(super) residual: bool,
}

#[derive(Clone, Debug)]
struct ConvState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    window: Window,
}

#[derive(Debug)]
struct Conv;

impl<B: KernelGradients> Backward<B, 2> for Conv {
    type State = ConvState<B>;

    fn backward(self, ops: Ops<ConvState<B>, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let ConvState { x, weight, window } = ops.state;
        let (images, weights) = (x.shape().dims(), weight.shape().dims());
        let [x_node, weight_node] = ops.parents;
        if let Some(node) = weight_node {
            let gradient = B::conv2d_backward_weights(x, gradient.clone(), weights, window);
            gradients.register::<B>(node.id, gradient);
        }
        if let Some(node) = x_node {
            gradients.register::<B>(node.id, B::conv2d_backward_data(gradient, weight, images, window));
        }
    }
}

/// With 3 parents (input, weight, bias) or, where there is a residual, 4.
#[derive(Debug)]
struct Norm;

fn norm_backward<B: KernelGradients, const N: usize>(ops: Ops<NormBackward<B>, N>, gradients: &mut Gradients) {
    let gradient = gradients.consume::<B>(&ops.node);
    let (x, weight, bias, residual) = B::batch_norm_backward(gradient, ops.state);
    for (parent, gradient) in ops.parents.into_iter().zip([Some(x), Some(weight), Some(bias), residual]) {
        if let (Some(node), Some(gradient)) = (parent, gradient) {
            gradients.register::<B>(node.id, gradient);
        }
    }
}

impl<B: KernelGradients> Backward<B, 3> for Norm {
    type State = NormBackward<B>;

    fn backward(self, ops: Ops<NormBackward<B>, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        norm_backward(ops, gradients);
    }
}

impl<B: KernelGradients> Backward<B, 4> for Norm {
    type State = NormBackward<B>;

    fn backward(self, ops: Ops<NormBackward<B>, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        norm_backward(ops, gradients);
    }
}

#[derive(Clone, Debug)]
struct PoolState<B: Backend> {
    x: FloatTensor<B>,
    window: Window,
}

#[derive(Debug)]
struct MaxPool;

impl<B: KernelGradients> Backward<B, 1> for MaxPool {
    type State = PoolState<B>;

    fn backward(self, ops: Ops<PoolState<B>, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            let PoolState { x, window } = ops.state;
            gradients.register::<B>(node.id, B::max_pool_backward(x, gradient, window));
        }
    }
}

#[derive(Debug)]
struct AveragePool;

impl<B: KernelGradients> Backward<B, 1> for AveragePool {
    type State = [usize; 4];

    fn backward(self, ops: Ops<[usize; 4], 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::global_average_pool_backward(gradient, ops.state));
        }
    }
}

/// A batch norm's parents, its result, and what it is made of, put on the tape.
fn norm_on_tape<B: KernelGradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    residual: Option<FloatTensor<Autodiff<B, C>>>,
    options: NormOptions,
    forward: impl FnOnce(NormInputs<B>) -> NormOutputs<B>,
) -> (FloatTensor<Autodiff<B, C>>, B::FloatTensorPrimitive, B::FloatTensorPrimitive) {
    let (x, x_node) = x.into_parts();
    let (weight, weight_node) = weight.into_parts();
    let (bias, bias_node) = bias.into_parts();
    let state = |outputs: &NormOutputs<B>, x, weight, residual| NormBackward {
        x,
        weight,
        mean: outputs.mean.clone(),
        variance: outputs.variance.clone(),
        relu_output: options.relu.then(|| outputs.y.clone()),
        epsilon: options.epsilon,
        from_batch: outputs.from_batch,
        residual,
    };
    macro_rules! on_tape {
        ($nodes:expr, $residual:expr, $has_residual:literal) => {
            match Norm.prepare::<C>($nodes).compute_bound().stateful() {
                OpsKind::Tracked(prep) => {
                    let outputs =
                        forward(NormInputs { x: x.clone(), weight: weight.clone(), bias, residual: $residual });
                    let state = state(&outputs, x, weight, $has_residual);
                    (prep.finish(state, outputs.y), outputs.mean, outputs.variance)
                }
                OpsKind::UnTracked(prep) => {
                    let outputs = forward(NormInputs { x, weight, bias, residual: $residual });
                    (prep.finish(outputs.y), outputs.mean, outputs.variance)
                }
            }
        };
    }
    match residual {
        Some(residual) => {
            let (residual, residual_node) = residual.into_parts();
            on_tape!([x_node, weight_node, bias_node, residual_node], Some(residual), true)
        }
        None => on_tape!([x_node, weight_node, bias_node], None, false),
    }
}

struct NormInputs<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    residual: Option<FloatTensor<B>>,
}

struct NormOutputs<B: Backend> {
    y: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    from_batch: bool,
}

type Taped<B, C> = FloatTensor<Autodiff<B, C>>;

fn norm_train<B: KernelOps + KernelGradients, C: CheckpointStrategy>(
    x: Taped<B, C>,
    weight: Taped<B, C>,
    bias: Taped<B, C>,
    residual: Option<Taped<B, C>>,
    options: NormOptions,
) -> (Taped<B, C>, Taped<B, C>, Taped<B, C>) {
    let (y, mean, variance) = norm_on_tape::<B, C>(x, weight, bias, residual, options, |inputs| {
        let NormInputs { x, weight, bias, residual } = inputs;
        let (y, mean, variance) = match residual {
            None => B::kernel_batch_norm_train(x, weight, bias, options),
            Some(residual) => B::kernel_batch_norm_train_add(x, weight, bias, residual, options),
        };
        NormOutputs { y, mean, variance, from_batch: true }
    });
    (y, <Taped<B, C>>::new(mean), <Taped<B, C>>::new(variance))
}

/// `inputs` are x, weight, bias, mean and variance; no gradient flows to the latter two.
fn norm_inference<B: KernelOps + KernelGradients, C: CheckpointStrategy>(
    inputs: [Taped<B, C>; 5],
    residual: Option<Taped<B, C>>,
    options: NormOptions,
) -> Taped<B, C> {
    let [x, weight, bias, mean, variance] = inputs;
    let (mean, variance) = (mean.into_primitive(), variance.into_primitive());
    let (y, ..) = norm_on_tape::<B, C>(x, weight, bias, residual, options, |inputs| {
        let NormInputs { x, weight, bias, residual } = inputs;
        let (m, v) = (mean.clone(), variance.clone());
        let y = match residual {
            None => B::kernel_batch_norm_inference(x, weight, bias, m, v, options),
            Some(residual) => B::kernel_batch_norm_inference_add(x, weight, bias, m, v, residual, options),
        };
        NormOutputs { y, mean, variance, from_batch: false }
    });
    y
}

impl<B: KernelOps + KernelGradients, C: CheckpointStrategy> KernelOps for Autodiff<B, C> {
    fn kernel_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        match Conv.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = ConvState { x: x.clone(), weight: weight.clone(), window };
                prep.finish(state, B::kernel_conv2d(x, weight, window))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::kernel_conv2d(x, weight, window)),
        }
    }

    fn kernel_batch_norm_train(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm_train::<B, C>(x, weight, bias, None, options)
    }

    fn kernel_batch_norm_train_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm_train::<B, C>(x, weight, bias, Some(residual), options)
    }

    fn kernel_batch_norm_inference(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        norm_inference::<B, C>([x, weight, bias, mean, variance], None, options)
    }

    fn kernel_batch_norm_inference_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        norm_inference::<B, C>([x, weight, bias, mean, variance], Some(residual), options)
    }

    fn kernel_max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match MaxPool.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(PoolState { x: x.clone(), window }, B::kernel_max_pool(x, window)),
            OpsKind::UnTracked(prep) => prep.finish(B::kernel_max_pool(x, window)),
        }
    }

    fn kernel_global_average_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match AveragePool.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.shape().dims(), B::kernel_global_average_pool(x)),
            OpsKind::UnTracked(prep) => prep.finish(B::kernel_global_average_pool(x)),
        }
    }
}
