//! Max-pool and global average pool.

use ktg_kernels::{Pool, Window};

use super::norm::Maps;

/// The shape of a max-pool, with fields that tests may read.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    pub planes: usize,
    /// `[height, width]`
    pub image: [usize; 2],
    pub window: Window,
}

impl MaxPool {
    pub fn shape(&self) -> Pool {
        Pool::new(self.planes, self.image, self.window).expect("a valid shape")
    }

    /// For every result the index of the value that it is: the first maximum in row-major order, or the first NaN.
    pub fn winners(&self, x: &[f32]) -> Vec<usize> {
        let Window { kernel, stride, padding } = self.window;
        let [height, width] = self.image;
        let [rows, columns] = self.image.map(|side| (side + 2 * padding - kernel) / stride + 1);
        let mut winners = Vec::new();
        for (plane, row, column) in
            (0..self.planes).flat_map(|p| (0..rows).flat_map(move |r| (0..columns).map(move |c| (p, r, c))))
        {
            let mut winner: Option<usize> = None;
            for (ky, kx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                // Padding takes no part, so it must not win over negative values.
                let y = (row * stride + ky).checked_sub(padding).filter(|y| *y < height);
                let x_ = (column * stride + kx).checked_sub(padding).filter(|x| *x < width);
                let (Some(y), Some(x_)) = (y, x_) else { continue };
                let i = (plane * height + y) * width + x_;
                if winner.is_none_or(|w| x[i] > x[w] || (x[i].is_nan() && !x[w].is_nan())) {
                    winner = Some(i);
                }
            }
            winners.push(winner.expect("every window sees a pixel"));
        }
        winners
    }

    pub fn backward(&self, x: &[f32], gradient: &[f64]) -> Vec<f64> {
        let mut dx = vec![0.0; x.len()];
        self.winners(x).iter().zip(gradient).for_each(|(winner, g)| dx[*winner] += g);
        dx
    }
}

/// The mean of every plane.
pub fn global_average(maps: Maps, x: &[f64]) -> Vec<f64> {
    x.chunks(maps.pixels).map(|plane| plane.iter().sum::<f64>() / maps.pixels as f64).collect()
}

pub fn global_average_backward(maps: Maps, gradient: &[f64]) -> Vec<f64> {
    gradient.iter().flat_map(|g| vec![g / maps.pixels as f64; maps.pixels]).collect()
}
