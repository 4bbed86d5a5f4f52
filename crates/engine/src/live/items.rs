//! Items of a pipeline's logs: verdicts by block, and parked events.

use flowmeter_core::image::{Glass, Pen};
use flowmeter_core::verdict::{Reason, Verdict};
use flowmeter_store::log::Entry;

/// Verdicts of the events of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedBlock {
    /// The entry of the log with the events.
    pub position: u64,
    /// The number of the first event in the order of arrival, from 0.
    pub first_arrival: u64,
    pub verdicts: Vec<Verdict>,
}

/// Writes runs of equal verdicts: nearly always there is one.
pub(super) fn write_judged(block: &JudgedBlock, pen: &mut Pen) {
    pen.count(block.position);
    pen.count(block.first_arrival);
    let runs: Vec<&[Verdict]> = block.verdicts.chunk_by(|a, b| a == b).collect();
    pen.count(runs.len() as u64);
    for run in runs {
        pen.byte(code(run[0]));
        pen.count(run.len() as u64);
    }
}

/// Returns the blocks of verdicts in an entry.
pub fn judged(entry: &Entry) -> impl Iterator<Item = JudgedBlock> {
    let mut glass = Glass::new(&entry.bytes);
    let mut left = u64::from(entry.items);
    let mut read = move || {
        let (position, first_arrival) = (glass.count()?, glass.count()?);
        let mut verdicts = Vec::new();
        for _ in 0..glass.length()? {
            let (Some(verdict), count) = (verdict(glass.byte()?), glass.count()?) else { return glass.damaged() };
            if count > left {
                return glass.damaged();
            }
            left -= count;
            verdicts.extend(std::iter::repeat_n(verdict, count as usize));
        }
        Ok(JudgedBlock { position, first_arrival, verdicts })
    };
    std::iter::from_fn(move || read().ok())
}

const COUNTED: u8 = 0;
const DUPLICATE: u8 = 1;
const FILTERED: u8 = 2;
const SPLIT: u8 = 3;
const ABSORBED: u8 = 4;
const CANCELLED: u8 = 5;
const PARKED: u8 = 16;

pub(super) fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Counted => COUNTED,
        Verdict::Duplicate => DUPLICATE,
        Verdict::Filtered | Verdict::Open => FILTERED,
        Verdict::Split => SPLIT,
        Verdict::Absorbed => ABSORBED,
        Verdict::Cancelled => CANCELLED,
        Verdict::Parked(reason) => PARKED + reason as u8,
    }
}

pub(super) fn verdict(code: u8) -> Option<Verdict> {
    Some(match code {
        COUNTED => Verdict::Counted,
        DUPLICATE => Verdict::Duplicate,
        FILTERED => Verdict::Filtered,
        SPLIT => Verdict::Split,
        ABSORBED => Verdict::Absorbed,
        CANCELLED => Verdict::Cancelled,
        code => Verdict::Parked(*Reason::ALL.get(usize::from(code.checked_sub(PARKED)?))?),
    })
}

/// A parked event in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedItem<'a> {
    /// Its number in the order of arrival, from 0.
    pub arrival: u64,
    pub reason: Reason,
    /// The operator that parked it; empty if the event could not be read.
    pub operator: &'a str,
    pub detail: &'a str,
    /// The event as it was received; a derived one as it was made.
    pub raw: &'a [u8],
    /// Whether an operator made the event: then `arrival` is that of the event it descends from,
    /// or of the last that was received before. Also set if an operator held the event.
    pub is_derived: bool,
    /// Its own number in the order of arrival, if it was received and an operator held it.
    pub held: Option<u64>,
}

impl ParkedItem<'_> {
    /// Returns the number of the received event by which it is settled; none if an operator made
    /// it.
    pub fn settled_by(&self) -> Option<u64> {
        if self.is_derived { self.held } else { Some(self.arrival) }
    }
}

/// Marks the reason of a derived event.
pub(super) const DERIVED: u8 = 0x80;

/// Decodes an item of the log of parked events.
pub fn parked_item(item: &[u8]) -> Option<ParkedItem<'_>> {
    let mut glass = Glass::new(item);
    let arrival = glass.count().ok()?;
    let code = glass.byte().ok()?;
    let (reason, is_derived) = (*Reason::ALL.get(usize::from(code & !DERIVED))?, code & DERIVED != 0);
    let operator = std::str::from_utf8(glass.text().ok()?).ok()?;
    let detail = std::str::from_utf8(glass.text().ok()?).ok()?;
    let raw = glass.text().ok()?;
    let held = if glass.is_at_end() { None } else { Some(glass.count().ok()?) };
    Some(ParkedItem { arrival, reason, operator, detail, raw, is_derived, held })
}
