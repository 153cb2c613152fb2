//! A look at every image of a data set: what `ktg data check` tells.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::decode::jpeg;
use crate::{BadImage, Dataset, Error, Image, Splits, parallel};

/// What a look at every image of all parts finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The images that cannot be used, part by part.
    pub bad: Vec<BadImage>,
    /// Images that are damaged, but can be decoded: a part of the picture is missing.
    pub damaged: Vec<BadImage>,
    /// Images that are in two parts.
    pub duplicates: Vec<Duplicate>,
    /// Mean of the training images' values in 0..1, one a channel, every image weighing the same.
    pub mean: Vec<f64>,
    /// Their standard deviation around it.
    pub std: Vec<f64>,
}

/// Two images of the same content: the same file, byte by byte, or, where images are no files, the same pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Part and [short name](Dataset::short_name) of the first one.
    pub first: (&'static str, String),
    /// Of the second one, in a later part.
    pub second: (&'static str, String),
}

/// What is kept of an image.
struct Look {
    content: [u8; 32],
    /// What is damaged.
    damage: Option<String>,
    /// Sums over pixels of value and squared value in 0..1, a channel, divided by the number of pixels.
    moments: Vec<[f64; 2]>,
}

impl Splits {
    /// Decodes every image on `threads` threads (0: one a processor). `progress(done, total)` is called after each, from
    /// any of them.
    pub fn inspect(&self, threads: usize, progress: &(dyn Fn(usize, usize) + Sync)) -> Inspection {
        let total = self.named().map(|(_, part)| part.len()).sum();
        let done = AtomicUsize::new(0);
        let (mut bad, mut damaged, mut duplicates) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: HashMap<[u8; 32], (&'static str, String)> = HashMap::new();
        let mut sums = vec![[0.0; 2]; self.train.channels()];
        let mut used = 0.0;
        for (name, part) in self.named() {
            let look = |i: usize| {
                let look = look(part, i);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                look
            };
            for (i, look) in parallel::map(part.len(), threads, look).into_iter().enumerate() {
                let Ok(look) = look.inspect_err(|error| bad.push(part.bad_image(i, error))) else { continue };
                if let Some(damage) = look.damage {
                    damaged.push(part.bad_image(i, &Error::image(part.name_of(i), damage)));
                }
                let second = (name, part.short_name(i));
                match seen.get(&look.content) {
                    Some(first) if first.0 != name => duplicates.push(Duplicate { first: first.clone(), second }),
                    Some(_) => {}
                    None => _ = seen.insert(look.content, second),
                }
                if name == "train" {
                    used += 1.0;
                    for (sum, moments) in sums.iter_mut().zip(&look.moments) {
                        sum[0] += moments[0];
                        sum[1] += moments[1];
                    }
                }
            }
        }
        let mean: Vec<f64> = sums.iter().map(|sum| sum[0] / used).collect();
        let std = sums.iter().zip(&mean).map(|(sum, mean)| (sum[1] / used - mean * mean).max(0.0).sqrt()).collect();
        Inspection { bad, damaged, duplicates, mean, std }
    }
}

fn look(part: &Dataset, i: usize) -> Result<Look, Error> {
    let image = part.checked_image(i)?;
    let moments = moments(&image);
    let Some(path) = part.path(i) else {
        return Ok(Look { content: Sha256::digest(&image.pixels).into(), damage: None, moments });
    };
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    Ok(Look { content: Sha256::digest(&bytes).into(), damage: jpeg::damage(&bytes), moments })
}

fn moments(image: &Image) -> Vec<[f64; 2]> {
    let pixels = (image.width * image.height) as f64;
    let mut sums = vec![[0_u64; 2]; image.channels];
    for pixel in image.pixels.chunks_exact(image.channels) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            let value = u64::from(*value);
            sum[0] += value;
            sum[1] += value * value;
        }
    }
    sums.iter().map(|sum| [sum[0] as f64 / 255.0 / pixels, sum[1] as f64 / (255.0 * 255.0) / pixels]).collect()
}
