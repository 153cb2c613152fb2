//! What the tests of the search share: places for studies, a stand-in for training, a worker.
#![allow(dead_code, unused_imports, unused_macros, reason = "every test program uses a part of it")]

pub mod stand_in;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use ktg_search::storage::{Heartbeat, NewTrial, Patience, Storage, StorageUrl, Study};
use tempfile::TempDir;

/// Makes two tests of a function that takes a [`Place`]: on SQLite, and on a PostgreSQL that the environment names. Those
/// that need a database without tables say `empty_postgres`.
macro_rules! on_each_storage {
    ($function:ident) => {
        on_each_storage!($function, postgres);
    };
    ($function:ident, $postgres:ident) => {
        mod $function {
            use crate::common::Place;

            #[test]
            fn on_sqlite() {
                super::$function(&Place::sqlite());
            }

            #[test]
            #[ignore = "needs PostgreSQL: set KTG_TEST_POSTGRES"]
            fn on_postgresql() {
                super::$function(&Place::$postgres());
            }
        }
    };
}
pub(crate) use on_each_storage;

/// A database for studies.
pub struct Place {
    /// Its URL as one gives it to Optuna.
    pub text: String,
    pub url: StorageUrl,
    directory: TempDir,
}

impl Place {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("sqlite:///{}", directory.path().join("studies.db").display());
        Self { url: text.parse().unwrap(), text, directory }
    }

    /// The PostgreSQL that the environment names; all tests share it.
    pub fn postgres() -> Self {
        let text = needed("KTG_TEST_POSTGRES", "a PostgreSQL URL (`.ci/postgres start` prints one)");
        let place = Self { url: text.parse().unwrap(), text, directory: tempfile::tempdir().unwrap() };
        // Nobody is taken for dead right after a restart of the server, as other tests do it.
        while place.rows("SELECT pg_postmaster_start_time() > now() - interval '6 seconds'") == [["t"]] {
            std::thread::sleep(Duration::from_millis(200));
        }
        place
    }

    /// A place of its own, without tables, at the same server.
    pub fn empty_postgres() -> Self {
        let all = Self::postgres();
        let schema = unique("schema").replace([' ', '-'], "_");
        all.sql(&format!("CREATE SCHEMA {schema}"));
        let text = format!("{}?options=-csearch_path%3D{schema}", all.text);
        Self { url: text.parse().unwrap(), text, ..all }
    }

    /// The same place, with its tables, for a role that the server allows so many connections.
    pub fn limited(&self, connections: usize) -> Self {
        let role = unique("role").replace([' ', '-'], "_");
        let schema = &self.rows("SELECT current_schema()")[0][0];
        self.sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{role}' CONNECTION LIMIT {connections}; \
             GRANT ALL ON SCHEMA {schema} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        ));
        let (_, server) = self.text.rsplit_once('@').unwrap();
        let text = format!("postgresql://{role}:{role}@{server}");
        Self { url: text.parse().unwrap(), text, directory: tempfile::tempdir().unwrap() }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.url, StorageUrl::Sqlite(_))
    }

    /// A directory that is removed with this.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self) -> PathBuf {
        self.directory().join("studies.db")
    }

    /// Opens a study, new or not.
    pub fn study(&self, name: &str) -> Study {
        Study::open(&self.url, name, true, patience()).unwrap()
    }

    pub fn storage(&self) -> Storage {
        Storage::open(&self.url, true, patience()).unwrap()
    }

    /// Runs statements as another program would.
    pub fn sql(&self, statements: &str) {
        match &self.url {
            StorageUrl::Sqlite(path) => rusqlite(path).execute_batch(statements).unwrap(),
            StorageUrl::Postgres(url) => postgres(url).batch_execute(statements).unwrap(),
        }
    }

    /// What a query answers, as text; NULL is empty.
    pub fn rows(&self, query: &str) -> Vec<Vec<String>> {
        match &self.url {
            StorageUrl::Sqlite(path) => {
                let connection = rusqlite(path);
                let mut statement = connection.prepare(query).unwrap();
                let columns = statement.column_count();
                let text = |value: rusqlite::types::Value| match value {
                    rusqlite::types::Value::Null => String::new(),
                    rusqlite::types::Value::Integer(v) => v.to_string(),
                    rusqlite::types::Value::Real(v) => v.to_string(),
                    rusqlite::types::Value::Text(v) => v,
                    rusqlite::types::Value::Blob(_) => panic!("binary data"),
                };
                let row = |row: &rusqlite::Row| (0..columns).map(|i| row.get(i).map(text)).collect();
                statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
            }
            StorageUrl::Postgres(url) => {
                let answer = postgres(url).simple_query(query).unwrap();
                let rows = answer.iter().filter_map(|message| match message {
                    ::postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                rows.map(|row| (0..row.len()).map(|i| row.get(i).unwrap_or_default().to_owned()).collect()).collect()
            }
        }
    }

    /// The only number that a query answers.
    pub fn count(&self, query: &str) -> i64 {
        self.rows(query)[0][0].parse().unwrap()
    }

    /// Deletes a trial as an administrator would.
    pub fn delete(&self, trial: i64) {
        let children =
            ["user_attributes", "system_attributes", "params", "values", "intermediate_values", "heartbeats"];
        let delete = |table: &str| format!("DELETE FROM {table} WHERE trial_id = {trial};");
        let children: String = children.iter().map(|child| delete(&format!("trial_{child}"))).collect();
        self.sql(&format!("BEGIN; {children} {} COMMIT", delete("trials")));
    }

    /// The key of a study.
    pub fn key(&self, study: &str) -> i64 {
        self.count(&format!("SELECT study_id FROM studies WHERE study_name = '{study}'"))
    }
}

fn rusqlite(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
}

/// A connection of another program, once the server is there.
pub fn postgres(url: &str) -> ::postgres::Client {
    let begin = std::time::Instant::now();
    loop {
        match ::postgres::Client::connect(url, ::postgres::NoTls) {
            Ok(client) => return client,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How SQLAlchemy, and so Optuna, wants the URL of a place.
pub fn url_for_optuna(place: &Place) -> String {
    place.text.replace("postgresql://", "postgresql+psycopg2://")
}

/// The value of a variable that an ignored test needs; the test fails where it is not set.
pub fn needed(variable: &str, what: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("this test needs {what}: set {variable} to it"))
}

/// The command that restarts PostgreSQL.
pub fn restart_command() -> String {
    needed("KTG_TEST_POSTGRES_RESTART", "a command that restarts PostgreSQL (`.ci/postgres restart`)")
}

pub fn run_shell(command: &str) {
    let output = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A name that no other study or schema has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: LazyLock<u128> = LazyLock::new(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_millis());
    format!("{what} {}-{}-{}", *START, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits long, and says nothing.
pub fn patience() -> Patience {
    Patience { limit: Duration::from_secs(120), ..Patience::none() }
}

/// Waits long, and keeps what it hears.
pub fn attentive() -> (Patience, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let notice = Arc::new(move |text: &str| ear.lock().unwrap().push(text.to_owned()));
    (Patience { limit: Duration::from_secs(120), stop: Arc::new(AtomicBool::new(false)), notice }, heard)
}

/// What one has heard last of a trial's worker.
pub fn last_heartbeat(study: &mut Study, trial: i64) -> Vec<Heartbeat> {
    study.heartbeats().unwrap().into_iter().filter(|heartbeat| heartbeat.id == trial).collect()
}

pub static CHOICES: LazyLock<Vec<String>> = LazyLock::new(|| ["x", "y", "z"].map(str::to_owned).to_vec());

/// A trial with the parameters `a` = y and `b` = x.
pub fn new_trial(graph: &str) -> NewTrial<'static> {
    NewTrial { parameters: vec![("a", &CHOICES[..], 1), ("b", &CHOICES[..2], 0)], graph: graph.to_owned() }
}

/// Whether an error is one that a person can read.
pub fn assert_sentence(message: &str) {
    assert!(message.len() > 10 && message.len() < 600, "{message}");
    assert!(!message.contains(['\n', '\r', '\0']), "{message:?}");
    assert!(!message.contains("Some(") && !message.contains("Error {"), "{message}");
}
