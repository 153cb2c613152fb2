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
    let text = with_dashes(&name.to_lowercase(), "");
    or_else(text.trim_matches('-'), "unnamed")
}

/// A study's name as the name of a file: what file systems or shells may not like becomes a dash. Unlike a [`slug`], it
/// keeps large letters, dots and underscores.
pub fn study_file_name(study: &str) -> String {
    let text = with_dashes(study, "_.");
    or_else(text.trim_start_matches(['.', '-']), "study")
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

fn or_else(text: &str, default: &str) -> String {
    if text.is_empty() { default } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed() {
        assert_eq!(shell_word("dogs-m3"), "dogs-m3");
        assert_eq!(shell_word("it's \"1\""), r#"'it'\''s "1"'"#);
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn study_names_become_file_names() {
        assert_eq!(study_file_name("dogs m=3/a"), "dogs-m-3-a");
        assert_eq!(study_file_name("Dogs_2.5-"), "Dogs_2.5-");
        assert_eq!(study_file_name("../.."), "study");
        assert_eq!(study_file_name("🐶"), "study");
        assert_eq!(study_file_name("犬 2"), "犬-2");
        assert!(study_file_name(&"x".repeat(512)).len() == 64);
    }

    #[test]
    fn names_become_parts_of_file_names() {
        assert_eq!(slug("DML (T = 2)"), "dml--t---2");
        assert_eq!(slug("犬_2.5"), "犬-2-5");
        assert_eq!(slug("..."), "unnamed");
        assert!(slug(&"x".repeat(512)).len() == 64);
    }
}
