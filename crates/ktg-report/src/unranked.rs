//! The complete trials of a study that are not ranked: other programs may put any trials into it.

use serde::Serialize;

use crate::counted;

/// How many complete trials of a study are not ranked, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unranked {
    /// They have no parameters at all.
    pub without_parameters: usize,
    /// They have parameters, or choices of them, that the search space has not.
    pub other_parameters: usize,
    /// They lack parameters of the search space.
    pub missing_parameters: usize,
    /// They are graphs, but have no finite value.
    pub not_finite: usize,
}

impl Unranked {
    /// A sentence about them, if there are any.
    pub fn sentence(self) -> Option<String> {
        let Self { without_parameters, other_parameters, missing_parameters, not_finite } = self;
        let count = without_parameters + other_parameters + missing_parameters + not_finite;
        let reasons = counted([
            (without_parameters, "without parameters"),
            (other_parameters, "with other parameters or choices than the search space"),
            (missing_parameters, "without all parameters of the search space"),
            (not_finite, "without a finite value"),
        ]);
        (count > 0).then(|| format!("{count} complete trials are no graphs that can be ranked: {reasons}"))
    }
}
