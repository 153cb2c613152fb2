//! The account of a step: how long it spends on which kind of layer, next to the least that this machine could need.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use ktg_engine::account::{Part, Timing};
use ktg_kernels::{Algorithm, Each, Kernels, Window};
use ktg_net::Op;

/// What this machine does at most, on the threads of the pool.
pub struct Machine {
    /// Multiply-adds a second, of a loop of nothing else; and of products in bf16.
    pub multiply_adds: f64,
    pub multiply_adds_bf16: f64,
    /// Bytes a second, read and written one after the other from memory.
    pub bytes: f64,
}

impl Machine {
    /// Measures it.
    pub fn measure(kernels: Kernels) -> Self {
        // Far more than a cache holds.
        let (mut to, from) = (vec![1.0f32; 1 << 26], vec![1.0f32; 1 << 26]);
        let mut sum = f64::INFINITY;
        for _ in 0..20 {
            let start = Instant::now();
            kernels.each(Each::Add, black_box(&mut to), &from).expect("valid arguments");
            sum = sum.min(start.elapsed().as_secs_f64());
        }
        let bytes = (3 * to.len() * size_of::<f32>()) as f64 / sum;
        Self { multiply_adds: kernels.peak(), multiply_adds_bf16: kernels.peak_bf16(), bytes }
    }

    /// Seconds that a call takes at least: for its products, or for its values if they come from memory.
    fn bound(&self, timing: &Timing) -> f64 {
        let products = timing.convolution.map_or(0.0, |shape| match timing.part {
            Part::Update | Part::Sum => 0.0,
            _ if timing.in_bf16 => shape.multiply_adds() as f64 / self.multiply_adds_bf16,
            _ => shape.multiply_adds_done() as f64 / self.multiply_adds,
        });
        let bytes = timing.bytes as f64 / self.bytes;
        products.max(bytes)
    }
}

/// Prints the account of so many steps that took so many seconds.
pub fn print(timings: &[Timing], steps: u64, seconds: f64, machine: &Machine) {
    let mut kinds: BTreeMap<(Part, String), (f64, f64, usize)> = BTreeMap::new();
    for timing in timings {
        let (time, bound, calls) = kinds.entry((timing.part, kind(timing))).or_default();
        *time += timing.seconds;
        *bound += machine.bound(timing);
        *calls += 1;
    }
    let steps = steps as f64;
    println!(
        "{:.1} ms a step; {:.0} GFLOP/s, {:.0} in bf16, {:.1} GB/s at most",
        seconds * 1e3 / steps,
        2.0 * machine.multiply_adds / 1e9,
        2.0 * machine.multiply_adds_bf16 / 1e9,
        machine.bytes / 1e9
    );
    println!("| part | kind | calls | ms | share | least possible | reached |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    let mut rest = seconds;
    for ((part, kind), (time, bound, calls)) in kinds {
        rest -= time;
        println!(
            "| {} | {kind} | {} | {:.2} | {:.1} % | {:.2} | {:.0} % |",
            name(part),
            calls as f64 / steps,
            time * 1e3 / steps,
            100.0 * time / seconds,
            bound * 1e3 / steps,
            100.0 * bound / time
        );
    }
    println!(
        "| rest | losses, statistics, copies | | {:.2} | {:.1} % | | |",
        rest * 1e3 / steps,
        100.0 * rest / seconds
    );
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Forward => "forward",
        Part::Again => "again",
        Part::ToImages => "to images",
        Part::ToWeights => "to weights",
        Part::Backward => "backward",
        Part::Sum => "sum",
        Part::Update => "update",
    }
}

/// What is counted together.
fn kind(timing: &Timing) -> String {
    if matches!(timing.part, Part::Update | Part::Sum) {
        return "all".to_owned();
    }
    match (&timing.op, timing.convolution) {
        (Op::Linear { .. }, _) => "fully connected".to_owned(),
        (_, Some(shape)) => {
            let Window { kernel, stride, .. } = shape.window();
            let algorithm = match shape.algorithm() {
                _ if timing.in_bf16 => "bf16",
                Algorithm::Winograd => "Winograd",
                Algorithm::Direct => "implicit GEMM",
                Algorithm::SmallMaps => "small maps",
            };
            let strided = if stride == 1 { String::new() } else { format!(" stride {stride}") };
            format!("{kernel}x{kernel}{strided}, {algorithm}, {} px", timing.shape.height)
        }
        (Op::BatchNorm { .. }, _) => "batch norm".to_owned(),
        (Op::LayerNorm { .. }, _) => "layer norm".to_owned(),
        (Op::Gelu, _) => "gelu".to_owned(),
        (Op::MaxPool { .. }, _) => "max-pool".to_owned(),
        (Op::GlobalAveragePool | Op::MeanSquare, _) => "means".to_owned(),
        (Op::Attend | Op::Sigmoid, _) => "attention".to_owned(),
        (Op::Attention { .. } | Op::ClassAttention { .. }, _) => "attention of tokens".to_owned(),
        (Op::ClassToken { .. } | Op::Positions { .. } | Op::FirstToken, _) => "tokens".to_owned(),
        (Op::Depthwise { kernel, stride, .. }, _) => {
            let strided = if *stride == 1 { String::new() } else { format!(" stride {stride}") };
            format!("depthwise {kernel}x{kernel}{strided}, {} px", timing.shape.height)
        }
        (Op::LayerScale { .. } | Op::DropPath { .. }, _) => "scales".to_owned(),
        (Op::Add | Op::Relu | Op::Relu6 | Op::Conv2d { .. }, _) => "sums and activations".to_owned(),
    }
}
