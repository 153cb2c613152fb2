//! The layers our networks are made of. Fields carry PyTorch's parameter names.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

use crate::ops::{self, NormInput};

/// Whether a forward pass uses running statistics (inference) or the batch's own (training).
pub(crate) enum Pass<'a> {
    /// Inference: batch norm uses the running statistics.
    Eval,
    /// Training: batch norm uses the batch's statistics and hands them out, so that the caller updates the running
    /// ones in one place (a forward pass changes no state).
    Train(&'a mut Vec<BatchStatistics>),
}

/// What a batch-norm layer saw in a training pass; see [`Network::update_running`](crate::Network::update_running).
#[derive(Debug)]
pub struct BatchStatistics {
    pub(crate) mean_id: ParamId,
    pub(crate) mean: Tensor<1>,
    pub(crate) variance_id: ParamId,
    /// Biased, as the batch is normalised by it.
    pub(crate) variance: Tensor<1>,
    /// What makes it the unbiased one, which PyTorch keeps.
    pub(crate) unbias: f64,
}

/// Uniform number in `[0, 1)` with 53 random bits.
fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Standard normal numbers by the Box-Muller transform.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// A square convolution without bias.
#[derive(Module, Debug)]
pub(crate) struct Conv2d {
    /// `[out, in, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    #[module(skip)]
    pub stride: usize,
    #[module(skip)]
    pub padding: usize,
}

impl Conv2d {
    /// Kaiming-normal weights, fan-out mode, gain of ReLU (He et al. 2015); padding keeps the size at stride 1.
    pub fn init(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        device: &Device,
        rng: &mut impl Rng,
    ) -> Self {
        let std = (2.0 / (output * kernel * kernel) as f64).sqrt();
        let values: Vec<f32> = (0..output * input * kernel * kernel).map(|_| (normal(rng) * std) as f32).collect();
        let data = TensorData::new(values, [output, input, kernel, kernel]);
        Self { weight: Param::from_tensor(Tensor::from_data(data, device)), stride, padding: kernel / 2 }
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]` (rounded up), computed in the type of
    /// number that `x` has.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = ops::in_type_of(&x, self.weight.val());
        ops::conv2d(x, weight, self.stride, self.padding)
    }
}

/// Batch normalisation (Ioffe & Szegedy 2015) with PyTorch's conventions: eps 1e-5, momentum 0.1, normalised by the
/// biased batch variance, while the running variance collects the unbiased one.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub running_mean: Param<Tensor<1>>,
    pub running_var: Param<Tensor<1>>,
}

const BATCH_NORM_EPSILON: f64 = 1e-5;
/// Share of the newest batch in the running statistics.
pub(crate) const BATCH_NORM_MOMENTUM: f64 = 0.1;

impl BatchNorm {
    pub fn init(channels: usize, device: &Device) -> Self {
        let buffer = |tensor| Param::from_tensor(tensor).set_require_grad(false);
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: buffer(Tensor::zeros([channels], device)),
            running_var: buffer(Tensor::ones([channels], device)),
        }
    }

    /// Shape `[batch, channels, height, width]` in and out.
    pub fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.forward_fused(x, None, false, pass)
    }

    /// `relu(norm(x))`
    pub fn forward_relu(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.forward_fused(x, None, true, pass)
    }

    /// `relu(norm(x) + residual)`
    pub fn forward_add_relu(&self, x: Tensor<4>, residual: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.forward_fused(x, Some(residual), true, pass)
    }

    fn forward_fused(&self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool, pass: &mut Pass) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let input = NormInput { x, weight, bias, epsilon: BATCH_NORM_EPSILON, residual, relu };
        match pass {
            Pass::Eval => ops::batch_norm_inference(input, self.running_mean.val(), self.running_var.val()),
            Pass::Train(statistics) => {
                let (output, mean, variance) = ops::batch_norm_train(input);
                // One value a channel has no unbiased variance; PyTorch refuses it, we keep the biased one (zero).
                let count = (batch * height * width) as f64;
                let unbias = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
                statistics.push(BatchStatistics {
                    mean_id: self.running_mean.id,
                    mean,
                    variance_id: self.running_var.id,
                    variance,
                    unbias,
                });
                output
            }
        }
    }
}

/// Fully connected layer with bias.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    /// `[out, in]`, as PyTorch stores it.
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// PyTorch's default: weights and bias uniform in +-1/sqrt(in).
    pub fn init(input: usize, output: usize, device: &Device, rng: &mut impl Rng) -> Self {
        let bound = 1.0 / (input as f64).sqrt();
        let mut values =
            |n: usize| -> Vec<f32> { (0..n).map(|_| ((2.0 * uniform(rng) - 1.0) * bound) as f32).collect() };
        let (weight, bias) = (values(output * input), values(output));
        Self {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, [output, input]), device)),
            bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [output]), device)),
        }
    }

    /// `[batch, in]` to `[batch, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }
}
