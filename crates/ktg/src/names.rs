//! Names of studies and storages in commands and file names.

pub use ktg_report::shell_word;
use ktg_search::storage::StorageUrl;

use crate::args::DEFAULT_STORAGE;

/// The `--storage` that a command needs to find this storage (without its password).
pub fn storage_option(url: &StorageUrl) -> String {
    match url.to_string() {
        default if default == DEFAULT_STORAGE => String::new(),
        other => format!(" --storage {}", shell_word(&other)),
    }
}

/// A study's name as the name of a file: what file systems or shells may not like becomes a dash.
pub fn file_name(study: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = study.chars().take(64).map(plain).collect();
    match name.trim_start_matches(['.', '-']) {
        "" => "study".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed() {
        assert_eq!(shell_word("dogs-m3"), "dogs-m3");
        assert_eq!(shell_word("it's \"1\""), r#"'it'\''s "1"'"#);
        assert_eq!(storage_option(&StorageUrl::file("ktg.db")), "");
        assert_eq!(storage_option(&StorageUrl::file("a b.db")), " --storage 'sqlite:///a b.db'");
    }

    #[test]
    fn study_names_become_file_names() {
        assert_eq!(file_name("dogs m=3/a"), "dogs-m-3-a");
        assert_eq!(file_name("../.."), "study");
        assert_eq!(file_name("🐶"), "study");
        assert_eq!(file_name("犬 2"), "犬-2");
        assert!(file_name(&"x".repeat(512)).len() == 64);
    }
}
