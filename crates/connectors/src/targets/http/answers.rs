//! The meaning of HTTP responses.

use flowmeter_core::time::Timestamp;
use flowmeter_document::{Dialect, HttpPlan};
use flowmeter_engine::outbox::{Answer, Held};
use serde_json::Value;

use crate::answer::{self, Body, End};
use crate::retry_after::retry_after;

/// Characters of a response that give its meaning: enough for the receiver's error message.
const SAID_MAX: usize = 500;
/// Characters of a response that are kept of an attempt.
const WHOLE_MAX: usize = 4_096;

/// A response of the receiver.
pub(super) struct Spoken {
    status: u16,
    /// The body that was read.
    body: String,
    /// The reason why the body is incomplete.
    cut: Option<String>,
    /// The time for which it asks to wait, in nanoseconds.
    after: Option<i64>,
}

impl Spoken {
    /// Reads a response completely. Without a connection nothing was sent; after any later error,
    /// the receiver may have accepted the request.
    pub(super) async fn hear(
        answer: reqwest::Result<reqwest::Response>,
        now: Timestamp,
        bytes_max: usize,
    ) -> Result<Spoken, Answer> {
        let response = answer.map_err(|why| match why.is_connect() || why.is_builder() {
            true => Answer::Unavailable { why: chain(&why), after: None },
            false => Answer::InDoubt(format!("no answer: {}", chain(&why))),
        })?;
        let status = response.status().as_u16();
        let after = response.headers().get("retry-after").and_then(|text| retry_after(text.to_str().ok()?, now));
        // A received status is valid, even if the body breaks off or is too long; but where the
        // body decides, it must be complete.
        let body = answer::read(reqwest::Body::from(response), bytes_max).await;
        Ok(Spoken::of(status, body, after))
    }

    fn of(status: u16, body: Body, after: Option<i64>) -> Spoken {
        let (text, is_whole) = (body.text(), body.end == End::Whole);
        Spoken { status, body: text, cut: if is_whole { None } else { body.whole().err() }, after }
    }

    /// Returns the status of the response.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Returns the response as it is kept of an attempt.
    pub(super) fn whole(&self) -> String {
        self.beginning(WHOLE_MAX)
    }

    fn said(&self) -> String {
        self.beginning(SAID_MAX)
    }

    fn beginning(&self, chars_max: usize) -> String {
        let text: String = self.body.chars().take(chars_max).collect();
        let said = if text.is_empty() { format!("{}", self.status) } else { format!("{}: {text}", self.status) };
        match &self.cut {
            Some(cut) => format!("{said} ({cut})"),
            None => said,
        }
    }

    /// Returns the meaning for the records that were sent.
    pub(super) fn judge(&self, plan: &HttpPlan) -> Answer {
        if plan.accepted.iter().any(|told| told.status == self.status && self.body.contains(&told.contains)) {
            return Answer::Accepted;
        }
        match self.status {
            200..=299 => self.taken(plan.dialect),
            // Stripe reports a duplicate in the text of an error.
            400 if plan.dialect == Dialect::Stripe && self.body.contains("already exists with identifier") => Answer::Accepted,
            429 | 503 => Answer::Unavailable { why: self.said(), after: self.after },
            // Authorization or the address of the receiver is wrong: that does not depend on the
            // record.
            300..=399 | 401 | 403 | 404 | 405 | 407 | 410 => Answer::Unavailable { why: self.said(), after: self.after },
            408 | 409 | 423 | 425 => Answer::Later(self.said()),
            400..=499 => Answer::Refused(self.said()),
            // The effects of a request on a server that failed are unknown.
            _ => Answer::InDoubt(self.said()),
        }
    }

    fn taken(&self, dialect: Dialect) -> Answer {
        if dialect != Dialect::Zuora {
            return Answer::Accepted;
        }
        // Zuora answers 200 and reports success in the body. A truncated body cannot be parsed.
        match serde_json::from_str::<Value>(&self.body) {
            Ok(body) if body["success"] == Value::Bool(true) => Answer::Accepted,
            Ok(body) if body["success"] == Value::Bool(false) => Answer::Refused(self.said()),
            _ => Answer::InDoubt(self.said()),
        }
    }

    /// Returns the meaning for a record that was read back.
    pub(super) fn held(&self, dialect: Dialect, record: Option<&[u8]>) -> Result<Held, String> {
        match (self.status, dialect) {
            (404, _) => Ok(Held::Missing),
            (200..=299, _) if self.cut.is_some() => Err(self.said()),
            (200, Dialect::Zuora) => match serde_json::from_str::<Value>(&self.body).map(|body| body["size"].as_u64()) {
                Ok(Some(0)) => Ok(Held::Missing),
                Ok(Some(1)) => Ok(Held::Same),
                Ok(Some(times)) => Ok(Held::Different(format!("it is there {times} times"))),
                _ => Err(self.said()),
            },
            (200..=299, _) => Ok(match record {
                None => Held::Same,
                Some(record) if self.body.trim_end().as_bytes() == record || is_equal(&self.body, record) => Held::Same,
                Some(_) => Held::Different(format!("the receiver has {}", self.said())),
            }),
            _ => Err(self.said()),
        }
    }
}

/// Whether two texts are the same JSON, with numbers compared by their digits.
fn is_equal(one: &str, other: &[u8]) -> bool {
    let read = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
    match (read(one.as_bytes()), read(other)) {
        (Some(one), Some(other)) => flowmeter_core::json::is_equal(&one, &other),
        _ => false,
    }
}

/// Returns the error message, for people.
pub(super) fn why(answer: Answer) -> String {
    match answer {
        Answer::Unavailable { why, .. } | Answer::InDoubt(why) | Answer::Later(why) | Answer::Refused(why) => why,
        Answer::Accepted | Answer::NotTried => String::new(),
    }
}

/// Returns an error with its causes; without the address, which may contain a secret.
pub(crate) fn chain(why: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(why);
    while let Some(why) = cause {
        text = if text.is_empty() { why.to_string() } else { format!("{text}: {why}") };
        cause = why.source();
    }
    let kind = match (why.is_timeout(), why.is_connect()) {
        (true, _) => "timed out",
        (_, true) => "no connection",
        _ => "the exchange failed",
    };
    if text.is_empty() { kind.to_owned() } else { format!("{kind}: {text}") }
}
