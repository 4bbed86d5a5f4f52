//! Asks an HTTP service about an event, and sets fields to what it answers.

use crate::event::{Batch, Kind, Path};
use crate::expression::Program;
use crate::service::{Auth, TlsPlan};
use crate::template::{Piece, Reader, percent_encoded};
use crate::verdict::Reason;

/// Why an event is parked.
type Flaw = (Reason, String);

/// Asks a service and sets fields to expressions over its answer.
#[derive(Clone, Debug)]
pub struct Http {
    /// Whether requests are `POST`; otherwise they are `GET`.
    pub is_post: bool,
    /// The address; the values in it are percent-encoded.
    pub url: Piece,
    /// Headers: names and values.
    pub headers: Vec<(String, Piece)>,
    /// The body of a `POST`.
    pub body: Option<Piece>,
    /// How requests are authorized.
    pub auth: Auth,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// The fields of an answer that the expressions of `set` read.
    pub answer_paths: Vec<Path>,
    /// The fields that are set, each to an expression over the answer.
    pub set: Vec<(u16, Program)>,
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
    /// There is no outcome yet: why. The caller takes the event again later.
    Later(String),
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
    pub(crate) fn request(&self, batch: &Batch, row: usize) -> Result<HttpRequest, Flaw> {
        let failed = |what: &'static str| move |why: String| (Reason::OperatorError, format!("{what}: {why}"));
        let url = self.url.text(batch, row, &|value| percent_encoded(value).into_bytes()).map_err(failed("`url`"))?;
        if let Some(segment) = leading_elsewhere(&url) {
            let message = format!("`url`: a value makes `{segment}` a part of the path, which leads to another resource");
            return Err((Reason::OperatorError, message));
        }
        let header = |(name, value): &(String, Piece)| {
            let value = value.text(batch, row, &<[u8]>::to_vec)?;
            match value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
                true => Ok((name.clone(), value)),
                false => Err(format!("the header `{name}` would hold a control character")),
            }
        };
        let headers = self.headers.iter().map(header).collect::<Result<_, String>>().map_err(failed("`headers`"))?;
        let body = self.body.as_ref().map(|body| {
            let mut json = Vec::new();
            body.json(batch, row, &mut json).map(|()| json)
        });
        let body = body.transpose().map_err(failed("`body`"))?;
        Ok(HttpRequest { url, headers, body })
    }

    /// Returns the values that an answer gives to the fields.
    ///
    /// # Errors
    /// An expression has no value for the answer.
    pub(crate) fn fields(&self, reader: &mut Reader, answer: &[u8]) -> Result<Vec<(u16, Kind, Vec<u8>)>, Flaw> {
        let mut fields = || {
            let batch = reader.read(answer)?;
            let field = |(slot, program): &(u16, Program)| {
                let (kind, bytes) = program.evaluate(batch, 0)?.into_field()?;
                Ok((*slot, kind, bytes.into_owned()))
            };
            self.set.iter().map(field).collect::<Result<_, String>>()
        };
        fields().map_err(|why| (Reason::OperatorError, format!("`set`: {why}")))
    }
}
/// Returns a part of an address's path that is not a name but a step: `.` or `..`.
fn leading_elsewhere(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split('/').skip(3).find(|segment| matches!(*segment, "." | ".."))
}
