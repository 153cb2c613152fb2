//! In which type of number the networks compute.

use ktg_nn::burn::tensor::{FloatDType, Tensor};
use ktg_nn::{Array, burn};
use serde::{Deserialize, Serialize};

/// In which type of number the networks compute. Weights, statistics, losses and the optimiser are `f32` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of `f32`: half the memory, and the matrix units of newer GPUs.
    Bf16,
    /// 16 bits with more digits and less range, so that losses are scaled up while gradients are computed.
    F16,
}

impl Precision {
    /// As settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }

    /// As the framework has it.
    pub fn dtype(self) -> FloatDType {
        match self {
            Precision::F32 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
            Precision::F16 => FloatDType::F16,
        }
    }
}

/// Before the first step, as in PyTorch's `GradScaler`.
const FIRST_SCALE: f32 = 65536.0;
/// Steps without an overflow after which the scale is doubled.
const PATIENCE: f32 = 2000.0;

/// What a node's loss is multiplied by, so that small gradients do not vanish in `f16`. It is halved when a gradient
/// overflows, and that step changes no weights; after [`PATIENCE`] steps without one it is doubled. All of it happens on
/// the device: nobody waits to learn which it was.
pub(crate) struct LossScale {
    /// `[1]`
    scale: Tensor<1>,
    /// Steps since the scale changed, `[1]`.
    calm: Tensor<1>,
}

impl LossScale {
    pub fn new(device: &burn::tensor::Device) -> Self {
        Self { scale: Tensor::full([1], FIRST_SCALE, device), calm: Tensor::zeros([1], device) }
    }

    /// What the loss is multiplied by.
    pub fn factor(&self) -> Tensor<1> {
        self.scale.clone()
    }

    /// What [`from_array`](Self::from_array) takes.
    pub fn to_array(&self) -> Array {
        let data = ktg_nn::weights::values(Tensor::cat(vec![self.scale.clone(), self.calm.clone()], 0));
        Array { shape: vec![2], data }
    }

    pub fn from_array(array: &Array, device: &burn::tensor::Device) -> Option<Self> {
        let [scale, calm] = array.data[..] else { return None };
        Some(Self { scale: Tensor::full([1], scale, device), calm: Tensor::full([1], calm, device) })
    }

    /// After a step; `overflowed` is 1 or 0, `[1]`.
    pub fn adapt(&mut self, overflowed: Tensor<1>) {
        let calm = (self.calm.clone() + 1.0) * (overflowed.clone() * -1.0 + 1.0);
        let grows = calm.clone().greater_equal_elem(PATIENCE).float();
        // Times 2, 1 or one half.
        self.scale = self.scale.clone() * (grows.clone() - overflowed * 0.5 + 1.0);
        self.calm = calm * (grows * -1.0 + 1.0);
    }
}

#[cfg(test)]
mod tests {
    use ktg_nn::burn::tensor::Device;
    use ktg_nn::weights::values;

    use super::*;

    #[test]
    fn the_scale_is_halved_at_an_overflow_and_doubled_after_much_calm() {
        let device = Device::flex();
        let mut scale = LossScale::new(&device);
        let flag = |overflowed: bool| Tensor::<1>::full([1], f32::from(u8::from(overflowed)), &device);
        scale.adapt(flag(true));
        assert_eq!(values(scale.factor()), [FIRST_SCALE / 2.0]);
        for _ in 0..1999 {
            scale.adapt(flag(false));
        }
        assert_eq!(values(scale.factor()), [FIRST_SCALE / 2.0]);
        scale.adapt(flag(false));
        assert_eq!(values(scale.factor()), [FIRST_SCALE]);
        let again = LossScale::from_array(&scale.to_array(), &device).unwrap();
        assert_eq!(again.to_array(), Array { shape: vec![2], data: vec![FIRST_SCALE, 0.0] });
    }
}
