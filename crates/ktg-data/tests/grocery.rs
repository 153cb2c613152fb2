//! Real photographs: the Grocery Store data set.

use ktg_data::sources::List;
use ktg_data::*;
use std::path::PathBuf;

#[test]
#[ignore = "needs the Grocery Store data set: set KTG_GROCERY to its folder"]
fn the_grocery_lists_open_and_load() {
    let root = std::env::var_os("KTG_GROCERY").map(PathBuf::from);
    let root = root.expect("this test needs the Grocery Store data set: set KTG_GROCERY to its folder");
    let open = |label_column| {
        let list = List {
            root: Some(root.clone()),
            val: Some("val.txt".into()),
            classes: Some("classes.csv".into()),
            label_column: Some(label_column),
            ..List::default()
        };
        let source = DataSource { kind: SourceKind::List(list), skip: None };
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
