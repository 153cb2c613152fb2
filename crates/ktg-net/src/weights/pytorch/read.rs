//! The weights in a file that `torch.save` wrote.

use std::collections::HashMap;

use super::old::OldFile;
use super::pickle;
use super::tensor::Tensor;
use super::value::{Entry, Pickle, Problem, Value};
use super::zip::{Archive, is_zip};
use crate::weights::collected::{Collected, is_counter};
use crate::weights::error::WeightsError;

/// What to do about any file that is not read.
const WAY_OUT: &str = "load it in PyTorch, if you trust it, and write the weights with \
                       safetensors.torch.save_file(model.state_dict(), \"weights.safetensors\")";

/// Where trainers put the weights, the better ones first: averages, then (as timm looks for them) the others.
const KEYS: [&str; 5] = ["state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict"];

/// How `torch.save` began its files before PyTorch 1.6: a pickle of the number 0x1950a86a20f9469cfc6c.
const OLD_START: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Tensors may share their numbers, but a small file is not to fill the memory: so many numbers for each byte of the file.
const MOST_NUMBERS_PER_BYTE: usize = 8;

/// Where the numbers of the tensors are.
enum Numbers<'a> {
    /// In files of an archive, in this folder.
    Archive(Archive<'a>, String),
    /// Behind the pickle.
    Behind(HashMap<&'a str, &'a [u8]>),
}

impl<'a> Numbers<'a> {
    /// Those of a tensor's storage.
    fn storage(&self, tensor: &Tensor) -> Result<&'a [u8], String> {
        let key = tensor.key;
        let found = match self {
            Numbers::Archive(archive, folder) => archive.get(&format!("{folder}data/{key}"))?,
            Numbers::Behind(storages) => storages.get(key).copied(),
        };
        found.ok_or_else(|| format!("storage `{key}` is missing"))
    }
}

/// What a file that PyTorch wrote is.
enum Kind {
    Zip,
    /// Before PyTorch 1.6.
    Old,
    /// Before PyTorch 0.2.
    Tar,
    /// A pickle that `torch.save` did not write.
    Pickle,
}

fn kind(bytes: &[u8]) -> Option<Kind> {
    // A pickle begins with its version; as the length of a safetensors header, its first bytes are more than is allowed.
    let is_pickle = matches!(bytes, [0x80, 2..=5, _, _, rest @ ..] if rest.iter().take(4).any(|byte| *byte != 0));
    if is_zip(bytes) {
        Some(Kind::Zip)
    } else if bytes.get(2..).is_some_and(|rest| rest.starts_with(OLD_START)) {
        Some(Kind::Old)
    } else if bytes.get(257..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        Some(Kind::Tar)
    } else {
        is_pickle.then_some(Kind::Pickle)
    }
}

/// Whether bytes look like a file of PyTorch, be it one that is read or not.
pub(in crate::weights) fn is_for(bytes: &[u8]) -> bool {
    kind(bytes).is_some()
}

/// The weights in a file, and the key in it under which they are, if they are under one.
///
/// # Errors
///
/// If the file is of a format before PyTorch 0.2, is damaged or holds other things than plain data and tensors.
pub(in crate::weights) fn read(bytes: &[u8], origin: &str) -> Result<(Collected, Option<&'static str>), WeightsError> {
    let error = |reason: String| WeightsError::PyTorch { path: origin.to_owned(), reason };
    let (pickle, places) = match kind(bytes) {
        Some(Kind::Tar) => {
            return Err(error(format!("it is a tar archive, the format of PyTorch before 0.2; {WAY_OUT}")));
        }
        Some(Kind::Pickle) => {
            return Err(error(format!("it is a bare pickle, which torch.save does not write; {WAY_OUT}")));
        }
        Some(Kind::Old) => {
            let file = OldFile::open(bytes).map_err(|problem| error(refusal(problem, bytes)))?;
            (file.pickle, Numbers::Behind(file.storages))
        }
        Some(Kind::Zip) | None => {
            let archive = Archive::open(bytes).map_err(|reason| error(damaged(&reason)))?;
            let folder = folder(&archive).map_err(error)?;
            let text = archive.get(&format!("{folder}data.pkl")).map_err(|reason| error(damaged(&reason)))?;
            let text = text.unwrap_or_default();
            let pickle = pickle::load(text).map_err(|problem| error(refusal(problem, text)))?;
            (pickle, Numbers::Archive(archive, folder))
        }
    };
    let (weights, key) = weights(&pickle).map_err(error)?;

    let mut collected = Collected::default();
    let mut numbers_left = bytes.len().saturating_mul(MOST_NUMBERS_PER_BYTE);
    for (name, tensor) in weights.into_iter().filter(|(_, tensor)| !is_counter(tensor.kind)) {
        numbers_left = numbers_left
            .checked_sub(tensor.elements().unwrap_or(usize::MAX))
            .ok_or_else(|| error(damaged("its tensors show the same numbers many times over")))?;
        let storage = places.storage(tensor).map_err(|reason| error(damaged(&reason)))?;
        let numbers = tensor.bytes(storage).map_err(|reason| error(damaged(&reason)))?;
        collected.take(name, tensor.kind, &tensor.shape, &numbers, origin)?;
    }
    Ok((collected, key))
}

fn damaged(reason: &str) -> String {
    format!("this is not a whole file of torch.save ({reason}); copy it again")
}

/// The folder in the archive that everything is in: what its author called the file.
///
/// # Errors
///
/// If it is not an archive of `torch.save`.
fn folder(archive: &Archive) -> Result<String, String> {
    let ends = |end: &'static str| {
        archive
            .names()
            .filter(move |name| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')))
    };
    if ends("constants.pkl").next().is_some() {
        let way_out = "load it with torch.jit.load and write the weights with \
                       safetensors.torch.save_file(model.state_dict(), \"weights.safetensors\")";
        return Err(format!("it is TorchScript, a program with weights, of which nothing is executed; {way_out}"));
    }
    let mut found = ends("data.pkl");
    let (Some(name), None) = (found.next(), found.next()) else {
        return Err(format!(
            "it is a zip archive, but not one of torch.save: there is not one data.pkl in it; {WAY_OUT}"
        ));
    };
    let folder = name.trim_end_matches("data.pkl");
    match archive.get(&format!("{folder}byteorder")).map_err(|reason| damaged(&reason))? {
        None | Some(b"little") => Ok(folder.to_owned()),
        Some(order) => {
            let order = String::from_utf8_lossy(order);
            Err(format!("its byte order is `{order}`, and only little-endian numbers are read; {WAY_OUT}"))
        }
    }
}

/// What is said of a pickle that is not read.
fn refusal(problem: Problem, text: &[u8]) -> String {
    match problem {
        Problem::Damaged(reason) => damaged(&reason),
        Problem::Refused(what) => {
            let reason =
                format!("it holds `{what}`, and only tensors, dictionaries, lists, numbers and texts are read");
            let of_modules = b"torch.nn.modules";
            if text.windows(of_modules.len()).any(|part| part == of_modules) {
                let way_out =
                    "save what it has learned, torch.save(model.state_dict(), \"weights.pth\"), not the whole model";
                return format!("{reason}: it is a whole pickled network, which needs its program; {way_out}");
            }
            format!("{reason}; {WAY_OUT}")
        }
    }
}

/// The tensors with their names, and the key under which they were.
type Found<'a> = (Vec<(&'a str, &'a Tensor<'a>)>, Option<&'static str>);

/// The dictionary of tensors: one under a known key, or the whole.
fn weights<'a>(pickle: &'a Pickle<'a>) -> Result<Found<'a>, String> {
    let Some(root) = pickle.dictionary(pickle.root) else {
        return Err(format!("it does not hold a dictionary of tensors; {WAY_OUT}"));
    };
    for key in KEYS {
        let of_key = root.iter().find(|(name, _)| matches!(pickle.value(*name), Value::Text(text) if *text == key));
        let inner = of_key.and_then(|(_, value)| pickle.dictionary(*value));
        let found = inner.map(|entries| tensors(pickle, entries)).unwrap_or_default();
        if !found.is_empty() {
            return Ok((found, Some(key)));
        }
    }
    let found = tensors(pickle, root);
    if found.is_empty() {
        let texts = root.iter().filter_map(|(name, _)| match pickle.value(*name) {
            Value::Text(text) => Some(format!("`{text}`")),
            _ => None,
        });
        let names: Vec<String> = texts.take(8).collect();
        let keys = KEYS.map(|key| format!("`{key}`")).join(", ");
        let there = if names.is_empty() { "nothing with a name".to_owned() } else { names.join(", ") };
        return Err(format!(
            "there are no tensors in it: at its top is {there}, and weights are looked for there and under {keys}"
        ));
    }
    Ok((found, None))
}

/// Those of the entries that are tensors.
fn tensors<'a>(pickle: &'a Pickle<'a>, entries: &'a [Entry]) -> Vec<(&'a str, &'a Tensor<'a>)> {
    let tensor = |(name, value): &'a Entry| match (pickle.value(*name), pickle.value(*value)) {
        (Value::Text(name), Value::Tensor(tensor)) => Some((*name, &**tensor)),
        _ => None,
    };
    entries.iter().filter_map(tensor).collect()
}
