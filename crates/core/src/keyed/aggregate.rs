//! `aggregate`: each event gets the aggregates of its key so far.

use super::by_period::ByPeriod;
use super::fold::{self, Folded, Value};
use super::rate::Periods;
use super::{AHEAD, Flaw, Input, Keys, key_of};
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
    folded: Keys<ByPeriod<Vec<Folded>>>,
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
        let (mut values, mut field) = (Vec::new(), Vec::new());
        for inputs in inputs.chunks(AHEAD) {
            let touch = |periods: &ByPeriod<Vec<Folded>>| periods.first().map_or(0, |folded| folded.len() as u64);
            self.folded.fetch(inputs.iter().map(|input| input.hash), touch);
            for input in inputs {
                match self.fold(plan, aggregate, batch, input, &mut values) {
                    Ok(folded) => {
                        for (fold, folded) in aggregate.fields.iter().zip(folded) {
                            let kind = folded.write_field(&mut field);
                            effects.set(input, fold.set, kind, &field);
                        }
                    }
                    Err((reason, detail)) => effects.refused(input, reason, detail),
                }
            }
        }
    }

    fn fold(
        &mut self,
        plan: &Plan,
        aggregate: &Aggregate,
        batch: &Batch,
        input: &Input,
        values: &mut Vec<Option<Value>>,
    ) -> Result<&[Folded], Flaw> {
        let (folds, row) = (&aggregate.fields, input.row as usize);
        fold::read(plan, folds, aggregate.missing, aggregate.text_numbers, batch, row, values)?;
        let period = self.periods.at(input.at)?;
        let (_, periods) = self.folded.get_or_insert_with(input.hash, key_of(batch, input), ByPeriod::default);
        let empty = || folds.iter().map(|fold| Folded::new(fold.function)).collect();
        let (folded, _): (&mut Vec<Folded>, bool) = periods.get_or_insert_with(period, empty);
        for ((folded, value), fold) in folded.iter().zip(&*values).zip(folds) {
            if value.as_ref().is_some_and(|value| folded.overflows(value)) {
                let path = plan.paths[usize::from(fold.value)].as_str();
                return Err((Reason::BadValue, format!("`{path}` takes the {} out of range", fold.function.name())));
            }
        }
        for (folded, value) in folded.iter_mut().zip(&*values) {
            // By arrival: the time of an event does not matter here.
            if let Some(value) = value {
                folded.add(value, (Timestamp::MIN, input.order));
            }
        }
        Ok(folded)
    }

    /// Forgets the periods that are too old.
    pub(super) fn tick(&mut self, at: Timestamp) {
        self.periods.tick(at, &mut self.folded);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.time(self.periods.ticked);
        pen.count(self.folded.len() as u64);
        for (key, periods) in self.folded.sorted() {
            pen.text(key);
            pen.count(periods.len() as u64);
            for (period, folded) in periods.iter() {
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
            let key = glass.text()?;
            let mut periods = ByPeriod::default();
            for _ in 0..glass.length()? {
                let period = Period { start: glass.time()?, end: glass.time()? };
                let folded = aggregate.fields.iter().map(|fold| Folded::read(fold.function, glass));
                let folded = folded.collect::<Seen<Vec<_>>>()?;
                read.periods.note(period);
                periods.get_or_insert_with(period, || folded);
            }
            read.folded.insert(key, periods);
        }
        Ok(read)
    }
}
