//! What a transfer edge does to its target.

use crate::design::Design;
use crate::error::Error;
use crate::gate::Gate;
use crate::knowledge::Output;

/// The word in files for [`Transfer::resize`].
pub(crate) const RESIZE: &str = "resize";

/// In the hashed encoding of graphs, added to the gate's number; no gate's reaches it.
const RESIZES: u8 = 128;

/// What a transfer edge does to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Transfer {
    /// The loss.
    pub design: Design,
    /// Its weight.
    pub gate: Gate,
    /// Whether the source's attention maps are resized where the target's have another size; without it, both must have the same.
    pub resize: bool,
}

impl Transfer {
    /// A transfer between maps of one size, if it reads maps at all.
    pub fn new(design: Design, gate: Gate) -> Transfer {
        Transfer { design, gate, resize: false }
    }

    /// The same, whose source's attention maps are resized to the target's size.
    pub fn resized(self) -> Transfer {
        Transfer { resize: true, ..self }
    }

    /// The same, if there are attention maps where they are to be resized.
    ///
    /// # Errors
    /// If the design reads none.
    pub(crate) fn checked(self) -> Result<Transfer, Error> {
        if self.resize && !self.design.reads(Output::AttentionMap) {
            let design = self.design;
            return Err(Error::new(format!(
                "\"{RESIZE}\" is about attention maps, which \"{design}\" does not read; leave it out"
            )));
        }
        Ok(self)
    }

    /// The two bytes in the hashed encoding of graphs.
    pub(crate) fn codes(self) -> [u8; 2] {
        let resizes = if self.resize { RESIZES } else { 0 };
        [self.design.code(), self.gate.code() + resizes]
    }
}
