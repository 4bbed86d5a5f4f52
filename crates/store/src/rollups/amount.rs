//! The content of a cell, and its encoding.
//!
//! Nearly every aggregate is a number together with facts that a cell has anyway: the number of
//! events and the time of the last one. So a cell in memory and in a file is a number and these.
//! Only distinct values and percentiles have a state of their own.

use flowmeter_core::aggregation::{Aggregate, Aggregation};
use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::time::Timestamp;

/// The kind of state of an aggregation. Cells answer all aggregations of the same form: every
/// percentile is computed from the same values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Form {
    Sum = 1,
    Count = 2,
    Min = 3,
    Max = 4,
    Mean = 5,
    Latest = 6,
    Distinct = 7,
    Values = 8,
    /// Levels and counters: their value in a window depends on the time before it, separately for
    /// each meter. Only their events are counted.
    Events = 9,
}

const FORMS: [Form; 9] =
    [Form::Sum, Form::Count, Form::Min, Form::Max, Form::Mean, Form::Latest, Form::Distinct, Form::Values, Form::Events];

impl Form {
    pub(super) fn of(aggregation: Aggregation) -> Form {
        match aggregation {
            Aggregation::Sum => Form::Sum,
            Aggregation::Increment => Form::Count,
            Aggregation::Min => Form::Min,
            Aggregation::Max => Form::Max,
            Aggregation::Avg => Form::Mean,
            Aggregation::Latest => Form::Latest,
            Aggregation::Unique => Form::Distinct,
            Aggregation::Percentile(_) => Form::Values,
            Aggregation::Weighted(_) | Aggregation::Delta(_) => Form::Events,
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Form> {
        FORMS.into_iter().find(|form| *form as u8 == code)
    }

    /// Returns an aggregation of this form.
    pub(super) fn aggregation(self) -> Aggregation {
        match self {
            Form::Sum => Aggregation::Sum,
            Form::Count | Form::Events => Aggregation::Increment,
            Form::Min => Aggregation::Min,
            Form::Max => Aggregation::Max,
            Form::Mean => Aggregation::Avg,
            Form::Latest => Aggregation::Latest,
            Form::Distinct => Aggregation::Unique,
            Form::Values => Aggregation::Percentile(Decimal::ONE),
        }
    }

    /// Returns whether the state is more than a number.
    #[inline]
    pub(super) fn is_wide(self) -> bool {
        matches!(self, Form::Distinct | Form::Values)
    }

    fn has_number(self) -> bool {
        !matches!(self, Form::Count | Form::Events | Form::Distinct | Form::Values)
    }

    /// Returns the aggregate of a cell whose state is a number.
    pub(super) fn aggregate(self, number: Decimal, events: u64, last: Timestamp) -> Aggregate {
        match self {
            Form::Sum => Aggregate::Sum(number.into()),
            Form::Min | Form::Max => Aggregate::Extreme(true, number.into()),
            Form::Mean => Aggregate::Mean(Box::new((number, events))),
            Form::Latest => Aggregate::Latest(Some(Box::new((last, number)))),
            Form::Count | Form::Events => Aggregate::Count(events),
            Form::Distinct | Form::Values => Aggregate::initial(self.aggregation()),
        }
    }
}

/// The content of a cell.
#[derive(Clone, Debug)]
pub(super) struct Amount {
    pub(super) aggregate: Aggregate,
    pub(super) events: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Amount {
    /// Adds a later amount of the same cell. Returns false, and adds nothing, if the number would
    /// leave its range.
    pub(super) fn merge(&mut self, form: Form, later: &Amount) -> bool {
        if !self.aggregate.merge(form.aggregation(), &later.aggregate) {
            return false;
        }
        self.events += later.events;
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        true
    }

    /// Appends the state, without the facts that the events imply.
    pub(super) fn write_state(&self, form: Form, pen: &mut Pen) {
        match &self.aggregate {
            Aggregate::Sum(number) | Aggregate::Extreme(_, number) => write_number((*number).into(), pen),
            Aggregate::Mean(mean) => write_number(mean.0, pen),
            Aggregate::Latest(latest) => write_number(latest.as_ref().map_or(Decimal::ZERO, |latest| latest.1), pen),
            _ if form.is_wide() => self.aggregate.write_to(pen),
            _ => {}
        }
    }

    /// Reads the output of [`Amount::write_state`].
    pub(super) fn read_state(form: Form, events: u64, first: Timestamp, last: Timestamp, glass: &mut Glass<'_>) -> Seen<Amount> {
        let aggregate = match form.is_wide() {
            true => Aggregate::read(form.aggregation(), glass)?,
            false => {
                let number = if form.has_number() { read_number(glass)? } else { Decimal::ZERO };
                form.aggregate(number, events, last)
            }
        };
        Ok(Amount { aggregate, events, first, last })
    }
}

const ONE: u128 = 10u128.pow(decimal::FRACTION_DIGITS);
const NEGATIVE: u8 = 0x20;
const WIDE: u8 = 0x40;
const PLACES: u8 = 0x1f;

/// Writes a number as its digits and the number of removed final zeros: usage is mostly whole, or
/// has few places.
fn write_number(number: Decimal, pen: &mut Pen) {
    let units = number.units().unsigned_abs();
    let whole = units / ONE;
    let (mut digits, mut noughts) = if whole * ONE == units { (whole, 18) } else { (units, 0) };
    for (step, power) in [(9, 1_000_000_000), (4, 10_000), (2, 100), (1, 10)] {
        // A whole number is written as it is; only fractions are worth the divisions.
        if noughts < 18 && digits.is_multiple_of(power) {
            digits /= power;
            noughts += step;
        }
    }
    let sign = if number < Decimal::ZERO { NEGATIVE } else { 0 };
    match u64::try_from(digits) {
        Ok(digits) => {
            pen.byte(noughts | sign);
            pen.count(digits);
        }
        Err(_) => {
            pen.byte(noughts | sign | WIDE);
            pen.wide(digits);
        }
    }
}

fn read_number(glass: &mut Glass<'_>) -> Seen<Decimal> {
    let lead = glass.byte()?;
    let digits = if lead & WIDE == 0 { u128::from(glass.count()?) } else { glass.wide()? };
    let units = 10u128.pow(u32::from(lead & PLACES)).checked_mul(digits).and_then(|units| i128::try_from(units).ok());
    let signed = units.map(|units| if lead & NEGATIVE == 0 { units } else { -units });
    match signed.and_then(Decimal::from_units) {
        Some(number) => Ok(number),
        None => glass.damaged(),
    }
}

/// Writes a span; spans are mostly whole microseconds, milliseconds or seconds.
pub(super) fn write_span(nanos: u64, pen: &mut Pen) {
    let (code, scaled) = match nanos {
        _ if !nanos.is_multiple_of(1_000) => (0, nanos),
        _ if !nanos.is_multiple_of(1_000_000) => (1, nanos / 1_000),
        _ if !nanos.is_multiple_of(1_000_000_000) => (2, nanos / 1_000_000),
        _ => (3, nanos / 1_000_000_000),
    };
    pen.count(scaled << 2 | code);
}

pub(super) fn read_span(glass: &mut Glass<'_>) -> Seen<u64> {
    let written = glass.count()?;
    match (written >> 2).checked_mul(1000u64.pow((written & 3) as u32)) {
        Some(nanos) if nanos <= i64::MAX as u64 => Ok(nanos),
        _ => glass.damaged(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_come_back() {
        for text in ["0", "1", "-1", "12000", "0.000000000000000001", "-3.25", "99999999999999999999.999999999999999999", "1e19"]
        {
            let number: Decimal = text.parse().unwrap_or(Decimal::from_int(i64::MAX));
            let mut pen = Pen::default();
            write_number(number, &mut pen);
            let mut glass = Glass::new(&pen.bytes);
            assert_eq!(read_number(&mut glass).unwrap(), number, "{text}");
            assert!(glass.is_at_end());
        }
        for nanos in [0, 1, 999, 1_000, 5_000_000, 59_000_000_000, 59_999_999_999] {
            let mut pen = Pen::default();
            write_span(nanos, &mut pen);
            assert_eq!(read_span(&mut Glass::new(&pen.bytes)).unwrap(), nanos);
        }
    }

    #[test]
    fn damaged_numbers_are_reported() {
        for bytes in [
            &[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
            &[20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[WIDE],
        ] {
            assert!(read_number(&mut Glass::new(bytes)).is_err(), "{bytes:?}");
        }
    }
}
