//! The scanner itself.
//!
//! The block is padded with zeros, and a zero stops every loop: no position is compared
//! with the end of the event until the scan is done.

use super::projection::{NONE, Projection, Target};
use crate::event::slot::{Kind, Slot};
use crate::event::special::next_special;
use crate::event::text;

/// Objects and arrays inside each other; serde_json's limit.
pub(crate) const DEPTH_MAX: u32 = 128;

/// The first error of a text, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

impl Flaw {
    /// Describes the flaw of a record. The line end behind a record must not pass for a control
    /// character inside a string.
    pub(super) fn describe(&self, bytes: &[u8], start: usize, end: usize) -> String {
        let trimmed = start + bytes[start..end].trim_ascii_end().len();
        let in_text = matches!(self.what, CONTROL | ENDLESS | ESCAPE | UNKNOWN_ESCAPE);
        let rest = bytes.get(self.at..trimmed).unwrap_or_default();
        // An escape may be cut before its last digit.
        let is_cut = rest.is_empty() || (rest[0] == b'\\' && rest.len() < ESCAPE_BYTES && !rest.contains(&b'"'));
        match (in_text, self.at >= trimmed) {
            (true, _) if is_cut => format!("the line ends inside a string, after column {}", trimmed - start),
            (false, true) => format!("the line ends after column {}: {}", trimmed - start, self.what),
            _ => format!("{} at column {}", self.what, self.at - start + 1),
        }
    }
}

/// Flaws inside a string.
const CONTROL: &str = "a control character inside a string";
const ENDLESS: &str = "a string without end";
const ESCAPE: &str = "an escape that is no character";
const UNKNOWN_ESCAPE: &str = "an unknown escape";
/// Bytes of the longest escape, like `\u00e9`.
const ESCAPE_BYTES: usize = 6;

fn flaw<T>(at: usize, what: &'static str) -> Result<T, Flaw> {
    Err(Flaw { at, what })
}

/// A member seen before at its place in an object: everything between the byte before
/// the name and the first byte of the value.
#[derive(Clone, Debug)]
struct Habit {
    head: u128,
    head_mask: u128,
    /// The part that does not fit the head.
    tail: Box<[u8]>,
    length: usize,
    target: Target,
}

impl Habit {
    fn of(lead: &[u8], target: Target) -> Habit {
        let mut head = [0u8; 16];
        let kept = lead.len().min(16);
        head[..kept].copy_from_slice(&lead[..kept]);
        let head_mask = if kept == 16 { u128::MAX } else { (1 << (8 * kept)) - 1 };
        Habit { head: u128::from_le_bytes(head), head_mask, tail: lead[kept..].into(), length: lead.len(), target }
    }

    #[inline]
    fn matches(&self, bytes: &[u8], at: usize) -> bool {
        let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) else {
            return false;
        };
        u128::from_le_bytes(*chunk) & self.head_mask == self.head
            && (self.tail.is_empty() || bytes[at + 16..].starts_with(&self.tail))
    }
}

/// Reads events; remembers how the last ones looked. The memory only saves time: what
/// it finds does not depend on it.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    /// By node of the projection, then by place in the object.
    habits: Vec<Vec<Habit>>,
}

/// Members of one object that are remembered.
const HABITS_MAX: usize = 64;

impl Scanner {
    /// A scanner without a memory.
    pub fn new() -> Scanner {
        Scanner::default()
    }

    /// Scans the object in `bytes[start..end]` into its row.
    pub(super) fn event(
        &mut self,
        projection: &Projection,
        bytes: &[u8],
        start: usize,
        end: usize,
        row: &mut [Slot],
    ) -> Result<(), Flaw> {
        if self.habits.len() < projection.node_count() {
            self.habits.resize(projection.node_count(), Vec::new());
        }
        let open = skip_blanks(bytes, start);
        if bytes[open] != b'{' {
            return flaw(open.min(end), "it does not begin with `{`");
        }
        // Line feeds are blanks, so a broken event runs on into the next: that ends it here.
        let scanned = self.object(projection, 0, bytes, open + 1, row, 1);
        let close = scanned.map_err(|flaw| Flaw { at: flaw.at.min(end), ..flaw })?;
        if close > end {
            return flaw(end, "the object does not end");
        }
        match bytes[close..end].iter().position(|c| !c.is_ascii_whitespace()) {
            None => Ok(()),
            Some(after) => flaw(close + after, "more text after the end of the object"),
        }
    }

    /// An object of the projection, from after its `{` to after its `}`.
    fn object(
        &mut self,
        projection: &Projection,
        node: u16,
        bytes: &[u8],
        mut at: usize,
        row: &mut [Slot],
        depth: u32,
    ) -> Result<usize, Flaw> {
        if depth > DEPTH_MAX {
            return flaw(at, "nested too deeply");
        }
        let first = skip_blanks(bytes, at);
        if bytes[first] == b'}' {
            return Ok(first + 1);
        }
        let mut place = 0;
        loop {
            let (target, value_at) = match self.habits[usize::from(node)].get(place) {
                Some(habit) if habit.matches(bytes, at) => {
                    // The remembered length may end before blanks that another sender writes.
                    let value_at = at + habit.length;
                    (habit.target, if bytes[value_at] > b' ' { value_at } else { skip_blanks(bytes, value_at) })
                }
                _ => self.learn(projection, node, place, bytes, at)?,
            };
            at = self.member(projection, target, bytes, value_at, row, depth)?;
            if bytes[at] != b',' {
                at = skip_blanks(bytes, at);
            }
            match bytes[at] {
                b',' => at += 1,
                b'}' => return Ok(at + 1),
                _ => return flaw(at, "expected `,` or `}`"),
            }
            place += 1;
        }
    }

    /// Reads a name the long way and remembers it for this place.
    #[cold]
    fn learn(
        &mut self,
        projection: &Projection,
        node: u16,
        place: usize,
        bytes: &[u8],
        at: usize,
    ) -> Result<(Target, usize), Flaw> {
        let quote = skip_blanks(bytes, at);
        if bytes[quote] != b'"' {
            return flaw(quote, "expected a name in quotes");
        }
        let (end, escaped) = text_end(bytes, quote + 1)?;
        let name = &bytes[quote + 1..end];
        let target = match escaped {
            false => projection.node(node).child(name),
            true => projection.node(node).child(&text::unescape(name)),
        };
        let colon = skip_blanks(bytes, end + 1);
        if bytes[colon] != b':' {
            return flaw(colon, "expected `:`");
        }
        let value_at = skip_blanks(bytes, colon + 1);
        let habits = &mut self.habits[usize::from(node)];
        let habit = Habit::of(&bytes[at..value_at], target);
        if let Some(known) = habits.get_mut(place) {
            *known = habit;
        } else if place == habits.len() && place < HABITS_MAX {
            habits.push(habit);
        }
        Ok((target, value_at))
    }

    /// A member's value: noted, descended into, or only checked.
    #[inline]
    fn member(
        &mut self,
        projection: &Projection,
        target: Target,
        bytes: &[u8],
        at: usize,
        row: &mut [Slot],
        depth: u32,
    ) -> Result<usize, Flaw> {
        let (kind, end) = if target.node == NONE {
            value(bytes, at, depth)?
        } else {
            // A repeated name replaces what it said before, all of it.
            for &slot in &projection.node(target.node).below {
                row[usize::from(slot)] = Slot::MISSING;
            }
            match bytes[at] {
                b'{' => (Kind::Json, self.object(projection, target.node, bytes, at + 1, row, depth + 1)?),
                _ => value(bytes, at, depth)?,
            }
        };
        if target.slot != NONE {
            row[usize::from(target.slot)] = match kind {
                Kind::Text | Kind::EscapedText => Slot::in_block(kind, at + 1, end - 1),
                _ => Slot::in_block(kind, at, end),
            };
        }
        Ok(end)
    }
}

/// After blanks and one value. `text` must be padded; line feeds count as blanks.
pub(super) fn skip_blanks_and_value(text: &[u8], from: usize) -> Result<usize, Flaw> {
    let at = skip_blanks(text, from);
    value(text, at, 0).map(|(_, end)| end)
}

#[inline]
pub(super) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n') {
        at += 1;
    }
    at
}

/// Any value, checked: its kind and its end.
#[inline]
fn value(bytes: &[u8], at: usize, depth: u32) -> Result<(Kind, usize), Flaw> {
    match bytes[at] {
        b'"' => {
            let (end, escaped) = text_end(bytes, at + 1)?;
            Ok((if escaped { Kind::EscapedText } else { Kind::Text }, end + 1))
        }
        b'-' | b'0'..=b'9' => number_end(bytes, at).map(|end| (Kind::Number, end)),
        b'{' => skip_object(bytes, at + 1, depth + 1).map(|end| (Kind::Json, end)),
        b'[' => skip_array(bytes, at + 1, depth + 1).map(|end| (Kind::Json, end)),
        b't' => word(bytes, at, b"true", Kind::True),
        b'f' => word(bytes, at, b"false", Kind::False),
        b'n' => word(bytes, at, b"null", Kind::Null),
        _ => flaw(at, "expected a value"),
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8], kind: Kind) -> Result<(Kind, usize), Flaw> {
    match bytes[at..].starts_with(word) {
        true => Ok((kind, at + word.len())),
        false => flaw(at, "expected a value"),
    }
}

/// The closing quote of a string, and whether escapes stand before it.
#[inline]
fn text_end(bytes: &[u8], from: usize) -> Result<(usize, bool), Flaw> {
    match next_special(bytes, from) {
        Some(at) if bytes[at] == b'"' => Ok((at, false)),
        Some(at) => escaped_text_end(bytes, at),
        None => flaw(bytes.len(), ENDLESS),
    }
}

/// As [`text_end`], from the first character that is not plain.
#[cold]
fn escaped_text_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Flaw> {
    loop {
        match bytes[at] {
            b'"' => return Ok((at, true)),
            b'\\' => match bytes[at + 1] {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => match text::unicode(&bytes[at + 1..]) {
                    Some((_, used)) => at += 1 + used,
                    None => return flaw(at, ESCAPE),
                },
                _ => return flaw(at, UNKNOWN_ESCAPE),
            },
            0 => return flaw(at, ENDLESS),
            _ => return flaw(at, CONTROL),
        }
        match next_special(bytes, at) {
            Some(next) => at = next,
            None => return flaw(bytes.len(), ENDLESS),
        }
    }
}

#[inline]
fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes[at].is_ascii_digit() {
        at += 1;
    }
    at
}

/// JSON's grammar of numbers: no leading zeros, digits on both sides of a point.
#[inline]
fn number_end(bytes: &[u8], start: usize) -> Result<usize, Flaw> {
    let whole = start + usize::from(bytes[start] == b'-');
    let mut at = digits_end(bytes, whole);
    if at == whole || (bytes[whole] == b'0' && at > whole + 1) {
        return flaw(start, "not a JSON number");
    }
    if bytes[at] == b'.' {
        let fraction = at + 1;
        at = digits_end(bytes, fraction);
        if at == fraction {
            return flaw(start, "not a JSON number");
        }
    }
    if matches!(bytes[at], b'e' | b'E') {
        let exponent = at + 1 + usize::from(matches!(bytes[at + 1], b'+' | b'-'));
        at = digits_end(bytes, exponent);
        if at == exponent {
            return flaw(start, "not a JSON number");
        }
    }
    Ok(at)
}

fn skip_object(bytes: &[u8], mut at: usize, depth: u32) -> Result<usize, Flaw> {
    if depth > DEPTH_MAX {
        return flaw(at, "nested too deeply");
    }
    at = skip_blanks(bytes, at);
    if bytes[at] == b'}' {
        return Ok(at + 1);
    }
    loop {
        if bytes[at] != b'"' {
            return flaw(at, "expected a name in quotes");
        }
        let (end, _) = text_end(bytes, at + 1)?;
        at = skip_blanks(bytes, end + 1);
        if bytes[at] != b':' {
            return flaw(at, "expected `:`");
        }
        at = skip_blanks(bytes, at + 1);
        (_, at) = value(bytes, at, depth)?;
        at = skip_blanks(bytes, at);
        match bytes[at] {
            b',' => at = skip_blanks(bytes, at + 1),
            b'}' => return Ok(at + 1),
            _ => return flaw(at, "expected `,` or `}`"),
        }
    }
}

fn skip_array(bytes: &[u8], mut at: usize, depth: u32) -> Result<usize, Flaw> {
    if depth > DEPTH_MAX {
        return flaw(at, "nested too deeply");
    }
    at = skip_blanks(bytes, at);
    if bytes[at] == b']' {
        return Ok(at + 1);
    }
    loop {
        (_, at) = value(bytes, at, depth)?;
        at = skip_blanks(bytes, at);
        match bytes[at] {
            b',' => at = skip_blanks(bytes, at + 1),
            b']' => return Ok(at + 1),
            _ => return flaw(at, "expected `,` or `]`"),
        }
    }
}
