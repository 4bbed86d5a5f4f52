//! A snapshot for a query: everything needed to answer it on any thread, while events arrive.
//!
//! The owner filters the hot tier at once, which is the only time it is delayed, and lists the
//! runs. Runs never change, so reading them needs no coordination.

use std::ops::Range;
use std::sync::Arc;

use super::amount::Form;
use super::answer::{Partial, Sieve, Sifted, answers};
use super::block::{Grain, minute};
use super::hot::Hot;
use super::query::Query;
use super::run::Run;
use crate::{Error, Kind};

/// A partly answered query.
pub struct Snapshot {
    query: Query,
    hot: Partial,
    runs: Vec<Arc<Run>>,
}

impl Snapshot {
    pub(super) fn new(query: Query, hot: &Hot, runs: Vec<Arc<Run>>) -> Result<Snapshot, Error> {
        if query.aggregation.is_some_and(|aggregation| Form::of(aggregation) == Form::Events) {
            let message = "levels and counters have values by meter and period only; ask for the meters' records";
            return Err(Error::new(Kind::Invalid, message));
        }
        let hot = sift_hot(&query, hot)?;
        Ok(Snapshot { query, hot, runs })
    }

    /// Reads the runs and adds the content of the hot tier.
    pub fn answer(self) -> Result<Partial, Error> {
        let minutes = minutes(&self.query);
        let mut sieve = Sieve::new(&self.query);
        // From the oldest: of equal times the later arrival is the latest.
        for run in &self.runs {
            sift_run(&self.query, &minutes, run, &mut sieve)?;
        }
        let mut partial = sieve.finish();
        partial.merge(self.hot)?;
        Ok(partial)
    }
}

/// Returns the minutes that a query covers.
fn minutes(query: &Query) -> Range<i64> {
    let at = |instant| i64::from(minute(instant));
    query.from.map_or(i64::MIN, at)..query.to.map_or(i64::MAX, at)
}

fn sift_hot(query: &Query, hot: &Hot) -> Result<Partial, Error> {
    let (users, tuples) = (hot.users().texts(), hot.tuples.texts());
    let mut sieve = Sieve::new(query);
    let mut user_rows: Vec<Option<Option<u32>>> = vec![None; users.len()];
    let mut tuple_rows: Vec<Option<Option<u32>>> = vec![None; tuples.len()];
    let wanted = |meter_type, form| meter_type == query.meter_type && answers(query, form);
    hot.each(wanted, minutes(query), |cell| {
        let (user_text, tuple_text) = (users.get(cell.user), tuples.get(cell.tuple));
        let user = *user_rows[cell.user as usize].get_or_insert_with(|| sieve.user(user_text));
        let Some(user) = user else { return Ok(()) };
        let known = &mut tuple_rows[cell.tuple as usize];
        let tuple = match *known {
            Some(tuple) => tuple,
            None => *known.insert(sieve.tuple(tuple_text).map_err(|why| Error::new(Kind::Bug, why.to_string()))?),
        };
        let Some(tuple) = tuple else { return Ok(()) };
        let sifted = Sifted { start: cell.minute, grain: Grain::Minute, user, tuple, user_text, tuple_text };
        sieve.take(&sifted, &cell.amount)
    })?;
    Ok(sieve.finish())
}

fn sift_run(query: &Query, minutes: &Range<i64>, run: &Run, sieve: &mut Sieve<'_>) -> Result<(), Error> {
    let wanted = run.places.iter().filter(|place| {
        place.meter_type == query.meter_type
            && answers(query, place.form)
            && i64::from(place.first) < minutes.end
            && i64::from(place.last) >= minutes.start
    });
    for place in wanted {
        let block = run.block(place)?;
        let users: Vec<_> = block.users.iter().map(|user| sieve.user(user)).collect();
        if users.iter().all(Option::is_none) {
            continue;
        }
        let tuples = block.tuples.iter().map(|tuple| sieve.tuple(tuple)).collect::<Result<Vec<_>, _>>();
        let tuples = tuples.map_err(|why| Error::corrupt(run.name(), why))?;
        for cell in &block.cells {
            let (Some(user), Some(tuple)) = (users[cell.user as usize], tuples[cell.tuple as usize]) else { continue };
            if !minutes.contains(&i64::from(cell.start)) {
                continue;
            }
            let (user_text, tuple_text) = (block.users.get(cell.user), block.tuples.get(cell.tuple));
            let sifted = Sifted { start: cell.start, grain: cell.grain, user, tuple, user_text, tuple_text };
            sieve.take(&sifted, &cell.amount)?;
        }
    }
    Ok(())
}
