//! The overview: every pipeline, target and closing of a namespace at one instant.
//!
//! Everything is read from boards and from the history in memory; no worker is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_core::session::{Session, Status};
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_engine::Error;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::meters::closings;
use crate::monitoring::history::{Since, pipeline_series, target_series};
use crate::monitoring::needs::{Expiring, Need, Seen};
use crate::monitoring::standing::PipelineGauge;
use crate::pipelines::KeptPipeline;

/// Compiled versions kept at most; older ones are compiled again when they are needed.
const COMPILED_MAX: usize = 1_000;

/// Meter types that a summary lists with their next closing.
const CLOSINGS_MAX: usize = 6;

/// Parts of the overview that are computed seldom.
#[derive(Default)]
pub(crate) struct Cache {
    compiled: Mutex<BTreeMap<(Uuid, u32), Arc<Pipeline>>>,
    pub(crate) meters: Mutex<BTreeMap<Uuid, closings::MetersByType>>,
}

/// Counts of events, as the history has them.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    counted: u64,
    late: u64,
    duplicate: u64,
    filtered: u64,
    parked: u64,
    records: u64,
    derived: u64,
    split: u64,
    absorbed: u64,
    cancelled: u64,
}

impl Counts {
    fn of(since: &Since) -> Counts {
        let [received, counted, late, duplicate, filtered, parked, records, _, derived, split, absorbed, cancelled] =
            since.values;
        Counts { received, counted, late, duplicate, filtered, parked, records, derived, split, absorbed, cancelled }
    }

    fn add(&mut self, other: &Counts) {
        self.received += other.received;
        self.counted += other.counted;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.parked += other.parked;
        self.records += other.records;
        self.derived += other.derived;
        self.split += other.split;
        self.absorbed += other.absorbed;
        self.cancelled += other.cancelled;
    }

    fn is_balanced(&self) -> bool {
        self.received + self.derived
            == self.counted + self.duplicate + self.filtered + self.parked + self.split + self.absorbed + self.cancelled
    }

    fn shown(&self) -> Value {
        let Counts { received, counted, late, duplicate, filtered, parked, records, derived, split, absorbed, cancelled } = self;
        json!({
            "received": received, "counted": counted, "late": late, "duplicate": duplicate, "filtered": filtered,
            "parked": parked, "records": records, "derived": derived, "split": split, "absorbed": absorbed,
            "cancelled": cancelled,
        })
    }
}

impl Installation {
    /// Returns the newest version of a pipeline, compiled; none if it cannot be read.
    pub fn compiled(&self, pipeline: &KeptPipeline) -> Option<Arc<Pipeline>> {
        let newest = self.pipeline(&pipeline.namespace, &pipeline.name).ok()?;
        let key = (newest.id, newest.version);
        let cache = || self.overview.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cache().get(&key) {
            return Some(Arc::clone(known));
        }
        let compiled = Arc::new(self.version(&newest, newest.version).ok()?.compile().ok()?);
        let mut cache = cache();
        if cache.len() >= COMPILED_MAX {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&compiled));
        Some(compiled)
    }

    /// Everything the overview page shows. Counts are those since `from`; `expiring` has what is
    /// valid for a limited time.
    pub fn overview(&self, namespace: &str, from: Timestamp, expiring: &[Expiring]) -> Result<Value, Error> {
        let served = self.served_in(namespace);
        let mut totals = Counts::default();
        let (mut known_from, mut is_balanced) = (from.nanos(), true);
        let (mut rate, mut lag_events, mut lag_nanos, mut meters, mut bytes) = (0, 0, 0, 0, 0);
        let (mut pipelines, mut gauges) = (Vec::new(), Vec::<(Arc<Served>, PipelineGauge)>::new());
        for kept in self.pipelines(namespace)? {
            let series = pipeline_series(namespace, &kept.name);
            let since = self.history.since(&series, from.nanos());
            let counts = Counts::of(&since);
            known_from = known_from.max(since.from.unwrap_or(i64::MIN));
            totals.add(&counts);
            let own_rate = self.history.rate(&series, 0);
            rate += own_rate;
            let mut row = json!({
                "name": kept.name, "version": kept.version, "builtIn": kept.built_in, "streaming": kept.streaming,
                "totals": counts.shown(), "rate": own_rate, "lag": {"events": 0, "ms": 0}, "open": 0,
            });
            if let Some((number, status)) = self.standing.newest(kept.id) {
                row["sessionId"] = json!(Session::id_of(number));
                row["status"] = json!(status.name());
            } else {
                row["status"] = json!(Status::NeverRun.name());
            }
            if let Some(served) = served.iter().find(|one| one.kept.id == kept.id) {
                let gauge = self.pipeline_gauge(served);
                is_balanced &= served.board().tally().is_complete() && counts.is_balanced();
                lag_events += gauge.lag_events;
                lag_nanos = gauge.lag_nanos.max(lag_nanos);
                meters += served.board().meters();
                bytes += served.board().meter_bytes();
                row["lag"] = json!({"events": gauge.lag_events, "ms": millis(gauge.lag_nanos)});
                row["open"] = json!(self.open_parked(served));
                row["meters"] = json!(served.board().meters());
                gauges.push((Arc::clone(served), gauge));
            }
            pipelines.push(row);
        }
        // Pipelines that were removed have left counts behind, which the steps of the history have too.
        let is_there = |name: &String| {
            pipelines.iter().any(|row| pipeline_series(namespace, row["name"].as_str().unwrap_or_default()) == *name)
        };
        for removed in self.history.names(&pipeline_series(namespace, "")).iter().filter(|name| !is_there(name)) {
            let since = self.history.since(removed, from.nanos());
            known_from = known_from.max(since.from.unwrap_or(i64::MIN));
            totals.add(&Counts::of(&since));
        }
        let groups = self.parked_summary(namespace);
        let targets: Vec<Value> = served.iter().flat_map(|one| self.target_rows(one)).collect();
        let rejected = self.rejected_since(namespace, from.nanos());
        let mut shown = totals.shown();
        shown["rejected"] = json!(rejected);
        let closings = self.nearest_closings(namespace, CLOSINGS_MAX)?;
        let seen = Seen { gauges: &gauges, is_balanced, targets: &targets, groups: &groups, expiring };
        let needs = self.needs(namespace, &seen);
        Ok(json!({
            "at": self.now().to_string(), "from": Timestamp::from_nanos(known_from).to_string(), "totals": shown,
            "balanced": is_balanced, "rate": rate, "lag": {"events": lag_events, "ms": millis(lag_nanos)},
            "meters": {"open": meters, "bytes": bytes, "bytesMax": self.meters_bytes_max()},
            "pipelines": pipelines, "targets": targets, "corrections": groups["totals"], "closings": closings,
            "needs": needs.iter().map(Need::shown).collect::<Vec<_>>(),
        }))
    }

    /// Returns the content of a pipeline's page: counts, operators with rates, targets.
    pub fn pipeline_live(&self, namespace: &str, name: &str, from: Timestamp) -> Result<Value, crate::refusal::Refused> {
        let kept = self.pipeline(namespace, name)?;
        let series = pipeline_series(namespace, &kept.name);
        let counts = Counts::of(&self.history.since(&series, from.nanos()));
        let mut shown = json!({
            "name": kept.name, "version": kept.version, "totals": counts.shown(), "rate": self.history.rate(&series, 0),
        });
        if let Some((number, status)) = self.standing.newest(kept.id) {
            shown["sessionId"] = json!(Session::id_of(number));
            shown["status"] = json!(status.name());
        }
        let (Some(served), Some(compiled)) = (self.served_of(kept.id), self.compiled(&kept)) else { return Ok(shown) };
        let totals = served.board().totals();
        shown["session"] = crate::sessions::counts(&compiled.plan, &totals);
        let gauge = self.pipeline_gauge(&served);
        shown["lag"] = json!({"events": gauge.lag_events, "ms": millis(gauge.lag_nanos)});
        shown["meters"] = json!(served.board().meters());
        shown["open"] = json!(self.open_parked(&served));
        let rates = compiled.plan.nodes.iter().map(|node| {
            let series = crate::monitoring::history::operator_series(namespace, &kept.name, &node.id);
            json!({"id": node.id, "in": self.history.rate(&series, 0), "out": self.history.rate(&series, 1)})
        });
        shown["rates"] = rates.collect();
        shown["targets"] = json!(self.target_rows(&served));
        Ok(shown)
    }

    /// Returns the progress of each target of a pipeline.
    pub fn target_rows(&self, served: &Served) -> Vec<Value> {
        let rows = crate::deliveries::targets(served);
        let row = |mut row: Value| {
            let is_failing = row["failingSince"].is_string() || row["trouble"].is_string();
            let count = |name: &str| row[name].as_u64().unwrap_or(0);
            let waiting = count("records").saturating_sub(count("deliveredTo"));
            let state = match (is_failing, row["halted"].as_bool().unwrap_or(false), count("retrying"), count("dead")) {
                (_, true, ..) => "halted",
                (true, ..) => "failing",
                (_, _, 1.., _) => "retrying",
                (.., 1..) => "dead",
                _ if waiting > 0 => "delivering",
                _ => "healthy",
            };
            let series = target_series(&served.kept.namespace, &served.kept.name, row["target"].as_str().unwrap_or_default());
            row["rate"] = json!(self.history.rate(&series, 0));
            row["lastAcceptedAt"] = json!(self.history.last_growth(&series, 0).map(|at| Timestamp::from_nanos(at).to_string()));
            row["waiting"] = json!(waiting);
            row["state"] = json!(state);
            row
        };
        rows.into_iter().map(row).collect()
    }
}

/// Percent-encodes a name for a path.
pub fn encoded(name: &str) -> String {
    flowmeter_core::template::percent_encoded(name.as_bytes())
}

fn millis(nanos: i128) -> i64 {
    i64::try_from(nanos.max(0) / 1_000_000).unwrap_or(i64::MAX)
}
