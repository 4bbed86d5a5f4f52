//! An item of the log of answers: the event, the request and the outcome.

use std::fmt;

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::mediation::{Asked, AskingEvent, PastAnswer};
use flowmeter_core::operator::{Http, HttpAnswer, HttpRequest};
use flowmeter_core::time::Timestamp;
use sha2::{Digest, Sha256};

/// SHA-256 of a request.
type Hash = [u8; 32];

/// The key of an answer: the same at every replay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    operator: String,
    event: AskingEvent,
    /// The instant and the request, for events that an operator released: their lines count from
    /// one in each release. The request of a received event may change with a secret.
    released: Option<(Timestamp, Hash)>,
}

/// A recorded answer with its event and request.
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) received: Timestamp,
    pub(super) request: Hash,
    pub(super) answer: HttpAnswer,
}

impl Item {
    /// Returns the answer for services that may use it for later requests.
    pub(super) fn into_past(self) -> Option<PastAnswer> {
        let HttpAnswer::Answered(answer) = self.answer else { return None };
        Some(PastAnswer { operator: self.key.operator, request: self.request, received: self.received, answer })
    }
}

impl Key {
    pub(super) fn of(asked: &Asked<'_>) -> Key {
        let event = asked.event.clone();
        let released = event.derived_by.map(|_| (asked.received, hash_of(asked.http, asked.request)));
        Key { operator: asked.operator.to_owned(), event, released }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.event.derived_by.is_some() { "released event" } else { "event" };
        write!(f, "the {kind} {} at the operator `{}`", self.event.line, self.operator)
    }
}

/// Appends an item with its length.
pub(super) fn write(key: &Key, asked: &Asked<'_>, answer: &HttpAnswer, bytes: &mut Vec<u8>) {
    let mut pen = Pen::default();
    pen.text(key.operator.as_bytes());
    pen.count(key.event.derived_by.map_or(0, |node| u64::from(node) + 1));
    pen.count(key.event.line);
    pen.count(key.event.descent.len() as u64);
    for (node, index) in &key.event.descent {
        pen.count(u64::from(*node));
        pen.count(u64::from(*index));
    }
    pen.time(asked.received);
    pen.text(&hash_of(asked.http, asked.request));
    let (kind, text) = match answer {
        HttpAnswer::Answered(json) => (0, json.as_slice()),
        HttpAnswer::Refused(why) => (1, why.as_bytes()),
        HttpAnswer::Unavailable(why) => (2, why.as_bytes()),
        HttpAnswer::Skipped | HttpAnswer::Later(_) => (3, &[][..]),
    };
    pen.byte(kind);
    pen.text(text);
    let mut framed = Pen { bytes: std::mem::take(bytes) };
    framed.text(&pen.bytes);
    *bytes = framed.bytes;
}

/// Decodes an item of the log.
pub(super) fn read(item: &[u8]) -> Option<Item> {
    let read = || -> Seen<Option<Item>> {
        let mut glass = Glass::new(item);
        let operator = glass.string()?;
        let derived_by = glass.count()?.checked_sub(1).map(|node| node as u16);
        let line = glass.count()?;
        let mut descent = Vec::new();
        for _ in 0..glass.length()? {
            descent.push((glass.count()? as u16, glass.count()? as u32));
        }
        let received = glass.time()?;
        let Ok(hash) = Hash::try_from(glass.text()?) else { return Ok(None) };
        let kind = glass.byte()?;
        let text = glass.text()?;
        let why = || String::from_utf8_lossy(text).into_owned();
        let answer = match kind {
            0 => HttpAnswer::Answered(text.to_vec()),
            1 => HttpAnswer::Refused(why()),
            2 => HttpAnswer::Unavailable(why()),
            3 => HttpAnswer::Skipped,
            _ => return Ok(None),
        };
        let released = derived_by.map(|_| (received, hash));
        let key = Key { operator, event: AskingEvent { derived_by, line, descent }, released };
        Ok(Some(Item { key, received, request: hash, answer }))
    };
    read().ok().flatten()
}

/// Returns the SHA-256 of a request: of its method, address, body and headers.
pub fn hash_of(http: &Http, request: &HttpRequest) -> Hash {
    let method: &[u8] = if http.is_post { b"POST" } else { b"GET" };
    let headers = request.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let parts = [method, request.url.as_bytes(), request.body.as_deref().unwrap_or_default()];
    let mut hasher = Sha256::new();
    for part in parts.into_iter().chain(headers) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
