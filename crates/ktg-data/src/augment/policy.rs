//! Random operations on images: RandAugment, TrivialAugment and ColorJitter.

use crate::Image;
use crate::random::shuffle;
use ktg_base::random::{ChaCha8Rng, below, uniform};

/// The number of magnitudes of an operation; the first, 0, is the weakest.
pub const MAGNITUDES: usize = 31;

/// An operation of RandAugment and TrivialAugment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Nothing.
    Identity,
    /// [`Image::shear_x`] by the magnitude.
    ShearX,
    /// [`Image::shear_y`] by the magnitude.
    ShearY,
    /// [`Image::translate`] to the right, by whole pixels (rounded towards 0).
    TranslateX,
    /// [`Image::translate`] down, by whole pixels (rounded towards 0).
    TranslateY,
    /// [`Image::rotate`] by degrees.
    Rotate,
    /// [`Image::brightness`] times 1 + the magnitude.
    Brightness,
    /// [`Image::saturation`] times 1 + the magnitude.
    Color,
    /// [`Image::contrast`] times 1 + the magnitude.
    Contrast,
    /// [`Image::sharpness`] times 1 + the magnitude.
    Sharpness,
    /// [`Image::posterize`] to so many bits.
    Posterize,
    /// [`Image::solarize`] from this value on.
    Solarize,
    /// [`Image::autocontrast`].
    AutoContrast,
    /// [`Image::equalize`].
    Equalize,
}

use Operation::*;

impl Operation {
    /// All operations, in the order of torchvision.
    pub const ALL: [Self; 14] = [
        Identity,
        ShearX,
        ShearY,
        TranslateX,
        TranslateY,
        Rotate,
        Brightness,
        Color,
        Contrast,
        Sharpness,
        Posterize,
        Solarize,
        AutoContrast,
        Equalize,
    ];

    /// Applies the operation. Operations without a magnitude ignore it.
    pub fn apply(self, image: &Image, magnitude: f64) -> Image {
        match self {
            Identity => image.clone(),
            ShearX => image.shear_x(magnitude),
            ShearY => image.shear_y(magnitude),
            TranslateX => image.translate(magnitude as isize, 0),
            TranslateY => image.translate(0, magnitude as isize),
            Rotate => image.rotate(magnitude),
            Brightness => image.brightness(1.0 + magnitude),
            Color => image.saturation(1.0 + magnitude),
            Contrast => image.contrast(1.0 + magnitude),
            Sharpness => image.sharpness(1.0 + magnitude),
            Posterize => image.posterize(magnitude as u32),
            Solarize => image.solarize(magnitude),
            AutoContrast => image.autocontrast(),
            Equalize => image.equalize(),
        }
    }

    /// Whether the magnitude is taken with a random sign.
    fn is_signed(self) -> bool {
        !matches!(self, Identity | Posterize | Solarize | AutoContrast | Equalize)
    }
}

/// How strong the operations are at each of the [`MAGNITUDES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AugmentationSpace {
    /// As torchvision's `RandAugment`: up to a slope of 0.3, 30 degrees, 45 % of the side, factors of 0.1 and 1.9.
    Rand,
    /// As torchvision's `TrivialAugmentWide`: up to a slope of 0.99, 135 degrees, 32 pixels, factors of 0.01 and 1.99.
    TrivialWide,
}

impl AugmentationSpace {
    /// The magnitude number `index` (0 to 30) for images of this size, without its sign.
    ///
    /// torchvision rounds its table to single precision, in a way that depends on the processor; that may change a
    /// value of a pixel by 1, or 16 pixels of a translation to 15.
    pub fn magnitude(self, operation: Operation, index: usize, width: usize, height: usize) -> f64 {
        let up_to = |rand: f64, wide: f64| {
            let greatest = if self == Self::TrivialWide { wide } else { rand };
            greatest * index as f64 / (MAGNITUDES - 1) as f64
        };
        match operation {
            Identity | AutoContrast | Equalize => 0.0,
            ShearX | ShearY => up_to(0.3, 0.99),
            TranslateX => up_to(150.0 * width as f64 / 331.0, 32.0),
            TranslateY => up_to(150.0 * height as f64 / 331.0, 32.0),
            Rotate => up_to(30.0, 135.0),
            Brightness | Color | Contrast | Sharpness => up_to(0.9, 0.99),
            Posterize => 8.0 - up_to(4.0, 6.0).round_ties_even(),
            Solarize => 255.0 - up_to(255.0, 255.0),
        }
    }

    /// A random operation, each equally often, with its magnitude for images of this size: number `index` (0 to 30), or
    /// a random one, and a random sign where the operation has two directions.
    pub fn draw(self, index: Option<usize>, width: usize, height: usize, rng: &mut ChaCha8Rng) -> (Operation, f64) {
        let operation = Operation::ALL[below(rng, Operation::ALL.len() as u64) as usize];
        let index = index.unwrap_or_else(|| below(rng, MAGNITUDES as u64) as usize);
        let magnitude = self.magnitude(operation, index, width, height);
        let is_negative = operation.is_signed() && below(rng, 2) == 1;
        (operation, if is_negative { -magnitude } else { magnitude })
    }
}

/// What ColorJitter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// [`Image::brightness`].
    Brightness,
    /// [`Image::contrast`].
    Contrast,
    /// [`Image::saturation`].
    Saturation,
    /// [`Image::hue`].
    Hue,
}

impl Adjustment {
    /// All adjustments, in the order of their amounts in [`color_jitter`].
    pub const ALL: [Self; 4] = [Self::Brightness, Self::Contrast, Self::Saturation, Self::Hue];

    /// Applies the adjustment.
    pub fn apply(self, image: &Image, factor: f64) -> Image {
        match self {
            Self::Brightness => image.brightness(factor),
            Self::Contrast => image.contrast(factor),
            Self::Saturation => image.saturation(factor),
            Self::Hue => image.hue(factor),
        }
    }
}

/// The adjustments of one image in their random order, distributed as in torchvision's `ColorJitter.get_params`.
///
/// `amounts` are those of brightness, contrast, saturation (each 0 or more) and hue (0 to 0.5). A factor is uniform in
/// 1 - amount (at least 0) to 1 + amount, that of the hue in -amount to amount. An amount of 0 leaves its adjustment out.
pub fn color_jitter(amounts: [f64; 4], rng: &mut ChaCha8Rng) -> Vec<(Adjustment, f64)> {
    let mut adjustments = Vec::with_capacity(amounts.len());
    for (adjustment, amount) in Adjustment::ALL.into_iter().zip(amounts) {
        if amount > 0.0 {
            let (low, high) = match adjustment {
                Adjustment::Hue => (-amount, amount),
                _ => ((1.0 - amount).max(0.0), 1.0 + amount),
            };
            adjustments.push((adjustment, uniform(rng, low, high)));
        }
    }
    shuffle(&mut adjustments, rng);
    adjustments
}
