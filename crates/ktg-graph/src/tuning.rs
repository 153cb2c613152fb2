//! How a node learns that starts from given weights.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The part of a node's network that stays as it is. Files have it as `"backbone"` or as a list of stages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Freeze {
    /// Everything but the classifier and, where there is one, the attention branch.
    Backbone,
    /// What has these names or is in what has them, such as `conv1` and `layer1`. In the order of the alphabet, because their order
    /// means nothing.
    Stages(BTreeSet<String>),
}

/// The word in files for [`Freeze::Backbone`].
const BACKBONE: &str = "backbone";

/// What [`Freeze`] can be, for messages.
pub(crate) const FREEZE_KINDS: &str = "\"backbone\" or a list of stages such as [\"conv1\", \"bn1\", \"layer1\"]";

impl Freeze {
    /// The stages of this list.
    ///
    /// # Errors
    /// If it is empty, or a name in it is.
    pub fn stages(names: impl IntoIterator<Item = String>) -> Result<Freeze, String> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
            return Err(format!("must be {FREEZE_KINDS}; leave it out to freeze nothing"));
        }
        let is_backbone = names.len() == 1 && names.contains(BACKBONE);
        Ok(if is_backbone { Freeze::Backbone } else { Freeze::Stages(names) })
    }

    /// What a text stands for: `backbone`, or a stage.
    ///
    /// # Errors
    /// If it is empty.
    pub fn text(name: &str) -> Result<Freeze, String> {
        Freeze::stages([name.to_owned()])
    }

    /// The names that it consists of, as files write them.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Freeze::Backbone => vec![BACKBONE],
            Freeze::Stages(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Freeze::Backbone => serializer.serialize_str(BACKBONE),
            Freeze::Stages(names) => serializer.collect_seq(names),
        }
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FreezeVisitor)
    }
}

struct FreezeVisitor;

impl<'de> Visitor<'de> for FreezeVisitor {
    type Value = Freeze;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(FREEZE_KINDS)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Freeze, E> {
        Freeze::text(text).map_err(|reason| E::custom(format!("freeze {reason}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Freeze, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        Freeze::stages(names).map_err(|reason| de::Error::custom(format!("freeze {reason}")))
    }
}

/// A number from 0 up that is finite, with an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Factor {
    /// The number's bits, which have the order of the numbers where those are not negative.
    bits: u64,
}

impl Factor {
    /// `None` if the number is below 0 or not finite.
    pub fn new(number: f64) -> Option<Factor> {
        // The sum makes 0 of -0.
        (number >= 0.0 && number.is_finite()).then(|| Factor { bits: (number + 0.0).to_bits() })
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.bits)
    }
}

impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Serialize for Factor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Factor::new(number).ok_or_else(|| de::Error::custom(format!("{number} is not a number from 0 up")))
    }
}

#[cfg(test)]
mod tests {
    use super::Factor;

    #[test]
    fn factors_are_ordered_as_their_numbers() {
        let numbers = [0.0, 5e-324, 0.1, 1.0, 2.5, 1e300];
        let factors = numbers.map(|number| Factor::new(number).unwrap());
        assert!(factors.is_sorted() && factors.map(Factor::get) == numbers);
        assert_eq!(Factor::new(-0.0), Factor::new(0.0));
        assert_eq!([-1.0, f64::NAN, f64::INFINITY].map(Factor::new), [None; 3]);
    }
}
