//! `aggregate`: each event gets the aggregates of its key so far.

use std::collections::BTreeMap;

use super::fold::{self, Folded};
use super::rate::Periods;
use super::{Flaw, Input, Keys, key_of, sorted};
use crate::event::Batch;
use crate::image::{Glass, Pen, Seen};
use crate::operator::Aggregate;
use crate::partition::Effects;
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// By key and period: what was folded so far.
#[derive(Debug)]
pub(crate) struct Aggregates {
    periods: Periods,
    folded: Keys<BTreeMap<Period, Vec<Folded>>>,
}

impl Aggregates {
    pub(super) fn new(aggregate: &Aggregate) -> Aggregates {
        Aggregates { periods: Periods::new(&aggregate.running), folded: Keys::default() }
    }

    pub(super) fn take(
        &mut self,
        plan: &Plan,
        aggregate: &Aggregate,
        batch: &Batch,
        inputs: &[Input],
        effects: &mut impl Effects,
    ) {
        for input in inputs {
            match self.fold(plan, aggregate, batch, input) {
                Ok(folded) => {
                    for (fold, folded) in aggregate.fields.iter().zip(folded) {
                        let (kind, bytes) = folded.field();
                        effects.set(input, fold.set, kind, &bytes);
                    }
                }
                Err((reason, detail)) => effects.refused(input, reason, detail),
            }
        }
    }

    fn fold(&mut self, plan: &Plan, aggregate: &Aggregate, batch: &Batch, input: &Input) -> Result<&[Folded], Flaw> {
        let (folds, row) = (&aggregate.fields, input.row as usize);
        let values = fold::read(plan, folds, aggregate.missing, aggregate.text_numbers, batch, row)?;
        let period = self.periods.at(input.at)?;
        let key = key_of(batch, input);
        if !self.folded.contains_key(key) {
            self.folded.insert(key.into(), BTreeMap::new());
        }
        let empty = || folds.iter().map(|fold| Folded::new(fold.function)).collect();
        let folded: &mut Vec<Folded> = match self.folded.get_mut(key) {
            Some(periods) => periods.entry(period).or_insert_with(empty),
            None => return Err((Reason::OperatorError, String::new())),
        };
        for ((folded, value), fold) in folded.iter().zip(&values).zip(folds) {
            if value.as_ref().is_some_and(|value| folded.overflows(value)) {
                let path = plan.paths[usize::from(fold.value)].as_str();
                return Err((Reason::BadValue, format!("`{path}` takes the {} out of range", fold.function.name())));
            }
        }
        for (folded, value) in folded.iter_mut().zip(&values) {
            // By arrival: the time of an event does not matter here.
            if let Some(value) = value {
                folded.add(value, (Timestamp::MIN, input.order));
            }
        }
        Ok(folded)
    }

    /// Forgets the periods that are too old.
    pub(super) fn tick(&mut self, aggregate: &Aggregate, at: Timestamp) {
        self.periods.ticked = self.periods.ticked.max(at);
        if aggregate.running.schedule.is_some() {
            let periods = &self.periods;
            self.folded.retain(|_, folded| {
                folded.retain(|period, _| periods.is_kept(period.end));
                !folded.is_empty()
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.time(self.periods.ticked);
        pen.count(self.folded.len() as u64);
        for (key, periods) in sorted(&self.folded) {
            pen.text(key);
            pen.count(periods.len() as u64);
            for (period, folded) in periods {
                pen.time(period.start);
                pen.time(period.end);
                folded.iter().for_each(|folded| folded.write_to(pen));
            }
        }
    }

    pub(super) fn read(aggregate: &Aggregate, glass: &mut Glass<'_>) -> Seen<Aggregates> {
        let mut read = Aggregates::new(aggregate);
        read.periods.ticked = glass.time()?;
        for _ in 0..glass.length()? {
            let key = glass.text()?.into();
            let mut periods = BTreeMap::new();
            for _ in 0..glass.length()? {
                let period = Period { start: glass.time()?, end: glass.time()? };
                let folded = aggregate.fields.iter().map(|fold| Folded::read(fold.function, glass));
                periods.insert(period, folded.collect::<Seen<Vec<_>>>()?);
            }
            read.folded.insert(key, periods);
        }
        Ok(read)
    }
}
