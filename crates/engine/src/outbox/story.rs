//! The last attempts of a delivery, for people.
//!
//! They are stored with the delivery and bounded: a receiver cannot fill the catalog with its
//! answers.

use serde::{Deserialize, Serialize};

use super::Exchange;
use flowmeter_core::time::Timestamp;

/// Attempts that are kept.
pub const ATTEMPTS_MAX: usize = 20;
/// Bytes of an answer that are kept of the newest attempts.
pub const ANSWER_BYTES_MAX: usize = 4_096;
/// Number of the newest attempts, whose answers are kept whole.
const WHOLE_MAX: usize = 5;
/// Bytes of an answer that are kept of older attempts, and in lists.
pub(super) const SHORT_BYTES_MAX: usize = 500;

/// One attempt to deliver a record to its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The time of the attempt; nanoseconds.
    pub at: i64,
    /// The duration of the exchange in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// The status of an HTTP answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer, or the reason why there is none.
    pub answer: String,
}

impl Attempt {
    pub(super) fn new(at: Timestamp, exchange: &Exchange, why: &str) -> Attempt {
        let Exchange { ms, status, answer } = exchange;
        let answer = answer.as_deref().unwrap_or(why);
        Attempt { at: at.nanos(), ms: *ms, status: *status, answer: cut(answer, ANSWER_BYTES_MAX) }
    }
}

/// Adds an attempt to earlier ones; the oldest leave, and answers of older ones get short.
pub(super) fn add(attempts: &mut Vec<Attempt>, attempt: Attempt) {
    attempts.push(attempt);
    let excess = attempts.len().saturating_sub(ATTEMPTS_MAX);
    attempts.drain(..excess);
    let older = attempts.len().saturating_sub(WHOLE_MAX);
    for attempt in &mut attempts[..older] {
        if attempt.answer.len() > SHORT_BYTES_MAX {
            attempt.answer = cut(&attempt.answer, SHORT_BYTES_MAX);
        }
    }
}

/// Returns the beginning of a text, of at most so many bytes.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_their_answers_are_bounded() {
        let mut attempts = Vec::new();
        for second in 0..50 {
            let answer = Some("\u{e9}".repeat(10_000));
            let exchange = Exchange { ms: Some(7), status: Some(503), answer };
            add(&mut attempts, Attempt::new(Timestamp::from_nanos(second), &exchange, "503"));
        }
        let ats: Vec<i64> = attempts.iter().map(|attempt| attempt.at).collect();
        assert_eq!(ats, (30..50).collect::<Vec<_>>());
        let lengths: Vec<usize> = attempts.iter().map(|attempt| attempt.answer.len()).collect();
        assert_eq!(lengths, [[SHORT_BYTES_MAX; 15].as_slice(), &[ANSWER_BYTES_MAX; 5]].concat());
        assert_eq!(cut("abc", 5), "abc");
    }
}
