//! Metrics of pipelines and their targets.

use std::sync::Arc;

use flowmeter_core::verdict::Reason;
use flowmeter_engine::Totals;
use flowmeter_node::deliveries::{TargetGauge, target_gauges};
use flowmeter_node::installation::Served;
use flowmeter_node::monitoring::standing::PipelineGauge;
use flowmeter_node::pipelines::stopped::Stopped;
use flowmeter_node::sessions::feeding::SourceBoard;

use super::page::{Kind, Page, escape, seconds};
use crate::api::App;

/// A running pipeline, with the values that are read once.
struct One {
    label: String,
    served: Arc<Served>,
    /// `None` while the pipeline replays its events after a crash: a lower number than was shown
    /// before the crash would be taken for a restarted counter.
    totals: Option<Totals>,
    gauge: PipelineGauge,
}

pub(super) fn write(page: &mut Page, app: &App) {
    let installation = &app.installation;
    let one = |served: Arc<Served>| One {
        label: label(&served.kept.namespace, &served.kept.name),
        totals: installation.totals_shown(&served),
        gauge: installation.pipeline_gauge(&served),
        served,
    };
    let all: Vec<One> = installation.served().into_iter().map(one).collect();
    let counts = all.iter().filter_map(|one| Some((one.label.clone(), one.totals.clone()?)));
    events(page, &counts.chain(stopped(app, &all)).collect::<Vec<_>>());
    operators(page, &all);
    state(page, &all);
    let help = "1 if the newest session of a pipeline failed";
    page.family("flowmeter_pipeline_failed", Kind::Gauge, help);
    for (namespace, name, is_failed) in installation.failed_pipelines() {
        page.line(&label(&namespace, &name), u64::from(is_failed));
    }
    sources(page, &all);
    targets(page, &all);
}

/// The last counts of pipelines that stopped and are not loaded: their series stay.
fn stopped(app: &App, loaded: &[One]) -> Vec<(String, Totals)> {
    let is_loaded = |id| loaded.iter().any(|one| one.served.kept.id == id);
    let stopped = app.installation.stopped().into_iter().filter(|stopped| !is_loaded(stopped.pipeline.id));
    let last = |stopped: Stopped| {
        let totals = stopped.board.as_ref()?.shown().totals?;
        Some((label(&stopped.pipeline.namespace, &stopped.pipeline.name), totals))
    };
    stopped.filter_map(last).collect()
}

fn label(namespace: &str, name: &str) -> String {
    format!("namespace=\"{}\",pipeline=\"{}\"", escape(namespace), escape(name))
}

fn events(page: &mut Page, all: &[(String, Totals)]) {
    let help = "Events that a pipeline has taken";
    page.family("flowmeter_count_received_events_total", Kind::Counter, help);
    let tallies = || all.iter().map(|(label, totals)| (label, &totals.tally));
    tallies().for_each(|(label, tally)| page.line(label, tally.received));
    let help = "Events that operators have made";
    page.family("flowmeter_count_derived_events_total", Kind::Counter, help);
    tallies().for_each(|(label, tally)| page.line(label, tally.derived));
    let help = "Events by verdict; parked ones by reason";
    page.family("flowmeter_count_events_total", Kind::Counter, help);
    for (label, tally) in tallies() {
        let (duplicate, filtered) = (("duplicate", tally.duplicate), ("filtered", tally.filtered));
        let (split, absorbed) = (("split", tally.split), ("absorbed", tally.absorbed));
        let by_verdict = [("counted", tally.counted), duplicate, filtered, split, absorbed, ("cancelled", tally.cancelled)];
        for (verdict, count) in by_verdict {
            page.line(&format!("{label},verdict=\"{verdict}\""), count);
        }
        for reason in Reason::ALL {
            let count = tally.parked[reason as usize];
            page.line(&format!("{label},verdict=\"parked\",reason=\"{reason}\""), count);
        }
    }
}

fn operators(page: &mut Page, all: &[One]) {
    type Count = flowmeter_core::mediation::OperatorCount;
    let named = |one: &One| {
        let counts = one.totals.as_ref()?.operators.clone();
        let plan = one.served.worker().ask(|live| Arc::clone(live.plan())).ok()?;
        let label = |id: &str| format!("{},operator=\"{}\"", one.label, escape(id));
        let ids = plan.nodes.iter().map(|node| label(&node.id));
        Some(ids.zip(counts).collect::<Vec<_>>())
    };
    let lines: Vec<(String, Count)> = all.iter().filter_map(named).flatten().collect();
    let mut family = |name, help, value: fn(&Count) -> u64| {
        page.family(name, Kind::Counter, help);
        lines.iter().for_each(|(label, count)| page.line(label, value(count)));
    };
    let help = "Events that reached an operator";
    family("flowmeter_mediate_events_total", help, |count| count.received);
    let help = "Events that an operator let through";
    family("flowmeter_mediate_passed_events_total", help, |count| count.passed);
    let help = "Events that an operator parked";
    family("flowmeter_mediate_parked_events_total", help, |count| count.errors);
}

fn state(page: &mut Page, all: &[One]) {
    let mut gauge = |name, help, value: &dyn Fn(&One) -> String| {
        page.family(name, Kind::Gauge, help);
        all.iter().for_each(|one| page.line(&one.label, value(one)));
    };
    let flag = |is_on: bool| u64::from(is_on).to_string();
    let help = "Meters there are";
    gauge("flowmeter_count_meters", help, &|one| one.served.board().meters().to_string());
    let help = "Memory of meters";
    gauge("flowmeter_count_meter_bytes", help, &|one| one.served.board().meter_bytes().to_string());
    let help = "Bytes of identities in memory, as of the last checkpoint";
    let identities = |one: &One| one.served.board().identities_bytes().to_string();
    gauge("flowmeter_admit_identity_bytes", help, &identities);
    let help = "Entries of the log that are durable and not yet counted";
    gauge("flowmeter_count_lag_entries", help, &|one| one.gauge.lag_entries.to_string());
    let help = "Events in the log that are durable and not yet counted";
    gauge("flowmeter_count_lag_events", help, &|one| one.gauge.lag_events.to_string());
    let help = "Age of the oldest event that is durable and not yet counted; 0 if there is none";
    gauge("flowmeter_count_lag_seconds", help, &|one| seconds(one.gauge.lag_nanos));
    let help = "How long the flush of the earliest due period is overdue; 0 if none is";
    gauge("flowmeter_flush_overdue_seconds", help, &|one| seconds(one.gauge.overdue_nanos));
    let help = "Age of the newest checkpoint, while it lacks something; else 0";
    gauge("flowmeter_checkpoint_age_seconds", help, &|one| seconds(one.gauge.checkpoint_age_nanos));
    let help = "1 while a pipeline takes nothing: its session is paused, or it has none";
    let takes_nothing = |one: &One| one.served.board().is_paused() || one.served.session() == 0;
    gauge("flowmeter_pipeline_paused", help, &|one| flag(takes_nothing(one)));
    let help = "Events that a pipeline has taken and that are not in files of the event store yet";
    gauge("flowmeter_event_store_lag_events", help, &|one| one.gauge.unfiled_events.to_string());
    let help = "Metered records that were flushed, partial ones included";
    page.family("flowmeter_flush_records_total", Kind::Counter, help);
    all.iter().for_each(|one| page.line(&one.label, one.served.board().records()));
}

/// Writes the sources that sessions read.
fn sources(page: &mut Page, all: &[One]) {
    let of = |one: &One| {
        let label = one.label.clone();
        one.served.sources().into_iter().map(move |source| (format!("{label},source=\"{}\"", escape(source.id())), source))
    };
    let lines: Vec<(String, Arc<SourceBoard>)> = all.iter().flat_map(of).collect();
    let mut family = |name, kind, help, value: fn(&SourceBoard) -> u64| {
        page.family(name, kind, help);
        lines.iter().for_each(|(label, source)| page.line(label, value(source)));
    };
    let help = "Events that a session took from a source";
    family("flowmeter_receive_source_events_total", Kind::Counter, help, SourceBoard::events);
    let help = "Files or objects of a source that are not taken, as of the last list";
    family("flowmeter_receive_source_behind_items", Kind::Gauge, help, |source| source.behind().items);
    let help = "Bytes of the files or objects that are not taken";
    family("flowmeter_receive_source_behind_bytes", Kind::Gauge, help, |source| source.behind().bytes);
    let help = "Files or objects that cannot be read";
    family("flowmeter_receive_source_failed_items", Kind::Gauge, help, |source| source.behind().failed);
    let help = "1 while a source cannot be read";
    family("flowmeter_receive_source_failing", Kind::Gauge, help, |source| u64::from(source.is_failing()));
}

fn targets(page: &mut Page, all: &[One]) {
    let of = |one: &One| {
        let label = one.label.clone();
        let label = move |target: &str| format!("{label},target=\"{}\"", escape(target));
        let named = move |gauge: TargetGauge| (label(&gauge.target), gauge);
        target_gauges(&one.served).into_iter().map(named).collect::<Vec<_>>()
    };
    let targets: Vec<(String, TargetGauge)> = all.iter().flat_map(of).collect();
    let mut family = |name, kind, help, value: fn(&TargetGauge) -> u64| {
        page.family(name, kind, help);
        targets.iter().for_each(|(label, gauge)| page.line(label, value(gauge)));
    };
    let help = "Records that a target has accepted, since the server started to deliver to it";
    family("flowmeter_deliver_records_total", Kind::Counter, help, |gauge| gauge.accepted);
    let help = "Records that wait for a target or are on their way";
    family("flowmeter_deliver_lag_records", Kind::Gauge, help, |gauge| gauge.lag);
    let help = "Deliveries that are tried again on their own";
    family("flowmeter_deliver_retrying", Kind::Gauge, help, |gauge| gauge.retrying);
    let help = "Deliveries that were given up";
    family("flowmeter_deliver_dead", Kind::Gauge, help, |gauge| gauge.dead);
    let help = "1 while a target takes nothing";
    family("flowmeter_deliver_failing", Kind::Gauge, help, |gauge| u64::from(gauge.is_failing));
}
