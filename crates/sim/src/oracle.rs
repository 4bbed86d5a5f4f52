//! The expected outcomes of a log, computed naively: maps, sets and lists, every event by itself,
//! every value added up again from its events on each query. It shares three things with the
//! product: decimals, the format of instants and the boundaries of schedules.

mod meter;
mod periods;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::decimal::Decimal;
use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::Period;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Tally, Verdict};
use flowmeter_engine::live::{How, Letter, LogCommand, MeterName};
use serde_json::Value;

use meter::{Held, Meter};
pub use record::is_simple;
use record::{line, value_of};

use crate::documents::{DOCUMENTS, Document, HOUR, SECOND, Sort, WINDOW, at, kind_of, plan_of};

/// How far ahead of the clock events may be.
const TOLERANCE: i64 = 300 * SECOND;
/// How long a correction waits for others.
const SETTLE: i64 = 2 * SECOND;

/// The expected outcomes of a pipeline up to an entry of the log.
pub struct Oracle {
    document: &'static Document,
    number: usize,
    plan: Arc<Plan>,
    version: u32,
    /// Periods that ended before can never be amended again.
    amendable_from: i64,
    /// Position of the next entry.
    pub position: u64,
    clock: i64,
    /// By source and id, the event times of events that used the identity.
    known: BTreeMap<(String, String), Vec<i64>>,
    /// By source and id, the event times and arrivals of parked events that wait with it.
    waiting: BTreeMap<(String, String), Vec<(i64, u64)>>,
    meters: BTreeMap<(String, usize), Meter>,
    /// The verdict of every event.
    pub verdicts: Vec<Verdict>,
    /// Arrival, reason and text.
    pub parked: Vec<(u64, Reason, Vec<u8>)>,
    /// Parked events that left the queue: the event, the way, and the event counted in its place.
    pub settled: Vec<(u64, How, Option<u64>)>,
    /// Expected records in the oracle's own form, and how often.
    pub records: BTreeMap<String, u32>,
}

/// `amendWithin` of documents without it.
const UNLESS_SAID: i64 = 62 * 24 * HOUR;

struct Event {
    at: i64,
    user: String,
    second: bool,
    value: Value,
    region: String,
}

impl Oracle {
    /// Returns the oracle of a pipeline that begins with an entry at an instant.
    pub fn new(number: usize, position: u64, clock: i64) -> Result<Oracle, String> {
        let plan = plan_of(number, 1).map_err(|why| why.to_string())?;
        Ok(Oracle {
            document: &DOCUMENTS[number],
            number,
            plan,
            version: 1,
            amendable_from: i64::MIN,
            position,
            clock,
            known: BTreeMap::new(),
            waiting: BTreeMap::new(),
            meters: BTreeMap::new(),
            verdicts: Vec::new(),
            parked: Vec::new(),
            settled: Vec::new(),
            records: BTreeMap::new(),
        })
    }

    /// Applies an entry of events.
    pub fn events(&mut self, received_at: i64, bytes: &[u8], namespace: &str) -> Result<(), String> {
        self.position += 1;
        self.clock = self.clock.max(received_at);
        let letter = Letter::read(bytes).map_err(|why| why.to_string())?;
        if !letter.pipeline.map_or(letter.namespace == namespace, |pipeline| pipeline == self.plan.id) {
            return Ok(());
        }
        if let Some(settles) = letter.settles {
            let by = (!letter.lines.is_empty()).then_some(self.verdicts.len() as u64);
            if !self.settle(settles.arrival, settles.how, by) {
                return Ok(());
            }
        }
        for line in letter.lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let verdict = self.judge(line, letter.again);
            if let Verdict::Parked(reason) = verdict {
                self.parked.push((self.verdicts.len() as u64, reason, line.to_vec()));
            }
            self.verdicts.push(verdict);
        }
        Ok(())
    }

    /// Settles a parked event, only once. Returns whether it did.
    fn settle(&mut self, arrival: u64, how: How, by: Option<u64>) -> bool {
        let is_first = !self.settled.iter().any(|(known, ..)| *known == arrival);
        if is_first {
            self.settled.push((arrival, how, by));
        }
        is_first
    }

    fn judge(&mut self, line: &[u8], again: bool) -> Verdict {
        let Ok(event @ Value::Object(_)) = serde_json::from_slice::<Value>(line) else {
            return Verdict::Parked(Reason::Unreadable);
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&event["data"]["kind"]).unwrap_or_default();
        if kind == Document::drops(self.version) {
            return Verdict::Filtered;
        }
        let written = text(&event["time"]);
        let event_at = match &written {
            None => Some(self.clock),
            Some(written) => Timestamp::parse_rfc3339(written.as_bytes()).map(Timestamp::nanos),
        };
        let identity = (text(&event["source"]).unwrap_or_default(), text(&event["id"]).unwrap_or_default());
        let seen_at = event_at.unwrap_or(self.clock);
        let is_near = |known: i64| known.abs_diff(seen_at) < WINDOW.unsigned_abs();
        let spent = self.known.entry(identity.clone()).or_default();
        let is_spent = spent.iter().any(|known| is_near(*known));
        if is_spent && !again {
            return Verdict::Duplicate;
        }
        let verdict = self.judge_content(&event, event_at, &kind);
        if is_spent {
            return verdict;
        }
        let arrival = self.verdicts.len() as u64;
        let waiting = self.waiting.entry(identity.clone()).or_default();
        if let Verdict::Parked(_) = verdict {
            waiting.push((seen_at, arrival));
            return verdict;
        }
        let superseded: Vec<_> = waiting.extract_if(.., |(known, _)| is_near(*known)).collect();
        self.known.entry(identity).or_default().push(seen_at);
        for (_, parked) in superseded {
            self.settle(parked, How::Superseded, Some(arrival));
        }
        verdict
    }

    fn judge_content(&mut self, event: &Value, event_at: Option<i64>, kind: &str) -> Verdict {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let Some(event_at) = event_at else { return Verdict::Parked(Reason::BadTime) };
        if event_at > self.clock + TOLERANCE {
            return Verdict::Parked(Reason::InFuture);
        }
        let Some(user) = text(&event["subject"]) else { return Verdict::Parked(Reason::NoUser) };
        let region = text(&event["data"]["region"]).unwrap_or_default();
        let value = event["data"]["n"].clone();
        self.count(&Event { at: event_at, user, second: kind != "use", value, region })
    }

    /// Returns whether a period ended too long ago for events received now.
    fn is_forgotten(&self, period: Period) -> bool {
        let (document, end) = (self.document, period.end.nanos());
        let within = match document.policy {
            "amend" => document.amend_within[kind_of(self.version)],
            _ => UNLESS_SAID,
        };
        period.end != Timestamp::MAX && self.clock - end - document.grace > within
    }

    fn count(&mut self, event: &Event) -> Verdict {
        let document = self.document;
        let mut targets = Vec::new();
        for (number, sort) in document.sorts.iter().enumerate().filter(|(_, sort)| sort.second == event.second) {
            let key = (event.user.clone(), number);
            let mut period = match self.meters.get(&key) {
                None => self.boundaries(number, self.version, event.at),
                Some(meter) => {
                    let flushed = meter.flushed_at(event.at).is_some();
                    if !flushed && !meter.gone && meter.declared.is_some_and(|declared| event.at < declared) {
                        continue;
                    }
                    self.period(meter, number, event.at)
                }
            };
            let flushed = self.meters.get(&key).is_some_and(|meter| meter.flushed.contains_key(&period.start.nanos()));
            let (end, within) = (period.end.nanos(), document.amend_within[kind_of(self.version)]);
            if self.is_forgotten(period) {
                return Verdict::Parked(Reason::TooLate);
            }
            if let Some(meter) = self.meters.get(&key).filter(|_| flushed) {
                match document.policy {
                    "carry" => period = self.period(meter, number, self.clock),
                    "amend" if self.clock - end <= within && end >= self.amendable_from => {}
                    _ => return Verdict::Parked(Reason::TooLate),
                }
            }
            targets.push((number, sort, period));
        }
        if targets.is_empty() {
            return Verdict::Parked(Reason::BeforeActive);
        }
        let needed = targets.iter().any(|(_, sort, _)| sort.aggregation != "count");
        let numeric = targets.iter().any(|(_, sort, _)| !matches!(sort.aggregation, "unique" | "count"));
        let number = match &event.value {
            _ if !needed => Decimal::ZERO,
            Value::Null => return Verdict::Parked(Reason::NoValue),
            Value::Array(_) | Value::Object(_) => return Verdict::Parked(Reason::BadValue),
            Value::Number(number) => number.to_string().parse().unwrap_or_default(),
            _ if numeric => return Verdict::Parked(Reason::BadValue),
            _ => Decimal::ZERO,
        };
        let text = event.value.as_str().map_or_else(|| event.value.to_string(), str::to_owned);
        for (sort_number, sort, period) in targets {
            self.add(event, sort_number, sort, period, (number, text.clone()));
        }
        Verdict::Counted
    }

    fn add(&mut self, event: &Event, number: usize, sort: &Sort, period: Period, (value, text): (Decimal, String)) {
        let start = period.start.nanos();
        let version = self.version;
        let meter = self.meters.entry((event.user.clone(), number)).or_insert_with(|| Meter::new(None, start, version));
        let flushed = meter.flushed.contains_key(&start);
        if meter.gone && !flushed {
            meter.begin_again(None, start);
        }
        if meter.declared.is_none() && !flushed {
            meter.first = meter.first.min(start);
        }
        let held = meter.periods.entry(start).or_default();
        held.end = period.end.nanos();
        if flushed && held.sent.is_none() {
            held.sent = Some((0, value_of(sort, &[])));
        }
        held.events.push((event.at, value, text, event.region.clone()));
        if flushed {
            held.amend_at = held.amend_at.or(Some(self.clock + SETTLE));
        }
    }

    pub fn command(&mut self, received_at: i64, command: &LogCommand) {
        self.position += 1;
        if command.pipeline().is_some_and(|pipeline| pipeline != self.plan.id) {
            self.clock = self.clock.max(received_at);
            return;
        }
        self.clock = self.clock.max(received_at);
        match command {
            LogCommand::Tick => self.tick(),
            LogCommand::Flush { .. } => self.flush_open(),
            // Rollups and listeners change no number of the oracle, and no session of it ends with its
            // input.
            LogCommand::Close { .. } | LogCommand::Forget { .. } | LogCommand::Listen { .. } | LogCommand::Table { .. } => {}
            LogCommand::Open { meter, .. } => {
                let key = self.key(meter);
                self.open(&key, meter.delete_on_reset);
            }
            LogCommand::Edit { meter, .. } => {
                let key = self.key(meter);
                if let Some(known) = self.meters.get_mut(&key).filter(|known| !known.gone) {
                    known.delete_on_reset = meter.delete_on_reset;
                }
            }
            LogCommand::Delete { meter, .. } => {
                let key = self.key(meter);
                self.delete(&key);
            }
            LogCommand::Adopt { version, .. } => self.adopt(*version),
            LogCommand::Change { commands, .. } => {
                for command in commands {
                    self.position -= 1;
                    self.command(received_at, command);
                }
            }
        }
    }

    fn open(&mut self, key: &(String, usize), delete_on_reset: bool) {
        let (now, version) = (self.clock, self.version);
        match self.meters.get_mut(key) {
            Some(known) if !known.gone => return,
            Some(known) => known.begin_again(Some(now), now),
            None => drop(self.meters.insert(key.clone(), Meter::new(Some(now), now, version))),
        }
        if let Some(meter) = self.meters.get_mut(key) {
            meter.delete_on_reset = delete_on_reset;
        }
    }

    fn delete(&mut self, key: &(String, usize)) {
        let Some(meter) = self.meters.get_mut(key).filter(|meter| !meter.gone) else { return };
        meter.gone = true;
        meter.closed = meter.flushed.values().all(|end| *end < self.amendable_from);
        let flushed = meter.flushed.clone();
        meter.periods.retain(|start, _| flushed.contains_key(start));
        if flushed.is_empty() {
            self.meters.remove(key);
        }
    }

    /// Applies another schedule to meters, after their current period and all they have.
    fn adopt(&mut self, version: u32) {
        self.version = version;
        let keys: Vec<(String, usize)> = self.meters.keys().cloned().collect();
        for key in keys {
            let Some(mut meter) = self.meters.remove(&key) else { continue };
            let sort = &self.document.sorts[key.1];
            let cut = |version: u32| (sort.schedules[kind_of(version)], sort.zones[kind_of(version)]);
            if meter.gone && meter.closed {
                meter.eras = vec![(i64::MIN, version)];
            } else if meter.eras.last().is_some_and(|era| cut(era.1) != cut(version)) {
                let held = meter.periods.values().map(|held| held.end).chain(meter.flushed.values().copied()).max();
                let now = if meter.gone { None } else { Some(self.era_period(&meter, key.1, self.clock).end.nanos()) };
                let from = held.max(now).unwrap_or(i64::MIN);
                meter.eras.retain(|era| era.0 < from);
                meter.eras.push((from, version));
            }
            self.meters.insert(key, meter);
        }
    }

    fn key(&self, meter: &MeterName) -> (String, usize) {
        let number = self.plan.meter_types.iter().position(|kind| kind.id == meter.meter_type_id).unwrap_or_default();
        (meter.user_id.clone(), number)
    }

    fn tick(&mut self) {
        let within = self.document.amend_within[kind_of(self.version)];
        self.amendable_from = self.amendable_from.max(self.clock - within);
        let keys: Vec<(String, usize)> = self.meters.keys().cloned().collect();
        for key in keys {
            let sort = &self.document.sorts[key.1];
            let Some(mut meter) = self.meters.remove(&key) else { continue };
            let mut due = self.unflushed(&meter, key.1, self.clock - self.document.grace);
            // A meter that is deleted at its reset flushes one period and is gone.
            if meter.delete_on_reset {
                due.truncate(1);
            }
            let goes = meter.delete_on_reset && !due.is_empty();
            self.amend(&key, sort, &mut meter, self.clock);
            for period in due {
                self.flush(&key, sort, &mut meter, period);
            }
            self.meters.insert(key.clone(), meter);
            if goes {
                self.delete(&key);
            }
            self.let_go(&key, within);
        }
    }

    /// Reduces a deleted meter to its flushed periods once nothing of it can be amended.
    fn let_go(&mut self, key: &(String, usize), within: i64) {
        let Some(meter) = self.meters.get_mut(key).filter(|meter| meter.gone && meter.is_settled()) else { return };
        if meter.flushed.values().max().is_some_and(|end| *end + within < self.clock) {
            meter.closed = true;
            meter.eras = vec![(i64::MIN, self.version)];
            meter.periods.clear();
        }
    }

    /// Flushes periods that have begun, and later ones with content.
    fn flush_open(&mut self) {
        let keys: Vec<(String, usize)> = self.meters.keys().cloned().collect();
        for key in keys {
            let sort = &self.document.sorts[key.1];
            let Some(mut meter) = self.meters.remove(&key) else { continue };
            self.amend(&key, sort, &mut meter, i64::MAX);
            let mut open = Vec::new();
            if !meter.gone {
                let mut period = self.period(&meter, key.1, meter.first);
                while period.start.nanos() <= self.clock {
                    open.push(period);
                    period = self.period(&meter, key.1, period.end.nanos());
                }
                open.extend(meter.periods.iter().map(|(start, held)| Period { start: at(*start), end: at(held.end) }));
            }
            for period in open {
                if !meter.flushed.contains_key(&period.start.nanos()) {
                    self.flush(&key, sort, &mut meter, period);
                }
            }
            let goes = meter.delete_on_reset && meter.flushed_any;
            self.meters.insert(key.clone(), meter);
            if goes {
                self.delete(&key);
            }
        }
    }

    fn flush(&mut self, key: &(String, usize), sort: &Sort, meter: &mut Meter, period: Period) {
        let start = period.start.nanos();
        meter.flushed.insert(start, period.end.nanos());
        meter.flushed_any = true;
        let empty = Held { end: period.end.nanos(), ..Held::default() };
        let held = meter.periods.get(&start).unwrap_or(&empty);
        let line = line(&key.0, sort, start, held, 0, None);
        *self.records.entry(line).or_default() += 1;
        if let Some(held) = meter.periods.get_mut(&start) {
            held.sent = Some((0, value_of(sort, &held.events)));
        }
    }

    fn amend(&mut self, key: &(String, usize), sort: &Sort, meter: &mut Meter, until: i64) {
        for (start, held) in &mut meter.periods {
            let (Some((revision, before)), Some(amend_at)) = (held.sent, held.amend_at) else { continue };
            if amend_at > until {
                continue;
            }
            let value = value_of(sort, &held.events);
            let delta = match (value, before) {
                (Some(value), Some(before)) => Some(value.minus(before)),
                (value, _) => value,
            };
            let line = line(&key.0, sort, *start, held, revision + 1, delta);
            *self.records.entry(line).or_default() += 1;
            (held.sent, held.amend_at) = (Some((revision + 1, value)), None);
        }
    }

    /// Returns the earliest due instant: no pipeline may report a later one.
    pub fn due(&mut self) -> Option<i64> {
        let mut earliest = None;
        let keys: Vec<(String, usize)> = self.meters.keys().cloned().collect();
        for key in keys {
            let Some(meter) = self.meters.remove(&key) else { continue };
            let amends = meter.periods.values().filter_map(|held| held.amend_at);
            let mut period = self.period(&meter, key.1, meter.first);
            while !meter.gone && meter.flushed.contains_key(&period.start.nanos()) {
                period = self.period(&meter, key.1, period.end.nanos());
            }
            let flush = (!meter.gone).then(|| period.end.nanos() + self.document.grace);
            let due = amends.chain(flush).min();
            earliest = [earliest, due].into_iter().flatten().min();
            self.meters.insert(key, meter);
        }
        earliest
    }

    /// Returns the number of events by verdict.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.verdicts.iter().for_each(|verdict| tally.note(*verdict));
        tally
    }

    /// Returns the number of meters.
    pub fn meters(&self) -> usize {
        self.meters.values().filter(|meter| !meter.gone).count()
    }

    /// Returns the number of its document.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the current version.
    pub fn version(&self) -> u32 {
        self.version
    }
}
