//! Rows of Postgres, in the order of a cursor.
//!
//! Postgres writes each row as JSON, so numbers keep their digits and times their offset. The cursor
//! of the last row is in the log entry of its events. Rows of one cursor value are read together,
//! unless a second column distinguishes them.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::pipeline::{RowsFrom, RowsSource};
use flowmeter_engine::{Error, Kind};
use tokio_postgres::{Client, Config};

use super::{Behind, Reading, Step, Surroundings};
use crate::calls::Calls;

/// Timeout of connecting to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(300);
/// Keys of what is taken.
const CURSOR: &str = "cursor";
const TIE: &str = "tie";
const ROWS: &str = "rows";

/// Rows, as a source.
pub(super) struct Rows {
    plan: RowsSource,
    around: Surroundings,
    calls: Calls,
    client: Option<Client>,
    /// The query, once the types of its columns are known.
    question: Option<String>,
    origin: Arc<str>,
}

impl Rows {
    pub(super) fn new(plan: &RowsSource, around: Surroundings) -> Result<Rows, Error> {
        let url = crate::expand(&plan.url)?;
        url.parse::<Config>().map_err(|why| Error::new(Kind::Invalid, format!("postgres: the address is none: {why}")))?;
        let origin = match &plan.from {
            RowsFrom::Table(table) => table.as_str().into(),
            RowsFrom::Query(_) => "query".into(),
        };
        let calls = Calls::new(&around.abandon)?;
        Ok(Rows { plan: RowsSource { url, ..plan.clone() }, around, calls, client: None, question: None, origin })
    }

    fn connect(&mut self) -> Result<(), Error> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        self.question = None;
        let mut config: Config = self.plan.url.parse().map_err(|why| lasting(&why))?;
        config.application_name(concat!("flowmeter/", env!("CARGO_PKG_VERSION"))).connect_timeout(CONNECT_TIMEOUT);
        let connector = tokio_postgres_rustls::MakeRustlsConnect::new(crate::targets::tls_of(&self.plan.tls)?);
        let connecting = async {
            let (client, connection) = config.connect(connector).await?;
            tokio::spawn(connection);
            // Texts of times in which nothing is lost, whatever the server is set to.
            client.batch_execute("SET DateStyle = ISO; SET TimeZone = 'UTC'; SET extra_float_digits = 1").await?;
            Ok(client)
        };
        let connected = self.calls.within(CONNECT_TIMEOUT * 2, connecting).map_err(|why| away(&why))?;
        self.client = Some(connected.map_err(|why| judged(&why))?);
        Ok(())
    }

    /// Returns the query for the rows behind a cursor.
    fn question(&mut self) -> Result<String, Error> {
        if let Some(known) = &self.question {
            return Ok(known.clone());
        }
        let Some(client) = &self.client else { return Err(away(&"not connected")) };
        let RowsSource { from, cursor, tie, batch, lag, .. } = &self.plan;
        let from = match from {
            RowsFrom::Table(table) => table.split('.').map(quoted).collect::<Vec<_>>().join("."),
            RowsFrom::Query(query) => format!("({query})"),
        };
        let columns: Vec<String> = std::iter::once(cursor).chain(tie).map(|name| column(name)).collect();
        let probe = format!("SELECT {} FROM {from} AS flowmeter_row", columns.join(", "));
        let prepared = self.calls.within(CONNECT_TIMEOUT, client.prepare(&probe)).map_err(|why| away(&why))?;
        let prepared = prepared.map_err(|why| judged(&why))?;
        let types: Vec<&str> = prepared.columns().iter().map(|column| column.type_().name()).collect();
        let texts = |name: &str| format!("{name}::text");
        let shown = columns.iter().map(|name| texts(name)).collect::<Vec<_>>().join(", ");
        let given = (1..).zip(&types).map(|(number, name)| format!("${number}::text::{name}")).collect::<Vec<_>>().join(", ");
        let named = columns.join(", ");
        let is_time = matches!(types.first(), Some(&"timestamptz" | &"timestamp" | &"date"));
        let until = match lag {
            0 => String::new(),
            _ if !is_time => {
                let message = format!("postgres: `lag` is for a cursor of times; `{cursor}` is of type {}", types[0]);
                return Err(Error::new(Kind::Invalid, message));
            }
            lag => format!(" AND {} <= now() - interval '{} microseconds'", columns[0], lag / 1_000),
        };
        // Without a second column, rows of one cursor value must come together.
        let limit = match tie {
            Some(_) => format!("LIMIT {batch}"),
            None => format!("FETCH FIRST {batch} ROWS WITH TIES"),
        };
        let question = format!(
            "SELECT row_to_json(flowmeter_row)::text, {shown} FROM {from} AS flowmeter_row \
             WHERE ($1::text IS NULL OR ({named}) > ({given})) AND {} IS NOT NULL{until} ORDER BY {named} {limit}",
            columns[0]
        );
        self.question = Some(question.clone());
        Ok(question)
    }
}

impl Reading for Rows {
    fn next(&mut self) -> Result<Step, Error> {
        self.connect()?;
        let question = self.question()?;
        let Some(client) = &self.client else { return Err(away(&"not connected")) };
        let known = |key: &str| self.around.taken.get(key).cloned();
        let parameters: Vec<Option<String>> = match self.plan.tie {
            Some(_) => vec![known(CURSOR), known(TIE)],
            None => vec![known(CURSOR)],
        };
        let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            parameters.iter().map(|text| text as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        let asked = self.calls.within(QUERY_TIMEOUT, client.query(&question, &parameters)).map_err(|why| away(&why))?;
        let rows = asked.map_err(|why| judged(&why))?;
        let Some(last) = rows.last() else {
            return Ok(match self.plan.following.follows {
                true => Step::Wait(Duration::from_nanos(self.plan.following.interval.unsigned_abs())),
                false => Step::End,
            });
        };
        let mut batch = self.around.batch();
        let mut line: u64 = known(ROWS).and_then(|text| text.parse().ok()).unwrap_or_default();
        for row in &rows {
            let json: &str = row.try_get(0).map_err(|why| lasting(&why))?;
            line += 1;
            batch.lines.extend_from_slice(json.as_bytes());
            batch.lines.push(b'\n');
            batch.fed.add(&self.origin, line);
        }
        let mut keep = |key: &str, value: String| batch.fed.taken.push((key.to_owned(), Some(value)));
        keep(CURSOR, last.try_get(1).map_err(|why| lasting(&why))?);
        if self.plan.tie.is_some() {
            let tie: Option<String> = last.try_get(2).map_err(|why| lasting(&why))?;
            let null =
                || Error::new(Kind::Invalid, "postgres: a row has no value in the column of `tie`; name one that is NOT NULL");
            keep(TIE, tie.ok_or_else(null)?);
        }
        keep(ROWS, line.to_string());
        batch.fed.take(&mut self.around.taken);
        Ok(Step::Taken(batch))
    }

    fn behind(&self) -> Behind {
        Behind::default()
    }
}

/// Returns a column of the rows. Without the name of the rows, an order could mean a column of the
/// answer, which is text.
fn column(name: &str) -> String {
    format!("flowmeter_row.{}", quoted(name))
}

/// Quotes the name of a column or table.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn away(why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("postgres: {why}"))
}

fn lasting(why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("postgres: {why}"))
}

/// Returns the error of a statement: some of them only a person can mend.
fn judged(why: &tokio_postgres::Error) -> Error {
    use tokio_postgres::error::SqlState;
    let state = why.code();
    let cause = || std::error::Error::source(why).map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = why.as_db_error().map_or_else(|| format!("{why}{}", cause()), |error| error.message().to_owned());
    let lasts = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::SYNTAX_ERROR,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::INVALID_CATALOG_NAME,
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ];
    match state.is_some_and(|state| lasts.contains(state)) {
        true => lasting(&message),
        false => away(&message),
    }
}
