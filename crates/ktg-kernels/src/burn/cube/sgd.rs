//! The optimiser on GPUs, and the running statistics of batch norm: one launch a tensor.

use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::std::tensor::layout::linear::{LinearView, LinearViewMut};

use super::{cubes, floats_near};
use crate::SgdStep;
use crate::burn::KernelOptimiser;

/// `d = gradient + weight_decay * w`; `v = momentum * v + d`, at first `d`; `w = w - learning_rate * v`.
#[cube(launch_unchecked)]
fn sgd_kernel(
    parameter: LinearView<'_, f32>,
    gradient: LinearView<'_, f32>,
    velocity: LinearView<'_, f32>,
    mut new_parameter: LinearViewMut<'_, f32>,
    mut new_velocity: LinearViewMut<'_, f32>,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    #[comptime] reads_velocity: bool,
) {
    if !new_parameter.is_in_bounds(ABSOLUTE_POS) {
        terminate!();
    }
    let old = parameter.read(ABSOLUTE_POS);
    let mut update = gradient.read(ABSOLUTE_POS) + weight_decay * old;
    if reads_velocity {
        update += momentum * velocity.read(ABSOLUTE_POS);
    }
    new_velocity.write(ABSOLUTE_POS, update);
    new_parameter.write(ABSOLUTE_POS, old - learning_rate * update);
}

#[cube(launch_unchecked)]
fn blend_kernel(
    old: LinearView<'_, f32>,
    new: LinearView<'_, f32>,
    mut blended: LinearViewMut<'_, f32>,
    kept: f32,
    added: f32,
) {
    if !blended.is_in_bounds(ABSOLUTE_POS) {
        terminate!();
    }
    blended.write(ABSOLUTE_POS, old.read(ABSOLUTE_POS) * kept + new.read(ABSOLUTE_POS) * added);
}

/// Asserts what the kernels do not look at.
fn check(first: &CubeTensor, others: &[&CubeTensor]) {
    assert_eq!(first.dtype, DType::F32, "the optimiser works on f32");
    assert!(u32::try_from(first.meta.num_elements()).is_ok(), "the kernels count to 2^32");
    for other in others {
        assert_eq!(other.meta.shape(), first.meta.shape(), "what the optimiser takes together has one shape");
        assert_eq!(other.dtype, DType::F32, "the optimiser works on f32");
    }
}

impl KernelOptimiser for CubeBackend {
    fn kernel_sgd(
        parameter: CubeTensor,
        gradient: CubeTensor,
        velocity: CubeTensor,
        step: SgdStep,
    ) -> (CubeTensor, CubeTensor) {
        let shape = parameter.meta.shape().to_vec();
        check(&parameter, &[&gradient, &velocity]);
        let (parameter, velocity) = (into_contiguous(parameter), into_contiguous(velocity));
        let (new_parameter, new_velocity) = (floats_near(&parameter, &shape), floats_near(&parameter, &shape));
        let (count, dim) = cubes(&parameter, shape.iter().product());
        let client = parameter.client.clone();
        // SAFETY: the kernel stops beyond `new_parameter`, and all five have its shape and are f32, as `check` asserts. The
        // gradient is read in the order of its dimensions, wherever they lie.
        unsafe {
            sgd_kernel::launch_unchecked(
                &client,
                count,
                dim,
                parameter.into_linear_view(),
                gradient.into_linear_view(),
                velocity.into_linear_view(),
                new_parameter.clone().into_linear_view(),
                new_velocity.clone().into_linear_view(),
                step.learning_rate,
                step.momentum,
                step.weight_decay,
                !step.first && step.momentum != 0.0,
            );
        }
        (new_parameter, new_velocity)
    }

    fn kernel_blend(old: CubeTensor, kept: f32, new: CubeTensor, added: f32) -> CubeTensor {
        let shape = old.meta.shape().to_vec();
        check(&old, &[&new]);
        let (old, new) = (into_contiguous(old), into_contiguous(new));
        let blended = floats_near(&old, &shape);
        let (count, dim) = cubes(&old, shape.iter().product());
        let client = old.client.clone();
        // SAFETY: the kernel stops beyond `blended`, and all three have its shape and are f32, as `check` asserts.
        unsafe {
            blend_kernel::launch_unchecked(
                &client,
                count,
                dim,
                old.into_linear_view(),
                new.into_linear_view(),
                blended.clone().into_linear_view(),
                kept,
                added,
            );
        }
        blended
    }
}
