//! Postgres: a row for each record.
//!
//! A window's rows and the place in the log of records are one transaction, so the table
//! and its cursor never disagree. Records in their turn are copied straight into the table.
//! Records out of their turn, and a window whose answer did not come, go through a table
//! of their own and become rows only if they are not there: `record_id` is the key.

use flowmeter_core::pipeline::{PostgresPlan, TlsPlan};
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};
use postgres::{Client, Transaction};
use std::io::Write;

use super::{rows, tls};

/// A table of records.
pub(super) struct Table {
    url: String,
    table: String,
    /// Who writes: the pipeline and the target.
    owner: String,
    client: Option<Client>,
}

/// What a transaction came to.
enum Failure {
    /// The server is not there, or will not have us.
    Away(String),
    /// It was asked to commit and did not answer.
    InDoubt(String),
    /// It will not have one of the records.
    Record(String),
    /// A row of a record is there already.
    There,
}

impl Table {
    /// # Errors
    /// The address is none.
    pub(super) fn new(plan: &PostgresPlan, owner: &str) -> Result<Table, Error> {
        let url = crate::expand(&plan.url)?;
        url.parse::<postgres::Config>()
            .map_err(|why| Error::new(Kind::Invalid, format!("postgres: the address is none: {why}")))?;
        Ok(Table { url, table: plan.table.clone(), owner: owner.to_owned(), client: None })
    }

    fn client(&mut self) -> Result<&mut Client, String> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let mut config: postgres::Config = self.url.parse().map_err(|why: postgres::Error| why.to_string())?;
            config.application_name(concat!("flowmeter/", env!("CARGO_PKG_VERSION")));
            if config.get_connect_timeout().is_none() {
                config.connect_timeout(CONNECT_TIMEOUT);
            }
            let connector =
                tokio_postgres_rustls::MakeRustlsConnect::new(tls::of(&TlsPlan::default()).map_err(|why| why.to_string())?);
            let mut client = config.connect(connector).map_err(|why| told(&why))?;
            client.batch_execute(&rows::tables(&self.table)).map_err(|why| told(&why))?;
            self.client = Some(client);
        }
        self.client.as_mut().ok_or_else(|| "no connection".to_owned())
    }

    /// A window, or a part of one, in one transaction. In their turn and for the first time,
    /// records are copied straight into the table.
    fn transact(&mut self, window: Span, records: &[Outgoing<'_>], again: bool) -> Result<(), Failure> {
        let (table, owner) = (self.table.clone(), self.owner.clone());
        let client = self.client().map_err(Failure::Away)?;
        let mut transaction = client.transaction().map_err(|why| failure(&why))?;
        let question = format!("SELECT next FROM {table}_cursor WHERE owner = $1 FOR UPDATE");
        let next = transaction.query_opt(&question, &[&owner]).map_err(|why| failure(&why))?;
        let next: i64 = next.map_or(0, |row| row.get(0));
        let in_turn = i64::try_from(window.first).unwrap_or(i64::MAX) >= next;
        match in_turn && !again {
            true => copy(&mut transaction, &table, records)?,
            false => upsert(&mut transaction, &table, records)?,
        }
        let until = i64::try_from(window.until).unwrap_or(i64::MAX).max(next);
        let move_on = format!(
            "INSERT INTO {table}_cursor (owner, next) VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET next = excluded.next"
        );
        transaction.execute(&move_on, &[&owner, &until]).map_err(|why| failure(&why))?;
        transaction.commit().map_err(|why| match why.as_db_error() {
            Some(_) => failure(&why),
            None => Failure::InDoubt(told(&why)),
        })
    }

    /// Sends records; of those the server will not have, the one is found by halving.
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
            Err(Failure::Away(why)) => {
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
        let away = |why: String| Error::new(Kind::Unavailable, format!("postgres: {why}"));
        let client = self.client().map_err(away)?;
        let mut compare = || -> Result<Vec<Held>, Failure> {
            let mut transaction = client.transaction().map_err(|why| failure(&why))?;
            own_table(&mut transaction, &table, records)?;
            let question = format!(
                "SELECT sent.place, {} FROM flowmeter_sent sent LEFT JOIN {table} held USING (record_id) ORDER BY sent.place",
                rows::comparison()
            );
            let found = transaction.query(&question, &[]).map_err(|why| failure(&why))?;
            let held = |row: &postgres::Row| match (row.get::<_, bool>(1), row.get::<_, String>(2)) {
                (false, _) => Held::Missing,
                (true, what) if what.is_empty() => Held::Same,
                (true, what) => Held::Different(what),
            };
            let held = found.iter().map(held).collect();
            transaction.rollback().map_err(|why| failure(&why))?;
            Ok(held)
        };
        let compared = compare().map_err(|why| away(why.told()));
        if compared.is_err() {
            self.client = None;
        }
        compared
    }
}

impl Failure {
    fn told(self) -> String {
        match self {
            Failure::Away(why) | Failure::InDoubt(why) | Failure::Record(why) => why,
            Failure::There => "a row is there twice".to_owned(),
        }
    }
}

/// How long a connection may take when the address does not say.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Bytes of rows that are sent at once: the server takes them in while the next are written.
const PART_BYTES: usize = 256 << 10;

fn copy(transaction: &mut Transaction<'_>, table: &str, records: &[Outgoing<'_>]) -> Result<(), Failure> {
    let mut sink = transaction.copy_in(&format!("COPY {table} ({}) FROM STDIN", rows::names())).map_err(|why| failure(&why))?;
    let mut part = Vec::with_capacity(PART_BYTES + PART_BYTES / 4);
    for (at, record) in records.iter().enumerate() {
        rows::append(record, &mut part).map_err(|why| Failure::Record(why.to_string()))?;
        if part.len() >= PART_BYTES || at + 1 == records.len() {
            sink.write_all(&part).map_err(|why| match why.downcast::<postgres::Error>() {
                Ok(why) => failure(&why),
                Err(why) => Failure::Away(why.to_string()),
            })?;
            part.clear();
        }
    }
    sink.finish().map(drop).map_err(|why| failure(&why))
}

/// The records in a table of their own, in their order.
fn own_table(transaction: &mut Transaction<'_>, table: &str, records: &[Outgoing<'_>]) -> Result<(), Failure> {
    let make =
        format!("CREATE TEMP TABLE flowmeter_sent (LIKE {table}) ON COMMIT DROP; ALTER TABLE flowmeter_sent ADD place bigserial");
    transaction.batch_execute(&make).map_err(|why| failure(&why))?;
    copy(transaction, "flowmeter_sent", records)
}

fn upsert(transaction: &mut Transaction<'_>, table: &str, records: &[Outgoing<'_>]) -> Result<(), Failure> {
    own_table(transaction, table, records)?;
    let names = rows::names();
    let move_in = format!(
        "INSERT INTO {table} ({names}) SELECT {names} FROM flowmeter_sent ORDER BY place ON CONFLICT (record_id) DO UPDATE SET {}",
        rows::assignments()
    );
    transaction.batch_execute(&move_in).map_err(|why| failure(&why))
}

/// What the server says, whole: its errors hide behind "db error".
fn told(why: &postgres::Error) -> String {
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

fn failure(why: &postgres::Error) -> Failure {
    match why.code().map(postgres::error::SqlState::code) {
        Some("23505") => Failure::There,
        // Data that the table's columns or constraints will not have.
        Some(code) if code.starts_with("22") || code.starts_with("23") => Failure::Record(told(why)),
        _ => Failure::Away(told(why)),
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

    fn can_be_asked(&self) -> bool {
        true
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        self.compare(records)
    }
}
