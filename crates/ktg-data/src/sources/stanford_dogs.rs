//! Stanford Dogs: `Images/` and the lists `train_list.mat`, `test_list.mat`, in `lists/` or beside it.

use super::mat::{self, Value};
use super::official::{Labeled, Official, Published};
use super::place::path_inside;
use crate::{Error, Splits};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const OFFICIAL: Official = Official {
    name: "Stanford Dogs",
    from: "http://vision.stanford.edu/aditya86/ImageNetDogs/ (images.tar and lists.tar)",
    layout: "ROOT/Images/n02085620-Chihuahua/*.jpg and ROOT/lists/{train_list,test_list}.mat",
    folder: None,
    classes: 120,
    train: 12_000,
    test: 8_580,
};

pub(super) fn open(options: &Published, root: &Path) -> Result<Splits, Error> {
    let root = OFFICIAL.root(root, &["Images"])?;
    let lists = if root.join("lists").is_dir() { root.join("lists") } else { root.clone() };
    let mut names = BTreeMap::new();
    let mut read = |name: &str| {
        let list = lists.join(name);
        let entries = parse(&OFFICIAL.read(&list)?).map_err(|problem| Error::file(&list, problem))?;
        let mut labeled = Labeled::new();
        for (i, (file, label)) in entries.into_iter().enumerate() {
            let path = path_inside(&root.join("Images"), &file)
                .ok_or_else(|| Error::file(&list, format!("image {i}: the path {file} leaves the folder of images")))?;
            let breed = breed(&file).to_string();
            let known = names.entry(label).or_insert_with(|| breed.clone());
            if *known != breed {
                let problem = format!("label {} is {known} and, for {file}, {breed}", label + 1);
                return Err(Error::file(&list, problem));
            }
            labeled.push((path, label));
        }
        Ok(labeled)
    };
    let parts = [read("train_list.mat")?, read("test_list.mat")?];
    let list = lists.join("train_list.mat");
    if let Some(gap) = (0..names.len() as u32).find(|label| !names.contains_key(label)) {
        return Err(Error::file(&list, format!("no image has label {}, although larger labels are used", gap + 1)));
    }
    let mut labels = BTreeMap::new();
    for (label, name) in &names {
        if let Some(other) = labels.insert(name, label) {
            return Err(Error::file(&list, format!("{name} has the labels {} and {}", other + 1, label + 1)));
        }
    }
    OFFICIAL.files(options, (&root, &list), names.into_values().collect(), parts)
}

/// `Chihuahua` for `n02085620-Chihuahua/n02085620_7.jpg`: what follows the synset in the folder's name.
fn breed(file: &str) -> &str {
    let folder = file.split_once('/').map_or(file, |(folder, _)| folder);
    folder.split_once('-').map_or(folder, |(_, breed)| breed)
}

/// File names and labels, from 0 on.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<(String, u32)>, String> {
    let mut variables = mat::parse(bytes)?;
    let (Some(Value::Cells(files)), Some(Value::Numbers(labels))) =
        (variables.remove("file_list"), variables.remove("labels"))
    else {
        return Err("lacks the cells `file_list` or the numbers `labels`".into());
    };
    if files.len() != labels.len() {
        return Err(format!("{} files, but {} labels", files.len(), labels.len()));
    }
    let entry = |(i, (file, label)): (usize, (Value, f64))| {
        let file = file.text().ok_or_else(|| format!("entry {i} of `file_list` is no text"))?;
        let label = Value::Numbers(vec![label - 1.0]).index();
        let label = label.ok_or_else(|| format!("entry {i} of `labels` is no number from 1 on"))?;
        Ok((file.to_string(), label as u32))
    };
    files.into_iter().zip(labels).enumerate().map(entry).collect()
}
