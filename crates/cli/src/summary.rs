//! The summary of a session: for people a table, for programs JSON.

use std::time::Duration;

use flowmeter_core::mediation::OperatorCount;
use flowmeter_core::plan::Plan;
use flowmeter_core::session::Status;
use flowmeter_engine::Totals;
use flowmeter_node::verbatim;
use flowmeter_node::verbatim::Object;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::journal::Journal;
use crate::watch::Watch;

/// The content of a summary.
pub(crate) struct Summary<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) journal: &'a Journal,
    pub(crate) totals: &'a Totals,
    /// The totals of all runs in the folder, this one included.
    pub(crate) all: Option<&'a Totals>,
    pub(crate) watch: &'a Watch,
    pub(crate) records: u64,
    pub(crate) thresholds: u64,
    pub(crate) elapsed: Duration,
}

impl Summary<'_> {
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        self.write_head(&mut out);
        self.write_events(&mut out);
        self.write_records(&mut out);
        self.write_parked(&mut out);
        out
    }

    pub(crate) fn test_table(&self, records: &[String]) -> String {
        let mut out = String::new();
        self.write_head(&mut out);
        self.write_events(&mut out);
        self.write_records(&mut out);
        self.write_operators(&mut out);
        self.write_parked(&mut out);
        line(&mut out, "\nrecords that would be flushed");
        for record in records {
            line(&mut out, &format!("  {record}"));
        }
        out
    }

    fn write_head(&self, out: &mut String) {
        let session = &self.journal.session;
        let way: Vec<&str> = self.journal.statuses.iter().map(|status| status.name()).collect();
        line(out, &format!("{}  {}  {}", session.pipeline_name, session.id, session.run_type.name()));
        line(out, &format!("status    {}", way.join(" → ")));
    }

    fn write_events(&self, out: &mut String) {
        let tally = &self.totals.tally;
        let mut left = format!("{} received", grouped(tally.received));
        let mut right = format!("{} counted", grouped(tally.counted));
        if tally.derived > 0 {
            left.push_str(&format!(" + {} derived", grouped(tally.derived)));
        }
        let always = [("duplicate", tally.duplicate), ("filtered", tally.filtered), ("parked", tally.parked_total())];
        let seldom = [("split", tally.split), ("absorbed", tally.absorbed), ("cancelled", tally.cancelled)];
        for (name, count) in always.into_iter().chain(seldom.into_iter().filter(|(_, count)| *count > 0)) {
            right.push_str(&format!(" + {} {name}", grouped(count)));
        }
        line(out, &format!("events    {left} = {right}"));
        let held: u64 = self.totals.operators.iter().map(OperatorCount::held).sum();
        if held > 0 {
            line(out, &format!("held      {} of those absorbed wait for their window or pair to end", grouped(held)));
        }
        if tally.late > 0 {
            line(out, &format!("late      {} of those counted", grouped(tally.late)));
        }
        if self.totals.timed_by_receipt > 0 {
            let count = grouped(self.totals.timed_by_receipt);
            line(out, &format!("no time   {count} have none and were given that of their receipt; `time:` names a field"));
        }
        for unseen in &self.watch.unseen {
            line(out, &format!("unseen    {unseen}"));
        }
        for warning in &self.watch.warnings {
            line(out, &format!("warning   {warning}"));
        }
    }

    fn write_records(&self, out: &mut String) {
        let partial =
            if self.thresholds > 0 { format!(", {} threshold pushes", grouped(self.thresholds)) } else { String::new() };
        line(out, &format!("records   {}{partial}", grouped(self.records)));
        line(out, &format!("meters    {} opened by events", grouped(self.totals.meters_opened)));
        line(out, &format!("time      {:.2} s, {} events/s", self.elapsed.as_secs_f64(), grouped(self.rate())));
    }

    fn rate(&self) -> u64 {
        (self.totals.tally.received as f64 / self.elapsed.as_secs_f64().max(1e-6)) as u64
    }

    fn write_operators(&self, out: &mut String) {
        line(out, "\noperators");
        let width = self.plan.nodes.iter().map(|node| node.id.len()).max().unwrap_or_default();
        for (at, (node, count)) in self.plan.nodes.iter().zip(&self.totals.operators).enumerate() {
            let always = [("in", count.received), ("out", count.passed), ("errors", count.errors)];
            let seldom =
                [("derived", count.derived), ("held", count.held()), ("late", count.late), ("unmatched", count.unmatched)];
            let counts = always.into_iter().chain(seldom.into_iter().filter(|(_, count)| *count > 0));
            let counts: Vec<String> = counts.map(|(name, count)| format!("{} {name}", grouped(count))).collect();
            line(out, &format!("  {:width$}  {}", node.id, counts.join(", ")));
            let counters = self.totals.counters_of(at as u16).map(|(name, count)| format!("{name} {count}"));
            let counters = counters.collect::<Vec<_>>().join(", ");
            if !counters.is_empty() {
                let counted = if node.outputs.len() > 1 { "events by route" } else { "counted by the script" };
                line(out, &format!("  {:width$}    {counted}: {counters}", ""));
            }
            for (_, source_line, fields) in self.watch.taps.iter().filter(|(operator, ..)| usize::from(*operator) == at) {
                line(out, &format!("  {:width$}    line {source_line}: {fields}", ""));
            }
        }
    }

    fn write_parked(&self, out: &mut String) {
        let tally = &self.totals.tally;
        for (reason, count) in tally.parked_by_reason() {
            line(out, &format!("parked    {} {}: {}", grouped(count), reason, reason.remedy()));
        }
        for shown in &self.watch.shown {
            line(out, &format!("  {}:{}: {}: {}", shown.file, shown.line, shown.reason, shown.detail));
        }
        let more = tally.parked_total().saturating_sub(self.watch.shown.len() as u64);
        if more > 0 {
            line(out, &format!("  … and {} more; --parked FILE writes them all", grouped(more)));
        }
    }

    pub(crate) fn json(&self) -> Value {
        let session = &self.journal.session;
        let counts = flowmeter_node::sessions::counts(self.plan, self.totals);
        let all = self.all.map(|all| flowmeter_node::sessions::counts(self.plan, all));
        let mut summary = json!({
            "pipeline": session.pipeline_name,
            "sessionId": session.id,
            "sessionRunType": session.run_type.name(),
            "sessionStatus": session.status().name(),
            "statuses": self.journal.statuses.iter().map(|status| status.name()).collect::<Vec<_>>(),
            "sessionStartTime": session.started_at.to_string(),
            "sessionEndTime": session.ended_at.map(|at| at.to_string()),
            "error": session.error,
            "events": counts["events"],
            "unseen": self.watch.unseen,
            "warnings": self.watch.warnings,
            "records": self.records,
            "thresholds": self.thresholds,
            "metersOpened": self.totals.meters_opened,
            "operators": counts["operators"],
            "parked": self.watch.shown.iter().map(|shown| json!({
                "file": shown.file,
                "line": shown.line,
                "reason": shown.reason,
                "detail": shown.detail,
                "remedy": shown.remedy,
            })).collect::<Vec<_>>(),
            "seconds": self.elapsed.as_secs_f64(),
            "eventsPerSecond": self.rate(),
        });
        if let Some(all) = all {
            summary["totals"] = all["events"].clone();
        }
        summary
    }

    /// Returns the report of a DEBUG session: fields and records as they are, with every digit.
    pub(crate) fn test_json(&self, records: &[String]) -> Box<RawValue> {
        let mut report = self.json();
        report["passed"] = json!(self.journal.session.status() == Status::TestingPassed);
        let samples = self.watch.taps.iter().map(|(operator, source_line, fields)| {
            let operator = &self.plan.nodes[usize::from(*operator)].id;
            let sample = Object::of(&json!({"operator": operator, "line": source_line}));
            sample.with("fields", &verbatim::sent(fields.as_bytes())).finish()
        });
        let records = records.iter().map(|record| verbatim::sent(record.as_bytes()));
        let report = Object::of(&report).with_list("samples", &samples.collect::<Vec<_>>());
        report.with_list("wouldFlush", &records.collect::<Vec<_>>()).finish()
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Formats 1234567 as 1,234,567.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
