//! Times what ConvNeXt and vision transformers need beside convolutions: layer norm, GELU, scaled channels, attention.
//!
//! `cargo run --release -p ktg-kernels --example tokens [-- FILTER [LEVEL]]` prints milliseconds, the median of many, forward and
//! backward, in f32 and, but for attention, in bf16. `RAYON_NUM_THREADS` sets the number of threads.

mod timing;

use std::hint::black_box;

use ktg_kernels::{Affine, Attention, Bf16, Each, EachBf16, Features, Kernels, NormGradients};
use timing::time;

/// batch, channels, pixels: of ConvNeXt (images of 32, 224, and the pool behind it), of ViT.
const NORMS: [[usize; 3]; 7] =
    [[32, 96, 1024], [32, 192, 65], [32, 192, 197], [32, 384, 196], [32, 768, 49], [32, 768, 4], [32, 768, 1]];

/// batch, heads, tokens.
const ATTENTIONS: [[usize; 3]; 3] = [[32, 3, 65], [32, 3, 197], [1, 3, 197]];

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect()
}

fn numbers(n: usize) -> Vec<Bf16> {
    values(n).into_iter().map(Bf16::from_f32).collect()
}

fn main() {
    let (filter, kernels) = timing::arguments();
    println!("{}, {} threads", kernels.level().name(), rayon::current_num_threads());
    println!("{:32} {:>10} {:>10}", "ms", "forward", "backward");
    let print = |name: String, times: &dyn Fn() -> [f64; 2]| {
        if name.contains(&filter) {
            let [forward, backward] = times();
            println!("{name:32} {forward:10.3} {backward:10.3}");
        }
    };
    for dims in NORMS {
        let [batch, channels, pixels] = dims;
        let shape = Features::new(batch, channels, pixels).expect("a valid shape");
        print(format!("layer norm {dims:?}"), &|| layer_norm(kernels, &shape));
        print(format!("layer norm {dims:?} bf16"), &|| layer_norm_bf16(kernels, &shape));
    }
    for dims in [[32, 96, 1024], [32, 192, 65]] {
        let shape = Features::new(dims[0], dims[1], dims[2]).expect("a valid shape");
        print(format!("scale {dims:?}"), &|| scale(kernels, &shape));
        print(format!("bias {dims:?}"), &|| bias(kernels, &shape));
        print(format!("scale {dims:?} bf16"), &|| scale_bf16(kernels, &shape));
        print(format!("bias {dims:?} bf16"), &|| bias_bf16(kernels, &shape));
    }
    print("gelu [32, 384, 1024]".into(), &|| gelu(kernels, 32 * 384 * 1024));
    print("gelu [32, 384, 1024] bf16".into(), &|| gelu_bf16(kernels, 32 * 384 * 1024));
    for dims in ATTENTIONS {
        let shape = Attention::new(dims[0], dims[1], 64, dims[2]).expect("a valid shape");
        print(format!("attention {dims:?}"), &|| attention(kernels, &shape));
        print(format!("class map {dims:?}"), &|| class_map(kernels, &shape));
    }
}

fn layer_norm(kernels: Kernels, shape: &Features) -> [f64; 2] {
    let (x, mut y, mut dx) = (values(shape.len()), values(shape.len()), values(shape.len()));
    let [weight, bias, mut of_weight, mut of_bias] = [(); 4].map(|()| values(shape.channels()));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-6 };
    let forward = time(|| kernels.layer_norm(shape, &x, affine, black_box(&mut y)).expect("valid arguments"));
    let backward = time(|| {
        let x_place = Some(black_box(&mut dx[..]));
        let gradients = NormGradients { result: &mut y, x: x_place, weight: &mut of_weight, bias: &mut of_bias };
        kernels.layer_norm_backward(shape, &x, affine, gradients).expect("valid arguments");
    });
    [forward, backward]
}

fn scale(kernels: Kernels, shape: &Features) -> [f64; 2] {
    let [x, r, mut y, mut dx] = [(); 4].map(|()| values(shape.len()));
    let (scale, mut of_scale) = (values(shape.channels()), values(shape.channels()));
    [
        time(|| kernels.scale_channels(shape, &x, &scale, Some(&r), black_box(&mut y)).expect("valid arguments")),
        time(|| {
            let to = black_box(&mut dx);
            kernels.scale_channels_backward(shape, &x, &scale, &r, to, &mut of_scale).expect("valid arguments");
        }),
    ]
}

fn bias(kernels: Kernels, shape: &Features) -> [f64; 2] {
    let (mut y, bias, mut sums) = (values(shape.len()), values(shape.channels()), values(shape.channels()));
    [
        time(|| kernels.add_channel_bias(shape, &bias, black_box(&mut y)).expect("valid arguments")),
        time(|| kernels.channel_sums(shape, black_box(&y), &mut sums).expect("valid arguments")),
    ]
}

fn gelu(kernels: Kernels, len: usize) -> [f64; 2] {
    let (x, mut y) = (values(len), values(len));
    [Each::Gelu, Each::GeluBackward].map(|with| time(|| kernels.each(with, black_box(&mut y), &x).expect("as many")))
}

fn layer_norm_bf16(kernels: Kernels, shape: &Features) -> [f64; 2] {
    let [x, mut y, mut dx] = [(); 3].map(|()| numbers(shape.len()));
    let [weight, bias, mut of_weight, mut of_bias] = [(); 4].map(|()| values(shape.channels()));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-6 };
    let forward = time(|| kernels.layer_norm_bf16(shape, &x, affine, black_box(&mut y)).expect("valid arguments"));
    let backward = time(|| {
        let x_place = Some(black_box(&mut dx[..]));
        let gradients = NormGradients { result: &mut y, x: x_place, weight: &mut of_weight, bias: &mut of_bias };
        kernels.layer_norm_backward_bf16(shape, &x, affine, gradients).expect("valid arguments");
    });
    [forward, backward]
}

fn scale_bf16(kernels: Kernels, shape: &Features) -> [f64; 2] {
    let [x, r, mut y, mut dx] = [(); 4].map(|()| numbers(shape.len()));
    let (scale, mut of_scale) = (values(shape.channels()), values(shape.channels()));
    [
        time(|| kernels.scale_channels_bf16(shape, &x, &scale, Some(&r), black_box(&mut y)).expect("valid arguments")),
        time(|| {
            let to = black_box(&mut dx);
            kernels.scale_channels_backward_bf16(shape, &x, &scale, &r, to, &mut of_scale).expect("valid arguments");
        }),
    ]
}

fn bias_bf16(kernels: Kernels, shape: &Features) -> [f64; 2] {
    let (mut y, bias, mut sums) = (numbers(shape.len()), values(shape.channels()), values(shape.channels()));
    [
        time(|| kernels.add_channel_bias_bf16(shape, &bias, black_box(&mut y)).expect("valid arguments")),
        time(|| kernels.channel_sums_bf16(shape, black_box(&y), &mut sums).expect("valid arguments")),
    ]
}

fn gelu_bf16(kernels: Kernels, len: usize) -> [f64; 2] {
    let (x, mut y) = (numbers(len), numbers(len));
    [EachBf16::Gelu, EachBf16::GeluBackward]
        .map(|with| time(|| kernels.each_bf16(with, black_box(&mut y), &x).expect("as many")))
}

fn attention(kernels: Kernels, shape: &Attention) -> [f64; 2] {
    let (qkv, mut y, mut dx) = (values(shape.qkv_len()), values(shape.result_len()), values(shape.qkv_len()));
    [
        time(|| kernels.attention(shape, &qkv, black_box(&mut y)).expect("valid arguments")),
        time(|| kernels.attention_backward(shape, &qkv, &y, black_box(&mut dx)).expect("valid arguments")),
    ]
}

fn class_map(kernels: Kernels, shape: &Attention) -> [f64; 2] {
    let (qkv, mut map, mut dx) = (values(shape.qkv_len()), values(shape.map_len()), values(shape.qkv_len()));
    [
        time(|| kernels.class_attention(shape, &qkv, black_box(&mut map)).expect("valid arguments")),
        time(|| kernels.class_attention_backward(shape, &qkv, &map, black_box(&mut dx)).expect("valid arguments")),
    ]
}
