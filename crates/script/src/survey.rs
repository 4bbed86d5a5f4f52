//! Looks over the numbers of a JSON text before the engine reads it.

use std::collections::HashMap;

use crate::numbers::{binary, shortest};

/// The numbers of a text that JavaScript would not write as they came.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Survey {
    /// Whether a number does not fit a binary64: it becomes a `Decimal`.
    pub(crate) has_decimals: bool,
    /// Numbers that JavaScript would write otherwise, such as `1.0`.
    pub(crate) written: Written,
}

/// Numbers that are written as they came where the script leaves them: the number and its text, by
/// the way to it.
pub(crate) type Written = HashMap<Way, (f64, String)>;

/// The names, as JSON without quotes, and places that lead to a value.
pub(crate) type Way = Vec<String>;

/// An object or a list around the place in work.
enum Around {
    /// Bytes of the name of the member.
    Object(usize, usize),
    /// The place of the element.
    List(usize),
}

/// Looks over a text, which must be JSON.
pub(crate) fn survey(text: &[u8]) -> Survey {
    let mut found = Survey::default();
    let mut around: Vec<Around> = Vec::new();
    let (mut at, mut last) = (0, (0, 0));
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = string_end(text, at);
                last = (at, end);
                at = end;
                continue;
            }
            b'{' => around.push(Around::Object(0, 0)),
            b'[' => around.push(Around::List(0)),
            b'}' | b']' => drop(around.pop()),
            b':' => {
                if let Some(Around::Object(from, end)) = around.last_mut() {
                    (*from, *end) = last;
                }
            }
            b',' => {
                if let Some(Around::List(place)) = around.last_mut() {
                    *place += 1;
                }
            }
            b'0'..=b'9' | b'-' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = text[at..].iter().take_while(|byte| is_part(byte)).count();
                judge(&text[at..at + length], text, &around, &mut found);
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The byte behind a string that begins at a quote.
fn string_end(text: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn judge(number: &[u8], text: &[u8], around: &[Around], found: &mut Survey) {
    // Most numbers are small whole numbers, which JavaScript writes as they came.
    let is_small = number.len() <= 15 && number.iter().all(u8::is_ascii_digit);
    if is_small {
        return;
    }
    let number = std::str::from_utf8(number).unwrap_or_default();
    let Some(value) = binary(number) else {
        found.has_decimals = true;
        return;
    };
    if shortest(value) != number {
        let name = |around: &Around| match around {
            Around::Object(from, end) => {
                let inside = text.get(from + 1..end.saturating_sub(1)).unwrap_or_default();
                String::from_utf8_lossy(inside).into_owned()
            }
            Around::List(place) => place.to_string(),
        };
        found.written.insert(around.iter().map(name).collect(), (value, number.to_owned()));
    }
}
