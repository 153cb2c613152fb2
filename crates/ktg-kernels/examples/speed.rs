//! Times the convolutions, depthwise convolutions and batch norms of our networks.
//!
//! `cargo run --release -p ktg-kernels --example speed [-- FILTER [LEVEL]]` prints, for every shape, milliseconds (median of
//! many) and the rate in GFLOP/s of the plain definition: Winograd may exceed the machine's peak, which is measured too.
//! `RAYON_NUM_THREADS` sets the number of threads.

mod timing;

use std::hint::black_box;

use ktg_kernels::{
    Affine, BackwardPass, Bf16, Conv2d, Depthwise, Features, Fused, Kernels, Moving, NormGradients, Statistics, Window,
};
use timing::time;

/// batch, input, output, side, kernel, stride.
const SHAPES: [[usize; 6]; 40] = [
    [16, 64, 64, 56, 3, 1],
    [16, 128, 128, 28, 3, 1],
    [16, 256, 256, 14, 3, 1],
    [16, 256, 512, 14, 3, 1],
    [16, 512, 512, 14, 3, 1],
    [16, 512, 512, 7, 3, 1],
    [16, 3, 64, 224, 7, 2],
    [16, 64, 128, 56, 3, 2],
    [16, 128, 256, 28, 3, 2],
    [16, 256, 512, 14, 3, 2],
    [16, 64, 128, 56, 1, 2],
    [8, 64, 256, 56, 1, 1],
    [8, 256, 64, 56, 1, 1],
    [8, 1024, 256, 14, 1, 1],
    [8, 512, 2048, 7, 1, 1],
    [16, 256, 512, 14, 1, 1],
    [16, 512, 120, 14, 1, 1],
    [16, 120, 120, 14, 1, 1],
    [16, 120, 1, 14, 3, 1],
    [128, 3, 16, 32, 3, 1],
    [128, 16, 16, 32, 3, 1],
    [128, 16, 32, 32, 3, 2],
    [128, 32, 32, 16, 3, 1],
    [128, 32, 64, 16, 3, 1],
    [128, 64, 64, 16, 3, 1],
    [128, 64, 64, 8, 3, 1],
    [16, 512, 512, 4, 3, 1],
    [16, 512, 512, 2, 3, 1],
    [16, 256, 512, 4, 3, 2],
    [32, 256, 256, 2, 3, 1],
    [32, 512, 512, 2, 3, 1],
    [32, 512, 512, 1, 3, 1],
    [32, 128, 256, 4, 3, 2],
    [32, 256, 512, 2, 3, 2],
    [32, 256, 512, 2, 1, 2],
    [32, 512, 81, 1, 1, 1],
    [1, 512, 512, 14, 3, 1],
    [1, 512, 512, 7, 3, 1],
    [1, 512, 512, 4, 3, 1],
    [1, 512, 512, 2, 3, 1],
];

/// batch, channels, side, kernel, stride: of EfficientNet-Lite0 and ConvNeXt.
const DEPTHWISE: [[usize; 5]; 13] = [
    [32, 32, 80, 3, 1],
    [32, 96, 80, 3, 2],
    [32, 144, 40, 5, 2],
    [32, 240, 20, 3, 1],
    [32, 480, 10, 5, 1],
    [32, 1152, 5, 5, 1],
    [32, 96, 32, 7, 1],
    [32, 192, 16, 7, 1],
    [32, 384, 8, 7, 1],
    [32, 768, 4, 7, 1],
    [1, 32, 112, 3, 1],
    [1, 240, 28, 5, 2],
    [1, 672, 14, 5, 1],
];

/// batch, channels, pixels.
const NORMS: [[usize; 3]; 6] = [
    [16, 64, 112 * 112],
    [16, 64, 56 * 56],
    [16, 512, 14 * 14],
    [128, 16, 32 * 32],
    [128, 64, 16 * 16],
    [128, 64, 8 * 8],
];

fn main() {
    let (filter, kernels) = timing::arguments();
    println!(
        "{}, {} threads, {:.0} GFLOP/s of a loop of multiply-adds",
        kernels.level().name(),
        rayon::current_num_threads(),
        2.0 * kernels.peak() / 1e9
    );
    println!("{:28} {:>16} {:>16} {:>16}", "ms (GFLOP/s)", "forward", "to images", "to weights");
    for [batch, input, output, side, kernel, stride] in SHAPES {
        let name = format!("{batch}x{input}->{output} @{side} {kernel}x{kernel} s{stride}");
        if !name.contains(&filter) {
            continue;
        }
        let window = Window { kernel, stride, padding: kernel / 2 };
        let shape = Conv2d::new(batch, input, output, [side, side], window).expect("a valid shape");
        let (x, w, g) = (values(shape.input_len()), values(shape.weight_len()), values(shape.output_len()));
        let (mut y, mut dx, mut dw) = (g.clone(), x.clone(), w.clone());
        let times = [
            time(|| kernels.conv2d(&shape, &x, &w, black_box(&mut y)).expect("valid arguments")),
            time(|| kernels.conv2d_backward_data(&shape, &g, &w, black_box(&mut dx)).expect("valid arguments")),
            time(|| kernels.conv2d_backward_weights(&shape, &x, &g, black_box(&mut dw)).expect("valid arguments")),
        ];
        print_rates(&name, times, shape.multiply_adds());
    }
    for [batch, channels, side, kernel, stride] in DEPTHWISE {
        let name = format!("{batch}x{channels} @{side} {kernel}x{kernel} s{stride}, depthwise");
        if name.contains(&filter) {
            // As TensorFlow pads it where it halves the image.
            let border = kernel - stride;
            let window = Window { kernel, stride, padding: border / 2 };
            let shape =
                Depthwise::new(batch, channels, [side, side], window, border.div_ceil(2)).expect("a valid shape");
            print_rates(&name, depthwise_times(kernels, shape), shape.multiply_adds());
            print_rates("    in bf16", depthwise_times_bf16(kernels, shape), shape.multiply_adds());
        }
    }
    println!("{:28} {:>16} {:>16}", "ms (GB/s)", "forward", "backward");
    for [batch, channels, pixels] in NORMS {
        let name = format!("{batch}x{channels} {pixels} pixels, norm");
        if name.contains(&filter) {
            let [forward, backward] =
                norm_times(kernels, Features::new(batch, channels, pixels).expect("a valid shape"));
            println!("{name:28} {forward:>16} {backward:>16}");
        }
    }
}

/// Values without much order.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect()
}

/// A line of the table: forward, to the images, to the weights.
fn print_rates(name: &str, times: [f64; 3], multiply_adds: u128) {
    let cells = times.map(|ms| format!("{ms:8.2} ({:4.0})", 2.0 * multiply_adds as f64 / ms / 1e6));
    println!("{name:28} {:>16} {:>16} {:>16}", cells[0], cells[1], cells[2]);
}

/// Forward, to the images, to the weights.
fn depthwise_times(kernels: Kernels, shape: Depthwise) -> [f64; 3] {
    let (x, w, g) = (values(shape.input_len()), values(shape.weight_len()), values(shape.output_len()));
    let (mut y, mut dx, mut dw) = (g.clone(), x.clone(), w.clone());
    [
        time(|| kernels.depthwise(&shape, &x, &w, black_box(&mut y)).expect("valid arguments")),
        time(|| kernels.depthwise_backward_data(&shape, &g, &w, black_box(&mut dx)).expect("valid arguments")),
        time(|| kernels.depthwise_backward_weights(&shape, &x, &g, black_box(&mut dw)).expect("valid arguments")),
    ]
}

/// As `depthwise_times`.
fn depthwise_times_bf16(kernels: Kernels, shape: Depthwise) -> [f64; 3] {
    let [x, g] = [shape.input_len(), shape.output_len()]
        .map(|len| values(len).into_iter().map(Bf16::from_f32).collect::<Vec<Bf16>>());
    let w = values(shape.weight_len());
    let (mut y, mut dx, mut dw) = (g.clone(), x.clone(), w.clone());
    [
        time(|| kernels.depthwise_bf16(&shape, &x, &w, black_box(&mut y)).expect("valid arguments")),
        time(|| kernels.depthwise_backward_data_bf16(&shape, &g, &w, black_box(&mut dx)).expect("valid arguments")),
        time(|| kernels.depthwise_backward_weights_bf16(&shape, &x, &g, black_box(&mut dw)).expect("valid arguments")),
    ]
}

/// Batch norm with residual and ReLU; the rate counts every tensor read or written once.
fn norm_times(kernels: Kernels, shape: Features) -> [String; 2] {
    let (x, residual, weight) = (values(shape.len()), values(shape.len()), values(512));
    let [weight, bias] = [&weight[..shape.channels()]; 2];
    let affine = Affine { weight, bias, epsilon: 1e-5 };
    let fused = Fused { residual: Some(&residual), relu: true };
    let (mut y, mut dx, mut gradient) = (x.clone(), x.clone(), residual.clone());
    let [mut mean, mut variance, mut of_weight, mut of_bias] = [(); 4].map(|()| vec![0.0; shape.channels()]);
    let forward = time(|| {
        let statistics = Moving { mean: &mut mean, variance: &mut variance };
        kernels.batch_norm_train(&shape, &x, affine, fused, statistics, black_box(&mut y)).expect("valid arguments");
    });
    let statistics = Statistics { mean: &mean, variance: &variance };
    let pass = BackwardPass { x: &x, weight, epsilon: 1e-5, statistics, from_batch: true, relu_output: Some(&y) };
    let backward = time(|| {
        let (result, x) = (&mut gradient, Some(black_box(&mut dx[..])));
        let gradients = NormGradients { result, x, weight: &mut of_weight, bias: &mut of_bias };
        kernels.batch_norm_backward(&shape, &pass, gradients).expect("valid arguments");
    });
    [(forward, 3), (backward, 5)].map(|(ms, tensors)| {
        let bytes = tensors * shape.len() * size_of::<f32>();
        format!("{ms:8.2} ({:4.1})", bytes as f64 / ms / 1e6)
    })
}
