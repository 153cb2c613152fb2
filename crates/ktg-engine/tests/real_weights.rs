//! Published weights, as `fixtures/real_weights.py` has them: the logits that PyTorch computes.

use std::path::PathBuf;

use ktg_engine::{Computing, Images, Job, Node, Scratch, Wanted, node};
use ktg_net::{Architecture, weights};

#[path = "../../../fixtures/support.rs"]
mod support;
use support::difference;

#[test]
#[ignore = "needs the weights and logits that fixtures/real_weights.py brings"]
fn logits_of_photographs_are_pytorchs() {
    let path = |variable: &str| {
        let found = std::env::var_os(variable);
        PathBuf::from(found.unwrap_or_else(|| panic!("set {variable}, as fixtures/real_weights.py does")))
    };
    let network = "efficientnet-lite0".parse::<Architecture>().unwrap().network(3, 1000);
    let expected = weights::read(&path("KTG_REAL_EXPECTED")).unwrap().arrays;
    let images = &expected["images"];
    let mut node: Box<dyn Node> =
        node(network, [images.shape[2], images.shape[3]], Job::INFERENCE, 0, Computing::default()).unwrap();
    let file = path("KTG_REAL_WEIGHTS");
    node.load_weights(&weights::read(&file).unwrap().arrays, &file.display().to_string()).unwrap();
    let images = Images::new(&images.data, images.shape[0]);
    let outputs = node.infer(images, Wanted::MAP, &mut Scratch::default()).unwrap();
    let difference = difference(&outputs.logits, &expected["logits"].data, 0.0);
    println!("largest difference: {difference:.1e} of the largest logit");
    assert!(difference < 1e-4);
}
