//! Gradients of convolution and pooling.

mod norm;

pub use norm::{NormBackward, NormGradients};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use super::KernelOps;
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

    /// Gradient of a max-pool's input.
    fn max_pool_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;

    /// Gradient of a global average pool's input, which has the given dimensions.
    fn global_average_pool_backward(gradient: FloatTensor<Self>, images: [usize; 4]) -> FloatTensor<Self>;
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
