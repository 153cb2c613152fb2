//! Makes plans.

use ktg_net::{Network, Op, Shape, ShapeError, Value};

use super::call::{Call, calls};
use super::format::{Format, formats};
use super::places::{Allocator, Place};
use super::plan::{Back, Output, Plan, PlannedCall, Step, Target};
use crate::{Job, Precision};

impl Plan {
    /// A node's part of a training step.
    pub fn of_job(network: &Network, image: [usize; 2], job: Job, precision: Precision) -> Result<Self, ShapeError> {
        Planner::new(network, image, job, precision).map(Planner::plan)
    }
}

/// Goes through the passes as they will be run, and gives every value a place when it comes up.
struct Planner<'a> {
    network: &'a Network,
    job: Job,
    shapes: Vec<Shape>,
    formats: Vec<Format>,
    calls: Vec<Call>,
    outputs: Vec<Value>,
    kept: Allocator,
    shared: Allocator,
    /// By value, where it lies now.
    places: Vec<Option<Place>>,
    /// By value, where its gradient lies now.
    gradients: Vec<Option<Place>>,
    /// By value, the call that gives it.
    makers: Vec<Option<usize>>,
    /// By value, how many steps of the backward pass still read it.
    uses: Vec<usize>,
}

impl<'a> Planner<'a> {
    fn new(network: &'a Network, image: [usize; 2], job: Job, precision: Precision) -> Result<Self, ShapeError> {
        let shapes = network.shapes(image)?;
        let formats = formats(network, &shapes, precision);
        let mut places = vec![None; shapes.len()];
        places[Value::IMAGES.index()] = Some(Place::Images);
        let calls = calls(network, job.wanted);
        let mut makers = vec![None; shapes.len()];
        calls.iter().enumerate().for_each(|(c, call)| makers[call.gives.index()] = Some(c));
        Ok(Self {
            network,
            job,
            calls,
            outputs: job.wanted.outputs(network),
            kept: Allocator::default(),
            shared: Allocator::default(),
            places,
            gradients: vec![None; shapes.len()],
            makers,
            uses: vec![0; shapes.len()],
            shapes,
            formats,
        })
    }

    fn plan(mut self) -> Plan {
        let learns = self.learns();
        let backward: Vec<usize> =
            (0..self.calls.len()).rev().filter(|&c| learns[self.calls[c].gives.index()]).collect();
        let keeps = self.keeps(&backward);
        let calls = self.forward(&keeps);
        let outputs: Vec<(Value, Place)> = self.outputs.iter().map(|&value| (value, self.place(value))).collect();
        for (value, place) in &outputs {
            if !keeps[value.index()] {
                self.give_back(*place);
            }
        }
        let with_gradient = |(value, place): (Value, Place)| {
            let gradient = self.has_gradient(value).then(|| self.new_gradient(value));
            Output { value, place, gradient }
        };
        let outputs = outputs.into_iter().map(with_gradient).collect();
        let backward = self.backward(&backward, &keeps, &learns);
        Plan {
            measured: self.measured(),
            shapes: self.shapes,
            formats: self.formats,
            calls,
            backward,
            outputs,
            kept: self.kept.peak,
            shared: self.shared.peak,
        }
    }

    /// In f32, no convolution sums up statistics.
    fn measured(&self) -> Vec<Option<usize>> {
        let mut measured = vec![None; self.shapes.len()];
        for (c, call) in self.calls.iter().enumerate() {
            let value = call.reads[0].index();
            let is_convolved =
                self.makers[value].is_some_and(|maker| matches!(self.op(maker), Op::Conv2d { bias: false, .. }));
            let is_norm = matches!(self.op(c), Op::BatchNorm { .. });
            if is_norm && is_convolved && self.formats[value] == Format::Bf16 {
                measured[value].get_or_insert(call.layer);
            }
        }
        measured
    }

    fn op(&self, call: usize) -> &'a Op {
        &self.network.layers[self.calls[call].layer].op
    }

    /// Places of f32 numbers that an image's value takes.
    fn len(&self, value: Value) -> usize {
        self.formats[value.index()].room(self.shapes[value.index()].len())
    }

    fn place(&self, value: Value) -> Place {
        self.places[value.index()].expect("a value is computed before it is read")
    }

    fn give_back(&mut self, place: Place) {
        match place {
            Place::Images => {}
            Place::Kept(offset) => self.kept.give_back(offset),
            Place::Shared(offset) => self.shared.give_back(offset),
        }
    }

    /// Whether some loss has a gradient at the output.
    fn has_gradient(&self, output: Value) -> bool {
        let Job { trained, wanted, logits_learn, map_learns, .. } = self.job;
        let is_branch = wanted.attention_logits && self.network.attention_logits == Some(output);
        trained
            && (is_branch
                || logits_learn && self.network.logits == output
                || map_learns && self.network.attention_map == output)
    }

    /// By value, whether it depends on parameters that are not frozen.
    fn moves(&self) -> Vec<bool> {
        let mut moves = vec![false; self.shapes.len()];
        for call in &self.calls {
            let layer = &self.network.layers[call.layer];
            let learns = !layer.frozen && layer.op.has_parameters();
            moves[call.gives.index()] = learns || call.reads.iter().any(|value| moves[value.index()]);
        }
        moves
    }

    /// By value, whether its gradient is of use: it is an output that has one, or is read on the way to such an output, and
    /// parameters that are not frozen come before it.
    fn learns(&self) -> Vec<bool> {
        let mut learns = vec![false; self.shapes.len()];
        for &output in &self.outputs {
            learns[output.index()] = self.has_gradient(output);
        }
        for call in self.calls.iter().rev().filter(|_| self.job.trained) {
            if learns[call.gives.index()] {
                call.reads.iter().for_each(|value| learns[value.index()] = true);
            }
        }
        learns.iter_mut().zip(self.moves()).for_each(|(learns, moves)| *learns &= moves);
        learns
    }

    /// By value, whether the forward pass keeps it for the backward pass.
    fn keeps(&self, backward: &[usize]) -> Vec<bool> {
        let mut keeps = vec![false; self.shapes.len()];
        for &c in backward {
            self.needed(c).into_iter().for_each(|value| keeps[value.index()] = true);
        }
        keeps[Value::IMAGES.index()] = false;
        // In order: whether a call can be repeated depends on what it reads.
        for &c in backward.iter().rev() {
            if self.can_repeat(c, backward, &keeps) {
                keeps[self.calls[c].gives.index()] = false;
            }
        }
        keeps
    }

    /// Whether the result of a call can be computed again in the backward pass from what is kept anyway: that of a norm or a GELU;
    /// but not of a batch norm if what it adds would first have to be computed from a sum, too. It costs little, and of the three
    /// values that a residual block would keep, about half are left.
    fn can_repeat(&self, call: usize, backward: &[usize], keeps: &[bool]) -> bool {
        let Call { reads, adds, .. } = &self.calls[call];
        // What it reads is kept where the backward pass goes through it.
        let is_repeated = |maker: usize| self.is_light(maker) && backward.contains(&maker);
        let is_there = |value: usize| self.makers[value].is_some_and(|maker| keeps[value] || is_repeated(maker));
        self.is_light(call) || matches!(self.op(call), Op::BatchNorm { .. }) && *adds && is_there(reads[1].index())
    }

    /// A norm or a GELU by itself.
    fn is_light(&self, call: usize) -> bool {
        let is_meant = matches!(self.op(call), Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::Gelu);
        is_meant && !self.calls[call].adds
    }

    /// Places for the forward pass.
    fn forward(&mut self, keeps: &[bool]) -> Vec<PlannedCall> {
        let mut last_reader = vec![0; self.shapes.len()];
        for (c, call) in self.calls.iter().enumerate() {
            call.reads.iter().for_each(|value| last_reader[value.index()] = c);
        }
        let mut planned = Vec::new();
        for (c, call) in self.calls.clone().into_iter().enumerate() {
            let reads: Vec<Place> = call.reads.iter().map(|&value| self.place(value)).collect();
            let dies = |value: &Value| {
                let lives_on = keeps[value.index()] || self.outputs.contains(value) || *value == Value::IMAGES;
                last_reader[value.index()] == c && !lives_on
            };
            let mut dying: Vec<Value> = call.reads.iter().copied().filter(dies).collect();
            dying.sort_unstable();
            dying.dedup();
            let is_frozen = self.network.layers[call.layer].frozen;
            let overwrites = matches!(self.op(c), Op::BatchNorm { .. })
                && (!self.job.trained || is_frozen && !keeps[call.gives.index()])
                && dying.contains(&call.reads[0])
                && call.reads.get(1) != Some(&call.reads[0]);
            let len = self.len(call.gives);
            let gives = if overwrites {
                reads[0]
            } else if keeps[call.gives.index()] {
                Place::Kept(self.kept.take(len))
            } else {
                Place::Shared(self.shared.take(len))
            };
            for value in dying {
                let place = self.place(value);
                if place != gives {
                    self.give_back(place);
                }
            }
            self.places[call.gives.index()] = Some(gives);
            planned.push(PlannedCall { call, reads, gives });
        }
        planned
    }

    /// A place for something that lives in the backward pass only: where the node's own memory has become free, else in
    /// the shared memory.
    fn new_place(&mut self, len: usize) -> Place {
        match self.kept.take_gap(len) {
            Some(offset) => Place::Kept(offset),
            None => Place::Shared(self.shared.take(len)),
        }
    }

    fn new_gradient(&mut self, value: Value) -> Place {
        let place = self.new_place(self.len(value));
        self.gradients[value.index()] = Some(place);
        place
    }

    /// Places for the backward pass through the given calls.
    fn backward(&mut self, order: &[usize], keeps: &[bool], learns: &[bool]) -> Vec<Step> {
        for &c in order {
            self.needed(c).into_iter().for_each(|value| self.count_use(value, keeps));
        }
        for (value, place) in self.places.iter_mut().enumerate() {
            if !keeps[value] && *place != Some(Place::Images) {
                *place = None;
            }
        }
        let mut steps = Vec::new();
        for &c in order {
            let needed = self.needed(c);
            needed.iter().for_each(|value| self.ensure(*value, &mut steps));
            steps.push(Step::Back(self.back(c, learns)));
            needed.into_iter().for_each(|value| self.release(value));
        }
        steps
    }

    /// Counts a step that reads a value. Where the value has to be computed again first, so do the values that this reads.
    fn count_use(&mut self, value: Value, keeps: &[bool]) {
        self.uses[value.index()] += 1;
        let is_first = self.uses[value.index()] == 1;
        if let Some(maker) = self.makers[value.index()].filter(|_| is_first && !keeps[value.index()]) {
            self.calls[maker].reads.clone().into_iter().for_each(|value| self.count_use(value, keeps));
        }
    }

    /// Has a value computed again unless it is there.
    fn ensure(&mut self, value: Value, steps: &mut Vec<Step>) {
        if self.places[value.index()].is_some() {
            return;
        }
        let maker = self.makers[value.index()].expect("only results of calls are not kept");
        let call = self.calls[maker].clone();
        call.reads.iter().for_each(|value| self.ensure(*value, steps));
        let gives = self.new_place(self.len(value));
        self.places[value.index()] = Some(gives);
        let reads = call.reads.iter().map(|value| self.place(*value)).collect();
        call.reads.iter().for_each(|value| self.release(*value));
        steps.push(Step::Again(PlannedCall { call, reads, gives }));
    }

    /// A step has read a value; after the last one its place is free.
    fn release(&mut self, value: Value) {
        self.uses[value.index()] -= 1;
        if self.uses[value.index()] == 0 {
            self.give_back(self.place(value));
        }
    }

    /// As [`Call::needs`]; weights that are frozen have no gradient, for which alone their layer's input is needed.
    fn needs(&self, c: usize) -> (usize, bool) {
        match self.op(c) {
            Op::Conv2d { .. } | Op::Depthwise { .. } | Op::Linear { .. }
                if self.network.layers[self.calls[c].layer].frozen =>
            {
                (0, false)
            }
            op => self.calls[c].needs(op),
        }
    }

    /// The values that the way back through a call needs, each once.
    fn needed(&self, c: usize) -> Vec<Value> {
        let (call, (reads, gives)) = (&self.calls[c], self.needs(c));
        let reads = call.reads[..reads].iter().copied();
        let mut values: Vec<Value> = reads.chain(gives.then_some(call.gives)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    fn back(&mut self, c: usize, learns: &[bool]) -> Back {
        let call = self.calls[c].clone();
        let op = self.op(c);
        let (needed, gives) = self.needs(c);
        let gradient = self.gradients[call.gives.index()].take().expect("a value's readers come before it");
        let mut is_taken = false;
        let mut targets: Vec<Option<Target>> = vec![None; call.reads.len()];
        let mut loose = Vec::new();
        for (i, &value) in call.reads.iter().enumerate() {
            // What an attention map weights and adds has one gradient, which the first value read stands for.
            let is_counted = matches!(op, Op::Attend) && i == 2;
            let is_written_anyway = match op {
                Op::BatchNorm { .. } => i == 0 && call.adds,
                Op::LayerScale { .. } => i == 0,
                Op::Attend => i == 1,
                _ => false,
            };
            let is_needed = learns[value.index()] && !is_counted;
            if !is_needed && !is_written_anyway {
                continue;
            }
            let [from, to] = [value, call.gives].map(|value| self.formats[value.index()]);
            let in_place = call.is_in_place(op, i) && from == to;
            is_taken |= in_place;
            let part = if in_place { gradient } else { self.new_place(self.len(value)) };
            let sum = self.gradients[value.index()].filter(|_| is_needed);
            match sum {
                None if is_needed => self.gradients[value.index()] = Some(part),
                // Only once the call is through: its other parts may still need the place.
                _ => loose.push(part),
            }
            targets[i] = Some(Target { part, sum });
        }
        if !is_taken {
            loose.push(gradient);
        }
        loose.into_iter().for_each(|place| self.give_back(place));
        let place = |(i, value): (usize, &Value)| (i < needed).then(|| self.place(*value));
        let reads = call.reads.iter().enumerate().map(place).collect();
        let gives = gives.then(|| self.place(call.gives));
        Back { call, gradient, reads, gives, targets }
    }
}
