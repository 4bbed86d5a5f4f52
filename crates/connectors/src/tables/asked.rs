//! Rows of tables that a service or a database is asked for.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use flowmeter_core::event::json::{list_elements, write_on_one_line};
use flowmeter_core::source::Format;
use flowmeter_core::table::{HttpTable, PostgresTable, Row, Table};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use futures_util::StreamExt;
use reqwest::header::CONTENT_TYPE;

use super::sent_rows;
use crate::calls::{Abandon, Calls};
use crate::database::{self, QUERY_TIMEOUT, away, judged, lasting};
use crate::service::{Answer, Service, shown_address};

/// Bytes of an answer for each byte of its canonical rows: names of columns are in every row there,
/// and spaces are not.
const ANSWER_FACTOR: usize = 4;

/// Asks a service for the rows of a table.
pub(super) fn http(table: &Table, plan: &HttpTable, now: Timestamp) -> Result<Vec<Row>, Error> {
    let url = crate::expand(&plan.service.url)?;
    // As the document writes it, where it may name secrets.
    let shown: Arc<str> = shown_address(&plan.service.url).into();
    let bytes_max = table.bytes_max.saturating_mul(ANSWER_FACTOR);
    let now = UNIX_EPOCH + Duration::from_nanos(u64::try_from(now.nanos()).unwrap_or_default());
    let wall = Arc::new(move || now);
    let mut service = Service::new(&plan.service, &shown, bytes_max, &Abandon::default(), wall)?;
    let at = |kind, why: &str| Error::new(kind, format!("table `{}`: {shown}: {why}", table.name));
    let (headers, body) = match service.ask(&url)? {
        Answer::Page(headers, body) => (headers, body),
        Answer::Later(_) => return Err(at(Kind::Unavailable, "the service asks to come again later")),
    };
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let format = plan.format.unwrap_or(match media.as_str() {
        "text/csv" => Format::Csv,
        "application/json" => Format::Json,
        _ => Format::Ndjson,
    });
    let rows = match format {
        Format::Csv => sent_rows(&body, true, table.rows_max),
        Format::Json => sent_rows(&on_lines(&body), false, table.rows_max),
        _ => sent_rows(&body, false, table.rows_max),
    };
    some(rows.map_err(|why| at(Kind::Invalid, &why))?, table)
}

/// Refuses an answer without rows: most often a service or a load that is not ready.
fn some(rows: Vec<Row>, table: &Table) -> Result<Vec<Row>, Error> {
    match rows.is_empty() {
        true => Err(Error::new(Kind::Unavailable, format!("table `{}`: the answer has no rows", table.name))),
        false => Ok(rows),
    }
}

/// Returns the elements of a list of JSON, each on a line; text that is no list as it is.
fn on_lines(body: &[u8]) -> Vec<u8> {
    let Some(elements) = list_elements(body) else { return body.to_vec() };
    let mut lines = Vec::with_capacity(body.len());
    for element in elements {
        write_on_one_line(&element, &mut lines);
        lines.push(b'\n');
    }
    lines
}

/// Asks a database for the rows of a table.
pub(super) fn postgres(table: &Table, plan: &PostgresTable) -> Result<Vec<Row>, Error> {
    let calls = Calls::new(&Abandon::default())?;
    let client = database::connect(&calls, &crate::expand(&plan.url)?, &plan.tls)?;
    // One row more than there may be is enough to refuse the content.
    let limit = table.rows_max.saturating_add(1);
    // Postgres writes each row as JSON, so numbers keep their digits.
    let question = format!("SELECT row_to_json(flowmeter_row)::text FROM ({}) AS flowmeter_row LIMIT {limit}", plan.query);
    let bytes_max = table.bytes_max.saturating_mul(ANSWER_FACTOR);
    let asking = async {
        let none: [&str; 0] = [];
        let mut rows = std::pin::pin!(client.query_raw(&question, none).await.map_err(|why| judged(&why))?);
        let mut lines = Vec::new();
        while let Some(row) = rows.next().await {
            let row = row.map_err(|why| judged(&why))?;
            let json: &str = row.try_get(0).map_err(|why| lasting(&why))?;
            lines.extend_from_slice(json.as_bytes());
            lines.push(b'\n');
            if lines.len() > bytes_max {
                return Err(lasting(&format!("the rows have more than {bytes_max} bytes; raise `bytesMax` of the table")));
            }
        }
        Ok(lines)
    };
    let lines = calls.within(QUERY_TIMEOUT, asking).map_err(|why| away(&why))??;
    some(sent_rows(&lines, false, table.rows_max).map_err(|why| lasting(&why))?, table)
}
