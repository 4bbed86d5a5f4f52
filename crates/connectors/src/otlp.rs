//! Events of OpenTelemetry: OTLP requests with metrics, logs and traces become events.
//!
//! A data point, a log record and a span are an event each; [`Signal`] has the three kinds. Requests
//! come as Protobuf or as JSON. A Protobuf request is turned into the JSON of the protocol first, so
//! that both are read in one way, signal by signal. Numbers keep their digits.
//!
//! An event has an id made of what identifies its point, so a request that is sent again counts once.

mod answer;
mod event;
mod genai;
mod logs;
mod metrics;
mod spans;
#[cfg(test)]
mod tests;
mod value;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::Serialize;
use serde_json::Value;

pub use answer::{failure, success};

use crate::lines::{Bounds, Lines};
use crate::protobuf;
use event::Place;
use value::list;

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metrics; an event for each data point.
    Metrics,
    /// Logs; an event for each record.
    Logs,
    /// Traces; an event for each span.
    Traces,
}

/// How a request and its answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Protobuf: the content type is `application/x-protobuf`.
    Protobuf,
    /// JSON: the content type is `application/json`.
    Json,
}

impl Form {
    /// Returns the form with a content type, without its parameters.
    pub fn named(content_type: &str) -> Option<Form> {
        [Form::Protobuf, Form::Json].into_iter().find(|form| form.content_type() == content_type)
    }

    /// Returns the content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The body is no such request.
    Unreadable(String),
    /// It has more bytes than one request may have.
    TooLarge(String),
    /// It has more events than one request may have.
    TooMany(String),
}

/// Reads the events of a request.
///
/// # Errors
/// The body is no such request, or has too many events.
pub fn read(signal: Signal, form: Form, body: &[u8], bounds: Bounds) -> Result<Lines, Fault> {
    let request = match form {
        Form::Json if body.len() > JSON_BYTES_MAX => return Err(too_large(body.len(), JSON_BYTES_MAX)),
        Form::Protobuf if body.len() > PROTOBUF_BYTES_MAX => return Err(too_large(body.len(), PROTOBUF_BYTES_MAX)),
        Form::Protobuf if !protobuf::is_within_bounds(body) => {
            return Err(Fault::TooLarge(format!("the body has more than {} fields", protobuf::FIELDS_MAX)));
        }
        Form::Json => of_json(body),
        Form::Protobuf => match signal {
            Signal::Metrics => of_protobuf::<ExportMetricsServiceRequest>(body),
            Signal::Logs => of_protobuf::<ExportLogsServiceRequest>(body),
            Signal::Traces => of_protobuf::<ExportTraceServiceRequest>(body),
        },
    };
    let request = request.map_err(Fault::Unreadable)?;
    let mut lines = Lines::new(bounds);
    match signal {
        Signal::Metrics => metrics::read(&request, &mut lines),
        Signal::Logs => each(&request, ["resourceLogs", "scopeLogs", "logRecords"], &mut lines, &logs::event),
        Signal::Traces => each(&request, ["resourceSpans", "scopeSpans", "spans"], &mut lines, &spans::event),
    }
    lines.finish()
}

/// Bytes of a request in JSON and in Protobuf. Collectors send some megabytes at once; in memory a request
/// takes many times its bytes.
const JSON_BYTES_MAX: usize = 4 << 20;
const PROTOBUF_BYTES_MAX: usize = 16 << 20;

fn too_large(bytes: usize, bytes_max: usize) -> Fault {
    Fault::TooLarge(format!("the body has {bytes} bytes, at most {bytes_max} are allowed"))
}

/// Takes every item of a request as an event; `names` are those of the lists of resources, scopes and
/// items.
fn each(request: &Value, names: [&str; 3], lines: &mut Lines, event: &dyn Fn(&Place, &Value) -> Result<Value, String>) {
    in_groups(request, names, lines, |place, item, lines| {
        lines.take(place.as_ref().map_err(String::clone).and_then(|place| event(place, item)));
    });
}

/// Visits every item of a request with its resource and scope, or why they cannot be taken.
fn in_groups(
    request: &Value,
    [resources, scopes, items]: [&str; 3],
    lines: &mut Lines,
    mut visit: impl FnMut(&Result<Place, String>, &Value, &mut Lines),
) {
    for of_resource in list(request, resources) {
        for of_scope in list(of_resource, scopes) {
            let place = Place::of(of_resource, of_scope, lines.bounds().event_bytes_max);
            list(of_scope, items).iter().for_each(|item| visit(&place, item, lines));
        }
    }
}

fn of_protobuf<M: Message + Default + Serialize>(body: &[u8]) -> Result<Value, String> {
    let message = M::decode(body).map_err(|why| format!("the body is no such Protobuf message: {why}"))?;
    serde_json::to_value(message).map_err(|why| why.to_string())
}

fn of_json(body: &[u8]) -> Result<Value, String> {
    let request: Value = serde_json::from_slice(body).map_err(|why| format!("the body is no JSON: {why}"))?;
    if request.is_object() { Ok(request) } else { Err("the body is to be a JSON object".to_owned()) }
}
