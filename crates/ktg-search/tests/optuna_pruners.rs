//! Pruners decide as Optuna's do, report by report (fixtures/optuna/make_pruners.py).

use std::collections::BTreeMap;
use std::path::Path;

use ktg_search::Error;
use ktg_search::pruner::{Asha, Hyperband, Median, Pruner, Reported, Rungs, Verdict};
use ktg_search::storage::RungValue;
use serde_json::Value as Json;

/// A study in memory.
#[derive(Default)]
struct Memory {
    rungs: Vec<RungValue>,
    complete: Vec<BTreeMap<i64, f64>>,
}

impl Rungs for Memory {
    fn at(&mut self, rung: u32) -> Result<Vec<RungValue>, Error> {
        Ok(self.rungs.iter().filter(|value| value.rung == rung).copied().collect())
    }

    fn complete(&mut self, trial: i64, rung: u32, value: f64) -> Result<(), Error> {
        self.rungs.push(RungValue { id: trial, number: trial, rung, value });
        Ok(())
    }

    fn complete_trials_at(&mut self, step: i64) -> Result<(Vec<f64>, usize), Error> {
        let at = self.complete.iter().filter_map(|reports| reports.get(&step).copied());
        Ok((at.collect(), self.complete.len()))
    }
}

fn number(json: &Json) -> f64 {
    match json {
        Json::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    }
}

fn pruner(case: &Json) -> Box<dyn Pruner> {
    let settings = &case["pruner"];
    let int = |key: &str| settings[key].as_i64().unwrap_or_else(|| panic!("{key} in {settings}"));
    match settings["kind"].as_str().unwrap() {
        "asha" => Box::new(Asha {
            min_resource: int("min_resource"),
            reduction_factor: int("reduction_factor"),
            min_early_stopping_rate: int("min_early_stopping_rate") as u32,
        }),
        "median" => Box::new(Median {
            startup_trials: int("n_startup_trials") as usize,
            warmup_steps: int("n_warmup_steps"),
            interval_steps: int("interval_steps"),
            min_trials: int("n_min_trials") as usize,
        }),
        "hyperband" => {
            let study = case["study"].as_str().unwrap();
            let resources = int("min_resource")..=int("max_resource");
            let hyperband = Hyperband::new(study, resources, int("reduction_factor"));
            for (number, bracket) in case["brackets"].as_array().unwrap().iter().enumerate() {
                assert_eq!(hyperband.bracket(number as i64) as i64, bracket.as_i64().unwrap());
            }
            Box::new(hyperband)
        }
        kind => panic!("{kind}"),
    }
}

#[test]
fn every_verdict_and_every_rung_is_optunas() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/pruners.json");
    let file: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut verdicts, mut stops) = (0, 0);
    for case in file["cases"].as_array().unwrap() {
        let (name, pruner) = (case["name"].as_str().unwrap(), pruner(case));
        if name == "median-inf-minimize" {
            // NumPy's median beside an infinity is NaN on one side only, so negation does not mirror it. Our studies
            // maximise; the median's own test has that side.
            continue;
        }
        // Ours maximise.
        let sign = if case["direction"] == "minimize" { -1.0 } else { 1.0 };
        let (mut study, mut reports) = (Memory::default(), BTreeMap::<i64, BTreeMap<i64, f64>>::new());
        for event in case["events"].as_array().unwrap() {
            let trial = event["trial"].as_i64().unwrap();
            let reports = reports.entry(trial).or_default();
            if let Some(finish) = event["finish"].as_str() {
                if finish == "complete" {
                    study.complete.push(reports.clone());
                }
                continue;
            }
            reports.insert(event["step"].as_i64().unwrap(), sign * number(&event["value"]));
            let rungs = study.rungs.iter().filter(|value| value.id == trial).count() as u32;
            let verdict = pruner.judge(&mut study, &mut Reported { id: trial, number: trial, rungs, reports }).unwrap();
            let expected = event["prune"].as_bool().unwrap();
            assert_eq!(verdict == Verdict::Stop, expected, "{name}: {event}");
            verdicts += 1;
            stops += usize::from(expected);
        }
        let key = |trial: i64, rung: u32, value: f64| (trial, rung, value.to_bits());
        let mut ours: Vec<_> = study.rungs.iter().map(|v| key(v.id, v.rung, sign * v.value)).collect();
        let theirs = case["rungs"].as_array().into_iter().flatten();
        let int = |json: &Json| json.as_i64().unwrap();
        let mut theirs: Vec<_> =
            theirs.map(|v| key(int(&v["trial"]), int(&v["rung"]) as u32, number(&v["value"]))).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "{name}");
    }
    assert!(verdicts > 2000 && stops > 300 && stops < verdicts, "{stops} of {verdicts}");
}
