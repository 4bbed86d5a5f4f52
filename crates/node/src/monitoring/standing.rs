//! The state of pipelines: the status of the newest session of each, lines of the log for changes,
//! and numbers for monitoring.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flowmeter_core::session::{RunType, Status};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::folder_of;
use flowmeter_engine::{Error, Totals};
use flowmeter_store::catalog::{Catalog, Table};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::pipelines::KeptPipeline;
use crate::rows::kept;
use crate::sessions::KeptSession;

/// The status of the newest session of each pipeline that counts.
#[derive(Default)]
pub(crate) struct Standing(Mutex<BTreeMap<Uuid, (u64, Status)>>);

impl Standing {
    /// Reads the statuses from the catalog.
    pub(crate) fn of(catalog: &dyn Catalog) -> Result<Standing, Error> {
        let standing = Standing::default();
        for (_, value) in catalog.scan(Table::Sessions, b"", None, usize::MAX)? {
            standing.see(&kept(&value)?);
        }
        Ok(standing)
    }

    fn see(&self, session: &KeptSession) {
        if session.session_run_type != RunType::Normal {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = all.entry(session.pipeline_id).or_insert((session.number, session.session_status));
        if session.number >= newest.0 {
            *newest = (session.number, session.session_status);
        }
    }

    /// Logs that a session has changed its status, and stores the new one.
    pub(crate) fn changed(&self, from: Status, session: &KeptSession) {
        self.see(session);
        let to = session.session_status;
        let (session, pipeline, error) = (&session.session_id, &session.pipeline, &session.error);
        let has_failed = to == Status::Failed || to == Status::TestingFailed;
        let (from, to) = (from.name(), to.name());
        match error.as_deref().filter(|_| has_failed) {
            Some(error) => tracing::error!(session, pipeline, from, to, error, "session failed"),
            None => tracing::info!(session, pipeline, from, to, "session status changed"),
        }
    }

    /// Returns the number and the status of the newest session of a pipeline.
    pub(crate) fn newest(&self, pipeline: Uuid) -> Option<(u64, Status)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&pipeline).copied()
    }

    fn status_of(&self, pipeline: Uuid) -> Option<Status> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&pipeline).map(|(_, status)| *status)
    }
}

/// Numbers of a running pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineGauge {
    /// Entries of the log that it has not taken.
    pub lag_entries: u64,
    /// Number of events in them.
    pub lag_events: u64,
    /// Age of the oldest of them.
    pub lag_nanos: i128,
    /// Time for which the earliest due flush is overdue.
    pub overdue_nanos: i128,
    /// Age of the newest checkpoint, if there is newer state.
    pub checkpoint_age_nanos: i128,
    /// Events that are not in files of the event store.
    pub unfiled_events: u64,
}

impl Installation {
    /// Returns the numbers of a running pipeline.
    pub fn pipeline_gauge(&self, served: &Served) -> PipelineGauge {
        let (now, board) = (self.now(), served.board());
        let (position, end) = (board.position(), self.log_end());
        let mut gauge = PipelineGauge {
            lag_entries: end.saturating_sub(position),
            overdue_nanos: self.flush_overdue(served, now),
            ..PipelineGauge::default()
        };
        let shown = board.shown();
        let age = |at| now.since(Timestamp::from_nanos(at));
        gauge.checkpoint_age_nanos = shown.unsaved_since.map_or(0, age);
        if let Some(filed) = self.event_store.get().and_then(|store| store.filed(served.kept.id)) {
            gauge.unfiled_events = board.tally().received.saturating_sub(filed);
        }
        // Without a session nothing waits: a later one decides where it continues.
        if served.session() == 0 {
            gauge.lag_entries = 0;
            return gauge;
        }
        // The oldest waiting entry has its time of receipt, and the number of events before it.
        if position < end
            && let Ok(mut reader) = self.read_log(position, end)
            && let Ok(Some(oldest)) = reader.read()
        {
            gauge.lag_events = self.journal.events().saturating_sub(oldest.first_item);
            gauge.lag_nanos = now.since(Timestamp::from_nanos(oldest.at)).max(0);
        }
        gauge
    }

    /// Returns the totals of a pipeline, if they may be published; a paused pipeline shows its
    /// present ones.
    pub fn totals_shown(&self, served: &Served) -> Option<Totals> {
        let board = served.board();
        board.shown().totals.or_else(|| board.is_paused().then(|| board.totals()))
    }

    /// Returns the time for which the earliest due flush of a pipeline is overdue, in nanoseconds.
    /// A pipeline without a session has nothing to flush.
    pub(crate) fn flush_overdue(&self, served: &Served, now: Timestamp) -> i128 {
        let is_due = served.session() != 0 && served.board().due() <= now.nanos();
        let from = served.board().shown().flush_from.filter(|_| is_due);
        from.map_or(0, |from| now.since(Timestamp::from_nanos(from)).max(0))
    }

    /// Returns a pipeline whose flush is overdue for longer than the bound, with that time; paused
    /// ones do not flush on purpose.
    pub fn late_flush(&self) -> Option<(String, std::time::Duration)> {
        let bound = self.settings.sessions.flush_overdue?;
        let now = self.now();
        self.served().into_iter().filter(|served| !served.board().is_paused()).find_map(|served| {
            let overdue = u64::try_from(self.flush_overdue(&served, now)).unwrap_or(u64::MAX);
            let overdue = std::time::Duration::from_nanos(overdue);
            (overdue > bound).then(|| (served.kept.name.clone(), overdue))
        })
    }

    /// Returns namespace and name of every pipeline that ever ran, and whether its newest session
    /// failed.
    pub fn failed_pipelines(&self) -> Vec<(String, String, bool)> {
        let all = self.all_pipelines().unwrap_or_default().into_iter();
        let status = |pipeline: KeptPipeline| {
            let status = self.standing.status_of(pipeline.id)?;
            Some((pipeline.namespace, pipeline.name, status == Status::Failed))
        };
        all.filter_map(status).collect()
    }

    /// Logs the damaged checkpoints of a pipeline that were skipped.
    pub(crate) fn log_damaged_checkpoints(&self, pipeline: &KeptPipeline) {
        let folder = format!("{}/checkpoints", folder_of(pipeline.id));
        let names = self.disk.list(&folder).unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(".damaged")) {
            tracing::warn!(
                pipeline = pipeline.name,
                "the checkpoint {folder}/{name} was damaged and left out; \
                 the one before it was used. Look at the disk, then remove the file"
            );
        }
    }
}
