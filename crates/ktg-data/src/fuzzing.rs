//! What the fuzz targets in `fuzz/` call: every parser, on bytes. No part of the interface.

use crate::sources::{cifar, class_names, cub, idx, mat, stanford_cars, stanford_dogs, table};
use crate::{Image, SplitFile, pack_file};
use std::path::Path;

/// Feeds the bytes to the parser of that name; false if there is none. Results do not matter: a parser must come back.
pub fn parse(parser: &str, bytes: &[u8]) -> bool {
    match parser {
        "image" => _ = (Image::decode(bytes, 3, true), Image::decode(bytes, 1, false)),
        "list" => _ = table::parse(bytes),
        "classes" => _ = class_names::parse(bytes, Path::new("classes"), 2),
        "idx" => _ = (idx::parse_images(bytes), idx::parse_labels(bytes)),
        "mat" => _ = (mat::parse(bytes), stanford_dogs::parse(bytes), stanford_cars::parse(bytes)),
        "cub" => _ = cub::parse(bytes),
        "cifar" => _ = (cifar::parse(bytes, (1, 0), 10, 3), cifar::parse(bytes, (2, 1), 100, 1)),
        "pack" => pack_file::fuzz(bytes),
        "split" => _ = SplitFile::parse(bytes),
        _ => return false,
    }
    true
}
