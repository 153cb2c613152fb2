//! Statistics of runs, of graphs in a study and of an ensemble's confidence, from plain numbers.
//!
//! What is worth knowing of all of it:
//!
//! - **Not a number.** Values have to be finite. A NaN or an infinity among them, or lists that do not fit each other,
//!   give `None`: nothing is left out silently. The one exception is [`ordering`], for which a NaN is a result.
//! - **Levels** of intervals and p-values are shares (0.95, 0.03), not percent. All p-values are two-sided, except
//!   where there is only one side.
//! - **Permutation.** A permutation p-value asks how often shuffled data are at least as extreme as the real data. All
//!   shuffles are looked at where there are at most `rounds` of them, and the p-value is exact. Otherwise `rounds`
//!   random ones are drawn, and the p-value is (b + 1) / (rounds + 1), b of them being as extreme (Phipson and Smyth,
//!   "Permutation p-values should never be zero", 2010). Sums whose difference is rounding count as equally extreme.
//! - **Repeatable.** The same numbers and the same seed give the same draws on every machine.
//!
//! A p-value tells how well chance alone explains a difference, not how large or how useful the difference is: show the
//! difference and its interval beside it. Whoever asks many questions of the same data adjusts their p-values with
//! [`holm`] or [`benjamini_hochberg`].

mod difference;
mod enrichment;
mod importance;
mod multiple;
mod ordering;
mod ped_anova;
mod ranks;
mod reliability;
mod shuffle;
mod summary;

pub use difference::{Paired, paired};
pub use enrichment::{Enrichment, enrichment};
pub use importance::{CategoryRank, Importance, importance};
pub use multiple::{benjamini_hochberg, holm};
pub use ordering::ordering;
pub use ped_anova::ped_anova;
pub use reliability::{Reliability, ReliabilityBin, reliability};
pub use summary::{Interval, Summary, summary};

/// Whether all values are numbers that one can calculate with.
fn finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Differences below this share of the numbers that they come from are rounding.
const ROUNDING: f64 = 1e-12;

/// The largest absolute value.
fn magnitude<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}
