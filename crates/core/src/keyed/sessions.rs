//! Sessions: windows that events make by lying near each other.
//!
//! The sessions of a key are a function of its events sorted by time and arrival, whatever the
//! order in which they came. Events are kept until their session is released.

use std::collections::{BTreeMap, BTreeSet};

use super::accumulate::{Place, forget, forgotten, late_for, read_places, write_places};
use super::fold::{Rank, Value};
use super::gathered::{Gathered, Taken};
use super::keys::hash_of;
use super::texts::TextOrder;
use super::{Flaw, Keys};
use crate::decimal::Decimal;
use crate::image::{Glass, Pen, Seen};
use crate::operator::Accumulate;
use crate::plan::Plan;
use crate::schedule::Period;
use crate::time::Timestamp;

/// Numbers below this cannot leave the range of decimals, however many events a session has.
const SMALL: Decimal = Decimal::from_int(1_000_000_000_000);

/// The sessions of all keys.
#[derive(Debug)]
pub(super) struct Sessions {
    gap: i64,
    max: i64,
    open: Keys<Open>,
    /// Sessions that are open, and those that were released and are remembered.
    due: BTreeSet<Place>,
    released: BTreeSet<Place>,
    /// By key: the start and the last event of each released session that is remembered.
    remembered: Keys<BTreeMap<Timestamp, Timestamp>>,
}

/// The state of a key.
#[derive(Debug, Default)]
struct Open {
    events: BTreeMap<Rank, Taken>,
    /// By the first event: the last one, and how many there are.
    sessions: BTreeMap<Rank, (Rank, u64)>,
    /// Whether a number came that could take a sum out of range.
    has_large: bool,
}

impl Sessions {
    pub(super) fn new(gap: i64, max: i64) -> Sessions {
        Sessions { gap, max, open: Keys::default(), due: BTreeSet::new(), released: BTreeSet::new(), remembered: Keys::default() }
    }

    fn end(&self, last: Timestamp) -> Timestamp {
        last.saturating_add(self.gap)
    }

    /// Takes an event into its session.
    pub(super) fn take(
        &mut self,
        plan: &Plan,
        of: &Accumulate,
        (hash, key): (u64, &[u8]),
        taken: Taken,
        ticked: Timestamp,
    ) -> Result<(), Flaw> {
        let at = taken.rank.0;
        if let Some(flaw) = forgotten(&of.late, self.end(at), ticked) {
            return Err(flaw);
        }
        if let Some(last) = self.released_around(hash, key, at) {
            return Err(late_for(&of.late, self.end(last)));
        }
        let (gap, max) = (self.gap, self.max);
        let (place, open) = self.open.get_or_insert_with(hash, key, Open::default);
        if let Some(flaw) = open.refusal(plan, of, gap, max, &taken) {
            if open.events.is_empty() {
                self.open.remove_at(place);
            }
            return Err(flaw);
        }
        let changed = open.insert(taken, gap, max);
        self.replace(key, &changed);
        Ok(())
    }

    /// The last event of a released session that an event would be part of, put beside its
    /// events alone.
    fn released_around(&self, hash: u64, key: &[u8], at: Timestamp) -> Option<Timestamp> {
        let sessions = self.remembered.get(hash, key)?;
        let (gap, max) = (i128::from(self.gap), i128::from(self.max));
        let is_part = |(start, last): &(&Timestamp, &Timestamp)| {
            if at < **start {
                return start.since(at) < gap && start.since(at) < max;
            }
            at.since(**last) < gap && at.since(**start) < max
        };
        let nearest = sessions.range(..=at).next_back().into_iter().chain(sessions.range(at..).next());
        nearest.filter(is_part).map(|(_, last)| *last).next()
    }

    /// Puts the places of a key's sessions right.
    fn replace(&mut self, key: &[u8], changed: &Changed) {
        for (first, last) in &changed.gone {
            let place = (self.end(last.0), Box::from(key), first.0);
            self.due.remove(&place);
        }
        for (first, last) in &changed.new {
            let place = (self.end(last.0), Box::from(key), first.0);
            self.due.insert(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.released.is_empty()
    }

    pub(super) fn first_due(&self) -> Option<&Place> {
        self.due.first()
    }

    pub(super) fn release(&mut self, of: &Accumulate, until: Timestamp, give: &mut impl FnMut(&[u8], Period, &Gathered)) {
        while let Some(place) = self.due.pop_first() {
            let (end, key, start) = &place;
            if *end > until {
                self.due.insert(place);
                return;
            }
            let hash = hash_of(key);
            let Some(open) = self.open.get_mut(hash, key) else { continue };
            let Some((first, (last, _))) = open.sessions.range((*start, (0, 0))..).next().map(|(a, b)| (*a, *b)) else {
                continue;
            };
            open.sessions.remove(&first);
            let mut gathered = Gathered::new(of);
            let events: Vec<Rank> = open.events.range(first..=last).map(|(rank, _)| *rank).collect();
            for rank in events {
                open.events.remove(&rank).iter().for_each(|taken| gathered.add(taken, true));
            }
            if open.events.is_empty() {
                self.open.remove(hash, key);
            }
            give(key, Period { start: *start, end: *end }, &gathered);
            self.remembered.get_or_insert_with(hash, key, BTreeMap::new).1.insert(*start, last.0);
            self.released.insert(place);
        }
    }

    /// Visits the open sessions of each key.
    pub(super) fn each(&self, of: &Accumulate, give: &mut impl FnMut(&[u8], Period, &Gathered)) {
        for (key, open) in self.open.sorted() {
            for (first, (last, _)) in &open.sessions {
                let mut gathered = Gathered::new(of);
                open.events.range(first..=last).for_each(|(_, taken)| gathered.add(taken, true));
                give(key, Period { start: first.0, end: self.end(last.0) }, &gathered);
            }
        }
    }

    /// Forgets released sessions that ended before an instant.
    pub(super) fn forget(&mut self, oldest: Timestamp) {
        for (end, key, start) in &self.released {
            if *end >= oldest {
                break;
            }
            let hash = hash_of(key);
            if let Some(sessions) = self.remembered.get_mut(hash, key) {
                sessions.remove(start);
                if sessions.is_empty() {
                    self.remembered.remove(hash, key);
                }
            }
        }
        forget(&mut self.released, oldest);
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        write_places(&self.released, pen);
        pen.count(self.remembered.len() as u64);
        for (key, sessions) in self.remembered.sorted() {
            pen.text(key);
            pen.count(sessions.len() as u64);
            for (start, last) in sessions {
                pen.time(*start);
                pen.time(*last);
            }
        }
        pen.count(self.open.len() as u64);
        for (key, open) in self.open.sorted() {
            pen.text(key);
            pen.count(open.events.len() as u64);
            open.events.values().for_each(|taken| taken.write_to(pen));
        }
    }

    pub(super) fn read(&mut self, of: &Accumulate, keep: &TextOrder, glass: &mut Glass<'_>) -> Seen<()> {
        self.released = read_places(glass)?;
        for _ in 0..glass.length()? {
            let key = glass.text()?;
            let sessions = (0..glass.length()?).map(|_| Ok((glass.time()?, glass.time()?)));
            self.remembered.insert(key, sessions.collect::<Seen<_>>()?);
        }
        for _ in 0..glass.length()? {
            let key = glass.text()?;
            let mut open = Open::default();
            for _ in 0..glass.length()? {
                open.insert(Taken::read_image(of, keep, glass)?, self.gap, self.max);
            }
            let new = open.sessions.iter().map(|(first, (last, _))| (*first, *last)).collect();
            self.replace(key, &Changed { gone: Vec::new(), new });
            self.open.insert(key, open);
        }
        Ok(())
    }
}

/// Sessions that are no longer as they were, and those that are there instead: the first and
/// the last event of each.
#[derive(Debug, Default)]
struct Changed {
    gone: Vec<(Rank, Rank)>,
    new: Vec<(Rank, Rank)>,
}

impl Open {
    /// Adds an event. Most come behind all others: then only the last session changes.
    fn insert(&mut self, taken: Taken, gap: i64, max: i64) -> Changed {
        let rank = taken.rank;
        self.has_large |= is_large(&taken);
        let is_last = self.events.last_key_value().is_none_or(|(last, _)| *last < rank);
        self.events.insert(rank, taken);
        if !is_last {
            return self.arrange(rank, gap, max);
        }
        match self.sessions.last_entry() {
            Some(mut session) if joins(*session.key(), session.get().0, rank, gap, max) => {
                let first = *session.key();
                let (last, count) = session.get_mut();
                let gone = vec![(first, *last)];
                (*last, *count) = (rank, *count + 1);
                Changed { gone, new: vec![(first, rank)] }
            }
            _ => {
                self.sessions.insert(rank, (rank, 1));
                Changed { gone: Vec::new(), new: vec![(rank, rank)] }
            }
        }
    }

    /// Finds the sessions around a place again, up to one that begins where one began before:
    /// from there on nothing has changed.
    fn arrange(&mut self, rank: Rank, gap: i64, max: i64) -> Changed {
        let begin = self.sessions.range(..=rank).next_back().map_or(rank, |(first, _)| *first);
        let mut found: Vec<(Rank, Rank, u64)> = Vec::new();
        let mut until = None;
        for &next in self.events.range(begin..).map(|(next, _)| next) {
            match found.last_mut() {
                Some((first, last, count)) if joins(*first, *last, next, gap, max) => (*last, *count) = (next, *count + 1),
                _ if next > rank && self.sessions.contains_key(&next) => {
                    until = Some(next);
                    break;
                }
                _ => found.push((next, next, 1)),
            }
        }
        let is_behind = |first: &Rank| until.is_some_and(|until| *first >= until);
        let stale = self.sessions.range(begin..).take_while(|(first, _)| !is_behind(first));
        let gone: Vec<(Rank, Rank)> = stale.map(|(first, (last, _))| (*first, *last)).collect();
        for (first, _) in &gone {
            self.sessions.remove(first);
        }
        let new = found.iter().map(|(first, last, _)| (*first, *last)).collect();
        self.sessions.extend(found.into_iter().map(|(first, last, count)| (first, (last, count))));
        Changed { gone, new }
    }

    /// Why an event may not come in: its session would be too large, or its numbers.
    fn refusal(&mut self, plan: &Plan, of: &Accumulate, gap: i64, max: i64, taken: &Taken) -> Option<Flaw> {
        let may_fill = self.events.len() as u64 >= of.events_max;
        if !may_fill && !self.has_large && !is_large(taken) {
            return None;
        }
        // Seldom: the session is made as it would be, without the event, and asked.
        let rank = taken.rank;
        let has_large = self.has_large;
        self.insert(taken.clone(), gap, max);
        let session = self.sessions.range(..=rank).next_back().map(|(first, (last, _))| (*first, *last));
        self.events.remove(&rank);
        self.has_large = has_large;
        let mut gathered = Gathered::new(of);
        if let Some((first, last)) = session {
            self.events.range(first..=last).for_each(|(_, other)| gathered.add(other, true));
        }
        self.sessions.clear();
        if let Some(first) = self.events.keys().next().copied() {
            self.arrange(first, gap, max);
        }
        gathered.refusal(plan, of, taken)
    }
}

fn is_large(taken: &Taken) -> bool {
    taken.values.iter().any(|value| match value {
        Some(Value::Number(number)) => *number > SMALL || number.neg() > SMALL,
        Some(Value::One | Value::Json(_) | Value::Text(_)) | None => false,
    })
}

/// Whether an event joins the session before it: less than `gap` after its last event and less
/// than `max` after its first.
fn joins(first: Rank, last: Rank, rank: Rank, gap: i64, max: i64) -> bool {
    rank.0.since(last.0) < i128::from(gap) && rank.0.since(first.0) < i128::from(max)
}
