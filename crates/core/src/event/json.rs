//! JSON events to rows: one pass that checks the whole text and notes the fields asked
//! for.
//!
//! The scanner accepts what serde_json accepts (a test and a fuzz target compare them)
//! with two decisions made explicit: of repeated names the last counts, and a lone
//! surrogate is refused wherever it stands. It is fast because events of one producer
//! look alike: at every object it remembers which name came in which place last time,
//! with its blanks and punctuation, and compares those bytes before it looks anything up.

mod parts;
mod projection;
mod scan;
#[cfg(test)]
mod tests;
mod text_end;

pub use parts::{Member, Tree, leaf_of};
pub use projection::Projection;
pub use scan::Scanner;

use super::batch::Batch;

impl Scanner {
    /// Fills the batch with the events of its block, one JSON object a record.
    pub fn decode(&mut self, projection: &Projection, batch: &mut Batch, event_bytes_max: usize) {
        batch.reset(projection.width());
        let valid_utf8 = simdutf8::basic::from_utf8(batch.block.bytes()).is_ok();
        for record in batch.cut() {
            let (start, end) = (record.start as usize, record.end as usize);
            let row = batch.push(record);
            let outcome = if end - start > event_bytes_max {
                Err(format!("the event has {} bytes; the limit is {event_bytes_max}", end - start))
            } else if !valid_utf8 && simdutf8::basic::from_utf8(&row.bytes[start..end]).is_err() {
                Err("not UTF-8".to_owned())
            } else {
                let scanned = self.event(projection, row.bytes, start, end, row.slots);
                // Where a flaw is found may depend on what is remembered; what is told must not.
                let told = scanned.or_else(|_| Scanner::new().event(projection, row.bytes, start, end, row.slots));
                told.map_err(|flaw| format!("not a JSON object: {} at column {}", flaw.what, flaw.at - start + 1))
            };
            if let Err(detail) = outcome {
                batch.refuse(detail);
            }
        }
    }
}

/// A text of JSON values, for sources that cut a document into events.
#[derive(Clone, Debug)]
pub struct Document {
    padded: Vec<u8>,
    length: usize,
}

impl Document {
    /// Takes a text.
    pub fn new(mut text: Vec<u8>) -> Document {
        let length = text.len();
        text.resize(length + super::batch::PADDING, 0);
        Document { padded: text, length }
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        &self.padded[..self.length]
    }

    /// Where the value at `from` ends, blanks before it included; `None` if there is
    /// none that is sound.
    pub fn value_end(&self, from: usize) -> Option<usize> {
        scan::skip_blanks_and_value(&self.padded, from).ok().filter(|end| *end <= self.length)
    }
}
