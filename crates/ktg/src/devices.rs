//! `ktg devices`: what networks can be computed on.

use std::process::Command;

use anyhow::Result;
use ktg_engine::Device;

use crate::output::{aligned, print};

pub fn run() -> Result<()> {
    let gpus = gpus();
    let row = |device: Device| {
        let [what, memory] = match device {
            Device::Cpu => [format!("this processor, by ktg's kernels ({})", ktg_engine::chosen()), main_memory()],
            Device::Torch => ["this processor, by PyTorch".to_owned(), main_memory()],
            Device::Cuda(index) => gpus.get(index).cloned().unwrap_or_else(|| ["a GPU".to_owned(), String::new()]),
            Device::Mps => ["the GPU of this Mac".to_owned(), main_memory()],
        };
        [device.to_string(), what, memory]
    };
    print(&aligned(&[0, 1], ["device", "what it is", "memory"], Device::available().into_iter().map(row)))?;
    if !cfg!(feature = "torch") {
        print("GPUs need a ktg that is built with PyTorch: docs/gpu.md")?;
    }
    Ok(())
}

/// Names and memory of the GPUs that NVIDIA's tool knows, in the order in which PyTorch counts them; empty where there is no
/// such tool, or where they are of several kinds, which CUDA orders by speed and the tool by slot.
fn gpus() -> Vec<[String; 2]> {
    let mut tool = Command::new("nvidia-smi");
    let output = tool.args(["--query-gpu=name,memory.total", "--format=csv,noheader"]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    let all = text.lines().filter_map(|line| line.rsplit_once(", ")).map(|(name, memory)| [name.into(), memory.into()]);
    let all: Vec<[String; 2]> = all.collect();
    let is_by_slot = std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID");
    if !is_by_slot && all.iter().any(|gpu| *gpu != all[0]) {
        return Vec::new();
    }
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        // Those that are visible, by their numbers; of other names nothing is known.
        Ok(visible) => visible.split(',').map_while(|i| all.get(i.trim().parse::<usize>().ok()?).cloned()).collect(),
        Err(_) => all,
    }
}

/// Memory of this machine, where the system says it.
fn main_memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    total.map_or_else(String::new, |kib| format!("{} MiB", kib / 1024))
}
