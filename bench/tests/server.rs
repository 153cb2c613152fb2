//! The protocol that `bench/compare` relies on, with this build and, as `--baseline`, with later ones (README.md).

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What `ktg-bench` answers to these lines, about a case that takes milliseconds.
fn answers(case: &str, lines: &str) -> (bool, Vec<Value>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ktg-bench"));
    command.args(["--case", case, "--threads", "1"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // It may have ended already, with a sentence.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.success(), json, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn steps_are_timed_and_counted() {
    let (success, said, _) =
        answers("abn-resnet-cifar-8:2:8:10", "train 2\ninfer 3\ntrain\nmemory\nfly\ntrain 0\nquit\n");
    assert!(success);
    let [ready, train, infer, once, memory, unknown, none] = &said[..] else { panic!("{said:?}") };
    // Of one network, as PyTorch counts them with three channels and ten classes.
    assert_eq!((&ready["ready"], &ready["parameters"]), (&true.into(), &136_750.into()), "{ready}");
    for (answer, images) in [(train, 4), (infer, 6), (once, 2)] {
        assert_eq!(answer["images"], images, "{answer}");
        assert!(answer["ms"].as_f64().unwrap() > 0.0 && answer["loss"].as_f64().unwrap().is_finite(), "{answer}");
    }
    assert!(train["loss"] != once["loss"], "nothing is learned: {said:?}");
    if cfg!(target_os = "linux") {
        assert!(memory["peak_rss_mib"].as_f64().unwrap() > 1.0, "{memory}");
    }
    assert!(unknown["error"].as_str().unwrap().contains("fly") && none["error"].is_string(), "{unknown} {none}");
}

#[test]
fn wrong_cases_are_refused_by_name() {
    for (case, part) in [("vgg-16:2:8:10", "no network `vgg-16`"), ("resnet-18:2:8", "ARCHITECTURE:BATCH:SIDE:CLASSES")]
    {
        let (success, said, error) = answers(case, "");
        assert!(!success && said.is_empty() && error.contains(part), "{error}");
    }
}
