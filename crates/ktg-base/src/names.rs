//! Names that people chose, in commands and as names of files.

/// A text as one word of a command that can be typed.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A name as a part of a file's name: small letters and digits of any script, and dashes.
pub fn slug(name: &str) -> String {
    match with_dashes(&name.to_lowercase(), "").trim_matches('-') {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// A study's name as the name of a file: what file systems or shells may not like becomes a dash. Unlike a [`slug`], it
/// keeps large letters, dots and underscores.
pub fn study_file_name(study: &str) -> String {
    match with_dashes(study, "-_.").trim_start_matches(['.', '-']) {
        "" => "study".to_owned(),
        name => name.to_owned(),
    }
}

/// An edge as files write it, such as `label -> 2`; nodes are counted from 0 here, the source `None` is the label.
pub fn edge_name(source: Option<usize>, target: usize) -> String {
    match source {
        None => format!("label -> {}", target + 1),
        Some(source) => format!("{} -> {}", source + 1, target + 1),
    }
}

/// The first 64 characters, with a dash for all that are no letters, no digits and none of `kept`.
fn with_dashes(text: &str, kept: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || kept.contains(c);
    text.chars().take(64).map(|c| if plain(c) { c } else { '-' }).collect()
}
