//! The metered record: the JSON that is sent downstream.
//!
//! It is written straight into bytes, keys in alphabetical order at every level, numbers as exact
//! decimals. The contract is the specification's "metered record"; a fixture holds its reference.

use uuid::Uuid;

use crate::decimal::{Decimal, Quotient, write_u64};
use crate::event::quote_into;
use crate::meter_type::{MeterType, Threshold, derived};
use crate::partition::{Carry, Meter, OpenPeriod, Symbols};
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::{Timestamp, Zone};

/// The revision of a record.
#[derive(Clone, Copy, Debug)]
pub struct Revision {
    /// 0 for the first record of the period, one more for each correction.
    pub number: u32,
    /// The change of the value since the previous revision.
    pub delta: Option<Quotient>,
    /// Last event time that changed the meter.
    pub updated_at: Timestamp,
}

/// A threshold that was crossed.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// The threshold that was crossed.
    pub threshold: &'a Threshold,
    /// The value that was crossed.
    pub limit: Decimal,
    /// The direction of crossing.
    pub direction: Direction,
}

/// The direction in which a threshold was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The value rose to the threshold.
    Reached,
    /// The value fell below it again.
    Recovered,
}

impl Direction {
    /// Returns the name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Reached => "reached",
            Direction::Recovered => "recovered",
        }
    }
}

/// The parts from which a record is made.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The plan with its names and types.
    pub plan: &'a Plan,
    /// The symbols of group values.
    pub symbols: &'a Symbols,
    /// The meter of the record.
    pub meter: &'a Meter,
    /// The time zone that split the period: that of the type at that time.
    pub zone: &'a Zone,
    /// The data of the period.
    pub held: &'a OpenPeriod,
    /// Which record of the period.
    pub revision: Revision,
    /// The crossing of a partial record.
    pub crossing: Option<Crossing<'a>>,
}

impl Record<'_> {
    /// Appends the record as one line of JSON, without a line end.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let kind = &self.plan.meter_types[usize::from(self.meter.meter_type)];
        let key = self.plan.processors[usize::from(self.meter.processor)].key;
        let id = self.meter.id(self.plan);
        let period = self.meter.shown(self.held.period);
        out.extend_from_slice(b"{\"carryFirst\":");
        self.write_carry(false, out);
        out.extend_from_slice(b",\"carryLast\":");
        self.write_carry(true, out);
        out.extend_from_slice(b",\"createdAt\":");
        time(self.meter.created_at, out);
        self.write_custom_fields(out);
        out.extend_from_slice(b",\"deleteOnReset\":");
        out.extend_from_slice(if self.meter.delete_on_reset { b"true" } else { b"false" });
        out.extend_from_slice(b",\"groups\":[");
        self.write_groups(kind, out);
        out.extend_from_slice(b"],\"id\":");
        uuid(id, out);
        out.extend_from_slice(b",\"meterKey\":");
        uuid(key, out);
        out.extend_from_slice(b",\"meterMetaData\":");
        self.write_meta_data(id, period, out);
        out.extend_from_slice(b",\"meterTypeId\":");
        uuid(kind.id, out);
        out.extend_from_slice(b",\"meterTypeName\":");
        quote_into(kind.name.as_bytes(), out);
        out.extend_from_slice(b",\"periodEnd\":");
        time(period.end, out);
        out.extend_from_slice(b",\"periodStart\":");
        time(period.start, out);
        if let Some(crossing) = self.crossing {
            out.extend_from_slice(b",\"threshold\":");
            write_crossing(crossing, out);
        }
        out.extend_from_slice(b",\"timezone\":");
        quote_into(self.zone.name().as_bytes(), out);
        out.extend_from_slice(b",\"unit\":");
        quote_into(kind.unit.as_bytes(), out);
        out.extend_from_slice(b",\"updatedAt\":");
        time(self.revision.updated_at, out);
        out.extend_from_slice(b",\"userId\":");
        quote_into(&self.meter.user, out);
        out.extend_from_slice(b",\"value\":");
        number(self.held.amount.total.value(kind.aggregation, self.held.period), out);
        out.push(b'}');
    }

    fn write_carry(&self, last: bool, out: &mut Vec<u8>) {
        let name = |carry: &Carry| self.plan.carried[usize::from(carry.field)].as_str();
        let mut members: Vec<_> = self.held.carry().iter().filter(|carry| carry.last == last).collect();
        members.sort_unstable_by_key(|carry| name(carry));
        out.push(b'{');
        for (i, carry) in members.into_iter().enumerate() {
            comma(i, out);
            quote_into(name(carry).as_bytes(), out);
            out.push(b':');
            out.extend_from_slice(&carry.json);
        }
        out.push(b'}');
    }

    fn write_custom_fields(&self, out: &mut Vec<u8>) {
        if let Some(rare) = &self.meter.rare
            && !rare.custom_fields.is_empty()
        {
            out.extend_from_slice(b",\"customFields\":");
            write_object(&rare.custom_fields, out);
        }
    }

    fn write_groups(&self, kind: &MeterType, out: &mut Vec<u8>) {
        let groups = &self.held.amount.groups;
        let mut members: Vec<_> = groups
            .iter()
            .map(|(symbol, aggregate)| (self.symbols.sort_key(symbol), self.symbols.opening(symbol), aggregate))
            .collect();
        members.extend(groups.other().map(|other| ((Symbols::OTHER_KEY, &b""[..]), Symbols::OTHER_OPENING, other)));
        members.sort_unstable_by_key(|(key, _, _)| *key);
        for (i, (_, opening, aggregate)) in members.into_iter().enumerate() {
            comma(i, out);
            out.extend_from_slice(opening);
            number(aggregate.value(kind.aggregation, self.held.period), out);
            out.push(b'}');
        }
    }

    fn write_meta_data(&self, meter: Uuid, period: Period, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(delta) = self.revision.delta {
            out.extend_from_slice(b"\"delta\":");
            delta.write_to(out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"eventCount\":");
        write_u64(self.held.events, out);
        if self.held.events > 0 {
            out.extend_from_slice(b",\"firstEvent\":");
            time(self.held.first_at, out);
        }
        if self.held.amount.groups.other().is_some() {
            out.extend_from_slice(b",\"groupsTruncated\":true");
        }
        if self.held.events > 0 {
            out.extend_from_slice(b",\"lastEvent\":");
            time(self.held.last_at, out);
        }
        out.extend_from_slice(b",\"recordId\":");
        uuid(self.record_id(meter, period), out);
        out.extend_from_slice(b",\"revision\":");
        write_u64(u64::from(self.revision.number), out);
        out.push(b'}');
    }

    fn record_id(&self, meter: Uuid, period: Period) -> Uuid {
        let crossing = self.crossing.map(|crossing| (crossing.threshold.name.as_str(), crossing.direction));
        record_id(meter, period, self.revision.number, crossing)
    }

    /// Returns the id of the record, which is the idempotency key of its delivery.
    pub fn id(&self) -> Uuid {
        self.record_id(self.meter.id(self.plan), self.meter.shown(self.held.period))
    }
}

/// Returns the id that is derived from meter, period and revision (and the threshold of a partial
/// record). It is the idempotency key of every delivery.
pub(crate) fn record_id(meter: Uuid, period: Period, revision: u32, crossing: Option<(&str, Direction)>) -> Uuid {
    let mut name = Vec::with_capacity(64);
    period.start.write_millis(&mut name);
    name.push(b'/');
    if period.end != Timestamp::MAX {
        period.end.write_millis(&mut name);
    }
    name.push(b'/');
    write_u64(u64::from(revision), &mut name);
    if let Some((threshold, direction)) = crossing {
        name.push(b'/');
        name.extend_from_slice(threshold.as_bytes());
        name.push(b'/');
        name.extend_from_slice(direction.name().as_bytes());
    }
    derived::record(meter, &name)
}

fn write_crossing(crossing: Crossing<'_>, out: &mut Vec<u8>) {
    let threshold = crossing.threshold;
    out.push(b'{');
    if !threshold.custom_fields.is_empty() {
        out.extend_from_slice(b"\"customFields\":");
        write_object(&threshold.custom_fields, out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"direction\":");
    quote_into(crossing.direction.name().as_bytes(), out);
    out.extend_from_slice(b",\"name\":");
    quote_into(threshold.name.as_bytes(), out);
    if let Some(percent) = threshold.percent_of_capacity {
        out.extend_from_slice(b",\"percentOfCapacity\":");
        percent.write_to(out);
    }
    out.extend_from_slice(b",\"value\":");
    crossing.limit.write_to(out);
    out.push(b'}');
}

fn write_object(members: &[(String, String)], out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (name, json)) in members.iter().enumerate() {
        comma(i, out);
        quote_into(name.as_bytes(), out);
        out.push(b':');
        out.extend_from_slice(json.as_bytes());
    }
    out.push(b'}');
}

fn comma(i: usize, out: &mut Vec<u8>) {
    if i > 0 {
        out.push(b',');
    }
}

fn number(value: Option<Quotient>, out: &mut Vec<u8>) {
    match value {
        Some(value) => value.write_to(out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends an instant in quotes; null for "never".
fn time(at: Timestamp, out: &mut Vec<u8>) {
    if at == Timestamp::MAX || at == Timestamp::MIN {
        return out.extend_from_slice(b"null");
    }
    out.push(b'"');
    at.write_millis(out);
    out.push(b'"');
}

fn uuid(id: Uuid, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(id.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
    out.push(b'"');
}
