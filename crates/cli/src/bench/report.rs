//! The measurements of a run of the load generator.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::BenchIngest;

pub(super) struct Report {
    events: u64,
    requests: u64,
    batch: u32,
    connections: u32,
    elapsed: Duration,
    /// Sorted durations of requests.
    times: Vec<Duration>,
}

impl Report {
    pub(super) fn new(bench: &BenchIngest, mut times: Vec<Duration>, elapsed: Duration) -> Report {
        times.sort_unstable();
        let requests = times.len() as u64;
        let events = requests * u64::from(bench.batch);
        Report { events, requests, batch: bench.batch, connections: bench.connections, elapsed, times }
    }

    fn millis(&self, share: f64) -> f64 {
        let at = ((self.times.len() as f64 * share) as usize).min(self.times.len().saturating_sub(1));
        self.times.get(at).map_or(0.0, |time| (time.as_secs_f64() * 1e5).round() / 100.0)
    }

    pub(super) fn json(&self) -> Value {
        let seconds = self.elapsed.as_secs_f64();
        json!({
            "events": self.events, "requests": self.requests, "batch": self.batch, "connections": self.connections,
            "seconds": (seconds * 1e3).round() / 1e3,
            "eventsPerSecond": (self.events as f64 / seconds).round(),
            "requestsPerSecond": (self.requests as f64 / seconds).round(),
            "p50Millis": self.millis(0.5), "p99Millis": self.millis(0.99), "maxMillis": self.millis(1.0),
        })
    }
}
