//! The shape of a depthwise convolution.

use crate::shape::{Lengths, Result, Sides, Window, at_least_one, product};

/// The shape of a convolution (cross-correlation) without bias whose channels have a filter each and do not meet.
///
/// Images are `[batch, channels, height, width]`, weights `[channels, 1, kernel, kernel]`, results
/// `[batch, channels, output_height, output_width]`, all row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) window: Window,
    pub(crate) after: usize,
    pub(crate) output_height: usize,
    pub(crate) output_width: usize,
}

impl Depthwise {
    /// `image` is `[height, width]`. The window's padding is left of the image and above, `after` zeros are right of it and below.
    /// (They differ in TensorFlow's SAME where the sum of both is odd.)
    ///
    /// # Errors
    ///
    /// If a dimension is 0, the window is larger than the padded image, or the sizes overflow.
    pub fn new(batch: usize, channels: usize, image: [usize; 2], window: Window, after: usize) -> Result<Self> {
        at_least_one(&[("the batch", batch), ("the channels", channels)])?;
        let [height, width] = image;
        let (output_height, output_width) = (window.positions(height, after)?, window.positions(width, after)?);
        let window = window.with_bounded_stride(image, after)?;
        product(&[window.padded_plane(image, after)?, batch, channels])?;
        product(&[output_height, output_width, batch, channels])?;
        product(&[batch, channels, window.kernel, window.kernel])?;
        Ok(Self { batch, channels, height, width, window, after, output_height, output_width })
    }

    /// `[height, width]` of the result.
    pub fn output_image(&self) -> [usize; 2] {
        [self.output_height, self.output_width]
    }

    pub(crate) fn lengths(&self) -> Lengths {
        Lengths { images: self.input_len(), weights: self.weight_len(), results: self.output_len() }
    }

    /// Values of the images.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }

    /// Values of the weights.
    pub fn weight_len(&self) -> usize {
        self.channels * self.window.kernel * self.window.kernel
    }

    /// Values of the result.
    pub fn output_len(&self) -> usize {
        self.batch * self.channels * self.output_height * self.output_width
    }

    /// Multiply-adds of the plain definition (padding included), for one pass forward.
    pub fn multiply_adds(&self) -> u128 {
        [self.output_len(), self.window.kernel, self.window.kernel].map(|n| n as u128).iter().product()
    }

    /// Along the sides of the planes.
    pub(crate) fn sides(&self) -> Sides {
        Sides { image: [self.height, self.width], result: self.output_image(), window: self.window, after: self.after }
    }
}
