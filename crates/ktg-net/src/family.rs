//! What a family of networks says of itself.

use crate::network::Network;

/// A family of networks: everything that differs between them.
#[derive(Debug)]
pub struct Family {
    /// Name before the depth, such as `abn-resnet`.
    pub name: &'static str,
    /// The depths there are, for messages.
    pub depths: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Side of the images it is made for, in pixels.
    pub side: usize,
    /// Builds the network of a depth, for images of so many channels and so many classes; `None`: there is no such network.
    pub(crate) build: fn(usize, usize, usize) -> Option<Network>,
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Family {}
