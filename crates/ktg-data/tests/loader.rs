//! The loader: same batches for any number of threads, and no hanging.

use ktg_data::sources::List;
use ktg_data::*;
use std::path::Path;
use std::time::{Duration, Instant};

fn dataset() -> Dataset {
    DataSource::default().open(Path::new(".")).unwrap().train.take_per_class(5)
}

fn config(dataset: &Dataset, threads: usize) -> LoaderConfig {
    let transform = Transform::new(&Augment::preset(Preset::FineGrained), 20, dataset.channels()).unwrap();
    LoaderConfig { batch_size: 7, threads, prefetch: 1, seed: 3, epoch: 2, ..LoaderConfig::new(transform.train) }
}

fn batches(dataset: &Dataset, config: LoaderConfig) -> Vec<Batch> {
    let order = epoch_order(dataset.len(), 3, 2, true);
    Loader::new(dataset, config, order).unwrap().map(Result::unwrap).collect()
}

#[test]
fn batches_do_not_depend_on_threads() {
    let dataset = dataset();
    let expected = batches(&dataset, config(&dataset, 0));
    assert_eq!(expected.len(), 8);
    assert_eq!(expected.iter().map(Batch::len).collect::<Vec<_>>(), [7, 7, 7, 7, 7, 7, 7, 1]);
    let order = epoch_order(dataset.len(), 3, 2, true);
    assert_eq!(expected.iter().flat_map(|batch| batch.indices.clone()).collect::<Vec<_>>(), order);
    for batch in &expected {
        assert_eq!((batch.channels, batch.height, batch.width), (1, 20, 20));
        assert_eq!(batch.images.len(), batch.len() * 400);
        let labels: Vec<u32> = batch.indices.iter().map(|&i| dataset.label(i)).collect();
        assert_eq!(batch.labels, labels);
        assert!(batch.images.iter().all(|value| (0.0..=1.0).contains(value)));
    }
    for threads in 1..=3 {
        assert_eq!(batches(&dataset, config(&dataset, threads)), expected, "{threads} threads");
        for start_batch in [1, 5, 7, 8, 100] {
            let rest = batches(&dataset, LoaderConfig { start_batch, ..config(&dataset, threads) });
            assert_eq!(rest, expected[start_batch.min(8)..], "{threads} threads from batch {start_batch}");
        }
    }
    // More threads than batches.
    assert_eq!(batches(&dataset, config(&dataset, 20)), expected);
}

#[test]
fn an_incomplete_last_batch_can_be_dropped() {
    let dataset = dataset();
    for threads in [0, 2] {
        let kept = batches(&dataset, LoaderConfig { drop_last: true, ..config(&dataset, threads) });
        assert_eq!(kept.len(), 7);
        assert!(kept.iter().all(|batch| batch.len() == 7));
    }
}

#[test]
fn augmentation_depends_on_epoch_and_seed_but_not_on_the_order() {
    let dataset = dataset();
    let first = |config: LoaderConfig, order: Vec<usize>| {
        Loader::new(&dataset, config, order).unwrap().next().unwrap().unwrap().images
    };
    let base = || LoaderConfig { batch_size: 1, ..config(&dataset, 0) };
    let image = first(base(), vec![4]);
    assert_ne!(first(LoaderConfig { epoch: 9, ..base() }, vec![4]), image);
    assert_ne!(first(LoaderConfig { seed: 9, ..base() }, vec![4]), image);
    let two = first(LoaderConfig { batch_size: 2, ..base() }, vec![30, 4]);
    assert_eq!(two[400..], image);
}

#[test]
fn a_sample_that_comes_again_looks_otherwise() {
    let dataset = dataset();
    let order = vec![4, 9, 4, 4];
    let images = |order: Vec<usize>, start_batch| {
        let config = LoaderConfig { batch_size: 1, start_batch, ..config(&dataset, 0) };
        Loader::new(&dataset, config, order).unwrap().map(|batch| batch.unwrap().images).collect::<Vec<_>>()
    };
    let seen = images(order.clone(), 0);
    assert_eq!(seen[..2], images(vec![4, 9], 0));
    assert!(seen[0] != seen[2] && seen[2] != seen[3] && seen[0] != seen[3]);
    // Going on later, the times before count.
    assert_eq!(images(order, 2), seen[2..]);
}

#[test]
fn dropping_early_does_not_hang() {
    let dataset = dataset();
    let start = Instant::now();
    for taken in 0..4 {
        let order = epoch_order(dataset.len(), 0, 0, true).repeat(100);
        let mut loader = Loader::new(&dataset, config(&dataset, 3), order).unwrap();
        loader.by_ref().take(taken).for_each(|batch| assert!(batch.is_ok()));
        drop(loader); // joins the threads
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_empty_order_gives_no_batches() {
    let dataset = dataset();
    for threads in [0, 2] {
        assert!(Loader::new(&dataset, config(&dataset, threads), vec![]).unwrap().next().is_none());
    }
}

#[test]
fn a_bad_image_ends_the_loader_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photo.png");
    let mut list = String::new();
    for i in 0..9 {
        std::fs::copy(&photo, root.join(format!("{i}.png"))).unwrap();
        list += &format!("{i}.png, {}\n", i % 2);
    }
    std::fs::write(root.join("5.png"), "no image").unwrap();
    std::fs::write(root.join("train.txt"), &list).unwrap();
    std::fs::write(root.join("test.txt"), "0.png,0").unwrap();
    let list = List { root: Some(root.into()), ..List::default() };
    let source = DataSource { kind: SourceKind::List(list), skip: None };
    let train = source.open(root).unwrap().train;
    for threads in [0, 1, 3] {
        let config = LoaderConfig { batch_size: 1, ..config(&train, threads) };
        let order = epoch_order(9, 0, 0, false);
        let results: Vec<_> = Loader::new(&train, config, order).unwrap().collect();
        assert_eq!(results.len(), 6, "five good images, then the error, then the end");
        let error = results[5].as_ref().unwrap_err().to_string();
        assert!(error.contains("5.png") && error.contains("not an image"), "{error}");
    }
}

#[test]
fn images_of_another_size_than_an_empty_pipeline_takes_are_named() {
    let dataset = dataset();
    let config = LoaderConfig::new(Pipeline::new(32, 1, vec![]).unwrap());
    let error = Loader::new(&dataset, config, vec![3]).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("train image 3") && error.contains("28 x 28"), "{error}");
}

#[test]
fn wrong_settings_are_refused() {
    let dataset = dataset();
    let error = |config, order| Loader::new(&dataset, config, order).unwrap_err().to_string();
    let good = || config(&dataset, 1);
    assert!(error(LoaderConfig { batch_size: 0, ..good() }, vec![0]).contains("batch size of 0"));
    assert!(error(good(), vec![0, 50]).contains("sample 50 of a data set of 50"));
    let colour = Pipeline::new(28, 3, vec![]).unwrap();
    assert!(error(LoaderConfig { pipeline: colour, ..good() }, vec![0]).contains("3 channel(s), data of 1"));
}

#[test]
fn mixup_blends_samples_and_says_how() {
    let splits = DataSource::default().open(std::path::Path::new(".")).unwrap();
    let train = splits.train.take_per_class(4);
    let pipeline = Transform::new(&Augment::preset(Preset::None), 28, 1).unwrap().train;
    let batches = |mixup, threads| {
        let config = LoaderConfig { mixup, threads, batch_size: 16, seed: 3, ..LoaderConfig::new(pipeline.clone()) };
        Loader::new(&train, config, epoch_order(train.len(), 3, 0, true))
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    let (plain, mixed) = (batches(None, 0), batches(Some(0.4), 0));
    assert_eq!(mixed, batches(Some(0.4), 3));
    // Going on in the middle of an epoch.
    for (start_batch, threads) in (0..=mixed.len() + 1).flat_map(|start| [(start, 0), (start, 3)]) {
        let mixup = Some(0.4);
        let config = LoaderConfig {
            mixup,
            threads,
            start_batch,
            batch_size: 16,
            seed: 3,
            ..LoaderConfig::new(pipeline.clone())
        };
        let rest = Loader::new(&train, config, epoch_order(train.len(), 3, 0, true)).unwrap();
        let rest: Vec<_> = rest.map(Result::unwrap).collect();
        assert_eq!(rest, mixed[start_batch.min(mixed.len())..], "{threads} threads from batch {start_batch}");
    }
    for (plain, mixed) in plain.iter().zip(&mixed) {
        assert_eq!((&plain.indices, &plain.labels), (&mixed.indices, &mixed.labels));
        let Mixed { labels, share } = mixed.mixed.as_ref().unwrap();
        assert!((0.5..=1.0).contains(share) && plain.mixed.is_none());
        for (i, blend) in mixed.images.chunks_exact(28 * 28).enumerate() {
            let sample = |j: usize| &plain.images[j * 28 * 28..][..28 * 28];
            let is_partner = |&j: &usize| {
                let mut pairs = sample(i).iter().zip(sample(j)).zip(blend);
                plain.labels[j] == labels[i]
                    && pairs.all(|((a, b), c)| (share * a + (1.0 - share) * b - c).abs() < 1e-6)
            };
            assert!((0..plain.len()).any(|j| is_partner(&j)), "sample {i} is no blend with one of its partner's class");
        }
    }
    let shares: Vec<f32> = mixed.iter().filter_map(|batch| batch.mixed.as_ref()).map(|mixed| mixed.share).collect();
    assert!(shares.windows(2).any(|pair| pair[0] != pair[1]), "every batch has a share of its own: {shares:?}");
    for wrong in [0.0, -1.0, 4.1, 1e-310, f64::NAN] {
        let augment = Augment { mixup: Some(wrong), ..Augment::preset(Preset::Cifar) };
        assert!(Transform::new(&augment, 28, 1).unwrap_err().to_string().contains("mixup"));
        let augment = Augment { cutmix: Some(wrong), ..Augment::preset(Preset::Cifar) };
        let error = Transform::new(&augment, 28, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("cutmix = {wrong}; it must be 0.001 to 4")), "{error}");
    }
}

#[test]
fn each_batch_takes_mixup_or_cutmix_by_a_fair_draw() {
    let splits = DataSource::default().open(std::path::Path::new(".")).unwrap();
    let train = splits.train.take_per_class(40);
    let pipeline = Transform::new(&Augment::preset(Preset::None), 28, 1).unwrap().train;
    let of_epoch = |mixup, cutmix, epoch, (threads, start_batch)| {
        let base = LoaderConfig::new(pipeline.clone());
        let config = LoaderConfig { mixup, cutmix, epoch, threads, start_batch, batch_size: 2, seed: 3, ..base };
        let order = epoch_order(train.len(), 3, epoch, true);
        Loader::new(&train, config, order).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let batches = |mixup, cutmix| of_epoch(mixup, cutmix, 0, (0, 0));
    let (mixup, cutmix) = (Some(0.4), Some(1.0));
    let (plain, blended, cut, both) =
        (batches(None, None), batches(mixup, None), batches(None, cutmix), batches(mixup, cutmix));

    let mut cuts = 0;
    for (i, batch) in both.iter().enumerate() {
        assert_eq!((&batch.indices, &batch.labels), (&plain[i].indices, &plain[i].labels));
        assert_ne!(blended[i].mixed, cut[i].mixed);
        assert!((0.5..=1.0).contains(&cut[i].mixed.as_ref().unwrap().share));
        // It is one of them, as if the other were not asked for.
        assert!(*batch == blended[i] || *batch == cut[i], "batch {i}");
        cuts += usize::from(*batch == cut[i]);
        // CutMix blends no pixels.
        for (value, position) in cut[i].images.iter().zip(0..) {
            let at = |sample: usize| plain[i].images[sample * 28 * 28 + position % (28 * 28)];
            assert!([at(0), at(1)].contains(value));
        }
    }
    // Five standard deviations of 200 fair draws are 35.
    assert!((65..=135).contains(&cuts), "{cuts} of {}", both.len());
    assert_ne!(of_epoch(mixup, cutmix, 1, (0, 0)), both);
    for from in [(3, 0), (0, 77), (2, 150)] {
        assert_eq!(of_epoch(mixup, cutmix, 0, from), both[from.1..], "{from:?}");
    }
}
