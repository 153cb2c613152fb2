//! Which images are shown, and what the networks of a run answer to them.

use ktg_data::{Dataset, Image};
use ktg_report::attention::{attention_figure, most_disagreed, spread_over_classes};
use ktg_report::{Answer, answers};
use ktg_train::{RunRecord, SavedRun};

use super::{finished_run, refused};

/// An answer about which the nodes disagree that much.
fn answer(image: usize, attention: Option<f64>, probability: f64) -> Answer {
    Answer {
        image,
        label: 0,
        nodes: vec![0, 0],
        ensemble: 0,
        confidence: 0.5,
        attention_disagreement: attention,
        probability_disagreement: probability,
    }
}

#[test]
fn the_most_disagreed_images_come_first_and_of_equal_ones_the_earlier() {
    let answers =
        [(7, 0.2), (3, 0.9), (5, 0.4), (1, 0.4), (2, 0.1)].map(|(image, maps)| answer(image, Some(maps), 1.0 - maps));
    assert_eq!(most_disagreed(&answers, 3), [3, 1, 5]);
    assert_eq!(most_disagreed(&answers, 9), [3, 1, 5, 7, 2], "no more than there are");
    assert!(most_disagreed(&answers, 0).is_empty());
    assert!(most_disagreed(&[], 3).is_empty());
}

#[test]
fn without_maps_to_compare_class_probabilities_decide() {
    let answers = [(0, 0.1), (1, 0.8), (2, 0.5)].map(|(image, disagreement)| answer(image, None, disagreement));
    assert_eq!(most_disagreed(&answers, 2), [1, 2]);
}

/// Images of those labels, of that many classes.
fn dataset(labels: &[u32], classes: usize) -> Dataset {
    let image = |_| Image { width: 1, height: 1, channels: 1, pixels: vec![0].into() };
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    Dataset::from_images("test", names, labels.iter().map(image).collect(), labels.to_vec()).unwrap()
}

#[test]
fn shown_images_are_the_first_of_evenly_spaced_classes() {
    // The image 9 - c is the first of class c, and 10 + c the second.
    let labels: Vec<u32> = (0..10).rev().chain(0..10).collect();
    let data = dataset(&labels, 10);
    assert_eq!(spread_over_classes(&data, 5), [9, 7, 5, 3, 1]);
    assert_eq!(spread_over_classes(&data, 3), [9, 6, 3], "classes 0, 3 and 6");
    assert_eq!(spread_over_classes(&data, 99), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "one of each class at most");
    assert!(spread_over_classes(&data, 0).is_empty());
}

#[test]
fn classes_without_images_are_not_shown() {
    assert_eq!(spread_over_classes(&dataset(&[3, 0, 3], 4), 4), [1, 0]);
}

#[test]
fn the_answers_of_a_run_are_those_it_was_judged_by() {
    let here = tempfile::tempdir().unwrap();
    let directory = finished_run(here.path().join("run"));
    let run = SavedRun::open(&directory).unwrap();
    let data = run.evaluation_data().unwrap();
    let answers = answers(&run, &data).unwrap();
    let judged = RunRecord::read(&directory).unwrap().result.unwrap().measures;

    assert_eq!(answers.len(), judged.images);
    assert!(answers.iter().enumerate().all(|(i, answer)| answer.image == i && answer.label == data.label(i) as usize));
    // In percent.
    let share = |counts: &dyn Fn(&Answer) -> bool| {
        100.0 * answers.iter().filter(|answer| counts(answer)).count() as f64 / answers.len() as f64
    };
    let ensemble = share(&|answer| answer.ensemble == answer.label);
    let second_node = share(&|answer| answer.nodes[1] == answer.label);
    let disagreement = share(&|answer| answer.nodes[0] != answer.nodes[1]);
    let pair = judged.pairs[0];
    assert!((ensemble - judged.ensemble.accuracy.top1).abs() < 1e-9, "{ensemble}");
    assert!((second_node - judged.nodes[1].top1).abs() < 1e-9, "{second_node}");
    assert!((disagreement - 100.0 * pair.disagreement).abs() < 1e-9, "{disagreement}");
    let maps = answers.iter().map(|answer| answer.attention_disagreement.unwrap()).sum::<f64>() / answers.len() as f64;
    assert!((1.0 - maps - pair.attention_cosine.unwrap()).abs() < 1e-9, "{maps}, {pair:?}");
}

#[test]
fn a_figure_of_attention_has_a_row_an_image_and_a_column_a_node() {
    let here = tempfile::tempdir().unwrap();
    let run = SavedRun::open(&finished_run(here.path().join("run"))).unwrap();
    let data = run.evaluation_data().unwrap();
    let svg = attention_figure(&run, &data, &[0, 1], "What they see").unwrap();
    // The input and two nodes, twice.
    assert_eq!(svg.matches("<image").count(), 6);
    let class = &run.classes[data.label(0) as usize];
    for text in ["What they see", "input, ensemble", "node 1", "node 2", class] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn images_of_other_classes_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let run = SavedRun::open(&finished_run(here.path().join("run"))).unwrap();
    let message = refused(answers(&run, &dataset(&[0, 1], 2)).map_err(anyhow::Error::from));
    super::assert_says(&message, &["know 10 classes, and the data has 2"]);
}
