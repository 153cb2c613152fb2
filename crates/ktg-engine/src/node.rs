//! What every engine offers: one object a network node.

use ktg_kernels::Arena;
use ktg_net::{Network, StateDict, weights};

use crate::{EngineError, Images, OptimizerState, OutputGradients, Outputs, Rule, Wanted};

/// A network at work. Images have the size for which the node was made.
///
/// # Errors
///
/// All that computes or copies fails with [`EngineError::Device`] where the device does; a node whose device has failed is of
/// no use any more.
pub trait Node: Send + Sync {
    /// The network.
    fn network(&self) -> &Network;

    /// All parameters and running statistics.
    fn weights(&self) -> Result<StateDict, EngineError>;

    /// Replaces a parameter or running statistic.
    ///
    /// # Panics
    ///
    /// Panics if the network has none of this name with as many values.
    fn set(&mut self, name: &str, values: &[f32]) -> Result<(), EngineError>;

    /// Replaces all parameters and running statistics; `origin` names them in messages.
    ///
    /// # Errors
    ///
    /// If names or shapes are not those of this network, except that `num_batches_tracked` counters are ignored. The node
    /// is unchanged then.
    fn load_weights(&mut self, dict: &StateDict, origin: &str) -> Result<(), EngineError> {
        let parameters = self.network().parameters();
        weights::check(&parameters, dict, origin)?;
        parameters.iter().try_for_each(|parameter| self.set(&parameter.name, &dict[&parameter.name].data))
    }

    /// What the optimizer remembers, and the moving averages.
    fn optimizer_state(&self) -> Result<OptimizerState, EngineError>;

    /// Puts back what [`optimizer_state`](Self::optimizer_state) gave; `origin` names it in messages.
    ///
    /// # Errors
    ///
    /// If there are arrays in it that are not those of a parameter. The node is unchanged then.
    fn load_optimizer_state(&mut self, state: &OptimizerState, origin: &str) -> Result<(), EngineError>;

    /// What the node's job wants of a batch, in a training step. A trained node runs in training mode, with the
    /// statistics of the batch, and keeps what [`backward`](Self::backward) needs; weights and running statistics stay
    /// as they are.
    fn forward(&mut self, images: Images, scratch: &mut Scratch) -> Result<Outputs, EngineError>;

    /// Begins the [`forward`](Self::forward) pass of the same images that comes next, if the engine can compute while others
    /// do: all nodes of a graph are to begin before the first one's outputs are asked for.
    fn begin_forward(&mut self, images: Images) -> Result<(), EngineError> {
        let _ = images;
        Ok(())
    }

    /// The outputs in inference mode, with the running statistics; by the moving average of all weights where the last
    /// [`update`](Self::update) kept one.
    fn infer(&self, images: Images, wanted: Wanted, scratch: &mut Scratch) -> Result<Outputs, EngineError>;

    /// Computes the gradients of the parameters, from those at the outputs of the last [`forward`](Self::forward) of the
    /// same images; they are in `scratch` then, until another node goes backward.
    fn backward(
        &mut self,
        images: Images,
        at_outputs: &OutputGradients,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError>;

    /// The gradients of the last [`backward`](Self::backward), by name; parameters that no gradient reaches have none.
    fn gradients(&self, scratch: &Scratch) -> Result<StateDict, EngineError>;

    /// [`backward`](Self::backward) and [`update`](Self::update) in one, to the same bits; an engine may change a layer's
    /// weights as soon as nobody needs them any more, and forget their gradients.
    fn learn(
        &mut self,
        images: Images,
        at_outputs: &OutputGradients,
        rule: Rule,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        self.backward(images, at_outputs, scratch)?;
        self.update(images.count, rule, scratch)
    }

    /// After [`forward`](Self::forward) of so many images and, where something learns, [`backward`](Self::backward): moves
    /// the running statistics, and the parameters that have a gradient; then their moving averages, if the rule has them.
    fn update(&mut self, images: usize, rule: Rule, scratch: &Scratch) -> Result<(), EngineError>;

    /// Takes a batch into a larger one: in place of an [`update`](Self::update), moves the running statistics and adds the
    /// gradients to a sum. The next update moves the parameters by the mean of all gradients since the last one.
    fn accumulate(&mut self, images: usize, scratch: &Scratch) -> Result<(), EngineError>;
}

/// Memory that the nodes of a graph share, because only one of them uses it at a time: gradients, and what is needed
/// within one pass. It grows with what they need.
#[derive(Default)]
pub struct Scratch {
    /// Values between layers.
    pub(crate) values: Buffer,
    /// Gradients of one node's parameters.
    pub(crate) gradients: Buffer,
}

/// Memory that grows.
#[derive(Default)]
pub(crate) struct Buffer(Option<Arena>);

impl Buffer {
    /// At least `len` values, with any content.
    pub fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.get().len() < len {
            // The old memory is given back before the new is asked for.
            self.0 = None;
            self.0 = Some(Arena::new(len));
        }
        self.0.as_deref_mut().unwrap_or_default()
    }

    /// All of it.
    pub fn get(&self) -> &[f32] {
        self.0.as_deref().unwrap_or_default()
    }
}
