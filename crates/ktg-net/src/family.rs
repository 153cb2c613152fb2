//! What a family of networks says of itself.

use crate::network::Network;

/// A family of networks: everything that differs between them. A network's name is the family's prefix and a *variant*, such as
/// the depth.
#[derive(Debug)]
pub struct Family {
    /// Start of the names, such as `abn-resnet-`.
    pub prefix: &'static str,
    /// What stands for the variant in messages, such as `DEPTH`.
    pub variable: &'static str,
    /// The variants there are, for messages.
    pub variants: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Side of the images that a variant is made for, in pixels.
    pub(crate) side: fn(&str) -> usize,
    /// The sides of all variants, for messages.
    pub sides: &'static str,
    /// Builds the network of a variant, for images of so many channels and so many classes; `None`: there is no such network.
    pub(crate) build: fn(&str, usize, usize) -> Option<Network>,
}

impl Family {
    /// Names of its networks, such as `abn-resnet-DEPTH`.
    pub fn pattern(&self) -> String {
        format!("{}{}", self.prefix, self.variable)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.prefix == other.prefix
    }
}

impl Eq for Family {}

/// A number in a variant, as it is written: without a sign or zeros before it. None is above 1,202: that is a typing error, and
/// would build for minutes before memory runs out.
pub(crate) fn number(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number <= 1202 && number.to_string() == text).then_some(number)
}
