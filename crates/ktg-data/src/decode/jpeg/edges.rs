//! JPEGs whose colour is stored at half resolution, with the edges that libjpeg gives them.
//!
//! The decoder and libjpeg enlarge colour planes with the same triangle filter. At the right and the bottom edge libjpeg
//! repeats the last sample of the image. The decoder goes on with the rest of the block, which is whatever the encoder
//! put there. So such images are decoded without the conversion to RGB, their edges are made anew from samples that the
//! filter can be undone for, and then they are converted, which takes a fifth longer than to let the decoder do it.

/// Channels of a decoded image, before and after the conversion.
const CHANNELS: usize = 3;

/// What to make anew in the planes of Cb and Cr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repair {
    /// Whether they were enlarged across.
    across: bool,
    /// The last column.
    right: bool,
    /// The last row.
    bottom: bool,
}

impl Repair {
    /// For an image with planes that have one column for `across` (1 or 2) of its own, and one row for `down`; `None` if
    /// nothing is wrong.
    pub fn new([width, height]: [usize; 2], [across, down]: [usize; 2]) -> Option<Self> {
        // In an image with an odd side, the outermost sample gives but one pixel, on its inner side.
        let is_cut = |size: usize, ratio| ratio == 2 && size.is_multiple_of(2) && !size.is_multiple_of(16);
        let (right, bottom) = (is_cut(width, across), is_cut(height, down));
        (right || bottom).then_some(Self { across: across == 2, right, bottom })
    }

    /// Makes the edges of an image in Y, Cb and Cr libjpeg's, and then the image red, green and blue.
    pub fn apply(self, pixels: &mut [u8], [width, height]: [usize; 2]) {
        for channel in [1, 2] {
            Plane { pixels, width, height, channel }.repair(self);
        }
        pulp::Arch::new().dispatch(ToRgb { pixels });
    }
}

/// One channel of an image.
struct Plane<'a> {
    pixels: &'a mut [u8],
    width: usize,
    height: usize,
    channel: usize,
}

impl Plane<'_> {
    /// The values of a row.
    fn row(&self, y: usize) -> impl Fn(usize) -> i32 {
        let row = &self.pixels[y * self.width * CHANNELS..][..self.width * CHANNELS];
        move |x| i32::from(row[x * CHANNELS + self.channel])
    }

    fn set(&mut self, x: usize, y: usize, value: i32) {
        self.pixels[(y * self.width + x) * CHANNELS + self.channel] = value.clamp(0, 255) as u8;
    }

    fn repair(&mut self, repair: Repair) {
        if repair.bottom {
            self.repair_bottom(repair.across);
        }
        if repair.right {
            let last = self.width / 2 - 1;
            for y in 0..self.height - usize::from(repair.bottom) {
                let value = sample(last, self.width, &self.row(y));
                self.set(2 * last + 1, y, value);
            }
        }
    }

    /// The last row becomes the last row of samples, enlarged only across.
    fn repair_bottom(&mut self, across: bool) {
        let (width, height) = (self.width, self.height);
        let columns = if across { width.div_ceil(2) } else { width };
        let first = height.saturating_sub(5); // the last sample is found in the four rows before the last
        let mut rows = Vec::with_capacity(4 * columns);
        for row in (first..height - 1).map(|y| self.row(y)) {
            rows.extend((0..columns).map(|i| if across { sample(i, width, &row) } else { row(i) }));
        }
        let column = |i: usize| sample((height - 1) / 2, height, &|y| rows[(y - first) * columns + i]);
        let samples: Vec<i32> = (0..columns).map(column).collect();
        for x in 0..width {
            let value = match (across, x % 2) {
                (false, _) => samples[x],
                (true, 0) => (3 * samples[x / 2] + samples[(x / 2).saturating_sub(1)] + 2) >> 2,
                (true, _) => (3 * samples[x / 2] + samples[(x / 2 + 1).min(columns - 1)] + 1) >> 2,
            };
            self.set(x, height - 1, value);
        }
    }
}

/// Sample `i` of a line, from the line enlarged to twice its length and cut to `length`.
///
/// For samples a, b, c, ... its values are a, (3a + b + 2) / 4, (3b + a + 2) / 4, (3b + c + 2) / 4, ..., rounded down. So
/// three times the third less the second is 2b or, by the rounding, one more or less; the next two give 2b as well.
fn sample(i: usize, length: usize, value: &impl Fn(usize) -> i32) -> i32 {
    if i == 0 {
        return value(0);
    }
    let [further, nearer] = [value(2 * i - 1), value(2 * i)];
    let before = 3 * nearer - further;
    if 2 * i + 2 < length {
        let after = 3 * value(2 * i + 1) - value(2 * i + 2);
        return ((before + after + 1) >> 2).clamp(0, 255);
    }
    // The last one has no next. Of two that come into question, one may not fit the sample before it.
    let previous = sample(i - 1, length, value);
    let fits = |sample| (3 * sample + previous + 2) >> 2 == nearer && (3 * previous + sample + 2) >> 2 == further;
    let low = before >> 1;
    let is_higher = before % 2 != 0 && !fits(low) && fits(low + 1);
    (low + i32::from(is_higher)).clamp(0, 255)
}

/// Y, Cb, Cr to red, green, blue, in place: compiled for each set of instructions that there may be. Without AVX2 it takes
/// four times as long.
struct ToRgb<'a> {
    pixels: &'a mut [u8],
}

impl pulp::NullaryFnOnce for ToRgb<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        to_rgb(self.pixels);
    }
}

#[inline(always)]
fn to_rgb(pixels: &mut [u8]) {
    /// Pixels at a time, so many that a compiler makes vectors of them.
    const STEP: usize = 32 * CHANNELS;
    let (blocks, rest) = pixels.as_chunks_mut::<STEP>();
    for block in blocks {
        let copy = *block; // so that what is written cannot be what is read next
        for (to, from) in block.as_chunks_mut().0.iter_mut().zip(copy.as_chunks().0) {
            set_rgb(to, from);
        }
    }
    for pixel in rest.as_chunks_mut().0 {
        let copy = *pixel;
        set_rgb(pixel, &copy);
    }
}

/// ITU-R BT.601 as in JFIF, with six binary places. Values one by one: whole pixels would be no vectors.
#[inline(always)]
fn set_rgb(to: &mut [u8; CHANNELS], from: &[u8; CHANNELS]) {
    let y = (i16::from(from[0]) << 6) + 33; // a half, and half of what products lose
    let cb = (i16::from(from[1]) - 128) << 8;
    let cr = (i16::from(from[2]) - 128) << 8;
    let product = |a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16;
    to[0] = ((y + product(cr, 22970)) >> 6).clamp(0, 255) as u8; // 1.402 * 2^14
    to[1] = ((y + product(cb, -5638) + product(cr, -11700)) >> 6).clamp(0, 255) as u8; // 0.344136, 0.714136
    to[2] = ((y + product(cb, 29032)) >> 6).clamp(0, 255) as u8; // 1.772
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane of samples, a whole number of blocks.
    struct Samples {
        columns: usize,
        values: Vec<i32>,
    }

    impl Samples {
        /// Random ones: noise, extremes, or shallow slopes.
        fn new(columns: usize, rows: usize, seed: u64) -> Self {
            let mut rng = crate::rng(seed, crate::Purpose::Augment, 0, 0);
            let mut draw = |limit| ktg_base::random::below(&mut rng, limit) as i32;
            let (kind, across, down, start) = (draw(3), draw(9) - 4, draw(9) - 4, draw(256));
            let value = |i: usize| match kind {
                0 => draw(256),
                1 => draw(2) * 255,
                _ => start + (i % columns) as i32 * across + (i / columns) as i32 * down + draw(4),
            };
            let values = (0..columns * rows).map(value).map(|value| value.clamp(0, 255)).collect();
            Self { columns, values }
        }

        fn at(&self, x: usize, y: usize) -> i32 {
            self.values[y * self.columns + x]
        }

        /// As the decoder enlarges it, from all samples.
        fn enlarged(&self, [width, height]: [usize; 2], [across, down]: [usize; 2]) -> Vec<i32> {
            let last = [self.columns - 1, self.values.len() / self.columns - 1];
            let in_column = |x: usize, y: usize| match down {
                1 => self.at(x, y),
                _ => (3 * self.at(x, y / 2) + self.at(x, neighbor(y, last[1])) + 2) >> 2,
            };
            let value = |x: usize, y: usize| match across {
                1 => in_column(x, y),
                _ => (3 * in_column(x / 2, y) + in_column(neighbor(x, last[0]), y) + 2) >> 2,
            };
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| value(x, y)).collect()
        }

        /// As libjpeg (jdsample.c) does, from the samples that lie in the image.
        fn libjpeg(&self, [width, height]: [usize; 2], [across, down]: [usize; 2]) -> Vec<i32> {
            let last = [width.div_ceil(across) - 1, height.div_ceil(down) - 1];
            let odd = |pixel: usize| (pixel % 2) as i32;
            let in_column = |x: usize, y: usize| 3 * self.at(x, y / 2) + self.at(x, neighbor(y, last[1]));
            let value = |x: usize, y: usize| match [across, down] {
                [2, _] if last[0] < 2 => self.at(x / 2, y / down),
                [2, 1] => (3 * self.at(x / 2, y) + self.at(neighbor(x, last[0]), y) + 1 + odd(x)) >> 2,
                [1, _] => (in_column(x, y) + 1 + odd(y)) >> 2,
                _ => (3 * in_column(x / 2, y) + in_column(neighbor(x, last[0]), y) + 8 - odd(x)) >> 4,
            };
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| value(x, y)).collect()
        }
    }

    /// The sample next to that of a pixel, on the pixel's side.
    fn neighbor(pixel: usize, last: usize) -> usize {
        if pixel.is_multiple_of(2) { (pixel / 2).saturating_sub(1) } else { (pixel / 2 + 1).min(last) }
    }

    #[test]
    fn repaired_planes_are_as_libjpegs() {
        let (mut values, mut off) = (0, [0; 3]);
        for (width, height) in (1..=36usize).flat_map(|width| (1..=36usize).map(move |height| (width, height))) {
            for (kind, ratio) in [[2, 1], [1, 2], [2, 2]].into_iter().enumerate() {
                let size = [width, height];
                if ratio[0] == 2 && width <= 4 {
                    continue; // no ordinary file
                }
                let [columns, rows] = [0, 1].map(|side| size[side].next_multiple_of(8 * ratio[side]) / ratio[side]);
                let samples = Samples::new(columns, rows, (3 * (width * 40 + height) + kind) as u64);
                let decoded = samples.enlarged(size, ratio);
                let mut pixels: Vec<u8> = decoded.into_iter().flat_map(|value| [7, value as u8, 9]).collect();
                if let Some(repair) = Repair::new(size, ratio) {
                    Plane { pixels: &mut pixels, width, height, channel: 1 }.repair(repair);
                }
                assert!(pixels.chunks_exact(3).all(|pixel| pixel[0] == 7 && pixel[2] == 9));
                for (i, (pixel, expected)) in pixels.chunks_exact(3).zip(samples.libjpeg(size, ratio)).enumerate() {
                    let difference = i32::from(pixel[1]).abs_diff(expected) as usize;
                    let place = [i % width, i / width];
                    assert!(difference <= 2, "{place:?} of {size:?}, {ratio:?}: {} instead of {expected}", pixel[1]);
                    values += 1;
                    off[difference] += 1;
                }
            }
        }
        eprintln!("of {values} values, {off:?} are 0, 1, 2 off");
        assert!(off[2] * 1000 < values, "of {values} values, {off:?} are 0, 1, 2 off");
    }

    #[test]
    fn only_cut_edges_are_repaired() {
        let repair = |size, ratio| Repair::new(size, ratio).map(|repair| [repair.right, repair.bottom]);
        assert_eq!(repair([348, 464], [2, 2]), Some([true, false]));
        assert_eq!(repair([347, 348], [2, 2]), Some([false, true]));
        assert_eq!(repair([348, 348], [2, 1]), Some([true, false]));
        assert_eq!(repair([348, 348], [1, 2]), Some([false, true]));
        assert_eq!(repair([4, 348], [1, 2]), Some([false, true]));
        for (size, ratio) in [([10, 10], [1, 1]), ([347, 33], [2, 2]), ([32, 48], [2, 2]), ([10, 16], [1, 2])] {
            assert_eq!(repair(size, ratio), None);
        }
    }

    #[test]
    fn colors_are_converted_as_by_libjpeg() {
        let (mut values, mut off) = (0, 0);
        let every = |step| (0..=255u8).step_by(step);
        for y in every(3) {
            let mut pixels: Vec<u8> = every(5).flat_map(|cb| every(3).flat_map(move |cr| [y, cb, cr])).collect();
            let before = pixels.clone();
            let mut without_vectors = pixels.clone();
            pulp::Arch::new().dispatch(ToRgb { pixels: &mut pixels });
            to_rgb(&mut without_vectors);
            assert_eq!(pixels, without_vectors);
            for (pixel, rgb) in before.chunks_exact(3).zip(pixels.chunks_exact(3)) {
                let [y, cb, cr] = [i32::from(pixel[0]), i32::from(pixel[1]) - 128, i32::from(pixel[2]) - 128];
                let half = 1 << 15;
                let red = y + ((91881 * cr + half) >> 16);
                let green = y + ((-22554 * cb - 46802 * cr + half) >> 16);
                let blue = y + ((116_130 * cb + half) >> 16);
                for (ours, theirs) in rgb.iter().zip([red, green, blue]) {
                    let difference = i32::from(*ours).abs_diff(theirs.clamp(0, 255));
                    assert!(difference <= 1, "{pixel:?}: {rgb:?} instead of {:?}", [red, green, blue]);
                    (values, off) = (values + 1, off + difference);
                }
            }
        }
        eprintln!("{off} of {values} values are 1 off");
        assert!(off * 100 < values, "{off} of {values}");
    }
}
