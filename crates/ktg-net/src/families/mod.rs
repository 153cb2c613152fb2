//! The families of architectures, a file each; to add one, write its file and add its row to [`Family::ALL`].

mod abn_convnext;
mod abn_resnet;
mod abn_resnet_cifar;
mod attention_branch;
mod convnext;
mod efficientnet_lite;
mod residual;
mod resnet;
mod resnet_cifar;
mod vit;
mod wide_resnet;

use crate::family::Family;

impl Family {
    /// All families, in the order in which help lists them.
    pub const ALL: &'static [Family] = &[
        abn_resnet::FAMILY,
        abn_resnet_cifar::FAMILY,
        resnet::FAMILY,
        resnet_cifar::FAMILY,
        wide_resnet::FAMILY,
        efficientnet_lite::FAMILY,
        convnext::FAMILY,
        abn_convnext::FAMILY,
        vit::FAMILY,
    ];
}
