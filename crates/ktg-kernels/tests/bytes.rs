//! 8-bit images to planes: every level gives what the definition says, bit for bit.

use ktg_kernels::{ChannelScale, Kernels, Level, ShapeError};

const NORMALISED: [ChannelScale; 3] = [
    ChannelScale { mean: 0.4914, std: 0.2470 },
    ChannelScale { mean: 0.4822, std: 0.2435 },
    ChannelScale { mean: 0.0, std: 0.2616 },
];

fn definition(pixels: &[u8], width: usize, scales: &[ChannelScale], mirrored: bool) -> Vec<f32> {
    let channels = scales.len();
    let mut planes = Vec::new();
    for (c, scale) in scales.iter().enumerate() {
        for row in pixels.chunks(width * channels) {
            for x in 0..width {
                let x = if mirrored { width - 1 - x } else { x };
                planes.push((f32::from(row[x * channels + c]) / 255.0 - scale.mean) / scale.std);
            }
        }
    }
    planes
}

#[test]
fn all_levels_give_the_definition_bit_for_bit() {
    for level in Level::available() {
        let kernels = Kernels::at(level).unwrap();
        for scales in [&[ChannelScale::UNIT; 3][..], &NORMALISED, &NORMALISED[..1], &[ChannelScale::UNIT]] {
            for (width, height) in [(256, 3), (1, 1), (7, 5), (8, 2), (9, 4), (31, 3), (224, 7)] {
                for mirrored in [false, true] {
                    // All values in all channels: 256 and 3 have no common factor.
                    let pixels: Vec<u8> = (0..width * height * scales.len()).map(|i| (i * 7 % 256) as u8).collect();
                    let mut out = vec![-1.0, -2.0];
                    kernels.append_planes(&pixels, width, scales, mirrored, &mut out).unwrap();
                    assert_eq!(out[..2], [-1.0, -2.0]);
                    let expected = definition(&pixels, width, scales, mirrored);
                    assert_eq!(out.len(), 2 + expected.len());
                    let same = out[2..].iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{level:?} {width} x {height} {scales:?} mirrored: {mirrored}");
                }
            }
        }
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let kernels = Kernels::new();
    let mut out = Vec::new();
    let three = [ChannelScale::UNIT; 3];
    let length = kernels.append_planes(&[0; 13], 2, &three, false, &mut out);
    assert!(matches!(length, Err(ShapeError::Length { found: 13, .. })));
    assert!(kernels.append_planes(&[], 0, &three, false, &mut out).is_err());
    assert!(kernels.append_planes(&[0; 3], 1, &[], false, &mut out).is_err());
    assert!(out.is_empty());
}
