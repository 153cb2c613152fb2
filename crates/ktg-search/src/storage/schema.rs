//! Optuna's tables (version 5.0, schema `v3.2.0.a`), for both databases, and whether a database is one of Optuna's.

use super::connection::{Connection, Trouble, transaction};

/// The version of the tables, as Optuna's migrations name it.
pub(crate) const VERSION: &str = "v3.2.0.a";

/// What differs between the databases' types.
struct Types {
    /// Of a generated key.
    key: &'static str,
    float: &'static str,
    time: &'static str,
    direction: &'static str,
    state: &'static str,
    value_type: &'static str,
    report_type: &'static str,
}

pub(super) fn sqlite() -> String {
    schema(&Types {
        key: "INTEGER NOT NULL",
        float: "FLOAT",
        time: "DATETIME",
        direction: "VARCHAR(8)",
        state: "VARCHAR(8)",
        value_type: "VARCHAR(7)",
        report_type: "VARCHAR(7)",
    })
}

#[cfg(feature = "postgres")]
pub(super) fn postgres() -> String {
    let enums = "\
        CREATE TYPE studydirection AS ENUM ('NOT_SET', 'MINIMIZE', 'MAXIMIZE');\n\
        CREATE TYPE trialstate AS ENUM ('RUNNING', 'COMPLETE', 'PRUNED', 'FAIL', 'WAITING');\n\
        CREATE TYPE trialvaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG');\n\
        CREATE TYPE trialintermediatevaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG', 'NAN');\n";
    let types = Types {
        key: "SERIAL NOT NULL",
        float: "DOUBLE PRECISION",
        time: "TIMESTAMP WITHOUT TIME ZONE",
        direction: "studydirection",
        state: "trialstate",
        value_type: "trialvaluetype",
        report_type: "trialintermediatevaluetype",
    };
    enums.to_owned() + &schema(&types)
}

fn schema(types: &Types) -> String {
    let Types { key, float, time, direction, state, value_type, report_type } = types;
    let of_study = "FOREIGN KEY(study_id) REFERENCES studies (study_id)";
    let of_trial = "FOREIGN KEY(trial_id) REFERENCES trials (trial_id)";
    let mut tables = vec![
        format!("CREATE TABLE studies (study_id {key}, study_name VARCHAR(512) NOT NULL, PRIMARY KEY (study_id))"),
        "CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name)".to_owned(),
        "CREATE TABLE version_info (version_info_id INTEGER NOT NULL, schema_version INTEGER, \
         library_version VARCHAR(256), PRIMARY KEY (version_info_id), CHECK (version_info_id=1))"
            .to_owned(),
        format!(
            "CREATE TABLE study_directions (study_direction_id {key}, direction {direction} NOT NULL, \
             study_id INTEGER NOT NULL, objective INTEGER NOT NULL, PRIMARY KEY (study_direction_id), \
             UNIQUE (study_id, objective), {of_study})"
        ),
    ];
    for kind in ["user", "system"] {
        tables.push(format!(
            "CREATE TABLE study_{kind}_attributes (study_{kind}_attribute_id {key}, study_id INTEGER, \
             \"key\" VARCHAR(512), value_json TEXT, PRIMARY KEY (study_{kind}_attribute_id), \
             UNIQUE (study_id, \"key\"), {of_study})"
        ));
    }
    tables.push(format!(
        "CREATE TABLE trials (trial_id {key}, number INTEGER, study_id INTEGER, state {state} NOT NULL, \
         datetime_start {time}, datetime_complete {time}, PRIMARY KEY (trial_id), {of_study})"
    ));
    tables.push("CREATE INDEX ix_trials_study_id ON trials (study_id)".to_owned());
    for kind in ["user", "system"] {
        tables.push(format!(
            "CREATE TABLE trial_{kind}_attributes (trial_{kind}_attribute_id {key}, trial_id INTEGER, \
             \"key\" VARCHAR(512), value_json TEXT, PRIMARY KEY (trial_{kind}_attribute_id), \
             UNIQUE (trial_id, \"key\"), {of_trial})"
        ));
    }
    tables.extend([
        format!(
            "CREATE TABLE trial_params (param_id {key}, trial_id INTEGER, param_name VARCHAR(512), \
             param_value {float}, distribution_json TEXT, PRIMARY KEY (param_id), UNIQUE (trial_id, param_name), \
             {of_trial})"
        ),
        format!(
            "CREATE TABLE trial_values (trial_value_id {key}, trial_id INTEGER NOT NULL, \
             objective INTEGER NOT NULL, value {float}, value_type {value_type} NOT NULL, \
             PRIMARY KEY (trial_value_id), UNIQUE (trial_id, objective), {of_trial})"
        ),
        format!(
            "CREATE TABLE trial_intermediate_values (trial_intermediate_value_id {key}, trial_id INTEGER NOT NULL, \
             step INTEGER NOT NULL, intermediate_value {float}, intermediate_value_type {report_type} NOT NULL, \
             PRIMARY KEY (trial_intermediate_value_id), UNIQUE (trial_id, step), {of_trial})"
        ),
        format!(
            "CREATE TABLE trial_heartbeats (trial_heartbeat_id {key}, trial_id INTEGER NOT NULL, \
             heartbeat {time} NOT NULL, PRIMARY KEY (trial_heartbeat_id), UNIQUE (trial_id), {of_trial})"
        ),
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, \
         CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            .to_owned(),
        "INSERT INTO version_info VALUES (1, 12, '5.0.0')".to_owned(),
        format!("INSERT INTO alembic_version VALUES ('{VERSION}')"),
    ]);
    tables.join(";\n")
}

/// The tables that every database of Optuna has.
const TABLES: [&str; 13] = [
    "alembic_version",
    "studies",
    "study_directions",
    "study_system_attributes",
    "study_user_attributes",
    "trial_heartbeats",
    "trial_intermediate_values",
    "trial_params",
    "trial_system_attributes",
    "trial_user_attributes",
    "trial_values",
    "trials",
    "version_info",
];

/// Makes sure that the database holds Optuna's tables. An empty one gets them if `create`; one that holds anything else
/// is left as it is.
pub(crate) fn check(connection: &mut dyn Connection, create: bool) -> Result<(), Trouble> {
    let found = tables(connection)?;
    if found.is_empty() && create {
        return initialise(connection);
    }
    check_tables(&found)?;
    check_version(connection)
}

fn tables(connection: &mut dyn Connection) -> Result<Vec<String>, Trouble> {
    let rows = connection.query(connection.dialect().tables, &[])?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

fn initialise(connection: &mut dyn Connection) -> Result<(), Trouble> {
    let schema = (connection.dialect().schema)();
    transaction(connection, |connection| {
        if connection.dialect().row_locks {
            // Nothing is there yet that two workers could lock but a number: Optuna's name in letters of the phone.
            connection.batch("SELECT pg_advisory_xact_lock(678862)")?;
        }
        match tables(connection)? {
            found if found.is_empty() => connection.batch(&schema),
            // Another worker was faster.
            found => check_tables(&found),
        }
    })
}

fn check_tables(found: &[String]) -> Result<(), Trouble> {
    let missing: Vec<&str> = TABLES.into_iter().filter(|table| !found.iter().any(|f| f == table)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let reason = if found.is_empty() {
        "there are no studies in it".to_owned()
    } else if missing.len() == TABLES.len() {
        let names = found.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("the database belongs to another program (it has tables such as {names}); choose another one")
    } else {
        format!("the database lacks Optuna's table `{}`; choose another one", missing[0])
    };
    Err(Trouble::Lasting(reason))
}

fn check_version(connection: &mut dyn Connection) -> Result<(), Trouble> {
    let rows = connection.query("SELECT version_num FROM alembic_version", &[])?;
    match rows.first().map(|row| row.text(0)).transpose()? {
        Some(VERSION) => Ok(()),
        found => Err(Trouble::Lasting(format!(
            "its tables have the version {}, but this program knows {VERSION} only (Optuna 3.2 to 5.0); \
             `optuna storage upgrade` brings older ones up",
            found.unwrap_or("none")
        ))),
    }
}
