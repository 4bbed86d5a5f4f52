//! Postgres: a row for each record.
//!
//! A window's rows and the position in the log of records are written in one transaction, so the
//! table and its cursor never disagree. Records in order are copied straight into the table.
//! Records out of order, and a window whose result is unknown, are copied into a temporary table
//! and become rows only if they are missing: `record_id` is the key.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use flowmeter_core::service::TlsPlan;
use flowmeter_document::PostgresPlan;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};
use futures_util::SinkExt;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Row, Transaction};

use super::rows;
use crate::calls::{Abandon, Calls, Cut};
use crate::tls;

/// Timeout of connecting, with the first statements.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a window: a server that is busy with locks or checkpoints needs seconds; one that
/// does not answer in minutes is unreachable.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of rows that are sent at once: the server stores them while the next ones are encoded.
const PART_BYTES: usize = 256 << 10;

/// A table of records.
pub(super) struct Table {
    url: String,
    table: String,
    /// The pipeline and the target that write.
    owner: String,
    client: Option<Client>,
    calls: Calls,
    /// Whether the last error is one that only a person can fix.
    needs_a_person: bool,
}

/// The failure of a transaction.
enum Failure {
    /// The server is unreachable or refuses the login.
    Away(Broken),
    /// A commit was sent, but no response arrived.
    InDoubt(String),
    /// The server refuses one of the records.
    Record(String),
    /// A row of a record already exists.
    There,
}

impl Table {
    /// Creates the target of a table, without connecting.
    ///
    /// # Errors
    /// The address is invalid.
    pub(super) fn new(plan: &PostgresPlan, owner: &str, abandon: &Abandon) -> Result<Table, Error> {
        let url = crate::expand(&plan.url)?;
        url.parse::<Config>().map_err(|why| Error::new(Kind::Invalid, format!("postgres: the address is none: {why}")))?;
        Ok(Table {
            url,
            table: plan.table.clone(),
            owner: owner.to_owned(),
            client: None,
            calls: Calls::new(abandon)?,
            needs_a_person: false,
        })
    }

    /// Connects if there is no connection. Missing schemas and tables are created.
    fn connect(&mut self) -> Result<(), Broken> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        let mut config: Config = self.url.parse().map_err(Broken::from)?;
        config.application_name(concat!("flowmeter/", env!("CARGO_PKG_VERSION")));
        let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        config.connect_timeout(limit);
        let tls = tls::of(&TlsPlan::default()).map_err(|why| Broken { why: why.to_string(), needs_a_person: true })?;
        let connector = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
        let connecting = async {
            let (client, connection) = config.connect(connector).await?;
            // The connection lives as long as the client, and is driven while requests wait.
            tokio::spawn(connection);
            make(&client, &self.table).await?;
            Ok::<_, tokio_postgres::Error>(client)
        };
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(1);
        let connected = self.calls.within(limit.saturating_mul(hosts), connecting);
        self.client = Some(connected.map_err(Broken::from)?.map_err(Broken::from)?);
        Ok(())
    }

    /// Runs `work` with the connection. A transaction that is interrupted while it commits is in
    /// doubt.
    fn with<T>(&mut self, work: impl AsyncFnOnce(&mut Client, &Committing) -> Result<T, Failure>) -> Result<T, Failure> {
        let done = self.connect().map_err(Failure::Away).and_then(|()| {
            let Some(client) = &mut self.client else { return Err(Failure::Away(Cut::Abandoned.into())) };
            let committing = Committing::default();
            match self.calls.within(WINDOW_TIMEOUT, work(client, &committing)) {
                Ok(done) => done,
                Err(cut) if committing.0.get() => Err(Failure::InDoubt(cut.to_string())),
                Err(cut) => Err(Failure::Away(cut.into())),
            }
        });
        self.needs_a_person = matches!(&done, Err(Failure::Away(broken)) if broken.needs_a_person);
        done
    }

    /// Writes a window, or a part of one, in one transaction. Records in order and sent for the
    /// first time are copied straight into the table.
    fn transact(&mut self, window: Span, records: &[Outgoing<'_>], again: bool) -> Result<(), Failure> {
        let (table, owner) = (self.table.clone(), self.owner.clone());
        self.with(async |client, committing| {
            let transaction = client.transaction().await?;
            let question = format!("SELECT next FROM {table}_cursor WHERE owner = $1 FOR UPDATE");
            let next = transaction.query_opt(&question, &[&owner]).await?;
            let next: i64 = next.map_or(0, |row| row.get(0));
            let in_turn = i64::try_from(window.first).unwrap_or(i64::MAX) >= next;
            match in_turn && !again {
                true => copy(&transaction, &table, records).await?,
                false => upsert(&transaction, &table, records).await?,
            }
            let until = i64::try_from(window.until).unwrap_or(i64::MAX).max(next);
            let move_on = format!(
                "INSERT INTO {table}_cursor (owner, next) VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET next = excluded.next"
            );
            transaction.execute(&move_on, &[&owner, &until]).await?;
            committing.0.set(true);
            transaction.commit().await.map_err(|why| match why.as_db_error() {
                Some(_) => failure(why),
                None => Failure::InDoubt(told(&why)),
            })
        })
    }

    /// Sends records; if the server refuses one, it is found by bisection.
    fn deliver(&mut self, window: Span, records: &[Outgoing<'_>], again: bool, answers: &mut Vec<Answer>) {
        let outcome = self.transact(window, records, again);
        let rest = |answers: &mut Vec<Answer>, first: Answer| {
            answers.push(first);
            answers.extend(std::iter::repeat_n(Answer::NotTried, records.len() - 1));
        };
        match outcome {
            Ok(()) => answers.extend(std::iter::repeat_n(Answer::Accepted, records.len())),
            Err(Failure::There) => self.deliver(window, records, true, answers),
            Err(Failure::Record(why)) if records.len() == 1 => answers.push(Answer::Refused(why)),
            Err(Failure::Record(_)) => {
                let (first, second) = records.split_at(records.len() / 2);
                self.deliver(window, first, true, answers);
                match answers.last() {
                    Some(Answer::Accepted | Answer::Refused(_)) => self.deliver(window, second, true, answers),
                    _ => answers.extend(std::iter::repeat_n(Answer::NotTried, second.len())),
                }
            }
            Err(Failure::Away(Broken { why, .. })) => {
                self.client = None;
                rest(answers, Answer::Unavailable { why, after: None });
            }
            Err(Failure::InDoubt(why)) => {
                self.client = None;
                answers.extend(std::iter::repeat_n(Answer::InDoubt(why), records.len()));
            }
        }
    }

    fn compare(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        let table = self.table.clone();
        let compared = self.with(async |client, _| {
            let transaction = client.transaction().await?;
            own_table(&transaction, &table, records).await?;
            let question = format!(
                "SELECT sent.place, {} FROM flowmeter_sent sent LEFT JOIN {table} held USING (record_id) ORDER BY sent.place",
                rows::comparison()
            );
            let found = transaction.query(&question, &[]).await?;
            let held = |row: &Row| match (row.get::<_, bool>(1), row.get::<_, String>(2)) {
                (false, _) => Held::Missing,
                (true, what) if what.is_empty() => Held::Same,
                (true, what) => Held::Different(what),
            };
            let held = found.iter().map(held).collect();
            transaction.rollback().await?;
            Ok(held)
        });
        if compared.is_err() {
            self.client = None;
        }
        compared.map_err(|why| Error::new(Kind::Unavailable, format!("postgres: {}", why.told())))
    }
}

/// Whether a transaction has been asked to commit.
#[derive(Default)]
struct Committing(Cell<bool>);

/// The reason why the server did not execute a transaction.
struct Broken {
    why: String,
    needs_a_person: bool,
}

impl From<tokio_postgres::Error> for Broken {
    fn from(why: tokio_postgres::Error) -> Broken {
        let code = why.code().map(tokio_postgres::error::SqlState::code).unwrap_or_default();
        Broken { needs_a_person: LASTING.iter().any(|class| code.starts_with(class)), why: told(&why) }
    }
}

impl From<Cut> for Broken {
    fn from(cut: Cut) -> Broken {
        Broken { why: cut.to_string(), needs_a_person: false }
    }
}

/// Classes of errors that waiting does not fix: login, database, schema, and objects that are
/// missing, not permitted or of another form.
const LASTING: [&str; 4] = ["28", "3D", "3F", "42"];

/// Creates the schema and the tables that are missing. A login without the right to create them is
/// enough where they exist.
async fn make(client: &Client, table: &str) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("SET client_min_messages = warning").await?;
    let is_missing = async |function: &str, name: &str| {
        let row = client.query_one(&format!("SELECT {function}($1) IS NULL"), &[&name]).await?;
        Ok::<bool, tokio_postgres::Error>(row.get(0))
    };
    if let Some((schema, _)) = table.split_once('.')
        && is_missing("to_regnamespace", schema).await?
    {
        client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
    }
    if is_missing("to_regclass", table).await? || is_missing("to_regclass", &format!("{table}_cursor")).await? {
        client.batch_execute(&rows::tables(table)).await?;
    }
    Ok(())
}

impl Failure {
    fn told(self) -> String {
        match self {
            Failure::Away(broken) => broken.why,
            Failure::InDoubt(why) | Failure::Record(why) => why,
            Failure::There => "a row is there twice".to_owned(),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(why: tokio_postgres::Error) -> Failure {
        failure(why)
    }
}

async fn copy(transaction: &Transaction<'_>, table: &str, records: &[Outgoing<'_>]) -> Result<(), Failure> {
    let statement = format!("COPY {table} ({}) FROM STDIN", rows::names());
    let mut sink = pin!(transaction.copy_in::<_, Bytes>(&statement).await?);
    let mut part = Vec::with_capacity(PART_BYTES + PART_BYTES / 4);
    for (at, record) in records.iter().enumerate() {
        rows::append(record, &mut part).map_err(|why| Failure::Record(why.to_string()))?;
        if part.len() >= PART_BYTES || at + 1 == records.len() {
            sink.send(std::mem::take(&mut part).into()).await?;
        }
    }
    sink.finish().await?;
    Ok(())
}

/// Copies the records into a temporary table, in their order.
async fn own_table(transaction: &Transaction<'_>, table: &str, records: &[Outgoing<'_>]) -> Result<(), Failure> {
    let make =
        format!("CREATE TEMP TABLE flowmeter_sent (LIKE {table}) ON COMMIT DROP; ALTER TABLE flowmeter_sent ADD place bigserial");
    transaction.batch_execute(&make).await?;
    copy(transaction, "flowmeter_sent", records).await
}

async fn upsert(transaction: &Transaction<'_>, table: &str, records: &[Outgoing<'_>]) -> Result<(), Failure> {
    own_table(transaction, table, records).await?;
    let names = rows::names();
    let move_in = format!(
        "INSERT INTO {table} ({names}) SELECT {names} FROM flowmeter_sent ORDER BY place ON CONFLICT (record_id) DO UPDATE SET {}",
        rows::assignments()
    );
    Ok(transaction.batch_execute(&move_in).await?)
}

/// Returns the server's error message, which the client shows only as "db error".
fn told(why: &tokio_postgres::Error) -> String {
    match why.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{} ({}){detail}", db.message(), db.code().code())
        }
        None => {
            let cause = std::error::Error::source(why).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{why}{cause}")
        }
    }
}

fn failure(why: tokio_postgres::Error) -> Failure {
    match why.code().map(tokio_postgres::error::SqlState::code) {
        Some("23505") => Failure::There,
        // The data violates types or constraints of the table.
        Some(code) if code.starts_with("22") || code.starts_with("23") => Failure::Record(told(&why)),
        _ => Failure::Away(why.into()),
    }
}

impl Target for Table {
    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(records.len());
        if !records.is_empty() {
            self.deliver(window, records, false, &mut answers);
        }
        answers
    }

    fn probe(&mut self) -> Result<(), Error> {
        let at = self.address();
        self.connect().map_err(|broken| {
            let kind = if broken.needs_a_person { Kind::Invalid } else { Kind::Unavailable };
            let check = "check that it runs, and the host, the login and the database in `url`";
            Error::new(kind, format!("postgres at {at}: {}; {check}", broken.why))
        })
    }

    fn address(&self) -> String {
        let Ok(config) = self.url.parse::<Config>() else { return String::new() };
        let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
        let host = |(at, host): (usize, &Host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(at)),
            Host::Unix(path) => path.display().to_string(),
        };
        config.get_hosts().iter().enumerate().map(host).collect::<Vec<_>>().join(", ")
    }

    fn needs_a_person(&self) -> bool {
        self.needs_a_person
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        self.compare(records)
    }
}
