//! Answers of the protocol.

use prost::Message;
use serde_json::json;

use super::{Form, Signal};
use crate::lines::Lines;

/// The answer to a request that was taken.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// How many items of a request were rejected, and why.
#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The answer to a request that was not taken: `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Writes the answer to a request whose events are durable.
pub fn success(signal: Signal, form: Form, lines: &Lines) -> Vec<u8> {
    let error_message = lines.why.clone().unwrap_or_default();
    match form {
        Form::Protobuf => {
            let partial = PartialSuccess { rejected: i64::from(lines.rejected), error_message };
            Response { partial_success: (lines.rejected > 0).then_some(partial) }.encode_to_vec()
        }
        Form::Json if lines.rejected == 0 => b"{}".to_vec(),
        Form::Json => {
            let rejected = match signal {
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
                Signal::Traces => "rejectedSpans",
            };
            json!({"partialSuccess": {rejected: lines.rejected.to_string(), "errorMessage": error_message}})
                .to_string()
                .into_bytes()
        }
    }
}

/// Writes the answer to a request that was not taken.
pub fn failure(form: Form, http_status: u16, message: &str) -> Vec<u8> {
    let code = match http_status {
        401 => 16,
        403 => 7,
        429 | 503 => 14,
        400..500 => 3,
        _ => 13,
    };
    match form {
        Form::Protobuf => Status { code, message: message.to_owned() }.encode_to_vec(),
        Form::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    }
}
