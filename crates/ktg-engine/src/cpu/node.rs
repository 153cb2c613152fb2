//! A network at work on the CPU.

use ktg_kernels::{Arena, Kernels, SgdStep};
use ktg_net::{Network, Op, Role, ShapeError, StateDict, Value, WeightsError};

use super::backward::{Learner, backward};
use super::forward::{Context, FITS, Moments, forward};
use super::memory::Memory;
use super::plan::{Output, Plan};
use crate::node::Buffer;
use crate::optimizer::{MOMENTUM, check_state};
use crate::parameters::Layout;
use crate::{Images, Job, Map, Node, OptimizerState, OutputGradients, Outputs, Scratch, Sgd, Wanted};

/// A network at work on `ktg-kernels`.
pub struct CpuNode {
    network: Network,
    kernels: Kernels,
    layout: Layout,
    /// Parameters and running statistics.
    values: Arena,
    /// SGD's velocities, in the same layout; absent before the first step, and without momentum.
    momentum: Option<Arena>,
    /// By tensor, whether it has a gradient.
    learns: Vec<bool>,
    trained: bool,
    job: Plan,
    /// Without the attention branch's logits, and with them.
    inference: [Plan; 2],
    /// What outlives a forward pass.
    kept: Buffer,
    /// By layer, what batch norms saw in the last training pass.
    moments: Vec<Option<Moments>>,
}

impl CpuNode {
    /// A node with all weights zero, for images of the given height and width.
    ///
    /// # Errors
    ///
    /// If the images are too small for the network.
    pub fn new(network: Network, image: [usize; 2], job: Job, kernels: Kernels) -> Result<Self, ShapeError> {
        let layout = Layout::new(&network);
        let plan = Plan::of_job(&network, image, job)?;
        let inference = |wanted| Plan::of_job(&network, image, Job { wanted, ..Job::INFERENCE });
        let inference = [inference(Wanted::MAP)?, inference(Wanted::ALL)?];
        let with_gradient: Vec<usize> = plan.layers_with_gradient().collect();
        let is_learned = |p: &ktg_net::Parameter| p.role == Role::Learned && with_gradient.contains(&p.layer);
        let learns = layout.parameters.iter().map(is_learned).collect();
        let moments = network.layers.iter().map(|layer| match layer.op {
            Op::BatchNorm { channels } if job.trained => {
                Some(Moments { mean: vec![0.0; channels], variance: vec![0.0; channels] })
            }
            _ => None,
        });
        Ok(Self {
            kernels,
            values: Arena::new(layout.len()),
            momentum: None,
            learns,
            trained: job.trained,
            job: plan,
            inference,
            kept: Buffer::default(),
            moments: moments.collect(),
            layout,
            network,
        })
    }

    /// Numbers that the node itself keeps for each image of a batch, and those in the shared scratch memory, in a
    /// training step.
    pub fn memory_per_image(&self) -> [usize; 2] {
        [self.job.kept, self.job.shared]
    }
}

/// The outputs of a pass as host arrays.
fn outputs(network: &Network, plan: &Plan, memory: &Memory) -> Outputs {
    let shape = |value: Value| plan.shapes[value.index()];
    let find = |wanted: Option<Value>| {
        let output = plan.outputs.iter().find(|output| Some(output.value) == wanted)?;
        Some(memory.get((output.place, shape(output.value).len())).to_vec())
    };
    let map = shape(network.attention_map);
    Outputs {
        logits: find(Some(network.logits)).expect("logits are always wanted"),
        attention_logits: network.attention_logits.and_then(|value| find(Some(value))),
        attention_map: find(Some(network.attention_map)).map(|data| Map { data, height: map.height, width: map.width }),
    }
}

impl Node for CpuNode {
    fn network(&self) -> &Network {
        &self.network
    }

    fn weights(&self) -> StateDict {
        self.layout.to_dict(&self.values, |_| true)
    }

    fn set(&mut self, name: &str, values: &[f32]) {
        self.values[self.layout.named(name)].copy_from_slice(values);
    }

    fn optimizer_state(&self) -> OptimizerState {
        let velocities = |momentum: &Arena| self.layout.to_dict(momentum, |i| self.learns[i]);
        self.momentum.iter().map(|momentum| (MOMENTUM.to_owned(), velocities(momentum))).collect()
    }

    fn load_optimizer_state(&mut self, state: &OptimizerState, origin: &str) -> Result<(), WeightsError> {
        check_state(&self.layout.parameters, state, origin)?;
        self.momentum = state.get(MOMENTUM).filter(|dict| !dict.is_empty()).map(|dict| {
            let mut momentum = Arena::new(self.layout.len());
            for (name, array) in dict {
                momentum[self.layout.named(name)].copy_from_slice(&array.data);
            }
            momentum
        });
        Ok(())
    }

    fn forward(&mut self, images: Images, scratch: &mut Scratch) -> Outputs {
        let Self { network, layout, values, kernels, job: plan, kept, moments, .. } = self;
        let kept = kept.at_least(plan.kept * images.count);
        let shared = scratch.values.at_least(plan.shared * images.count);
        let mut memory = Memory { images: images.data, kept, shared, count: images.count };
        let context = Context { network, layout, plan, kernels: *kernels };
        forward(context, values, &mut memory, moments);
        outputs(network, plan, &memory)
    }

    fn infer(&self, images: Images, wanted: Wanted, scratch: &mut Scratch) -> Outputs {
        let Self { network, layout, values, kernels, inference, .. } = self;
        let plan = &inference[usize::from(wanted.attention_logits)];
        let shared = scratch.values.at_least(plan.shared * images.count);
        let mut memory = Memory { images: images.data, kept: &mut [], shared, count: images.count };
        forward(Context { network, layout, plan, kernels: *kernels }, values, &mut memory, &mut []);
        let all = outputs(network, plan, &memory);
        Outputs { attention_map: all.attention_map.filter(|_| wanted.attention_map), ..all }
    }

    fn backward(&mut self, images: Images, at_outputs: &OutputGradients, scratch: &mut Scratch) {
        self.go_back(images, at_outputs, scratch, None);
    }

    fn learn(&mut self, images: Images, at_outputs: &OutputGradients, rule: Sgd, scratch: &mut Scratch) {
        let step = self.sgd_step(rule);
        self.go_back(images, at_outputs, scratch, Some(step));
        self.move_statistics(images.count);
    }

    fn gradients(&self, scratch: &Scratch) -> StateDict {
        self.layout.to_dict(scratch.gradients.get(), |i| self.learns[i])
    }

    fn update(&mut self, images: usize, rule: Sgd, scratch: &Scratch) {
        if !self.trained {
            return;
        }
        self.move_statistics(images);
        let step = self.sgd_step(rule);
        let gradients = scratch.gradients.get();
        for i in (0..self.learns.len()).filter(|&i| self.learns[i]) {
            let range = self.layout.range(i);
            let velocity = self.momentum.as_deref_mut().map_or(&mut [][..], |momentum| &mut momentum[range.clone()]);
            self.kernels.sgd(step, &mut self.values[range.clone()], &gradients[range], velocity).expect(FITS);
        }
    }
}

impl CpuNode {
    /// The rule as the kernel has it; makes room for its memory.
    fn sgd_step(&mut self, rule: Sgd) -> SgdStep {
        let first = self.momentum.is_none();
        if first && rule.momentum != 0.0 && self.learns.contains(&true) {
            self.momentum = Some(Arena::new(self.layout.len()));
        }
        SgdStep {
            learning_rate: rule.learning_rate as f32,
            momentum: rule.momentum as f32,
            weight_decay: rule.weight_decay as f32,
            first,
        }
    }

    /// The gradients of all layers, or with a step only of one layer at a time, which moves by it at once.
    fn go_back(&mut self, images: Images, at_outputs: &OutputGradients, scratch: &mut Scratch, step: Option<SgdStep>) {
        let Self { network, layout, values, momentum, kernels, job: plan, kept, moments, .. } = self;
        let gradients = if step.is_some() { layout.largest_layer() } else { layout.len() };
        let gradients = scratch.gradients.at_least(gradients);
        let kept = kept.at_least(plan.kept * images.count);
        let shared = scratch.values.at_least(plan.shared * images.count);
        let mut memory = Memory { images: images.data, kept, shared, count: images.count };
        for Output { value, gradient, .. } in &plan.outputs {
            let Some(place) = gradient else { continue };
            let given = at_outputs.of(network, *value).expect("a gradient for each output that the job says has one");
            memory.split((*place, plan.shapes[value.index()].len()), []).0.copy_from_slice(given);
        }
        let step = step.map(|step| (step, momentum.as_deref_mut().unwrap_or_default()));
        let learner = Learner { parameters: values, gradients, step };
        backward(Context { network, layout, plan, kernels: *kernels }, &mut memory, moments, learner);
    }

    /// `running += 0.1 (batch - running)`, with the unbiased variance, as in PyTorch.
    fn move_statistics(&mut self, images: usize) {
        let share = Op::NORM_MOMENTUM;
        for call in &self.job.calls {
            let layer = call.call.layer;
            let Some(moments) = &self.moments[layer] else { continue };
            let [_, _, mean, variance] = self.layout.of_layer(layer);
            blend(&mut self.values[mean], &moments.mean, share);
            let count = (images * self.job.shapes[call.call.gives.index()].pixels()) as f64;
            // One value a channel has no unbiased variance; PyTorch refuses it, we keep the biased one (zero).
            let unbias = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
            blend(&mut self.values[variance], &moments.variance, share * unbias);
        }
    }
}

/// `running * 0.9 + batch * added`
fn blend(running: &mut [f32], batch: &[f32], added: f64) {
    let kept = (1.0 - Op::NORM_MOMENTUM) as f32;
    running.iter_mut().zip(batch).for_each(|(running, batch)| *running = *running * kept + batch * added as f32);
}
