//! What each node looks at: attention maps over images, as in the thesis' figure 3.

use std::io::Cursor;

use anyhow::{Result, anyhow};
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, RgbImage};
use ktg_data::Dataset;
use ktg_figures::chart::{self, Picture, PictureRow, Pictures};
use ktg_train::SavedRun;

use crate::answers::Answer;
use crate::overlay::{overlay, picture};

/// Side of a picture in a report, in pixels.
const SIDE: u32 = 128;

/// Places of `count` images spread over the classes: the first image of evenly spaced classes. They depend on the data
/// alone, so that different runs show the same images.
pub fn spread_over_classes(dataset: &Dataset, count: usize) -> Vec<usize> {
    let classes = dataset.classes();
    let count = count.min(classes);
    let first = |class: usize| dataset.labels().iter().position(|label| *label as usize == class);
    (0..count).filter_map(|i| first(i * classes / count)).collect()
}

/// Places of the `count` images whose attention maps (or, for networks without comparable maps, class probabilities)
/// differ most between the nodes, the first most of all.
pub fn most_disagreed(answers: &[Answer], count: usize) -> Vec<usize> {
    let mut order: Vec<&Answer> = answers.iter().collect();
    let measure = |answer: &Answer| answer.attention_disagreement.unwrap_or(answer.probability_disagreement);
    order.sort_by(|a, b| measure(b).total_cmp(&measure(a)).then(a.image.cmp(&b.image)));
    order.into_iter().take(count).map(|answer| answer.image).collect()
}

/// Images by nodes: the input with the class that the ensemble answers, and every node's attention map over it with the
/// class it answers.
///
/// # Errors
/// If an image cannot be read, or the figure not be drawn.
pub fn attention_figure(run: &SavedRun, dataset: &Dataset, images: &[usize], title: &str) -> Result<String> {
    let mut columns = vec!["input, ensemble".to_owned()];
    columns.extend((1..=run.graph.len()).map(|m| format!("node {m}")));
    let mut rows = Vec::new();
    for &index in images {
        let prediction = run.predict_image(&*dataset.image(index)?, &dataset.name_of(index))?;
        let label = dataset.label(index) as usize;
        let said = |probabilities: &[f64]| {
            let answer = ktg_train::measures::argmax(probabilities);
            (run.classes[answer].clone(), answer == label)
        };
        let (caption, right) = said(&prediction.ensemble);
        let side = run.settings.side;
        let mut cells = vec![Some(Picture { png: png(picture(&prediction.input, side))?, caption, right })];
        for node in &prediction.nodes {
            let (caption, right) = said(&node.probabilities);
            let map = node.map.as_ref().map(|(map, width)| overlay(&prediction.input, side, map, *width));
            let png = map.map(png).transpose()?;
            cells.push(png.map(|png| Picture { png, caption, right }));
        }
        rows.push(PictureRow { name: run.classes[label].clone(), cells });
    }
    Ok(chart::pictures(&Pictures { title: title.to_owned(), columns, rows })?)
}

/// A picture as the bytes of a PNG file, no larger than a report needs.
pub(crate) fn png(picture: RgbImage) -> Result<Vec<u8>> {
    let mut picture = DynamicImage::from(picture);
    if picture.width() > SIDE {
        picture = picture.resize_exact(SIDE, SIDE, FilterType::Triangle);
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|e| anyhow!("cannot write a picture: {e}"))?;
    Ok(bytes.into_inner())
}
