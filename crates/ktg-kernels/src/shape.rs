//! Shapes of operations, checked once, before any kernel runs.

use crate::algorithm::{Algorithm, Sizes};

/// What is wrong with the arguments of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A slice does not hold as many values as its shape says.
    #[error("{what} holds {found} values where its shape needs {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Values its shape needs.
        expected: usize,
        /// Values it holds.
        found: usize,
    },
    /// A dimension that must be at least 1 is 0.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// The window does not fit the padded image once.
    #[error("a window of {window} does not fit an image side of {side} with padding {padding}")]
    Window {
        /// Side of the window.
        window: usize,
        /// Side of the image.
        side: usize,
        /// Zeros on each border, or before the image where those behind it are given by themselves.
        padding: usize,
    },
    /// The number of values does not fit the address space.
    #[error("the shape has more values than memory can address")]
    Overflow,
}

/// What kernels and shapes answer, whose arguments may not fit.
pub type Result<T = ()> = std::result::Result<T, ShapeError>;

/// Errs unless `found` is `expected`.
pub(crate) fn check_length(what: &'static str, expected: usize, found: usize) -> Result {
    if expected == found { Ok(()) } else { Err(ShapeError::Length { what, expected, found }) }
}

/// As [`check_length`], where there are values.
pub(crate) fn check_if_given<T>(what: &'static str, expected: usize, values: Option<&[T]>) -> Result {
    values.map_or(Ok(()), |values| check_length(what, expected, values.len()))
}

pub(crate) fn product(factors: &[usize]) -> Result<usize> {
    let product = factors.iter().try_fold(1usize, |p, &f| p.checked_mul(f)).ok_or(ShapeError::Overflow)?;
    // A slice is at most isize::MAX bytes long.
    if product > isize::MAX as usize / (64 * size_of::<f32>()) { Err(ShapeError::Overflow) } else { Ok(product) }
}

pub(crate) fn at_least_one(dims: &[(&'static str, usize)]) -> Result {
    dims.iter().find(|(_, d)| *d == 0).map_or(Ok(()), |(name, _)| Err(ShapeError::Zero(name)))
}

/// A square window that moves over images: the geometry of convolution and pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the window.
    pub kernel: usize,
    /// Pixels from one position to the next, in both directions.
    pub stride: usize,
    /// Zeros (convolution) or ignored pixels (pooling) around the image.
    pub padding: usize,
}

impl Window {
    /// One pixel, as fully connected layers and 1x1 convolutions of stride 1 see it.
    pub const PIXEL: Window = Window { kernel: 1, stride: 1, padding: 0 };

    /// The same window with a stride no larger than the padded image: it makes one step or none either way, and sizes
    /// that are multiples of the stride stay near the image's. Errs if the padded image cannot be addressed.
    pub(crate) fn with_bounded_stride(self, [height, width]: [usize; 2], after: usize) -> Result<Self> {
        let longest = self.padded(height.max(width), after)?;
        Ok(Self { stride: self.stride.min(longest), ..self })
    }

    /// Pixels of an image side with its border, `after` of them behind the image.
    fn padded(self, side: usize, after: usize) -> Result<usize> {
        self.padding.checked_add(after).and_then(|border| border.checked_add(side)).ok_or(ShapeError::Overflow)
    }

    /// Columns of each remainder by the stride where a row of `width` pixels and its border are sorted by it; the row is
    /// stride times as long then.
    pub(crate) fn sorted_columns(self, width: usize, after: usize) -> usize {
        (self.padding + width + after).div_ceil(self.stride)
    }

    /// Values of a plane with its border, rows filled up to a multiple of the stride.
    pub(crate) fn padded_plane(self, [height, width]: [usize; 2], after: usize) -> Result<usize> {
        let row = self.padded(width, after)?.checked_next_multiple_of(self.stride).ok_or(ShapeError::Overflow)?;
        product(&[self.padded(height, after)?, row])
    }

    /// Positions along an image side: `(padding + side + after - kernel) / stride + 1`.
    pub(crate) fn positions(&self, side: usize, after: usize) -> Result<usize> {
        at_least_one(&[("the kernel", self.kernel), ("the stride", self.stride), ("an image side", side)])?;
        let Window { kernel: window, stride, padding } = *self;
        let free = self.padded(side, after)?.checked_sub(window).ok_or(ShapeError::Window { window, side, padding })?;
        Ok(free / stride + 1)
    }
}

/// What a convolution is along the sides of its planes, `[height, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Sides {
    pub image: [usize; 2],
    pub result: [usize; 2],
    pub window: Window,
    /// Zeros behind the image; the window's are those before.
    pub after: usize,
}

/// Values of a convolution's images, weights and results, depthwise or not.
#[derive(Clone, Copy)]
pub(crate) struct Lengths {
    pub images: usize,
    pub weights: usize,
    pub results: usize,
}

impl Lengths {
    /// Of the arguments of the way forward.
    pub fn check(self, images: usize, weights: usize, result: usize) -> Result {
        check_length("the images", self.images, images)?;
        check_length("the weights", self.weights, weights)?;
        check_length("the result", self.results, result)
    }

    /// Of the arguments of the way back to the images.
    pub fn check_backward_data(self, gradient: usize, weights: usize, result: usize) -> Result {
        check_length("the gradient", self.results, gradient)?;
        check_length("the weights", self.weights, weights)?;
        check_length("the gradient of the images", self.images, result)
    }

    /// Of the arguments of the way back to the weights.
    pub fn check_backward_weights(self, images: usize, gradient: usize, result: usize) -> Result {
        check_length("the images", self.images, images)?;
        check_length("the gradient", self.results, gradient)?;
        check_length("the gradient of the weights", self.weights, result)
    }
}

/// The shape of a convolution (cross-correlation, as in every deep-learning framework) without bias, groups or dilation.
///
/// Images are `[batch, input, height, width]`, weights `[output, input, kernel, kernel]`, results
/// `[batch, output, output_height, output_width]`, all row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub(crate) batch: usize,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) window: Window,
    pub(crate) output_height: usize,
    pub(crate) output_width: usize,
    pub(crate) algorithm: Algorithm,
    /// Zeros behind the image; the window's are those before.
    pub(crate) after: usize,
}

impl Conv2d {
    /// `image` is `[height, width]`.
    ///
    /// # Errors
    ///
    /// If a dimension is 0, the window is larger than the padded image, or the sizes overflow.
    pub fn new(batch: usize, input: usize, output: usize, image: [usize; 2], window: Window) -> Result<Self> {
        Self::padded(batch, input, output, image, window, window.padding)
    }

    /// With `after` zeros behind the image, right of it and below; the window's padding is left of it and above. (TensorFlow's SAME
    /// has more behind than before where the sum of both is odd.)
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn padded(
        batch: usize,
        input: usize,
        output: usize,
        image: [usize; 2],
        window: Window,
        after: usize,
    ) -> Result<Self> {
        at_least_one(&[("the batch", batch), ("the input channels", input), ("the output channels", output)])?;
        let [height, width] = image;
        let (output_height, output_width) = (window.positions(height, after)?, window.positions(width, after)?);
        let window = window.with_bounded_stride(image, after)?;
        product(&[window.padded_plane(image, after)?, batch, input])?;
        product(&[output_height + 8, output_width + 8, batch, output.max(input)])?;
        product(&[input, output, window.kernel, window.kernel])?;
        product(&[input, window.kernel, window.kernel, output_height, output_width])?;
        let algorithm = Algorithm::Direct;
        let shape = Self { batch, input, output, height, width, window, output_height, output_width, algorithm, after };
        Ok(Self { algorithm: Algorithm::fastest(shape.sizes()), ..shape })
    }

    /// Zeros behind the image, right of it and below.
    pub fn padding_after(&self) -> usize {
        self.after
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
        self.batch * self.input * self.height * self.width
    }

    /// Values of the weights.
    pub fn weight_len(&self) -> usize {
        self.output * self.input * self.window.kernel * self.window.kernel
    }

    /// Values of the result.
    pub fn output_len(&self) -> usize {
        self.batch * self.output * self.output_height * self.output_width
    }

    /// How this convolution and its gradients are computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether errors are those of [`Algorithm::Winograd`].
    pub fn is_winograd(&self) -> bool {
        self.algorithm() == Algorithm::Winograd
    }

    /// The same convolution by another algorithm; `None` where that cannot compute it.
    pub fn computed_by(self, algorithm: Algorithm) -> Option<Self> {
        let is_same = self.window == Window { kernel: 3, stride: 1, padding: 1 } && self.after == 1;
        let can = algorithm != Algorithm::Winograd || is_same;
        can.then_some(Self { algorithm, ..self })
    }

    /// The same convolution by the same algorithm however many images there are, so that an image's result does not depend, not
    /// even in its last bit, on those beside it. It is the one that is the fastest for two images, which is not slow for one
    /// and not for many.
    pub fn for_any_batch(self) -> Self {
        Self { algorithm: Algorithm::fastest(Sizes { batch: 2, ..self.sizes() }), ..self }
    }

    /// Multiply-adds of the products that this convolution's algorithm computes forward, and to either gradient; transforms of
    /// tiles not counted.
    pub fn multiply_adds_done(&self) -> u128 {
        let channels = [self.batch, self.input, self.output].map(|n| n as u128).iter().product::<u128>();
        let results = match self.algorithm() {
            Algorithm::Direct => return self.multiply_adds(),
            // 36 positions for every 4x4 results.
            Algorithm::Winograd => 36 * self.output_height.div_ceil(4) * self.output_width.div_ceil(4),
            Algorithm::SmallMaps => {
                self.taps_inside(self.height, self.output_height) * self.taps_inside(self.width, self.output_width)
            }
        };
        channels * results as u128
    }

    /// Along a side, the taps of all positions of the window that lie within the image.
    fn taps_inside(&self, side: usize, positions: usize) -> usize {
        let Window { kernel, stride, padding } = self.window;
        let is_inside = |position: usize, tap: usize| (padding..padding + side).contains(&(position * stride + tap));
        (0..positions).map(|position| (0..kernel).filter(|&tap| is_inside(position, tap)).count()).sum()
    }

    /// What the choice of the algorithm depends on.
    fn sizes(&self) -> Sizes {
        let Window { kernel, stride, padding } = self.window;
        Sizes {
            batch: self.batch,
            channels: self.input.min(self.output),
            pixels: self.height * self.width,
            results: self.output_height * self.output_width,
            kernel,
            stride,
            padding,
            after: self.after,
        }
    }

    /// Whether there is no border and one tap: only every stride-th pixel matters, and rows follow each other without a gap.
    pub(crate) fn is_pointwise(&self) -> bool {
        (self.window.kernel, self.window.padding, self.after) == (1, 0, 0)
    }

    /// Whether every pixel of the result sees the one at its own place, as with [`Window::PIXEL`].
    pub(crate) fn is_pixel(&self) -> bool {
        self.is_pointwise() && self.window.stride == 1
    }

    /// Along the sides of the planes.
    pub(crate) fn sides(&self) -> Sides {
        Sides { image: [self.height, self.width], result: self.output_image(), window: self.window, after: self.after }
    }

    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Multiply-adds of the plain definition (padding included), for one pass forward.
    pub fn multiply_adds(&self) -> u128 {
        [self.output_len(), self.input, self.window.kernel, self.window.kernel].map(|n| n as u128).iter().product()
    }
}

/// Feature maps `[batch, channels, pixels]`: what batch norm and global pooling see of `[batch, channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

impl Features {
    /// `pixels` is height times width.
    ///
    /// # Errors
    ///
    /// If a dimension is 0 or the sizes overflow.
    pub fn new(batch: usize, channels: usize, pixels: usize) -> Result<Self> {
        at_least_one(&[("the batch", batch), ("the channels", channels), ("the pixels", pixels)])?;
        product(&[batch, channels, pixels])?;
        Ok(Self { batch, channels, pixels })
    }

    /// Number of images.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Planes of one channel of one image.
    pub(crate) fn planes(&self) -> usize {
        self.batch * self.channels
    }

    /// Values of an image.
    pub(crate) fn image_len(&self) -> usize {
        self.channels * self.pixels
    }

    /// Number of values. Never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.batch * self.image_len()
    }
}

/// Side of the largest window for which pooling gives the image a border; no real one is larger.
pub(crate) const LARGEST_BORDERED_POOL: usize = 64;

/// The shape of a pooling operation on `planes` images `[height, width]` (batch times channels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub(crate) planes: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) window: Window,
    pub(crate) output_height: usize,
    pub(crate) output_width: usize,
}

impl Pool {
    /// `image` is `[height, width]`.
    ///
    /// # Errors
    ///
    /// If a dimension is 0, the padding is more than half the window (some windows would be empty), the window is
    /// larger than the padded image, or the sizes overflow.
    pub fn new(planes: usize, image: [usize; 2], window: Window) -> Result<Self> {
        at_least_one(&[("the number of planes", planes)])?;
        let [height, width] = image;
        let Window { kernel, padding, .. } = window;
        if padding > kernel / 2 {
            return Err(ShapeError::Window { window: kernel, side: height, padding });
        }
        let (output_height, output_width) = (window.positions(height, padding)?, window.positions(width, padding)?);
        let window = window.with_bounded_stride(image, padding)?;
        product(&[planes, height, width])?;
        if kernel <= LARGEST_BORDERED_POOL {
            product(&[planes, window.padded_plane(image, padding)?])?;
        }
        product(&[planes, output_height, output_width])?;
        Ok(Self { planes, height, width, window, output_height, output_width })
    }

    /// `[height, width]` of the result.
    pub fn output_image(&self) -> [usize; 2] {
        [self.output_height, self.output_width]
    }

    /// Pixels of a plane of the input, and of the result.
    pub(crate) fn plane_lens(&self) -> [usize; 2] {
        [self.height * self.width, self.output_height * self.output_width]
    }

    /// Values of the input.
    pub fn input_len(&self) -> usize {
        self.planes * self.height * self.width
    }

    /// Values of the result.
    pub fn output_len(&self) -> usize {
        self.planes * self.output_height * self.output_width
    }
}
