//! Figures and pages of runs that are finished, under way, or damaged.

use std::fs;

use ktg_figures::page::Block;
use ktg_report::figures;
use ktg_report::report::{self, Options, Subject};
use ktg_train::{RunDirectory, RunRecord};
use serde_json::json;

use super::{assert_says, change_json, finished_run, refused, unfinished_run};

/// The page about a run, in HTML.
fn page(run: &RunDirectory, evaluate: bool) -> anyhow::Result<String> {
    let options = Options { images: 2, chosen: vec![], evaluate, top: 1, progress: &|_| {} };
    report::page(&[Subject::Run(run.clone())], None, &options).map(|page| page.to_html())
}

#[test]
fn an_unfinished_run_is_drawn_as_far_as_it_is() {
    let here = tempfile::tempdir().unwrap();
    let run = RunRecord::read(&unfinished_run(here.path().join("run"))).unwrap();
    assert_eq!((run.result.as_ref(), run.epochs.len()), (None, 1));
    let curves = figures::training_curves(&run);
    let losses = figures::edge_losses(&run);
    for name in ["node 1", "node 2", "ensemble"] {
        assert!(curves.contains(name), "{name} in {curves}");
    }
    for edge in ["label -", "1 -", "2 -"] {
        assert!(losses.contains(edge), "{edge} in {losses}");
    }
    let page = page(&RunDirectory::new(here.path().join("run")), true).unwrap();
    assert!(page.contains("Not finished: 1 of 2 epochs are done."), "{page:.3000}");
    // Its checkpoint can be looked at, and its last epoch was judged.
    assert!(page.contains("Images that the nodes disagree on") && page.contains("Disagreement"));
}

#[test]
fn a_run_before_its_first_epoch_is_no_error() {
    let here = tempfile::tempdir().unwrap();
    let directory = unfinished_run(here.path().join("run"));
    for file in ["metrics.jsonl", "timing.jsonl"] {
        fs::remove_file(directory.path().join(file)).unwrap();
    }
    fs::remove_dir_all(directory.path().join("checkpoints")).unwrap();
    let run = RunRecord::read(&directory).unwrap();
    assert!(run.epochs.is_empty() && run.seconds == 0.0);
    let (curves, losses) = (figures::training_curves(&run), figures::edge_losses(&run));
    assert!(curves.contains("No epoch is finished yet.") && losses.contains("No epoch is finished yet."));
    let page = page(&directory, true).unwrap();
    assert!(page.contains("Not finished: 0 of 2 epochs are done."), "{page:.3000}");
    assert!(page.contains("Attention maps, calibration and confused classes are missing: "), "{page:.3000}");
    assert!(page.contains("it has no usable checkpoint yet"), "{page:.3000}");
}

#[test]
fn a_finished_run_is_drawn_with_its_result() {
    let here = tempfile::tempdir().unwrap();
    let directory = finished_run(here.path().join("run"));
    let run = RunRecord::read(&directory).unwrap();
    let measures = &run.result.as_ref().unwrap().measures;
    let page = page(&directory, false).unwrap();
    let sentence = format!(
        "After 2 epochs, on {} images: node average {:.2} %, ensemble {:.2} %",
        measures.images, measures.node_average.top1, measures.ensemble.accuracy.top1
    );
    assert!(page.contains(&sentence), "{sentence} in {page:.3000}");
    assert!(
        page.contains("Attention maps, calibration and confused classes were left out on request."),
        "{page:.3000}"
    );
}

#[test]
fn terms_of_an_edge_that_has_several_are_dashed_and_in_a_table() {
    let here = tempfile::tempdir().unwrap();
    let directory = finished_run(here.path().join("run"));
    let table = "Losses of epoch 2";
    assert!(!figures::edge_losses(&RunRecord::read(&directory).unwrap()).contains("stroke-dasharray"));
    assert!(!page(&directory, false).unwrap().contains(table));

    // Both edges between the nodes teach attention, too.
    let metrics = directory.path().join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, text.replace("\"probability\":", "\"attention\":0.0625,\"probability\":")).unwrap();
    let losses = figures::edge_losses(&RunRecord::read(&directory).unwrap());
    // Two terms of two edges, and the legend.
    assert_eq!(losses.matches("stroke-dasharray").count(), 2 * 2 + 1, "{losses}");
    assert!(losses.contains("one of its terms") && !losses.contains(", attention"), "{losses}");
    let dashed_of_terms = losses.match_indices("stroke-dasharray").nth(1).unwrap().0;
    let last_sum = losses.rfind("stroke-width=\"1.5\"").unwrap();
    assert!(last_sum < dashed_of_terms, "the terms come after the sums: {losses}");
    let page = page(&directory, false).unwrap();
    for text in ["dashed, each term of an edge that has several", table, "0.0625"] {
        assert!(page.contains(text), "{text} in {page:.3000}");
    }
}

#[test]
fn pairs_of_nodes_are_drawn_by_what_was_measured() {
    let here = tempfile::tempdir().unwrap();
    let run = RunRecord::read(&finished_run(here.path().join("run"))).unwrap();
    let mut measures = run.result.unwrap().measures;
    let titles = |figures: Vec<String>| {
        let title = |svg: &String| svg.split("<title>").nth(1).unwrap().split("</title>").next().unwrap().to_owned();
        figures.iter().map(title).collect::<Vec<_>>()
    };
    let all = titles(figures::diversity(&measures));
    assert_eq!(all.len(), 3, "{all:?}");
    // Maps of different sizes are not compared.
    measures.pairs[0].attention_cosine = None;
    assert_eq!(titles(figures::diversity(&measures)), all[..2]);
    // A single network has nobody to differ from.
    measures.nodes.truncate(1);
    measures.pairs.clear();
    assert_eq!(figures::diversity(&measures), Vec::<String>::new());
}

#[test]
fn a_damaged_file_of_a_run_is_named() {
    let here = tempfile::tempdir().unwrap();
    let damage = |file: &str, content: &str| {
        let directory = finished_run(here.path().join(file));
        fs::write(directory.path().join(file), content).unwrap();
        let message = refused(page(&directory, false));
        let path = directory.path().join(file).display().to_string();
        assert_says(&message, &[&path]);
        message
    };
    assert_says(&damage("result.json", "{\"seed\": 1"), &["EOF"]);
    assert_says(&damage("result.json", "{}"), &["missing field"]);
    assert_says(&damage("data.json", "[]"), &[]);
    assert_says(&damage("graph.toml", "nodes = 2\n"), &[]);
    assert_says(&damage("settings.toml", "side = 8\nsid = 8\n"), &["settings.toml:2: ", "unknown field `sid`"]);
    assert_says(&damage("metrics.jsonl", "{\"kind\": \"step\"}\n{\"kind\"\n"), &["line 2: "]);
}

#[test]
fn a_result_with_nodes_that_are_not_there_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let directory = finished_run(here.path().join("run"));
    let result = directory.path().join("result.json");
    change_json(&result, |json| json["measures"]["pairs"][0]["nodes"] = json!([1, 3]));
    let message = refused(page(&directory, false));
    assert_says(&message, &[&result.display().to_string(), "no pair of nodes 1 and 3 among 2 nodes"]);
}

/// The first table of a page about runs, as CSV and as HTML.
fn side_by_side(runs: &[&RunDirectory]) -> (String, String) {
    let options = Options { images: 0, chosen: vec![], evaluate: false, top: 1, progress: &|_| {} };
    let subjects: Vec<Subject> = runs.iter().map(|run| Subject::Run((*run).clone())).collect();
    let page = report::page(&subjects, None, &options).unwrap();
    assert_eq!(page.sections.len(), runs.len() + 1);
    let Some(Block::Table(table)) = page.sections[0].blocks.first() else { panic!("{:?}", page.sections[0]) };
    (table.to_csv(), table.to_markdown())
}

#[test]
fn several_runs_stand_side_by_side_and_the_best_of_the_finished_ones_are_marked() {
    let here = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| finished_run(here.path().join(name)));
    let open = unfinished_run(here.path().join("open"));
    change_json(&second.path().join("result.json"), |result| {
        let measures = &mut result["measures"];
        measures["ensemble"]["top1"] = json!(99.0);
        measures["ensemble"]["nll"] = json!(9.0);
    });
    let (csv, markdown) = side_by_side(&[&first, &second, &open]);
    let line = |name: &str| csv.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{csv}"));
    let measures = RunRecord::read(&first).unwrap().result.unwrap().measures;
    let (average, ensemble) = (measures.node_average.top1, measures.ensemble.accuracy.top1);
    let expected = format!(",abn-resnet-cifar-8 x 2,1,2,{average},{ensemble},{},", ensemble - average);
    assert!(line("a,").contains(&expected) && line("a,").ends_with(",50"), "{csv}\nlacks {expected}");
    assert!(line("b,").contains(",99,") && line("open,").contains(",1 of 2,"), "{csv}");
    assert!(line("open,").contains("Not finished. Its figures are those of epoch 1."), "{csv}");
    // The second has the better ensemble, the first the better NLL; the unfinished one does not compete.
    let row = |name: &str| markdown.lines().find(|line| line.starts_with(&format!("| {name}"))).unwrap().to_owned();
    assert!(row("b").contains("**99.00**") && !row("b").contains("**9.000**"), "{markdown}");
    assert!(
        row("a").contains(&format!("**{:.3}**", measures.ensemble.nll)) && !row("open").contains("**"),
        "{markdown}"
    );
}

#[test]
fn runs_that_are_judged_on_different_images_are_not_ranked() {
    let here = tempfile::tempdir().unwrap();
    let [first, second] = ["x/a", "y/a"].map(|name| finished_run(here.path().join(name)));
    change_json(&second.path().join("data.json"), |data| data["evaluation_fingerprint"] = json!("other"));
    let (csv, markdown) = side_by_side(&[&first, &second]);
    assert!(!markdown.contains("Bold:") && markdown.contains("judged on different images"), "{markdown}");
    // Their directories have the same name.
    assert!(csv.contains("x/a,") && csv.contains("y/a,"), "{csv}");
}

#[test]
fn the_section_of_a_run_says_which_classes_are_confused() {
    let here = tempfile::tempdir().unwrap();
    let page = page(&finished_run(here.path().join("run")), true).unwrap();
    for text in ["The most confused classes", "Which classes are taken for which", "Classes, the worst first"] {
        assert!(page.contains(text), "{text}");
    }
}
