//! What every call of a kernel took, for the account of a step's time (`ktg-bench --account`).

use std::cell::RefCell;
use std::time::Instant;

use ktg_kernels::Conv2d;
use ktg_net::{Op, Shape, Value};

use super::bf16;
use super::call::Call;
use super::context::Context;

thread_local! {
    /// The calls of this thread since it began to record; `None` where it does not.
    static TIMINGS: RefCell<Option<Vec<Timing>>> = const { RefCell::new(None) };
}

/// What a call was part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Forward.
    Forward,
    /// A result that the forward pass did not keep, computed again.
    Again,
    /// A convolution's gradient of its images.
    ToImages,
    /// A convolution's gradient of its weights.
    ToWeights,
    /// Any other operation's way back.
    Backward,
    /// The sum of the gradients of a value that several layers read.
    Sum,
    /// The optimizer's step.
    Update,
}

/// A call of a kernel.
#[derive(Clone, Debug)]
pub struct Timing {
    /// What it was part of.
    pub part: Part,
    /// The operation of its layer.
    pub op: Op,
    /// Shape of what the layer reads of one image.
    pub shape: Shape,
    /// The convolution, if it was one.
    pub convolution: Option<Conv2d>,
    /// Whether it was computed in bf16.
    pub in_bf16: bool,
    /// Bytes of the values that it reads and writes, each counted once.
    pub bytes: usize,
    /// What it took.
    pub seconds: f64,
}

/// Records the calls of this thread from now on.
pub fn record() {
    TIMINGS.set(Some(Vec::new()));
}

/// The calls that were recorded. Nothing is recorded any more then.
pub fn recorded() -> Vec<Timing> {
    TIMINGS.take().unwrap_or_default()
}

/// Measures a call, where calls are recorded.
pub(crate) struct Clock(Option<Instant>);

impl Clock {
    pub fn start() -> Self {
        let records = TIMINGS.with_borrow(|timings| timings.is_some());
        Self(records.then(Instant::now))
    }

    /// The call, of so many images, is done. (An optimizer's step has none.)
    pub fn stop(self, context: Context, part: Part, call: &Call, count: usize) {
        let Some(start) = self.0 else { return };
        let seconds = start.elapsed().as_secs_f64();
        let (op, shape) = (context.op(call).clone(), context.shape(call.reads[0]));
        let convolution =
            matches!(op, Op::Conv2d { .. } | Op::Linear { .. }).then(|| context.convolution(&op, shape, count.max(1)));
        let (in_bf16, bytes) = (bf16::is_for(context, call), bytes(context, part, call, count));
        let timing = Timing { part, op, shape, convolution, in_bf16, bytes, seconds };
        TIMINGS.with_borrow_mut(|timings| timings.as_mut().expect("the clock saw it").push(timing));
    }
}

/// Bytes that a call reads and writes: weights and their gradients are f32.
fn bytes(context: Context, part: Part, call: &Call, count: usize) -> usize {
    // Values of f32, or as much memory.
    let len = |value: &Value| context.format(*value).room(context.shape(*value).len()) * count;
    let (reads, gives) = (call.reads.iter().map(len).sum::<usize>(), len(&call.gives));
    let learned = || context.layout.learned_of_layer(call.layer).map(|(_, range)| range.len()).sum::<usize>();
    let values = match (part, context.op(call)) {
        // A sum and what is added to it.
        (Part::Sum, _) => 3 * len(&call.reads[0]),
        // As of SGD with momentum: weights and momentum are read and written, gradients read.
        (Part::Update, _) => 5 * learned(),
        (_, Op::Conv2d { .. } | Op::Depthwise { .. } | Op::Linear { .. }) => reads + gives + learned(),
        (Part::Backward, op) => {
            let (needed, needs_result) = call.needs(op);
            let forward: usize = call.reads.iter().take(needed).map(len).sum();
            forward + (1 + usize::from(needs_result)) * gives + reads
        }
        _ => reads + gives,
    };
    values * size_of::<f32>()
}
