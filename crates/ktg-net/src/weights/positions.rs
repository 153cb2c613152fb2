//! Embeddings of a transformer's positions, for images of another side.

/// Patches a side, of so many tokens: those of a square of patches, and the class token.
pub(super) fn side_of(tokens: usize) -> Option<usize> {
    let patches = tokens.checked_sub(1)?;
    let side = patches.isqrt();
    (side > 0 && side * side == patches).then_some(side)
}

/// Embeddings `[1 + from^2, width]` as `[1 + to^2, width]`: those of the patches by bicubic interpolation between the corners (as
/// torchvision's `interpolate_embeddings`), that of the class token as it is.
pub(super) fn resized(embeddings: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    let (class, patches) = embeddings.split_at(width);
    let taps: Vec<Taps> = (0..to).map(|position| Taps::of(position, from, to)).collect();
    let mut all = class.to_vec();
    for row in &taps {
        for column in &taps {
            all.extend((0..width).map(|channel| {
                let mut sum = 0.0;
                for (y, of_row) in row.0 {
                    for (x, of_column) in column.0 {
                        sum += of_row * of_column * f64::from(patches[(y * from + x) * width + channel]);
                    }
                }
                sum as f32
            }));
        }
    }
    all
}

/// The places that a new one is made of, with their weights; places beyond an edge stand for that at the edge.
struct Taps([(usize, f64); 4]);

impl Taps {
    fn of(position: usize, from: usize, to: usize) -> Self {
        // Corners meet corners.
        let at = if to > 1 { (position * (from - 1)) as f64 / (to - 1) as f64 } else { 0.0 };
        let (floor, share) = (at.floor(), at.fract());
        Self(std::array::from_fn(|i| {
            let offset = i as f64 - 1.0;
            let place = (floor + offset).clamp(0.0, (from - 1) as f64) as usize;
            (place, cubic((share - offset).abs()))
        }))
    }
}

/// The weight of a place at a distance below 2 (Keys 1981, with the slope that PyTorch has).
fn cubic(distance: f64) -> f64 {
    const SLOPE: f64 = -0.75;
    let d = distance;
    if d <= 1.0 {
        ((SLOPE + 2.0) * d - (SLOPE + 3.0)) * d * d + 1.0
    } else {
        ((SLOPE * d - 5.0 * SLOPE) * d + 8.0 * SLOPE) * d - 4.0 * SLOPE
    }
}
