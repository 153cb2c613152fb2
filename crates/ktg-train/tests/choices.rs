//! Runs of today's recipes: they resume to the same bits, the best epoch is kept, and patience ends.

use std::collections::BTreeSet;

use ktg_engine::loss::ClassWeights;
use ktg_net::weights;
use ktg_train::{
    EpochReport, EvaluateOn, Event, Experiment, Keep, Measures, OptimizerName, Run, RunDirectory, SavedRun, Settings,
};

mod common;
use common::{assert_same_contents, checkpoints, finish, is_step, settings, stop_at, train};

type Change<'a> = &'a dyn Fn(&mut Settings);

/// Everything at once: 12 steps of two batches each.
fn recipe() -> Settings {
    let mut settings = settings();
    settings.train.epochs = 4;
    settings.train.optimizer = OptimizerName::AdamW;
    settings.train.learning_rate = 0.004;
    settings.train.accumulate = 2;
    settings.train.decay_norms_and_biases = false;
    settings.train.clip_norm = Some(2.0);
    settings.train.average = Some(0.7);
    settings.train.keep = Keep::Best;
    settings.train.patience = Some(3);
    settings.loss.label_smoothing = 0.1;
    settings.loss.class_weights = ClassWeights::Balanced;
    settings
}

#[test]
fn a_run_of_everything_resumes_to_the_same_bits() {
    let temporary = tempfile::tempdir().unwrap();
    let through = temporary.path().join("through");
    let expected = train(recipe(), &through).unwrap();
    let of_epoch = 50 / 16;
    for step in [1, of_epoch, of_epoch + 1, 2 * of_epoch + 2] {
        let stopped = temporary.path().join(format!("stopped-{step}"));
        assert_eq!(stop_at(recipe(), &stopped, is_step(step)), step);
        let result = finish(&stopped);
        assert_eq!((&result.measures, result.best_epoch), (&expected.measures, expected.best_epoch));
        assert_same_contents(&stopped, &through, &format!("after stopping at {step}"));
        assert_eq!(finish(&stopped), result);
    }
}

#[test]
fn each_choice_changes_the_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let weights_after = |name: &str, change: &dyn Fn(&mut Settings)| {
        let mut settings = settings();
        settings.train.epochs = 1;
        change(&mut settings);
        let directory = temporary.path().join(name);
        train(settings, &directory).unwrap();
        let newest = checkpoints(&directory).pop().unwrap();
        weights::read(&directory.join("checkpoints").join(newest).join("node1.safetensors")).unwrap().arrays
    };
    let plain = weights_after("plain", &|_| {});
    let choices: [(&str, Change); 9] = [
        ("adamw", &|s| s.train.optimizer = OptimizerName::AdamW),
        ("nesterov", &|s| s.train.nesterov = true),
        ("decay", &|s| s.train.decay_norms_and_biases = false),
        ("accumulate", &|s| s.train.accumulate = 3),
        ("clip", &|s| s.train.clip_norm = Some(0.1)),
        ("average", &|s| s.train.average = Some(0.9)),
        ("smoothing", &|s| s.loss.label_smoothing = 0.1),
        ("balanced", &|s| {
            // Of the built-in data, parts of which have equally many of each class.
            s.split.train_share = 0.013;
            s.loss.class_weights = ClassWeights::Balanced;
        }),
        ("unbalanced", &|s| s.split.train_share = 0.013),
    ];
    let mut seen = vec![plain];
    for (name, change) in choices {
        let after = weights_after(name, change);
        assert!(!seen.contains(&after), "{name} changes nothing");
        seen.push(after);
    }
}

/// The better of two epochs' measures, as `train.keep` has it.
fn is_better(a: &Measures, b: &Measures) -> bool {
    let key = |m: &Measures| (m.ensemble.accuracy.top1, -m.ensemble.nll);
    key(a) > key(b)
}

/// By a loop over what was reported: the number of the best epoch, from 1, and its measures.
fn best(epochs: &[EpochReport]) -> (usize, Measures) {
    let mut best: Option<(usize, Measures)> = None;
    for report in epochs {
        let measures = report.evaluation.clone().unwrap();
        if best.as_ref().is_none_or(|(_, before)| is_better(&measures, before)) {
            best = Some((report.train.epoch, measures));
        }
    }
    best.unwrap()
}

#[test]
fn a_temperature_is_fitted_to_held_out_images_and_never_to_test_images() {
    let temporary = tempfile::tempdir().unwrap();
    for (evaluate_on, is_fitted) in [(EvaluateOn::SearchSplit, true), (EvaluateOn::Test, false)] {
        let mut settings = settings();
        settings.split.evaluate_on = evaluate_on;
        let path = temporary.path().join(format!("{is_fitted}"));
        let experiment = Experiment::open(settings, ".".as_ref()).unwrap();
        let mut run = Run::start(experiment, &RunDirectory::new(&path)).unwrap();
        while let Some(epoch) = run.next_epoch().unwrap() {
            let Some(measures) = epoch.evaluation else { continue };
            let calibrated = measures.ensemble.calibrated;
            assert_eq!(calibrated.is_some(), is_fitted);
            assert!(calibrated.is_none_or(|calibrated| calibrated.nll <= measures.ensemble.nll));
        }
        // What a run has written is read back.
        let reports = RunDirectory::new(&path).epochs().unwrap();
        let last = reports.last().unwrap().evaluation.clone().unwrap();
        assert_eq!(last.ensemble.calibrated.is_some(), is_fitted);
    }
}

#[test]
fn the_best_epoch_is_the_result_and_its_checkpoint_stays() {
    let temporary = tempfile::tempdir().unwrap();
    let mut older = 0;
    for seed in 0..4 {
        let path = temporary.path().join(format!("{seed}"));
        let mut settings = Settings { seed, ..settings() };
        settings.train.epochs = 12;
        settings.train.learning_rate = 0.3;
        settings.train.keep = Keep::Best;
        settings.train.average = (seed == 3).then_some(0.5);
        let result = train(settings, &path).unwrap();
        let directory = RunDirectory::new(&path);
        let epochs = directory.epochs().unwrap();
        let (epoch, measures) = best(&epochs);
        assert_eq!((result.epochs, result.best_epoch), (12, Some(epoch)), "seed {seed}");
        assert_eq!(result.measures, measures);
        let run = SavedRun::open(&directory).unwrap();
        assert_eq!(run.evaluate_as_trained().unwrap(), measures);
        older += usize::from(epoch < 11);
        let (epoch_before, measures_before) = best(&epochs[..11]);
        let expected = BTreeSet::from([11, 12, epoch, epoch_before]).len();
        assert_eq!(checkpoints(&path).len(), expected, "seed {seed}, best epoch {epoch}");
        // If the newest checkpoint is damaged, the one before and its best epoch are there.
        let newest = path.join("checkpoints").join(checkpoints(&path).pop().unwrap()).join("node1.safetensors");
        let aside = path.join("aside");
        std::fs::rename(&newest, &aside).unwrap();
        let run = SavedRun::open(&directory).unwrap();
        assert_eq!(run.evaluate_as_trained().unwrap(), measures_before, "seed {seed}");
        std::fs::rename(&aside, &newest).unwrap();
        directory.delete_checkpoints(1).unwrap();
        let run = SavedRun::open(&directory).unwrap();
        assert_eq!(run.evaluate_as_trained().unwrap(), measures);
    }
    assert!(older > 0, "no best epoch was older than the newest checkpoints");
}

#[test]
fn a_run_stopped_before_its_best_epoch_was_judged_gives_that_epochs_networks() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.train.keep = Keep::Best;
    settings.train.learning_rate = 0.01;
    let is_judging_the_last = |event: &Event| matches!(event, Event::Evaluating { .. });
    for (name, stop) in [("step", &is_step(12) as &dyn Fn(&Event) -> bool), ("judging", &is_judging_the_last)] {
        let path = temporary.path().join(name);
        stop_at(settings.clone(), &path, stop);
        let result = finish(&path);
        assert_eq!(result.best_epoch, Some(2), "the test needs a last epoch that is the best");
        let run = SavedRun::open(&RunDirectory::new(&path)).unwrap();
        assert_eq!(run.evaluate_as_trained().unwrap(), result.measures, "{name}");
    }
}

#[test]
fn a_best_epoch_that_is_damaged_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    let mut settings = settings();
    settings.train.epochs = 1;
    settings.train.keep = Keep::Best;
    train(settings.clone(), &path).unwrap();
    // The state of a later checkpoint, which says that the best one is step 6.
    let checkpoints_of = path.join("checkpoints");
    let best = checkpoints_of.join("step-000000006");
    let later = checkpoints_of.join("step-000000012");
    std::fs::create_dir(&later).unwrap();
    for entry in std::fs::read_dir(&best).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), later.join(entry.file_name())).unwrap();
    }
    let state = later.join("state.json");
    let text = std::fs::read_to_string(&state).unwrap().replacen("\"step\": 6", "\"step\": 12", 1);
    std::fs::write(&state, text).unwrap();
    SavedRun::open(&RunDirectory::new(&path)).unwrap();
    std::fs::remove_file(best.join("node1.safetensors")).unwrap();
    let message = SavedRun::open(&RunDirectory::new(&path)).err().unwrap().to_string();
    assert!(message.contains("step-000000006") && message.contains("best epoch"), "{message}");
}

#[test]
fn patience_ends_a_training_that_gets_no_better() {
    let temporary = tempfile::tempdir().unwrap();
    for (keep, every) in [(Keep::Best, 1), (Keep::Last, 1), (Keep::Last, 2)] {
        let path = temporary.path().join(format!("{keep:?}-{every}"));
        let mut settings = settings();
        settings.train.epochs = 40;
        settings.train.learning_rate = 0.3;
        settings.train.evaluate_every = every;
        settings.train.patience = Some(3);
        settings.train.keep = keep;
        let result = train(settings, &path).unwrap();
        let epochs = RunDirectory::new(&path).epochs().unwrap();
        let judged: Vec<EpochReport> = epochs.into_iter().filter(|epoch| epoch.evaluation.is_some()).collect();
        let last = judged.last().unwrap();
        let (best, measures) = best(&judged);
        assert!(result.stopped_early && result.epochs == last.train.epoch && result.epochs < 40, "{result:?}");
        let waited = result.epochs - best;
        assert!((3..3 + every).contains(&waited), "{waited} epochs after the best, {keep:?} {every}");
        let expected = if keep == Keep::Best { &measures } else { last.evaluation.as_ref().unwrap() };
        assert_eq!(&result.measures, expected);
        assert_eq!(finish(&path), result);
        let message = Run::resume_until(&RunDirectory::new(&path), 50).err().unwrap().to_string();
        assert!(message.contains(&format!("ended after {} epochs", result.epochs)), "{message}");
        let run = SavedRun::open(&RunDirectory::new(&path)).unwrap();
        assert_eq!(&run.evaluate_as_trained().unwrap(), expected);
    }
}

#[test]
fn attention_maps_of_one_pixel_are_warned_of() {
    let warnings = |side: usize, preset: &str| {
        let mut settings = Settings { side, ..settings() };
        settings.graph.architecture = Some("resnet-18".to_owned());
        settings.graph.preset = Some(preset.to_owned());
        Experiment::open(settings, ".".as_ref()).unwrap().warnings
    };
    let warned = warnings(32, "diverse");
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned[0].starts_with("edge `2 -> 1` compares attention maps of one pixel (at 32 px)"), "{warned:?}");
    assert!(warnings(64, "diverse").is_empty() && warnings(32, "dml").is_empty());
}

#[test]
fn test_images_choose_nothing() {
    let mut settings = settings();
    settings.split.evaluate_on = EvaluateOn::Test;
    settings.check().unwrap();
    let (mut best, mut patient) = (settings.clone(), settings.clone());
    best.train.keep = Keep::Best;
    patient.train.patience = Some(5);
    for wrong in [best, patient] {
        let message = Experiment::open(wrong, ".".as_ref()).err().unwrap().to_string();
        assert!(
            message.contains("must not be the test images") && message.contains("`split.evaluate_on`"),
            "{message}"
        );
    }
}

#[test]
fn old_settings_are_written_as_before() {
    let text = Settings::default().to_toml().unwrap();
    for new in
        ["accumulate", "optimizer", "nesterov", "betas", "decay_norms", "clip_norm", "average", "keep =", "patience"]
    {
        assert!(!text.contains(new), "{new} in {text}");
    }
    assert!(!text.contains("label_smoothing") && !text.contains("class_weights"), "{text}");
    let all = recipe().to_toml().unwrap();
    assert_eq!(Settings::parse(&all, "recipe").unwrap(), recipe());
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    };
    let cases: [(Change, &str); 7] = [
        (&|s| (s.train.optimizer, s.train.nesterov) = (OptimizerName::AdamW, true), "`train.nesterov` belongs"),
        (&|s| (s.train.momentum, s.train.nesterov) = (0.0, true), "needs a `train.momentum`"),
        (&|s| s.train.betas = [0.8, 0.9], "`train.betas` belong"),
        (&|s| s.train.accumulate = 0, "`train.accumulate` is at least 1"),
        (&|s| s.train.clip_norm = Some(0.0), "`train.clip_norm`"),
        (&|s| s.train.average = Some(1.0), "`train.average`"),
        (&|s| s.loss.label_smoothing = 1.0, "`loss.label_smoothing`"),
    ];
    for (change, expected) in cases {
        let message = with(change);
        assert!(message.contains(expected), "{message}");
    }
}
