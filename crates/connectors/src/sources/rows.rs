//! Rows of Postgres, in the order of a cursor.
//!
//! Postgres writes each row as JSON, so numbers keep their digits and times their offset. The cursor
//! of the last row is in the log entry of its events. Rows of one cursor value are read together,
//! unless a second column distinguishes them.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::source::{RowsFrom, RowsSource};
use flowmeter_engine::{Error, Kind};
use tokio_postgres::{Client, Config};

use super::{Behind, Reading, Step, Surroundings};
use crate::calls::Calls;
use crate::database::{self, CONNECT_TIMEOUT, QUERY_TIMEOUT, away, judged, lasting};

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
        self.client = Some(database::connect(&self.calls, &self.plan.url, &self.plan.tls)?);
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
