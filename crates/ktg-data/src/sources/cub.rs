//! CUB-200-2011: text files of lines `number value`, and `images/`.

use super::official::{Labeled, Official, Published, label};
use super::place::path_inside;
use crate::lines::{LineError, text_of};
use crate::{Error, Splits};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const OFFICIAL: Official = Official {
    name: "CUB-200-2011",
    from: "https://data.caltech.edu/records/65de6-vp158 (CUB_200_2011.tgz)",
    layout: "ROOT/{images,image_class_labels,train_test_split,classes}.txt and ROOT/images/CLASS/*.jpg",
    folder: Some("CUB_200_2011"),
    classes: 200,
    train: 5_994,
    test: 5_794,
};

pub(super) fn open(options: &Published, root: &Path) -> Result<Splits, Error> {
    let root = OFFICIAL.root(root, &["images.txt"])?;
    let [image_list, label_list, split_list, class_list] =
        ["images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"].map(|name| root.join(name));
    let read = |file: &Path| parse(&OFFICIAL.read(file)?).map_err(|(line, problem)| Error::line(file, line, problem));
    let (images, labels) = (read(&image_list)?, read(&label_list)?);
    let (splits, classes) = (read(&split_list)?, read(&class_list)?);
    let names: Vec<String> = classes.values().map(|name| without_number(name).to_string()).collect();
    if let Some(gap) = (1..=names.len()).find(|number| !classes.contains_key(number)) {
        return Err(Error::file(&class_list, format!("class {gap} is missing; numbers go 1, 2, 3, ...")));
    }
    for (file, table) in [(&label_list, &labels), (&split_list, &splits)] {
        if let Some(number) = table.keys().find(|number| !images.contains_key(number)) {
            return Err(Error::file(file, format!("image {number} is not in images.txt")));
        }
    }
    let mut parts = [Labeled::new(), Labeled::new()];
    for (number, image) in &images {
        let number_in = |file: &Path, table: &BTreeMap<usize, String>| {
            let value = table.get(number).and_then(|value| value.parse::<u32>().ok());
            value.ok_or_else(|| Error::file(file, format!("no whole number for image {number} ({image})")))
        };
        let class = number_in(&label_list, &labels)? as usize;
        let label = label(class, names.len())
            .map_err(|problem| Error::file(&label_list, format!("image {number} ({image}) {problem}")))?;
        let part = match number_in(&split_list, &splits)? {
            1 => 0,
            0 => 1,
            n => return Err(Error::file(&split_list, format!("image {number} has {n}; 1 is training, 0 is test"))),
        };
        let path = path_inside(&root.join("images"), image)
            .ok_or_else(|| Error::file(&image_list, format!("image {number}: the path {image} leaves the data set")))?;
        parts[part].push((path, label));
    }
    OFFICIAL.files(options, (&root, &image_list), names, parts)
}

/// `Laysan_Albatross` for `002.Laysan_Albatross`.
fn without_number(class: &str) -> &str {
    class.split_once('.').map_or(class, |(number, name)| match number.parse::<u32>() {
        Ok(_) => name,
        Err(_) => class,
    })
}

/// The values by their numbers; an error has its line.
pub(crate) fn parse(bytes: &[u8]) -> Result<BTreeMap<usize, String>, LineError> {
    let text = text_of(bytes)?;
    let mut values = BTreeMap::new();
    for (line, text) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        if text.is_empty() {
            continue;
        }
        let Some((number, value)) = text.split_once(' ') else {
            return Err((line, "a line is `number value`".into()));
        };
        let number = number.parse().map_err(|_| (line, format!("\"{number}\" is no number")))?;
        if values.insert(number, value.trim().to_string()).is_some() {
            return Err((line, format!("number {number} was in an earlier line already")));
        }
    }
    Ok(values)
}
