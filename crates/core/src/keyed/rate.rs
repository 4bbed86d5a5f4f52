//! `rate` with a schedule: the total of each key and period, and what an event adds to its price.

use std::collections::BTreeMap;

use super::fold::{not_a_number, read_number, write_number};
use super::{Flaw, Input, Keys, key_of, set_number, sorted};
use crate::decimal::Decimal;
use crate::event::Batch;
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Rate, Running, Tariffs};
use crate::partition::{Effects, read_value};
use crate::plan::Plan;
use crate::price::{Negative, Tariff};
use crate::schedule::{Calendar, Period};
use crate::table::{RowIx, Tables};
use crate::time::Timestamp;
use crate::verdict::Reason;

/// The periods of a running operator, and which of them are kept.
#[derive(Debug)]
pub(super) struct Periods {
    calendar: Option<Calendar>,
    amend_within: i64,
    /// The instant of the last tick.
    pub(super) ticked: Timestamp,
}

impl Periods {
    pub(super) fn new(running: &Running) -> Periods {
        let calendar = running.schedule.as_ref();
        let calendar = calendar.map(|(schedule, zone)| Calendar::new(std::sync::Arc::clone(schedule), zone.clone()));
        Periods { calendar, amend_within: running.amend_within, ticked: Timestamp::MIN }
    }

    /// The period of an instant, if it is still kept.
    pub(super) fn at(&mut self, at: Timestamp) -> Result<Period, Flaw> {
        let Some(calendar) = &mut self.calendar else {
            return Ok(Period { start: Timestamp::MIN, end: Timestamp::MAX });
        };
        let period = calendar.period_at(at);
        match self.is_kept(period.end) {
            true => Ok(period),
            false => Err((Reason::TooLate, format!("the period until {} is no longer kept", period.end))),
        }
    }

    /// Whether a period that ends then is kept.
    pub(super) fn is_kept(&self, end: Timestamp) -> bool {
        end == Timestamp::MAX || end.saturating_add(self.amend_within) >= self.ticked
    }
}

/// By key and period: the total.
#[derive(Debug)]
pub(crate) struct Rates {
    periods: Periods,
    totals: Keys<BTreeMap<Period, Decimal>>,
}

impl Rates {
    pub(super) fn new(running: &Running) -> Rates {
        Rates { periods: Periods::new(running), totals: Keys::default() }
    }

    pub(super) fn take(
        &mut self,
        plan: &Plan,
        rate: &Rate,
        (batch, tables): (&Batch, &Tables),
        inputs: &[Input],
        effects: &mut impl Effects,
    ) {
        for input in inputs {
            let tariff = rate.tariff_of(tables, input.tariff);
            match tariff.and_then(|tariff| self.price(plan, rate, tariff, batch, input)) {
                Ok(amount) => set_number(effects, input, rate.set, amount),
                Err((reason, detail)) => effects.refused(input, reason, detail),
            }
        }
    }

    fn price(&mut self, plan: &Plan, rate: &Rate, tariff: &Tariff, batch: &Batch, input: &Input) -> Result<Decimal, Flaw> {
        let quantity = quantity(plan, rate, batch, input.row as usize)?;
        let period = self.periods.at(input.at)?;
        let key = key_of(batch, input);
        let before = self.totals.get(key).and_then(|periods| periods.get(&period)).copied().unwrap_or_default();
        let out_of_range = || (Reason::BadValue, format!("{quantity} takes the total or its price out of range"));
        let total = before.add(quantity).ok_or_else(out_of_range)?;
        if total < Decimal::ZERO && rate.terms.negative == Negative::Park {
            return Err((Reason::NegativeTotal, format!("{quantity} would make the total {total}")));
        }
        let price = |quantity| tariff.of(quantity, rate.terms).ok_or_else(out_of_range);
        let amount = price(total)?.sub(price(before)?).ok_or_else(out_of_range)?;
        match self.totals.get_mut(key) {
            Some(periods) => drop(periods.insert(period, total)),
            None => drop(self.totals.insert(key.into(), BTreeMap::from([(period, total)]))),
        }
        Ok(amount)
    }

    /// Forgets the periods that are too old.
    pub(super) fn tick(&mut self, rate: &Rate, at: Timestamp) {
        self.periods.ticked = self.periods.ticked.max(at);
        if rate.running.as_ref().is_some_and(|running| running.schedule.is_some()) {
            let periods = &self.periods;
            self.totals.retain(|_, totals| {
                totals.retain(|period, _| periods.is_kept(period.end));
                !totals.is_empty()
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.time(self.periods.ticked);
        pen.count(self.totals.len() as u64);
        for (key, totals) in sorted(&self.totals) {
            pen.text(key);
            pen.count(totals.len() as u64);
            for (period, total) in totals {
                pen.time(period.start);
                pen.time(period.end);
                write_number(Some(*total), pen);
            }
        }
    }

    pub(super) fn read(running: &Running, glass: &mut Glass<'_>) -> Seen<Rates> {
        let mut rates = Rates::new(running);
        rates.periods.ticked = glass.time()?;
        for _ in 0..glass.length()? {
            let key = glass.text()?.into();
            let mut totals = BTreeMap::new();
            for _ in 0..glass.length()? {
                let period = Period { start: glass.time()?, end: glass.time()? };
                totals.insert(period, read_number(glass)?.unwrap_or_default());
            }
            rates.totals.insert(key, totals);
        }
        Ok(rates)
    }
}

impl Rate {
    /// The tariff of an event: that of a row that was found, where it comes from a table.
    pub(crate) fn tariff_of<'t>(&'t self, tables: &'t Tables, row: Option<RowIx>) -> Result<&'t Tariff, Flaw> {
        let table = match &self.tariff {
            Tariffs::Fixed(tariff) => return Ok(tariff),
            Tariffs::Table(table) => table,
        };
        let content = tables.as_ref().and_then(|tables| tables.get(usize::from(table.table))?.as_ref());
        let found = content.zip(row).and_then(|(content, row)| content.tariff(row));
        found.ok_or_else(|| (Reason::OperatorError, "the row of the tariff has gone".to_owned()))
    }
}

/// The quantity of an event.
pub(crate) fn quantity(plan: &Plan, rate: &Rate, batch: &Batch, row: usize) -> Result<Decimal, Flaw> {
    let leaf = batch.leaf(row, rate.quantity);
    read_value(leaf, None, true, rate.text_numbers)
        .map_err(|reason| (reason, not_a_number(plan, batch, plan.paths[usize::from(rate.quantity)].as_str(), leaf)))
}
