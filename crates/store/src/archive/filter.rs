//! The events that a reader wants: first compared with a row group's bounds, then with its rows.

use std::ops::Range;

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::columns;
use super::event::ArchivedEvent;
use super::group::Cells;
use super::keys::SUBJECT_PATH;

/// The conditions of wanted events; `None` is no condition. Ranges are half-open; times are in
/// nanoseconds since 1970, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The range of positions.
    pub positions: Option<Range<u64>>,
    /// The range of times of receipt.
    pub received_at: Option<Range<i64>>,
    /// The range of event times; an event without a time is in none.
    pub event_at: Option<Range<i64>>,
    /// The name of the pipeline.
    pub pipeline: Option<String>,
    /// The id of the event.
    pub id: Option<String>,
    /// The source of the event.
    pub source: Option<String>,
    /// The subject of the event.
    pub subject: Option<String>,
    /// The verdict of the event.
    pub verdict: Option<String>,
    /// Paths and values: an event that has none of these values at its path is not needed, and may be
    /// left out. No condition if it is empty.
    pub hints: Vec<(String, String)>,
}

impl Filter {
    /// Returns a filter of everything from a position on.
    pub fn from_position(position: u64) -> Filter {
        Filter { positions: Some(position..u64::MAX), ..Filter::default() }
    }

    /// Whether an event is wanted.
    pub fn takes(&self, event: &ArchivedEvent<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        self.positions.as_ref().is_none_or(|range| range.contains(&event.position))
            && self.received_at.as_ref().is_none_or(|range| range.contains(&event.received_at))
            && self.event_at.as_ref().is_none_or(|range| event.event_at.is_some_and(|at| range.contains(&at)))
            && is(&self.pipeline, Some(event.pipeline))
            && is(&self.id, event.id)
            && is(&self.source, event.source)
            && is(&self.subject, event.subject)
            && is(&self.verdict, Some(event.verdict))
    }

    /// Returns paths and values of which every wanted event has one; none if that is not known.
    pub fn keys(&self) -> Vec<(&str, &str)> {
        match &self.subject {
            Some(subject) => vec![(SUBJECT_PATH, subject)],
            None => self.hints.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect(),
        }
    }

    /// Whether a range of positions can hold a wanted one.
    pub(super) fn may_hold(&self, first: u64, last: u64) -> bool {
        self.positions.as_ref().is_none_or(|range| first < range.end && last >= range.start)
    }

    /// Whether a row group can hold a wanted event, by the bounds of its columns.
    pub(super) fn may_be_in(&self, group: &RowGroupMetaData) -> bool {
        let bounds = |name: &str| chunk(group, name).and_then(ColumnChunkMetaData::statistics);
        let ranges = self.ranges().all(|(name, range)| bounds(name).is_none_or(|bounds| meets(bounds, &range)));
        ranges && self.texts().all(|(name, text)| bounds(name).is_none_or(|bounds| encloses(bounds, text.as_bytes())))
    }

    /// Returns the columns with conditions; none if every event is wanted.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        self.ranges().map(|(name, _)| name).chain(self.texts().map(|(name, _)| name)).collect()
    }

    /// Whether one column of an event meets its condition.
    pub(super) fn takes_cell(&self, name: &str, cells: &Cells, row: usize) -> bool {
        let number = || cells.number(row);
        let range = self.ranges().find(|(column, _)| *column == name);
        let text = self.texts().find(|(column, _)| *column == name);
        range.is_none_or(|(_, range)| number().is_some_and(|number| range.contains(&number)))
            && text.is_none_or(|(_, text)| cells.bytes(row) == Some(text.as_bytes()))
    }

    fn ranges(&self) -> impl Iterator<Item = (&'static str, Range<i64>)> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let positions = self.positions.as_ref().map(|range| signed(range.start)..signed(range.end));
        let ranges = [
            (columns::POSITION, positions),
            (columns::RECEIVED_AT, self.received_at.clone()),
            (columns::EVENT_AT, self.event_at.clone()),
        ];
        ranges.into_iter().filter_map(|(name, range)| Some((name, range?)))
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let texts = [
            (columns::PIPELINE, &self.pipeline),
            (columns::ID, &self.id),
            (columns::SOURCE, &self.source),
            (columns::SUBJECT, &self.subject),
            (columns::VERDICT, &self.verdict),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }
}

/// Returns a column of a row group, by name.
pub(super) fn chunk<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a ColumnChunkMetaData> {
    group.columns().iter().find(|column| column.column_path().string() == name)
}

fn meets(bounds: &Statistics, range: &Range<i64>) -> bool {
    let Statistics::Int64(bounds) = bounds else { return true };
    bounds.min_opt().is_none_or(|min| *min < range.end) && bounds.max_opt().is_none_or(|max| *max >= range.start)
}

/// Whether the bounds enclose a text. Bounds of long strings are truncated, the lower one down and
/// the upper one up.
fn encloses(bounds: &Statistics, text: &[u8]) -> bool {
    bounds.min_bytes_opt().is_none_or(|min| min <= text) && bounds.max_bytes_opt().is_none_or(|max| max >= text)
}
