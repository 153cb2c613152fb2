//! The demo with a tiny plan: every step of it, with trainings of seconds.

mod common;

use std::fs;

use common::{bad, good, ktg};
use serde_json::Value as Json;

#[test]
fn the_demo_searches_compares_and_reports_and_goes_on_with_what_is_there() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let demo = ["demo", "--out", "demo", "--repeats", "1", "--trials", "3", "--epochs", "1", "--json"];
    let line = good(ktg(here, &demo));
    let result: Json = serde_json::from_str(line.trim()).unwrap();
    let methods = result["methods"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Independent", "DML", "Found"]);
    for method in methods {
        let (nodes, ensemble) = (&method["node_average"]["mean"], &method["ensemble"]["mean"]);
        assert!(nodes.as_f64().unwrap() > 0.0 && ensemble.as_f64().unwrap() <= 100.0, "{method}");
        assert_eq!(method["runs"], 1);
    }
    assert_eq!((&result["train_images"], &result["search"]["trials"]), (&1000.into(), &3.into()));

    // All of it can be done by hand, with what it has written.
    let out = here.join("demo");
    let count = |folder: &str, ending: &str| {
        let names = fs::read_dir(out.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == ending)).count()
    };
    assert_eq!((count("graphs", "svg"), count("graphs", "toml")), (3, 3));
    assert!(count("attention", "png") >= 9);
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("Fashion-MNIST"));
    let tables = good(ktg(here, &["compare", "demo/plan.toml", "--no-check"]));
    let independent = format!("{:.2}", methods[0]["ensemble"]["mean"].as_f64().unwrap());
    assert!(tables.contains(&independent), "{independent} is not in\n{tables}");
    let storage = ["--storage", "sqlite:///demo/search.db"];
    let search = ["search", "demo/search.toml", "--study", "demo", "--trials", "3", "--runs", "demo/search.runs"];
    let searched = good(ktg(here, &[&search[..], &storage].concat()));
    assert!(searched.contains("3 trials"), "{searched}");

    // Again: nothing is trained again, and the numbers are the same.
    let again: Json = serde_json::from_str(good(ktg(here, &demo)).trim()).unwrap();
    assert_eq!(again["methods"], result["methods"]);
    assert_eq!(again["training_seconds_of_all_runs"], result["training_seconds_of_all_runs"]);

    // Another demo in the same place is refused, and changes nothing.
    let index = fs::read(out.join("comparison.json")).unwrap();
    let error = bad(ktg(here, &["demo", "--out", "demo", "--repeats", "1", "--trials", "3", "--epochs", "2"]));
    assert!(error.contains("give another --out"), "{error}");
    assert_eq!(fs::read(out.join("comparison.json")).unwrap(), index);
}
