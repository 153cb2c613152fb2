//! Maps of one size made maps of another.

use std::ops::Range;

/// A row-major map of `from` pixels, `[height, width]`, in the size `to`: each pixel is the mean of those whose area it
/// covers, wholly or in part, with the same weight.
///
/// That is PyTorch's `interpolate(mode="area")`, which is `adaptive_avg_pool2d`: row i of n is the mean of the rows from
/// floor(i h / n) to before ceil((i + 1) h / n), of h. A larger map repeats pixels, or has means of neighbors between them.
///
/// # Panics
///
/// If the map does not have `from` pixels, or has none.
pub fn resize_area(map: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let [height, width] = from;
    assert!(map.len() == height * width && !map.is_empty(), "a map of {height} x {width} pixels");
    let [rows, columns] = [0, 1].map(|side| spans(from[side], to[side]));
    let mut resized = Vec::with_capacity(to[0] * to[1]);
    for rows in &rows {
        for columns in &columns {
            let pixels = rows.clone().flat_map(|row| &map[row * width..][columns.clone()]);
            let sum: f64 = pixels.map(|pixel| f64::from(*pixel)).sum();
            resized.push((sum / (rows.len() * columns.len()) as f64) as f32);
        }
    }
    resized
}

/// What each of `to` pixels in a line covers of `from`.
fn spans(from: usize, to: usize) -> Vec<Range<usize>> {
    (0..to).map(|i| i * from / to..((i + 1) * from).div_ceil(to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_changes_nothing_and_one_pixel_is_the_mean() {
        let map = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0];
        assert_eq!(resize_area(&map, [2, 3], [2, 3]), map);
        assert_eq!(resize_area(&map, [2, 3], [1, 1]), [4.0]);
        assert_eq!(resize_area(&[7.0], [1, 1], [2, 2]), [7.0; 4]);
    }

    #[test]
    fn pixels_cover_neighbors_where_sides_do_not_divide() {
        assert_eq!(resize_area(&[1.0, 2.0, 4.0], [1, 3], [1, 2]), [1.5, 3.0]);
        assert_eq!(resize_area(&[1.0, 3.0], [2, 1], [3, 1]), [1.0, 2.0, 3.0]);
    }
}
