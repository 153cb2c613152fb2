//! Whole runs in one process: interrupted and resumed ones end bit for bit like those that ran through, damaged
//! checkpoints fall back, errors are sentences. (`crates/ktg/tests/kill.rs` kills real processes.)

use std::fs;
use std::path::Path;

use ktg_data::{Dataset, Image};
use ktg_engine::{Devices, Precision, computes};
use ktg_train::measures::MemberOutputs;
use ktg_train::{
    Error, Estimate, Event, Experiment, GraphSettings, Range, Run, RunDirectory, RunRecord, Sampling, SavedRun,
    Settings,
};
use sha2::{Digest, Sha256};

mod common;
use common::{assert_same_contents, checkpoints, contents, finish, is_step, resume, settings, start, stop_at, train};

#[test]
fn a_stopped_and_resumed_run_ends_bit_for_bit_like_one_that_ran_through() {
    let temporary = tempfile::tempdir().unwrap();
    let through = temporary.path().join("through");
    let expected = train(settings(), &through).unwrap();
    assert_eq!(expected.measures.images, 50);

    // At once, in the middle of an epoch, and at its end (50 images make 6 steps).
    for step in [1, 4, 6] {
        let stopped = temporary.path().join(format!("stopped-{step}"));
        assert_eq!(stop_at(settings(), &stopped, is_step(step)), step);
        let result = finish(&stopped);
        assert_eq!(result.measures, expected.measures);
        assert_same_contents(&stopped, &through, &format!("after stopping at {step}"));
        // A finished run just gives its result.
        assert_eq!(finish(&stopped), result);
    }
}

#[test]
fn cutmix_and_balanced_sampling_go_on_where_they_were() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    (settings.augment.mixup, settings.augment.cutmix) = (Some(0.2), Some(1.0));
    settings.train.sampling = Sampling::Balanced;
    let [through, stopped, without] = ["through", "stopped", "without"].map(|name| temporary.path().join(name));
    let expected = train(settings.clone(), &through).unwrap();
    assert_eq!(stop_at(settings.clone(), &stopped, is_step(9)), 9);
    assert_eq!(finish(&stopped).measures, expected.measures);
    assert_eq!(contents(&stopped), contents(&through));
    settings.augment.cutmix = None;
    train(settings, &without).unwrap();
    let metrics = |directory: &Path| fs::read(directory.join("metrics.jsonl")).unwrap();
    assert_ne!(metrics(&without), metrics(&through));
}

#[test]
fn a_run_in_bf16_goes_on_where_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.train.precision = Precision::Bf16.into();
    let [through, stopped, single] = ["through", "stopped", "single"].map(|name| temporary.path().join(name));
    if !computes(Precision::Bf16) {
        // With KTG_KERNELS=reference.
        let refused = train(settings, &through).unwrap_err().to_string();
        assert!(refused.contains("by the reference engine"), "{refused}");
        return;
    }
    let expected = train(settings.clone(), &through).unwrap();
    assert_eq!(stop_at(settings.clone(), &stopped, is_step(4)), 4);
    assert_eq!(finish(&stopped).measures, expected.measures);
    assert_same_contents(&stopped, &through, "in bf16");
    settings.train.precision = Precision::F32.into();
    train(settings, &single).unwrap();
    let metrics = |directory: &Path| fs::read(directory.join("metrics.jsonl")).unwrap();
    assert_ne!(metrics(&single), metrics(&through));
}

/// Writes so many of the built-in training images of a class as files.
fn write_images(folder: &Path, images: &Dataset, class: u32, count: usize) {
    fs::create_dir_all(folder).unwrap();
    let of_class = (0..images.len()).filter(|i| images.label(*i) == class);
    for i in of_class.take(count) {
        let Image { width, height, pixels, .. } = &*images.image(i).unwrap();
        let picture = image::GrayImage::from_raw(*width as u32, *height as u32, pixels.to_vec()).unwrap();
        picture.save(folder.join(format!("{i}.png"))).unwrap();
    }
}

#[test]
fn a_balanced_training_sees_as_much_of_small_classes_as_of_large_ones() {
    let temporary = tempfile::tempdir().unwrap();
    let photos = temporary.path().join("photos");
    let images = ktg_data::DataSource::default().open(Path::new(".")).unwrap().train;
    for (class, count) in [(0, 13), (1, 3)] {
        write_images(&photos.join(format!("train/{class}")), &images, class, count);
        write_images(&photos.join(format!("test/{class}")), &images, class, 2);
    }
    let labels = |sampling: Sampling| {
        let directory = temporary.path().join(format!("{sampling:?}"));
        let mut settings = settings();
        settings.data = toml::from_str(&format!("source = \"folder\"\nroot = {photos:?}")).unwrap();
        settings.split = Default::default();
        (settings.train.epochs, settings.train.batch_size, settings.train.record_steps) = (1, 4, 4);
        settings.train.sampling = sampling;
        train(settings, &directory).unwrap();
        let file = fs::read(directory.join("batches.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let label = |step: usize| tensors.tensor(&format!("labels.{step}")).unwrap().data().to_vec();
        (1..=4).flat_map(label).filter(|byte| *byte == 1).count()
    };
    assert_eq!(labels(Sampling::All), 3);
    assert_eq!(labels(Sampling::Balanced), 8);
}

/// Settings of a training that would be the same, as far as it goes, if it were longer.
fn extensible(epochs: usize) -> Settings {
    let mut settings = settings();
    settings.train.epochs = epochs;
    settings.train.schedule = ktg_train::Schedule::MultiStep { milestones: vec![1.0, 3.0], factor: 0.5 };
    settings.graph.preset = Some("dml".to_owned());
    settings
}

fn change_file(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_run_is_extended_bit_for_bit_to_one_that_was_longer_from_the_start() {
    let temporary = tempfile::tempdir().unwrap();
    let [through, extended, edited, stopped] =
        ["through", "extended", "edited", "stopped"].map(|n| temporary.path().join(n));
    let expected = train(extensible(4), &through).unwrap();
    let longer = |directory: &Path, epochs| {
        let mut run = Run::resume_until(&RunDirectory::new(directory), epochs)?;
        while run.next_epoch()?.is_some() {}
        Ok::<_, Error>(run.result().unwrap().clone())
    };
    assert_eq!(train(extensible(2), &extended).unwrap().epochs, 2);
    let result = longer(&extended, 4).unwrap();
    assert_eq!((result.epochs, &result.measures), (4, &expected.measures));
    assert_eq!(contents(&extended), contents(&through));
    assert_eq!(RunRecord::read(&RunDirectory::new(&extended)).unwrap().settings.train.epochs, 4);
    assert_eq!(longer(&extended, 4).unwrap(), result, "it is finished");
    // Fewer epochs than are done are refused, and nothing is changed.
    let before = contents(&extended);
    let message = longer(&extended, 3).unwrap_err().to_string();
    assert!(message.contains("it has 4 epochs already, more than the 3 asked for"), "{message}");
    change_file(&extended.join("settings.toml"), "epochs = 4\n", "epochs = 3\n");
    let message = resume(&extended).err().unwrap().to_string();
    assert!(message.contains("it has 4 epochs already, more than the 3 asked for"), "{message}");
    assert_eq!(longer(&extended, 4).unwrap().measures, result.measures, "the edit is undone");
    assert_eq!(contents(&extended), before);

    // By an edit of its settings; and one that had not come to its end.
    train(extensible(2), &edited).unwrap();
    change_file(&edited.join("settings.toml"), "epochs = 2\n", "epochs = 4\n");
    assert_eq!(finish(&edited).measures, expected.measures);
    assert_eq!(contents(&edited), contents(&through));
    stop_at(extensible(3), &stopped, is_step(5));
    assert_eq!(longer(&stopped, 4).unwrap().measures, expected.measures);
    assert_eq!(contents(&stopped), contents(&through));

    // Within an epoch, the one before is over, too.
    let within = temporary.path().join("within");
    let steps = Experiment::open(extensible(3), Path::new(".")).unwrap().length().steps() / 3;
    stop_at(extensible(3), &within, is_step(steps + 2));
    let message = longer(&within, 1).unwrap_err().to_string();
    assert!(message.contains("it has 1 epochs and a part of the next already, more than the 1 asked for"), "{message}");
    change_file(&within.join("settings.toml"), "epochs = 3\n", "epochs = 1\n");
    assert!(resume(&within).err().unwrap().to_string().contains("more than the 1 asked for"));
    assert_eq!(longer(&within, 4).unwrap().measures, expected.measures);
}

#[test]
fn a_run_of_a_version_that_knew_no_extension_is_extended() {
    let temporary = tempfile::tempdir().unwrap();
    let [through, old] = ["through", "old"].map(|name| temporary.path().join(name));
    let expected = train(extensible(3), &through).unwrap();
    train(extensible(2), &old).unwrap();
    // As version 0.1 wrote it: with the length.
    let newest = old.join("checkpoints").join(checkpoints(&old).pop().unwrap()).join("state.json");
    let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(&newest).unwrap()).unwrap();
    let data: serde_json::Value = serde_json::from_str(&fs::read_to_string(old.join("data.json")).unwrap()).unwrap();
    let parts = [
        RunDirectory::new(&old).settings().unwrap().decisive().to_toml().unwrap(),
        fs::read_to_string(old.join("graph.toml")).unwrap(),
        data["train_fingerprint"].as_str().unwrap().to_owned(),
        Experiment::open(extensible(2), Path::new(".")).unwrap().length().batches.to_string(),
    ];
    let with_length: String = Sha256::digest(parts.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect();
    change_file(&newest, state["fingerprint"].as_str().unwrap(), &with_length);
    let mut run = Run::resume_until(&RunDirectory::new(&old), 3).unwrap();
    while run.next_epoch().unwrap().is_some() {}
    assert_eq!(run.result().unwrap().measures, expected.measures);
    assert_eq!(contents(&old), contents(&through));
}

#[test]
fn a_run_that_depends_on_its_length_is_not_extended() {
    let temporary = tempfile::tempdir().unwrap();
    let mut by_schedule = extensible(2);
    by_schedule.train.schedule = ktg_train::Schedule::Cosine {};
    let mut cases = vec![("schedule", by_schedule, "`train.schedule`")];
    for (gate, name, what) in
        [(ktg_graph::Gate::Linear, "linear", "`linear`"), (ktg_graph::Gate::Falling, "falling", "`falling`")]
    {
        let mut by_gate = extensible(2);
        let mut graph = ktg_graph::presets::dml(2, "abn-resnet-cifar-8");
        graph.set_label_gate(1, gate);
        let file = temporary.path().join(format!("{name}.toml"));
        fs::write(&file, graph.to_toml()).unwrap();
        by_gate.graph = GraphSettings { file: Some(file), ..GraphSettings::default() };
        cases.push((name, by_gate, what));
    }
    for (name, settings, what) in cases {
        let directory = temporary.path().join(name);
        let before = train(settings, &directory).unwrap();
        let message = Run::resume_until(&RunDirectory::new(&directory), 4).err().unwrap().to_string();
        assert!(message.contains(what) && message.contains("a training of 2 epochs"), "{message}");
        assert_eq!(finish(&directory), before, "it is as it was");
        change_file(&directory.join("settings.toml"), "epochs = 2\n", "epochs = 3\n");
        let message = resume(&directory).err().unwrap().to_string();
        assert!(message.contains("cannot become one of 3") && message.contains("leave it at 2"), "{message}");
    }
}

#[test]
fn checkpoints_that_are_gone_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    let mut run =
        start(Settings { train: ktg_train::TrainSettings { epochs: 3, ..settings().train }, ..settings() }, &directory)
            .unwrap();
    run.next_epoch().unwrap();
    run.next_epoch().unwrap();
    drop(run);
    fs::remove_dir_all(directory.join("checkpoints")).unwrap();
    let before = fs::read(directory.join("metrics.jsonl")).unwrap();
    let message = resume(&directory).err().unwrap().to_string();
    assert!(message.contains("it has trained to epoch 2, but there is no checkpoint in"), "{message}");
    assert_eq!(fs::read(directory.join("metrics.jsonl")).unwrap(), before);

    // A finished run does not need one, until it is to go on.
    let finished = temporary.path().join("finished");
    let result = train(extensible(1), &finished).unwrap();
    fs::remove_dir_all(finished.join("checkpoints")).unwrap();
    assert_eq!(finish(&finished), result);
    let message = Run::resume_until(&RunDirectory::new(&finished), 2).err().unwrap().to_string();
    assert!(message.contains("it has trained to epoch 1, but there is no checkpoint in"), "{message}");
    assert_eq!(finish(&finished), result);
}

#[test]
fn a_diverged_run_says_so_whoever_asks() {
    let temporary = tempfile::tempdir().unwrap();
    let (early, late) = (temporary.path().join("early"), temporary.path().join("late"));
    let mut settings = settings();
    settings.train.learning_rate = 1e30;
    let error = train(settings.clone(), &early).unwrap_err().to_string();
    let message = SavedRun::open(&RunDirectory::new(&early)).err().unwrap().to_string();
    assert!(message.contains(&format!("it diverged, and there is no checkpoint of before: {error}")), "{message}");

    settings.train.learning_rate = 1e-6;
    settings.train.schedule = ktg_train::Schedule::MultiStep { milestones: vec![1.0], factor: 1e36 };
    let error = train(settings, &late).unwrap_err().to_string();
    let saved = SavedRun::open(&RunDirectory::new(&late)).unwrap();
    assert!(saved.warnings[0].contains(&format!("it diverged: {error}")), "{:?}", saved.warnings);
    // It does so again.
    assert_eq!(resume(&late).unwrap().next_epoch().unwrap_err().to_string(), error);
    assert!(RunDirectory::new(&late).divergence().unwrap().is_some());
}

#[test]
fn data_that_has_moved_is_named_with_the_line_that_says_where_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    let (directory, photos) = (temporary.path().join("run"), temporary.path().join("photos"));
    let splits = ktg_data::DataSource::default().open(Path::new(".")).unwrap();
    for (part, images) in [("train", &splits.train), ("test", &splits.test)] {
        for class in 0..10 {
            write_images(&photos.join(part).join(class.to_string()), images, class, 2);
        }
    }
    let mut settings = settings();
    settings.data = toml::from_str(&format!("source = \"folder\"\nroot = {photos:?}")).unwrap();
    (settings.split, settings.train.batch_size) = (Default::default(), 4);
    stop_at(settings, &directory, is_step(1));
    fs::rename(&photos, temporary.path().join("moved")).unwrap();
    let message = resume(&directory).err().unwrap().to_string();
    let text = fs::read_to_string(directory.join("settings.toml")).unwrap();
    let line = text.lines().position(|line| line.starts_with("root = ")).unwrap() + 1;
    let place = format!("in {}:{line}", directory.join("settings.toml").display());
    assert!(message.contains("if the data has moved, change `root = ") && message.contains(&place), "{message}");
}

#[test]
fn loader_threads_and_logging_change_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    for threads in [0, 1, 3] {
        let mut settings = settings();
        settings.train.loader_threads = threads;
        settings.train.log_every = threads as u64;
        let directory = temporary.path().join(threads.to_string());
        results.push(train(settings, &directory).unwrap().measures);
    }
    assert!(results.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_ends_the_same() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    let expected = train(settings(), &directory).unwrap();
    let before = contents(&directory);
    assert_eq!(checkpoints(&directory), ["step-000000006", "step-000000012"]);
    let newest = directory.join("checkpoints/step-000000012");
    fs::remove_file(directory.join("result.json")).unwrap();

    let weights = newest.join("node2.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let mut run = resume(&directory).unwrap();
    let mut warnings = Vec::new();
    while let Some(event) = run.next().unwrap() {
        if let Event::Warning(text) = event {
            warnings.push(text);
        }
    }
    assert_eq!(run.result().unwrap().measures, expected.measures);
    drop(run);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("node2.safetensors is damaged"), "{warnings:?}");
    assert_eq!(contents(&directory), before);

    assert_eq!(checkpoints(&directory), ["damaged-step-000000012", "step-000000006", "step-000000012"]);

    // A missing state file, and a checkpoint that was never finished, are no trouble either.
    fs::remove_file(directory.join("result.json")).unwrap();
    fs::remove_file(newest.join("state.json")).unwrap();
    fs::create_dir_all(directory.join("checkpoints/unfinished.tmp")).unwrap();
    assert_eq!(finish(&directory).measures, expected.measures);
    assert_eq!(contents(&directory), before);

    // If nothing is left to go on from, nothing is thrown away either.
    fs::remove_file(directory.join("result.json")).unwrap();
    let metrics = fs::read(directory.join("metrics.jsonl")).unwrap();
    for name in ["step-000000006", "step-000000012"] {
        fs::write(directory.join("checkpoints").join(name).join("state.json"), "{").unwrap();
    }
    let message = resume(&directory).err().unwrap().to_string();
    assert!(message.contains("all checkpoints are damaged"), "{message}");
    assert_eq!(fs::read(directory.join("metrics.jsonl")).unwrap(), metrics);
}

#[test]
fn a_run_whose_settings_or_graph_were_changed_is_not_continued() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    stop_at(settings(), &directory, is_step(4));
    let refused = |file: &str, from: &str, to: &str| {
        let path = directory.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let message = resume(&directory).err().unwrap().to_string();
        fs::write(&path, text).unwrap();
        message
    };
    for (file, from, to) in [
        ("settings.toml", "batch_size = 8", "batch_size = 4"),
        ("settings.toml", "seed = 5", "seed = 6"),
        ("graph.toml", "attention apart", "probability apart"),
    ] {
        let message = refused(file, from, to);
        assert!(message.contains("it belongs to other settings, another graph or other data"), "{message}");
    }
    let message = refused("settings.toml", "train_share = 0.02", "train_share = 0.04");
    assert!(message.contains("its images are not those it was started with"), "{message}");
    // Settings that change no result may be changed.
    let path = directory.join("settings.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("loader_threads = 2", "loader_threads = 0")).unwrap();
    finish(&directory);
}

#[test]
fn a_run_that_diverges_at_its_last_step_is_not_called_finished() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    let mut settings = settings();
    settings.train.batch_size = 50;
    settings.train.epochs = 1;
    settings.train.learning_rate = 1e38;
    let error = train(settings, &directory).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(!directory.join("result.json").exists());
}

#[test]
fn a_run_stopped_while_evaluating_evaluates_when_it_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.train.evaluate_batch_size = 20;
    let (through, stopped) = (temporary.path().join("through"), temporary.path().join("stopped"));
    let expected = train(settings.clone(), &through).unwrap();
    let is_first_batch = |event: &Event| matches!(event, Event::Evaluating { done: 20, images: 50 });
    assert_eq!(stop_at(settings, &stopped, is_first_batch), 6);
    assert_eq!(finish(&stopped).measures, expected.measures);
    assert_eq!(contents(&stopped), contents(&through));
}

#[test]
fn saved_networks_measure_as_the_run_did() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    let mut run = start(settings(), &directory).unwrap();
    let mut epochs = Vec::new();
    while let Some(epoch) = run.next_epoch().unwrap() {
        epochs.push(epoch);
    }
    let result = run.result().unwrap();
    assert_eq!(epochs.len(), 2);
    assert_eq!(epochs[1].evaluation.as_ref(), Some(&result.measures));
    let saved = SavedRun::open(&RunDirectory::new(&directory)).unwrap();
    assert_eq!(saved.evaluate_as_trained().unwrap(), result.measures);
}

/// Bytes of all files below a directory.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| if entry.path().is_dir() { bytes_below(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}

#[test]
fn an_estimate_writes_nothing_and_says_what_a_run_then_takes() {
    let temporary = tempfile::tempdir().unwrap();
    let teacher = temporary.path().join("teacher");
    train(settings(), &teacher).unwrap();
    let mut settings = settings();
    settings.graph.preset = Some("kd".to_owned());
    settings.graph.teacher = Some(teacher.join("checkpoints/step-000000012/node1.safetensors"));
    settings.train.epochs = 5;
    let before = bytes_below(temporary.path());
    let experiment = Experiment::open(settings.clone(), Path::new(".")).unwrap();
    let estimate = Estimate::measure(&experiment).unwrap();
    assert_eq!(bytes_below(temporary.path()), before);

    // Of 100 training images, half are trained on, in batches of 8.
    assert_eq!((estimate.steps, estimate.epochs, estimate.evaluations, estimate.evaluation_images), (30, 5, 5, 50));
    let Range { low, expected, high } = estimate.seconds;
    assert!(0.0 < low && low <= expected && expected <= high, "{estimate:?}");
    assert!(expected >= 30.0 * estimate.step.mean + 5.0 * estimate.evaluation_seconds, "{estimate:?}");
    assert!(estimate.step.count >= 3 && estimate.evaluation_seconds > 0.0, "{estimate:?}");
    assert!(estimate.peak_memory_bytes.is_none_or(|bytes| bytes > 1 << 20), "{estimate:?}");

    let run = temporary.path().join("run");
    train(settings, &run).unwrap();
    let checkpoints = bytes_below(&run.join("checkpoints"));
    let estimated = estimate.checkpoints as u64 * estimate.checkpoint_bytes;
    assert_eq!(bytes_below(&run.join("pretrained")), estimate.pretrained_bytes);
    let close = |estimated: u64, real: u64| (estimated as f64 / real as f64 - 1.0).abs() < 0.03;
    assert!(close(estimated, checkpoints), "{estimated} bytes of checkpoints, and not {checkpoints}");
    let real = bytes_below(&run);
    assert!(close(estimate.disk_bytes, real), "{} bytes, and not {real}", estimate.disk_bytes);
}

#[test]
fn with_flips_an_image_and_its_mirror_image_get_the_mean_of_both_answers() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    train(settings(), &directory).unwrap();
    let mut saved = SavedRun::open(&RunDirectory::new(&directory)).unwrap();
    let image = Image::new(8, 8, 1, (0..64).map(|i| (i * 37 % 251) as u8).collect()).unwrap();
    let mut mirrored = image.clone();
    mirrored.flip();
    let images = vec![image.clone(), mirrored.clone()];
    let dataset = Dataset::from_images("test", saved.classes.clone(), images, vec![0, 0]).unwrap();
    // By node: logits and maps of the image, then of the mirror image.
    let answers = |run: &SavedRun| {
        let mut outputs = run.outputs(&dataset).unwrap();
        let (_, members) = outputs.next().unwrap().unwrap();
        let halves = |values: &[f32]| values.chunks_exact(values.len() / 2).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let node = |member: &MemberOutputs| (halves(&member.logits), halves(&member.maps.as_ref().unwrap().0));
        members.iter().map(node).collect::<Vec<_>>()
    };
    let mirror = |map: &[f32]| map.chunks_exact(4).flat_map(|row| row.iter().rev().copied()).collect::<Vec<_>>();
    let mean = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect::<Vec<_>>();

    let plain = answers(&saved);
    let plain_predictions = [&image, &mirrored].map(|image| saved.predict_image(image, "x").unwrap());
    saved.judge_with_flips();
    let flipped = answers(&saved);
    let predictions = [&image, &mirrored].map(|image| saved.predict_image(image, "x").unwrap());
    for (m, ((logits, maps), (flipped_logits, flipped_maps))) in plain.iter().zip(&flipped).enumerate() {
        assert!(logits[0] != logits[1] && maps[0].len() == 16 && maps[0] != mirror(&maps[1]));
        let mean_logits = mean(&logits[0], &logits[1]);
        assert_eq!(*flipped_logits, [mean_logits.clone(), mean_logits]);
        let mean_map = mean(&maps[0], &mirror(&maps[1]));
        assert_eq!(*flipped_maps, [mean_map.clone(), mirror(&mean_map)]);
        // Predictions say the same.
        let [of_image, of_mirrored] = predictions.each_ref().map(|prediction| &prediction.nodes[m]);
        assert_eq!(of_image.probabilities, of_mirrored.probabilities);
        assert_eq!(of_image.map, Some((mean_map.clone(), 4)));
        assert_eq!(of_mirrored.map, Some((mirror(&mean_map), 4)));
    }
    assert_eq!(predictions[0].ensemble, predictions[1].ensemble);
    assert_ne!(plain_predictions[0].ensemble, plain_predictions[1].ensemble);
    // What is shown is what was there.
    assert_eq!(predictions[1].input, plain_predictions[1].input);
}

#[test]
fn a_training_is_judged_with_flips_and_learns_the_same() {
    let temporary = tempfile::tempdir().unwrap();
    let [plain, flipped] = ["plain", "flipped"].map(|name| temporary.path().join(name));
    let without = train(settings(), &plain).unwrap();
    let mut with_flips = settings();
    with_flips.augment.eval_flip = true;
    let with = train(with_flips, &flipped).unwrap();
    assert_ne!(with.measures.ensemble.nll, without.measures.ensemble.nll);
    let weights = |directory: &Path| fs::read(directory.join("checkpoints/step-000000012/node1.safetensors")).unwrap();
    assert_eq!(weights(&plain), weights(&flipped));

    let mut saved = SavedRun::open(&RunDirectory::new(&plain)).unwrap();
    assert_eq!(saved.evaluate_as_trained().unwrap(), without.measures);
    saved.judge_with_flips();
    assert_eq!(saved.evaluate_as_trained().unwrap(), with.measures);
    let flipped = SavedRun::open(&RunDirectory::new(&flipped)).unwrap();
    assert_eq!(flipped.evaluate_as_trained().unwrap(), with.measures);
}

#[test]
fn pretrained_and_frozen_teachers_keep_their_weights_and_students_learn() {
    let temporary = tempfile::tempdir().unwrap();
    let teacher = temporary.path().join("teacher");
    train(settings(), &teacher).unwrap();
    let weights = teacher.join("checkpoints/step-000000012/node1.safetensors");

    let mut settings = settings();
    settings.graph.preset = Some("kd".to_owned());
    settings.graph.teacher = Some(weights.clone());
    let student = temporary.path().join("student");
    train(settings, &student).unwrap();
    let read = |path: &Path| ktg_net::weights::read(path).unwrap().arrays;
    let last = student.join("checkpoints/step-000000012");
    assert_eq!(read(&last.join("node1.safetensors")), read(&weights));
    // The run has its own copy of the teacher, so it can be judged when the original is gone.
    fs::remove_dir_all(&teacher).unwrap();
    let run = SavedRun::open(&RunDirectory::new(&student)).unwrap();
    run.evaluate_as_trained().unwrap();
    let momentum = read(&last.join("optimiser.safetensors"));
    assert!(momentum.keys().all(|name| name.starts_with("node2.")) && !momentum.is_empty());
}

#[test]
fn damaged_result_and_metrics_are_named_and_never_misread() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    train(settings(), &directory).unwrap();
    let whole = RunRecord::read(&RunDirectory::new(&directory)).unwrap();
    // The file with something replaced; what the reader says.
    let damaged = |name: &str, from: &str, to: &str| -> Result<RunRecord, String> {
        let (path, before) = (directory.join(name), fs::read_to_string(directory.join(name)).unwrap());
        assert!(before.contains(from), "{before}");
        fs::write(&path, before.replacen(from, to, 1)).unwrap();
        let read = RunRecord::read(&RunDirectory::new(&directory)).map_err(|e| e.to_string());
        fs::write(&path, before).unwrap();
        read
    };
    let pairs = "\"nodes\": [\n          1,\n          2";
    for nodes in ["0,\n          2", "1,\n          9"] {
        let message = damaged("result.json", pairs, &format!("\"nodes\": [\n          {nodes}")).unwrap_err();
        assert!(message.contains("result.json: there is no pair of nodes"), "{message}");
    }
    let epoch = "\"kind\":\"epoch\"";
    let message = damaged("metrics.jsonl", epoch, "\"kind\":").unwrap_err();
    assert!(message.contains("metrics.jsonl: line 7: ") && message.contains("train anew"), "{message}");
    // Epochs are judged by their lines' edges: the first edge of the first epoch comes from the label.
    let text = fs::read_to_string(directory.join("metrics.jsonl")).unwrap();
    let line = text.lines().find(|line| line.contains(epoch)).unwrap();
    for (from, to) in [("\"to\":1", "\"to\":0"), ("\"to\":1", "\"to\":3"), ("\"from\":\"label\"", "\"from\":0")] {
        let message = damaged("metrics.jsonl", line, &line.replacen(from, to, 1)).unwrap_err();
        assert!(message.contains("there is no edge `"), "{message}");
    }
    // A last line that is being written is not there yet.
    let path = directory.join("metrics.jsonl");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, before.clone() + "{\"kind\":\"ep").unwrap();
    assert_eq!(RunRecord::read(&RunDirectory::new(&directory)).unwrap().epochs, whole.epochs);
}

#[test]
fn divergence_names_node_edge_and_step() {
    let temporary = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.train.learning_rate = 1e30;
    settings.train.log_every = 1;
    let directory = temporary.path().join("run");
    let error = train(settings, &directory).unwrap_err();
    let Error::Diverged { node, step, .. } = &error else { panic!("{error}") };
    assert!((1..=2).contains(node) && (2..=4).contains(step), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("lower the learning rate, which is 1e30 here") || message.contains("1000000"),
        "{message}"
    );
    // The steps before it are in the metrics.
    let metrics = fs::read_to_string(directory.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count() as u64, step - 1, "{metrics}");
}

#[test]
fn mistakes_are_named_before_anything_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path();
    let fails = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        let directory = path.join("failed");
        let message = train(settings, &directory).unwrap_err().to_string();
        assert!(!directory.exists(), "{message}");
        message
    };
    assert!(fails(&|s| s.graph.architecture = Some("vgg-16".to_owned())).contains("there is no network `vgg-16`"));
    assert!(fails(&|s| s.train.batch_size = 5000).contains("fewer than one batch of 5000"));
    let message = fails(&|s| s.split.evaluate_on = ktg_train::EvaluateOn::Val);
    assert!(message.contains("the data has no validation images"), "{message}");
    assert!(fails(&|s| s.graph.file = Some("x.toml".into())).contains("leave one of them out"));
    let of_halves = [Precision::Bf16, Precision::F16];
    for precision in of_halves.into_iter().filter(|precision| !Devices::chosen().compute(*precision)) {
        let message = fails(&|s| s.train.precision = precision.into());
        let expected = "in which networks are not computed on cpu; leave it out, or write f32";
        assert_eq!(message, format!("`train.precision` is {}, {expected}", precision.name()));
    }

    fs::write(
        path.join("mixed.toml"),
        "[nodes]\n1 = \"abn-resnet-cifar-8\"\n2 = \"resnet-cifar-8\"\n[edges]\n\"label -> 1\" = \"through\"\n\
         \"1 -> 2\" = \"attention apart\"\n",
    )
    .unwrap();
    let message = fails(&|s| {
        s.graph = GraphSettings { file: Some(path.join("mixed.toml")), ..GraphSettings::default() };
    });
    assert!(message.contains("mixed.toml:6: ") && message.contains("4x4 and 2x2"), "{message}");
    let message = fails(&|s| {
        s.graph.preset = Some("kd".to_owned());
        s.graph.teacher = Some("none.safetensors".into());
    });
    assert!(message.contains("cannot read the weights file") && message.contains("none.safetensors"), "{message}");
    for (nodes, reason) in [(0, "1 to 64 nodes, not 0"), (1, "at least 2 nodes"), (1_000_000, "nodes, not 1000000")] {
        let message = fails(&|s| {
            s.graph.preset = Some("kd".to_owned());
            s.graph.nodes = Some(nodes);
            s.graph.teacher = Some("none.safetensors".into());
        });
        assert!(message.contains(reason), "{nodes}: {message}");
    }
    for epochs in [0, 1_000_001, usize::MAX] {
        assert_eq!(fails(&|s| s.train.epochs = epochs), "`train.epochs` is between 1 and 1000000");
    }

    // A directory that holds a run, or something else, is left alone.
    let directory = path.join("run");
    train(settings(), &directory).unwrap();
    let message = train(settings(), &directory).unwrap_err().to_string();
    assert!(message.contains("continue it with --resume"), "{message}");
    fs::create_dir(path.join("other")).unwrap();
    fs::write(path.join("other/notes.txt"), "mine").unwrap();
    let message = train(settings(), &path.join("other")).unwrap_err().to_string();
    assert!(message.contains("it is not empty (there is `notes.txt`)"), "{message}");
    let message = resume(&path.join("other")).err().unwrap().to_string();
    assert!(message.contains("there is no run in it"), "{message}");

    // What a process left that was killed while it wrote the description is no run yet; older ones called it otherwise.
    fs::create_dir(path.join("killed")).unwrap();
    for name in ["graph.toml", "graph.toml.x1Y2z3.tmp", "settings.toml.x1Y2z3.tmp", "data.json.tmp"] {
        fs::write(path.join("killed").join(name), "half").unwrap();
    }
    start(settings(), &path.join("killed")).unwrap();
}
