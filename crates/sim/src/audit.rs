//! The auditor: reads the streams of pipelines and compares them with earlier reads, with the
//! oracle, and with a second pipeline that applies the whole log again.

use std::collections::{BTreeMap, BTreeSet};

use flowmeter_core::verdict::{Reason, Verdict};
use flowmeter_engine::live::{Live, SettlementItem, Stream, items, judged, parked_item, record_item, settlement_item};
use serde_json::value::RawValue;

use crate::documents::{DOCUMENTS, Sort};
use crate::oracle::{Oracle, is_simple};

/// Everything that was ever read from the streams of a pipeline. It was durable when it was read,
/// so it must exist for ever.
#[derive(Clone, Default)]
pub struct Seen {
    /// Metered records and partial ones, as in their log.
    pub records: Vec<Vec<u8>>,
    pub parked: Vec<Vec<u8>>,
    pub notes: Vec<Vec<u8>>,
    /// Settlements of parked events.
    pub settled: Vec<Vec<u8>>,
    /// Events that operators made.
    pub derived: Vec<Vec<u8>>,
    pub verdicts: Vec<Verdict>,
}

impl Seen {
    /// Reads everything and compares it with earlier reads. A failing disk is the inner error.
    pub fn read(&mut self, live: &Live) -> Result<Result<(), flowmeter_engine::Error>, String> {
        let name = &live.plan().name;
        let streams = [
            ("record", live.outlet().records(), &mut self.records),
            ("parked event", live.outlet().parked(), &mut self.parked),
            ("note", live.outlet().notes(), &mut self.notes),
            ("settlement", live.outlet().settled(), &mut self.settled),
            ("derived event", live.outlet().derived(), &mut self.derived),
        ];
        for (what, stream, seen) in streams {
            let there = match read_items(stream)? {
                Ok(there) => there,
                Err(why) => return Ok(Err(why)),
            };
            compare(&format!("{name}: {what}"), seen, there)?;
        }
        let there = match read_verdicts(live)? {
            Ok(there) => there,
            Err(why) => return Ok(Err(why)),
        };
        compare(&format!("{name}: verdict"), &mut self.verdicts, there)?;
        Ok(Ok(()))
    }
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, seen: &mut Vec<T>, there: Vec<T>) -> Result<(), String> {
    if there.len() < seen.len() {
        return Err(format!("{what}s were lost: {} of {} are there", there.len(), seen.len()));
    }
    if let Some(other) = seen.iter().zip(&there).position(|(before, now)| before != now) {
        return Err(format!("{what} {other} changed: {:?}, before {:?}", there[other], seen[other]));
    }
    *seen = there;
    Ok(())
}

type Read<T> = Result<Result<T, flowmeter_engine::Error>, String>;

fn read_items(stream: &Stream) -> Read<Vec<Vec<u8>>> {
    let mut there = Vec::new();
    if stream.written() == 0 {
        return Ok(Ok(there));
    }
    let mut reader = match stream.reader(0) {
        Ok(reader) => reader,
        Err(why) => return Ok(Err(why)),
    };
    loop {
        match reader.read() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                for (number, item) in items(&entry) {
                    if number != there.len() as u64 {
                        return Err(format!("item {number} is in the place of {}", there.len()));
                    }
                    there.push(item.to_vec());
                }
            }
            Err(why) => return Ok(Err(why.into())),
        }
    }
    match there.len() as u64 == stream.written() {
        true => Ok(Ok(there)),
        false => Err(format!("a stream says it has {} items; {} are there", stream.written(), there.len())),
    }
}

fn read_verdicts(live: &Live) -> Read<Vec<Verdict>> {
    let stream = live.outlet().verdicts();
    let mut there = Vec::new();
    if stream.written() == 0 {
        return Ok(Ok(there));
    }
    let mut reader = match stream.reader(0) {
        Ok(reader) => reader,
        Err(why) => return Ok(Err(why)),
    };
    loop {
        match reader.read() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                if entry.first_item != there.len() as u64 {
                    return Err(format!("verdict {} is in the place of {}", entry.first_item, there.len()));
                }
                for block in judged(&entry) {
                    if block.first_arrival != there.len() as u64 {
                        return Err(format!("a block of arrival {} is in the place of {}", block.first_arrival, there.len()));
                    }
                    there.extend(block.verdicts);
                }
            }
            Err(why) => return Ok(Err(why.into())),
        }
    }
    match there.len() as u64 == stream.written() {
        true => Ok(Ok(there)),
        false => Err(format!("there should be {} verdicts; {} are there", stream.written(), there.len())),
    }
}

/// Compares everything read with the oracle at the same entry.
pub fn against_oracle(live: &mut Live, seen: &Seen, oracle: &mut Oracle) -> Result<(), String> {
    let name = DOCUMENTS[oracle.number()].name;
    let mut tally = live.tally();
    if !tally.is_complete() {
        return Err(format!("{name}: received is not counted + duplicate + filtered + parked: {tally:?}"));
    }
    tally.late = 0;
    if tally != oracle.tally() {
        let other = seen.verdicts.iter().zip(&oracle.verdicts).position(|(there, expected)| there != expected);
        let verdicts = other.map(|other| (other, seen.verdicts[other], oracle.verdicts[other]));
        return Err(format!(
            "{name}: {tally:?}, expected {:?}; the first other verdict (event, is, expected): {verdicts:?}",
            oracle.tally()
        ));
    }
    if let Some(other) = (0..oracle.verdicts.len()).find(|event| seen.verdicts.get(*event) != oracle.verdicts.get(*event)) {
        let (there, expected) = (seen.verdicts.get(other), oracle.verdicts[other]);
        return Err(format!("{name}: event {other} is {there:?}, expected {expected:?}"));
    }
    let mut parked: Vec<(u64, Reason, Vec<u8>)> = Vec::new();
    for item in &seen.parked {
        let item = parked_item(item).ok_or("a parked event cannot be read")?;
        parked.push((item.arrival, item.reason, item.raw.to_vec()));
    }
    if let Some(other) = (0..parked.len().max(oracle.parked.len())).find(|item| parked.get(*item) != oracle.parked.get(*item)) {
        let show = |item: Option<&(u64, Reason, Vec<u8>)>| {
            item.map(|(arrival, reason, raw)| format!("{arrival} {reason} {}", String::from_utf8_lossy(raw)))
        };
        return Err(format!("{name}: parked {:?}, expected {:?}", show(parked.get(other)), show(oracle.parked.get(other))));
    }
    settlements(name, seen, oracle)?;
    if live.meter_count() != oracle.meters() {
        return Err(format!("{name}: {} meters, expected {}", live.meter_count(), oracle.meters()));
    }
    let (due, expected) = (live.next_due().map(flowmeter_core::time::Timestamp::nanos), oracle.due());
    if let Some(expected) = expected
        && due.is_none_or(|due| due > expected)
    {
        return Err(format!("{name}: due at {due:?}, although something is at {expected}"));
    }
    records(name, seen, oracle)
}

fn settlements(name: &str, seen: &Seen, oracle: &Oracle) -> Result<(), String> {
    let read = |item: &Vec<u8>| {
        let SettlementItem { arrival, settlement } = settlement_item(item)?;
        Some((arrival, settlement.how, settlement.by))
    };
    let there: Option<Vec<_>> = seen.settled.iter().map(read).collect();
    let there = there.ok_or("a settlement cannot be read")?;
    match (0..there.len().max(oracle.settled.len())).find(|item| there.get(*item) != oracle.settled.get(*item)) {
        None => Ok(()),
        Some(other) => {
            let (there, expected) = (there.get(other), oracle.settled.get(other));
            Err(format!("{name}: settlement {other} is {there:?}, expected {expected:?}"))
        }
    }
}

fn records(name: &str, seen: &Seen, oracle: &Oracle) -> Result<(), String> {
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    let mut ids: BTreeMap<String, &[u8]> = BTreeMap::new();
    for item in &seen.records {
        let item = record_item(item).ok_or("a record cannot be read")?;
        let record = Record::read(item.json)?;
        if let Some(before) = ids.insert(record.id.clone(), item.json) {
            let show = String::from_utf8_lossy;
            return Err(format!("{name}: two records have one id: {} and {}", show(before), show(item.json)));
        }
        if !item.is_threshold && (is_simple(record.sort.aggregation) || record.revision == 0) {
            *there.entry(record.line()).or_default() += 1;
        }
    }
    let expected = oracle.records.iter().filter(|(line, _)| known(line));
    if there.iter().ne(expected.clone()) {
        let missing: Vec<_> = expected.filter(|(line, count)| there.get(*line) != Some(*count)).collect();
        let surplus: Vec<_> = there.iter().filter(|(line, count)| oracle.records.get(*line) != Some(*count)).collect();
        return Err(format!("{name}: records {surplus:#?}, expected instead {missing:#?}"));
    }
    Ok(())
}

/// Compares only the first records of aggregations that carry over: a correction of one period
/// corrects the later ones.
fn known(line: &str) -> bool {
    let mut parts = line.split(" | ");
    let sort = parts.nth(1).and_then(sort_named);
    sort.is_some_and(|sort| is_simple(sort.aggregation)) || parts.nth(1) == Some("0")
}

fn sort_named(name: &str) -> Option<&'static Sort> {
    DOCUMENTS.iter().flat_map(|document| document.sorts).find(|sort| sort.name == name)
}

/// A record, parsed without code of the product.
struct Record {
    id: String,
    user: String,
    sort: &'static Sort,
    period: (String, String),
    revision: u64,
    events: u64,
    value: String,
    delta: Option<String>,
    groups: Vec<(String, String)>,
}

type Members = BTreeMap<String, Box<RawValue>>;

impl Record {
    fn read(json: &[u8]) -> Result<Record, String> {
        let wrong = |what: &str| format!("a record without a sound {what}: {}", String::from_utf8_lossy(json));
        let record: Members = serde_json::from_slice(json).map_err(|_| wrong("object"))?;
        let text = |members: &Members, name: &str| {
            members.get(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok()).ok_or_else(|| wrong(name))
        };
        let meta: Members =
            serde_json::from_str(record.get("meterMetaData").map_or("", |raw| raw.get())).map_err(|_| wrong("meterMetaData"))?;
        let number = |name: &str| meta.get(name).and_then(|raw| raw.get().parse().ok()).ok_or_else(|| wrong(name));
        let mut groups = Vec::new();
        let listed: Vec<Members> =
            serde_json::from_str(record.get("groups").map_or("", |raw| raw.get())).map_err(|_| wrong("groups"))?;
        for group in listed {
            let fields: BTreeMap<String, Option<String>> =
                serde_json::from_str(group.get("fields").map_or("", |raw| raw.get())).map_err(|_| wrong("fields"))?;
            // Those by the answer of a service are compared with a replay.
            if let Some(Some(region)) = fields.get("data.region") {
                groups.push((region.clone(), group.get("value").map_or("", |raw| raw.get()).to_owned()));
            }
        }
        groups.sort();
        Ok(Record {
            id: text(&meta, "recordId")?,
            user: text(&record, "userId")?,
            sort: text(&record, "meterTypeName").ok().as_deref().and_then(sort_named).ok_or_else(|| wrong("meterTypeName"))?,
            period: (text(&record, "periodStart")?, text(&record, "periodEnd")?),
            revision: number("revision")?,
            events: number("eventCount")?,
            value: record.get("value").map_or("", |raw| raw.get()).to_owned(),
            delta: meta.get("delta").map(|raw| raw.get().to_owned()),
            groups,
        })
    }

    /// Formats the record like the oracle.
    fn line(&self) -> String {
        let Record { user, sort, period, revision, events, value, delta, groups, .. } = self;
        let head = format!("{user} | {} | {}..{} | {revision} | {events}", sort.name, period.0, period.1);
        if !is_simple(sort.aggregation) {
            return head;
        }
        let groups: String = groups.iter().map(|(region, value)| format!(" {region}={value}")).collect();
        let delta = delta.as_ref().map_or(String::new(), |delta| format!(" delta {delta}"));
        format!("{head} | {value}{delta} |{groups}")
    }
}

/// Compares a pipeline with one that applied the whole log again, both at the same entry.
pub fn against_replay(live: &Live, seen: &Seen, replay: &Live, again: &Seen) -> Result<(), String> {
    let name = &live.plan().name;
    let streams = [
        ("record", &seen.records, &again.records),
        ("parked event", &seen.parked, &again.parked),
        ("note", &seen.notes, &again.notes),
        ("settlement", &seen.settled, &again.settled),
        ("derived event", &seen.derived, &again.derived),
    ];
    for (what, there, again) in streams {
        if let Some(other) = (0..there.len().max(again.len())).find(|item| there.get(*item) != again.get(*item)) {
            let show = |item: Option<&Vec<u8>>| item.map(|item| String::from_utf8_lossy(item).into_owned());
            return Err(format!("{name}: {what} {other} is {:?}, again {:?}", show(there.get(other)), show(again.get(other))));
        }
    }
    let derived = live.tally().derived;
    if seen.derived.len() as u64 != derived {
        return Err(format!("{name}: {derived} events were derived; {} are in their log", seen.derived.len()));
    }
    if seen.verdicts != again.verdicts {
        return Err(format!("{name}: the verdicts differ when the log is applied again"));
    }
    let (totals, again) = [live, replay].map(|live| format!("{:?} {:?}", live.totals(), live.remembered())).into();
    if totals != again {
        return Err(format!("{name}: totals {totals}, again {again}"));
    }
    let (state, again) = (state(live), state(replay));
    match state == again {
        true => Ok(()),
        false => {
            let differing: Vec<_> = state.symmetric_difference(&again).collect();
            Err(format!("{name}: the meters differ when the log is applied again: {differing:#?}"))
        }
    }
}

/// Returns every meter as a person sees it, and its due instant. (Images have the same in memory
/// order, which a restart changes.)
fn state(live: &Live) -> BTreeSet<String> {
    let show = |(partition, meter): (&flowmeter_core::partition::Partition<_, _>, &flowmeter_core::partition::Meter)| {
        let mut shown = Vec::new();
        partition.show(meter, live.clock(), &mut shown);
        let periods: Vec<_> = meter
            .periods
            .iter()
            .map(|held| format!("{:?} {} {:?} {:?}", held.period, held.events, held.first_at, held.extra))
            .collect();
        format!(
            "{} flushed {:?} {:?} due {} {periods:?}",
            String::from_utf8_lossy(&shown),
            meter.flushed,
            meter.stretches(),
            meter.due
        )
    };
    live.meters().map(show).collect()
}
