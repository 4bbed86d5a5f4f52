//! Values folded into sums, extremes, first and last ones.
//!
//! An event changes all fields of an operator or none: values are read and checked first.

use std::collections::BTreeSet;

use super::{Flaw, Order};
use crate::decimal::{Decimal, Packed, Quotient, Rounding};
use crate::event::{Batch, Kind, Leaf};
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Fold, Function, Missing};
use crate::partition::read_value;
use crate::plan::Plan;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// The place of an event among others: its time, then its arrival.
pub(super) type Rank = (Timestamp, Order);

/// A value that an event brings to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The event itself counts.
    One,
    Number(Decimal),
    /// Any value, as JSON.
    Json(Vec<u8>),
    /// A fingerprint of its text.
    Text(u128),
}

/// The value folded so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    Sum(Packed),
    Count(u64),
    Min(Option<Packed>),
    Max(Option<Packed>),
    Avg(Packed, u64),
    First(Option<Box<(Rank, Vec<u8>)>>),
    Last(Option<Box<(Rank, Vec<u8>)>>),
    Unique(BTreeSet<u128>),
    /// The difference, and the number before.
    Delta(Box<(Option<Decimal>, Option<Decimal>)>),
}

// Every key of an operator has one of each field.
const _: () = assert!(size_of::<Folded>() <= 32);

/// Reads what an event brings to each field; `None` for a field without a value, where such
/// events pass.
pub(super) fn read(
    plan: &Plan,
    folds: &[Fold],
    missing: Missing,
    text_numbers: bool,
    batch: &Batch,
    row: usize,
    values: &mut Vec<Option<Value>>,
) -> Result<(), Flaw> {
    let one = |fold: &Fold| {
        let leaf = batch.leaf(row, fold.value);
        let path = || plan.paths[usize::from(fold.value)].as_str();
        match fold.function {
            Function::Count => return Ok(Some(Value::One)),
            _ if leaf.is_absent() => {
                return match missing {
                    Missing::Skip => Ok(None),
                    Missing::Park => Err((Reason::NoValue, format!("`{}` is {}", path(), plan.absence(batch, leaf)))),
                };
            }
            Function::First | Function::Last => {
                let mut json = Vec::new();
                leaf.write_json(&mut json);
                return Ok(Some(Value::Json(json)));
            }
            Function::Unique => return Ok(Some(Value::Text(fingerprint(leaf)))),
            Function::Sum | Function::Min | Function::Max | Function::Avg | Function::Delta => {}
        }
        match read_value(leaf, None, true, text_numbers) {
            Ok(number) => Ok(Some(Value::Number(number))),
            Err(reason) => Err((reason, not_a_number(plan, batch, path(), leaf))),
        }
    };
    values.clear();
    for fold in folds {
        values.push(one(fold)?);
    }
    Ok(())
}

/// Describes the value found in place of a number, for a person.
pub(super) fn not_a_number(plan: &Plan, batch: &Batch, path: &str, leaf: Leaf<'_>) -> String {
    let mut shown = Vec::new();
    leaf.write_json(&mut shown);
    shown.truncate(100);
    match leaf.is_absent() {
        true => format!("`{path}` is {}", plan.absence(batch, leaf)),
        false => format!("`{path}` is {}, which is no decimal number that fits", String::from_utf8_lossy(&shown)),
    }
}

/// Adds a number that does not take the sum out of range.
fn plus(sum: &mut Packed, number: Decimal) {
    *sum = Decimal::from(*sum).add(number).map_or(*sum, Packed::from);
}

fn fingerprint(leaf: Leaf<'_>) -> u128 {
    let text = crate::table::key_text(leaf);
    xxhash_rust::xxh3::xxh3_128(text.as_deref().unwrap_or(leaf.bytes))
}

impl Folded {
    pub(super) fn new(function: Function) -> Folded {
        match function {
            Function::Sum => Folded::Sum(Decimal::ZERO.into()),
            Function::Count => Folded::Count(0),
            Function::Min => Folded::Min(None),
            Function::Max => Folded::Max(None),
            Function::Avg => Folded::Avg(Decimal::ZERO.into(), 0),
            Function::First => Folded::First(None),
            Function::Last => Folded::Last(None),
            Function::Unique => Folded::Unique(BTreeSet::new()),
            Function::Delta => Folded::Delta(Box::default()),
        }
    }

    /// Whether a value would take it out of the range of decimals.
    pub(super) fn overflows(&self, value: &Value) -> bool {
        match (self, value) {
            (Folded::Sum(sum) | Folded::Avg(sum, _), Value::Number(number)) => Decimal::from(*sum).add(*number).is_none(),
            (Folded::Delta(delta), Value::Number(number)) => delta.1.is_some_and(|before| number.sub(before).is_none()),
            _ => false,
        }
    }

    /// Adds a value that does not take it out of range.
    pub(super) fn add(&mut self, value: &Value, rank: Rank) {
        match (self, value) {
            (Folded::Sum(sum), Value::Number(number)) => plus(sum, *number),
            (Folded::Count(count), _) => *count += 1,
            (Folded::Min(least), Value::Number(number)) => {
                *least = Some(least.map_or(*number, |least| Decimal::from(least).min(*number)).into());
            }
            (Folded::Max(most), Value::Number(number)) => {
                *most = Some(most.map_or(*number, |most| Decimal::from(most).max(*number)).into());
            }
            (Folded::Avg(sum, count), Value::Number(number)) => {
                plus(sum, *number);
                *count += 1;
            }
            (Folded::First(first), Value::Json(json)) if first.as_ref().is_none_or(|first| rank < first.0) => {
                *first = Some(Box::new((rank, json.clone())));
            }
            (Folded::Last(last), Value::Json(json)) if last.as_ref().is_none_or(|last| rank > last.0) => {
                *last = Some(Box::new((rank, json.clone())));
            }
            (Folded::Unique(known), Value::Text(text)) => drop(known.insert(*text)),
            (Folded::Delta(delta), Value::Number(number)) => {
                let (change, before) = &mut **delta;
                *change = before.and_then(|before| number.sub(before));
                *before = Some(*number);
            }
            _ => {}
        }
    }

    /// Writes the result as a field of an event; returns its kind.
    pub(super) fn write_field(&self, out: &mut Vec<u8>) -> Kind {
        out.clear();
        let mut number = |number: Option<Decimal>| match number {
            Some(number) => {
                number.write_to(out);
                Kind::Number
            }
            None => {
                out.extend_from_slice(b"null");
                Kind::Null
            }
        };
        match self {
            Folded::Sum(sum) => number(Some((*sum).into())),
            Folded::Count(count) => number(Some(Decimal::from_count(*count))),
            Folded::Min(extreme) | Folded::Max(extreme) => number(extreme.map(Decimal::from)),
            Folded::Avg(sum, count) => {
                let mean = |count| Quotient::of((*sum).into(), count).round(18, Rounding::HalfEven);
                number(std::num::NonZeroU64::new(*count).and_then(|count| mean(count.get())))
            }
            Folded::First(value) | Folded::Last(value) => match value {
                Some(value) => {
                    let leaf = crate::event::json::leaf_of(&value.1);
                    out.extend_from_slice(leaf.bytes);
                    leaf.kind
                }
                None => number(None),
            },
            Folded::Unique(known) => number(Some(Decimal::from_count(known.len() as u64))),
            Folded::Delta(delta) => number(delta.0),
        }
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        match self {
            Folded::Sum(sum) => write_number(Some((*sum).into()), pen),
            Folded::Count(count) => pen.count(*count),
            Folded::Min(extreme) | Folded::Max(extreme) => write_number(extreme.map(Decimal::from), pen),
            Folded::Avg(sum, count) => {
                write_number(Some((*sum).into()), pen);
                pen.count(*count);
            }
            Folded::First(value) | Folded::Last(value) => {
                pen.byte(u8::from(value.is_some()));
                if let Some(value) = value {
                    write_rank(value.0, pen);
                    pen.text(&value.1);
                }
            }
            Folded::Unique(known) => {
                pen.count(known.len() as u64);
                known.iter().for_each(|text| pen.wide(*text));
            }
            Folded::Delta(delta) => {
                write_number(delta.0, pen);
                write_number(delta.1, pen);
            }
        }
    }

    pub(super) fn read(function: Function, glass: &mut Glass<'_>) -> Seen<Folded> {
        let valued = |glass: &mut Glass<'_>| match glass.byte()? {
            0 => Ok(None),
            _ => Ok(Some(Box::new((read_rank(glass)?, glass.text()?.to_vec())))),
        };
        Ok(match function {
            Function::Sum => Folded::Sum(read_number(glass)?.unwrap_or_default().into()),
            Function::Count => Folded::Count(glass.count()?),
            Function::Min => Folded::Min(read_number(glass)?.map(Packed::from)),
            Function::Max => Folded::Max(read_number(glass)?.map(Packed::from)),
            Function::Avg => Folded::Avg(read_number(glass)?.unwrap_or_default().into(), glass.count()?),
            Function::First => Folded::First(valued(glass)?),
            Function::Last => Folded::Last(valued(glass)?),
            Function::Unique => {
                let count = glass.length()?;
                Folded::Unique((0..count).map(|_| glass.wide()).collect::<Seen<_>>()?)
            }
            Function::Delta => Folded::Delta(Box::new((read_number(glass)?, read_number(glass)?))),
        })
    }
}

impl Value {
    pub(super) fn write_to(&self, pen: &mut Pen) {
        match self {
            Value::One => pen.byte(0),
            Value::Number(number) => {
                pen.byte(1);
                pen.wide(number.units() as u128);
            }
            Value::Json(json) => {
                pen.byte(2);
                pen.text(json);
            }
            Value::Text(text) => {
                pen.byte(3);
                pen.wide(*text);
            }
        }
    }

    pub(super) fn read(glass: &mut Glass<'_>) -> Seen<Value> {
        Ok(match glass.byte()? {
            0 => Value::One,
            1 => match Decimal::from_units(glass.wide()? as i128) {
                Some(number) => Value::Number(number),
                None => return glass.damaged(),
            },
            2 => Value::Json(glass.text()?.to_vec()),
            3 => Value::Text(glass.wide()?),
            _ => return glass.damaged(),
        })
    }
}

pub(super) fn write_rank((at, (arrival, part)): Rank, pen: &mut Pen) {
    pen.time(at);
    pen.count(arrival);
    pen.count(part.into());
}

pub(super) fn read_rank(glass: &mut Glass<'_>) -> Seen<Rank> {
    Ok((glass.time()?, (glass.count()?, glass.count()? as u32)))
}

pub(super) fn write_number(number: Option<Decimal>, pen: &mut Pen) {
    pen.byte(u8::from(number.is_some()));
    if let Some(number) = number {
        pen.wide(number.units() as u128);
    }
}

pub(super) fn read_number(glass: &mut Glass<'_>) -> Seen<Option<Decimal>> {
    if glass.byte()? == 0 {
        return Ok(None);
    }
    match Decimal::from_units(glass.wide()? as i128) {
        Some(number) => Ok(Some(number)),
        None => glass.damaged(),
    }
}
