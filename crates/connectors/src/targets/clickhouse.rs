//! ClickHouse: a row for each record, inserted over its HTTP interface.
//!
//! ClickHouse has no unique keys and no transactions. So rows that may have arrived are looked for
//! before they are sent again. A repeated insert has the token of the first attempt, so that
//! ClickHouse drops one of the two if the first was still being executed. If a row is there twice
//! nevertheless, the engine of the table makes it one.

mod sql;

use std::time::Duration;

use flowmeter_document::ClickHousePlan;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Repeat, Span, Target};
use flowmeter_engine::{Error, Kind};
use reqwest::{Client, Url};
use xxhash_rust::xxh3::xxh3_64;

use super::http::answers::chain;
use super::{Around, rows};
use crate::answer::{self, ANSWER_BYTES_MAX, RECORD_BYTES_MAX};
use crate::calls::Calls;
use crate::tls;

/// The header with the number of an error.
const ERROR_HEADER: &str = "x-clickhouse-exception-code";
/// Settings of every statement: times as records write them; an answer comes when all is done; rows
/// that are compared are part of the statement.
const SETTINGS: [(&str, &str); 4] = [
    ("date_time_input_format", "best_effort"),
    ("wait_end_of_query", "1"),
    ("async_insert", "0"),
    ("max_query_size", "268435456"),
];
/// Errors that concern a row: its text cannot be parsed, is out of range or breaks a constraint.
const OF_A_ROW: [u32; 11] = [6, 26, 27, 38, 41, 69, 72, 117, 321, 407, 469];
/// Errors that waiting does not mend: login, database, table, its columns, permissions.
const LASTING: [u32; 10] = [16, 60, 81, 115, 164, 192, 193, 194, 497, 516];

/// Errors after which it is not known whether the rows are there: a time limit, a broken connection
/// inside of a cluster, an insert whose status is unknown.
const UNSURE: [u32; 4] = [159, 209, 210, 319];

/// A table of records.
pub(super) struct Table {
    url: Url,
    table: String,
    login: Option<(String, String)>,
    client: Client,
    calls: Calls,
    timeout: Duration,
    /// The pipeline, the target and the time of opening: they distinguish its tokens from those of
    /// others, and of earlier runs.
    owner: String,
    /// The number of inserts that were answered.
    answered: u64,
    /// Whether the table is known to exist.
    exists: bool,
    needs_a_person: bool,
}

/// The failure of a statement.
enum Failure {
    /// It was not executed.
    Away(String),
    /// It was sent, and no answer says what became of it.
    InDoubt(String),
    /// A row is refused.
    Row(String),
}

impl Failure {
    fn into_why(self) -> String {
        match self {
            Failure::Away(why) | Failure::InDoubt(why) | Failure::Row(why) => why,
        }
    }
}

impl Table {
    /// Creates the target of a table, without connecting.
    ///
    /// # Errors
    /// The address, a secret or a certificate is invalid.
    pub(super) fn new(plan: &ClickHousePlan, around: &Around<'_>) -> Result<Table, Error> {
        let invalid = |why: String| Error::new(Kind::Invalid, format!("clickhouse: {why}"));
        let text = crate::expand(&plan.url)?;
        let url = Url::parse(&text).map_err(|why| invalid(format!("{text}: {why}")))?;
        let timeout = Duration::from_nanos(u64::try_from(plan.timeout).unwrap_or_default());
        let client = crate::client::bounded(Client::builder(), timeout).use_preconfigured_tls(tls::of(&plan.tls)?).build();
        let text = |text: &Option<String>| text.as_deref().map(crate::expand).transpose();
        let login = text(&plan.user)?.map(|user| Ok::<_, Error>((user, text(&plan.password)?.unwrap_or_default())));
        Ok(Table {
            url,
            table: plan.table.clone(),
            login: login.transpose()?,
            client: client.map_err(|why| invalid(why.to_string()))?,
            calls: Calls::new(&around.abandon)?,
            timeout,
            owner: format!("{} {}", around.owner, around.clock.now().nanos()),
            answered: 0,
            exists: false,
            needs_a_person: false,
        })
    }

    /// Executes a statement; returns its answer.
    fn execute(&mut self, statement: String, token: Option<&str>, bytes_max: usize) -> Result<String, Failure> {
        self.needs_a_person = false;
        let mut url = self.url.clone();
        let token = token.map(|token| ("insert_deduplication_token", token));
        url.query_pairs_mut().extend_pairs(SETTINGS.into_iter().chain(token));
        let mut request = self.client.post(url).body(statement);
        if let Some((user, password)) = &self.login {
            request = request.header("x-clickhouse-user", user).header("x-clickhouse-key", password);
        }
        let asking = async {
            let answer = request.send().await.map_err(|why| match why.is_connect() || why.is_builder() {
                true => Failure::Away(chain(&why)),
                false => Failure::InDoubt(chain(&why)),
            })?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = answer::read(reqwest::Body::from(answer), bytes_max).await;
            let number = headers.get(ERROR_HEADER).and_then(|code| code.to_str().ok()?.parse::<u32>().ok());
            Ok((status, number, body))
        };
        let cut = |why: crate::calls::Cut| Failure::InDoubt(why.to_string());
        let (status, number, body) = self.calls.within(self.timeout, asking).map_err(cut)??;
        let said = || format!("{status} {}", body.text().trim().chars().take(500).collect::<String>());
        let is_row = number.is_some_and(|number| OF_A_ROW.contains(&number));
        self.needs_a_person = matches!(status, 401 | 403 | 404) || number.is_some_and(|number| LASTING.contains(&number));
        match (status, number) {
            (200, None) => body.whole().map_err(Failure::InDoubt).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            (_, Some(_)) if is_row => Err(Failure::Row(said())),
            (_, Some(number)) if UNSURE.contains(&number) => Err(Failure::InDoubt(said())),
            // ClickHouse says what was wrong; nothing of the statement is in effect.
            (_, Some(_)) | (300..=499, None) => Err(Failure::Away(said())),
            // A server or a proxy that failed.
            _ => Err(Failure::InDoubt(said())),
        }
    }

    /// Creates the table unless it exists. A login without the right to create one is enough where
    /// it does.
    fn make(&mut self) -> Result<(), Failure> {
        if !self.exists {
            let exists = self.execute(sql::exists(&self.table), None, ANSWER_BYTES_MAX)?;
            if exists.trim() != "1" {
                self.execute(sql::create(&self.table), None, ANSWER_BYTES_MAX)?;
            }
            self.exists = true;
        }
        Ok(())
    }

    fn insert(&mut self, rows: &str) -> Result<(), Failure> {
        self.make().map_err(|why| Failure::Away(why.into_why()))?;
        // The same rows have the same token until an insert was answered: what is sent again after
        // that is meant to be there again.
        let token = format!("{} {} {:016x}", self.owner, self.answered, xxh3_64(rows.as_bytes()));
        let inserted = self.execute(sql::insert(&self.table) + rows, Some(&token), ANSWER_BYTES_MAX);
        if !matches!(inserted, Err(Failure::InDoubt(_))) {
            self.answered += 1;
        }
        inserted.map(drop)
    }

    /// Inserts rows; if one is refused, it is found by bisection.
    fn deliver(&mut self, rows: &[String], answers: &mut Vec<Answer>) {
        match self.insert(&rows.concat()) {
            Ok(()) => answers.extend(rows.iter().map(|_| Answer::Accepted)),
            Err(Failure::Row(why)) if rows.len() == 1 => answers.push(Answer::Refused(why)),
            Err(Failure::Row(_)) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.deliver(first, answers);
                match answers.last() {
                    Some(Answer::Accepted | Answer::Refused(_)) => self.deliver(second, answers),
                    _ => answers.extend(second.iter().map(|_| Answer::NotTried)),
                }
            }
            Err(Failure::Away(why)) => {
                // Perhaps the table is gone.
                self.exists = false;
                answers.push(Answer::Unavailable { why, after: None });
                answers.extend(rows.iter().skip(1).map(|_| Answer::NotTried));
            }
            Err(Failure::InDoubt(why)) => answers.extend(rows.iter().map(|_| Answer::InDoubt(why.clone()))),
        }
    }
}

/// Returns records as lines of a table.
fn lines(records: &[Outgoing<'_>]) -> Result<Vec<String>, Error> {
    let line = |record: &Outgoing<'_>| {
        let mut line = Vec::new();
        rows::append(record, &mut line)?;
        String::from_utf8(line).map_err(|why| Error::new(Kind::Bug, format!("record {} is not UTF-8: {why}", record.number)))
    };
    records.iter().map(line).collect()
}

impl Target for Table {
    fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(records.len());
        match lines(records) {
            Ok(rows) if !rows.is_empty() => self.deliver(&rows, &mut answers),
            Ok(_) => {}
            Err(why) => answers = super::all_unavailable(&why, records.len()),
        }
        answers
    }

    fn probe(&mut self) -> Result<(), Error> {
        let at = self.address();
        self.exists = false;
        self.make().map_err(|failure| {
            let kind = if self.needs_a_person { Kind::Invalid } else { Kind::Unavailable };
            let check = "check that it runs, that `url` is its HTTP interface, and `user` and `password`";
            Error::new(kind, format!("clickhouse at {at}: {}; {check}", failure.into_why()))
        })
    }

    fn address(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    fn needs_a_person(&self) -> bool {
        self.needs_a_person
    }

    fn repeat(&self) -> Repeat {
        Repeat::ReadFirst
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        let wrong = |why: String| Error::new(Kind::Unavailable, format!("clickhouse: {why}"));
        let rows = lines(records)?.concat();
        self.make().map_err(|failure| wrong(failure.into_why()))?;
        let compared = self.execute(sql::compare(&self.table, &rows), None, RECORD_BYTES_MAX);
        let compared = compared.map_err(|failure| wrong(failure.into_why()))?;
        let held = |line: &str| match line.split_once('\t') {
            Some(("true", "")) => Some(Held::Same),
            Some(("true", columns)) => Some(Held::Different(columns.to_owned())),
            Some(("false", _)) => Some(Held::Missing),
            _ => None,
        };
        let held: Option<Vec<Held>> = compared.lines().map(held).collect();
        match held.filter(|held| held.len() == records.len()) {
            Some(held) => Ok(held),
            None => Err(wrong(format!("an answer that was not expected: {}", compared.chars().take(200).collect::<String>()))),
        }
    }
}
