//! Cells of tables, and p-values, that several analyses have.

use ktg_figures::stats::{Paired, holm};
use ktg_figures::table::Cell;

/// Level of confidence intervals.
pub(crate) const LEVEL: f64 = 0.95;
/// Adjusted p-values below it stand out.
pub(crate) const SIGNIFICANT: f64 = 0.05;

/// A number, if there is one.
pub(crate) fn number_or_dash(value: Option<f64>, decimals: usize) -> Cell {
    value.map_or_else(|| Cell::text("-"), |value| Cell::number(value, decimals))
}

/// Mean and deviation of differences, or why there are none.
pub(crate) fn difference(paired: Option<&Paired>, decimals: usize, missing: &str) -> Cell {
    let mean = |paired: &Paired| Cell::mean(paired.mean, Some(paired.deviation), paired.n, decimals);
    paired.map_or_else(|| Cell::missing(missing), mean)
}

/// The confidence interval of differences, such as "-5.35 to +7.35".
pub(crate) fn interval(paired: Option<&Paired>) -> Cell {
    let words = |paired: &Paired| format!("{:+.2} to {:+.2}", paired.interval.low, paired.interval.high);
    Cell::text(paired.map_or_else(|| "-".to_owned(), words))
}

/// The cells of a row; all of them stand out where its adjusted p-value is small.
pub(crate) fn emphasized_if_significant<const N: usize>(cells: [Cell; N], adjusted: Option<f64>) -> [Cell; N] {
    match adjusted {
        Some(p) if p < SIGNIFICANT => cells.map(Cell::emphasized),
        _ => cells,
    }
}

/// p-values adjusted for their number (Holm), where there are any.
pub(crate) fn adjusted_where_known(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let known: Vec<f64> = p.iter().copied().flatten().collect();
    let mut adjusted = holm(&known).unwrap_or_default().into_iter();
    p.iter().map(|p| p.and_then(|_| adjusted.next())).collect()
}
