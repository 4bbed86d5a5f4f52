//! A partition as bytes, and back.
//!
//! What the bytes refer to — meter types, processors, breakdowns, carried fields — stands
//! by name in tables at the front, so a partition is read under whatever version of the
//! plan there is by then; what that version no longer has, while meters need it, is an
//! error. Identities are not in it: they have their own form (see [`super::Identities`]).
//! When something is due follows from the rest and is computed again.

use std::sync::Arc;

use uuid::Uuid;

use super::groups::Groups;
use super::meter::{Amount, Extra, Rare};
use super::{Birth, Carry, Identities, Meter, MeterKey, Meters, OpenPeriod, Partition, Sent, Symbols};
use crate::aggregation::{Aggregate, Aggregation};
use crate::decimal::Quotient;
use crate::event::Path;
use crate::image::{BadImage, Glass, Pen, Seen};
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::Timestamp;

const FORMAT: u8 = 1;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Appends everything but the identities.
    pub fn write_to(&self, pen: &mut Pen) {
        pen.byte(FORMAT);
        write_tables(&self.plan, self.symbols.retired(), pen);
        pen.count(self.symbols.len() as u64);
        self.symbols.identities().for_each(|identity| pen.text(identity));
        pen.count(self.meters.count() as u64);
        for (_, meter) in self.meters.all() {
            write_meter(meter, pen);
        }
    }
}

impl<M: Meters + Default, I: Identities> Partition<M, I> {
    /// Reads a partition under a plan that has all its meters need.
    pub fn read(plan: &Arc<Plan>, identities: I, glass: &mut Glass<'_>) -> Seen<Partition<M, I>> {
        let format = glass.byte()?;
        if format != FORMAT {
            return Err(BadImage::Format(format));
        }
        let tables = Tables::read(plan, glass)?;
        let mut partition: Partition<M, I> = Partition::with_identities(Arc::clone(plan), identities);
        let mut symbols = Vec::new();
        for _ in 0..glass.length()? {
            let identity = glass.text()?;
            // What an image calls a symbol is a place in this list.
            match read_symbol(identity, plan, &tables, &mut partition.symbols) {
                Some(symbol) => symbols.push(symbol),
                None => return glass.damaged(),
            }
        }
        for _ in 0..glass.length()? {
            let meter = read_meter(plan, &tables, &symbols, glass)?;
            let key = MeterKey::new(&meter.user, Plan::user_hash(&meter.user), meter.processor, meter.meter_type);
            let hash = key.hash;
            let ix = partition.meters.insert(hash, meter);
            partition.schedule_next(ix);
        }
        Ok(partition)
    }
}

/// The plan's names, in its order.
fn write_tables(plan: &Plan, retired: &[Vec<Path>], pen: &mut Pen) {
    pen.count(plan.meter_types.len() as u64);
    for kind in &plan.meter_types {
        pen.wide(kind.id.as_u128());
        pen.text(kind.name.as_bytes());
    }
    pen.count(plan.processors.len() as u64);
    plan.processors.iter().for_each(|processor| pen.wide(processor.key.as_u128()));
    pen.count((plan.breakdowns.len() + retired.len()) as u64);
    for breakdown in plan.breakdowns.iter().chain(retired) {
        pen.count(breakdown.len() as u64);
        breakdown.iter().for_each(|path| pen.text(path.as_str().as_bytes()));
    }
    pen.count(plan.carried.len() as u64);
    plan.carried.iter().for_each(|path| pen.text(path.as_str().as_bytes()));
}

/// Places in the plan of what an image names, by places in the image; where the plan does
/// not have it, its name.
struct Tables {
    meter_types: Vec<Result<u16, String>>,
    processors: Vec<Result<u16, String>>,
    breakdowns: Vec<(Option<u16>, Vec<Path>)>,
    carried: Vec<Result<u16, String>>,
}

impl Tables {
    fn read(plan: &Plan, glass: &mut Glass<'_>) -> Seen<Tables> {
        let mut meter_types = Vec::new();
        for _ in 0..glass.length()? {
            let id = Uuid::from_u128(glass.wide()?);
            let name = glass.string()?;
            let at = plan.meter_types.iter().position(|kind| kind.id == id);
            meter_types.push(at.map(|at| at as u16).ok_or_else(|| format!("meter type `{name}`")));
        }
        let mut processors = Vec::new();
        for _ in 0..glass.length()? {
            let key = Uuid::from_u128(glass.wide()?);
            let at = plan.processors.iter().position(|processor| processor.key == key);
            processors.push(at.map(|at| at as u16).ok_or_else(|| format!("meter operator with the key {key}")));
        }
        let mut breakdowns = Vec::new();
        for _ in 0..glass.length()? {
            let mut paths = Vec::new();
            for _ in 0..glass.length()? {
                paths.push(read_path(glass)?);
            }
            let at = plan.breakdowns.iter().position(|known| same(known, &paths));
            breakdowns.push((at.map(|at| at as u16), paths));
        }
        let mut carried = Vec::new();
        for _ in 0..glass.length()? {
            let path = read_path(glass)?;
            let at = plan.carried.iter().position(|known| known.as_str() == path.as_str());
            carried.push(at.map(|at| at as u16).ok_or_else(|| format!("carried field `{path}`")));
        }
        Ok(Tables { meter_types, processors, breakdowns, carried })
    }
}

fn same(a: &[Path], b: &[Path]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.as_str() == b.as_str())
}

fn read_path(glass: &mut Glass<'_>) -> Seen<Path> {
    let text = glass.string()?;
    match Path::parse(&text) {
        Ok(path) => Ok(path),
        Err(_) => glass.damaged(),
    }
}

fn place(table: &[Result<u16, String>], glass: &mut Glass<'_>) -> Seen<u16> {
    match table.get(glass.count()? as usize) {
        Some(Ok(at)) => Ok(*at),
        Some(Err(what)) => Err(BadImage::Unknown(what.clone())),
        None => glass.damaged(),
    }
}

/// A breakdown that the plan no longer has keeps its groups under a number beyond it.
fn read_symbol(identity: &[u8], plan: &Plan, tables: &Tables, symbols: &mut Symbols) -> Option<u32> {
    let (breakdown, values) = identity.split_first_chunk::<2>()?;
    let (at, names) = tables.breakdowns.get(usize::from(u16::from_le_bytes(*breakdown)))?;
    let at = at.unwrap_or_else(|| plan.breakdowns.len() as u16 + symbols.retire(names));
    Some(symbols.intern_identity(at, names, values))
}

fn write_meter(meter: &Meter, pen: &mut Pen) {
    pen.text(&meter.user);
    pen.count(u64::from(meter.processor));
    pen.count(u64::from(meter.meter_type));
    pen.byte(
        u8::from(meter.birth == Birth::ByEvent) | u8::from(meter.delete_on_reset) << 1 | u8::from(meter.rare.is_some()) << 2,
    );
    for at in [meter.created_at, meter.next, meter.flushed.start, meter.flushed.end, meter.changed_at] {
        pen.time(at);
    }
    if let Some(rare) = &meter.rare {
        pen.byte(u8::from(rare.id.is_some()));
        if let Some(id) = rare.id {
            pen.wide(id.as_u128());
        }
        pen.count(rare.custom_fields.len() as u64);
        for (name, json) in &rare.custom_fields {
            pen.text(name.as_bytes());
            pen.text(json.as_bytes());
        }
    }
    pen.count(meter.periods.len() as u64);
    meter.periods.iter().for_each(|held| write_period(held, pen));
}

fn read_meter(plan: &Plan, tables: &Tables, symbols: &[u32], glass: &mut Glass<'_>) -> Seen<Meter> {
    let user = glass.text()?.into();
    let processor = place(&tables.processors, glass)?;
    let meter_type = place(&tables.meter_types, glass)?;
    let flags = glass.byte()?;
    let (created_at, next) = (glass.time()?, glass.time()?);
    let flushed = Period { start: glass.time()?, end: glass.time()? };
    let changed_at = glass.time()?;
    let rare = if flags & 4 == 0 { None } else { Some(Box::new(read_rare(glass)?)) };
    let aggregation = plan.meter_types[usize::from(meter_type)].aggregation;
    let mut periods = Vec::new();
    for _ in 0..glass.length()? {
        periods.push(read_period(aggregation, tables, symbols, glass)?);
    }
    Ok(Meter {
        user,
        processor,
        meter_type,
        birth: if flags & 1 == 0 { Birth::Declared } else { Birth::ByEvent },
        delete_on_reset: flags & 2 != 0,
        created_at,
        next,
        flushed,
        periods: periods.into_iter().collect(),
        due: Timestamp::MAX,
        changed_at,
        rare,
    })
}

fn read_rare(glass: &mut Glass<'_>) -> Seen<Rare> {
    let id = if glass.byte()? == 0 { None } else { Some(Uuid::from_u128(glass.wide()?)) };
    let mut custom_fields = Vec::new();
    for _ in 0..glass.length()? {
        custom_fields.push((glass.string()?, glass.string()?));
    }
    Ok(Rare { id, custom_fields })
}

fn write_period(held: &OpenPeriod, pen: &mut Pen) {
    for at in [held.period.start, held.period.end, held.first_at, held.last_at] {
        pen.time(at);
    }
    pen.count(held.events);
    held.amount.total.write_to(pen);
    held.amount.groups.write_to(pen);
    pen.byte(u8::from(held.extra.is_some()));
    let Some(extra) = &held.extra else { return };
    pen.count(extra.carry.len() as u64);
    for carry in &extra.carry {
        pen.count(u64::from(carry.field));
        pen.byte(u8::from(carry.last));
        pen.time(carry.at);
        pen.text(&carry.json);
    }
    pen.count(extra.crossed);
    pen.byte(u8::from(extra.sent.is_some()));
    let Some(sent) = &extra.sent else { return };
    // 0 is "none", so that a revision is one more than it is.
    pen.count(sent.revision.map_or(0, |revision| u64::from(revision) + 1));
    pen.byte(u8::from(sent.value.is_some()));
    if let Some(value) = sent.value {
        value.write_image(pen);
    }
    pen.time(sent.updated_at);
    pen.byte(u8::from(sent.amend_at.is_some()));
    if let Some(at) = sent.amend_at {
        pen.time(at);
    }
}

fn read_period(aggregation: Aggregation, tables: &Tables, symbols: &[u32], glass: &mut Glass<'_>) -> Seen<OpenPeriod> {
    let period = Period { start: glass.time()?, end: glass.time()? };
    let (first_at, last_at) = (glass.time()?, glass.time()?);
    let events = glass.count()?;
    let total = Aggregate::read(aggregation, glass)?;
    let groups = Groups::read(aggregation, symbols, glass)?;
    let extra = if glass.byte()? == 0 { None } else { Some(Box::new(read_extra(tables, glass)?)) };
    Ok(OpenPeriod { period, first_at, last_at, events, amount: Amount { total, groups }, extra })
}

fn read_extra(tables: &Tables, glass: &mut Glass<'_>) -> Seen<Extra> {
    let mut extra = Extra::default();
    for _ in 0..glass.length()? {
        let field = place(&tables.carried, glass);
        let carry = Carry { field: 0, last: glass.byte()? != 0, at: glass.time()?, json: glass.text()?.to_vec() };
        // A field that is carried no longer is left out of records from now on.
        match field {
            Ok(field) => extra.carry.push(Carry { field, ..carry }),
            Err(BadImage::Unknown(_)) => {}
            Err(why) => return Err(why),
        }
    }
    extra.crossed = glass.count()?;
    if glass.byte()? != 0 {
        let revision = glass.count()?.checked_sub(1).map(|revision| revision as u32);
        let value = if glass.byte()? == 0 { None } else { Some(Quotient::read_image(glass)?) };
        let updated_at = glass.time()?;
        let amend_at = if glass.byte()? == 0 { None } else { Some(glass.time()?) };
        extra.sent = Some(Sent { revision, value, updated_at, amend_at });
    }
    Ok(extra)
}
