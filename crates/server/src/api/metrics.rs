//! Metrics, named by the seven verbs: what was received, admitted, mediated, counted,
//! closed, flushed, delivered.
//!
//! What pipelines count is read from their boards at the moment of asking; only what
//! happens at the door is counted here.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

use super::App;
use crate::installation::{TargetGauge, target_gauges};

/// What happens at the door.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: AtomicU64,
    bytes: AtomicU64,
    admitted: AtomicU64,
    rejected: AtomicU64,
    /// By class of status: 2xx, 4xx, 5xx.
    answers: [AtomicU64; 3],
    unread: Arc<AtomicU64>,
}

impl Metrics {
    /// The count of connections that were closed because their answers were not read.
    pub fn unread(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unread)
    }

    pub(super) fn received(&self, bytes: usize, admitted: u32, rejected: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.admitted.fetch_add(u64::from(admitted), Ordering::Relaxed);
        self.rejected.fetch_add(rejected as u64, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, _path: &str, status: StatusCode) {
        let class = if status.is_success() {
            0
        } else if status.is_server_error() {
            2
        } else {
            1
        };
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Everything, in the OpenMetrics text format.
    pub(super) fn text(&self, app: &App) -> String {
        let mut out = String::new();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        family(&mut out, "flowmeter_receive_requests", "counter", "Requests with events");
        line(&mut out, "flowmeter_receive_requests_total", "", load(&self.requests));
        family(&mut out, "flowmeter_receive_bytes", "counter", "Bytes of bodies with events, decompressed");
        line(&mut out, "flowmeter_receive_bytes_total", "", load(&self.bytes));
        family(&mut out, "flowmeter_receive_events", "counter", "Events let in or rejected at the door");
        line(&mut out, "flowmeter_receive_events_total", "verdict=\"admitted\"", load(&self.admitted));
        line(&mut out, "flowmeter_receive_events_total", "verdict=\"rejected\"", load(&self.rejected));
        family(&mut out, "flowmeter_http_answers", "counter", "Answers by class of status");
        for (class, counter) in ["2xx", "4xx", "5xx"].iter().zip(&self.answers) {
            line(&mut out, "flowmeter_http_answers_total", &format!("class=\"{class}\""), load(counter));
        }
        let help = "Connections closed because an answer was not read within limits.write_idle";
        family(&mut out, "flowmeter_http_unread", "counter", help);
        line(&mut out, "flowmeter_http_unread_total", "", load(&self.unread));
        let (log_bytes, log_end) = app.installation.log_extent();
        family(&mut out, "flowmeter_log_bytes", "gauge", "Bytes of the log on disk");
        line(&mut out, "flowmeter_log_bytes", "", log_bytes);
        family(&mut out, "flowmeter_log_entries", "counter", "Entries of the log");
        line(&mut out, "flowmeter_log_entries_total", "", log_end);
        family(&mut out, "flowmeter_count_meter_bytes_max", "gauge", "Memory that all meters together may take");
        line(&mut out, "flowmeter_count_meter_bytes_max", "", app.installation.meters_bytes_max());
        pipelines(&mut out, app, log_end);
        out.push_str("# EOF\n");
        out
    }
}

fn pipelines(out: &mut String, app: &App, log_end: u64) {
    let served = app.installation.served();
    let label = |served: &crate::installation::Served| {
        format!("namespace=\"{}\",pipeline=\"{}\"", escape(&served.kept.namespace), escape(&served.kept.name))
    };
    family(out, "flowmeter_count_events", "counter", "Events by verdict; received is their sum");
    for one in &served {
        let (tally, label) = (one.board().tally(), label(one));
        let by_verdict = [
            ("received", tally.received),
            ("counted", tally.counted),
            ("duplicate", tally.duplicate),
            ("filtered", tally.filtered),
        ];
        for (verdict, count) in by_verdict {
            line(out, "flowmeter_count_events_total", &format!("{label},verdict=\"{verdict}\""), count);
        }
        for (reason, count) in tally.parked_by_reason() {
            line(out, "flowmeter_count_events_total", &format!("{label},verdict=\"parked\",reason=\"{reason}\""), count);
        }
    }
    family(out, "flowmeter_mediate_events", "counter", "Events in, out and failed, by operator");
    for one in &served {
        let Ok(plan) = one.worker().ask(|live| std::sync::Arc::clone(live.plan())) else { continue };
        for (node, count) in plan.nodes.iter().zip(one.board().totals().operators) {
            let label = format!("{},operator=\"{}\"", label(one), escape(&node.id));
            line(out, "flowmeter_mediate_events_total", &format!("{label},way=\"in\""), count.received);
            line(out, "flowmeter_mediate_events_total", &format!("{label},way=\"out\""), count.passed);
            line(out, "flowmeter_mediate_events_total", &format!("{label},way=\"error\""), count.errors);
        }
    }
    family(out, "flowmeter_count_meters", "gauge", "Meters there are");
    served.iter().for_each(|one| line(out, "flowmeter_count_meters", &label(one), one.board().meters()));
    family(out, "flowmeter_count_meter_bytes", "gauge", "Memory of meters");
    served.iter().for_each(|one| line(out, "flowmeter_count_meter_bytes", &label(one), one.board().meter_bytes()));
    family(out, "flowmeter_admit_identity_bytes", "gauge", "Bytes of identities in memory, as of the last checkpoint");
    served.iter().for_each(|one| line(out, "flowmeter_admit_identity_bytes", &label(one), one.board().identities_bytes()));
    family(out, "flowmeter_count_lag_entries", "gauge", "Entries of the log that are durable and not yet counted");
    served
        .iter()
        .for_each(|one| line(out, "flowmeter_count_lag_entries", &label(one), log_end.saturating_sub(one.board().position())));
    family(out, "flowmeter_flush_records", "counter", "Metered records flushed, partial ones included");
    for one in &served {
        if let Ok(records) = one.worker().ask(|live| live.outlet().records().next()) {
            line(out, "flowmeter_flush_records_total", &label(one), records);
        }
    }
    let targets: Vec<(String, TargetGauge)> = served
        .iter()
        .flat_map(|one| {
            target_gauges(one).into_iter().map(|gauge| (format!("{},target=\"{}\"", label(one), escape(&gauge.target)), gauge))
        })
        .collect();
    let mut all = |name: &str, kind: &str, help: &str, value: &dyn Fn(&TargetGauge) -> u64| {
        family(out, name.trim_end_matches("_total"), kind, help);
        targets.iter().for_each(|(label, gauge)| line(out, name, label, value(gauge)));
    };
    all("flowmeter_deliver_records_total", "counter", "Records a target has accepted", &|gauge| gauge.accepted);
    all("flowmeter_deliver_lag_records", "gauge", "Records that wait for a target or are on their way", &|gauge| gauge.lag);
    all("flowmeter_deliver_retrying", "gauge", "Deliveries that are tried again on their own", &|gauge| gauge.retrying);
    all("flowmeter_deliver_dead", "gauge", "Deliveries that are dead for good", &|gauge| gauge.dead);
    all("flowmeter_deliver_failing", "gauge", "1 while a target takes nothing", &|gauge| u64::from(gauge.is_failing));
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}
