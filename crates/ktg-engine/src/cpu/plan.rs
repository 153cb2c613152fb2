//! What is computed in which order, and where every value lies.

use ktg_net::{Shape, Value};

use super::call::Call;
use super::format::Format;
use super::places::Place;

/// The work of a node, for images of one size and any number of them.
pub(crate) struct Plan {
    /// By value.
    pub shapes: Vec<Shape>,
    /// By value: in which numbers it is, and its gradient.
    pub formats: Vec<Format>,
    /// By value: the batch norm (its layer) behind a convolution, whose statistics are summed up as the value is written.
    pub measured: Vec<Option<usize>>,
    /// Forward.
    pub calls: Vec<PlannedCall>,
    /// Backward, in the order in which it is done.
    pub backward: Vec<Step>,
    /// The outputs' places behind the forward pass, and those of their gradients before the backward pass.
    pub outputs: Vec<Output>,
    /// Places for f32 numbers an image that outlive the forward pass.
    pub kept: usize,
    /// Such places that a pass needs besides.
    pub shared: usize,
}

/// A call, and where everything lies.
pub(crate) struct PlannedCall {
    pub call: Call,
    /// Of [`Call::reads`].
    pub reads: Vec<Place>,
    /// Of the result. The same as that of the first value read where that is overwritten.
    pub gives: Place,
}

/// An output.
pub(crate) struct Output {
    pub value: Value,
    pub place: Place,
    /// `None` where it has no gradient.
    pub gradient: Option<Place>,
}

/// A step backward.
pub(crate) enum Step {
    /// Computes the result of a norm or a GELU again, which the forward pass did not keep.
    Again(PlannedCall),
    /// Goes back through a call.
    Back(Back),
}

/// The way back through a call.
pub(crate) struct Back {
    pub call: Call,
    /// Gradient of the result. It is overwritten where one of `targets` is here too.
    pub gradient: Place,
    /// The values read, as the forward pass had them, where the way back needs them.
    pub reads: Vec<Option<Place>>,
    /// The result, where the way back needs it.
    pub gives: Option<Place>,
    /// For each value read, where its gradient goes; `None` where nobody needs it.
    pub targets: Vec<Option<Target>>,
}

/// Where the gradient of a value that a call read goes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Where the call's own part is computed.
    pub part: Place,
    /// The sum of the parts of the value's other readers, to which it is added; `None` if this is the first part.
    pub sum: Option<Place>,
}

impl Plan {
    /// The layers that something comes back to.
    pub fn layers_with_gradient(&self) -> impl Iterator<Item = usize> {
        let layer = |step: &Step| match step {
            Step::Again(_) => None,
            Step::Back(back) => Some(back.call.layer),
        };
        self.backward.iter().filter_map(layer)
    }
}
