//! A partition as bytes, and back.
//!
//! The bytes refer to meter types, processors, breakdowns, carried fields, thresholds and
//! calendars. These are stored by name and content in tables at the front ([`tables`]), so a
//! partition can be read under any later version of the plan. If meters need a part that this
//! version no longer has, reading fails. Deleted meters need nothing: where their type is missing,
//! they become stones. Identities are not included: they have their own form (see
//! [`super::Identities`]). Due instants follow from the rest and are computed again.
//!
//! Formats 1 to 4 can still be read. Format 1 had no deleted meters, only the calendars of the
//! plan, and another encoding of the flushed range; format 2 had no identities of parked events;
//! format 3 had no operators that keep state by key; format 4 had no meters with a capacity or
//! thresholds of their own.

mod limits;
mod tables;

use std::convert::Infallible;
use std::sync::Arc;

use uuid::Uuid;

use super::groups::Groups;
use super::meter::{Amount, Extra, Rare, Standing, Stretch};
use super::{Birth, Carry, Identities, Meter, MeterKey, Meters, OpenPeriod, ParkedIdentities, Partition, Sent};
use crate::aggregation::{Aggregate, Aggregation};
use crate::decimal::Quotient;
use crate::image::{BadImage, Glass, Pen, Seen};
use crate::plan::Plan;
use crate::record::record_id;
use crate::schedule::Period;
use crate::time::Timestamp;
use tables::{Tables, place};

const FORMAT: u8 = 6;
/// Bytes of an image that are in memory at once: new memory for millions of meters would cost more
/// than writing them.
const PAGE_BYTES: usize = 128 << 10;

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Writes everything but the identities, one page after the other, to `give`.
    ///
    /// # Errors
    /// The errors of `give`.
    pub fn write_pages<E>(&self, mut give: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut pen = Pen { bytes: Vec::with_capacity(PAGE_BYTES * 2) };
        let mut turn = |pen: &mut Pen, least: usize| {
            if pen.bytes.len() < least {
                return Ok(());
            }
            give(&pen.bytes)?;
            pen.bytes.clear();
            Ok(())
        };
        pen.byte(FORMAT);
        let calendars = self.write_tables(&mut pen);
        pen.count(self.symbols.len() as u64);
        for identity in self.symbols.identities() {
            pen.text(identity);
            turn(&mut pen, PAGE_BYTES)?;
        }
        self.write_stones(&mut pen);
        pen.count(self.meter_count() as u64);
        for meter in self.meters() {
            write_meter(meter, &calendars, &mut pen);
            turn(&mut pen, PAGE_BYTES)?;
        }
        pen.count(self.gone as u64);
        for meter in self.meters.all().map(|(_, meter)| meter).filter(|meter| !meter.is_alive()) {
            let key = MeterKey::new(&meter.user, 0, meter.processor, meter.meter_type);
            pen.wide(self.id_of(&key).as_u128());
            write_stretches(meter.stretches(), &mut pen);
            let mut whole = Pen::default();
            write_meter(meter, &calendars, &mut whole);
            pen.text(&whole.bytes);
            turn(&mut pen, PAGE_BYTES)?;
        }
        self.parked.write_to(&mut pen);
        self.write_keyed(&mut pen);
        turn(&mut pen, 1)
    }

    /// Returns all pages in one piece.
    pub fn image(&self) -> Vec<u8> {
        let mut image = Vec::new();
        let Ok(()) = self.write_pages(|page| {
            image.extend_from_slice(page);
            Ok::<(), Infallible>(())
        });
        image
    }

    fn write_stones(&self, pen: &mut Pen) {
        pen.count(self.stones.flushed.len() as u64);
        for (meter, periods) in &self.stones.flushed {
            pen.wide(*meter);
            pen.count(periods.len() as u64);
            periods.iter().for_each(|period| write_span(*period, pen));
        }
        pen.count(self.stones.told.len() as u64);
        self.stones.told.iter().for_each(|record| pen.wide(*record));
    }
}

impl<M: Meters + Default, I: Identities> Partition<M, I> {
    /// Reads a partition under a plan that has everything its meters need.
    pub fn read(plan: &Arc<Plan>, identities: I, glass: &mut Glass<'_>) -> Seen<Partition<M, I>> {
        let format = glass.byte()?;
        if format > FORMAT || format == 0 {
            return Err(BadImage::Format(format));
        }
        let mut partition: Partition<M, I> = Partition::with_identities(Arc::clone(plan), identities);
        let mut tables = partition.read_tables(format, glass)?;
        partition.read_symbols(&mut tables, glass)?;
        if format > 1 {
            partition.read_stones(glass)?;
        }
        for _ in 0..glass.length()? {
            let meter = read_meter(plan, &tables, glass)?;
            partition.take_in(meter, &tables);
        }
        if format > 1 {
            partition.read_gone(&tables, glass)?;
        }
        if format > 2 {
            partition.parked = ParkedIdentities::read(glass)?;
        }
        if format > 3 {
            partition.read_keyed(format, glass)?;
        }
        Ok(partition)
    }

    fn read_stones(&mut self, glass: &mut Glass<'_>) -> Seen<()> {
        for _ in 0..glass.length()? {
            let meter = glass.wide()?;
            let mut periods = Vec::new();
            for _ in 0..glass.length()? {
                periods.push(read_span(glass)?);
            }
            self.stones.flushed.insert(meter, periods.into());
        }
        for _ in 0..glass.length()? {
            self.stones.told.insert(glass.wide()?);
        }
        Ok(())
    }

    /// Reads deleted meters. Where the plan no longer has what they need, stones remain.
    fn read_gone(&mut self, tables: &Tables, glass: &mut Glass<'_>) -> Seen<()> {
        let plan = Arc::clone(&self.plan);
        for _ in 0..glass.length()? {
            let id = Uuid::from_u128(glass.wide()?);
            let stretches = read_stretches(glass)?;
            match read_meter(&plan, tables, &mut Glass::new(glass.text()?)) {
                Ok(meter) if meter.is_alive() => return glass.damaged(),
                Ok(meter) => self.take_in(meter, tables),
                Err(BadImage::Unknown(_)) => self.stones.lay(id, stretches),
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn take_in(&mut self, mut meter: Meter, tables: &Tables) {
        self.translate_crossed(&mut meter, tables);
        let hash = MeterKey::new(&meter.user, Plan::user_hash(&meter.user), meter.processor, meter.meter_type).hash;
        self.gone += usize::from(!meter.is_alive());
        let ix = self.meters.insert(hash, meter);
        self.schedule_next(ix);
    }

    /// Translates the bits of thresholds to those of the present plan. A crossing for which it has
    /// no bit is kept as the id of its partial record.
    fn translate_crossed(&mut self, meter: &mut Meter, tables: &Tables) {
        if meter.own_thresholds().is_some() {
            return;
        }
        let Some(bits) = tables.thresholds.get(&meter.meter_type) else { return };
        let id = meter.id(&self.plan);
        for at in 0..meter.periods.len() {
            let held = &meter.periods[at];
            let (mut crossed, before) = (0, held.crossed());
            if before == 0 {
                continue;
            }
            let (period, number) =
                (meter.shown(held.period), held.sent().and_then(|sent| sent.revision).map_or(0, |sent| sent + 1));
            for (told, direction) in bits.of(before) {
                match told {
                    Ok(bit) => crossed |= direction.bit(bit),
                    Err(name) => {
                        let record = record_id(id, period, number, Some((name, direction)));
                        self.stones.told.insert(record.as_u128());
                    }
                }
            }
            meter.periods[at].extra.get_or_insert_default().crossed = crossed;
        }
    }
}

fn write_meter(meter: &Meter, calendars: &[u16], pen: &mut Pen) {
    pen.text(&meter.user);
    pen.count(u64::from(meter.processor));
    pen.count(u64::from(meter.meter_type));
    pen.count(u64::from(calendars.get(usize::from(meter.calendar)).copied().unwrap_or(meter.meter_type)));
    let birth = u8::from(meter.birth == Birth::ByEvent) | u8::from(meter.birth == Birth::Gone) << 3;
    pen.byte(birth | u8::from(meter.delete_on_reset) << 1 | u8::from(meter.rare.is_some()) << 2);
    for at in [meter.created_at, meter.flushed.start, meter.flushed.end, meter.changed_at] {
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
        write_stretches(&rare.stretches, pen);
        limits::write(rare.limits.as_deref(), pen);
    }
    pen.count(meter.periods.len() as u64);
    meter.periods.iter().for_each(|held| write_period(held, pen));
}

fn read_meter(plan: &Plan, tables: &Tables, glass: &mut Glass<'_>) -> Seen<Meter> {
    let user = glass.text()?.into();
    let processor = place(&tables.processors, glass)?;
    let meter_type = place(&tables.meter_types, glass)?;
    let calendar = if tables.format == 1 { meter_type } else { tables.calendar(glass)? };
    let flags = glass.byte()?;
    let created_at = glass.time()?;
    let next = if tables.format == 1 { Some(glass.time()?) } else { None };
    let mut flushed = read_span(glass)?;
    let changed_at = glass.time()?;
    let mut rare = if flags & 4 == 0 { None } else { Some(Box::new(read_rare(tables.format, glass)?)) };
    if let Some(next) = next {
        (flushed, rare) = of_format_1(created_at, next, flushed, rare);
    }
    let aggregation = plan.meter_types[usize::from(meter_type)].aggregation;
    let mut periods = Vec::new();
    for _ in 0..glass.length()? {
        periods.push(read_period(aggregation, tables, glass)?);
    }
    Ok(Meter {
        user,
        processor,
        meter_type,
        calendar,
        birth: match flags & 9 {
            0 => Birth::Declared,
            1 => Birth::ByEvent,
            _ => Birth::Gone,
        },
        delete_on_reset: flags & 2 != 0,
        created_at,
        flushed,
        periods: periods.into_iter().collect(),
        due: Timestamp::MAX,
        changed_at,
        rare,
    })
}

/// Translates the flushed range of format 1. It stored the start of the next period and one
/// stretch, which is ahead of it if the meter grew backwards.
fn of_format_1(created_at: Timestamp, next: Timestamp, ahead: Period, rare: Option<Box<Rare>>) -> (Period, Option<Box<Rare>>) {
    if next == ahead.end || ahead.start == ahead.end {
        return (Period { start: ahead.start.min(next), end: next }, rare);
    }
    let mut rare = rare.unwrap_or_default();
    rare.stretches.push(Stretch { period: ahead, standing: Standing::Own });
    (Period { start: created_at.min(next), end: next }, Some(rare))
}

fn write_span(period: Period, pen: &mut Pen) {
    pen.time(period.start);
    pen.time(period.end);
}

fn read_span(glass: &mut Glass<'_>) -> Seen<Period> {
    Ok(Period { start: glass.time()?, end: glass.time()? })
}

const STANDINGS: [Standing; 3] = [Standing::Own, Standing::Former, Standing::Closed];

fn write_stretches(stretches: &[Stretch], pen: &mut Pen) {
    pen.count(stretches.len() as u64);
    for stretch in stretches {
        write_span(stretch.period, pen);
        pen.byte(STANDINGS.iter().position(|standing| *standing == stretch.standing).unwrap_or_default() as u8);
    }
}

fn read_stretches(glass: &mut Glass<'_>) -> Seen<Vec<Stretch>> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for _ in 0..glass.length()? {
        let period = read_span(glass)?;
        let standing = STANDINGS.get(usize::from(glass.byte()?)).copied();
        let in_order = period.start < period.end && stretches.last().is_none_or(|before| before.period.end <= period.start);
        match standing {
            Some(standing) if in_order => stretches.push(Stretch { period, standing }),
            _ => return glass.damaged(),
        }
    }
    Ok(stretches)
}

fn read_rare(format: u8, glass: &mut Glass<'_>) -> Seen<Rare> {
    let id = if glass.byte()? == 0 { None } else { Some(Uuid::from_u128(glass.wide()?)) };
    let mut custom_fields = Vec::new();
    for _ in 0..glass.length()? {
        custom_fields.push((glass.string()?, glass.string()?));
    }
    let stretches = if format == 1 { Vec::new() } else { read_stretches(glass)? };
    let limits = if format < 5 { None } else { limits::read(glass)? };
    Ok(Rare { id, custom_fields, stretches, limits })
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
    // 0 means "none", so a revision is written as its number plus one.
    pen.count(sent.revision.map_or(0, |revision| u64::from(revision) + 1));
    pen.byte(u8::from(sent.value.is_some()));
    if let Some(value) = &sent.value {
        Quotient::from(value).write_image(pen);
    }
    pen.time(sent.updated_at);
    pen.byte(u8::from(sent.amend_at.is_some()));
    if let Some(at) = sent.amend_at {
        pen.time(at);
    }
}

fn read_period(aggregation: Aggregation, tables: &Tables, glass: &mut Glass<'_>) -> Seen<OpenPeriod> {
    let period = read_span(glass)?;
    let (first_at, last_at) = (glass.time()?, glass.time()?);
    let events = glass.count()?;
    let total = Aggregate::read(aggregation, glass)?;
    let groups = Groups::read(aggregation, &tables.symbols, glass)?;
    let extra = if glass.byte()? == 0 { None } else { Some(Box::new(read_extra(tables, glass)?)) };
    Ok(OpenPeriod { period, first_at, last_at, events, amount: Amount { total, groups }, extra })
}

fn read_extra(tables: &Tables, glass: &mut Glass<'_>) -> Seen<Extra> {
    let mut extra = Extra::default();
    for _ in 0..glass.length()? {
        let field = place(&tables.carried, glass);
        let carry = Carry { field: 0, last: glass.byte()? != 0, at: glass.time()?, json: glass.text()?.to_vec() };
        // A field that is no longer carried is omitted from records from now on.
        match field {
            Ok(field) => extra.carry.push(Carry { field, ..carry }),
            Err(BadImage::Unknown(_)) => {}
            Err(why) => return Err(why),
        }
    }
    extra.crossed = glass.count()?;
    if glass.byte()? != 0 {
        let revision = glass.count()?.checked_sub(1).map(|revision| revision as u32);
        let value = if glass.byte()? == 0 { None } else { Some(Quotient::read_image(glass)?.into()) };
        let updated_at = glass.time()?;
        let amend_at = if glass.byte()? == 0 { None } else { Some(glass.time()?) };
        extra.sent = Some(Sent { revision, value, updated_at, amend_at });
    }
    Ok(extra)
}
