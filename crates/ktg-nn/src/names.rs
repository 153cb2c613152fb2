//! Walking over a network's tensors by PyTorch's names.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::network::Network;

/// PyTorch's name of the tensor at a path of our fields: `stages.0.1.conv1.weight` is `layer1.1.conv1.weight`,
/// `attention.layer.0...` is `att_layer4.0...`, `attention.bn_att...` is `bn_att...`.
fn pytorch_name(path: &[String], stages: usize) -> String {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["stages", stage, rest @ ..] => {
            let number = stage.parse::<usize>().map_or_else(|_| (*stage).to_owned(), |i| (i + 1).to_string());
            format!("layer{number}.{}", rest.join("."))
        }
        ["attention", "layer", rest @ ..] => format!("att_layer{stages}.{}", rest.join(".")),
        ["attention", rest @ ..] => rest.join("."),
        parts => parts.join("."),
    }
}

/// Something done to every tensor of a network, parameters and running statistics alike.
pub trait NamedVisitor {
    /// The tensor called `name`.
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>);
}

/// Something that replaces tensors of a network.
pub trait NamedMapper {
    /// The new value of the tensor called `name`.
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>>;
}

struct Walk<'a, V> {
    path: Vec<String>,
    stages: usize,
    inner: &'a mut V,
}

impl<V: NamedVisitor> ModuleVisitor for Walk<'_, V> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.inner.visit(pytorch_name(&self.path, self.stages), param);
    }
}

impl<V: NamedMapper> ModuleMapper for Walk<'_, V> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.inner.map(&pytorch_name(&self.path, self.stages), param)
    }
}

impl Network {
    /// Shows `visitor` every tensor, parameters and running statistics alike.
    pub fn visit_named(&self, visitor: &mut impl NamedVisitor) {
        self.visit(&mut Walk { path: Vec::new(), stages: self.stage_count(), inner: visitor });
    }

    /// Replaces every tensor, parameters and running statistics alike, by what `mapper` makes of it. Running
    /// statistics are the tensors that do not require a gradient.
    ///
    /// Takes the network rather than a reference: a mapper that gets the only handle on a tensor can change it in place.
    pub fn map_named(self, mapper: &mut impl NamedMapper) -> Self {
        let stages = self.stage_count();
        self.map(&mut Walk { path: Vec::new(), stages, inner: mapper })
    }
}
