//! Fills Optuna's tables directly: through the operations of a search, thousands of trials would take minutes.

use std::fmt::Write;

use ktg_search::storage::{Patience, StorageUrl, Study};
use serde_json::{Value as Json, json};

use crate::Result;

/// Trials that are written at once.
const CHUNK: usize = 500;

/// A trial to write.
pub struct Row {
    /// Name, choices and chosen index of each parameter.
    pub parameters: Vec<(String, Vec<String>, usize)>,
    /// Hash of the graph; no two trials have the same.
    pub graph: String,
    /// Reports at steps 1, 2, ...; the last is also the final value.
    pub reports: Vec<f64>,
    /// Values at rungs 0, 1, ...
    pub rungs: Vec<f64>,
    /// Whether it is paused at its last rung; if not, it is complete.
    pub paused: bool,
}

/// A connection beside that of the study.
enum Database {
    Sqlite(rusqlite::Connection),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Client>),
}

impl Database {
    fn open(url: &StorageUrl) -> Result<Self> {
        match url {
            StorageUrl::Sqlite(path) => Ok(Self::Sqlite(rusqlite::Connection::open(path)?)),
            #[cfg(feature = "postgres")]
            StorageUrl::Postgres(url) => Ok(Self::Postgres(Box::new(postgres::Client::connect(url, postgres::NoTls)?))),
            #[cfg(not(feature = "postgres"))]
            StorageUrl::Postgres(_) => Err("this program was built without PostgreSQL".into()),
        }
    }

    fn batch(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(client) => Ok(client.batch_execute(sql)?),
        }
    }

    /// The keys that a query finds.
    fn keys(&mut self, sql: &str) -> Result<Vec<i64>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(sql)?;
                let keys = statement.query_map([], |row| row.get(0))?;
                Ok(keys.collect::<rusqlite::Result<_>>()?)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(client) => {
                let rows = client.query(sql, &[])?;
                Ok(rows.iter().map(|row| row.get::<_, i32>(0).into()).collect())
            }
        }
    }

    /// What a server does by itself sooner or later.
    fn tidy(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => self.batch("ANALYZE"),
        }
    }
}

/// Adds a study with these trials.
pub fn fill(url: &StorageUrl, name: &str, rows: &[Row]) -> Result<()> {
    drop(Study::open(url, name, true, Patience::none())?);
    let mut database = Database::open(url)?;
    let study = database.keys(&format!("SELECT study_id FROM studies WHERE study_name = '{name}'"))?;
    let study = *study.first().ok_or("the study is not there")?;
    for (i, rows) in rows.chunks(CHUNK).enumerate() {
        database.batch("BEGIN")?;
        write(&mut database, study, i * CHUNK, rows)?;
        database.batch("COMMIT")?;
    }
    database.tidy()
}

fn write(database: &mut Database, study: i64, first: usize, rows: &[Row]) -> Result<()> {
    let time = "'2026-01-01 00:00:00.000000'";
    let trial = |(i, row): (usize, &Row)| match row.paused {
        true => format!("({study}, {}, 'RUNNING', {time}, NULL)", first + i),
        false => format!("({study}, {}, 'COMPLETE', {time}, {time})", first + i),
    };
    let columns = "study_id, number, state, datetime_start, datetime_complete";
    insert(database, "trials", columns, rows.iter().enumerate().map(trial))?;
    let keys = format!("SELECT trial_id FROM trials WHERE study_id = {study} AND number >= {first} ORDER BY number");
    let keys = database.keys(&keys)?;
    let mut each = |table: &str, columns: &str, values: fn(&Row) -> Vec<String>| {
        let of_trial = |(key, row): (&i64, &Row)| values(row).into_iter().map(|v| format!("({key}, {v})")).collect();
        let values = keys.iter().zip(rows).flat_map(|pair| -> Vec<String> { of_trial(pair) });
        insert(database, table, &format!("trial_id, {columns}"), values)
    };
    each("trial_params", "param_name, param_value, distribution_json", parameters)?;
    each("trial_intermediate_values", "step, intermediate_value, intermediate_value_type", |row| {
        row.reports.iter().zip(1..).map(|(value, step)| format!("{step}, {value:?}, 'FINITE'")).collect()
    })?;
    each("trial_values", "objective, value, value_type", |row| {
        let last = row.reports.last().filter(|_| !row.paused);
        last.map(|value| format!("0, {value:?}, 'FINITE'")).into_iter().collect()
    })?;
    each("trial_user_attributes", "\"key\", value_json", attributes)?;
    each("trial_system_attributes", "\"key\", value_json", |row| {
        row.rungs.iter().enumerate().map(|(rung, value)| format!("'completed_rung_{rung}', '{value:?}'")).collect()
    })
}

fn parameters(row: &Row) -> Vec<String> {
    let parameter = |(name, choices, chosen): &(String, Vec<String>, usize)| {
        let distribution = json!({"name": "CategoricalDistribution", "attributes": {"choices": choices}});
        format!("'{name}', {chosen}, '{distribution}'")
    };
    row.parameters.iter().map(parameter).collect()
}

/// What a worker writes of every trial.
fn attributes(row: &Row) -> Vec<String> {
    let quoted = |text: String| Json::String(text);
    let mut attributes = vec![
        format!("'graph', '{}'", quoted(row.graph.clone())),
        format!("'worker', '{}'", quoted(format!("host/1/{}", &row.graph[..16]))),
        format!("'run', '{}'", quoted(format!("/runs/search/trial-{}", &row.graph[..8]))),
    ];
    if row.paused {
        attributes.push(format!("'paused', '{}'", row.rungs.len().saturating_sub(1)));
    }
    attributes
}

/// Inserts rows, written as `(1, 'text')`, in one statement.
fn insert(database: &mut Database, table: &str, columns: &str, rows: impl Iterator<Item = String>) -> Result<()> {
    let mut sql = format!("INSERT INTO {table} ({columns}) VALUES ");
    let start = sql.len();
    for row in rows {
        write!(sql, "{}{row}", if sql.len() > start { ", " } else { "" })?;
    }
    if sql.len() > start { database.batch(&sql) } else { Ok(()) }
}
