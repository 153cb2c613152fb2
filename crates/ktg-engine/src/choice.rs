//! Which code computes: one choice for the whole process, like the number of threads.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use ktg_kernels::{Kernels, Level};
use ktg_net::Network;

use crate::{Computing, CpuNode, Device, Devices, EngineError, Job, Node, Precision, ReferenceNode};

/// What computes the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The kernels, at a level that this machine has.
    Kernels(Kernels),
    /// The definitions, plain and slow.
    Reference,
}

/// The environment variable that makes the choice where [`choose`] has not.
pub const VARIABLE: &str = "KTG_KERNELS";

/// A choice that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No such name.
    #[error("`{0}` names no kernels; choose auto, reference, portable, neon, avx2 or avx512")]
    Unknown(String),
    /// The processor lacks the instructions.
    #[error("this processor has no {0}; choose auto, or one of: reference, {1}")]
    Unavailable(&'static str, String),
    /// Networks have been made already, or the choice was made before.
    #[error("the kernels were chosen before")]
    Late,
}

impl FromStr for Choice {
    type Err = ChoiceError;

    /// `auto` (the best level of this machine), `reference`, `portable`, `neon`, `avx2` or `avx512`.
    fn from_str(name: &str) -> Result<Self, ChoiceError> {
        let available = || Level::available().iter().map(|level| level.name()).collect::<Vec<_>>().join(", ");
        let unavailable = |level: Level| ChoiceError::Unavailable(level.name(), available());
        match (name, Level::from_name(name)) {
            ("auto", _) => Ok(Choice::Kernels(Kernels::new())),
            ("reference", _) => Ok(Choice::Reference),
            (_, Some(level)) => Kernels::at(level).map(Choice::Kernels).ok_or_else(|| unavailable(level)),
            (_, None) => Err(ChoiceError::Unknown(name.to_owned())),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Choice::Kernels(kernels) => f.write_str(kernels.level().name()),
            Choice::Reference => f.write_str("reference"),
        }
    }
}

impl Choice {
    /// What computes in these numbers, by name: what has another one rounds otherwise.
    pub fn name_in(&self, precision: Precision) -> String {
        let instructions = match self {
            Choice::Kernels(kernels) if precision == Precision::Bf16 => kernels.bf16_instructions(),
            _ => None,
        };
        match instructions {
            Some(instructions) => format!("{self} with {instructions}"),
            None => self.to_string(),
        }
    }
}

static CHOSEN: OnceLock<Choice> = OnceLock::new();

/// Makes the choice for the whole process. Only possible before the first network.
///
/// # Errors
///
/// If another choice was made before.
pub fn choose(choice: Choice) -> Result<(), ChoiceError> {
    if *CHOSEN.get_or_init(|| choice) == choice { Ok(()) } else { Err(ChoiceError::Late) }
}

/// What was chosen: by [`choose`], else by the environment variable `KTG_KERNELS`, else `auto`.
///
/// # Panics
///
/// If the variable holds something else than [`Choice::from_str`] accepts.
pub fn chosen() -> Choice {
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(VARIABLE).unwrap_or_else(|_| "auto".to_owned());
        name.parse().unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
    })
}

/// Whether networks can be trained in these numbers on the devices and in the engine that were chosen.
pub fn computes(precision: Precision) -> bool {
    let devices = Devices::chosen();
    // The reference engine is there for its definitions, which are in f32.
    let is_reference = devices.kind() == Device::Cpu.kind() && chosen() == Choice::Reference;
    devices.compute(precision) && (precision == Precision::F32 || !is_reference)
}

/// Node `m` of a graph, for images of the given height and width, with all weights zero: on its device
/// ([`Devices::chosen`]), on the CPU in the engine that was [`chosen`].
///
/// # Errors
///
/// If the images are too small for the network, or the device fails.
///
/// # Panics
///
/// If the device or the engine does not compute in this precision ([`computes`]).
pub fn node(
    network: Network,
    image: [usize; 2],
    job: Job,
    m: usize,
    computing: Computing,
) -> Result<Box<dyn Node>, EngineError> {
    let Computing { precision, first_device } = computing;
    let device = Devices::chosen().of_node(first_device + m);
    assert!(computes(precision), "{device} does not compute in {}", precision.name());
    Ok(match (device, chosen()) {
        (Device::Cpu, Choice::Kernels(kernels)) => Box::new(CpuNode::new(network, image, job, kernels, precision)?),
        (Device::Cpu, Choice::Reference) => Box::new(ReferenceNode::new(network, image, job)?),
        #[cfg(feature = "torch")]
        (device, _) => Box::new(crate::TorchNode::new(network, image, job, precision, device)?),
        #[cfg(not(feature = "torch"))]
        (device, _) => unreachable!("without the feature there is no {device}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_wrong_ones_are_refused() {
        assert_eq!("reference".parse::<Choice>().unwrap().to_string(), "reference");
        assert_eq!("portable".parse::<Choice>().unwrap().to_string(), "portable");
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Kernels(Kernels::new()));
        assert!("sse9".parse::<Choice>().unwrap_err().to_string().contains("reference, portable, neon, avx2"));
    }
}
