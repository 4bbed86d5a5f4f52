//! Runs code of the document's author on events.

use flowmeter_script::{Event, Failure, Given, Operation, Outcome, Program, Returned, State};

use crate::decimal::{self, Decimal, Fraction, Rounding};
use crate::event::{Batch, Kind, Leaf};
use crate::time::Timestamp;
use crate::verdict::Reason;

// An event that comes in can pass a script.
const _: () = assert!(flowmeter_script::DEPTH_MAX == crate::event::json::DEPTH_MAX as usize);

/// A script and the fields that it needs.
#[derive(Clone, Debug)]
pub struct Script {
    /// The code after it was checked.
    pub program: Program,
    /// The fields that the code names, in the order of the program, if it sees nothing else of an event.
    pub fields: Option<Vec<u16>>,
    /// The fields whose values are the key.
    pub key: Vec<u16>,
    /// Whether it keeps state by key: then events of a key run in the order of arrival.
    pub keeps_state: bool,
    /// A number of the author's own: state of another one is not taken over.
    pub state_version: u64,
    /// Nanoseconds for which the inputs of a key are kept for corrections.
    pub amend_within: i64,
    /// Where a whole event is that a script returned.
    pub whole: u16,
    /// Where the id of an event is.
    pub id: u16,
    /// Where the source of an event is.
    pub source: u16,
}

/// The result of a script for one event.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// The value that the script returned.
    pub returned: Returned,
    /// The counters that it added to, by name.
    pub counts: Vec<(String, i64)>,
}

/// Why a script gave nothing for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptFailure {
    /// The event is parked, with details for a person.
    Parked(Reason, String),
    /// It did not end within the time of its guard. No verdict may depend on that: the run stops.
    Stalled,
}

/// The message about a script that did not end, with its remedy.
pub const STALLED: &str = "the script ran for ten seconds without an end; a regular expression that tries too many ways \
                           is the usual cause, which `steps` does not bound: write another one";

impl Script {
    /// Returns what the script sees of an event, if that is some fields of it.
    pub(crate) fn given<'b>(&self, batch: &'b Batch, row: usize) -> Option<Vec<Given<'b>>> {
        let slots = self.fields.as_ref()?;
        let given: Option<Vec<Given<'b>>> = slots.iter().map(|slot| given(batch.leaf(row, *slot))).collect();
        given.filter(|given| self.program.takes(given))
    }

    /// Runs the script for an event. Returns the state of its key if the script changed it.
    ///
    /// # Errors
    /// The event is parked, or the script did not end.
    pub fn run(
        &self,
        event: Event<'_>,
        key: &[u8],
        state: &State,
        received: Timestamp,
    ) -> Result<(Scripted, Option<State>), ScriptFailure> {
        let parked = |reason, detail| Err(ScriptFailure::Parked(reason, detail));
        let received_at = received.nanos() / 1_000_000;
        let call = flowmeter_script::Call { event, key, state, received_at };
        match self.program.run(&call) {
            Ok(Outcome { returned, state, counts }) => Ok((Scripted { returned, counts }, state)),
            Err(Failure::Error(detail)) => parked(Reason::OperatorError, shortened(detail)),
            Err(Failure::Limit(detail)) => parked(Reason::ScriptLimit, detail),
            Err(Failure::StateFull(detail)) => parked(Reason::StateFull, detail),
            Err(Failure::TooMany(detail)) => parked(Reason::TooMany, detail),
            Err(Failure::Stalled) => Err(ScriptFailure::Stalled),
        }
    }
}

/// The value of a field for a script; nothing for a text that must be read with the whole event.
fn given(leaf: Leaf<'_>) -> Option<Given<'_>> {
    let text = || std::str::from_utf8(leaf.bytes).ok();
    Some(match leaf.kind {
        Kind::Missing => Given::Missing,
        Kind::Null => Given::Null,
        Kind::True => Given::Truth(true),
        Kind::False => Given::Truth(false),
        Kind::Number => Given::Number(text()?),
        Kind::Text => Given::Text(text()?),
        Kind::Json => Given::Json(leaf.bytes),
        Kind::EscapedText => return None,
    })
}

/// A message of a script, at most a kilobyte of it.
fn shortened(mut detail: String) -> String {
    const BYTES_MAX: usize = 1_000;
    if detail.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

/// Computes with exact decimals for scripts.
///
/// # Errors
/// A message for the author of the script.
pub fn compute(operation: Operation<'_>) -> Result<String, String> {
    let read = |text: &str| decimal::parse(text.as_bytes()).map_err(|why| format!("`{text}` is no decimal: {why}"));
    let in_range = |result: Option<Decimal>| result.ok_or_else(|| "the result is out of range".to_owned());
    let result = match operation {
        Operation::Canonical(text) => read(text)?,
        Operation::Add(one, other) => in_range(read(one)?.add(read(other)?))?,
        Operation::Subtract(one, other) => in_range(read(one)?.sub(read(other)?))?,
        Operation::Multiply(one, other) => in_range(Fraction::product(read(one)?, read(other)?).round(18, Rounding::HalfEven))?,
        Operation::Compare(one, other) => Decimal::from_int(read(one)?.cmp(&read(other)?) as i64),
        Operation::Divide(one, other, places, rounding) => {
            let names = || Rounding::NAMES.join(", ");
            let rounding =
                Rounding::named(rounding).ok_or_else(|| format!("`{rounding}` is no rounding; use one of {}", names()))?;
            let by = read(other)?;
            if by == Decimal::ZERO {
                return Err("division by zero".to_owned());
            }
            in_range(Fraction::of(read(one)?).divide(by, u32::from(places), rounding))?
        }
    };
    Ok(result.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_compute_with_exact_decimals() {
        use Operation::{Add, Canonical, Compare, Divide, Multiply, Subtract};
        let cases = [
            (Canonical("1.50"), Ok("1.5")),
            (Canonical("1e400"), Err("no decimal")),
            (Add("0.1", "0.2"), Ok("0.3")),
            (Subtract("9007199254740993", "1"), Ok("9007199254740992")),
            (Multiply("0.000000000000000001", "0.5"), Ok("0")),
            (Multiply("99999999999999999999", "99999999999999999999"), Err("out of range")),
            (Compare("1.0", "1"), Ok("0")),
            (Compare("-1", "1"), Ok("-1")),
            (Divide("1", "3", 5, "half_even"), Ok("0.33333")),
            (Divide("2", "3", 0, "down"), Ok("0")),
            (Divide("1", "0", 5, "down"), Err("division by zero")),
            (Divide("1", "3", 5, "sideways"), Err("use one of half_even")),
        ];
        for (operation, expected) in cases {
            match (compute(operation), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{operation:?}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{operation:?}: {found}"),
                (found, _) => panic!("{operation:?}: {found:?}"),
            }
        }
    }
}
