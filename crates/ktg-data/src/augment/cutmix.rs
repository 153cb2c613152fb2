//! CutMix: a box of every sample of a batch is replaced by that of another one of it, and labels are mixed by area (Yun
//! et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", 2019).

use super::crop::CropBox;
use super::mixup::{partners, symmetric_beta};
use crate::{Batch, Mixed};
use ktg_base::random::{ChaCha8Rng, below};

/// Cuts one box out of all samples of a batch, and puts there what another sample has in it; the others are a random order
/// of the batch.
pub(crate) fn mix(batch: &mut Batch, alpha: f64, rng: &mut ChaCha8Rng) {
    let area = random_box(batch.width, batch.height, alpha, rng);
    let partners = partners(batch.len(), rng);
    exchange(batch, &partners, area);
}

/// A box at a random center, whose share of the area is from Beta(alpha, alpha), but for what lies beyond the border.
fn random_box(width: usize, height: usize, alpha: f64, rng: &mut ChaCha8Rng) -> CropBox {
    let share = symmetric_beta(alpha, rng);
    let center = [width, height].map(|length| below(rng, length as u64) as usize);
    box_around(center, width, height, share)
}

/// The box around a center (column, row) that leaves `share` of an image of `width` x `height`, clipped at its border, as
/// torchvision's `CutMix` has it: half its sides are rounded down, so that it may be empty.
fn box_around([column, row]: [usize; 2], width: usize, height: usize, share: f64) -> CropBox {
    let half = |length: usize| (0.5 * (1.0 - share).sqrt() * length as f64) as usize;
    let (half_width, half_height) = (half(width), half(height));
    let (left, right) = (column.saturating_sub(half_width), (column + half_width).min(width));
    let (top, bottom) = (row.saturating_sub(half_height), (row + half_height).min(height));
    CropBox { left, top, width: right - left, height: bottom - top }
}

/// Mixes every sample with its partner: one of them is seen inside the box, the other outside.
///
/// A sample's own pixels are the larger part, so that its label stays the one it has most of, which the gate `correct`
/// looks at: outside a box of up to half of the image, inside a larger one. Where partners are a random order of the
/// batch, the images that this gives have the same distribution as if a sample always were outside: it is the partner of
/// its partner in the inverse order, which is as likely.
fn exchange(batch: &mut Batch, partners: &[usize], area: CropBox) {
    let pixels = batch.width * batch.height;
    let inside = area.width * area.height;
    let is_own_inside = 2 * inside > pixels;
    let values = batch.channels * pixels;
    let whole = batch.images.clone();
    for (own, (image, &partner)) in batch.images.chunks_exact_mut(values).zip(partners).enumerate() {
        let (outer, inner) = if is_own_inside { (partner, own) } else { (own, partner) };
        image.copy_from_slice(&whole[outer * values..][..values]);
        let inner = &whole[inner * values..][..values];
        for plane in 0..batch.channels {
            for row in area.top..area.top + area.height {
                let start = (plane * batch.height + row) * batch.width + area.left;
                image[start..][..area.width].copy_from_slice(&inner[start..][..area.width]);
            }
        }
    }
    let labels = partners.iter().map(|&partner| batch.labels[partner]).collect();
    let share_inside = inside as f64 / pixels as f64;
    let share = share_inside.max(1.0 - share_inside) as f32;
    batch.mixed = Some(Mixed { labels, share });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, rng};
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    /// Value i of the images is i, sample i has class i.
    fn numbered(samples: usize, channels: usize, height: usize, width: usize) -> Batch {
        let values = samples * channels * height * width;
        Batch {
            indices: (0..samples).collect(),
            images: (0..values).map(|i| i as f32).collect(),
            labels: (0..samples as u32).collect(),
            channels,
            height,
            width,
            mixed: None,
        }
    }

    /// tests/fixtures/make_cutmix.py made what is compared with.
    #[test]
    fn boxes_pixels_and_labels_are_those_of_torchvision() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cutmix.json");
        let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut exchanged = 0;
        for case in fixture["cases"].as_array().unwrap() {
            let numbers = |key: &str| serde_json::from_value::<Vec<usize>>(case[key].clone()).unwrap();
            let [samples, channels, height, width] = numbers("shape")[..] else { panic!("{case}") };
            let [column, row] = numbers("center")[..] else { panic!("{case}") };
            let [left, top, right, bottom] = numbers("box")[..] else { panic!("{case}") };
            let area = box_around([column, row], width, height, case["share"].as_f64().unwrap());
            assert_eq!(area, CropBox { left, top, width: right - left, height: bottom - top }, "{case}");

            // There, a sample's partner is the one before it, and the sample is always outside of the box. Where it is
            // inside here, its image is that of the sample after it there.
            let share_left = case["share_left"].as_f64().unwrap();
            let is_exchanged = share_left < 0.5;
            exchanged += usize::from(is_exchanged);
            let place_there = |i: usize| if is_exchanged { (i + 1) % samples } else { i };
            let before = |i: usize| (i + samples - 1) % samples;
            let partner = |i: usize| if is_exchanged { place_there(i) } else { before(i) };
            let mut batch = numbered(samples, channels, height, width);
            exchange(&mut batch, &(0..samples).map(partner).collect::<Vec<_>>(), area);
            let mixed = batch.mixed.unwrap();
            assert_eq!(mixed.share, share_left.max(1.0 - share_left) as f32, "{case}");
            let values = channels * height * width;
            let (images, labels): (Vec<f32>, Vec<Vec<f32>>) = (
                serde_json::from_value(case["images"].clone()).unwrap(),
                serde_json::from_value(case["labels"].clone()).unwrap(),
            );
            for (i, image) in batch.images.chunks_exact(values).enumerate() {
                let there = place_there(i);
                assert_eq!(image, &images[there * values..][..values], "sample {i} of {case}");
                let mut label = vec![0.0; samples];
                label[batch.labels[i] as usize] += mixed.share;
                label[mixed.labels[i] as usize] += 1.0 - mixed.share;
                let distance = label.iter().zip(&labels[there]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(distance < 1e-6, "sample {i} of {case}: {label:?}");
            }
        }
        assert_eq!(exchanged, 3);
    }

    #[test]
    fn a_sample_keeps_most_of_its_pixels_and_the_share_counts_them() {
        let (channels, height, width) = (2, 9, 14);
        let values = channels * height * width;
        let mut shares = BTreeSet::new();
        for seed in 0..400 {
            let mut batch = numbered(5, channels, height, width);
            mix(&mut batch, 1.0, &mut rng(seed, Purpose::CutMix, 0, 0));
            let Mixed { labels, share } = batch.mixed.unwrap();
            for (own, image) in batch.images.chunks_exact(values).enumerate() {
                let partner = labels[own] as usize;
                let sources: Vec<usize> = image.iter().map(|&value| value as usize / values).collect();
                assert!(sources.iter().all(|source| [own, partner].contains(source)));
                // A pixel stays where it was.
                assert!(image.iter().enumerate().all(|(i, &value)| value as usize % values == i));
                if partner != own {
                    let kept = sources.iter().filter(|source| **source == own).count() as f32 / values as f32;
                    assert!((kept - share).abs() < 1e-6 && kept >= 0.5, "{kept} {share}");
                }
            }
            shares.insert((share * (height * width) as f32).round() as usize);
        }
        assert!(shares.len() > 20, "{shares:?}");
    }

    #[test]
    fn every_pixel_is_the_center_as_often() {
        // For so small an alpha the share is nearly always 0 or 1. With 0, a center makes one of 20 different boxes.
        let mut counts = BTreeMap::new();
        for seed in 0..4000 {
            let CropBox { left, top, width, height } = random_box(5, 4, 1e-3, &mut rng(seed, Purpose::CutMix, 0, 0));
            *counts.entry([left, top, width, height]).or_insert(0) += 1;
        }
        counts.retain(|[_, _, width, height], count| width * height > 0 && *count > 20);
        assert!(counts.len() == 20 && counts.values().all(|count| (60..140).contains(count)), "{counts:?}");
    }
}
