//! The same arguments give the same bits, whatever the number of threads, whoever else computes, whatever ran before.
//!
//! Sums split among threads, parts that two threads write, and scratch memory with an earlier call's values in it would
//! all show here.

mod reference;
mod support;

use ktg_kernels::{
    Affine, Attention, BackwardPass, Conv2d, Depthwise, Each, EachBf16, Fused, Kernels, NormGradients, SgdStep,
    Statistics, Window,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use reference::convolution::Convolution;
use reference::norm::Maps;
use reference::pooling::MaxPool;
use support::bf16::{last, unwritten};
use support::{Returning, all_levels, assert_same, values};

/// A call with fixed arguments. The numbers of one call's results follow each other.
struct Job {
    name: String,
    run: Box<dyn Fn(Kernels) -> Vec<f32> + Send + Sync>,
}

impl Job {
    fn new(name: String, run: impl Fn(Kernels) -> Vec<f32> + Send + Sync + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    fn run(&self, kernels: Kernels) -> Vec<f32> {
        (self.run)(kernels)
    }
}

/// What to fill operands with.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Random,
    /// Leaves scratch memory behind in which everything is NaN.
    Nan,
}

impl Fill {
    fn values(self, seed: u64, len: usize) -> Vec<f32> {
        match self {
            Fill::Random => values(seed, len),
            Fill::Nan => vec![f32::NAN; len],
        }
    }
}

/// Forward and both gradients.
fn convolution(case: Convolution, fill: Fill) -> Vec<Job> {
    let shape = case.shape();
    let operands =
        move || [shape.input_len(), shape.weight_len(), shape.output_len()].map(|len| fill.values(len as u64, len));
    let [[x, w, _], [_, w2, g], [x3, _, g3]] = [operands(), operands(), operands()];
    let name = |operation: &str| format!("{operation} {case:?} {fill:?}");
    vec![
        Job::new(name("forward"), move |k| k.conv(&shape, &x, &w).unwrap()),
        Job::new(name("backward data"), move |k| k.conv_backward_data(&shape, &g, &w2).unwrap()),
        Job::new(name("backward weights"), move |k| k.conv_backward_weights(&shape, &x3, &g3).unwrap()),
    ]
}

/// Forward and both gradients, with a zero behind the image and none before.
fn depthwise(batch: usize, channels: usize, image: [usize; 2], (kernel, stride): (usize, usize)) -> Vec<Job> {
    let shape = Depthwise::new(batch, channels, image, Window { kernel, stride, padding: 0 }, 1).unwrap();
    let operands = move || [shape.input_len(), shape.weight_len(), shape.output_len()].map(|len| values(1, len));
    let [[x, w, _], [_, w2, g], [x3, _, g3]] = [operands(), operands(), operands()];
    let name = |operation: &str| format!("{operation} {shape:?}");
    vec![
        Job::new(name("forward"), move |k| k.depth(&shape, &x, &w).unwrap()),
        Job::new(name("backward data"), move |k| k.depth_backward_data(&shape, &g, &w2).unwrap()),
        Job::new(name("backward weights"), move |k| k.depth_backward_weights(&shape, &x3, &g3).unwrap()),
    ]
}

fn conv(batch: usize, [input, output]: [usize; 2], image: [usize; 2], window: (usize, usize, usize)) -> Convolution {
    let (kernel, stride, padding) = window;
    Convolution { batch, input, output, image, window: Window { kernel, stride, padding }, after: padding }
}

/// Training, then backward from its results.
fn batch_norm(maps: Maps) -> Job {
    let [x, residual, gradient] = [1, 2, 3].map(|seed| values(seed, maps.len()));
    let [weight, bias] = [4, 5].map(|seed| values(seed, maps.channels));
    Job::new(format!("batch norm {maps:?}"), move |k| {
        let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
        let fused = Fused { residual: Some(&residual), relu: true };
        let result = k.norm_train(&maps.shape(), &x, affine, fused).unwrap();
        let statistics = Statistics { mean: &result.mean, variance: &result.variance };
        let inference = k.norm_inference(&maps.shape(), &x, affine, statistics, fused).unwrap();
        let pass = BackwardPass {
            x: &x,
            weight: &weight,
            epsilon: 1e-5,
            statistics,
            from_batch: true,
            relu_output: Some(&result.output),
        };
        let gradients = k.norm_backward(&maps.shape(), &pass, &gradient, true).unwrap();
        let residual = gradients.residual.unwrap();
        [
            inference,
            gradients.x,
            gradients.weight,
            gradients.bias,
            residual,
            result.output,
            result.mean,
            result.variance,
        ]
        .concat()
    })
}

fn pooling(case: MaxPool, maps: Maps) -> Vec<Job> {
    let shape = case.shape();
    let (x, gradient) = (values(1, shape.input_len()), values(2, shape.output_len()));
    let max_pool = Job::new(format!("max pool {case:?}"), move |k| {
        [k.pool_max(&shape, &x).unwrap(), k.pool_max_backward(&shape, &x, &gradient).unwrap()].concat()
    });
    let (x, gradient) = (values(3, maps.len()), values(4, maps.batch * maps.channels));
    let average = Job::new(format!("global average pool {maps:?}"), move |k| {
        let shape = maps.shape();
        [k.pool_mean(&shape, &x).unwrap(), k.pool_mean_backward(&shape, &gradient).unwrap()].concat()
    });
    vec![max_pool, average]
}

fn sgd(len: usize) -> Job {
    let [parameters, gradient, velocity] = [1, 2, 3].map(|seed| values(seed, len));
    Job::new(format!("SGD of {len}"), move |k| {
        let (mut w, mut v) = (parameters.clone(), velocity.clone());
        let step = SgdStep {
            learning_rate: 0.1,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 1e-3,
            scale: 1.0,
            first: false,
        };
        k.sgd(step, &mut w, &gradient, &mut v).unwrap();
        [w, v].concat()
    })
}

/// Layer norm, GELU and scaled channels, then backward.
fn layers_of_transformers(maps: Maps) -> Job {
    let [x, gradient] = [1, 2].map(|seed| values(seed, maps.len()));
    let [weight, bias] = [3, 4].map(|seed| values(seed, maps.channels));
    Job::new(format!("layers of transformers {maps:?}"), move |k| {
        let (shape, affine) = (maps.shape(), Affine { weight: &weight, bias: &bias, epsilon: 1e-5 });
        let [mut y, mut z, mut activated, mut dx] = [(); 4].map(|()| vec![f32::NAN; maps.len()]);
        let [mut of_weight, mut of_bias, mut of_scale, mut sums] = [(); 4].map(|()| vec![f32::NAN; maps.channels]);
        k.layer_norm(&shape, &x, affine, &mut y).unwrap();
        k.each(Each::Gelu, &mut activated, &y).unwrap();
        k.scale_channels(&shape, &activated, &weight, Some(&x), &mut z).unwrap();
        k.add_channel_bias(&shape, &bias, &mut z).unwrap();
        k.channel_sums(&shape, &gradient, &mut sums).unwrap();
        k.scale_channels_backward(&shape, &activated, &weight, &gradient, &mut dx, &mut of_scale).unwrap();
        k.each(Each::GeluBackward, &mut dx, &y).unwrap();
        let gradients = NormGradients { result: &mut dx, x: None, weight: &mut of_weight, bias: &mut of_bias };
        k.layer_norm_backward(&shape, &x, affine, gradients).unwrap();
        [y, z, dx, of_weight, of_bias, of_scale, sums].concat()
    })
}

/// The same in bf16, and depthwise convolutions.
fn layers_in_bf16(maps: Maps, image: [usize; 2]) -> Job {
    let (shape, window) = (maps.shape(), Window { kernel: 3, stride: 1, padding: 1 });
    let depthwise = Depthwise::new(maps.batch, maps.channels, image, window, 1).unwrap();
    let [x, gradient] = [1, 2].map(|seed| last(&shape, &values(seed, maps.len())));
    let [weight, bias] = [3, 4].map(|seed| values(seed, maps.channels));
    let filters = values(5, depthwise.weight_len());
    Job::new(format!("layers in bf16 {maps:?}"), move |k| {
        let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
        let [mut seen, mut y, mut z, mut activated, mut dx] = [(); 5].map(|()| unwritten(maps.len()));
        let mut of_filters = vec![f32::NAN; filters.len()];
        let [mut of_weight, mut of_bias, mut of_scale, mut sums] = [(); 4].map(|()| vec![f32::NAN; maps.channels]);
        k.depthwise_bf16(&depthwise, &x, &filters, &mut seen).unwrap();
        k.layer_norm_bf16(&shape, &seen, affine, &mut y).unwrap();
        k.each_bf16(EachBf16::Gelu, &mut activated, &y).unwrap();
        k.scale_channels_bf16(&shape, &activated, &weight, Some(&x), &mut z).unwrap();
        k.add_channel_bias_bf16(&shape, &bias, &mut z).unwrap();
        k.channel_sums_bf16(&shape, &gradient, &mut sums).unwrap();
        k.scale_channels_backward_bf16(&shape, &activated, &weight, &gradient, &mut dx, &mut of_scale).unwrap();
        k.each_bf16(EachBf16::GeluBackward, &mut dx, &y).unwrap();
        let gradients = NormGradients { result: &mut dx, x: None, weight: &mut of_weight, bias: &mut of_bias };
        k.layer_norm_backward_bf16(&shape, &seen, affine, gradients).unwrap();
        k.depthwise_backward_weights_bf16(&depthwise, &x, &dx, &mut of_filters).unwrap();
        k.depthwise_backward_data_bf16(&depthwise, &dx, &filters, &mut y).unwrap();
        let maps = [y, z, dx].concat().iter().map(|x| x.to_f32()).collect();
        [maps, of_filters, of_weight, of_bias, of_scale, sums].concat()
    })
}

fn attention(shape: Attention) -> Job {
    let (qkv, gradient) = (values(1, shape.qkv_len()), values(2, shape.result_len()));
    let of_map = values(3, shape.map_len());
    Job::new(format!("{shape:?}"), move |k| {
        let (mut y, mut map) = (vec![f32::NAN; gradient.len()], vec![f32::NAN; of_map.len()]);
        let mut of_qkv = vec![f32::NAN; qkv.len()];
        k.attention(&shape, &qkv, &mut y).unwrap();
        k.class_attention(&shape, &qkv, &mut map).unwrap();
        k.attention_backward(&shape, &qkv, &gradient, &mut of_qkv).unwrap();
        k.class_attention_backward(&shape, &qkv, &of_map, &mut of_qkv).unwrap();
        [y, map, of_qkv].concat()
    })
}

/// Every operation and all convolution algorithms, large enough to be shared among threads and small enough to be
/// repeated often.
fn jobs() -> Vec<Job> {
    let convolutions = [
        conv(3, [16, 24], [18, 21], (3, 1, 1)),
        conv(1, [8, 40], [9, 9], (3, 1, 1)),
        conv(2, [3, 16], [17, 15], (3, 1, 1)),
        conv(3, [16, 20], [15, 14], (3, 2, 1)),
        conv(2, [40, 33], [9, 11], (1, 1, 0)),
        conv(2, [3, 17], [29, 31], (7, 2, 3)),
        conv(35, [40, 70], [2, 2], (3, 1, 1)),
        conv(1, [70, 80], [3, 3], (3, 1, 1)),
        conv(2, [20, 24], [31, 29], (3, 2, 1)),
        conv(3, [20, 24], [9, 11], (1, 2, 0)),
    ];
    let mut jobs: Vec<Job> = convolutions.into_iter().flat_map(|case| convolution(case, Fill::Random)).collect();
    jobs.extend(depthwise(5, 37, [9, 11], (3, 1)));
    jobs.extend(depthwise(3, 20, [70, 80], (5, 2)));
    jobs.push(batch_norm(Maps { batch: 3, channels: 21, pixels: 143 }));
    let window = Window { kernel: 3, stride: 2, padding: 1 };
    jobs.extend(pooling(MaxPool { planes: 23, image: [17, 15], window }, Maps { batch: 4, channels: 70, pixels: 50 }));
    jobs.push(sgd(150_001));
    jobs.push(layers_of_transformers(Maps { batch: 3, channels: 60, pixels: 2500 }));
    jobs.push(layers_of_transformers(Maps { batch: 20, channels: 300, pixels: 1 }));
    jobs.push(layers_in_bf16(Maps { batch: 3, channels: 60, pixels: 2500 }, [25, 100]));
    jobs.push(layers_in_bf16(Maps { batch: 20, channels: 300, pixels: 4 }, [2, 2]));
    jobs.push(attention(Attention::new(3, 3, 20, 100).unwrap()));
    jobs
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// The result on a thread that has computed nothing before, and so has no scratch memory.
fn fresh(job: &Job, kernels: Kernels) -> Vec<f32> {
    pool(1).install(|| job.run(kernels))
}

/// 200 times on the fastest level, whose code for threads is that of all levels; a few times on the others.
#[test]
fn the_number_of_threads_changes_nothing() {
    let pools = [1, 2, 3, 5].map(pool);
    for kernels in all_levels() {
        let rounds = if kernels.level() == Kernels::new().level() { 50 } else { 3 };
        for job in jobs() {
            let expected = fresh(&job, kernels);
            for pool in &pools {
                for round in 0..rounds {
                    let found = pool.install(|| job.run(kernels));
                    let threads = pool.current_num_threads();
                    assert_same(
                        format_args!("{} {kernels:?}, {threads} threads, {round}", job.name),
                        &found,
                        &expected,
                    );
                }
            }
        }
    }
}

/// The ways that only many channels take, on the fastest level.
#[test]
fn the_number_of_threads_changes_nothing_for_many_channels() {
    let kernels = Kernels::new();
    let pools = [1, 2, 3, 5].map(pool);
    for case in [conv(2, [8, 920], [24, 28], (3, 1, 1)), conv(4, [208, 216], [20, 14], (3, 1, 1))] {
        for job in convolution(case, Fill::Random) {
            let expected = fresh(&job, kernels);
            for (pool, round) in pools.iter().flat_map(|pool| (0..3).map(move |round| (pool, round))) {
                let found = pool.install(|| job.run(kernels));
                let threads = pool.current_num_threads();
                assert_same(format_args!("{} {kernels:?}, {threads} threads, {round}", job.name), &found, &expected);
            }
        }
    }
}

/// Four threads, outside of any pool of their own, that all do all jobs, each beginning with another one.
#[test]
fn concurrent_calls_do_not_meet() {
    let kernels = Kernels::new();
    let jobs = jobs();
    let expected: Vec<Vec<f32>> = jobs.iter().map(|job| fresh(job, kernels)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (jobs, expected) = (&jobs, &expected);
            scope.spawn(move || {
                for i in 0..10 * jobs.len() {
                    let i = (i + thread * jobs.len() / 4) % jobs.len();
                    let what = format_args!("{} {kernels:?}, one of four threads", jobs[i].name).to_string();
                    assert_same(what, &jobs[i].run(kernels), &expected[i]);
                }
            });
        }
    });
}

/// Whatever a call leaves in the scratch memory, be it larger, smaller, of the other algorithm or NaN, the next one's
/// results are those of a fresh thread.
#[test]
fn earlier_calls_leave_nothing_behind() {
    let large = [
        conv(2, [40, 24], [24, 27], (3, 1, 1)),
        conv(2, [24, 40], [25, 23], (3, 2, 1)),
        conv(2, [3, 16], [40, 40], (7, 2, 3)),
        conv(2, [20, 24], [31, 29], (3, 2, 1)),
        conv(2, [18, 20], [12, 13], (1, 1, 0)),
    ];
    let small = [
        conv(1, [9, 11], [5, 7], (3, 1, 1)),
        conv(1, [8, 8], [3, 3], (3, 1, 1)),
        conv(1, [5, 10], [7, 5], (3, 2, 1)),
        conv(1, [3, 9], [11, 9], (7, 2, 3)),
        conv(1, [11, 3], [4, 4], (1, 1, 0)),
        conv(1, [10, 1], [4, 6], (3, 1, 1)),
    ];
    let others: Vec<Job> = large
        .iter()
        .chain(&small)
        .flat_map(|case| [Fill::Nan, Fill::Random].into_iter().flat_map(|fill| convolution(*case, fill)))
        .collect();
    let tested: Vec<Job> =
        small.iter().chain(&large).flat_map(|case| convolution(*case, Fill::Random)).chain(jobs()).collect();
    for kernels in all_levels() {
        let expected: Vec<Vec<f32>> = tested.iter().map(|job| fresh(job, kernels)).collect();
        for threads in [1, 2] {
            pool(threads).install(|| {
                for (i, (job, expected)) in tested.iter().zip(&expected).enumerate() {
                    // Every job after a third of the others: which third, changes.
                    for other in others.iter().skip(i % 3).step_by(3) {
                        other.run(kernels);
                        let what = format_args!("{} after {} {kernels:?}", job.name, other.name).to_string();
                        assert_same(what, &job.run(kernels), expected);
                    }
                }
            });
        }
    }
}

/// Maps of all sizes, of few and of many channels, alone and beside others: the number of images decides how many lie in a
/// vector, how tiles are shared out, whether weights are read once.
#[test]
fn an_images_result_does_not_depend_on_the_batch_where_that_is_asked_for() {
    let windows =
        [(3, 1), (3, 2), (1, 1), (1, 2)].map(|(kernel, stride)| Window { kernel, stride, padding: kernel / 2 });
    for (channels, sides) in [(20, 1..=9), (20, 28..=29), (130, 1..=5), (520, 2..=3), (640, 8..=8)] {
        for (window, side) in windows.into_iter().flat_map(|window| sides.clone().map(move |side| (window, side))) {
            let shape = |batch| Conv2d::new(batch, channels, 40, [side, side], window).unwrap().for_any_batch();
            let all = shape(37);
            let (x, w) = (values(1, all.input_len()), values(2, all.weight_len()));
            for kernels in all_levels() {
                let together = kernels.conv(&all, &x, &w).unwrap();
                for batch in [1, 5, 20] {
                    let some = shape(batch);
                    let beside = kernels.conv(&some, &x[..some.input_len()], &w).unwrap();
                    assert_same(format_args!("{kernels:?} {some:?}"), &beside, &together[..beside.len()]);
                }
            }
        }
    }
}

/// Sums of depthwise convolutions are over a pixel's own taps, in their order.
#[test]
fn an_images_depthwise_result_does_not_depend_on_the_batch() {
    for (channels, side) in [(37, 5), (20, 14), (16, 90), (3, 33)] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (7, 1)] {
            let window = Window { kernel, stride, padding: kernel / 2 };
            let shape = |batch| Depthwise::new(batch, channels, [side, side], window, kernel / 2).unwrap();
            let all = shape(9);
            let (x, w, g) = (values(1, all.input_len()), values(2, all.weight_len()), values(3, all.output_len()));
            for kernels in all_levels() {
                let (y, dx) =
                    (kernels.depth(&all, &x, &w).unwrap(), kernels.depth_backward_data(&all, &g, &w).unwrap());
                for batch in [1, 4] {
                    let some = shape(batch);
                    let beside = kernels.depth(&some, &x[..some.input_len()], &w).unwrap();
                    assert_same(format_args!("{kernels:?} {some:?}"), &beside, &y[..beside.len()]);
                    let beside = kernels.depth_backward_data(&some, &g[..some.output_len()], &w).unwrap();
                    assert_same(format_args!("{kernels:?} {some:?}, to images"), &beside, &dx[..beside.len()]);
                }
            }
        }
    }
}
