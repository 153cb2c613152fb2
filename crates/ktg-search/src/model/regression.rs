//! Bayesian linear regression.

/// What is known of one graph: its columns, its value, and what the value weighs (1: as much as any, 0: nothing).
pub(crate) struct Row {
    /// As many as there are columns.
    pub columns: Vec<f64>,
    /// The value.
    pub value: f64,
    /// Of the value.
    pub weight: f64,
}

/// Precisions of the coefficients, relative to that of a value, of which the likeliest is taken.
const PRECISIONS: [f64; 8] = [0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// A linear model `value = mean + columns * w + noise` with independent normal coefficients w of one variance and normal
/// noise. The ratio of the two variances is the one of [`PRECISIONS`] under which the values are likeliest (MacKay,
/// "Bayesian interpolation", 1992), and the noise's variance the likeliest one, given that.
pub(crate) struct Regression {
    mean: f64,
    /// The coefficients' most probable values.
    coefficients: Vec<f64>,
    /// Lower triangle, row by row, of the Cholesky factor of the coefficients' precision times the noise's variance.
    factor: Vec<Vec<f64>>,
    /// Standard deviation of the noise, of a value of weight 1.
    noise: f64,
}

impl Regression {
    /// The model of some rows, all of as many columns. `None` without rows.
    pub fn fit(rows: &[Row]) -> Option<Self> {
        let width = rows.first()?.columns.len();
        let total: f64 = rows.iter().map(|row| row.weight).sum();
        let mean = rows.iter().map(|row| row.weight * row.value).sum::<f64>() / total;
        // X'WX and X'Wy, the latter of values less their mean.
        let mut products = vec![vec![0.0; width]; width];
        let mut targets = vec![0.0; width];
        let mut squares = 0.0;
        for Row { columns, value, weight } in rows {
            let centered = value - mean;
            squares += weight * centered * centered;
            for (i, a) in columns.iter().enumerate() {
                targets[i] += weight * a * centered;
                for (product, b) in products[i][..=i].iter_mut().zip(columns) {
                    *product += weight * a * b;
                }
            }
        }
        let fit = |precision: &f64| {
            let mut matrix = products.clone();
            for (i, row) in matrix.iter_mut().enumerate() {
                row[i] += precision;
            }
            let factor = cholesky(matrix)?;
            let coefficients = solve(&factor, &targets);
            let explained: f64 = coefficients.iter().zip(&targets).map(|(w, t)| w * t).sum();
            let variance = ((squares - explained) / total).max(1e-9);
            let determinant: f64 = factor.iter().enumerate().map(|(i, row)| row[i].ln()).sum();
            let evidence = 0.5 * (width as f64 * precision.ln() - total * variance.ln()) - determinant;
            Some((evidence, Self { mean, coefficients, factor, noise: variance.sqrt() }))
        };
        let best = PRECISIONS.iter().filter_map(fit).max_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, regression)| regression)
    }

    /// The most probable value of a graph.
    pub fn predict(&self, columns: &[f64]) -> f64 {
        self.mean + dot(columns, &self.coefficients)
    }

    /// Another model that may as well be true: its coefficients are drawn from what is known of them, by as many standard
    /// normal numbers.
    pub fn draw(&self, normals: &[f64]) -> Self {
        let offsets = solve_transposed(&self.factor, normals);
        let coefficients = self.coefficients.iter().zip(offsets).map(|(w, offset)| w + self.noise * offset).collect();
        Self { coefficients, factor: Vec::new(), ..*self }
    }

    /// The number of coefficients.
    pub fn width(&self) -> usize {
        self.coefficients.len()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The lower triangle L with L L' = A, of the lower triangle of A; `None` unless A is positive definite.
fn cholesky(mut a: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for i in 0..a.len() {
        let (above, rest) = a.split_at_mut(i);
        let row = &mut rest[0];
        row.truncate(i + 1);
        for j in 0..i {
            row[j] = (row[j] - dot(&row[..j], &above[j][..j])) / above[j][j];
        }
        let pivot = row[i] - dot(&row[..i], &row[..i]);
        if pivot <= 0.0 || pivot.is_nan() {
            return None;
        }
        row[i] = pivot.sqrt();
    }
    Some(a)
}

/// x with L L' x = b.
fn solve(factor: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let mut x: Vec<f64> = Vec::with_capacity(b.len());
    for (row, b) in factor.iter().zip(b) {
        let i = x.len();
        let known = dot(&row[..i], &x);
        x.push((b - known) / row[i]);
    }
    solve_transposed(factor, &x)
}

/// x with L' x = b.
fn solve_transposed(factor: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let mut x = b.to_vec();
    for i in (0..x.len()).rev() {
        x[i] /= factor[i][i];
        let known = x[i];
        for (value, l) in x[..i].iter_mut().zip(&factor[i]) {
            *value -= l * known;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Rows of a known model: 0.5 + 2 a - b, with some noise.
    fn rows(count: usize, noise: f64) -> Vec<Row> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut row = || {
            let columns: Vec<f64> = (0..4).map(|_| rng.random_range(-1.0..1.0)).collect();
            let value = 0.5 + 2.0 * columns[0] - columns[1] + noise * rng.random_range(-1.0..1.0);
            Row { columns, value, weight: 1.0 }
        };
        (0..count).map(|_| row()).collect()
    }

    #[test]
    fn a_linear_function_is_found_and_noise_is_not_taken_for_one() {
        let exact = Regression::fit(&rows(200, 0.0)).unwrap();
        assert!((exact.predict(&[1.0, 0.0, 0.0, 0.0]) - 2.5).abs() < 0.05, "{:?}", exact.coefficients);
        let noisy = Regression::fit(&rows(200, 1.0)).unwrap();
        assert!((noisy.coefficients[0] - 2.0).abs() < 0.3 && noisy.coefficients[3].abs() < 0.3);
        // Uniform on (-1, 1): the standard deviation is 1 / sqrt 3.
        assert!((noisy.noise - 0.577).abs() < 0.06, "{}", noisy.noise);
        let mut noise = rows(300, 1.0);
        noise.iter_mut().for_each(|row| row.value -= 2.0 * row.columns[0] - row.columns[1]);
        assert!(Regression::fit(&noise).unwrap().coefficients.iter().all(|w| w.abs() < 0.15));
    }

    #[test]
    fn draws_are_spread_as_the_coefficients_are_known() {
        let regression = Regression::fit(&rows(50, 1.0)).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        // The sum of 12 uniform numbers is nearly normal.
        let mut normal = || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
        let draws: Vec<f64> = (0..4000)
            .map(|_| {
                let normals: Vec<f64> = (0..4).map(|_| normal()).collect();
                regression.draw(&normals).coefficients[0] - regression.coefficients[0]
            })
            .collect();
        let deviation = (draws.iter().map(|d| d * d).sum::<f64>() / draws.len() as f64).sqrt();
        // About noise / sqrt(n var(x)) = 0.577 / sqrt(50 / 3).
        assert!((deviation - 0.141).abs() < 0.03, "{deviation}");
    }

    #[test]
    fn what_weighs_nothing_says_nothing() {
        let mut all = rows(40, 0.1);
        all.push(Row { columns: vec![1.0; 4], value: 1e6, weight: 0.0 });
        let without = Regression::fit(&all[..40]).unwrap();
        assert_eq!(Regression::fit(&all).unwrap().coefficients, without.coefficients);
        assert!(Regression::fit(&[]).is_none());
    }
}
