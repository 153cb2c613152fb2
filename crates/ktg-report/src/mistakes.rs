//! Pictures of the classes that are confused most.

use anyhow::Result;
use ktg_data::Dataset;
use ktg_figures::chart::{self, Picture, PictureRow, Pictures};
use ktg_train::SavedRun;

use crate::answers::Answer;
use crate::attention::png;
use crate::confusion::ConfusedPair;
use crate::overlay::picture;

/// A row a pair: an image that is taken for the other class, and one of the other class that is known, each as the
/// networks see it with what the ensemble answers. Of several, each is the one that the ensemble is surest of.
///
/// # Errors
/// If an image cannot be read, or the figure not be drawn.
pub fn mistakes_figure(
    run: &SavedRun,
    dataset: &Dataset,
    answers: &[Answer],
    pairs: &[ConfusedPair],
) -> Result<String> {
    let shown = |answer: Option<&Answer>| answer.map(|answer| shown(run, dataset, answer)).transpose();
    let mut rows = Vec::new();
    for pair in pairs {
        let [class, other] = pair.labels;
        // Where no image of the other class is known, any of them says what it looks like.
        let typical = surest(answers, other, Some(other)).or_else(|| surest(answers, other, None));
        rows.push(PictureRow {
            name: format!("{}: {}/{}", pair.class, pair.count, pair.images),
            cells: vec![shown(surest(answers, class, Some(other)))?, shown(typical)?],
        });
    }
    let columns = ["taken for", "typical for"].map(str::to_owned).to_vec();
    Ok(chart::pictures(&Pictures { title: "The most confused classes".to_owned(), columns, rows })?)
}

/// Of the images of a class, with a certain answer if there is one to look for, that with the surest answer.
fn surest(answers: &[Answer], class: usize, answered: Option<usize>) -> Option<&Answer> {
    let fits = |answer: &&Answer| answer.label == class && answered.is_none_or(|class| answer.ensemble == class);
    // Of equally sure ones, the first.
    answers.iter().rev().filter(fits).max_by(|a, b| a.confidence.total_cmp(&b.confidence))
}

/// An image as the networks see it, with the ensemble's answer.
fn shown(run: &SavedRun, dataset: &Dataset, answer: &Answer) -> Result<Picture> {
    let prediction = run.predict_image(&*dataset.image(answer.image)?, &dataset.name_of(answer.image))?;
    let png = png(picture(&prediction.input, run.settings.side))?;
    Ok(Picture { png, caption: run.classes[answer.ensemble].clone(), right: answer.ensemble == answer.label })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_answer_is_shown_and_of_equal_ones_the_first() {
        let answer = |image, label, ensemble, confidence| Answer {
            image,
            label,
            nodes: Vec::new(),
            ensemble,
            confidence,
            attention_disagreement: None,
            probability_disagreement: 0.0,
        };
        let answers = [answer(0, 0, 1, 0.5), answer(1, 0, 1, 0.8), answer(2, 0, 1, 0.8), answer(3, 0, 0, 0.9)];
        let image = |class, answered| surest(&answers, class, answered).map(|answer| answer.image);
        assert_eq!(
            [image(0, Some(1)), image(0, None), image(0, Some(2)), image(1, None)],
            [Some(1), Some(3), None, None]
        );
    }
}
