//! The simulated pipelines: three documents, each in two versions, with the facts that the oracle
//! needs. They differ in their late policy, so that every policy is exercised. They have types of
//! every aggregation, schedules that end often, and zones with odd offsets.

use std::sync::{Arc, OnceLock};

use flowmeter_core::plan::Plan;
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_engine::{Error, Kind};

/// A meter type for the oracle.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub name: &'static str,
    /// Whether the second rule counts in it instead of the first.
    pub second: bool,
    /// The name in the document.
    pub aggregation: &'static str,
    /// The reset schedule, in odd and in even versions.
    pub schedules: [&'static str; 2],
    /// The time zone, in odd and in even versions.
    pub zones: [&'static str; 2],
}

/// A pipeline for the oracle.
#[derive(Clone, Copy, Debug)]
pub struct Document {
    pub name: &'static str,
    /// The key of its meter operator.
    pub key: &'static str,
    /// The policy for late events.
    pub policy: &'static str,
    /// How long periods stay open, in nanoseconds.
    pub grace: i64,
    /// How long after its end a period may be amended, in nanoseconds, in odd and in even versions.
    pub amend_within: [i64; 2],
    /// Whether it asks a service about each event.
    pub asks: bool,
    /// Whether its events go through every operator. The oracle does not know what they make of
    /// events: such a pipeline is compared with the one that applies the whole log again.
    pub mediates: bool,
    pub sorts: &'static [Sort],
}

pub const SECOND: i64 = 1_000_000_000;
pub const HOUR: i64 = 3600 * SECOND;
/// The window of deduplication.
pub const WINDOW: i64 = 48 * HOUR;
/// The kinds of versions of every document: of odd and of even number.
pub const VERSIONS: usize = 2;

const fn sort(name: &'static str, second: bool, aggregation: &'static str, schedule: &'static str, zone: &'static str) -> Sort {
    Sort { name, second, aggregation, schedules: [schedule; 2], zones: [zone; 2] }
}

impl Sort {
    /// Sets the schedule and zone of even versions.
    const fn then(self, schedule: &'static str, zone: &'static str) -> Sort {
        Sort { schedules: [self.schedules[0], schedule], zones: [self.zones[0], zone], ..self }
    }
}

const EVERY_FIVE_HOURS: &str = r#"{"every": "hour", "count": 5}"#;
const AT_NINE_AND_FIVE: &str = r#"{"minute": "0", "hour": "9,17", "day": "*", "month": "*", "weekday": "*"}"#;

/// An operator that asks a service; events pass whatever it says.
const ASKING: &str = r#"{"http": {"url": "http://service/tier", "set": {"data.tier": "body.tier"},
  "onRefused": "pass", "onUnavailable": "pass"}}, "#;

/// A script that makes lists, drops events, refuses some and throws at others.
const CODE: &str = "function step(event, context) {
  const { kind, n } = event.data;
  if (kind === 'dull') context.fail('dull');
  if (kind === 'noise') throw new Error('noise');
  if (kind === undefined) return null;
  context.count(kind);
  event.data.parts = Array.from({ length: PARTS }, (_, index) => index);
  return kind === 'use' ? [event, event] : event;
}";

/// Returns the kind of a version.
pub fn kind_of(version: u32) -> usize {
    usize::from(version.is_multiple_of(2))
}

pub const DOCUMENTS: [Document; 4] = [
    Document {
        name: "alpha",
        key: "00000000-0000-4000-8000-00000000000a",
        policy: "amend",
        grace: 0,
        amend_within: [30 * HOUR, 50 * HOUR],
        asks: false,
        mediates: false,
        sorts: &[
            sort("a sum", false, "sum", "hourly", "Asia/Kathmandu").then(EVERY_FIVE_HOURS, "Asia/Kathmandu"),
            sort("a max", false, "max", "daily", "Europe/Oslo").then("daily", "America/New_York"),
            sort("a unique", true, "unique", "daily", "Etc/UTC"),
            sort("a count", true, "count", "hourly", "Etc/UTC"),
        ],
    },
    Document {
        name: "beta",
        key: "00000000-0000-4000-8000-00000000000b",
        policy: "carry",
        grace: 600 * SECOND,
        amend_within: [0; 2],
        asks: true,
        mediates: false,
        sorts: &[
            sort("b sum", false, "sum", "hourly", "Etc/UTC"),
            sort("b min", false, "min", "hourly", "Australia/Lord_Howe").then("daily", "Etc/UTC"),
            sort("b latest", true, "latest", "daily", "America/New_York").then(AT_NINE_AND_FIVE, "Europe/Oslo"),
        ],
    },
    Document {
        name: "gamma",
        key: "00000000-0000-4000-8000-00000000000c",
        policy: "park",
        grace: 1800 * SECOND,
        amend_within: [0; 2],
        asks: false,
        mediates: false,
        sorts: &[
            sort("c delta", false, "delta", "hourly", "Etc/UTC").then(EVERY_FIVE_HOURS, "Asia/Kathmandu"),
            sort("c weighted", false, "weighted", "daily", "Etc/UTC"),
            sort("c avg", true, "avg", "hourly", "Etc/UTC").then("hourly", "Asia/Kathmandu"),
            sort("c sum", true, "sum", "daily", "Pacific/Auckland"),
        ],
    },
    Document {
        name: "delta",
        key: "00000000-0000-4000-8000-00000000000d",
        policy: "amend",
        grace: 0,
        amend_within: [30 * HOUR, 50 * HOUR],
        asks: true,
        mediates: true,
        sorts: &[sort("d sum", false, "sum", "hourly", "Asia/Kathmandu"), sort("d count", true, "count", "daily", "Etc/UTC")],
    },
];

impl Document {
    /// Returns the kind of event that a version drops.
    pub fn drops(version: u32) -> &'static str {
        if version % 2 == 1 { "noise" } else { "dull" }
    }

    fn text(&self, version: u32) -> String {
        if self.mediates {
            return self.mediating(version);
        }
        let types: Vec<String> = self.sorts.iter().map(|sort| self.type_text(sort, version)).collect();
        let breakdowns = if version % 2 == 1 { r#"["data.region"]"# } else { r#"["data.kind"], ["data.region"]"# };
        // Where the service is asked, before or behind the deduplication, depends on the version.
        let tier = if self.asks { r#", ["data.tier"]"# } else { "" };
        let breakdowns = format!("{breakdowns}{tier}");
        let [early, behind] = match (self.asks, version % 2) {
            (false, _) => ["", ""],
            (true, 1) => [ASKING, ""],
            (true, _) => ["", ASKING],
        };
        let rest = format!(r#""value": "data.n", "series": [], "groupBy": [{breakdowns}], "carryLast": ["data.kind"]"#);
        format!(
            r#"{{"pipeline": "{}", "source": {{"http": {{}}}}, "operators": [
              {{"filter": {{"when": "data.kind != \"{}\""}}}},
              {early}{{"dedupe": {{"key": ["source", "id"], "window": "48h"}}}},
              {behind}              {{"meter": {{"key": "{}", "user": "subject", "time": {{"field": "time", "missing": "received"}}, "rules": [
                {{"name": "first", "category": "first", "conditions": {{"all": [{{"field": "data.kind", "op": "eq", "value": "use"}}]}}, {rest}}},
                {{"name": "second", "category": "second", {rest}}}]}}}}],
              "meterTypes": [{}]}}"#,
            self.name,
            Document::drops(version),
            self.key,
            types.join(", ")
        )
    }

    /// Returns the document with every operator that makes, prices or looks up something.
    fn mediating(&self, version: u32) -> String {
        let types: Vec<String> = self.sorts.iter().map(|sort| self.type_text(sort, version)).collect();
        let parts = 2 + version % 2;
        // State of one version has no place in the other.
        let (hours, cut) = if version % 2 == 1 { ("1h", "daily") } else { ("2h", "hourly") };
        format!(
            r#"{{"pipeline": "{}", "source": {{"http": {{}}}},
              "tables": [{{"name": "plans", "key": ["region"], "file": {{"path": "plans.ndjson"}}}},
                {{"name": "rates", "key": ["currency", "date"], "rows": [{{"currency": "USD", "date": "2024-01-02", "rate": 1.25}}]}}],
              "operators": [
              {{"dedupe": {{"key": ["source", "id"], "window": "48h"}}}},
              {{"id": "code", "script": {{"code": {}}}}},
              {{"split": {{"path": "data.parts", "into": "data.part"}}}},
              {{"enrich": {{"table": "plans", "on": {{"region": "data.region"}}, "set": {{"data.plan": "plan"}}, "unmatched": "pass"}}}},
              {ASKING}
              {{"currency": {{"table": "rates", "base": "EUR", "amount": "data.n", "from": {{"value": "USD"}}, "to": {{"value": "EUR"}},
                "set": "data.eur", "daysBack": 366, "scale": 2}}}},
              {{"aggregate": {{"key": ["subject"], "fields": {{"data.total": {{"sum": "data.n"}}}}, "schedule": "daily"}}}},
              {{"id": "price", "rate": {{"quantity": "data.n", "set": "data.amount", "key": ["subject"], "schedule": "daily",
                "price": {{"model": "graduated", "tiers": [{{"upTo": 20, "unit": "0.5"}}, {{"unit": "0.125"}}]}}}}}},
              {{"id": "hours", "accumulate": {{"key": ["subject", "data.tier", "data.plan"], "window": {{"size": "{hours}"}},
                "fields": {{"data.n": {{"sum": "data.amount"}}, "data.eur": {{"sum": "data.eur"}}, "data.calls": {{"count": true}}}}}}}},
              {{"id": "pairs", "from": "price", "correlate": {{"key": ["subject"], "start": "data.kind == \"use\"",
                "stop": "data.kind == \"buy\"", "duration": "data.n", "onTimeout": "close", "cut": {{"schedule": "{cut}"}}}}}},
              {{"from": ["hours", "pairs"], "meter": {{"key": "{}", "user": "subject", "rules": [
                {{"name": "first", "category": "first", "value": "data.n", "series": [], "groupBy": [["data.tier"], ["data.plan"], ["data.eur"]]}},
                {{"name": "second", "category": "second", "value": "data.n", "series": []}}], "match": "all"}}}}],
              "meterTypes": [{}]}}"#,
            self.name,
            serde_json::Value::from(CODE.replace("PARTS", &parts.to_string())),
            self.key,
            types.join(", ")
        )
    }

    fn type_text(&self, sort: &Sort, version: u32) -> String {
        let thresholds = match (sort.aggregation, version % 2) {
            ("sum", 1) => r#", "thresholds": [{"name": "much", "value": 40}]"#,
            ("sum", _) => r#", "thresholds": [{"name": "much", "value": 40}, {"name": "more", "value": 90}]"#,
            _ => "",
        };
        let within = self.amend_within[kind_of(version)] / HOUR;
        let within = if self.policy == "amend" { format!(r#", "amendWithin": "{within}h""#) } else { String::new() };
        let schedule = match sort.schedules[kind_of(version)] {
            written if written.starts_with('{') => written.to_owned(),
            name => format!("\"{name}\""),
        };
        format!(
            r#"{{"name": "{}", "category": "{}", "aggregation": "{}", "resetSchedule": {schedule}, "timezone": "{}",
              "late": {{"policy": "{}", "grace": "{}s"{within}}}{thresholds}}}"#,
            sort.name,
            if sort.second { "second" } else { "first" },
            sort.aggregation,
            sort.zones[kind_of(version)],
            self.policy,
            self.grace / SECOND,
        )
    }
}

/// Returns the plan of a version of a document. All are compiled once.
pub fn plan_of(document: usize, version: u32) -> Result<Arc<Plan>, Error> {
    static PLANS: OnceLock<Vec<Result<Arc<Plan>, String>>> = OnceLock::new();
    let compile = |number: usize| {
        let text = DOCUMENTS[number / VERSIONS].text((number % VERSIONS) as u32);
        Pipeline::read(&text).map(|compiled| Arc::new(compiled.plan)).map_err(|problems| format!("{problems:?}"))
    };
    let plans = PLANS.get_or_init(|| (0..DOCUMENTS.len() * VERSIONS).map(compile).collect());
    plans[document * VERSIONS + version as usize % VERSIONS].clone().map_err(|why| Error::new(Kind::Bug, why))
}

/// Returns an instant from nanoseconds.
pub fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}
