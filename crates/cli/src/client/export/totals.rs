//! The totals of an export by meter type, to be compared with those of another system.
//!
//! A total is the sum of the latest revision of each meter and period, also where the file has all
//! revisions. Values of some aggregations, such as averages, have no sum.

use std::collections::{BTreeMap, BTreeSet};

use flowmeter_core::decimal::Decimal;
use serde_json::value::RawValue;

use super::record::{Key, Record};
use crate::client::table::{member, plain};
use crate::client::{Call, Connection, pages};

/// Aggregations whose values of several meters have no meaningful sum.
const WITHOUT_SUM: [&str; 5] = ["min", "max", "avg", "latest", "percentile"];

/// Pipeline, meter type and unit.
type Kind = (String, String, String);

/// The rows and sums of an export.
pub(super) struct Totals {
    pub(super) row_count: usize,
    /// Records whose period has no start.
    pub(super) without_period: usize,
    /// Revision and value of each meter and period.
    latest: BTreeMap<Kind, BTreeMap<Key, (u64, Option<Decimal>)>>,
    record_count: usize,
    /// Pipeline and name of meter types without a sum; the pipeline is empty for the installation's.
    without_sum: BTreeSet<(String, String)>,
}

impl Totals {
    /// Asks the server for the aggregations of its meter types.
    pub(super) fn new(connection: &Connection) -> anyhow::Result<Totals> {
        let mut without_sum = BTreeSet::new();
        pages(connection, &Call::get("/api/v1/meter-types"), usize::MAX, &mut |items| {
            let text = |item: &RawValue, name: &str| member(item, name).map(|value| plain(&value)).unwrap_or_default();
            let special = items.iter().filter(|item| WITHOUT_SUM.contains(&text(item, "aggregation").as_str()));
            without_sum.extend(special.map(|item| (text(item, "pipeline"), text(item, "name"))));
            Ok(())
        })?;
        Ok(Totals { row_count: 0, without_period: 0, latest: BTreeMap::new(), record_count: 0, without_sum })
    }

    /// Adds a record; a later revision takes the place of an earlier one.
    pub(super) fn add(&mut self, pipeline: &str, record: &Record) {
        self.record_count += 1;
        let kind = (pipeline.to_owned(), record.meter_type.clone(), record.unit.clone());
        let known = self.latest.entry(kind).or_default().entry(record.key()).or_insert((record.revision, record.value));
        if record.revision >= known.0 {
            *known = (record.revision, record.value);
        }
    }

    /// Returns the totals as a table.
    pub(super) fn text(&self, period: &str, file: &str) -> String {
        let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let (records, rows) = (plural(self.record_count, "record"), plural(self.row_count, "row"));
        let mut out = format!("{records} of {period}, {rows} in {file}\n");
        if self.without_period > 0 {
            out.push_str(&format!("{} without a start of their period are left out\n", plural(self.without_period, "record")));
        }
        let titles = ["PIPELINE", "METER TYPE", "UNIT", "PERIODS", "TOTAL"].map(str::to_owned);
        let mut table = vec![titles];
        for ((pipeline, name, unit), latest) in &self.latest {
            let total = match self.has_sum(pipeline, name) {
                true => sum(latest.values().filter_map(|(_, value)| *value)),
                false => "-".to_owned(),
            };
            table.push([pipeline.clone(), name.clone(), unit.clone(), latest.len().to_string(), total]);
        }
        if table.len() > 1 {
            let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
            let widths = [0, 1, 2, 3, 4].map(width);
            for row in &table {
                let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
                out.push_str(&format!("{}\n", cells.join("  ").trim_end()));
            }
        }
        out
    }

    /// Whether the values of a meter type may be added up.
    fn has_sum(&self, pipeline: &str, name: &str) -> bool {
        ["", pipeline].iter().all(|pipeline| !self.without_sum.contains(&((*pipeline).to_owned(), name.to_owned())))
    }
}

fn sum(values: impl Iterator<Item = Decimal>) -> String {
    let mut total = Decimal::from_int(0);
    for value in values {
        match total.add(value) {
            Some(more) => total = more,
            None => return "too large".to_owned(),
        }
    }
    total.to_string()
}
