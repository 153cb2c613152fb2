//! Losses between attention maps `[nodes, n, height, width]`, cropped around the source's peak; results `[pairs, n]`.

use burn::tensor::{Int, Tensor};

use super::Pairs;

/// Squared length below which a crop counts as all zero: it has no direction, is normalised to zero and passes no
/// gradient. (PyTorch's `normalize` uses the same length, 1e-12, but a gradient of 1e12.)
const SHORTEST_SQUARED: f64 = 1e-24;

/// Mean over crops of the mean squared difference of the L2-normalised crops, eq. 3.
pub(super) fn closer(maps: Tensor<4>, pairs: &Pairs, crop_sizes: &[usize]) -> Tensor<2> {
    mean_over_crops(maps, pairs, crop_sizes, |target, source| (target - source).square().mean_dim(2))
}

/// Mean over crops of the inner product of the L2-normalised crops, eq. 4.
pub(super) fn apart(maps: Tensor<4>, pairs: &Pairs, crop_sizes: &[usize]) -> Tensor<2> {
    mean_over_crops(maps, pairs, crop_sizes, |target, source| (target * source).sum_dim(2))
}

/// `compare` takes crops `[pairs, n, pixels]` of target and source and gives `[pairs, n, 1]`.
fn mean_over_crops(
    maps: Tensor<4>,
    pairs: &Pairs,
    crop_sizes: &[usize],
    compare: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
) -> Tensor<2> {
    let [nodes, n, height, width] = maps.dims();
    let maps = maps.reshape([nodes, n, height * width]);
    let sources = maps.clone().detach();
    let targets = pairs.of_targets(maps.clone());
    // The first maximum in row-major order, once a node however many learn from it.
    let peak = sources.clone().argmax(2);
    let losses = crop_sizes.iter().map(|&size| {
        let (target, source) = if size >= height && size >= width {
            // A whole map is scaled once a node, whichever of its edges it is for.
            let scaled = normalise(maps.clone());
            (pairs.of_targets(scaled.clone()), scaled.detach())
        } else {
            let window = window(peak.clone(), size.min(height), size.min(width), height, width);
            let at_source = window.clone().select(0, pairs.sources.clone());
            (normalise(targets.clone().gather(2, at_source)), normalise(sources.clone().gather(2, window)))
        };
        compare(target, pairs.of_sources(source))
    });
    let sum = losses.reduce(|a, b| a + b).expect("there is at least one crop size");
    sum.squeeze_dim::<2>(2) / crop_sizes.len() as f64
}

/// Row-major positions `[nodes, n, h * w]` of the `h` x `w` window centred on `peak` `[nodes, n, 1]`, shifted to stay in
/// the map.
fn window(peak: Tensor<3, Int>, h: usize, w: usize, height: usize, width: usize) -> Tensor<3, Int> {
    let (device, [nodes, n, _]) = (peak.device(), peak.dims());
    let row = peak.clone() / width as i64;
    let column = peak - row.clone() * width as i64;
    let start =
        |centre: Tensor<3, Int>, size: usize, side: usize| (centre - (size / 2) as i64).clamp(0, (side - size) as i64);
    let first = start(row, h, height) * width as i64 + start(column, w, width);
    let offsets: Vec<i64> = (0..h).flat_map(|y| (0..w).map(move |x| (y * width + x) as i64)).collect();
    let offsets = Tensor::<1, Int>::from_ints(offsets.as_slice(), &device).reshape([1, 1, h * w]);
    first.expand([nodes, n, h * w]) + offsets.expand([nodes, n, h * w])
}

/// Crops `[.., .., pixels]` scaled to length 1; see [`SHORTEST_SQUARED`].
fn normalise(crops: Tensor<3>) -> Tensor<3> {
    let squared = crops.clone().square().sum_dim(2);
    let is_zero = squared.clone().detach().lower_elem(SHORTEST_SQUARED as f32);
    let length = squared.mask_fill(is_zero.clone(), 1.0).sqrt();
    let mask = is_zero.bool_not().float();
    crops * (mask / length)
}
