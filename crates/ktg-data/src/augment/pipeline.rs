//! Augmentation steps applied to an image: 8-bit geometry first, floating point at the very end.

use super::crop::{CropBox, random_resized_crop_box};
use super::policy::{AugmentationSpace, color_jitter};
use super::step::MAX_SIDE;
use crate::{Error, Image, Step};
use ktg_base::random::{ChaCha8Rng, below, uniform};
use ktg_kernels::{ChannelScale, Kernels};

/// Steps that turn any image into the same kind of network input: `channels` x `size` x `size`
/// values.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    size: usize,
    channels: usize,
    steps: Vec<Step>,
    /// What becomes of the 8-bit values of each channel at the end.
    scales: Vec<ChannelScale>,
}

impl Pipeline {
    /// Checks the steps. A step without a size gets `size`; an empty list is possible and suits
    /// images that have this size already.
    ///
    /// # Errors
    /// If a number is out of range, normalising is not the last step or does not match the
    /// channels, or the last step that sets the size sets another one.
    pub fn new(size: usize, channels: usize, mut steps: Vec<Step>) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Setting(format!("augmentation: {problem}"));
        if !matches!(channels, 1 | 3) {
            return Err(wrong(format!("{channels} channels; images have 1 (grey) or 3 (colour)")));
        }
        if !(1..=MAX_SIDE).contains(&size) {
            return Err(wrong(format!("an image side of {size}; it must be 1 to {MAX_SIDE}")));
        }
        if let Some(problem) = steps.iter().find_map(|step| step.problem(channels)) {
            return Err(wrong(problem));
        }
        let (mut mean, mut std) = (vec![0.0; channels], vec![1.0; channels]);
        let is_normalize = |step: &Step| matches!(step, Step::Normalize { .. });
        if let Some(Step::Normalize { mean: m, std: s }) = steps.pop_if(|step| is_normalize(step)) {
            if m.len() != channels || s.len() != channels {
                let given = format!("{} means and {} standard deviations", m.len(), s.len());
                return Err(wrong(format!("{given} for images of {channels} channel(s)")));
            }
            (mean, std) = (m, s);
        }
        if steps.iter().any(is_normalize) {
            return Err(wrong("normalise must come once, as the last step".into()));
        }
        match steps.iter().rev().find_map(|step| Some((step, step.size(size)?))) {
            Some((Step::Resize { .. }, _)) => {
                return Err(wrong("after resize, the longer side varies; add a center-crop or random-crop".into()));
            }
            Some((_, other)) if other != size => {
                return Err(wrong(format!("the steps give a side of {other}, but the network takes {size}")));
            }
            _ => {}
        }
        let scales = mean.into_iter().zip(std).map(|(mean, std)| ChannelScale { mean, std }).collect();
        Ok(Self { size, channels, steps, scales })
    }

    /// Side of the result in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Channels of the images it takes, and of the result.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How many values one image becomes: channels * size * size.
    pub fn values(&self) -> usize {
        self.channels * self.size * self.size
    }

    /// Writes the image, after all steps, to `out` in the order channel, row, column. Values are in
    /// 0..=1 before normalising.
    ///
    /// # Errors
    /// If the image has other channels, does not come out at the size, or `out` is not
    /// [`values`](Self::values) long.
    pub fn apply(&self, image: &Image, rng: &mut ChaCha8Rng, out: &mut [f32]) -> Result<(), Error> {
        if out.len() != self.values() {
            let (wanted, found) = (self.values(), out.len());
            return Err(Error::Setting(format!("augmentation gives {wanted} values, but {found} were asked for")));
        }
        let mut values = Vec::with_capacity(self.values());
        self.append(image, rng, &mut values)?;
        out.copy_from_slice(&values);
        Ok(())
    }

    /// As [`apply`](Self::apply), but appends the values to `out`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn append(&self, image: &Image, rng: &mut ChaCha8Rng, out: &mut Vec<f32>) -> Result<(), Error> {
        if image.channels != self.channels {
            let given = format!("was given an image of {} channel(s)", image.channels);
            return Err(Error::Setting(format!("augmentation for {} channel(s) {given}", self.channels)));
        }
        let mut image = image.clone(); // which shares its pixels
        let mut mirrored = false;
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                // The last step costs nothing where the values are written anyway.
                Step::HorizontalFlip { p } if i + 1 == self.steps.len() => mirrored = uniform(rng, 0.0, 1.0) < *p,
                step => image = apply_step(step, self.size, image, rng)?,
            }
        }
        let (size, width, height) = (self.size, image.width, image.height);
        if (width, height) != (size, size) {
            let problem = format!("{width} x {height} pixels where the network takes {size} x {size}");
            return Err(Error::Setting(format!("augmentation gave an image of {problem}; add a crop or resize")));
        }
        let pixels = &image.pixels;
        let appended = Kernels::new().append_planes(pixels, self.size, &self.scales, mirrored, out);
        appended.map_err(|error| Error::Setting(format!("augmentation: {error}")))
    }
}

fn apply_step(step: &Step, default_size: usize, mut image: Image, rng: &mut ChaCha8Rng) -> Result<Image, Error> {
    let (width, height) = (image.width, image.height);
    let size = step.size(default_size).unwrap_or(default_size);
    Ok(match step {
        Step::RandomResizedCrop { scale, ratio, .. } => {
            let area = random_resized_crop_box(width, height, *scale, *ratio, rng);
            image.resize(area, size, size)?
        }
        Step::Resize { .. } if width.min(height) == size => image,
        Step::Resize { .. } => image.resize_shorter_side(size)?,
        Step::Stretch { .. } | Step::Pad { .. } | Step::CenterCrop { .. } if (width, height) == (size, size) => image,
        Step::Stretch { .. } => image.resize(CropBox::whole(&image), size, size)?,
        Step::Pad { fill, .. } => image.pad(size, fill.as_deref().unwrap_or(&[0; 3][..image.channels]))?,
        Step::CenterCrop { .. } => {
            let middle = |length: usize| match length.checked_sub(size) {
                // Half pixels to the even side, as Python's round() does.
                Some(spare) => (spare as f64 / 2.0).round_ties_even() as isize,
                None => -(((size - length) / 2) as isize),
            };
            image.square(middle(width), middle(height), size)
        }
        Step::RandomCrop { padding, .. } => {
            let place = |length: usize, rng: &mut ChaCha8Rng| {
                // At least the border asked for, more where the image would be too small.
                let border = (*padding).max(size.saturating_sub(length + *padding));
                let places = (length + 2 * border).saturating_sub(size) + 1;
                below(rng, places as u64) as isize - border as isize
            };
            let top = place(height, rng);
            let left = place(width, rng);
            image.square(left, top, size)
        }
        Step::HorizontalFlip { p } => {
            if uniform(rng, 0.0, 1.0) < *p {
                image.flip();
            }
            image
        }
        Step::ColorJitter { brightness, contrast, saturation, hue } => {
            let adjustments = color_jitter([*brightness, *contrast, *saturation, *hue], rng);
            adjustments.iter().fold(image, |image, (adjustment, factor)| adjustment.apply(&image, *factor))
        }
        Step::Cutout { size, p } => {
            if uniform(rng, 0.0, 1.0) < *p {
                let start = |length: usize, rng: &mut _| below(rng, length as u64) as isize - (size / 2) as isize;
                let (top, left) = (start(height, rng), start(width, rng));
                image = image.cutout(left, top, *size);
            }
            image
        }
        Step::RandAugment { operations, magnitude } => (0..*operations).fold(image, |image, _| {
            let (operation, magnitude) = AugmentationSpace::Rand.draw(Some(*magnitude), width, height, rng);
            operation.apply(&image, magnitude)
        }),
        Step::TrivialAugment {} => {
            let (operation, magnitude) = AugmentationSpace::TrivialWide.draw(None, width, height, rng);
            operation.apply(&image, magnitude)
        }
        // Done in floating point, after all steps.
        Step::Normalize { .. } => image,
    })
}
