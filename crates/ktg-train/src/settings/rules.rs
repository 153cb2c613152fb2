//! What must hold.

use crate::Error;

/// Errs with the first rule that does not hold.
pub(super) fn hold<const N: usize>(rules: [(bool, &str); N]) -> Result<(), Error> {
    let broken = rules.into_iter().find(|(holds, _)| !holds);
    broken.map_or(Ok(()), |(_, rule)| Err(Error::Setting(rule.to_owned())))
}
