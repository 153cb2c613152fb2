//! Gradients of batch norm, with what is fused to it.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use crate::burn::{NormOps, NormOptions};

/// The backward pass a backend must have so that autodiff works on its batch norms.
pub trait NormGradients: Backend {
    /// Gradients of a batch norm's input, weight, bias and residual.
    #[allow(clippy::type_complexity)]
    fn batch_norm_backward(
        gradient: FloatTensor<Self>,
        state: NormBackward<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>);
}

/// What a batch norm keeps for its backward pass; see [`BackwardPass`](crate::BackwardPass).
#[derive(Clone, Debug)]
pub struct NormBackward<B: Backend> {
    pub x: FloatTensor<B>,
    pub weight: FloatTensor<B>,
    pub mean: FloatTensor<B>,
    pub variance: FloatTensor<B>,
    /// The output where a ReLU made it. It is the next layer's input, so keeping it costs no memory.
    pub relu_output: Option<FloatTensor<B>>,
    pub epsilon: f32,
    pub from_batch: bool,
    pub residual: bool,
}

/// With 3 parents (input, weight, bias) or, where there is a residual, 4.
#[derive(Debug)]
struct Norm;

fn norm_backward<B: NormGradients, const N: usize>(ops: Ops<NormBackward<B>, N>, gradients: &mut Gradients) {
    let gradient = gradients.consume::<B>(&ops.node);
    let (x, weight, bias, residual) = B::batch_norm_backward(gradient, ops.state);
    for (parent, gradient) in ops.parents.into_iter().zip([Some(x), Some(weight), Some(bias), residual]) {
        if let (Some(node), Some(gradient)) = (parent, gradient) {
            gradients.register::<B>(node.id, gradient);
        }
    }
}

impl<B: NormGradients> Backward<B, 3> for Norm {
    type State = NormBackward<B>;

    fn backward(self, ops: Ops<NormBackward<B>, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        norm_backward(ops, gradients);
    }
}

impl<B: NormGradients> Backward<B, 4> for Norm {
    type State = NormBackward<B>;

    fn backward(self, ops: Ops<NormBackward<B>, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        norm_backward(ops, gradients);
    }
}

/// A batch norm's parents, its result, and what it is made of, put on the tape.
fn norm_on_tape<B: NormGradients, C: CheckpointStrategy>(
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

fn norm_train<B: NormOps + NormGradients, C: CheckpointStrategy>(
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
fn norm_inference<B: NormOps + NormGradients, C: CheckpointStrategy>(
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

impl<B: NormOps + NormGradients, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
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
}
