//! A network at work on the CPU.

use ktg_kernels::{Arena, Kernels};
use ktg_net::{Network, NormStyle, Op, Parameter, Role, ShapeError, StateDict, Value};

use super::backward::backward;
use super::bf16;
use super::context::{Context, Moments};
use super::forward::forward;
use super::learner::Learner;
use super::memory::Memory;
use super::plan::{Output, Plan};
use super::update::{GradientSum, Memories};
use crate::node::Buffer;
use crate::optimizer::{check_state, norm};
use crate::parameters::Layout;
use crate::{
    EngineError, Images, Job, Map, Node, OptimizerState, OutputGradients, Outputs, Precision, Rule, Scratch, Wanted,
};

/// A network at work on `ktg-kernels`.
pub struct CpuNode {
    network: Network,
    kernels: Kernels,
    layout: Layout,
    /// Parameters and running statistics.
    values: Arena,
    memories: Memories,
    sum: GradientSum,
    /// By tensor, whether it moves with its gradient.
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
    /// A node with all weights zero, for images of the given height and width. In bf16 it computes its job only: it is asked in f32.
    ///
    /// # Errors
    ///
    /// If the images are too small for the network.
    pub fn new(
        network: Network,
        image: [usize; 2],
        job: Job,
        kernels: Kernels,
        precision: Precision,
    ) -> Result<Self, ShapeError> {
        let layout = Layout::new(&network);
        let plan = Plan::of_job(&network, image, job, precision)?;
        let inference = |wanted| Plan::of_job(&network, image, Job { wanted, ..Job::INFERENCE }, Precision::F32);
        let inference = [inference(Wanted::MAP)?, inference(Wanted::ALL)?];
        let with_gradient: Vec<usize> = plan.layers_with_gradient().collect();
        let is_learned = |p: &Parameter| {
            p.role == Role::Learned && with_gradient.contains(&p.layer) && !network.layers[p.layer].frozen
        };
        let learns = layout.parameters.iter().map(is_learned).collect();
        let moments = network.layers.iter().map(|layer| match layer.op {
            Op::BatchNorm { channels, .. } if job.trained && !layer.frozen => {
                Some(Moments { mean: vec![0.0; channels], variance: vec![0.0; channels] })
            }
            _ => None,
        });
        Ok(Self {
            kernels,
            values: Arena::new(layout.len()),
            memories: Memories::default(),
            sum: GradientSum::default(),
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

    /// Places of f32 numbers that the node itself keeps for each image of a batch, and those in the shared scratch memory, in
    /// a training step.
    pub fn memory_per_image(&self) -> [usize; 2] {
        [self.job.kept, self.job.shared]
    }
}

/// The outputs of a pass as host arrays.
fn outputs(context: Context, memory: &Memory) -> Outputs {
    let Context { network, plan, .. } = context;
    let find = |wanted: Option<Value>| {
        let output = plan.outputs.iter().find(|output| Some(output.value) == wanted)?;
        let values = memory.get(context.span(output.value, output.place));
        Some(bf16::widen(context, output.value, values, memory.count).into_owned())
    };
    let map = context.shape(network.attention_map);
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

    fn weights(&self) -> Result<StateDict, EngineError> {
        Ok(self.layout.to_dict(&self.values, |_| true))
    }

    fn set(&mut self, name: &str, values: &[f32]) -> Result<(), EngineError> {
        self.values[self.layout.named(name)].copy_from_slice(values);
        Ok(())
    }

    fn optimizer_state(&self) -> Result<OptimizerState, EngineError> {
        Ok(self.memories.to_state(&self.layout, &self.learns))
    }

    fn load_optimizer_state(&mut self, state: &OptimizerState, origin: &str) -> Result<(), EngineError> {
        check_state(&self.layout.parameters, state, origin)?;
        self.memories = Memories::of_state(&self.layout, state);
        Ok(())
    }

    fn forward(&mut self, images: Images, scratch: &mut Scratch) -> Result<Outputs, EngineError> {
        let Self { network, layout, values, kernels, job: plan, kept, moments, trained, .. } = self;
        let kept = kept.at_least(plan.kept * images.count);
        let shared = scratch.values.at_least(plan.shared * images.count);
        let mut memory = Memory { images: images.data, kept, shared, count: images.count };
        let draws = trained.then_some(images.draws);
        let context = Context { network, layout, plan, kernels: *kernels, for_any_batch: !*trained, draws };
        forward(context, values, &mut memory, moments);
        Ok(outputs(context, &memory))
    }

    fn infer(&self, images: Images, wanted: Wanted, scratch: &mut Scratch) -> Result<Outputs, EngineError> {
        let Self { network, layout, values, memories, kernels, inference, .. } = self;
        let values = memories.average.as_ref().unwrap_or(values);
        let plan = &inference[usize::from(wanted.attention_logits)];
        let shared = scratch.values.at_least(plan.shared * images.count);
        let mut memory = Memory { images: images.data, kept: &mut [], shared, count: images.count };
        let context = Context { network, layout, plan, kernels: *kernels, for_any_batch: true, draws: None };
        forward(context, values, &mut memory, &mut []);
        let all = outputs(context, &memory);
        Ok(Outputs { attention_map: all.attention_map.filter(|_| wanted.attention_map), ..all })
    }

    fn backward(
        &mut self,
        images: Images,
        at_outputs: &OutputGradients,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        self.go_back(images, at_outputs, scratch, None);
        Ok(())
    }

    fn learn(
        &mut self,
        images: Images,
        at_outputs: &OutputGradients,
        rule: Rule,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        let all_first = rule.clip_norm.is_some() || !self.sum.is_empty();
        if all_first {
            self.go_back(images, at_outputs, scratch, None);
            return self.update(images.count, rule, scratch);
        }
        self.go_back(images, at_outputs, scratch, Some(rule));
        self.move_statistics(images.count);
        self.move_average(rule);
        Ok(())
    }

    fn gradients(&self, scratch: &Scratch) -> Result<StateDict, EngineError> {
        Ok(self.layout.to_dict(scratch.gradients.get(), |i| self.learns[i]))
    }

    fn update(&mut self, images: usize, rule: Rule, scratch: &Scratch) -> Result<(), EngineError> {
        if !self.trained {
            return Ok(());
        }
        self.move_statistics(images);
        let (mut gradients, mut mean) = (scratch.gradients.get(), 1.0);
        if !self.sum.is_empty() {
            self.sum.add(&gradients[..self.layout.len()]);
            (gradients, mean) = self.sum.take();
        }
        let learned: Vec<usize> = (0..self.learns.len()).filter(|&i| self.learns[i]).collect();
        let all = learned.iter().map(|&i| &gradients[self.layout.range(i)]);
        let mut updates = self.memories.updates(self.kernels, rule, self.layout.len());
        updates.scale = mean * rule.scale(|| f64::from(mean) * norm(all));
        for i in learned {
            let range = self.layout.range(i);
            updates.tensor(i, range.clone(), &mut self.values[range.clone()], &gradients[range]);
        }
        self.move_average(rule);
        Ok(())
    }

    fn accumulate(&mut self, images: usize, scratch: &Scratch) -> Result<(), EngineError> {
        if self.trained {
            self.move_statistics(images);
            self.sum.add(&scratch.gradients.get()[..self.layout.len()]);
        }
        Ok(())
    }
}

impl CpuNode {
    /// The gradients of all layers, or with a rule only of one layer at a time, which moves by it at once.
    fn go_back(&mut self, images: Images, at_outputs: &OutputGradients, scratch: &mut Scratch, rule: Option<Rule>) {
        let Self { network, layout, values, memories, kernels, job: plan, kept, moments, .. } = self;
        let gradients = if rule.is_some() { layout.largest_layer() } else { layout.len() };
        let gradients = scratch.gradients.at_least(gradients);
        let kept = kept.at_least(plan.kept * images.count);
        let shared = scratch.values.at_least(plan.shared * images.count);
        let mut memory = Memory { images: images.data, kept, shared, count: images.count };
        let draws = Some(images.draws);
        let context = Context { network, layout, plan, kernels: *kernels, for_any_batch: false, draws };
        for Output { value, gradient, .. } in &plan.outputs {
            let Some(place) = gradient else { continue };
            let given = at_outputs.of(network, *value).expect("a gradient for each output that the job says has one");
            bf16::put(context, *value, given, *place, &mut memory);
        }
        let updates = rule.map(|rule| memories.updates(*kernels, rule, layout.len()));
        let learner = Learner { parameters: values, gradients, updates };
        backward(context, &mut memory, moments, learner);
    }

    /// Lets the moving average follow, if the rule has one.
    fn move_average(&mut self, rule: Rule) {
        if let Some(share) = rule.new_share() {
            self.memories.follow(&self.values, share);
        }
    }

    /// `running += momentum (batch - running)`, with the unbiased variance, as in PyTorch.
    fn move_statistics(&mut self, images: usize) {
        for call in &self.job.calls {
            let layer = call.call.layer;
            let style = self.network.layers[layer].op.norm_style();
            let (Some(moments), Some(momentum)) = (&self.moments[layer], style.map(NormStyle::momentum)) else {
                continue;
            };
            let kept = (1.0 - momentum) as f32;
            let [_, _, mean, variance] = self.layout.of_layer(layer);
            blend(&mut self.values[mean], kept, &moments.mean, momentum);
            let count = (images * self.job.shapes[call.call.gives.index()].pixels()) as f64;
            // One value a channel has no unbiased variance; PyTorch refuses it, we keep the biased one (zero).
            let unbias = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
            blend(&mut self.values[variance], kept, &moments.variance, momentum * unbias);
        }
    }
}

/// `running * kept + batch * added`
fn blend(running: &mut [f32], kept: f32, batch: &[f32], added: f64) {
    running.iter_mut().zip(batch).for_each(|(running, batch)| *running = *running * kept + batch * added as f32);
}
