//! What a family of networks says of itself.

use crate::network::Network;

/// What a network is built for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Build {
    /// Channels of the images, at least 1.
    pub channels: usize,
    /// Side of the images in pixels; `None`: the side that the architecture is made for. Transformers learn something for each place in
    /// an image; all other networks are the same for any side.
    pub side: Option<usize>,
    /// Number of classes, at least 1.
    pub classes: usize,
    /// How often stochastic depth drops the last residual block of an image, from 0 to below 1; the blocks before are dropped less often,
    /// the first one never (Huang et al. 2016). Networks without it ignore the rate.
    pub drop_path: f64,
}

impl Build {
    /// For images of so many channels and so many classes, without stochastic depth.
    pub fn plain(channels: usize, classes: usize) -> Self {
        Self { channels, side: None, classes, drop_path: 0.0 }
    }
}

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
    /// Builds the network of a variant; `None`: there is no such network.
    pub(crate) build: fn(&str, Build) -> Option<Network>,
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
