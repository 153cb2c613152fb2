//! Losses between attention maps `[n, height, width]`, cropped around the source's peak.

use burn::tensor::{Int, Tensor};

/// Squared length below which a crop counts as all zero: it has no direction, is normalised to zero and passes no
/// gradient. (PyTorch's `normalize` uses the same length, 1e-12, but a gradient of 1e12.)
const SHORTEST_SQUARED: f64 = 1e-24;

/// Mean over crops of the mean squared difference of the L2-normalised crops, eq. 3; shape `[n]`.
pub(super) fn closer(target: Tensor<3>, source: Tensor<3>, crop_sizes: &[usize]) -> Tensor<1> {
    mean_over_crops(target, source, crop_sizes, |target, source| (target - source).square().mean_dim(1))
}

/// Mean over crops of the inner product of the L2-normalised crops, eq. 4; shape `[n]`.
pub(super) fn apart(target: Tensor<3>, source: Tensor<3>, crop_sizes: &[usize]) -> Tensor<1> {
    mean_over_crops(target, source, crop_sizes, |target, source| (target * source).sum_dim(1))
}

fn mean_over_crops(
    target: Tensor<3>,
    source: Tensor<3>,
    crop_sizes: &[usize],
    compare: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
) -> Tensor<1> {
    let [n, height, width] = source.dims();
    assert_eq!(target.dims(), [n, height, width], "attention maps of one edge have the same size");
    let target = target.reshape([n, height * width]);
    let source = source.reshape([n, height * width]);
    // The first maximum in row-major order.
    let peak = source.clone().argmax(1);
    let losses = crop_sizes.iter().map(|&size| {
        let (target, source) = if size >= height && size >= width {
            (target.clone(), source.clone())
        } else {
            let window = window(peak.clone(), size.min(height), size.min(width), height, width);
            (target.clone().gather(1, window.clone()), source.clone().gather(1, window))
        };
        compare(normalise(target), normalise(source))
    });
    let sum = losses.reduce(|a, b| a + b).expect("there is at least one crop size");
    sum.squeeze_dim::<1>(1) / crop_sizes.len() as f64
}

/// Row-major positions `[n, h * w]` of the `h` x `w` window centred on `peak` `[n, 1]`, shifted to stay in the map.
fn window(peak: Tensor<2, Int>, h: usize, w: usize, height: usize, width: usize) -> Tensor<2, Int> {
    let (device, n) = (peak.device(), peak.dims()[0]);
    let row = peak.clone() / width as i64;
    let column = peak - row.clone() * width as i64;
    let start =
        |centre: Tensor<2, Int>, size: usize, side: usize| (centre - (size / 2) as i64).clamp(0, (side - size) as i64);
    let first = start(row, h, height) * width as i64 + start(column, w, width);
    let offsets: Vec<i64> = (0..h).flat_map(|y| (0..w).map(move |x| (y * width + x) as i64)).collect();
    let offsets = Tensor::<1, Int>::from_ints(offsets.as_slice(), &device).reshape([1, h * w]);
    first.expand([n, h * w]) + offsets.expand([n, h * w])
}

/// Rows scaled to length 1; see [`SHORTEST_SQUARED`].
fn normalise(rows: Tensor<2>) -> Tensor<2> {
    let squared = rows.clone().square().sum_dim(1);
    let is_zero = squared.clone().detach().lower_elem(SHORTEST_SQUARED as f32);
    let length = squared.mask_fill(is_zero.clone(), 1.0).sqrt();
    let mask = is_zero.bool_not().float();
    rows * (mask / length)
}
