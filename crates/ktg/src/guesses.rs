//! The classes that networks find likeliest.

use ktg_train::{Prediction, SavedRun};
use serde::Serialize;

/// What a network takes an image for.
#[derive(Serialize)]
pub struct Guess {
    pub class: String,
    /// 0 to 1.
    pub probability: f64,
}

/// The likeliest classes of an image, the first most of all.
pub struct Guesses {
    pub ensemble: Vec<Guess>,
    /// Per node.
    pub nodes: Vec<Vec<Guess>>,
}

/// The `top` likeliest classes according to the ensemble and to every node; of equally likely ones, the first class.
pub fn guesses(run: &SavedRun, prediction: &Prediction, top: usize) -> Guesses {
    let likeliest = |probabilities: &[f64]| {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        order.truncate(top);
        let guess = |c: usize| Guess { class: run.classes[c].clone(), probability: probabilities[c] };
        order.into_iter().map(guess).collect()
    };
    Guesses {
        ensemble: likeliest(&prediction.ensemble),
        nodes: prediction.nodes.iter().map(|node| likeliest(&node.probabilities)).collect(),
    }
}
