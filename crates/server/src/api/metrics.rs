//! Metrics, named by the seven verbs: received, admitted, mediated, counted, closed, flushed,
//! delivered.
//!
//! Numbers of pipelines are read from their boards when the metrics are requested; only events at
//! the door are counted here. Rules: every series exists from the start, at 0; no series of a
//! family is the sum of others in it; a counter decreases only when the process restarts, and then
//! to a value for which `increase` is correct.

mod page;
mod pipelines;
mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use super::App;
pub(super) use page::Form;
use page::{Kind, Page};
pub(super) use process::resident_bytes;

/// Counters of the door.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: AtomicU64,
    bytes: AtomicU64,
    admitted: AtomicU64,
    rejected: AtomicU64,
    /// By class of status: 2xx, 4xx, 5xx.
    answers: [AtomicU64; 3],
    unread: Arc<AtomicU64>,
    /// Events rejected at the door since the start, by namespace.
    rejected_in: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    /// Returns the counter of connections that were closed because their answers were not read.
    pub fn unread(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unread)
    }

    /// Returns the events rejected at the door since the start, by namespace.
    pub fn rejected_by_namespace(&self) -> BTreeMap<String, u64> {
        self.rejected_in.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn received(&self, namespace: &str, bytes: usize, admitted: u32, rejected: usize) {
        if rejected > 0 {
            let mut all = self.rejected_in.lock().unwrap_or_else(PoisonError::into_inner);
            *all.entry(namespace.to_owned()).or_default() += rejected as u64;
        }
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

    /// Returns all metrics as text.
    pub(super) fn text(&self, app: &App, form: Form) -> String {
        let mut page = Page::new(form);
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        page.family("flowmeter_build_info", Kind::Info, "The version of the program; always 1");
        page.line(&version, 1);
        process::write(&mut page);
        self.door(&mut page);
        installation(&mut page, app);
        pipelines::write(&mut page, app);
        notifications(&mut page, app);
        page.finish()
    }

    fn door(&self, page: &mut Page) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let help = "Requests with events";
        page.one("flowmeter_receive_requests_total", Kind::Counter, help, load(&self.requests));
        let help = "Bytes of the bodies of requests with events, decompressed";
        page.one("flowmeter_receive_bytes_total", Kind::Counter, help, load(&self.bytes));
        let help = "Events that were let in or rejected at the door";
        page.family("flowmeter_receive_events_total", Kind::Counter, help);
        page.line("verdict=\"admitted\"", load(&self.admitted));
        page.line("verdict=\"rejected\"", load(&self.rejected));
        let help = "Answers to requests, by class of status";
        page.family("flowmeter_http_answers_total", Kind::Counter, help);
        for (class, counter) in ["2xx", "4xx", "5xx"].iter().zip(&self.answers) {
            page.line(&format!("class=\"{class}\""), load(counter));
        }
        let help = "Connections closed because an answer was not read within limits.write_idle";
        page.one("flowmeter_http_unread_total", Kind::Counter, help, load(&self.unread));
    }
}

fn installation(page: &mut Page, app: &App) {
    let installation = &app.installation;
    let (log_bytes, log_end) = installation.log_extent();
    page.one("flowmeter_log_bytes", Kind::Gauge, "Bytes of the log on disk", log_bytes);
    let help = "Entries of the log, including removed ones";
    page.one("flowmeter_log_entries_total", Kind::Counter, help, log_end);
    let failed = u64::from(installation.failure().is_some());
    let help = "1 after a durable write failed: nothing more is taken";
    page.one("flowmeter_log_failed", Kind::Gauge, help, failed);
    let help = "Seconds by which the machine's clock is ahead of the server's time; below 0: the log is ahead";
    page.one("flowmeter_clock_ahead_seconds", Kind::Gauge, help, installation.clock_ahead() / 1_000_000_000);
    if let Ok(free) = installation.disk().free_bytes() {
        let help = "Bytes free on the disk of the data folder";
        page.one("flowmeter_disk_free_bytes", Kind::Gauge, help, free);
    }
    let bound = installation.meters_bytes_max();
    let help = "Memory that all meters together may take";
    page.one("flowmeter_count_meter_bytes_max", Kind::Gauge, help, bound);
}

fn notifications(page: &mut Page, app: &App) {
    let Ok(gauges) = app.courier.gauges() else { return };
    let label = |one: &flowmeter_node::notifications::courier::Gauge| {
        format!(
            "namespace=\"{}\",notification=\"{}\",channel=\"{}\"",
            page::escape(&one.namespace),
            page::escape(&one.notification),
            page::escape(&one.channel)
        )
    };
    let help = "Notifications that wait to be delivered over a channel";
    page.family("flowmeter_notify_waiting", Kind::Gauge, help);
    gauges.iter().for_each(|one| page.line(&label(one), one.waiting));
    let help = "Notifications that a channel has accepted";
    page.family("flowmeter_notify_delivered_total", Kind::Counter, help);
    gauges.iter().for_each(|one| page.line(&label(one), one.delivered));
    page.family("flowmeter_notify_dead_total", Kind::Counter, "Notifications that were given up");
    gauges.iter().for_each(|one| page.line(&label(one), one.dead));
    page.family("flowmeter_notify_failing", Kind::Gauge, "1 while a channel accepts nothing");
    gauges.iter().for_each(|one| page.line(&label(one), u64::from(one.is_failing)));
}
