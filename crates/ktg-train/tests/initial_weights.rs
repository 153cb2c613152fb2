//! A seed gives the same initial weights in every version, so that runs can be repeated years later.

use std::collections::BTreeMap;
use std::path::Path;

use ktg_engine::Computing;
use ktg_engine::loss::{GraphLoss, LossSettings};
use ktg_graph::presets;
use ktg_net::{Architecture, StateDict};
use ktg_train::trainer::Trainer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Networks of one graph, as `fixtures/data/initial_weights.json` lists them.
#[derive(Deserialize, Serialize)]
struct Case {
    architecture: String,
    seed: u64,
    /// One a node.
    sha256: Vec<String>,
}

/// SHA-256 of, for each tensor in the order of names: name, a zero byte, sizes (u64), values (f32), all little-endian.
fn checksum(weights: &StateDict) -> String {
    let mut hash = Sha256::new();
    for (name, array) in weights {
        hash.update(name);
        hash.update([0]);
        for size in &array.shape {
            hash.update((*size as u64).to_le_bytes());
        }
        let bytes: Vec<u8> = array.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the networks of `nodes` nodes start from.
fn initial_checksums(architecture: &str, nodes: usize, seed: u64) -> Vec<String> {
    let graph = presets::independent(nodes, architecture);
    let networks = vec![architecture.parse::<Architecture>().unwrap().network(3, 10); nodes];
    let loss = GraphLoss::new(&graph, &LossSettings::default(), &[]);
    let trainer = Trainer::new(&graph, networks, [32, 32], &[], seed, loss, Computing::default()).unwrap();
    (0..nodes).map(|m| checksum(&trainer.state(m).unwrap().0)).collect()
}

#[test]
#[cfg_attr(
    not(all(target_arch = "x86_64", target_env = "gnu")),
    ignore = "normal numbers need logarithms, whose last bits are glibc's on x86-64"
)]
fn initial_weights_are_what_they_were() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/initial_weights.json");
    let expected: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut seeds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for case in &expected {
        seeds.entry(&case.architecture).or_default().push(case.seed);
    }
    assert!(seeds.len() == 18 && seeds.values().all(|seeds| seeds.len() == 2 && seeds[0] != seeds[1]), "{seeds:?}");
    let found = expected.iter().map(|case| Case {
        architecture: case.architecture.clone(),
        seed: case.seed,
        sha256: initial_checksums(&case.architecture, case.sha256.len(), case.seed),
    });
    let lines = |cases: &mut dyn Iterator<Item = String>| cases.collect::<Vec<_>>().join(",\n");
    let json = |case: &Case| serde_json::to_string(case).unwrap();
    let (expected, found) = (lines(&mut expected.iter().map(json)), lines(&mut found.map(|case| json(&case))));
    assert!(found == expected, "other initial weights than before; now they are\n[\n{found}\n]");
}
