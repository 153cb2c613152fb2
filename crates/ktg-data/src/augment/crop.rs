//! Where to cut a rectangle out of an image.

use crate::Image;
use ktg_base::random::{ChaCha8Rng, below, uniform};

/// A rectangle inside an image, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl CropBox {
    /// All of an image.
    pub(super) fn whole(image: &Image) -> Self {
        Self { left: 0, top: 0, width: image.width, height: image.height }
    }
}

/// The rectangle of a random resized crop, distributed as in torchvision's
/// `RandomResizedCrop.get_params`.
///
/// Up to ten times: draw the share of the area from `scale` (uniform) and width / height from
/// `ratio` (log-uniform), and take the first rectangle that fits, at a uniform place. If none fits,
/// the largest centred rectangle whose width / height is within `ratio`.
pub fn random_resized_crop_box(
    width: usize,
    height: usize,
    scale: [f64; 2],
    ratio: [f64; 2],
    rng: &mut ChaCha8Rng,
) -> CropBox {
    const TRIES: usize = 10;
    let (full_width, full_height) = (width as f64, height as f64);
    for _ in 0..TRIES {
        let area = full_width * full_height * uniform(rng, scale[0], scale[1]);
        let aspect = uniform(rng, ratio[0].ln(), ratio[1].ln()).exp();
        let crop_width = (area * aspect).sqrt().round_ties_even() as usize;
        let crop_height = (area / aspect).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = below(rng, (height - crop_height) as u64 + 1) as usize;
            let left = below(rng, (width - crop_width) as u64 + 1) as usize;
            return CropBox { left, top, width: crop_width, height: crop_height };
        }
    }
    let aspect = full_width / full_height;
    let (crop_width, crop_height) = if aspect < ratio[0] {
        (width, ((full_width / ratio[0]).round_ties_even() as usize).clamp(1, height))
    } else if aspect > ratio[1] {
        (((full_height * ratio[1]).round_ties_even() as usize).clamp(1, width), height)
    } else {
        (width, height)
    };
    CropBox { left: (width - crop_width) / 2, top: (height - crop_height) / 2, width: crop_width, height: crop_height }
}
