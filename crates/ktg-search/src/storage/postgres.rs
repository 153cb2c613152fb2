//! PostgreSQL: a server, for workers on many machines.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error as _;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::types::{IsNull, Kind, ToSql, Type, private::BytesMut, to_sql_checked};
use postgres::{Client, Column, Config, NoTls, Statement};

use super::connection::{Answer, Dialect, Driver, Row, Trouble, Value};

static DIALECT: Dialect = Dialect {
    begin: "BEGIN",
    durable: ("BEGIN; SET LOCAL synchronous_commit = on", "COMMIT"),
    row_locks: true,
    hold: "FOR SHARE",
    now: "timezone('UTC', clock_timestamp())",
    tables: "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()",
    empty: "there are no studies in it",
    types: &[
        ("{enums}", ENUMS),
        ("{key}", "SERIAL NOT NULL"),
        ("{float}", "DOUBLE PRECISION"),
        ("{time}", "TIMESTAMP WITHOUT TIME ZONE"),
        ("{direction}", "studydirection"),
        ("{state}", "trialstate"),
        ("{value_type}", "trialvaluetype"),
        ("{report_type}", "trialintermediatevaluetype"),
    ],
};

/// Optuna's types.
const ENUMS: &str = "\
    CREATE TYPE studydirection AS ENUM ('NOT_SET', 'MINIMIZE', 'MAXIMIZE');\n\
    CREATE TYPE trialstate AS ENUM ('RUNNING', 'COMPLETE', 'PRUNED', 'FAIL', 'WAITING');\n\
    CREATE TYPE trialvaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG');\n\
    CREATE TYPE trialintermediatevaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG', 'NAN');";

/// So many statements are kept prepared.
const MOST_STATEMENTS: usize = 200;

pub(crate) struct Postgres {
    client: Client,
    /// Prepared statements by their text.
    statements: HashMap<String, Statement>,
}

impl Postgres {
    pub fn open(url: &str) -> Answer<Self> {
        let mut config: Config = url
            .parse()
            .map_err(|e: postgres::Error| Trouble::Lasting(format!("the URL cannot be understood: {}", cause(&e))))?;
        // A server that vanishes without a word is noticed within a minute.
        config
            .application_name("ktg")
            .connect_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(20))
            .tcp_user_timeout(Duration::from_secs(60));
        let mut client = config.connect(NoTls)?;
        // Sessions in UTC, or Optuna's heartbeats look stale. Only commits that must outlive the server's crash wait for
        // its disk. A worker that is stopped in the middle of a transaction must not hold the study for the others. Who
        // waits for a lock lets its own heartbeat through in time.
        let settings = "SET TIME ZONE 'UTC'; SET synchronous_commit = off; \
                        SET idle_in_transaction_session_timeout = '30s'; SET lock_timeout = '2s'";
        client.batch_execute(settings)?;
        Ok(Self { client, statements: HashMap::new() })
    }
}

impl Driver for Postgres {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn query(&mut self, sql: &str, parameters: &[Value]) -> Answer<Vec<Row>> {
        // Statements over lists of trials have many texts; the server keeps what this keeps.
        if self.statements.len() > MOST_STATEMENTS {
            self.statements.clear();
        }
        let statement = match self.statements.entry(sql.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.client.prepare(sql)?),
        };
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|value| value as _).collect();
        let rows = self.client.query(&*statement, &parameters)?;
        let read = |row| values(row).map_err(|e| Trouble::Lasting(e.to_string()));
        rows.iter().map(read).collect()
    }

    fn batch(&mut self, sql: &str) -> Answer<()> {
        Ok(self.client.batch_execute(sql)?)
    }
}

fn values(row: &postgres::Row) -> Result<Row, postgres::Error> {
    let value = |(i, column): (usize, &Column)| {
        let value = match *column.type_() {
            Type::INT4 => row.try_get::<_, Option<i32>>(i)?.map(|v| Value::Int(v.into())),
            Type::INT8 => row.try_get::<_, Option<i64>>(i)?.map(Value::Int),
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(i)?.map(Value::Real),
            _ => row.try_get::<_, Option<String>>(i)?.map(Value::Text),
        };
        Ok(value.unwrap_or(Value::Null))
    };
    row.columns().iter().enumerate().map(value).collect::<Result<_, _>>().map(Row)
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(v), &Type::INT4) => i32::try_from(*v)?.to_sql(ty, out),
            (Value::Int(v), &Type::INT8) => v.to_sql(ty, out),
            (Value::Int(v), &Type::FLOAT8) => (*v as f64).to_sql(ty, out),
            (Value::Real(v), &Type::FLOAT8) => v.to_sql(ty, out),
            // Optuna's states and value types are enums there.
            (Value::Text(v), ty) if matches!(ty.kind(), Kind::Enum(_)) => {
                out.extend_from_slice(v.as_bytes());
                Ok(IsNull::No)
            }
            (Value::Text(v), &Type::TEXT | &Type::VARCHAR) => v.as_str().to_sql(ty, out),
            (value, ty) => Err(format!("{value:?} does not fit the column type {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl From<postgres::Error> for Trouble {
    fn from(error: postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            let cause = cause(&error);
            let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
            // The server cannot be reached, or went away.
            return match error.is_closed() || io || error.to_string().contains("timed out") {
                true => Trouble::Passing(format!("the server cannot be reached ({cause})")),
                false => Trouble::Lasting(cause),
            };
        };
        let text = answer.message().to_owned();
        match answer.code() {
            &SqlState::TOO_MANY_CONNECTIONS => Trouble::Crowded(format!(
                "the server has no free connection ({text}); raise its `max_connections`, or the limit that this names, \
                 or start fewer workers"
            )),
            &SqlState::LOCK_NOT_AVAILABLE => Trouble::Crowded(format!("another session holds a lock ({text})")),
            code => match code.code().get(..2).unwrap_or_default() {
                // Connection, rollback (deadlock), resources (disk full), operator (shutdown), system; locks, and the
                // state of the transaction: a standby that is about to take over cannot write yet.
                "08" | "40" | "53" | "57" | "58" | "55" | "25" => Trouble::Passing(text),
                _ => Trouble::Lasting(text),
            },
        }
    }
}

fn cause(error: &postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
