//! Attention maps over what a network saw, in the manner of the thesis' figure 3.

use image::{Rgb, RgbImage};

/// Side that small inputs are magnified to, at least, in pixels.
const SMALLEST_SIDE: usize = 224;

/// The input `[channels, side, side]` (1 or 3 channels) with the attention map laid over it: blue where the map is
/// lowest, red where it is highest. Small inputs are magnified by a whole factor.
///
/// # Panics
///
/// Panics if lengths do not match.
pub fn overlay(input: &[f32], side: usize, map: &[f32], map_width: usize) -> RgbImage {
    assert!(map.len().is_multiple_of(map_width), "an image and its map");
    let pixel = pixels(input, side);
    let (map_low, map_high) = range(map);
    let map_scale = if map_high > map_low { 1.0 / (map_high - map_low) } else { 0.0 };
    let map_height = map.len() / map_width;
    let zoom = SMALLEST_SIDE.div_ceil(side);
    let size = side * zoom;
    RgbImage::from_fn(size as u32, size as u32, |x, y| {
        let at = |v: u32, cells: usize| (v as f32 + 0.5) / size as f32 * cells as f32 - 0.5;
        let value = bilinear(map, map_width, map_height, at(x, map_width), at(y, map_height));
        let heat = colour((value - map_low) * map_scale);
        let below = pixel(x as usize / zoom, y as usize / zoom);
        Rgb([0, 1, 2].map(|c| byte(0.55 * below[c] + 0.45 * heat[c])))
    })
}

/// The input `[channels, side, side]` (1 or 3 channels) itself, magnified as in [`overlay`].
///
/// # Panics
///
/// Panics if lengths do not match.
pub fn picture(input: &[f32], side: usize) -> RgbImage {
    let pixel = pixels(input, side);
    let zoom = SMALLEST_SIDE.div_ceil(side);
    let size = (side * zoom) as u32;
    RgbImage::from_fn(size, size, |x, y| Rgb(pixel(x as usize / zoom, y as usize / zoom).map(byte)))
}

fn byte(value: f32) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}

/// Red, green and blue at a place of the input, 0 to 1.
fn pixels(input: &[f32], side: usize) -> impl Fn(usize, usize) -> [f32; 3] {
    let channels = input.len() / (side * side);
    assert!(matches!(channels, 1 | 3), "an image");
    let (low, high) = range(input);
    // Pixels in [0, 1] are shown as they are, normalised ones are stretched to it.
    let (offset, scale) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (low, 1.0 / (high - low)) };
    move |x, y| {
        let at = y * side + x;
        [0, 1, 2].map(|c| (input[if channels == 3 { c * side * side + at } else { at }] - offset) * scale)
    }
}

fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

fn bilinear(map: &[f32], width: usize, height: usize, x: f32, y: f32) -> f32 {
    let cell = |v: f32, n: usize| v.clamp(0.0, (n - 1) as f32);
    let (x, y) = (cell(x, width), cell(y, height));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let row = |y: usize| map[y * width + left] * (1.0 - fx) + map[y * width + right] * fx;
    row(top) * (1.0 - fy) + row(bottom) * fy
}

/// Blue, cyan, green, yellow, red for 0 to 1, as in the figures of the ABN papers.
fn colour(value: f32) -> [f32; 3] {
    [3.0, 2.0, 1.0].map(|peak| (1.5 - (4.0 * value - peak).abs()).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_red_and_the_rest_blue() {
        let mut map = vec![0.0; 16];
        map[5] = 1.0;
        let picture = overlay(&[0.0; 64], 8, &map, 4);
        assert_eq!(picture.dimensions(), (224, 224));
        let [r, _, b] = picture.get_pixel(84, 84).0;
        assert!(r > b, "{r} {b}");
        let [r, _, b] = picture.get_pixel(220, 220).0;
        assert!(b > r, "{r} {b}");
    }

    #[test]
    fn the_input_is_shown_as_it_is() {
        let shown = picture(&[0.0, 1.0, 0.2, 0.4], 2);
        assert_eq!(shown.dimensions(), (224, 224));
        assert_eq!([shown.get_pixel(111, 0).0, shown.get_pixel(112, 0).0], [[0; 3], [255; 3]]);
        assert_eq!([shown.get_pixel(0, 223).0, shown.get_pixel(223, 223).0], [[51; 3], [102; 3]]);
        // Normalised values are stretched.
        assert_eq!(picture(&[-1.0, 3.0, 1.0, 1.0], 2).get_pixel(0, 223).0, [128; 3]);
    }

    #[test]
    fn a_flat_map_and_a_normalised_input_are_drawn() {
        overlay(&[-2.0, 0.0, 1.0, 3.0].repeat(3), 2, &[0.5; 4], 2);
    }
}
