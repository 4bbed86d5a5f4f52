//! The auditor's model: the requests sent and the server's answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_node::installation::Installation;

/// The meter type that people change.
pub(super) const SHARED_TYPE: &str = "shared units";
pub(super) const PIPELINES: [&str; 2] = ["alpha", "beta"];

/// An event that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) user: u64,
    /// Its value; `None`: it cannot be counted and waits in the queue.
    pub(super) value: Option<i64>,
    /// Whether it is known to be in the log.
    pub(super) is_acknowledged: bool,
    pub(super) line: String,
}

/// The state that the auditor expects.
#[derive(Default)]
pub(super) struct Model {
    pub(super) events: BTreeMap<u64, Sent>,
    /// By pipeline and the id of a parked event: the user and the value of its correction.
    pub(super) corrected: BTreeMap<(usize, u64), (u64, i64)>,
    /// By pipeline and id: corrections without an answer, which may have been made or not.
    pub(super) unsure: BTreeMap<(usize, u64), (u64, i64)>,
    /// Pipeline and id of events that should have been discarded: the request had no answer, or a
    /// later one to correct the event was not refused for that.
    pub(super) perhaps_discarded: Vec<(usize, u64)>,
    /// Pipeline and id of events that were discarded, perhaps.
    pub(super) discarded: Vec<(usize, u64)>,
    /// Whether no session is stopped by a person, so that what was acknowledged is counted by every pipeline
    /// without being sent again.
    pub(super) is_steady: bool,
    /// The schedule of a refused change that may hold if the program ends before it is undone.
    pub(super) doubtful: Option<String>,
    /// The reset schedule of the shared type; several while a change was not answered.
    pub(super) schedules: Vec<String>,
}

impl Model {
    /// After a start, finds out whether an unanswered change was made.
    pub(super) fn recall(&mut self, server: Option<&Arc<Installation>>) -> Result<(), String> {
        let Some(server) = server else { return Ok(()) };
        let types = server.meter_types("default").map_err(|why| why.to_string())?;
        let Some(shared) = types.iter().find(|known| known.name == SHARED_TYPE) else { return Ok(()) };
        let there = shared.fields["resetSchedule"].as_str().unwrap_or_default().to_owned();
        if !self.schedules.is_empty() && !self.schedules.contains(&there) {
            let expected = self.schedules.join(" or ");
            return Err(format!("after a start the shared type resets {there}, expected {expected}"));
        }
        self.schedules = vec![there];
        Ok(())
    }

    /// Returns the sum expected for a user in a pipeline, by the server's answers.
    pub(super) fn expected(&self, pipeline: usize, user: u64) -> i64 {
        // An event that was settled in the queue had been parked: it came too late.
        let is_settled = |id: &u64| self.corrected.contains_key(&(pipeline, *id)) || self.discarded.contains(&(pipeline, *id));
        let counted = self.events.iter().filter(|(id, sent)| sent.user == user && !is_settled(id));
        let events: i64 = counted.filter_map(|(_, sent)| sent.value).sum();
        let corrected = self.corrected.iter().filter(|((of, _), (whose, _))| *of == pipeline && *whose == user);
        events + corrected.map(|(_, (_, value))| value).sum::<i64>()
    }
}
