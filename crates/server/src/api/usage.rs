//! Usage of a meter type by window, user and group, answered from rollups.

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flowmeter_core::decimal::Quotient;
use flowmeter_core::time::Zone;
use flowmeter_node::csv::Table;
use flowmeter_node::keys::Scope;
use flowmeter_node::usage::Usage;
use flowmeter_store::rollups::{Query as Question, Row, SUBJECT, Topped, Window, WindowSize};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::request::{Query, wants_csv};
use super::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused};

/// Groups that `top` may ask for.
const TOP_MAX: usize = 1_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        method: Method::GET,
        path: "/api/v1/meter-types/{idOrName}/query",
        scope: Some(Scope::Read),
        summary: "Usage of a meter type, by window, user and group",
        query: &[
            ("from", "usage at or after this time, cut to the minute"),
            ("to", "usage before this time, cut to the minute"),
            ("windowSize", "MINUTE, HOUR, DAY or MONTH: a row for each; default: one row for the whole time"),
            ("windowTimeZone", "the zone of hours, days and months; default: UTC"),
            ("subject", "usage of this user; may be repeated"),
            ("groupBy", "a row for each value of this field, `subject` is the user; may be repeated"),
            ("filterGroupBy[x]", "usage whose field x has this value; may be repeated"),
            ("top", "only so many groups, those with the greatest values; `other` has the rest, a row for each window"),
            ("total", "true: `total` has the usage of all rows together; so it has with `top`"),
        ],
        body: None,
        answer: (200, "Rows with usage, by window, user and group; as CSV if `Accept` asks for text/csv"),
        route: get(query),
    }]
}

async fn query(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let query = Query::of(raw.as_deref());
    let top = top(&query)?;
    off(move || {
        let usage = app.installation.usage_of(&asked.who.namespace, &name)?;
        let cut = Cut::read(&query)?;
        let mut question = cut.question(&usage)?;
        let subjects: Vec<String> = query.all("subject").map(str::to_owned).collect();
        question.subjects = (!subjects.is_empty()).then_some(subjects);
        // Each field as it was requested, with its full path.
        let mut asked_for = Vec::new();
        for written in query.all("groupBy") {
            let field = usage.field(written, "groupBy")?;
            if !question.group_by.contains(&field) {
                if field != SUBJECT {
                    asked_for.push(written.to_owned());
                }
                question.group_by.push(field);
            }
        }
        for (parameter, value) in query.iter() {
            let Some(written) = parameter.strip_prefix("filterGroupBy[").and_then(|rest| rest.strip_suffix(']')) else {
                continue;
            };
            filter(&mut question, usage.field(written, parameter)?, value.to_owned());
        }
        let (is_table, wants_total) = (wants_csv(&headers), top.is_some() || query.is_on("total"));
        if !wants_total && !is_table {
            let rows = app.installation.usage(&usage, &question)?;
            let data = rows.iter().map(|row| UsageRow::of(row, &asked_for, &Value::Null)).collect();
            return Ok(answer(StatusCode::OK, &Answer { from: cut.from, to: cut.to, window_size: cut.window_size, data }));
        }
        let (topped, total) = app.installation.usage_top(&usage, &question, top, wants_total && !is_table)?;
        if is_table {
            let by_subject = question.group_by.iter().any(|field| field == SUBJECT);
            let disposition = "attachment; filename=\"usage.csv\"";
            let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, disposition)];
            return Ok((headers, csv(&topped, by_subject, &asked_for)).into_response());
        }
        let data = topped.rows.iter().map(|row| UsageRow::of(row, &asked_for, &Value::Null)).collect();
        let other = top.map(|_| topped.other.iter().map(Sum::of).collect());
        let (from, to, window_size, total) = (cut.from, cut.to, cut.window_size, total.as_ref().map(Sum::of));
        Ok(answer(StatusCode::OK, &Summed { from, to, window_size, data, other, total }))
    })
    .await
}

/// Reads the number of groups that are asked for.
fn top(query: &Query) -> Result<Option<usize>, Refused> {
    match query.get("top").map(str::parse) {
        None => Ok(None),
        Some(Ok(count @ 1..=TOP_MAX)) => Ok(Some(count)),
        Some(_) => Err(Box::new(Problem::new(Code::Invalid, format!("top is a number from 1 to {TOP_MAX}")).field("top"))),
    }
}

/// Returns the rows as CSV, each value with all of its digits. Rows of the rest have the word
/// `other` in the last column.
fn csv(topped: &Topped, by_subject: bool, fields: &[String]) -> String {
    let subject = by_subject.then_some(SUBJECT);
    let names = ["windowStart", "windowEnd"].into_iter().chain(subject).chain(fields.iter().map(String::as_str));
    let mut table = Table::with_columns(names.chain(["value", "eventCount", "group"]));
    let rows = topped.rows.iter().map(|row| (row, "")).chain(topped.other.iter().map(|row| (row, "other")));
    for (row, group) in rows {
        table.cell(&row.window_start.to_string());
        table.cell(&row.window_end.to_string());
        if by_subject {
            table.cell(row.subject.as_deref().unwrap_or_default());
        }
        for at in 0..fields.len() {
            table.cell(row.groups.get(at).and_then(|(_, value)| value.as_deref()).unwrap_or_default());
        }
        table.cell(&row.value.map(digits).unwrap_or_default());
        table.cell(&row.event_count.to_string());
        table.cell(group);
        table.end_row();
    }
    table.finish()
}

/// Returns all digits of a value.
fn digits(value: Quotient) -> String {
    let mut digits = Vec::new();
    value.write_to(&mut digits);
    String::from_utf8(digits).unwrap_or_default()
}

/// Allows one more value of a field.
pub(crate) fn filter(question: &mut Question, field: String, value: String) {
    if field == SUBJECT {
        question.subjects.get_or_insert_default().push(value);
        return;
    }
    match question.filter.iter_mut().find(|(known, _)| *known == field) {
        Some((_, values)) => values.push(value),
        None => question.filter.push((field, vec![value])),
    }
}

/// The requested windows of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) window_size: Option<&'static str>,
    window: Option<Window>,
}

const SIZES: [(&str, WindowSize); 4] =
    [("MINUTE", WindowSize::Minute), ("HOUR", WindowSize::Hour), ("DAY", WindowSize::Day), ("MONTH", WindowSize::Month)];

impl Cut {
    /// Reads the windows from the query of a request.
    pub(crate) fn read(query: &Query) -> Result<Cut, Refused> {
        let text = |name: &str| query.get(name).map(str::to_owned);
        Cut::of(text("from"), text("to"), query.get("windowSize"), query.get("windowTimeZone"))
    }

    /// Checks the requested windows.
    pub(crate) fn of(from: Option<String>, to: Option<String>, size: Option<&str>, zone: Option<&str>) -> Result<Cut, Refused> {
        let invalid = |field: &str, detail: String| Box::new(Problem::new(Code::Invalid, detail).field(field));
        let zone = match zone {
            None => Zone::utc(),
            Some(name) => {
                let wrong = || invalid("windowTimeZone", format!("`{name}` is no time zone; write one like Europe/Oslo"));
                Zone::named(name).ok_or_else(wrong)?
            }
        };
        let size = match size {
            None => None,
            Some(name) => {
                let found = SIZES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                let wrong = || invalid("windowSize", format!("`{name}` is no window size; write MINUTE, HOUR, DAY or MONTH"));
                Some(found.ok_or_else(wrong)?)
            }
        };
        let cut = Cut {
            from,
            to,
            window_size: size.map(|(name, _)| *name),
            window: size.map(|(_, size)| Window { size: *size, zone }),
        };
        let (from, to) = (instant(cut.from.as_deref(), "from")?, instant(cut.to.as_deref(), "to")?);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(invalid("to", "`to` must be later than `from`".to_owned()));
        }
        Ok(cut)
    }

    /// Returns the query of all usage within the windows.
    pub(crate) fn question(&self, usage: &Usage) -> Result<Question, Refused> {
        Ok(Question {
            from: instant(self.from.as_deref(), "from")?,
            to: instant(self.to.as_deref(), "to")?,
            window: self.window.clone(),
            ..Question::of(usage.meter_type, usage.aggregation)
        })
    }
}

fn instant(text: Option<&str>, field: &str) -> Result<Option<flowmeter_core::time::Timestamp>, Refused> {
    let Some(text) = text else { return Ok(None) };
    match flowmeter_core::time::Timestamp::parse_rfc3339(text.as_bytes()) {
        Some(at) => Ok(Some(at)),
        None => Err(Box::new(Problem::new(Code::Invalid, format!("`{text}` is no time; write RFC 3339")).field(field))),
    }
}

/// The answer to a query of usage.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window_size: Option<&'static str>,
    pub(crate) data: Vec<UsageRow>,
}

/// A row of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageRow {
    /// Written digit for digit, without a float in between.
    value: Box<RawValue>,
    window_start: String,
    window_end: String,
    subject: Option<String>,
    group_by: Map<String, Value>,
}

impl UsageRow {
    /// Creates a row with these names of groups; `absent` replaces a field that an event lacks.
    pub(crate) fn of(row: &Row, names: &[String], absent: &Value) -> UsageRow {
        let groups = names.iter().zip(&row.groups);
        UsageRow {
            value: raw(row.value),
            window_start: row.window_start.to_string(),
            window_end: row.window_end.to_string(),
            subject: row.subject.clone(),
            group_by: groups
                .map(|(name, (_, value))| (name.clone(), value.clone().map_or_else(|| absent.clone(), Value::String)))
                .collect(),
        }
    }
}

/// An answer with the rest of its groups and its total.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summed {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_size: Option<&'static str>,
    data: Vec<UsageRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<Vec<Sum>>,
    total: Option<Sum>,
}

/// The usage of several groups together.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    value: Box<RawValue>,
    window_start: String,
    window_end: String,
    event_count: u64,
}

impl Sum {
    fn of(row: &Row) -> Sum {
        let (window_start, window_end) = (row.window_start.to_string(), row.window_end.to_string());
        Sum { value: raw(row.value), window_start, window_end, event_count: row.event_count }
    }
}

/// Returns a value as JSON, digit for digit; null if there is none.
fn raw(value: Option<Quotient>) -> Box<RawValue> {
    let text = value.map_or_else(|| "null".to_owned(), digits);
    RawValue::from_string(text).unwrap_or_default()
}
