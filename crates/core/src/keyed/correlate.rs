//! `correlate`: the starts and stops of each key, until their pairs are released.
//!
//! Pairs are sorted out again when an event comes and at every tick ([`super::pairs`]). A pair
//! that is released stays as it is: an event that would change it is too late. That it was there
//! is forgotten `amendWithin` after its end; an event older than that is too late in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fold::{Rank, read_rank, write_rank};
use super::keys::hash_of;
use super::made::{formatted, quoted, stamp_text, stretch};
use super::pairs::{Part, sort_out};
use super::segment::{length, value_at};
use super::{Due, Flaw, Input, Keys, Rejudged, ReleaseExtent, Released, key_of};
use crate::event::Batch;
use crate::event::json::{Document, Tree};
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Correlate, OnTimeout, Repeat};
use crate::partition::Effects;
use crate::plan::Plan;
use crate::schedule::Calendar;
use crate::time::Timestamp;
use crate::verdict::{Reason, Verdict};

/// Where a pair that was closed by its timeout ends, among the ranks of that instant.
const CLOSED: (u64, u32) = (u64::MAX, u32::MAX);

/// The pairs of one operator.
#[derive(Debug)]
pub(crate) struct Correlated {
    ticked: Timestamp,
    keys: Keys<Held>,
    /// The earliest instant at which something of a key is due.
    due: BTreeSet<(Timestamp, Box<[u8]>)>,
    calendar: Option<Calendar>,
}

/// The state of a key.
#[derive(Debug, Default)]
struct Held {
    /// The starts and stops of the key.
    events: BTreeMap<Rank, Event>,
    /// By open start: how many segments were released, and where the last one ended.
    cut: BTreeMap<Rank, (u32, Timestamp)>,
    /// By start: the stop of each released pair that is remembered.
    released: BTreeMap<Rank, Rank>,
    /// When the key is due.
    due: Option<Timestamp>,
}

/// A start or a stop of the key.
#[derive(Debug)]
struct Event {
    is_stop: bool,
    /// The event, as JSON.
    json: Vec<u8>,
    /// Its number among the received events; none for a derived one.
    arrival: Option<u64>,
}

/// A stretch of a pair that is released.
struct Segment<'h> {
    start: Timestamp,
    end: Timestamp,
    index: u32,
    is_last: bool,
    stop: Option<&'h [u8]>,
}

impl Correlated {
    pub(super) fn new(of: &Correlate) -> Correlated {
        let calendar = of.cut.as_ref().map(|cut| Calendar::new(Arc::clone(&cut.schedule), cut.zone.clone()));
        Correlated { ticked: Timestamp::MIN, keys: Keys::default(), due: BTreeSet::new(), calendar }
    }

    pub(super) fn take(&mut self, of: &Correlate, batch: &Batch, inputs: &[Input], effects: &mut impl Effects) {
        for input in inputs {
            let key = key_of(batch, input);
            match self.admit(of, key, input) {
                Ok(Verdict::Duplicate) => effects.repeated(input),
                Ok(_) => {
                    let json = batch.resolve(input.json).bytes.to_vec();
                    let (_, held) = self.keys.get_or_insert_with(input.hash, key, Held::default);
                    let event = Event { is_stop: input.is_stop, json, arrival: input.arrival };
                    held.events.insert((input.at, input.order), event);
                    self.schedule(of, input.hash, key);
                    effects.absorbed(input, false);
                }
                Err((reason, detail)) => effects.refused(input, reason, detail),
            }
        }
    }

    /// Whether an event is admitted: absorbed, or reported as a repetition.
    fn admit(&self, of: &Correlate, key: &[u8], input: &Input) -> Result<Verdict, Flaw> {
        let held = self.keys.get(input.hash, key);
        let rank = (input.at, input.order);
        let is_old = self.ticked != Timestamp::MIN && self.ticked.since(input.at) > i128::from(of.amend_within);
        // No pair was released behind a start that is open for so long.
        if is_old && !(input.is_stop && held.is_some_and(|held| held.is_open_at(rank, of.repeat))) {
            return Err((Reason::TooLate, format!("{} is more than `amendWithin` before the last tick", input.at)));
        }
        let Some(held) = held else { return Ok(Verdict::Absorbed) };
        if held.events.len() >= of.events_max {
            let why = format!("the key holds {} events; `eventsMax` allows no more", held.events.len());
            return Err((Reason::StateFull, why));
        }
        held.admit(of, rank, input.is_stop)
    }

    /// Notes when a key is due next.
    fn schedule(&mut self, of: &Correlate, hash: u64, key: &[u8]) {
        let Some(held) = self.keys.get_mut(hash, key) else { return };
        let due = held.next_due(of, &mut self.calendar);
        if let Some(before) = std::mem::replace(&mut held.due, due) {
            self.due.remove(&(before, key.into()));
        }
        if let Some(due) = due {
            self.due.insert((due, key.into()));
        }
    }

    pub(super) fn release(&mut self, plan: &Plan, node: u16, of: &Correlate, due: Due, effects: &mut impl Effects) {
        self.ticked = self.ticked.max(due.at);
        let oldest = self.ticked.saturating_sub(of.amend_within);
        let keys: Vec<Box<[u8]>> = match due.extent {
            ReleaseExtent::All | ReleaseExtent::Ended => self.keys.sorted().into_iter().map(|(key, _)| key.into()).collect(),
            ReleaseExtent::Due => self.due.iter().take_while(|(at, _)| *at <= due.at).map(|(_, key)| key.clone()).collect(),
        };
        for key in keys {
            let hash = hash_of(&key);
            if let Some(held) = self.keys.get_mut(hash, &key) {
                let mut release = Release { plan, node, of, due, key: &key, calendar: &mut self.calendar };
                held.release(&mut release, effects);
                held.released.retain(|_, stop| stop.0 >= oldest);
            }
            self.schedule(of, hash, &key);
            if self.keys.get(hash, &key).is_some_and(Held::is_empty) {
                self.keys.remove(hash, &key);
            }
        }
    }

    /// Parks the events that it holds.
    pub(super) fn forget(&self, effects: &mut impl Effects) {
        for (_, held) in self.keys.sorted() {
            for (rank, Event { is_stop, json, arrival }) in &held.events {
                let what = if *is_stop { "stop" } else { "start" };
                let detail = format!("the {what} at {}, which a new version of the pipeline gave up", rank.0);
                let verdict = Verdict::Parked(Reason::StateForgotten);
                let (json, arrival) = (json.clone(), *arrival);
                effects.rejudged(Rejudged { order: rank.1, verdict, detail, json, events: 1, arrival });
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.time(self.ticked);
        pen.count(self.keys.len() as u64);
        for (key, held) in self.keys.sorted() {
            pen.text(key);
            pen.count(held.events.len() as u64);
            for (rank, Event { is_stop, json, arrival }) in &held.events {
                write_rank(*rank, pen);
                pen.byte(u8::from(*is_stop));
                pen.text(json);
                pen.count(arrival.map_or(0, |arrival| arrival + 1));
            }
            pen.count(held.cut.len() as u64);
            for (rank, (index, end)) in &held.cut {
                write_rank(*rank, pen);
                pen.count((*index).into());
                pen.time(*end);
            }
            pen.count(held.released.len() as u64);
            for (start, stop) in &held.released {
                write_rank(*start, pen);
                write_rank(*stop, pen);
            }
        }
    }

    pub(super) fn read(of: &Correlate, glass: &mut Glass<'_>, is_former: bool) -> Seen<Correlated> {
        let mut read = Correlated::new(of);
        read.ticked = glass.time()?;
        for _ in 0..glass.length()? {
            let key = glass.text()?;
            let mut held = Held::default();
            for _ in 0..glass.length()? {
                let (rank, is_stop, json) = (read_rank(glass)?, glass.byte()? != 0, glass.text()?.to_vec());
                let arrival = if is_former { None } else { glass.count()?.checked_sub(1) };
                held.events.insert(rank, Event { is_stop, json, arrival });
            }
            for _ in 0..glass.length()? {
                held.cut.insert(read_rank(glass)?, (glass.count()? as u32, glass.time()?));
            }
            for _ in 0..glass.length()? {
                held.released.insert(read_rank(glass)?, read_rank(glass)?);
            }
            read.keys.insert(key, held);
            read.schedule(of, hash_of(key), key);
        }
        Ok(read)
    }
}

/// The context in which a key is released.
struct Release<'r> {
    plan: &'r Plan,
    node: u16,
    of: &'r Correlate,
    due: Due,
    key: &'r [u8],
    calendar: &'r mut Option<Calendar>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.released.is_empty()
    }

    fn parts(&self, repeat: Repeat) -> Vec<Part> {
        sort_out(self.events.iter().map(|(rank, event)| (*rank, event.is_stop)), repeat)
    }

    /// Whether an event may come in beside what was released already.
    fn admit(&self, of: &Correlate, rank: Rank, is_stop: bool) -> Result<Verdict, Flaw> {
        let late = |what: String| Err((Reason::TooLate, what));
        let around = self.released.range(..rank).next_back().filter(|(_, stop)| rank < **stop);
        if let Some((start, stop)) = around {
            return match is_stop || of.repeat == Repeat::Last {
                false => Ok(Verdict::Duplicate),
                true => late(format!("the pair from {} to {} is released", start.0, stop.0)),
            };
        }
        for (start, (_, end)) in &self.cut {
            let changes = if is_stop { *start < rank && rank.0 <= *end } else { rank < *start || of.repeat == Repeat::Last };
            if changes && (is_stop || !self.has_stop_between(rank, *start)) {
                return late(format!("the pair from {} is released up to {end}", start.0));
            }
        }
        Ok(Verdict::Absorbed)
    }

    /// Whether a start is open at a place.
    fn is_open_at(&self, rank: Rank, repeat: Repeat) -> bool {
        self.parts(repeat).iter().any(|part| match part {
            Part::Open(start) => *start < rank,
            Part::Pair(start, stop) => *start < rank && rank < *stop,
            Part::Within(..) | Part::Replaced(_) | Part::Lone(_) => false,
        })
    }

    /// The start of the first released pair behind a start, if there is one.
    fn released_behind(&self, start: Rank) -> Option<Rank> {
        self.released.range(start..).next().map(|(released, _)| *released)
    }

    /// A start before a released pair whose stop came behind it, or did not come in time: the start of the
    /// released pair would be within its own. Each with when that is known, and that other start.
    fn overtaken(&self, parts: &[Part], of: &Correlate) -> Vec<(Rank, Timestamp, Rank)> {
        let overtaken = |part: &Part| match part {
            // Its stop may still come, before the released pair, which must not be forgotten meanwhile.
            Part::Open(start) => Some((
                *start,
                start.0.saturating_add(of.timeout.unwrap_or(0).min(of.amend_within)),
                self.released_behind(*start)?,
            )),
            Part::Pair(start, stop) => Some((*start, start.0, self.released_behind(*start).filter(|released| released < stop)?)),
            Part::Within(..) | Part::Replaced(_) | Part::Lone(_) => None,
        };
        parts.iter().filter_map(overtaken).collect()
    }

    fn has_stop_between(&self, from: Rank, to: Rank) -> bool {
        from < to && self.events.range(from..to).any(|(_, event)| event.is_stop)
    }

    /// The first boundary at which a pair is cut that was released up to an instant.
    fn boundary(calendar: &mut Option<Calendar>, from: Timestamp) -> Option<Timestamp> {
        let end = calendar.as_mut()?.period_at(from).end;
        (end != Timestamp::MAX).then_some(end)
    }

    /// When something is due next.
    fn next_due(&self, of: &Correlate, calendar: &mut Option<Calendar>) -> Option<Timestamp> {
        let cut_at = |calendar: &mut Option<Calendar>, start: &Rank| {
            let from = self.cut.get(start).map_or(start.0, |(_, end)| *end);
            Held::boundary(calendar, from)
        };
        let timeout = |start: &Rank| of.timeout.map(|timeout| start.0.saturating_add(timeout));
        let parts = self.parts(of.repeat);
        let mut due: Vec<Timestamp> = self.overtaken(&parts, of).iter().map(|(_, known_at, _)| *known_at).collect();
        for part in parts {
            match part {
                Part::Pair(start, stop) => {
                    let boundary = cut_at(calendar, &start).map_or(stop.0, |boundary| boundary.min(stop.0));
                    due.push(boundary.saturating_add(of.grace));
                }
                Part::Open(start) if self.released_behind(start).is_some() => {}
                Part::Open(start) => {
                    due.extend(cut_at(calendar, &start).map(|boundary| boundary.saturating_add(of.grace)));
                    let closes = if of.on_timeout == OnTimeout::Close { of.grace } else { 0 };
                    due.extend(timeout(&start).map(|at| at.saturating_add(closes)));
                }
                Part::Replaced(start) => due.extend(timeout(&start)),
                Part::Lone(stop) => due.push(stop.0.saturating_add(of.wait)),
                Part::Within(..) => {}
            }
        }
        due.extend(self.released.values().map(|stop| stop.0.saturating_add(of.amend_within).saturating_add(1)).min());
        due.into_iter().min()
    }

    /// Releases what is due, and parks what has waited too long.
    fn release(&mut self, release: &mut Release<'_>, effects: &mut impl Effects) {
        self.release_once(release, effects);
        // A start behind the end of a pair that was closed without a stop is no longer within it.
        while release.due.extent == ReleaseExtent::Ended && !self.events.is_empty() {
            self.release_once(release, effects);
        }
    }

    fn release_once(&mut self, release: &mut Release<'_>, effects: &mut impl Effects) {
        let (of, Due { at, extent, .. }) = (release.of, release.due);
        let is_ending = extent == ReleaseExtent::Ended;
        let is_due = |instant: Timestamp, wait: i64| extent != ReleaseExtent::Due || instant.saturating_add(wait) <= at;
        let mut parts = self.parts(of.repeat);
        loop {
            let mut overtaken = self.overtaken(&parts, of);
            overtaken.retain(|(_, known_at, _)| *known_at <= at || is_ending);
            if overtaken.is_empty() {
                break;
            }
            for (start, _, released) in overtaken {
                match of.repeat {
                    Repeat::First => {
                        let detail = format!("the pair from {} is released", released.0);
                        self.rejudge(start, Reason::TooLate, detail, effects);
                    }
                    Repeat::Last => self.park(start, Reason::NoStop, effects),
                }
            }
            parts = self.parts(of.repeat);
        }
        let mut last_released: Option<Rank> = None;
        for part in &parts {
            match *part {
                Part::Pair(start, stop) => {
                    let is_over = is_due(stop.0, of.grace);
                    self.cut_up(release, start, Some(stop), is_over, effects);
                    if is_over {
                        self.settle(start, stop, &parts, effects);
                        last_released = Some(start);
                    }
                }
                Part::Open(start) if self.released_behind(start).is_some() => {}
                Part::Open(start) => {
                    // A pair that its timeout will close is not cut behind that instant.
                    let closes = of.timeout.filter(|_| of.on_timeout == OnTimeout::Close);
                    let closed_by = closes.map(|timeout| (start.0.saturating_add(timeout), CLOSED));
                    self.cut_up(release, start, closed_by, false, effects);
                    let timeout = of.timeout.map(|timeout| start.0.saturating_add(timeout));
                    let closed_at = match (timeout, of.on_timeout) {
                        (Some(end), OnTimeout::Park) if end <= at => {
                            self.park(start, Reason::NoStop, effects);
                            continue;
                        }
                        (Some(end), OnTimeout::Close) if end.saturating_add(of.grace) <= at => Some(end),
                        (Some(end), OnTimeout::Close) if is_ending => Some(end.min(at.max(start.0))),
                        (Some(_), OnTimeout::Park) | (None, _) if is_ending => Some(at.max(start.0)),
                        (Some(_), OnTimeout::Park | OnTimeout::Close) | (None, _) => None,
                    };
                    if let Some(end) = closed_at {
                        self.cut_up(release, start, Some((end, CLOSED)), true, effects);
                        self.settle(start, (end, CLOSED), &parts, effects);
                    }
                }
                Part::Lone(stop) if is_ending || stop.0.saturating_add(of.wait) <= at => {
                    self.park(stop, Reason::NoStart, effects);
                }
                Part::Replaced(_) | Part::Within(..) | Part::Lone(_) => {}
            }
        }
        for part in parts {
            if let Part::Replaced(start) = part {
                let is_over = of.timeout.is_some_and(|timeout| start.0.saturating_add(timeout) <= at);
                if is_over || is_ending || last_released.is_some_and(|released| start < released) {
                    self.park(start, Reason::NoStop, effects);
                }
            }
        }
    }

    fn park(&mut self, rank: Rank, reason: Reason, effects: &mut impl Effects) {
        let is_stop = self.events.get(&rank).is_some_and(|event| event.is_stop);
        let what = if is_stop { "no start came in time for the stop" } else { "no stop came in time for the start" };
        self.rejudge(rank, reason, format!("{what} at {}", rank.0), effects);
    }

    /// Parks an event that was absorbed.
    fn rejudge(&mut self, rank: Rank, reason: Reason, detail: String, effects: &mut impl Effects) {
        self.cut.remove(&rank);
        if let Some(Event { json, arrival, .. }) = self.events.remove(&rank) {
            let verdict = Verdict::Parked(reason);
            effects.rejudged(Rejudged { order: rank.1, verdict, detail, json, events: 1, arrival });
        }
    }

    /// A pair was released to its end: starts within it are repetitions.
    fn settle(&mut self, start: Rank, stop: Rank, parts: &[Part], effects: &mut impl Effects) {
        for part in parts {
            if let Part::Within(inner, of) = *part
                && of == start
                && inner < stop
                && let Some(Event { json, arrival, .. }) = self.events.remove(&inner)
            {
                let detail = format!("a start within the pair from {}", start.0);
                let verdict = Verdict::Duplicate;
                effects.rejudged(Rejudged { order: inner.1, verdict, detail, json, events: 1, arrival });
            }
        }
        self.events.remove(&start);
        self.events.remove(&stop);
        self.cut.remove(&start);
        self.released.insert(start, stop);
    }

    /// Releases the segments of a pair that are due.
    fn cut_up(&mut self, release: &mut Release<'_>, start: Rank, stop: Option<Rank>, is_over: bool, effects: &mut impl Effects) {
        let Release { of, due, .. } = *release;
        let (mut index, mut from) = self.cut.get(&start).copied().unwrap_or((0, start.0));
        while let Some(boundary) = Held::boundary(release.calendar, from) {
            let is_within = stop.is_none_or(|stop| boundary < stop.0);
            if !is_within || !(is_over || boundary.saturating_add(of.grace) <= due.at) {
                break;
            }
            let segment = Segment { start: from, end: boundary, index, is_last: false, stop: None };
            self.give(release, start, &segment, 0, effects);
            (index, from) = (index + 1, boundary);
            self.cut.insert(start, (index, from));
        }
        let Some(stop) = stop.filter(|_| is_over) else { return };
        let json = self.events.get(&stop).map(|event| event.json.clone());
        let settles = 1 + u64::from(json.is_some());
        let segment = Segment { start: from, end: stop.0, index, is_last: true, stop: json.as_deref() };
        self.give(release, start, &segment, settles, effects);
    }

    /// Makes a segment's derived event: the start event with what the segment says.
    fn give(&self, release: &Release<'_>, start: Rank, segment: &Segment<'_>, settles: u64, effects: &mut impl Effects) {
        let Release { plan, node, of, key, .. } = release;
        let Some(event) = self.events.get(&start) else { return };
        let mut tree = Tree::Raw(event.json.clone());
        let mut set = |slot: u16, json: &[u8]| tree.set(plan.paths[usize::from(slot)].names(), Some(json));
        set(of.duration, length(segment.start, segment.end, of.unit).to_string().as_bytes());
        let stop = segment.stop.map(|json| Document::new(json.to_vec()));
        for &slot in &of.stop_fields {
            let names = plan.paths[usize::from(slot)].names();
            let value = stop.as_ref().and_then(|stop| value_at(stop, names));
            set(slot, value.as_deref().unwrap_or(b"null"));
        }
        for &slot in of.time.slots.first().iter().copied() {
            set(slot, &formatted(segment.start, &of.time.format));
        }
        let is_elsewhere = of.time.slots.first().is_none_or(|slot| plan.paths[usize::from(*slot)].as_str() != "time");
        let operator = plan.nodes[usize::from(*node)].id.as_str();
        let mut name = |name: &str, json: &[u8]| tree.set(&[name.into()], Some(json));
        let id = format!("{operator}/{}/{}", stamp_text(segment.start), String::from_utf8_lossy(key));
        name("id", &quoted(&id));
        name("source", &quoted(&format!("{}/{operator}", plan.name)));
        if is_elsewhere {
            name("time", &quoted(&stamp_text(segment.start)));
        }
        let more = format!(r#","index":{},"last":{}"#, segment.index, segment.is_last);
        name("segment", &stretch(segment.start, segment.end, &more));
        name("inputs", if segment.stop.is_some() { b"2" } else { b"1" });
        let mut json = Vec::new();
        tree.write_to(&mut json);
        effects.released(Released { end: segment.end, key: (*key).into(), start: segment.start, json, settles });
    }
}
