//! Queries of a meter's usage, its subjects, and the values of its dimensions.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use flowmeter_node::keys::Scope;
use flowmeter_node::openmeter::meter::KeptMeter;
use flowmeter_node::openmeter::slugs;
use flowmeter_node::refusal::RefusalKind;
use flowmeter_node::usage::Usage;
use flowmeter_store::rollups::{Query as Question, Row, SUBJECT};
use serde_json::{Map, Value};

use super::{QUERY, SUBJECTS, VALUES, csv, endpoint, literal};
use crate::api::request::{Query, json, wants_csv};
use crate::api::usage::{Answer, Cut, UsageRow, filter};
use crate::api::{App, Asked, Endpoint, answer, off};
use crate::problem::{Code, Problem, Refused, not_found};

const PARAMETERS: &[(&str, &str)] = &[
    ("from", "usage at or after this time, cut to the minute"),
    ("to", "usage before this time, cut to the minute"),
    ("windowSize", "MINUTE, HOUR, DAY or MONTH"),
    ("windowTimeZone", "the zone of the windows; UTC, without"),
    ("subject", "usage of this subject, by subject; may be repeated"),
    ("groupBy", "a dimension or `subject`; may be repeated"),
    ("filterGroupBy[x]", "usage whose dimension x has this value; may be repeated"),
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let rows = (200, "Rows with usage; as CSV if `Accept` asks for text/csv");
    vec![
        Endpoint {
            query: PARAMETERS,
            ..endpoint(Method::GET, QUERY, Scope::Read, "OpenMeter: usage of a meter", rows, get(by_query))
        },
        Endpoint {
            body: Some("the parameters of the GET query, as one object"),
            ..endpoint(Method::POST, QUERY, Scope::Read, "OpenMeter: usage of a meter", rows, post(by_body))
        },
        endpoint(Method::GET, SUBJECTS, Scope::Read, "OpenMeter: who has usage", (200, "Subjects, sorted"), get(subjects)),
        endpoint(Method::GET, VALUES, Scope::Read, "OpenMeter: values of a dimension", (200, "Values, sorted"), get(values)),
    ]
}

/// The parameters of a query.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    cut: Cut,
    subjects: Vec<String>,
    group_by: Vec<String>,
    filters: Vec<(String, Vec<String>)>,
}

fn invalid(field: &str, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(Code::Invalid, detail).field(field))
}

impl Wanted {
    pub(super) fn of_query(query: &Query) -> Result<Wanted, Refused> {
        let mut filters = Vec::new();
        for (name, value) in query.iter() {
            if name == "filterGroupBy" {
                let read = literal::read(value);
                filters.extend(read.ok_or_else(|| invalid(name, "write filterGroupBy[dimension]=value"))?);
            } else if let Some(key) = name.strip_prefix("filterGroupBy[").and_then(|rest| rest.strip_suffix(']')) {
                filters.push((key.to_owned(), vec![value.to_owned()]));
            } else if ["filterCustomerId", "advancedMeterGroupByFilters"].contains(&name) {
                return Err(invalid(name, format!("{name} is not read here; use subject and filterGroupBy")));
            }
        }
        let all = |name: &str| query.all(name).map(str::to_owned).collect();
        Ok(Wanted { cut: Cut::read(query)?, subjects: all("subject"), group_by: all("groupBy"), filters })
    }

    pub(super) fn of_body(body: &Map<String, Value>) -> Result<Wanted, Refused> {
        if body.get("filterCustomerId").is_some_and(|value| !value.is_null()) {
            return Err(invalid("filterCustomerId", "there are no customers here; use subject"));
        }
        let text = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(name, format!("{name} is text"))),
        };
        let mut filters = Vec::new();
        for (key, value) in members(body, "filterGroupBy")? {
            filters.push((key.clone(), texts(value, "filterGroupBy")?));
        }
        for (key, test) in members(body, "advancedMeterGroupByFilters")? {
            filters.push((key.clone(), advanced(test)?));
        }
        let list = |name: &str| body.get(name).map_or(Ok(Vec::new()), |value| texts(value, name));
        let (size, zone) = (text("windowSize")?, text("windowTimeZone")?);
        Ok(Wanted {
            cut: Cut::of(text("from")?, text("to")?, size.as_deref(), zone.as_deref())?,
            subjects: list("subject")?,
            group_by: list("groupBy")?,
            filters,
        })
    }

    /// Returns the query, and the names of the dimensions by which it groups. A filter of subjects
    /// also groups by them, as in OpenMeter.
    fn question(&self, meter: &KeptMeter, usage: &Usage) -> Result<(Question, Vec<String>), Refused> {
        let dimension = |key: &str, field: &str| {
            let known = || meter.group_by.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            meter.dimension(key).ok_or_else(|| invalid(field, format!("the meter has no dimension `{key}`; it has: {}", known())))
        };
        let mut question = self.cut.question(usage)?;
        question.subjects = (!self.subjects.is_empty()).then(|| self.subjects.clone());
        for (key, values) in &self.filters {
            let field = if key == SUBJECT { SUBJECT.to_owned() } else { dimension(key, "filterGroupBy")? };
            values.iter().for_each(|value| filter(&mut question, field.clone(), value.clone()));
        }
        let mut names: Vec<String> = Vec::new();
        for key in self.group_by.iter().filter(|key| *key != SUBJECT) {
            if !names.contains(key) {
                question.group_by.push(dimension(key, "groupBy")?);
                names.push(key.clone());
            }
        }
        if !self.subjects.is_empty() || self.group_by.iter().any(|key| key == SUBJECT) {
            question.group_by.push(SUBJECT.to_owned());
        }
        Ok((question, names))
    }
}

fn members<'b>(body: &'b Map<String, Value>, name: &str) -> Result<Vec<(&'b String, &'b Value)>, Refused> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(members)) => Ok(members.iter().collect()),
        Some(_) => Err(invalid(name, format!("{name} is an object"))),
    }
}

fn texts(value: &Value, field: &str) -> Result<Vec<String>, Refused> {
    let text = |value: &Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| invalid(field, format!("{field} is text, or a list of texts")))
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) => all.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

/// Reads a test of a dimension: only equality is supported.
fn advanced(test: &Value) -> Result<Vec<String>, Refused> {
    let field = "advancedMeterGroupByFilters";
    let tests: Vec<_> = test.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).collect();
    match tests.as_slice() {
        [(name, value)] if ["$eq", "$in", "eq", "in"].contains(&name.as_str()) => texts(value, field),
        _ => Err(invalid(field, "one test of a dimension is read here: `$eq` or `$in`")),
    }
}

/// Returns a meter with its usage.
fn usage_of(app: &App, asked: &Asked, name: &str) -> Result<(KeptMeter, Usage), Refused> {
    let namespace = &asked.who.namespace;
    let meter = slugs::find(&app.installation, namespace, name)?;
    let usage = app.installation.usage_of(namespace, &meter.id.to_string()).map_err(|refused| match refused.kind {
        RefusalKind::NotFound => {
            let detail = format!("the pipeline that counts in `{}` is not at work", meter.slug);
            Box::new(Problem::new(Code::Overloaded, detail).retry_after(1))
        }
        _ => refused.into(),
    })?;
    Ok((meter, usage))
}

async fn by_query(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let wanted = Wanted::of_query(&Query::of(raw.as_deref()))?;
    rows(app, asked, name, wanted, headers).await
}

async fn by_body(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let wanted = Wanted::of_body(&json(&app, &headers, body).await?)?;
    rows(app, asked, name, wanted, headers).await
}

async fn rows(app: App, asked: Asked, name: String, wanted: Wanted, headers: HeaderMap) -> Result<Response, Refused> {
    off(move || {
        let (meter, usage) = usage_of(&app, &asked, &name)?;
        let (question, names) = wanted.question(&meter, &usage)?;
        let rows = app.installation.usage(&usage, &question)?;
        if wants_csv(&headers) {
            let by_subject = question.group_by.iter().any(|field| field == SUBJECT);
            let disposition = format!("attachment; filename=\"{}.csv\"", meter.slug);
            let headers = [(header::CONTENT_TYPE, "text/csv".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
            return Ok((StatusCode::OK, headers, csv::write(&rows, by_subject, &names)).into_response());
        }
        // OpenMeter groups missing values under the empty text.
        let absent = Value::String(String::new());
        let data = rows.iter().map(|row| UsageRow::of(row, &names, &absent)).collect();
        let Cut { from, to, window_size, .. } = wanted.cut;
        Ok(answer(StatusCode::OK, &Answer { from, to, window_size, data }))
    })
    .await
}

async fn subjects(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let cut = Cut::read(&Query::of(raw.as_deref()))?;
    off(move || {
        let (_, usage) = usage_of(&app, &asked, &name)?;
        let Question { from, to, .. } = cut.question(&usage)?;
        let question = Question { from, to, ..Question::of_subjects(usage.meter_type) };
        let rows = app.installation.usage(&usage, &question)?;
        Ok(answer(StatusCode::OK, &rows.into_iter().filter_map(|row| row.subject).collect::<Vec<_>>()))
    })
    .await
}

async fn values(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path((name, key)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let cut = Cut::read(&Query::of(raw.as_deref()))?;
    off(move || {
        let (meter, usage) = usage_of(&app, &asked, &name)?;
        let field = meter.dimension(&key).ok_or_else(|| not_found("dimension", &key))?;
        let Question { from, to, .. } = cut.question(&usage)?;
        let question = Question { from, to, ..Question::of_values(usage.meter_type, &field) };
        let rows: Vec<Row> = app.installation.usage(&usage, &question)?;
        let values: Vec<String> = rows.into_iter().filter_map(|row| row.groups.into_iter().next()?.1).collect();
        Ok(answer(StatusCode::OK, &values))
    })
    .await
}
