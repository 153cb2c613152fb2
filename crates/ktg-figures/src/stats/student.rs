//! Student's t distribution.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

/// Half the width of the interval of `level` around an estimate with this standard error.
pub(super) fn half_width(error: f64, degrees: f64, level: f64) -> Option<f64> {
    if !(level > 0.0 && level < 1.0) {
        return None;
    }
    // An interval without width needs no distribution, whose degrees of freedom may be undefined.
    if error == 0.0 {
        return Some(0.0);
    }
    let half = quantile(0.5 + level / 2.0, degrees)? * error;
    half.is_finite().then_some(half)
}

/// The probability of a t at least as far from 0, on either side.
pub(super) fn two_sided(t: f64, degrees: f64) -> Option<f64> {
    let student = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let p = 2.0 * student.sf(t.abs());
    (!p.is_nan()).then(|| p.clamp(0.0, 1.0))
}

fn quantile(p: f64, degrees: f64) -> Option<f64> {
    let student = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let mut t = student.inverse_cdf(p);
    // The library stops a few digits early; Newton's steps give them.
    for _ in 0..3 {
        let next = t + (student.sf(t) - (1.0 - p)) / student.pdf(t);
        if !next.is_finite() {
            break;
        }
        t = next;
    }
    t.is_finite().then_some(t)
}
