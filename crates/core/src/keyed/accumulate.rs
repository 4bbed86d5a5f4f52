//! `accumulate`: the windows of each key, until they are released.
//!
//! A window is released once. Only the fact that it existed is kept: an event that would
//! change it is late. That is forgotten `grace` + `amendWithin` after its end, and whatever
//! comes then for a window so old is too late, whether there was one or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashSet;

use super::by_period::ByPeriod;
use super::gathered::{Gathered, Taken};
use super::keys::{Place as KeyPlace, hash_of};
use super::sessions::Sessions;
use super::texts::TextOrder;
use super::{AHEAD, Due, Flaw, Input, Keys, Rejudged, ReleaseExtent, Released, key_of};
use crate::event::Batch;
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Accumulate, LateInputs, LateInputsPolicy, Windows};
use crate::partition::Effects;
use crate::plan::Plan;
use crate::schedule::{Calendar, Period};
use crate::time::Timestamp;
use crate::verdict::{Reason, Verdict};

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
    /// The contribution of the event in work.
    taken: Taken,
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
    open: Keys<ByPeriod<Gathered>>,
    /// The windows that hold the event in work, the earliest first.
    around: Vec<Period>,
    /// Open windows, by their end and start: the keys that have one.
    due: BTreeMap<Span, Vec<KeyPlace>>,
    /// Released windows that are remembered, in the same way.
    released: BTreeMap<Span, HashSet<Box<[u8]>>>,
}

/// The end and the start of a window.
type Span = (Timestamp, Timestamp);

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
        Accumulated { ticked: Timestamp::MIN, seen: None, grace: of.late.grace, windows, taken: Taken::default() }
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
        for inputs in inputs.chunks(AHEAD) {
            if let Held::Fixed(fixed) = &self.windows {
                fixed.fetch(inputs);
            }
            for input in inputs {
                match self.take_one(plan, of, batch, input, at) {
                    Ok(is_late) => {
                        let (greatest, _) = self.seen.unwrap_or((input.at, at));
                        self.seen = Some((greatest.max(input.at), at));
                        effects.absorbed(input, is_late);
                    }
                    Err((reason, detail)) => effects.refused(input, reason, detail),
                }
            }
        }
    }

    /// Takes an event into its windows. Returns whether it was late.
    fn take_one(&mut self, plan: &Plan, of: &Accumulate, batch: &Batch, input: &Input, at: Timestamp) -> Result<bool, Flaw> {
        self.taken.read(plan, of, batch, input)?;
        let key = (input.hash, key_of(batch, input));
        match &mut self.windows {
            Held::Fixed(fixed) => fixed.take(plan, of, key, &mut self.taken, at, self.ticked),
            Held::Sessions(sessions) => sessions.take(plan, of, key, self.taken.clone(), self.ticked).map(|()| false),
        }
    }

    pub(super) fn release(&mut self, plan: &Plan, node: u16, of: &Accumulate, due: Due, effects: &mut impl Effects) {
        self.ticked = self.ticked.max(due.at);
        let until = match due.extent {
            ReleaseExtent::Due => due.until.saturating_sub(of.late.grace),
            ReleaseExtent::All | ReleaseExtent::Ended => Timestamp::MAX,
        };
        let is_cut = |window: &Period| due.extent == ReleaseExtent::Ended && (window.start..window.end).contains(&due.at);
        let mut give = |key: &[u8], window: Period, gathered: &Gathered| {
            let window = if is_cut(&window) { Period { end: due.at, ..window } } else { window };
            let json = gathered.derived(plan, node, of, key, window);
            let (start, end) = (window.start, window.end);
            effects.released(Released { end, key: key.into(), start, json, settles: gathered.settles });
        };
        match &mut self.windows {
            Held::Fixed(fixed) => fixed.release(until, &mut give),
            Held::Sessions(sessions) => sessions.release(of, until, &mut give),
        }
        let kept = of.late.grace.saturating_add(of.late.amend_within);
        let oldest = self.ticked.saturating_sub(kept);
        match &mut self.windows {
            Held::Fixed(fixed) => fixed.forget(oldest),
            Held::Sessions(sessions) => sessions.forget(oldest),
        }
    }

    /// Parks the events of its windows; those of a window are one item.
    pub(super) fn forget(&self, plan: &Plan, node: u16, of: &Accumulate, effects: &mut impl Effects) {
        let mut give_up = |key: &[u8], window: Period, gathered: &Gathered| {
            let Gathered { inputs, settles, .. } = gathered;
            let (start, end) = (window.start, window.end);
            let detail =
                format!("{inputs} events of the window from {start} to {end}, which a new version of the pipeline gave up");
            effects.rejudged(Rejudged {
                order: gathered.last_order(),
                verdict: Verdict::Parked(Reason::StateForgotten),
                detail,
                json: gathered.derived(plan, node, of, key, window),
                events: *settles,
                arrival: None,
            });
        };
        match &self.windows {
            Held::Fixed(fixed) => fixed.each(&mut give_up),
            Held::Sessions(sessions) => sessions.each(of, &mut give_up),
        }
    }

    /// When the first window ends, its grace included.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let first = match &self.windows {
            Held::Fixed(fixed) => fixed.due.first_key_value().map(|((end, _), _)| *end),
            Held::Sessions(sessions) => sessions.first_due().map(|(end, ..)| *end),
        };
        first.map(|end| end.saturating_add(self.grace))
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

    /// Reads it from an image whose windows keep the fields `kept`; fields that are kept no longer are
    /// left out, and windows lack those that were not kept before. Images of older programs do not name
    /// them.
    pub(super) fn read(plan: &Plan, of: &Accumulate, kept: Option<&[&str]>, glass: &mut Glass<'_>) -> Seen<Accumulated> {
        let path = |slot: &u16| plan.paths[usize::from(*slot)].as_str();
        let present: Vec<&str> = of.keep.iter().map(path).collect();
        let written = kept.unwrap_or(&present);
        let place = |path: &&str| written.iter().position(|known| known == path);
        let places = present.iter().map(place).collect();
        let keep = TextOrder { is_former: kept.is_none(), written: written.len(), places };
        let mut read = Accumulated::new(of);
        read.ticked = glass.time()?;
        if glass.byte()? != 0 {
            read.seen = Some((glass.time()?, glass.time()?));
        }
        match &mut read.windows {
            Held::Fixed(fixed) => fixed.read(of, &keep, glass)?,
            Held::Sessions(sessions) => sessions.read(of, &keep, glass)?,
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
    write_sorted(places.iter().map(|(end, key, start)| (*end, &**key, *start)).collect(), pen);
}

fn write_sorted(mut places: Vec<(Timestamp, &[u8], Timestamp)>, pen: &mut Pen) {
    places.sort_unstable();
    pen.count(places.len() as u64);
    for (end, key, start) in places {
        pen.time(end);
        pen.text(key);
        pen.time(start);
    }
}

pub(super) fn read_places(glass: &mut Glass<'_>) -> Seen<BTreeSet<Place>> {
    (0..glass.length()?).map(|_| Ok((glass.time()?, glass.text()?.into(), glass.time()?))).collect()
}

impl Fixed {
    fn new(calendar: Option<Calendar>) -> Fixed {
        let (due, released) = (BTreeMap::new(), BTreeMap::new());
        Fixed { calendar, open: Keys::default(), around: Vec::new(), due, released }
    }

    /// Brings the keys of some events near.
    fn fetch(&self, inputs: &[Input]) {
        let touch = |open: &ByPeriod<Gathered>| open.first().map_or(0, Gathered::touch);
        self.open.fetch(inputs.iter().map(|input| input.hash), touch);
    }

    /// Finds the windows that hold an instant.
    fn look_around(&mut self, windows: &Windows, at: Timestamp) {
        self.around.clear();
        match (windows, &mut self.calendar) {
            (Windows::Schedule(_), Some(calendar)) => self.around.push(calendar.period_at(at)),
            (Windows::Size { size, step, offset }, _) => {
                let (at, size, step) = (i128::from(at.nanos()), i128::from(*size), i128::from(*step));
                let offset = i128::from(*offset);
                let last = (at - offset).div_euclid(step) * step + offset;
                let instant = |nanos: i128| Timestamp::from_nanos(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64);
                let starts = (0..size / step).rev().map(|back| last - back * step).filter(|start| *start + size > at);
                self.around.extend(starts.map(|start| Period { start: instant(start), end: instant(start + size) }));
            }
            (Windows::Schedule(_) | Windows::Sessions { .. }, _) => {}
        }
    }

    /// The end of a window around the event in work that was released for its key.
    fn released_around(&self, key: &[u8]) -> Option<Timestamp> {
        let was_released = |window: &&Period| self.released.get(&span(window)).is_some_and(|keys| keys.contains(key));
        self.around.iter().find(was_released).map(|window| window.end)
    }

    /// Takes an event into its windows, all of them or none. Returns whether it was late.
    fn take(
        &mut self,
        plan: &Plan,
        of: &Accumulate,
        (hash, key): (u64, &[u8]),
        taken: &mut Taken,
        at: Timestamp,
        ticked: Timestamp,
    ) -> Result<bool, Flaw> {
        self.look_around(&of.windows, taken.rank.0);
        if let Some(flaw) = self.around.iter().find_map(|window| forgotten(&of.late, window.end, ticked)) {
            return Err(flaw);
        }
        let late = self.released_around(key);
        if let Some(end) = late {
            if of.late.policy != LateInputsPolicy::Carry {
                return Err(late_for(&of.late, end));
            }
            taken.rank.0 = at;
            self.look_around(&of.windows, at);
            if let Some(end) = self.released_around(key) {
                return Err((Reason::TooLate, format!("the window until {end}, of its receipt, is released too")));
            }
        }
        let (place, open) = self.open.get_or_insert_with(hash, key, ByPeriod::default);
        let refusal = |window| match open.get(window) {
            Some(gathered) => gathered.refusal(plan, of, taken),
            None => Gathered::new(of).refusal(plan, of, taken),
        };
        if let Some(flaw) = self.around.iter().find_map(refusal) {
            if open.is_empty() {
                self.open.remove_at(place);
            }
            return Err(flaw);
        }
        // The earliest window comes first.
        let last = self.around.len().saturating_sub(1);
        for (nth, window) in self.around.iter().enumerate() {
            let (gathered, is_new) = open.get_or_insert_with(*window, || Gathered::new(of));
            gathered.add(taken, nth == last);
            if is_new {
                self.due.entry(span(window)).or_default().push(place);
            }
        }
        Ok(late.is_some())
    }

    fn release(&mut self, until: Timestamp, give: &mut impl FnMut(&[u8], Period, &Gathered)) {
        while let Some(due) = self.due.first_entry().filter(|due| due.key().0 <= until) {
            let ((end, start), mut places) = due.remove_entry();
            let window = Period { start, end };
            let key_at = |place: &KeyPlace| self.open.at(*place).map(|(key, _)| key);
            places.sort_unstable_by(|one, other| key_at(one).cmp(&key_at(other)));
            let released = self.released.entry((end, start)).or_default();
            released.reserve(places.len());
            for place in places {
                let Some((key, open)) = self.open.at(place) else { continue };
                if let Some(gathered) = open.get(&window) {
                    give(key, window, gathered);
                }
                released.insert(key.into());
                if let Some(open) = self.open.at_mut(place) {
                    open.remove(&window);
                    if open.is_empty() {
                        self.open.remove_at(place);
                    }
                }
            }
        }
    }

    /// Visits the open windows of each key.
    fn each(&self, give: &mut impl FnMut(&[u8], Period, &Gathered)) {
        for (key, windows) in self.open.sorted() {
            windows.iter().for_each(|(window, gathered)| give(key, *window, gathered));
        }
    }

    /// Forgets released windows that ended before an instant.
    fn forget(&mut self, oldest: Timestamp) {
        while self.released.first_key_value().is_some_and(|((end, _), _)| *end < oldest) {
            self.released.pop_first();
        }
    }

    fn write_to(&self, pen: &mut Pen) {
        let mut released = Vec::new();
        for ((end, start), keys) in &self.released {
            released.extend(keys.iter().map(|key| (*end, &**key, *start)));
        }
        write_sorted(released, pen);
        pen.count(self.open.len() as u64);
        for (key, windows) in self.open.sorted() {
            pen.text(key);
            pen.count(windows.len() as u64);
            for (window, gathered) in windows.iter() {
                pen.time(window.start);
                pen.time(window.end);
                gathered.write_to(pen);
            }
        }
    }

    fn read(&mut self, of: &Accumulate, keep: &TextOrder, glass: &mut Glass<'_>) -> Seen<()> {
        for (end, key, start) in read_places(glass)? {
            self.released.entry((end, start)).or_default().insert(key);
        }
        for _ in 0..glass.length()? {
            let key = glass.text()?;
            let (place, open) = self.open.get_or_insert_with(hash_of(key), key, ByPeriod::default);
            for _ in 0..glass.length()? {
                let window = Period { start: glass.time()?, end: glass.time()? };
                let gathered = Gathered::read_image(of, keep, glass)?;
                self.due.entry(span(&window)).or_default().push(place);
                open.get_or_insert_with(window, || gathered);
            }
        }
        Ok(())
    }
}

/// The place of a window among those that end.
fn span(window: &Period) -> Span {
    (window.end, window.start)
}
