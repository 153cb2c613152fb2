//! One face for both databases: the same SQL text, the same values, the same two kinds of trouble.

/// A value that goes into a statement or comes out of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::Real(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub Vec<Value>);

impl Row {
    pub fn int(&self, column: usize) -> Result<i64, Trouble> {
        match self.0.get(column) {
            Some(Value::Int(v)) => Ok(*v),
            other => Err(unexpected(column, "an integer", other)),
        }
    }

    /// A number, or `None` for NULL.
    pub fn real(&self, column: usize) -> Result<Option<f64>, Trouble> {
        match self.0.get(column) {
            Some(Value::Real(v)) => Ok(Some(*v)),
            // SQLite keeps whole numbers as integers if a foreign program wrote them so.
            Some(Value::Int(v)) => Ok(Some(*v as f64)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected(column, "a number", other)),
        }
    }

    pub fn text(&self, column: usize) -> Result<&str, Trouble> {
        match self.0.get(column) {
            Some(Value::Text(v)) => Ok(v),
            other => Err(unexpected(column, "a text", other)),
        }
    }

    /// A text, or `None` for NULL.
    pub fn optional_text(&self, column: usize) -> Result<Option<&str>, Trouble> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }
}

fn unexpected(column: usize, wanted: &str, got: Option<&Value>) -> Trouble {
    let got = match got {
        None => "missing",
        Some(Value::Null) => "empty",
        Some(Value::Int(_)) => "an integer",
        Some(Value::Real(_)) => "a number",
        Some(Value::Text(_)) => "a text",
    };
    Trouble::Lasting(format!("column {column} of an answer should be {wanted} but is {got}; the study is damaged"))
}

/// Why a statement failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may work later: the server is away, the disk is full, another worker holds a lock.
    Passing(String),
    /// It will not.
    Lasting(String),
}

/// Where the two databases' SQL differs.
pub(crate) struct Dialect {
    /// Begins a transaction that writes.
    pub begin: &'static str,
    /// Begins and ends one whose commit waits for the disk: what must outlive a power cut.
    pub durable: (&'static str, &'static str),
    /// Whether a row is locked by `FOR UPDATE`, because a transaction that writes does not shut out all others.
    pub row_locks: bool,
    /// Ends a query of rows that others must leave as they are until what follows from them is written.
    pub hold: &'static str,
    /// Now, in UTC, with microseconds, as `trials.datetime_start` wants it.
    pub now: &'static str,
    /// Now, as `trial_heartbeats.heartbeat` wants it.
    pub beat: &'static str,
    /// A time as many seconds ago as parameter `$2` says, to be compared with heartbeats.
    pub seconds_ago: &'static str,
    /// The names of all tables.
    pub tables: &'static str,
    /// What creates the tables.
    pub schema: fn() -> String,
}

/// A connection to a database.
pub(crate) trait Connection: Send {
    fn dialect(&self) -> &'static Dialect;

    /// Runs one statement. Parameters are written `$1`, `$2`, ... and first appear in this order.
    fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, Trouble>;

    /// Runs statements without parameters and answers.
    fn batch(&mut self, sql: &str) -> Result<(), Trouble>;
}

/// Runs `work` in a transaction. An error undoes it.
pub(crate) fn transaction<T>(
    connection: &mut dyn Connection,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let begin = connection.dialect().begin;
    between(connection, begin, "COMMIT", work)
}

/// The same, on the disk when it returns.
pub(crate) fn durable_transaction<T>(
    connection: &mut dyn Connection,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let (begin, commit) = connection.dialect().durable;
    between(connection, begin, commit, work)
}

/// The same, while no other worker adds trials to the study: what is seen of the study stays so.
pub(crate) fn study_transaction<T>(
    connection: &mut dyn Connection,
    study: i64,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let dialect = connection.dialect();
    let begin = match dialect.row_locks {
        // A server must not forget in a crash whose a trial is: two workers would be at it.
        true => format!("{}; SELECT 1 FROM studies WHERE study_id = {study} FOR UPDATE", dialect.durable.0),
        false => dialect.begin.to_owned(),
    };
    between(connection, &begin, "COMMIT", work)
}

fn between<T>(
    connection: &mut dyn Connection,
    begin: &str,
    commit: &str,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let begun = connection.batch(begin);
    let result = begun.and_then(|()| work(connection)).and_then(|value| connection.batch(commit).map(|()| value));
    if result.is_err() {
        // It may have ended already, with the connection or because the commit failed.
        let _ = connection.batch("ROLLBACK");
    }
    result
}
