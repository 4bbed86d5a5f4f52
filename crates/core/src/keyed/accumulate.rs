//! `accumulate`: the windows of each key, until they are released.
//!
//! A window is released once. Only the fact that it existed is kept: an event that would
//! change it is late. That is forgotten `grace` + `amendWithin` after its end, and whatever
//! comes then for a window so old is too late, whether there was one or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gathered::{Gathered, Taken};
use super::sessions::Sessions;
use super::{Due, Flaw, Input, Keys, Released, key_of, sorted};
use crate::event::Batch;
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Accumulate, LateInputs, LateInputsPolicy, Windows};
use crate::partition::Effects;
use crate::plan::Plan;
use crate::schedule::{Calendar, Period};
use crate::time::Timestamp;
use crate::verdict::Reason;

/// A window of a key, in the order of release.
pub(super) type Place = (Timestamp, Box<[u8]>, Timestamp);

/// The windows of one operator.
#[derive(Debug)]
pub(crate) struct Accumulated {
    ticked: Timestamp,
    /// The greatest event time that was taken, and when the last event was received.
    seen: Option<(Timestamp, Timestamp)>,
    grace: i64,
    windows: Held,
}

#[derive(Debug)]
enum Held {
    Fixed(Fixed),
    Sessions(Sessions),
}

/// Windows whose place does not depend on events.
#[derive(Debug)]
struct Fixed {
    calendar: Option<Calendar>,
    open: Keys<BTreeMap<Period, Gathered>>,
    /// Windows that are open, and those that were released and are remembered.
    due: BTreeSet<Place>,
    released: BTreeSet<Place>,
}

/// Whether an event is late, and may come in nevertheless.
pub(super) fn late_for(late: &LateInputs, end: Timestamp) -> Flaw {
    let why = match late.policy {
        LateInputsPolicy::Park => "and the operator parks late events",
        LateInputsPolicy::Amend | LateInputsPolicy::Carry => "and derived events are not amended; send a correction instead",
    };
    (Reason::TooLate, format!("the window until {end} is released, {why}"))
}

/// Why an event is too late for a window that ended then, if it is.
pub(super) fn forgotten(late: &LateInputs, end: Timestamp, ticked: Timestamp) -> Option<Flaw> {
    let kept = i128::from(late.grace) + i128::from(late.amend_within);
    let is_forgotten = ticked != Timestamp::MIN && end != Timestamp::MAX && ticked.since(end) > kept;
    is_forgotten.then(|| (Reason::TooLate, format!("the window until {end} ended too long ago")))
}

impl Accumulated {
    pub(super) fn new(of: &Accumulate) -> Accumulated {
        let windows = match &of.windows {
            Windows::Sessions { gap, max } => Held::Sessions(Sessions::new(*gap, *max)),
            Windows::Size { .. } => Held::Fixed(Fixed::new(None)),
            Windows::Schedule(schedule) => Held::Fixed(Fixed::new(Some(Calendar::new(Arc::clone(schedule), of.zone.clone())))),
        };
        Accumulated { ticked: Timestamp::MIN, seen: None, grace: of.late.grace, windows }
    }

    pub(super) fn take(
        &mut self,
        plan: &Plan,
        of: &Accumulate,
        batch: &Batch,
        inputs: &[Input],
        at: Timestamp,
        effects: &mut impl Effects,
    ) {
        for input in inputs {
            let taken = Taken::read(plan, of, batch, input).and_then(|taken| match &mut self.windows {
                Held::Fixed(fixed) => fixed.take(plan, of, key_of(batch, input), taken, at, self.ticked),
                Held::Sessions(sessions) => sessions.take(plan, of, key_of(batch, input), taken, self.ticked).map(|()| false),
            });
            match taken {
                Ok(is_late) => {
                    let (greatest, _) = self.seen.unwrap_or((input.at, at));
                    self.seen = Some((greatest.max(input.at), at));
                    effects.absorbed(input, is_late);
                }
                Err((reason, detail)) => effects.refused(input, reason, detail),
            }
        }
    }

    pub(super) fn release(&mut self, plan: &Plan, node: u16, of: &Accumulate, due: Due, effects: &mut impl Effects) {
        self.ticked = self.ticked.max(due.at);
        let until = if due.everything { Timestamp::MAX } else { due.until.saturating_sub(of.late.grace) };
        let mut give = |key: &[u8], window: Period, gathered: &Gathered| {
            let json = gathered.derived(plan, node, of, key, window);
            let (start, end) = (window.start, window.end);
            effects.released(Released { end, key: key.into(), start, json, settles: gathered.inputs });
        };
        match &mut self.windows {
            Held::Fixed(fixed) => fixed.release(until, &mut give),
            Held::Sessions(sessions) => sessions.release(of, until, &mut give),
        }
        let kept = of.late.grace.saturating_add(of.late.amend_within);
        let oldest = self.ticked.saturating_sub(kept);
        match &mut self.windows {
            Held::Fixed(fixed) => forget(&mut fixed.released, oldest),
            Held::Sessions(sessions) => sessions.forget(oldest),
        }
    }

    /// When the first window ends, its grace included.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let first = match &self.windows {
            Held::Fixed(fixed) => fixed.due.first(),
            Held::Sessions(sessions) => sessions.first_due(),
        };
        first.map(|(end, ..)| end.saturating_add(self.grace))
    }

    pub(super) fn seen(&self) -> Option<(Timestamp, Timestamp)> {
        self.seen
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.windows {
            Held::Fixed(fixed) => fixed.due.is_empty() && fixed.released.is_empty(),
            Held::Sessions(sessions) => sessions.is_empty(),
        }
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.time(self.ticked);
        pen.byte(u8::from(self.seen.is_some()));
        if let Some((greatest, last)) = self.seen {
            pen.time(greatest);
            pen.time(last);
        }
        match &self.windows {
            Held::Fixed(fixed) => fixed.write_to(pen),
            Held::Sessions(sessions) => sessions.write_to(pen),
        }
    }

    pub(super) fn read(of: &Accumulate, glass: &mut Glass<'_>) -> Seen<Accumulated> {
        let mut read = Accumulated::new(of);
        read.ticked = glass.time()?;
        if glass.byte()? != 0 {
            read.seen = Some((glass.time()?, glass.time()?));
        }
        match &mut read.windows {
            Held::Fixed(fixed) => fixed.read(of, glass)?,
            Held::Sessions(sessions) => sessions.read(of, glass)?,
        }
        Ok(read)
    }
}

/// Forgets released windows that ended before an instant.
pub(super) fn forget(released: &mut BTreeSet<Place>, oldest: Timestamp) {
    while released.first().is_some_and(|(end, ..)| *end < oldest) {
        released.pop_first();
    }
}

pub(super) fn write_places(places: &BTreeSet<Place>, pen: &mut Pen) {
    pen.count(places.len() as u64);
    for (end, key, start) in places {
        pen.time(*end);
        pen.text(key);
        pen.time(*start);
    }
}

pub(super) fn read_places(glass: &mut Glass<'_>) -> Seen<BTreeSet<Place>> {
    (0..glass.length()?).map(|_| Ok((glass.time()?, glass.text()?.into(), glass.time()?))).collect()
}

impl Fixed {
    fn new(calendar: Option<Calendar>) -> Fixed {
        Fixed { calendar, open: Keys::default(), due: BTreeSet::new(), released: BTreeSet::new() }
    }

    /// The windows that hold an instant, the earliest first.
    fn windows_at(&mut self, windows: &Windows, at: Timestamp) -> Vec<Period> {
        match (windows, &mut self.calendar) {
            (Windows::Schedule(_), Some(calendar)) => vec![calendar.period_at(at)],
            (Windows::Size { size, step, offset }, _) => {
                let (at, size, step) = (i128::from(at.nanos()), i128::from(*size), i128::from(*step));
                let offset = i128::from(*offset);
                let last = (at - offset).div_euclid(step) * step + offset;
                let instant = |nanos: i128| Timestamp::from_nanos(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64);
                let starts = (0..size / step).rev().map(|back| last - back * step).filter(|start| *start + size > at);
                starts.map(|start| Period { start: instant(start), end: instant(start + size) }).collect()
            }
            (Windows::Schedule(_) | Windows::Sessions { .. }, _) => Vec::new(),
        }
    }

    /// Takes an event into its windows, all of them or none. Whether it was late.
    fn take(
        &mut self,
        plan: &Plan,
        of: &Accumulate,
        key: &[u8],
        mut taken: Taken,
        at: Timestamp,
        ticked: Timestamp,
    ) -> Result<bool, Flaw> {
        let mut windows = self.windows_at(&of.windows, taken.rank.0);
        if let Some(flaw) = windows.iter().find_map(|window| forgotten(&of.late, window.end, ticked)) {
            return Err(flaw);
        }
        let released = |fixed: &Fixed, windows: &[Period]| {
            let was_released = |window: &&Period| fixed.released.contains(&(window.end, key.into(), window.start));
            windows.iter().find(was_released).map(|window| window.end)
        };
        let late = released(self, &windows);
        if let Some(end) = late {
            if of.late.policy != LateInputsPolicy::Carry {
                return Err(late_for(&of.late, end));
            }
            taken.rank.0 = at;
            windows = self.windows_at(&of.windows, at);
            if let Some(end) = released(self, &windows) {
                return Err((Reason::TooLate, format!("the window until {end}, of its receipt, is released too")));
            }
        }
        if !self.open.contains_key(key) {
            self.open.insert(key.into(), BTreeMap::new());
        }
        let Some(open) = self.open.get_mut(key) else { return Ok(false) };
        let empty = Gathered::new(of);
        let refusal = |window| open.get(window).unwrap_or(&empty).refusal(plan, of, &taken);
        if let Some(flaw) = windows.iter().find_map(refusal) {
            if open.is_empty() {
                self.open.remove(key);
            }
            return Err(flaw);
        }
        for window in windows {
            let gathered = open.entry(window).or_insert_with(|| {
                self.due.insert((window.end, key.into(), window.start));
                Gathered::new(of)
            });
            gathered.add(&taken);
        }
        Ok(late.is_some())
    }

    fn release(&mut self, until: Timestamp, give: &mut impl FnMut(&[u8], Period, &Gathered)) {
        while let Some(place) = self.due.pop_first() {
            let (end, key, start) = &place;
            if *end > until {
                self.due.insert(place);
                return;
            }
            if let Some(open) = self.open.get_mut(key) {
                let window = Period { start: *start, end: *end };
                if let Some(gathered) = open.remove(&window) {
                    give(key, window, &gathered);
                }
                if open.is_empty() {
                    self.open.remove(key);
                }
            }
            self.released.insert(place);
        }
    }

    fn write_to(&self, pen: &mut Pen) {
        write_places(&self.released, pen);
        pen.count(self.open.len() as u64);
        for (key, windows) in sorted(&self.open) {
            pen.text(key);
            pen.count(windows.len() as u64);
            for (window, gathered) in windows {
                pen.time(window.start);
                pen.time(window.end);
                gathered.write_to(pen);
            }
        }
    }

    fn read(&mut self, of: &Accumulate, glass: &mut Glass<'_>) -> Seen<()> {
        self.released = read_places(glass)?;
        for _ in 0..glass.length()? {
            let key: Box<[u8]> = glass.text()?.into();
            let mut windows = BTreeMap::new();
            for _ in 0..glass.length()? {
                let window = Period { start: glass.time()?, end: glass.time()? };
                self.due.insert((window.end, key.clone(), window.start));
                windows.insert(window, Gathered::read_image(of, glass)?);
            }
            self.open.insert(key, windows);
        }
        Ok(())
    }
}
