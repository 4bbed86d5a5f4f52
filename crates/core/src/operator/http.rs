//! Asks an HTTP service about an event, and sets fields to what it answers.

use crate::pipeline::{Auth, TlsPlan};
use crate::template::{Filler, Template};
use crate::verdict::Reason;

/// Why an event is parked.
type Flaw = (Reason, String);

/// Asks a service and sets fields to expressions over its answer.
#[derive(Clone, Debug)]
pub struct Http {
    /// Whether requests are `POST`; otherwise they are `GET`.
    pub is_post: bool,
    /// The address: a template over the event, whose values are encoded.
    pub url: Template,
    /// Headers: names, and templates over the event.
    pub headers: Vec<(String, Template)>,
    /// The body of a `POST`: a template over the event.
    pub body: Option<Template>,
    /// How requests are authorized.
    pub auth: Auth,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// The fields that are set: each is a template over the answer.
    pub set: Vec<(u16, Template)>,
    /// The statuses that are answers; empty for 200 to 299.
    pub accepted: Vec<u16>,
    /// Nanoseconds until an attempt times out.
    pub timeout: i64,
    /// How often a request is tried.
    pub attempts: u32,
    /// The handling of a refused request.
    pub on_refused: OnRefused,
    /// The handling of a request without an answer.
    pub on_unavailable: OnUnavailable,
    /// Nanoseconds for which an answer serves equal requests; 0: none.
    pub cache: i64,
    /// The maximum of concurrent requests.
    pub concurrency: usize,
    /// Bytes that the body of an answer may have.
    pub answer_bytes_max: usize,
    /// Whether a DEBUG session asks; otherwise the fields become null.
    pub calls_in_debug: bool,
}

/// The handling of an event whose request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefused {
    /// The event is parked as `http_refused`.
    Park,
    /// The fields become null.
    Pass,
}

/// The handling of an event whose request gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnavailable {
    /// The event is parked as `http_unavailable`.
    Park,
    /// The fields become null.
    Pass,
    /// The pipeline waits until there is an answer.
    Wait,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    /// The address, with all values filled in.
    pub url: String,
    /// Headers: names and values.
    pub headers: Vec<(String, String)>,
    /// The body, as JSON.
    pub body: Option<Vec<u8>>,
}

/// The answer of a service to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAnswer {
    /// An answer: `{"status": …, "headers": {…}, "body": …}`.
    Answered(Vec<u8>),
    /// It refuses the request: why.
    Refused(String),
    /// It gives no answer: why.
    Unavailable(String),
    /// It was not asked: the fields become null.
    Skipped,
}

/// The meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMeaning {
    /// An answer whose fields are taken.
    Answer,
    /// A refusal: the same request will be refused again.
    Refusal,
    /// No answer: a later attempt may get one.
    Unavailable,
}

impl Http {
    /// Returns the meaning of a status.
    pub fn meaning(&self, status: u16) -> HttpMeaning {
        let is_answer = if self.accepted.is_empty() { (200..300).contains(&status) } else { self.accepted.contains(&status) };
        match status {
            _ if is_answer => HttpMeaning::Answer,
            408 | 425 | 429 => HttpMeaning::Unavailable,
            400..=499 => HttpMeaning::Refusal,
            _ => HttpMeaning::Unavailable,
        }
    }

    /// Makes the request of an event.
    ///
    /// # Errors
    /// An expression has no value for the event.
    pub(crate) fn request(&self, event: &[u8]) -> Result<HttpRequest, Flaw> {
        let failed = |what: &'static str| move |why: String| (Reason::OperatorError, format!("{what}: {why}"));
        let url = Filler::new(self.url.clone()).text(event, encode).map_err(failed("`url`"))?;
        let header = |(name, value): &(String, Template)| {
            let value = Filler::new(value.clone()).text(event, <[u8]>::to_vec)?;
            match value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
                true => Ok((name.clone(), value)),
                false => Err(format!("the header `{name}` would hold a control character")),
            }
        };
        let headers = self.headers.iter().map(header).collect::<Result<_, String>>().map_err(failed("`headers`"))?;
        let body = self.body.as_ref().map(|body| {
            let mut json = Vec::new();
            Filler::new(body.clone()).json(event, &mut json).map(|()| json)
        });
        let body = body.transpose().map_err(failed("`body`"))?;
        Ok(HttpRequest { url, headers, body })
    }

    /// Returns the fields that an answer sets, as JSON.
    ///
    /// # Errors
    /// An expression has no value for the answer.
    pub(crate) fn fields(&self, answer: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, Flaw> {
        let field = |(slot, template): &(u16, Template)| {
            let mut json = Vec::new();
            Filler::new(template.clone()).json(answer, &mut json).map(|()| (*slot, json))
        };
        self.set.iter().map(field).collect::<Result<_, String>>().map_err(|why| (Reason::OperatorError, format!("`set`: {why}")))
    }
}

/// Encodes a value as a part of an address.
fn encode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
            true => out.push(*byte),
            false => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}
