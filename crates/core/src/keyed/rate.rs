//! `rate` with a schedule: the total of each key and period, and what an event adds to its price.

use super::by_period::ByPeriod;
use super::fold::{not_a_number, read_number, write_number};
use super::{AHEAD, Flaw, Input, Keys, key_of};
use crate::decimal::Decimal;
use crate::event::{Batch, Kind};
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
    /// The earliest end of a period that is kept, or an earlier instant.
    first_end: Timestamp,
}

impl Periods {
    pub(super) fn new(running: &Running) -> Periods {
        let calendar = running.schedule.as_ref();
        let calendar = calendar.map(|(schedule, zone)| Calendar::new(std::sync::Arc::clone(schedule), zone.clone()));
        Periods { calendar, amend_within: running.amend_within, ticked: Timestamp::MIN, first_end: Timestamp::MAX }
    }

    /// The period of an instant, if it is still kept.
    pub(super) fn at(&mut self, at: Timestamp) -> Result<Period, Flaw> {
        let Some(calendar) = &mut self.calendar else {
            return Ok(Period { start: Timestamp::MIN, end: Timestamp::MAX });
        };
        let period = calendar.period_at(at);
        match self.is_kept(period.end) {
            true => {
                self.note(period);
                Ok(period)
            }
            false => Err((Reason::TooLate, format!("the period until {} is no longer kept", period.end))),
        }
    }

    /// Notes that something of a period is kept.
    pub(super) fn note(&mut self, period: Period) {
        self.first_end = self.first_end.min(period.end);
    }

    /// Advances time to an instant and forgets the periods that are too old.
    pub(super) fn tick<T>(&mut self, at: Timestamp, keys: &mut Keys<ByPeriod<T>>) {
        self.ticked = self.ticked.max(at);
        if self.is_kept(self.first_end) {
            return;
        }
        let mut first_end = Timestamp::MAX;
        keys.retain(|periods| {
            periods.retain(|period| self.is_kept(period.end));
            first_end = periods.iter().map(|(period, _)| period.end).fold(first_end, Timestamp::min);
            !periods.is_empty()
        });
        self.first_end = first_end;
    }

    /// Whether a period that ends then is kept.
    fn is_kept(&self, end: Timestamp) -> bool {
        end == Timestamp::MAX || end.saturating_add(self.amend_within) >= self.ticked
    }
}

/// By key and period: the total.
#[derive(Debug)]
pub(crate) struct Rates {
    periods: Periods,
    totals: Keys<ByPeriod<Decimal>>,
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
        let mut written = Vec::with_capacity(48);
        for inputs in inputs.chunks(AHEAD) {
            self.totals.fetch(inputs.iter().map(|input| input.hash), |_| 0);
            for input in inputs {
                let tariff = rate.tariff_of(tables, input.tariff);
                match tariff.and_then(|tariff| self.price(plan, rate, tariff, batch, input)) {
                    Ok(amount) => {
                        written.clear();
                        amount.write_to(&mut written);
                        effects.set(input, rate.set, Kind::Number, &written);
                    }
                    Err((reason, detail)) => effects.refused(input, reason, detail),
                }
            }
        }
    }

    fn price(&mut self, plan: &Plan, rate: &Rate, tariff: &Tariff, batch: &Batch, input: &Input) -> Result<Decimal, Flaw> {
        let quantity = quantity(plan, rate, batch, input.row as usize)?;
        let period = self.periods.at(input.at)?;
        let key = key_of(batch, input);
        let known = self.totals.get_mut(input.hash, key);
        let before = known.as_ref().and_then(|periods| periods.get(&period)).copied().unwrap_or_default();
        let out_of_range = || (Reason::BadValue, format!("{quantity} takes the total or its price out of range"));
        let total = before.add(quantity).ok_or_else(out_of_range)?;
        if total < Decimal::ZERO && rate.terms.negative == Negative::Park {
            return Err((Reason::NegativeTotal, format!("{quantity} would make the total {total}")));
        }
        let price = |quantity| tariff.of(quantity, rate.terms).ok_or_else(out_of_range);
        let amount = price(total)?.sub(price(before)?).ok_or_else(out_of_range)?;
        let periods = match known {
            Some(periods) => periods,
            None => self.totals.get_or_insert_with(input.hash, key, ByPeriod::default).1,
        };
        *periods.get_or_insert_with(period, || total).0 = total;
        Ok(amount)
    }

    /// Forgets the periods that are too old.
    pub(super) fn tick(&mut self, at: Timestamp) {
        self.periods.tick(at, &mut self.totals);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.time(self.periods.ticked);
        pen.count(self.totals.len() as u64);
        for (key, totals) in self.totals.sorted() {
            pen.text(key);
            pen.count(totals.len() as u64);
            for (period, total) in totals.iter() {
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
            let key = glass.text()?;
            let mut totals = ByPeriod::default();
            for _ in 0..glass.length()? {
                let period = Period { start: glass.time()?, end: glass.time()? };
                rates.periods.note(period);
                let total = read_number(glass)?.unwrap_or_default();
                totals.get_or_insert_with(period, || total);
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
