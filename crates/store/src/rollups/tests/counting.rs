//! Expected answers: random events, counted again for every query.

use std::collections::BTreeMap;

use flowmeter_core::aggregation::{Aggregate, Aggregation, Contribution};
use flowmeter_core::decimal::{Decimal, Quotient};
use flowmeter_core::event::{Leaf, Path};
use flowmeter_core::schedule::{Period, Schedule};
use flowmeter_core::time::{Timestamp, Zone};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::rollups::{Query, Row, SUBJECT, Window, WindowSize, block, tuple};

const SECOND: i64 = 1_000_000_000;

pub(super) const ALL: [Aggregation; 8] = [
    Aggregation::Sum,
    Aggregation::Increment,
    Aggregation::Min,
    Aggregation::Max,
    Aggregation::Avg,
    Aggregation::Unique,
    Aggregation::Latest,
    Aggregation::Percentile(Decimal::from_int(90)),
];

/// Returns a meter type for each aggregation.
pub(super) fn meter_type(aggregation: Aggregation) -> Uuid {
    let place = ALL.iter().position(|known| *known == aggregation).unwrap();
    Uuid::from_u128(0xfeed_0000_0000_0000_0000_0000_0000_0000 + place as u128)
}

/// An event: user, plan and region (some null), time, value.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) user: String,
    pub(super) plan: Option<String>,
    pub(super) region: Option<String>,
    pub(super) at: Timestamp,
    pub(super) number: Decimal,
}

impl Event {
    pub(super) fn contribution(&self) -> Contribution {
        let fingerprint = xxh3_128(self.number.to_string().as_bytes());
        Contribution { number: self.number, fingerprint, at: self.at }
    }

    pub(super) fn leaves(&self) -> [Leaf<'_>; 2] {
        [&self.plan, &self.region].map(|value| value.as_deref().map_or(Leaf::MISSING, Leaf::of_text))
    }

    fn field(&self, name: &str) -> Option<&str> {
        match name {
            "plan" => self.plan.as_deref(),
            "data.region" => self.region.as_deref(),
            _ => None,
        }
    }
}

/// A simple random generator with a fixed seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Returns events over three days around the change of clocks in Oslo in March 2024, many of them
/// late, some at equal times.
pub(super) fn events(count: usize, seed: u64) -> Vec<Event> {
    let start = Timestamp::parse_rfc3339(b"2024-03-29T20:00:00Z").unwrap();
    let mut dice = Dice(seed);
    let mut event = |_| Event {
        user: format!("user-{}", dice.roll(7)),
        plan: [None, Some("pro"), Some("free"), Some("a,b:\"c")][dice.roll(4) as usize].map(str::to_owned),
        region: [None, Some("1"), Some("eu")][dice.roll(3) as usize].map(str::to_owned),
        at: start.saturating_add(dice.roll(3 * 1440) as i64 * 60 * SECOND + dice.roll(3) as i64 * 20 * SECOND),
        number: Decimal::from_units((dice.roll(2_000) as i128 - 500) * 10_i128.pow(dice.roll(19) as u32)).unwrap(),
    };
    (0..count).map(&mut event).collect()
}

fn text(value: Option<Quotient>) -> String {
    let mut out = Vec::new();
    value.inspect(|value| value.write_to(&mut out));
    String::from_utf8(out).unwrap()
}

/// Formats a row for comparison.
fn line(
    start: Timestamp,
    end: Timestamp,
    subject: &Option<String>,
    groups: &[Option<String>],
    value: &str,
    events: u64,
) -> String {
    format!("{start} {end} {subject:?} {groups:?} = {value} of {events}")
}

pub(super) fn lines(rows: &[Row]) -> Vec<String> {
    let groups = |row: &Row| row.groups.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    rows.iter()
        .map(|row| line(row.window_start, row.window_end, &row.subject, &groups(row), &text(row.value), row.event_count))
        .collect()
}

fn cut(at: Timestamp) -> Timestamp {
    block::instant(block::minute(at))
}

type SumKey = (Timestamp, Option<String>, Vec<Option<String>>);

/// Returns the answer by counting.
pub(super) fn expected(query: &Query, aggregation: Aggregation, events: &[Event]) -> Vec<String> {
    let mut sums = BTreeMap::new();
    for event in events {
        let minute = cut(event.at);
        let wanted = query.from.is_none_or(|from| minute >= cut(from))
            && query.to.is_none_or(|to| minute < cut(to))
            && query.subjects.as_ref().is_none_or(|subjects| subjects.contains(&event.user))
            && query
                .filter
                .iter()
                .all(|(field, allowed)| event.field(field).is_some_and(|value| allowed.iter().any(|allowed| allowed == value)));
        if !wanted {
            continue;
        }
        let minutes = Period { start: minute, end: minute.saturating_add(60 * SECOND) };
        let window = query.window.as_ref().map(|window| match window.size {
            WindowSize::Minute => minutes,
            // The tested zones have offsets of whole hours.
            WindowSize::Hour => Schedule::named("hourly").unwrap().period_at(&Zone::utc(), event.at),
            WindowSize::Day => Schedule::named("daily").unwrap().period_at(&window.zone, event.at),
            WindowSize::Month => Schedule::named("monthly").unwrap().period_at(&window.zone, event.at),
        });
        let subject = query.group_by.iter().any(|field| field == SUBJECT).then(|| event.user.clone());
        let fields = query.group_by.iter().filter(|field| *field != SUBJECT);
        let groups: Vec<_> = fields.map(|field| event.field(field).map(str::to_owned)).collect();
        let key = (window.map_or(Timestamp::MIN, |window| window.start), subject, groups);
        let (period, counted) = sums.entry(key).or_insert((window.unwrap_or(minutes), Vec::new()));
        if window.is_none() {
            *period = Period { start: period.start.min(minutes.start), end: period.end.max(minutes.end) };
        }
        counted.push(event.clone());
    }
    let row = |((_, subject, groups), (mut period, mut counted)): (SumKey, (Period, Vec<Event>))| {
        if query.window.is_none() {
            period.start = query.from.map_or(period.start, cut);
            period.end = query.to.map_or(period.end, cut);
        }
        // Of equal times the last user and tuple is the latest, then the last arrival.
        counted.sort_by_cached_key(|event| (event.user.clone(), tuple_bytes(event)));
        let mut aggregate = Aggregate::initial(aggregation);
        counted.iter().for_each(|event| aggregate.add(aggregation, &event.contribution()));
        line(period.start, period.end, &subject, &groups, &text(aggregate.value(aggregation, period)), counted.len() as u64)
    };
    sums.into_iter().map(row).collect()
}

fn tuple_bytes(event: &Event) -> Vec<u8> {
    let mut tuples = tuple::Tuples::default();
    tuples.intern(&["plan", "data.region"].map(|name| Path::parse(name).unwrap()), event.leaves().into_iter());
    tuples.texts().get(0).to_vec()
}

/// Returns queries of every kind.
pub(super) fn questions(aggregation: Aggregation) -> Vec<Query> {
    let all = Query::of(meter_type(aggregation), aggregation);
    let at = |text: &str| Timestamp::parse_rfc3339(text.as_bytes());
    let window = |size, zone: &str| Some(Window { size, zone: Zone::named(zone).unwrap() });
    let fields = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    vec![
        all.clone(),
        Query { from: at("2024-03-30T10:00:59.5Z"), to: at("2024-03-31T10:10:30Z"), ..all.clone() },
        Query { from: at("2024-03-30T10:10:00Z"), to: at("2024-03-30T10:10:50Z"), ..all.clone() },
        Query { window: window(WindowSize::Day, "Europe/Oslo"), ..all.clone() },
        Query { window: window(WindowSize::Day, "America/New_York"), group_by: fields(&["subject"]), ..all.clone() },
        Query { window: window(WindowSize::Month, "Europe/Oslo"), group_by: fields(&["plan", "subject"]), ..all.clone() },
        Query { window: window(WindowSize::Hour, "Europe/Oslo"), group_by: fields(&["data.region"]), ..all.clone() },
        Query { window: window(WindowSize::Minute, "Etc/UTC"), subjects: Some(fields(&["user-3", "unknown"])), ..all.clone() },
        Query { group_by: fields(&["nothing", "data.region", "plan"]), ..all.clone() },
        Query { filter: vec![("plan".into(), fields(&["pro", "a,b:\"c"]))], group_by: fields(&["subject"]), ..all.clone() },
        Query {
            filter: vec![("plan".into(), fields(&["free"])), ("data.region".into(), fields(&["1"]))],
            subjects: Some(fields(&["user-1", "user-2"])),
            window: window(WindowSize::Day, "Asia/Kathmandu"),
            ..all.clone()
        },
        Query { filter: vec![("nothing".into(), fields(&["x"]))], ..all },
    ]
}
