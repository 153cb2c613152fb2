//! Measures whether the algorithm that a convolution is computed by is the fastest one.
//!
//! `cargo run --release -p ktg-kernels --example algorithms [-- LEVEL]` goes through a grid of shapes, times forward and both
//! gradients by each algorithm, and prints where another one takes less than 0.9 of the time, then what all of that costs.

use std::hint::black_box;
use std::time::Instant;

use ktg_kernels::{Algorithm, Conv2d, Kernels, Level, Window};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Winograd, Algorithm::Direct, Algorithm::SmallMaps];
const CHANNELS: [usize; 7] = [8, 16, 32, 64, 128, 256, 512];
const SIDES: [usize; 12] = [1, 2, 3, 4, 5, 7, 8, 14, 16, 20, 24, 28];
const BATCHES: [usize; 7] = [1, 4, 8, 16, 32, 64, 128];
/// Kernel and stride.
const WINDOWS: [[usize; 2]; 4] = [[3, 1], [3, 2], [1, 1], [1, 2]];
/// Multiply-adds above which a shape is left out: larger ones behave as the largest ones here.
const MOST: u128 = 1_000_000_000;

/// The least milliseconds of some calls.
fn time(mut call: impl FnMut()) -> f64 {
    let (begin, mut least) = (Instant::now(), f64::INFINITY);
    let mut calls = 0;
    while calls < 3 || begin.elapsed().as_secs_f64() < 0.01 {
        let start = Instant::now();
        call();
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
        calls += 1;
    }
    least
}

/// Milliseconds of forward and both gradients.
fn training(kernels: Kernels, shape: &Conv2d) -> f64 {
    let values = |n: usize| -> Vec<f32> { (0..n).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect() };
    let (x, w, g) = (values(shape.input_len()), values(shape.weight_len()), values(shape.output_len()));
    let (mut y, mut dx, mut dw) = (g.clone(), x.clone(), w.clone());
    time(|| kernels.conv2d(shape, &x, &w, black_box(&mut y)).expect("valid arguments"))
        + time(|| kernels.conv2d_backward_data(shape, &g, &w, black_box(&mut dx)).expect("valid arguments"))
        + time(|| kernels.conv2d_backward_weights(shape, &x, &g, black_box(&mut dw)).expect("valid arguments"))
}

fn main() {
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global().expect("the pool is not built yet");
    let kernels = match std::env::args().nth(1) {
        None => Kernels::new(),
        Some(name) => Level::from_name(&name).and_then(Kernels::at).expect("a level of this processor"),
    };
    println!("{}, {} threads, ms forward and both gradients", kernels.level().name(), rayon::current_num_threads());
    let (mut shapes, mut logarithms, mut worst) = (0, 0.0, 1.0f64);
    for [kernel, stride] in WINDOWS {
        for channels in CHANNELS {
            for side in SIDES {
                for batch in BATCHES {
                    let window = Window { kernel, stride, padding: kernel / 2 };
                    let shape = Conv2d::new(batch, channels, channels, [side, side], window).expect("a valid shape");
                    if shape.multiply_adds() > MOST {
                        continue;
                    }
                    let loss =
                        compare(kernels, shape, &format!("{batch}x{channels} @{side} {kernel}x{kernel} s{stride}"));
                    (shapes, logarithms, worst) = (shapes + 1, logarithms + loss.ln(), worst.max(loss));
                }
            }
        }
    }
    let mean = f64::exp(logarithms / f64::from(shapes));
    println!("{shapes} shapes; time over that of the fastest: {mean:.3} in the geometric mean, {worst:.2} at most");
}

/// How many times as long the chosen algorithm takes as the fastest.
fn compare(kernels: Kernels, shape: Conv2d, name: &str) -> f64 {
    let ways = ALGORITHMS.into_iter().filter_map(|algorithm| shape.computed_by(algorithm));
    let times: Vec<(Algorithm, f64)> = ways.map(|shape| (shape.algorithm(), training(kernels, &shape))).collect();
    let chosen = times.iter().find(|(algorithm, _)| *algorithm == shape.algorithm()).expect("it is one of all").1;
    let least = times.iter().map(|(_, time)| *time).fold(f64::INFINITY, f64::min);
    if least < 0.9 * chosen {
        let all: Vec<String> = times.iter().map(|(algorithm, time)| format!("{algorithm:?} {time:.4}")).collect();
        println!("{name}: {:?} is not the fastest of {}", shape.algorithm(), all.join(", "));
    }
    chosen / least
}
