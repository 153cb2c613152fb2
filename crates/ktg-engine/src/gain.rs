//! Where bf16 is faster than f32: what `train.precision = "auto"` goes by.

use crate::{Choice, Device, Devices, chosen};

/// Measured on processors with AMX, by `bench/bf16-gain`: `architecture,side,ratio`, the time of a training step in f32 over that in
/// bf16. There is no row yet, as no machine of ours had AMX.
const MEASURED: &str = include_str!("bf16-gain.csv");

/// The ratio from which on bf16 is taken.
const ENOUGH: f64 = 1.3;

/// Whether bf16 is at least 1.3 times as fast as f32 for training networks of an architecture on images of a side: on the CPU, with AMX,
/// and measured.
pub fn bf16_gains(architecture: &str, side: usize) -> bool {
    has_tiles() && is_enough(MEASURED, architecture, side)
}

/// Whether training in bf16 may be faster than in f32 with what was chosen: on a GPU, or with AMX.
pub fn bf16_may_gain() -> bool {
    Devices::chosen().kind() != Device::Cpu.kind() || has_tiles()
}

/// Whether the kernels that were chosen compute on the CPU, with AMX.
fn has_tiles() -> bool {
    match chosen() {
        Choice::Kernels(kernels) => {
            Devices::chosen().kind() == Device::Cpu.kind() && kernels.bf16_instructions() == Some("AMX")
        }
        Choice::Reference => false,
    }
}

fn is_enough(table: &str, architecture: &str, side: usize) -> bool {
    table.lines().any(|line| match line.split(',').collect::<Vec<_>>()[..] {
        [name, measured_side, ratio] => {
            name == architecture
                && measured_side.parse() == Ok(side)
                && ratio.parse().is_ok_and(|ratio: f64| ratio >= ENOUGH)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_to_be_faster_counts() {
        let table = "architecture,side,ratio\nabn-resnet-18,224,2.1\nabn-resnet-18,32,1.29\nresnet-50,224,1.3\n";
        assert!(is_enough(table, "abn-resnet-18", 224) && is_enough(table, "resnet-50", 224));
        for (architecture, side) in
            [("abn-resnet-18", 32), ("abn-resnet-18", 64), ("resnet-18", 224), ("architecture", 0)]
        {
            assert!(!is_enough(table, architecture, side), "{architecture} {side}");
        }
    }

    #[test]
    fn the_table_can_be_read() {
        let mut lines = MEASURED.lines();
        assert_eq!(lines.next(), Some("architecture,side,ratio"));
        for line in lines {
            let [architecture, side, ratio] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(architecture.parse::<ktg_net::Architecture>().is_ok(), "{line}");
            assert!(side.parse::<usize>().is_ok() && ratio.parse::<f64>().is_ok_and(|ratio| ratio > 0.0), "{line}");
        }
    }
}
