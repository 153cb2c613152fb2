//! Storages in commands.

use ktg_search::storage::StorageUrl;

use crate::args::DEFAULT_STORAGE;

/// The `--storage` that a command needs to find this storage.
pub fn storage_option(url: &StorageUrl) -> String {
    match url.to_string() == DEFAULT_STORAGE {
        true => String::new(),
        false => format!(" --storage {}", url.shell_word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed() {
        assert_eq!(storage_option(&StorageUrl::file("ktg.db")), "");
        assert_eq!(storage_option(&StorageUrl::file("a b.db")), " --storage 'sqlite:///a b.db'");
    }
}
