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

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}

/// A row of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub Vec<Value>);

impl Row {
    pub fn int(&self, column: usize) -> Answer<i64> {
        match self.0.get(column) {
            Some(Value::Int(v)) => Ok(*v),
            other => Err(unexpected(column, "an integer", other)),
        }
    }

    /// A number, or `None` for NULL.
    pub fn real(&self, column: usize) -> Answer<Option<f64>> {
        match self.0.get(column) {
            Some(Value::Real(v)) => Ok(Some(*v)),
            // SQLite keeps whole numbers as integers if a foreign program wrote them so.
            Some(Value::Int(v)) => Ok(Some(*v as f64)),
            Some(Value::Null) => Ok(None),
            other => Err(unexpected(column, "a number", other)),
        }
    }

    pub fn text(&self, column: usize) -> Answer<String> {
        match self.0.get(column) {
            Some(Value::Text(v)) => Ok(v.clone()),
            other => Err(unexpected(column, "a text", other)),
        }
    }

    /// A text, or `None` for NULL.
    pub fn optional_text(&self, column: usize) -> Answer<Option<String>> {
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
    /// It may work later: the server is away, the disk is full.
    Passing(String),
    /// It will work as soon as others give up a connection or a lock, which they do in a moment.
    Crowded(String),
    /// It will not.
    Lasting(String),
}

/// What comes of a statement.
pub(crate) type Answer<T> = Result<T, Trouble>;

/// Where the two databases' SQL differs.
pub(crate) struct Dialect {
    /// Begins a transaction that writes.
    pub begin: &'static str,
    /// Begins and ends one whose commit waits for the disk.
    pub durable: (&'static str, &'static str),
    /// Whether a row is locked by `FOR UPDATE`, because a transaction that writes does not shut out all others.
    pub row_locks: bool,
    /// Ends a query of rows that others must leave as they are until what follows from them is written.
    pub hold: &'static str,
    /// Now, in UTC, with fractions of seconds, as Optuna's tables want it: not the transaction's time, which may have
    /// waited for the study.
    pub now: &'static str,
    /// The names of all tables.
    pub tables: &'static str,
    /// What to say of a database without tables.
    pub empty: &'static str,
    /// What stands for each placeholder of `schema.sql`.
    pub types: &'static [(&'static str, &'static str)],
}

/// A database's client.
pub(crate) trait Driver: Send {
    fn dialect(&self) -> &'static Dialect;

    /// Runs one statement. Parameters are written `$1`, `$2`, ... and first appear in this order.
    fn query(&mut self, sql: &str, parameters: &[Value]) -> Answer<Vec<Row>>;

    /// Runs statements without parameters and answers.
    fn batch(&mut self, sql: &str) -> Answer<()>;
}

/// A connection to a database.
pub(crate) type Connection = dyn Driver;

/// What a transaction promises, beside that an error undoes it.
#[derive(Clone, Copy)]
pub(crate) enum Transaction {
    /// Nothing.
    Plain,
    /// It is on the disk when it returns: for what must outlive a power cut.
    Durable,
    /// No other worker adds trials to the study of this key meanwhile: what is seen of the study stays so.
    OfStudy(i64),
}

impl Connection {
    /// Runs one statement whose answer does not matter.
    pub fn run(&mut self, sql: &str, values: &[Value]) -> Answer<()> {
        self.query(sql, values).map(drop)
    }

    /// Whether a statement answers with any row.
    pub fn any(&mut self, sql: &str, values: &[Value]) -> Answer<bool> {
        Ok(!self.query(sql, values)?.is_empty())
    }

    /// What is read from the first row, if there is one.
    pub fn first<T>(&mut self, sql: &str, values: &[Value], read: impl FnOnce(&Row) -> Answer<T>) -> Answer<Option<T>> {
        self.query(sql, values)?.first().map(read).transpose()
    }

    /// What is read from each row.
    pub fn all<T>(&mut self, sql: &str, values: &[Value], read: impl FnMut(&Row) -> Answer<T>) -> Answer<Vec<T>> {
        self.query(sql, values)?.iter().map(read).collect()
    }

    /// Runs one statement so that a crash of the server does not undo it. A worker outlives the crash and writes on: what
    /// follows would stand without what it followed from.
    pub fn outliving_a_crash<T>(&mut self, statement: impl FnOnce(&mut Connection) -> Answer<T>) -> Answer<T> {
        match self.dialect().row_locks {
            true => self.transaction(Transaction::Durable, statement),
            // Without a server, a worker is gone when what it has written may be.
            false => statement(self),
        }
    }

    /// Runs `work` in a transaction.
    pub fn transaction<T>(&mut self, kind: Transaction, work: impl FnOnce(&mut Connection) -> Answer<T>) -> Answer<T> {
        let dialect = self.dialect();
        let (begin, commit) = match kind {
            Transaction::Durable => (dialect.durable.0.to_owned(), dialect.durable.1),
            // A server must not forget in a crash whose a trial is: two workers would be at it.
            Transaction::OfStudy(study) if dialect.row_locks => {
                let lock = format!("SELECT 1 FROM studies WHERE study_id = {study} FOR UPDATE");
                (format!("{}; {lock}", dialect.durable.0), dialect.durable.1)
            }
            Transaction::Plain | Transaction::OfStudy(_) => (dialect.begin.to_owned(), "COMMIT"),
        };
        let begun = self.batch(&begin);
        let result = begun.and_then(|()| work(self)).and_then(|value| self.batch(commit).map(|()| value));
        if result.is_err() {
            // It may have ended already, with the connection or because the commit failed.
            let _ = self.batch("ROLLBACK");
        }
        result
    }
}
