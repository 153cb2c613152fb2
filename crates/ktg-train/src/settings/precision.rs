//! `train.precision`

use std::fmt;

use ktg_engine::{Precision, bf16_gains};
use serde::{Deserialize, Serialize};

/// In which type of number the networks compute while they learn: a given one, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PrecisionSetting {
    /// This one.
    Given(Precision),
    /// bf16 where that was measured to be at least 1.3 times as fast ([`bf16_gains`]), else f32. What it is, is decided once, when a
    /// run, a plan or a study is made, and kept with it.
    Auto,
}

const AUTO: &str = "auto";

impl PrecisionSetting {
    /// What `auto` is on this machine for networks of these architectures, that all of a training shall compute in the same numbers.
    pub fn decide<'a>(architectures: impl IntoIterator<Item = &'a str>, side: usize) -> Precision {
        let gains = architectures.into_iter().all(|architecture| bf16_gains(architecture, side));
        if gains { Precision::Bf16 } else { Precision::F32 }
    }

    /// The given one, `None` where it is still to be decided.
    pub fn given(self) -> Option<Precision> {
        match self {
            Self::Given(precision) => Some(precision),
            Self::Auto => None,
        }
    }
}

impl Default for PrecisionSetting {
    fn default() -> Self {
        Self::Given(Precision::default())
    }
}

impl From<Precision> for PrecisionSetting {
    fn from(precision: Precision) -> Self {
        Self::Given(precision)
    }
}

impl TryFrom<String> for PrecisionSetting {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == AUTO {
            return Ok(Self::Auto);
        }
        let given = Precision::from_name(&name).map(Self::Given);
        given.ok_or_else(|| format!("`{name}` is no precision; choose f32, bf16, f16 or auto"))
    }
}

impl From<PrecisionSetting> for String {
    fn from(setting: PrecisionSetting) -> Self {
        setting.to_string()
    }
}

impl fmt::Display for PrecisionSetting {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.given().map_or(AUTO, Precision::name))
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    #[test]
    fn names_round_trip_and_wrong_ones_are_refused() {
        for name in ["f32", "bf16", "f16", "auto"] {
            let settings = Settings::default().with("train.precision", name).unwrap();
            assert_eq!(settings.train.precision.to_string(), name);
            assert_eq!(Settings::parse(&settings.to_toml().unwrap(), "e.toml").unwrap(), settings);
        }
        let error = Settings::parse("[train]\nprecision = \"f64\"", "e.toml").unwrap_err().to_string();
        assert!(error.contains("`f64` is no precision; choose f32, bf16, f16 or auto"), "{error}");
    }
}
