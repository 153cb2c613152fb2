//! The operations on GPUs, as [CubeCL](https://github.com/tracel-ai/cubecl) kernels, which are compiled for whatever
//! API the tensors' device has.
//!
//! Convolution and pooling are Burn's own there: they run on the GPU's matrix units. What is here is what Burn spends
//! ten launches on and as many trips through memory: batch norm with what follows it, and the optimiser.
//!
//! Burn's convolutions give images that lie in memory with the channels innermost (NHWC), whatever their dimensions are
//! called. All kernels here read and write that order, so nothing is moved between two layers.

mod norm;
mod norm_kernels;
mod sgd;

use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::ops::{permute_nchw_to_nhwc, permute_nhwc_to_nchw};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Units of a cube in kernels whose units do not talk to each other.
const UNITS: u32 = 256;

/// Images `[batch, channels, height, width]` as rows of channels, one row a pixel, contiguous in memory.
struct Rows {
    /// `[batch, height, width, channels]`
    tensor: CubeTensor,
    rows: usize,
    channels: usize,
}

impl Rows {
    /// Moves nothing if the images lie in memory that way already.
    ///
    /// # Panics
    ///
    /// If there are no images, or more numbers than the kernels count to, 2^32.
    fn of(images: CubeTensor) -> Self {
        let tensor = into_contiguous(permute_nchw_to_nhwc(images));
        let shape = tensor.meta.shape();
        let channels = shape[3];
        let rows = shape[0] * shape[1] * shape[2];
        assert!(rows > 0 && channels > 0, "batch norm wants at least one pixel");
        assert!(u32::try_from(rows * channels).is_ok(), "batch norm takes at most 2^32 numbers at once");
        Self { tensor, rows, channels }
    }

    /// The memory of other images, which must be like these.
    fn matching(&self, images: CubeTensor) -> CubeTensor {
        let other = Self::of(images).tensor;
        assert_eq!(other.meta.shape(), self.tensor.meta.shape(), "what meets in a batch norm has one shape");
        assert_eq!(other.dtype, self.tensor.dtype, "what meets in a batch norm has one type");
        other
    }

    /// The memory of one number a channel.
    fn per_channel(&self, values: CubeTensor) -> CubeTensor {
        assert_eq!(&values.meta.shape()[..], &[self.channels], "there is one value a channel");
        assert_eq!(values.dtype, DType::F32, "what a channel has is f32");
        into_contiguous(values)
    }

    /// New images like these, of whatever values.
    fn like(&self) -> CubeTensor {
        let CubeTensor { client, device, meta, dtype, .. } = self.tensor.clone();
        contiguous(client, device, meta.shape(), dtype)
    }

    /// Numbers a kernel takes at once: they must not reach from one row into the next.
    fn vector(&self) -> usize {
        let sizes = self.tensor.client.io_optimized_vector_sizes(self.tensor.dtype.size());
        sizes.filter(|&size| size <= 4 && self.channels.is_multiple_of(size)).max().unwrap_or(1)
    }
}

/// `[batch, height, width, channels]` with its dimensions named `[batch, channels, height, width]` again.
fn images(rows: CubeTensor) -> CubeTensor {
    permute_nhwc_to_nchw(rows)
}

/// A new tensor of whatever values, without gaps between its rows.
fn contiguous(
    client: cubecl::client::Client,
    device: burn_cubecl::CubeDevice,
    shape: &[usize],
    dtype: DType,
) -> CubeTensor {
    let length: usize = shape.iter().product();
    // Asked for as a line, because a matrix may come with rows that are further apart than they are long.
    let line = empty_device_dtype(client, device, [length].into(), dtype);
    burn_cubecl::ops::reshape(line, shape.to_vec().into())
}

/// A new `f32` tensor where `other` is.
fn floats_near(other: &CubeTensor, shape: &[usize]) -> CubeTensor {
    contiguous(other.client.clone(), other.device.clone(), shape, DType::F32)
}

fn element(tensor: &CubeTensor) -> ElemType {
    burn::backend::cubecl::dtype_to_storage_type(tensor.dtype)
}

/// Cubes for `units` units that do not talk to each other.
fn cubes(tensor: &CubeTensor, units: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (cubecl::calculate_cube_count_elemwise(&tensor.client, units, dim), dim)
}
