//! Whether a database is one of Optuna's studies, and its tables for one that is new.

use super::connection::{Answer, Connection, Dialect, Transaction, Trouble};

/// The version of the tables, as Optuna's migrations name it.
const VERSION: &str = "v3.2.0.a";

/// What to do with the tables of an older Optuna.
const UPGRADE: &str = "bring a copy of the database up with `optuna storage upgrade --storage URL`";

/// What creates the tables, but for the databases' types.
const SCHEMA: &str = include_str!("schema.sql");

/// What creates the tables.
fn schema(dialect: &Dialect) -> String {
    let schema = SCHEMA.replace("{version}", VERSION);
    dialect.types.iter().fold(schema, |schema, (placeholder, sql)| schema.replace(placeholder, sql))
}

/// The names of the tables, sorted.
fn table_names() -> Vec<&'static str> {
    let definitions = SCHEMA.split("CREATE TABLE ").skip(1);
    let mut names: Vec<&str> = definitions.filter_map(|definition| definition.split(' ').next()).collect();
    names.sort_unstable();
    names
}

/// Makes sure that the database holds Optuna's tables. An empty one gets them if `create`; one that holds anything else
/// is left as it is.
pub(crate) fn check(connection: &mut Connection, create: bool) -> Answer<()> {
    let found = tables(connection)?;
    if found.is_empty() && create {
        return initialise(connection);
    }
    check_tables(&found, connection.dialect())?;
    check_version(connection)
}

fn tables(connection: &mut Connection) -> Answer<Vec<String>> {
    connection.all(connection.dialect().tables, &[], |row| row.text(0))
}

fn initialise(connection: &mut Connection) -> Answer<()> {
    connection.transaction(Transaction::Plain, |connection| {
        let dialect = connection.dialect();
        if dialect.row_locks {
            // Nothing is there yet that two workers could lock but a number: Optuna's name in letters of the phone.
            connection.batch("SELECT pg_advisory_xact_lock(678862)")?;
        }
        match tables(connection)? {
            found if found.is_empty() => connection.batch(&schema(dialect)),
            // Another worker was faster.
            found => check_tables(&found, dialect),
        }
    })
}

fn check_tables(found: &[String], dialect: &Dialect) -> Answer<()> {
    let all = table_names();
    let is_there = |table: &str| found.iter().any(|name| name == table);
    let reason = match all.iter().find(|table| !is_there(table)) {
        None => return Ok(()),
        Some(_) if found.is_empty() => dialect.empty.to_owned(),
        Some(missing) if all.iter().any(|table| is_there(table)) => {
            format!(
                "the database lacks Optuna's table `{missing}`; if it is of an older Optuna, {UPGRADE}, or choose another one"
            )
        }
        Some(_) => {
            let names = found.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            format!("the database belongs to another program (it has tables such as {names}); choose another one")
        }
    };
    Err(Trouble::Lasting(reason))
}

fn check_version(connection: &mut Connection) -> Answer<()> {
    let found = connection.first("SELECT version_num FROM alembic_version", &[], |row| row.text(0))?;
    match found.as_deref() {
        Some(VERSION) => Ok(()),
        found => Err(Trouble::Lasting(format!(
            "its tables have the version {}, but this program knows {VERSION} only (Optuna 3.2 to 5.0); \
             if they are older, {UPGRADE}",
            found.unwrap_or("none")
        ))),
    }
}
