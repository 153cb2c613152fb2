//! Storage URLs, written as SQLAlchemy (and so Optuna) writes them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ktg_base::shell_word;

use crate::Error;

/// Where studies are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// `sqlite:///relative/path` or `sqlite:////absolute/path`: a file.
    Sqlite(PathBuf),
    /// `postgresql://user:password@host:port/database`: a server. The text is what a PostgreSQL client expects.
    Postgres(String),
}

impl StorageUrl {
    /// The storage in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }

    /// The same, with a relative path starting at `base`.
    pub fn from_base(self, base: &Path) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(base.join(path)),
            other => other,
        }
    }

    /// As a word of a command that can be pasted into a shell. A password is not shown: the variable holds the whole URL then.
    pub fn shell_word(&self) -> String {
        match self {
            Self::Postgres(url) if without_password(url) != *url => "\"$KTG_STORAGE\"".to_owned(),
            _ => shell_word(&self.to_string()),
        }
    }

    /// Where that is: the same for all ways to name it, another for a copy. A file's absolute path; a server's database,
    /// whatever its workers call the server.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => {
                let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.clone());
                Self::Sqlite(path).to_string()
            }
            Self::Postgres(url) => {
                let (location, _options) = url.split_once('?').unwrap_or((url, ""));
                let (_, database) = location.rsplit_once('/').unwrap_or_default();
                format!("postgresql database {database}")
            }
        }
    }
}

impl FromStr for StorageUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |reason: &str| {
            let example = "write sqlite:///studies.db or postgresql://user:password@host/database";
            Error::Url(format!("the storage \"{}\" {reason}; {example}", without_password(text)))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(error("is not a URL"));
        };
        if text.contains('\0') {
            return Err(error("contains a NUL character"));
        }
        // SQLAlchemy names the Python driver after a plus; it does not matter here.
        match scheme.split('+').next().unwrap_or_default() {
            "sqlite" => match rest.strip_prefix('/') {
                None => Err(error("has two slashes where an SQLite file needs three, or four for an absolute path")),
                Some("" | ":memory:") => Err(error("names a database in memory, which ends with the program")),
                Some(path) if path.contains(['?', '#']) => {
                    Err(error("has options, which an SQLite storage does not take here"))
                }
                Some(path) if path.ends_with('/') => Err(error("names a directory")),
                Some(path) => Ok(Self::Sqlite(PathBuf::from(path))),
            },
            "postgresql" | "postgres" if rest.is_empty() => Err(error("names no server")),
            "postgresql" | "postgres" => Ok(Self::Postgres(format!("postgresql://{rest}"))),
            _ => Err(error("is of a kind that is not supported")),
        }
    }
}

impl fmt::Display for StorageUrl {
    /// As it may be shown: without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:///{}", path.display()),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageUrl({self})")
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.chars().all(|c| c.is_ascii_digit())
}

/// The URL with `***` for everything that may be a password.
fn without_password(url: &str) -> String {
    let start = url.find("://").map_or(0, |i| i + 3);
    let (scheme, rest) = url.split_at(start);
    // A careless password may hold slashes or at signs: hide up to the last at sign.
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => rest.to_owned(),
        },
        // The host may have been forgotten; a port is a number.
        None => match rest.split_once(':') {
            Some((user, after)) if !after.split('/').next().is_some_and(is_port) => format!("{user}:***"),
            _ => rest.to_owned(),
        },
    };
    let mut parts = rest.split("password=");
    let mut hidden = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find('&').unwrap_or(part.len());
        hidden += &format!("password=***{}", &part[end..]);
    }
    format!("{scheme}{hidden}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<StorageUrl, String> {
        text.parse().map_err(|e: Error| e.to_string())
    }

    #[test]
    fn optunas_forms_are_read() {
        assert_eq!(parse("sqlite:///a/b.db"), Ok(StorageUrl::file("a/b.db")));
        assert_eq!(parse("sqlite:////a/b c.db"), Ok(StorageUrl::file("/a/b c.db")));
        assert_eq!(parse("sqlite+pysqlite:///a.db"), Ok(StorageUrl::file("a.db")));
        let url = parse("postgresql+psycopg2://me:secret@host:5433/db").unwrap();
        assert_eq!(url, StorageUrl::Postgres("postgresql://me:secret@host:5433/db".to_owned()));
        assert_eq!(url.to_string(), "postgresql://me:***@host:5433/db");
        assert_eq!(parse("sqlite:///x").unwrap().from_base(Path::new("/d")), StorageUrl::file("/d/x"));
    }

    #[test]
    fn commands_can_be_pasted() {
        let word = |text: &str| parse(text).unwrap().shell_word();
        assert_eq!(word("sqlite:///a b.db"), "'sqlite:///a b.db'");
        assert_eq!(word("postgresql://me@host/db"), "postgresql://me@host/db");
        assert_eq!(word("postgresql://me:secret@host/db"), "\"$KTG_STORAGE\"");
        assert_eq!(word("postgresql://host/db?user=me&password=secret"), "\"$KTG_STORAGE\"");
    }

    #[test]
    fn mistakes_get_a_sentence_that_shows_how() {
        for (text, reason) in [
            ("studies.db", "is not a URL"),
            ("sqlite://studies.db", "needs three"),
            ("sqlite:///:memory:", "in memory"),
            ("sqlite:///", "in memory"),
            ("sqlite:///a/", "directory"),
            ("sqlite:///a?mode=ro", "options"),
            ("mysql://host/db", "not supported"),
            ("postgresql://", "names no server"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(reason) && message.contains("sqlite:///studies.db"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_url_or_an_error_and_passwords_stay_hidden(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("sqlite:///{text}"));
            let shown = |url: &str| match parse(url) {
                Ok(url) => format!("{url} {url:?}"),
                Err(message) => message,
            };
            for scheme in ["postgresql", "mysql"] {
                let shown = shown(&format!("{scheme}://me:se{text}cret@h/db"));
                prop_assert!(!shown.contains("cret"), "{}", shown);
            }
        }
    }
}
