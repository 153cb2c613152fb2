//! Stanford Cars in both official layouts: `cars_annos.mat` with `car_ims/`, or the development kit with `cars_train/`
//! and `cars_test/`.

use super::mat::{self, Value};
use super::official::{Labeled, Official, Published, label};
use super::place::path_inside;
use crate::{Error, Splits};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const OFFICIAL: Official = Official {
    name: "Stanford Cars",
    from: "https://www.kaggle.com/datasets/rickyyyyyyy/torchvision-stanford-cars (its first home at Stanford is gone)",
    layout: "ROOT/cars_annos.mat and ROOT/car_ims/*.jpg, or ROOT/devkit/{cars_meta,cars_train_annos}.mat, \
             ROOT/cars_test_annos_withlabels.mat, ROOT/cars_train/*.jpg and ROOT/cars_test/*.jpg",
    folder: Some("stanford_cars"),
    classes: 196,
    train: 8_144,
    test: 8_041,
};

/// One photo of a list.
pub(crate) struct Photo {
    file: String,
    /// From 1 on.
    class: usize,
    is_test: bool,
}

pub(super) fn open(options: &Published, root: &Path) -> Result<Splits, Error> {
    let root = OFFICIAL.root(root, &["cars_annos.mat", "devkit", "cars_train_annos.mat"])?;
    let read = |list: &Path| parse(&OFFICIAL.read(list)?).map_err(|problem| Error::file(list, problem));
    let place = |list: &Path, folder: &Path, photo: &Photo, classes: usize| {
        let path = path_inside(folder, &photo.file);
        let path = path.ok_or_else(|| Error::file(list, format!("the path {} leaves the data set", photo.file)))?;
        let label = label(photo.class, classes);
        let label = label.map_err(|problem| Error::file(list, format!("{} {problem}", photo.file)))?;
        Ok::<_, Error>((path, label))
    };
    let whole = root.join("cars_annos.mat");
    // The lists of the kit may lie in `devkit/` or at the top.
    let find = |name: &str| [root.join("devkit").join(name), root.join(name)].into_iter().find(|path| path.exists());
    // Bundles have the list of one layout beside all of the other one: the photos tell.
    let is_kit = root.join("cars_train").exists() && find("cars_train_annos.mat").is_some();
    if whole.exists() && (root.join("car_ims").exists() || !is_kit) {
        let (photos, names) = read(&whole)?;
        let mut parts = [Labeled::new(), Labeled::new()];
        for photo in &photos {
            parts[usize::from(photo.is_test)].push(place(&whole, &root, photo, names.len())?);
        }
        return OFFICIAL.files(options, (&root, &whole), names, parts);
    }
    let find = |name: &str| find(name).unwrap_or_else(|| root.join("devkit").join(name));
    let names = read(&find("cars_meta.mat"))?.1;
    let part = |name: &str, folder: &str| {
        let list = find(name);
        let photos = read(&list)?.0;
        photos.iter().map(|photo| place(&list, &root.join(folder), photo, names.len())).collect::<Result<Labeled, _>>()
    };
    let list = find("cars_train_annos.mat");
    let parts = [part("cars_train_annos.mat", "cars_train")?, part("cars_test_annos_withlabels.mat", "cars_test")?];
    OFFICIAL.files(options, (&root, &list), names, parts)
}

/// The photos and the class names of one file, which may have only one of the two.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Vec<Photo>, Vec<String>), String> {
    let mut variables = mat::parse(bytes)?;
    let photos = match variables.remove("annotations") {
        Some(Value::Structs(fields)) => {
            let count = fields.values().map(Vec::len).max().unwrap_or(0);
            (0..count).map(|i| photo(i, &fields)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err("`annotations` is no array of structs".into()),
        None => Vec::new(),
    };
    let names = match variables.remove("class_names") {
        Some(Value::Cells(names)) => {
            let name = |(i, name): (usize, &Value)| {
                name.text().map(str::to_string).ok_or_else(|| format!("entry {i} of `class_names` is no text"))
            };
            names.iter().enumerate().map(name).collect::<Result<_, _>>()?
        }
        Some(_) => return Err("`class_names` is no array of cells".into()),
        None => Vec::new(),
    };
    if photos.is_empty() && names.is_empty() {
        return Err("holds neither `annotations` nor `class_names`".into());
    }
    Ok((photos, names))
}

fn photo(i: usize, fields: &BTreeMap<String, Vec<Value>>) -> Result<Photo, String> {
    let field = |name: &str| fields.get(name)?.get(i);
    let file = ["relative_im_path", "fname"].iter().find_map(|name| field(name)?.text());
    let file = file.ok_or_else(|| format!("annotation {i} names no file (`relative_im_path` or `fname`)"))?;
    let class = field("class").and_then(Value::index);
    let class = class.ok_or_else(|| format!("annotation {i} ({file}) has no whole number as its `class`"))?;
    // The lists of the development kit are of one split each and have no such field.
    let is_test = match field("test").map(Value::index) {
        Some(Some(test @ (0 | 1))) => test == 1,
        None if fields.contains_key("fname") => false,
        _ => return Err(format!("annotation {i} ({file}) has no `test` that is 0 or 1")),
    };
    Ok(Photo { file: file.to_string(), class, is_test })
}
