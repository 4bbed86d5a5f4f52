//! `enrich`, `currency` and `rate` of single events: what they look up and compute.

use std::borrow::Cow;

use super::fields::{Kin, set};
use super::flow::{Flow, Token};
use super::prepare::event_time;
use crate::decimal::{Decimal, Fraction, Rounding};
use crate::event::{Batch, Kind};
use crate::keyed;
use crate::operator::{Currency, CurrencyCode, Enrich, Operator, Rate, Tariffs, Unmatched};
use crate::partition::read_value;
use crate::plan::Plan;
use crate::price::Negative;
use crate::table::{Content, RowIx, Tables, key_of};
use crate::time::Timestamp;
use crate::verdict::Reason;

type Flaw = (Reason, String);

fn content<'t>(plan: &Plan, tables: &'t Tables, table: u16) -> Result<&'t Content, Flaw> {
    let known = tables.as_ref().and_then(|tables| tables.get(usize::from(table))?.as_deref());
    let name = || plan.tables[usize::from(table)].name.as_str();
    known.ok_or_else(|| (Reason::OperatorError, format!("the table `{}` has no rows yet", name())))
}

/// Sets fields from the row of an event's key; gives the way it leaves by.
pub(super) fn enrich(plan: &Plan, kin: &Kin, flow: &mut Flow, node: u16, enrich: &Enrich, token: Token) -> Result<usize, Flaw> {
    // A table without rows comes first: its remedy is the same for all events.
    content(plan, &flow.tables, enrich.table)?;
    let row = token.row as usize;
    let received = flow.at;
    let at = match &enrich.at {
        Some(field) => event_time(plan, flow, row, field, received)?,
        None => Timestamp::MIN,
    };
    let content = content(plan, &flow.tables, enrich.table)?;
    if let Some(found) = find(&flow.batch, enrich, row, content, at) {
        for &(slot, column) in &enrich.set {
            let cell = content.cell(found, column);
            set(plan, kin, &mut flow.batch, row, slot, cell.kind, cell.bytes);
        }
        return Ok(0);
    }
    flow.counts[usize::from(node)].unmatched += 1;
    match enrich.unmatched {
        Unmatched::Route => Ok(1),
        Unmatched::Pass => {
            for &(slot, _) in &enrich.set {
                set(plan, kin, &mut flow.batch, row, slot, Kind::Null, b"null");
            }
            Ok(0)
        }
        Unmatched::Park => Err(no_row(plan, flow, enrich.table, &enrich.on, row)),
    }
}

fn find(batch: &Batch, enrich: &Enrich, row: usize, content: &Content, at: Timestamp) -> Option<RowIx> {
    let leaf = |slot: &u16| batch.leaf(row, *slot);
    if enrich.is_prefix {
        let text = crate::table::key_text(leaf(enrich.on.first()?))?;
        return content.find_prefix(&text, at);
    }
    let mut key = Vec::with_capacity(64);
    key_of(enrich.on.iter().map(leaf), &mut key)?;
    content.find(&key, at)
}

/// Events whose rows of tables are fetched together.
pub(super) const AHEAD: usize = 16;

/// Brings the rows near that some events will most likely ask for: those of their fields as they came.
pub(super) fn look_ahead(plan: &Plan, flow: &Flow, first: usize) {
    let Some(tables) = &flow.tables else { return };
    let events = first..(first + AHEAD).min(flow.batch.len());
    let mut near = 0;
    for node in &plan.nodes {
        let Operator::Enrich(enrich) = &node.operator else { continue };
        let Some(Some(content)) = tables.get(usize::from(enrich.table)).filter(|_| !enrich.is_prefix) else { continue };
        let mut key = Vec::with_capacity(64);
        // Reads that wait for memory run in parallel as long as none needs the result of another: so each
        // step is taken for all events before the next one.
        let mut hashes = [None; AHEAD];
        for (hash, event) in hashes.iter_mut().zip(events.clone()) {
            key.clear();
            let known = key_of(enrich.on.iter().map(|slot| flow.batch.leaf(event, *slot)), &mut key);
            *hash = known.map(|()| Content::hash_of(&key));
            near ^= hash.map_or(0, |hash| content.touch_index(hash));
        }
        let mut places = [0; AHEAD];
        for (place, hash) in places.iter_mut().zip(hashes.iter().flatten()) {
            *place = content.guess(*hash);
        }
        near ^= places.iter().fold(0, |near, place| near ^ content.touch(*place));
    }
    std::hint::black_box(near);
}

fn no_row(plan: &Plan, flow: &Flow, table: u16, on: &[u16], row: usize) -> Flaw {
    let table = &plan.tables[usize::from(table)];
    let shown: Vec<String> = on.iter().map(|slot| shown(flow, row, *slot)).collect();
    (Reason::NoMatch, format!("table `{}` has no row for {} {}", table.name, table.key.join(", "), shown.join(", ")))
}

fn shown(flow: &Flow, row: usize, slot: u16) -> String {
    let mut shown = Vec::new();
    flow.batch.leaf(row, slot).write_json(&mut shown);
    shown.truncate(100);
    String::from_utf8_lossy(&shown).into_owned()
}

/// Converts an amount by the rate of the event's day.
pub(super) fn convert(plan: &Plan, kin: &Kin, flow: &mut Flow, currency: &Currency, token: Token) -> Result<(), Flaw> {
    let row = token.row as usize;
    let path = plan.paths[usize::from(currency.amount)].as_str();
    let amount = read_value(flow.batch.leaf(row, currency.amount), None, true, currency.text_numbers)
        .map_err(|reason| (reason, format!("`{path}` is {}", value_or_absence(plan, flow, row, currency.amount))))?;
    let (from, to) = (code(plan, flow, row, &currency.from)?, code(plan, flow, row, &currency.to)?);
    let received = flow.at;
    let at = event_time(plan, flow, row, &currency.time, received)?;
    let day = currency.zone.jiff().to_datetime(at.to_jiff()).date();
    let found = rates(content(plan, &flow.tables, currency.table)?, currency, &from, &to, day)?;
    let product = Fraction::product(amount, found.multiply);
    let result = product.divide(found.divide, currency.scale, currency.rounding);
    let result = result.ok_or_else(|| (Reason::BadValue, format!("{amount} {from} in {to} is out of range")))?;
    let rate = Fraction::of(found.multiply).divide(found.divide, 18, Rounding::HalfEven).unwrap_or_default();
    let mut set_field = |slot, kind, text: String| set(plan, kin, &mut flow.batch, row, slot, kind, text.as_bytes());
    set_field(currency.set, Kind::Number, result.to_string());
    if let Some(slot) = currency.set_rate {
        set_field(slot, Kind::Number, rate.to_string());
    }
    if let Some(slot) = currency.set_date {
        match found.date {
            Some(date) => set_field(slot, Kind::Text, date.to_string()),
            None => set_field(slot, Kind::Null, "null".to_owned()),
        }
    }
    Ok(())
}

/// Returns a value as it is shown, or that it is missing.
fn value_or_absence(plan: &Plan, flow: &Flow, row: usize, slot: u16) -> String {
    let leaf = flow.batch.leaf(row, slot);
    if leaf.is_absent() { plan.absence(&flow.batch, leaf).to_owned() } else { shown(flow, row, slot) }
}

fn code<'c>(plan: &Plan, flow: &Flow, row: usize, code: &'c CurrencyCode) -> Result<Cow<'c, str>, Flaw> {
    match code {
        CurrencyCode::Fixed(code) => Ok(Cow::Borrowed(code)),
        CurrencyCode::Field(slot) => {
            let leaf = flow.batch.leaf(row, *slot);
            let path = plan.paths[usize::from(*slot)].as_str();
            match leaf.as_text() {
                Some(text) => Ok(Cow::Owned(String::from_utf8_lossy(&text).into_owned())),
                None if leaf.is_absent() => Err((Reason::NoValue, format!("`{path}` is {}", plan.absence(&flow.batch, leaf)))),
                None => Err((Reason::BadValue, format!("`{path}` is no currency"))),
            }
        }
    }
}

/// The rates by which an amount is multiplied and divided, and the older of the dates of the rates.
struct Rates {
    multiply: Decimal,
    divide: Decimal,
    date: Option<jiff::civil::Date>,
}

fn rates(content: &Content, currency: &Currency, from: &str, to: &str, day: jiff::civil::Date) -> Result<Rates, Flaw> {
    if from == to {
        return Ok(Rates { multiply: Decimal::ONE, divide: Decimal::ONE, date: None });
    }
    let none = |pair: &str| (Reason::NoRate, format!("no rate for {pair} on {day} or up to {} days before", currency.days_back));
    let Some(base) = &currency.base else {
        let (rate, date) = rate_of(content, currency, &[from, to], day).ok_or_else(|| none(&format!("{from} in {to}")))?;
        return Ok(Rates { multiply: rate, divide: Decimal::ONE, date: Some(date) });
    };
    let of_base = |code: &str| match code == base {
        true => Ok((Decimal::ONE, None)),
        false => {
            let (rate, date) = rate_of(content, currency, &[code], day).ok_or_else(|| none(&format!("{base} in {code}")))?;
            Ok::<_, Flaw>((rate, Some(date)))
        }
    };
    let ((divide, one), (multiply, other)) = (of_base(from)?, of_base(to)?);
    Ok(Rates { multiply, divide, date: one.into_iter().chain(other).min() })
}

/// The rate of a day, else of the latest day before that is not too old.
fn rate_of(
    content: &Content,
    currency: &Currency,
    codes: &[&str],
    day: jiff::civil::Date,
) -> Option<(Decimal, jiff::civil::Date)> {
    let mut date = day;
    for _ in 0..=currency.days_back {
        let text = date.to_string();
        let leaves = codes.iter().copied().chain([text.as_str()]).map(crate::event::Leaf::of_text);
        let mut key = Vec::with_capacity(48);
        key_of(leaves, &mut key)?;
        if let Some(row) = content.find(&key, Timestamp::MIN) {
            let rate = crate::decimal::parse(content.cell(row, currency.rate).bytes).ok()?;
            return Some((rate, date));
        }
        date = date.yesterday().ok()?;
    }
    None
}

/// The row with an event's tariff, where tariffs come from a table.
pub(super) fn tariff_row(plan: &Plan, flow: &mut Flow, rate: &Rate, row: usize) -> Result<Option<RowIx>, Flaw> {
    let Tariffs::Table(prices) = &rate.tariff else { return Ok(None) };
    content(plan, &flow.tables, prices.table)?;
    let received = flow.at;
    let at = match &prices.at {
        Some(field) => event_time(plan, flow, row, field, received)?,
        None => Timestamp::MIN,
    };
    let content = content(plan, &flow.tables, prices.table)?;
    let mut key = Vec::with_capacity(64);
    let known = key_of(prices.on.iter().map(|slot| flow.batch.leaf(row, *slot)), &mut key);
    let found = known.and_then(|()| content.find(&key, at));
    found.map(Some).ok_or_else(|| no_row(plan, flow, prices.table, &prices.on, row))
}

/// Prices the quantity of an event by itself.
pub(super) fn price(plan: &Plan, kin: &Kin, flow: &mut Flow, rate: &Rate, token: Token) -> Result<(), Flaw> {
    let row = token.row as usize;
    let quantity = keyed::quantity(plan, rate, &flow.batch, row)?;
    if quantity < Decimal::ZERO && rate.terms.negative == Negative::Park {
        return Err((Reason::NegativeTotal, format!("the quantity is {quantity}")));
    }
    let found = tariff_row(plan, flow, rate, row)?;
    let price = rate.tariff_of(&flow.tables, found)?.of(quantity, rate.terms);
    let price = price.ok_or_else(|| (Reason::BadValue, format!("the price of {quantity} is out of range")))?;
    set(plan, kin, &mut flow.batch, row, rate.set, Kind::Number, price.to_string().as_bytes());
    Ok(())
}
