//! Stored answers of requests with an `Idempotency-Key`.

use serde::{Deserialize, Serialize};

/// An answer that is given again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The time of the answer, in nanoseconds since 1970.
    pub at_ns: i64,
    /// Hash of method, path and body.
    pub asked: String,
    /// The status of the answer.
    pub status: u16,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// The body of the answer.
    pub body: String,
}
