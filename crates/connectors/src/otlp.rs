//! Events of OpenTelemetry: OTLP requests with metrics, logs and traces become events.
//!
//! A data point, a log record and a span are an event each; [`Signal`] has the three kinds. Requests
//! come as Protobuf or as JSON. A Protobuf request is turned into the JSON of the protocol first, so
//! that both are read in one way: [`metrics`], [`logs`] and [`spans`]. Numbers keep their digits.
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
    /// It has more events than one request may have.
    TooLarge(String),
}

/// Reads the events of a request.
///
/// # Errors
/// The body is no such request, or has too many events.
pub fn read(signal: Signal, form: Form, body: &[u8], bounds: Bounds) -> Result<Lines, Fault> {
    let request = match (form, signal) {
        (Form::Json, _) => of_json(body),
        (Form::Protobuf, Signal::Metrics) => of_protobuf::<ExportMetricsServiceRequest>(body),
        (Form::Protobuf, Signal::Logs) => of_protobuf::<ExportLogsServiceRequest>(body),
        (Form::Protobuf, Signal::Traces) => of_protobuf::<ExportTraceServiceRequest>(body),
    };
    let request = request.map_err(Fault::Unreadable)?;
    let mut lines = Lines::new(bounds);
    let mut take = |point: Point| match point {
        Ok(event) => lines.push(&event),
        Err(why) => lines.reject(why),
    };
    match signal {
        Signal::Metrics => metrics::read(&request, &mut take),
        Signal::Logs => logs::read(&request, &mut take),
        Signal::Traces => spans::read(&request, &mut take),
    }
    lines.finish().map_err(Fault::TooLarge)
}

/// A point as an event, or why it is none.
type Point = Result<Value, String>;

fn of_protobuf<M: Message + Default + Serialize>(body: &[u8]) -> Result<Value, String> {
    let message = M::decode(body).map_err(|why| format!("the body is no such Protobuf message: {why}"))?;
    serde_json::to_value(message).map_err(|why| why.to_string())
}

fn of_json(body: &[u8]) -> Result<Value, String> {
    let request: Value = serde_json::from_slice(body).map_err(|why| format!("the body is no JSON: {why}"))?;
    if request.is_object() { Ok(request) } else { Err("the body is to be a JSON object".to_owned()) }
}
