//! Real photographs: the Grocery Store data set, where it is at hand.

use ktg_data::*;
use std::path::PathBuf;

#[test]
fn the_grocery_lists_open_and_load() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/grocery");
    let root = std::env::var_os("KTG_GROCERY").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if !root.join("train.txt").exists() {
        eprintln!("skipped: no Grocery Store data in {} (set KTG_GROCERY to its folder)", root.display());
        return;
    }
    let open = |label_column| {
        let source = DataSource {
            source: "list".into(),
            root: Some(root.clone()),
            val: Some("val.txt".into()),
            classes: Some("classes.csv".into()),
            label_column: Some(label_column),
            ..Default::default()
        };
        source.open(&root).unwrap()
    };
    let Splits { train, val, test, warnings, .. } = open(1);
    assert_eq!((train.len(), val.unwrap().len(), test.len(), train.classes()), (2640, 296, 2485, 81));
    assert_eq!(train.class_names()[1], "Granny-Smith");
    eprintln!("{warnings:?}");
    let coarse = open(2).train;
    assert_eq!((coarse.classes(), coarse.class_names()[0].as_str()), (43, "Apple"));

    let few = train.take_per_class(1);
    few.check(0, &|_, _| {}).unwrap();
    let transform = Transform::new(&Augment::preset(Preset::FineGrained), 32, 3).unwrap();
    for pipeline in [transform.train, transform.eval] {
        let order = epoch_order(few.len(), 1, 0, true);
        let loader = Loader::new(&few, LoaderConfig::new(pipeline), order).unwrap();
        let batches: Vec<Batch> = loader.map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(Batch::len).sum::<usize>(), 81);
        let values = batches.iter().flat_map(|batch| &batch.images);
        let mean = values.clone().sum::<f32>() / values.count() as f32;
        assert!((0.2..0.8).contains(&mean), "mean brightness {mean}");
    }
}
