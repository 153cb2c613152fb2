//! Trials of other programs in a study: workers go on, and learn from those that are graphs.

mod common;

use std::process::Command;
use std::sync::atomic::AtomicBool;

use common::stand_in::{Scripted, quick, space, work};
use common::{Place, on_each_storage, unique};
use ktg_search::storage::{State, Trial};
use ktg_search::{Event, PrunerKind, SamplerKind, SearchSettings, WorkerSettings, pruner, sampler};

/// Makes a study with a first trial of ours, and lets others add to it.
fn searched_with(place: &Place, sampler: SamplerKind, pruner: PrunerKind, add: &dyn Fn(&Place, &str)) {
    let name = unique("foreign");
    let run = |trials: i64| {
        let settings = SearchSettings { pruner, ..SearchSettings::default() };
        let ways = (sampler::by_kind(sampler), pruner::by_settings(&settings, &name, 8));
        let worker = WorkerSettings { seed: Some(1), ..quick(trials, &place.directory().join(&name)) };
        let (stop, mut tell) = (AtomicBool::new(false), |_: Event| {});
        let mut objective = Scripted::training(8);
        assert!(work(place.study(&name), space(2, ""), ways, &mut objective, worker, &stop, &mut tell).unwrap());
        objective.tasks.len()
    };
    run(1);
    add(place, &name);
    let before = place.study(&name).trials().unwrap();
    assert!(before.len() > 5, "{}", before.len());
    let there = before.len() as i64;
    // Enough for every sampler to learn from what is there.
    assert!(run(there + 30) >= 30, "{sampler} {pruner}");
    let after = place.study(&name).trials().unwrap();
    assert_eq!(after.len() as i64, there + 30);
    // What others have put there stays as it is; NaN is never equal.
    let theirs = |trials: &[Trial]| {
        let there = trials.iter().zip(&before).filter(|(_, before)| before.state != State::Waiting);
        format!("{:?}", there.map(|(trial, _)| trial).collect::<Vec<_>>())
    };
    assert_eq!(theirs(&after), theirs(&before));
    let ended = |state: State| matches!(state, State::Complete | State::Pruned);
    assert!(after[before.len()..].iter().all(|trial| ended(trial.state)), "{sampler} {pruner}");
}

fn searched(place: &Place, add: &dyn Fn(&Place, &str)) {
    for (sampler, pruner) in [
        (SamplerKind::Random, PrunerKind::Promotion),
        (SamplerKind::Tpe, PrunerKind::Asha),
        (SamplerKind::Tpe, PrunerKind::Median),
        (SamplerKind::Evolution, PrunerKind::Hyperband),
    ] {
        searched_with(place, sampler, pruner, add);
    }
}

/// Statements of other programs.
fn add_by_statements(place: &Place, study: &str) {
    let key = place.key(study);
    let of_last = format!("(SELECT max(trial_id) FROM trials WHERE study_id = {key})");
    let float = r#"{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1, "step": null, "log": false}}"#;
    let categorical = r#"{"name": "CategoricalDistribution", "attributes": {"choices": [null, 1, true, "linear"]}}"#;
    let parameter = |name: &str, value: &str, distribution: &str| {
        format!(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) \
             VALUES ({of_last}, '{name}', {value}, '{distribution}');"
        )
    };
    let value = |value: &str, kind: &str| {
        format!(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES ({of_last}, 0, {value}, '{kind}');"
        )
    };
    let report = |step: i64, value: &str, kind: &str| {
        format!(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) \
             VALUES ({of_last}, {step}, {value}, '{kind}');"
        )
    };
    let rung = |value: &str| {
        format!(
            "INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) \
             VALUES ({of_last}, 'completed_rung_0', '{value}');"
        )
    };
    for (state, rest) in [
        ("COMPLETE", value("0.5", "FINITE") + &report(1, "0.25", "FINITE") + &report(2, "NULL", "NAN")),
        ("COMPLETE", value("NULL", "INF_POS") + &parameter("lr", "0.125", float) + &report(1, "NULL", "INF_NEG")),
        ("COMPLETE", value("1e300", "FINITE") + &parameter("2->1 gate", "0", categorical) + &rung("Infinity")),
        ("COMPLETE", value("0.25", "FINITE") + &parameter("2->1 gate", "3", categorical) + &rung("NaN")),
        ("COMPLETE", String::new()),
        ("PRUNED", report(-1, "0.5", "FINITE") + &report(1_000_000, "0.5", "FINITE") + &rung("0.5")),
        ("PRUNED", String::new()),
        ("FAIL", parameter("2->1 gate", "1", categorical)),
        ("RUNNING", String::new()),
        ("RUNNING", report(1, "0.75", "FINITE") + &parameter("lr", "0.5", float)),
    ] {
        place.sql(&format!(
            "INSERT INTO trials (number, study_id, state) \
             SELECT count(*), {key}, '{state}' FROM trials WHERE study_id = {key}; {rest}"
        ));
    }
}

/// Adds trials as Optuna does it, in every state.
fn add_by_optuna(place: &Place, study: &str) {
    let python = common::needed("KTG_OPTUNA_PYTHON", "a Python with optuna 5.0.0");
    let script = r#"
import sys, math, optuna
from optuna.trial import TrialState, create_trial
study = optuna.load_study(study_name=sys.argv[2], storage=sys.argv[1], pruner=optuna.pruners.SuccessiveHalvingPruner(1, 2))
mine = study.trials[0]
reports = {1: 0.5, 2: float("nan"), 4: float("inf")}
study.add_trial(create_trial(value=0.5))
study.add_trial(create_trial(value=math.inf, intermediate_values=reports))
study.add_trial(create_trial(value=2.0, params=mine.params, distributions=mine.distributions, intermediate_values=reports))
study.add_trial(create_trial(state=TrialState.PRUNED, params=mine.params, distributions=mine.distributions))
trial = study.ask()
trial.suggest_float("lr", 1e-5, 1, log=True), trial.suggest_int("depth", 1, 9), trial.suggest_categorical("c", [None, 1.5, True])
for step in (1, 2, 4, 8):
    trial.report(1000.0 - step, step)
    trial.should_prune()
study.tell(trial, 1000.0)
trial = study.ask()
trial.report(float("nan"), 1)
study.tell(trial, state=TrialState.PRUNED)
study.tell(study.ask(), state=TrialState.FAIL)
study.ask(); study.ask().suggest_float("rate", 0, 1)
"#;
    let url = place.text.replace("postgresql:", "postgresql+psycopg2:");
    let output = Command::new(python).args(["-c", script, &url, study]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

on_each_storage!(workers_go_on_beside_trials_of_other_programs);
fn workers_go_on_beside_trials_of_other_programs(place: &Place) {
    searched(place, &add_by_statements);
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn workers_go_on_beside_trials_of_optuna_in_sqlite() {
    searched(&Place::sqlite(), &add_by_optuna);
}

#[test]
#[ignore = "needs PostgreSQL and Optuna: set KTG_TEST_POSTGRES and KTG_OPTUNA_PYTHON"]
fn workers_go_on_beside_trials_of_optuna_in_postgresql() {
    searched(&Place::postgres(), &add_by_optuna);
}
