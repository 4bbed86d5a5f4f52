//! What a pipeline must make of the log, worked out naively: maps, sets and lists, every
//! event looked at by itself, every value added up again from its events whenever it is
//! asked for. It shares with the product the decimal numbers, how an instant is written
//! and where a schedule's boundaries lie; nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowmeter_core::decimal::{Decimal, Quotient};
use flowmeter_core::plan::Plan;
use flowmeter_core::schedule::{Calendar, Period};
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Tally, Verdict};
use flowmeter_engine::live::{Letter, LogCommand, MeterName};
use serde_json::Value;

use crate::documents::{DOCUMENTS, Document, SECOND, Sort, WINDOW, at, plan_of};

/// How far ahead of the clock events may be.
const TOLERANCE: i64 = 300 * SECOND;
/// How long a correction waits for others.
const SETTLE: i64 = 2 * SECOND;

/// What a pipeline must have made of the log so far.
pub struct Oracle {
    document: &'static Document,
    number: usize,
    plan: Arc<Plan>,
    calendars: Vec<Calendar>,
    version: u32,
    /// The next entry.
    pub position: u64,
    clock: i64,
    /// By source and id, the event times that were admitted.
    known: BTreeMap<(String, String), Vec<i64>>,
    meters: BTreeMap<(String, usize), Meter>,
    /// Of every event.
    pub verdicts: Vec<Verdict>,
    /// Arrival, reason and text.
    pub parked: Vec<(u64, Reason, Vec<u8>)>,
    /// Records it must have sent, in a form of their own, and how often.
    pub records: BTreeMap<String, u32>,
    /// Users whose meters were taken away: the ids of their records may come again.
    pub deleted: BTreeSet<String>,
}

struct Meter {
    /// When it was declared, if it was.
    declared: Option<i64>,
    delete_on_reset: bool,
    /// The start of its first period.
    first: i64,
    periods: BTreeMap<i64, Held>,
    flushed: BTreeSet<i64>,
}

#[derive(Default)]
struct Held {
    end: i64,
    /// Event time, number, text, region: in the order of arrival.
    events: Vec<(i64, Decimal, String, String)>,
    sent: Option<(u32, Option<Quotient>)>,
    amend_at: Option<i64>,
}

struct Event {
    at: i64,
    user: String,
    second: bool,
    value: Value,
    region: String,
}

impl Oracle {
    /// Nothing yet: a pipeline that begins with an entry at an instant.
    pub fn new(number: usize, position: u64, clock: i64) -> Result<Oracle, String> {
        let plan = plan_of(number, 1).map_err(|why| why.to_string())?;
        let calendar =
            |kind: &flowmeter_core::meter_type::MeterType| Calendar::new(Arc::clone(&kind.schedule), kind.zone.clone());
        Ok(Oracle {
            document: &DOCUMENTS[number],
            number,
            calendars: plan.meter_types.iter().map(calendar).collect(),
            plan,
            version: 1,
            position,
            clock,
            known: BTreeMap::new(),
            meters: BTreeMap::new(),
            verdicts: Vec::new(),
            parked: Vec::new(),
            records: BTreeMap::new(),
            deleted: BTreeSet::new(),
        })
    }

    /// Takes an entry of events.
    pub fn events(&mut self, received_at: i64, bytes: &[u8], namespace: &str) -> Result<(), String> {
        self.position += 1;
        self.clock = self.clock.max(received_at);
        let letter = Letter::read(bytes).map_err(|why| why.to_string())?;
        if !letter.pipeline.map_or(letter.namespace == namespace, |pipeline| pipeline == self.plan.id) {
            return Ok(());
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
        if !again {
            let identity = (text(&event["source"]).unwrap_or_default(), text(&event["id"]).unwrap_or_default());
            let seen_at = event_at.unwrap_or(self.clock);
            let known = self.known.entry(identity).or_default();
            if known.iter().any(|known| known.abs_diff(seen_at) < WINDOW.unsigned_abs()) {
                return Verdict::Duplicate;
            }
            known.push(seen_at);
        }
        let Some(event_at) = event_at else { return Verdict::Parked(Reason::BadTime) };
        if event_at > self.clock + TOLERANCE {
            return Verdict::Parked(Reason::InFuture);
        }
        let Some(user) = text(&event["subject"]) else { return Verdict::Parked(Reason::NoUser) };
        let region = text(&event["data"]["region"]).unwrap_or_default();
        let value = event["data"]["n"].clone();
        self.count(&Event { at: event_at, user, second: kind != "use", value, region })
    }

    fn count(&mut self, event: &Event) -> Verdict {
        let document = self.document;
        let mut targets = Vec::new();
        for (number, sort) in document.sorts.iter().enumerate().filter(|(_, sort)| sort.second == event.second) {
            let mut period = self.calendars[number].period_at(at(event.at));
            if let Some(meter) = self.meters.get(&(event.user.clone(), number)) {
                if let Some(declared) = meter.declared {
                    if event.at < declared {
                        continue;
                    }
                    period.start = period.start.max(at(declared));
                }
                if meter.flushed.contains(&period.start.nanos()) {
                    match document.policy {
                        "carry" => period = self.calendars[number].period_at(at(self.clock)),
                        "amend" if self.clock - period.end.nanos() <= document.amend_within => {}
                        _ => return Verdict::Parked(Reason::TooLate),
                    }
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
        let fresh =
            || Meter { declared: None, delete_on_reset: false, first: start, periods: BTreeMap::new(), flushed: BTreeSet::new() };
        let meter = self.meters.entry((event.user.clone(), number)).or_insert_with(fresh);
        if meter.declared.is_none() {
            meter.first = meter.first.min(start);
        }
        let flushed = meter.flushed.contains(&start);
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

    /// Takes a command.
    pub fn command(&mut self, received_at: i64, command: &LogCommand) {
        self.position += 1;
        if command.pipeline().is_some_and(|pipeline| pipeline != self.plan.id) {
            self.clock = self.clock.max(received_at);
            return;
        }
        self.clock = self.clock.max(received_at);
        match command {
            LogCommand::Tick => self.tick(),
            // What is rolled up is not what the oracle counts, and who listens changes no number.
            LogCommand::Flush { .. } | LogCommand::Forget { .. } | LogCommand::Listen { .. } => {}
            LogCommand::Open { meter, .. } => {
                let (key, declared) = (self.key(meter), self.clock);
                let delete_on_reset = meter.delete_on_reset;
                self.meters.entry(key).or_insert_with(|| Meter {
                    declared: Some(declared),
                    delete_on_reset,
                    first: declared,
                    periods: BTreeMap::new(),
                    flushed: BTreeSet::new(),
                });
            }
            LogCommand::Edit { meter, .. } => {
                let key = self.key(meter);
                if let Some(known) = self.meters.get_mut(&key) {
                    known.delete_on_reset = meter.delete_on_reset;
                }
            }
            LogCommand::Delete { meter, .. } => {
                let key = self.key(meter);
                if self.meters.remove(&key).is_some() {
                    self.deleted.insert(meter.user_id.clone());
                }
            }
            LogCommand::Adopt { version, .. } => self.version = *version,
        }
    }

    fn key(&self, meter: &MeterName) -> (String, usize) {
        let number = self.plan.meter_types.iter().position(|kind| kind.id == meter.meter_type_id).unwrap_or_default();
        (meter.user_id.clone(), number)
    }

    fn tick(&mut self) {
        let keys: Vec<(String, usize)> = self.meters.keys().cloned().collect();
        for key in keys {
            let sort = &self.document.sorts[key.1];
            let Some(mut meter) = self.meters.remove(&key) else { continue };
            let mut due = Vec::new();
            let mut period = self.period(&meter, key.1, meter.first);
            while period.end.nanos() + self.document.grace <= self.clock {
                if !meter.flushed.contains(&period.start.nanos()) {
                    due.push(period);
                }
                period = self.period(&meter, key.1, period.end.nanos());
            }
            // A meter that goes at its reset flushes one period and is gone.
            if meter.delete_on_reset {
                due.truncate(1);
            }
            let gone = meter.delete_on_reset && !due.is_empty();
            let until = if gone { due[0].end.nanos() + self.document.grace } else { self.clock };
            self.amend(&key, sort, &mut meter, until);
            for period in due {
                self.flush(&key, sort, &mut meter, period);
            }
            match gone {
                true => drop(self.deleted.insert(key.0)),
                false => drop(self.meters.insert(key, meter)),
            }
        }
    }

    fn period(&mut self, meter: &Meter, number: usize, instant: i64) -> Period {
        let period = self.calendars[number].period_at(at(instant));
        Period { start: period.start.max(at(meter.declared.unwrap_or(i64::MIN))), ..period }
    }

    fn flush(&mut self, key: &(String, usize), sort: &Sort, meter: &mut Meter, period: Period) {
        let start = period.start.nanos();
        meter.flushed.insert(start);
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

    /// The earliest instant at which something is due: no pipeline may say a later one.
    pub fn due(&mut self) -> Option<i64> {
        let mut earliest = None;
        let keys: Vec<(String, usize)> = self.meters.keys().cloned().collect();
        for key in keys {
            let Some(meter) = self.meters.remove(&key) else { continue };
            let mut period = self.period(&meter, key.1, meter.first);
            while meter.flushed.contains(&period.start.nanos()) {
                period = self.period(&meter, key.1, period.end.nanos());
            }
            let amends = meter.periods.values().filter_map(|held| held.amend_at);
            let due = amends.chain([period.end.nanos() + self.document.grace]).min();
            earliest = [earliest, due].into_iter().flatten().min();
            self.meters.insert(key, meter);
        }
        earliest
    }

    /// Events by verdict, added up.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.verdicts.iter().for_each(|verdict| tally.note(*verdict));
        tally
    }

    /// How many meters there are.
    pub fn meters(&self) -> usize {
        self.meters.len()
    }

    /// The number of its document.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The version that holds.
    pub fn version(&self) -> u32 {
        self.version
    }
}

/// Whether the oracle knows the values of an aggregation: where one period begins with
/// what another ended with, it only counts.
pub fn is_simple(aggregation: &str) -> bool {
    !matches!(aggregation, "delta" | "weighted")
}

fn value_of(sort: &Sort, events: &[(i64, Decimal, String, String)]) -> Option<Quotient> {
    let whole = |decimal: Decimal| Some(Quotient::of(decimal, 1));
    let numbers = || events.iter().map(|(_, number, ..)| *number);
    let sum = || numbers().fold(Decimal::ZERO, |sum, number| sum.add(number).unwrap_or(sum));
    match sort.aggregation {
        "sum" => whole(sum()),
        "count" => whole(Decimal::from_count(events.len() as u64)),
        "max" => numbers().max().and_then(whole),
        "min" => numbers().min().and_then(whole),
        "unique" => whole(Decimal::from_count(events.iter().map(|(_, _, text, _)| text).collect::<BTreeSet<_>>().len() as u64)),
        // Of equal times the last that arrived, which `max_by_key` gives.
        "latest" => events.iter().max_by_key(|(at, ..)| *at).and_then(|(_, number, ..)| whole(*number)),
        "avg" if !events.is_empty() => Some(Quotient::of(sum(), events.len() as u64)),
        _ => None,
    }
}

/// A record in a form of its own: everything the oracle knows of it.
fn line(user: &str, sort: &Sort, start: i64, held: &Held, revision: u32, delta: Option<Quotient>) -> String {
    let text = |value: Option<Quotient>| {
        let mut out = Vec::new();
        match value {
            Some(value) => value.write_to(&mut out),
            None => out.extend_from_slice(b"null"),
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let millis = |nanos: i64| format!("{}", at(nanos));
    let head = format!("{user} | {} | {}..{} | {revision} | {}", sort.name, millis(start), millis(held.end), held.events.len());
    if !is_simple(sort.aggregation) {
        return head;
    }
    let regions: BTreeSet<&String> = held.events.iter().map(|(_, _, _, region)| region).collect();
    let groups = regions.into_iter().map(|region| {
        let inside: Vec<_> = held.events.iter().filter(|event| event.3 == *region).cloned().collect();
        format!(" {region}={}", text(value_of(sort, &inside)))
    });
    let groups: String = groups.collect();
    let delta = delta.map_or(String::new(), |delta| format!(" delta {}", text(Some(delta))));
    format!("{head} | {}{delta} |{groups}", text(value_of(sort, &held.events)))
}
