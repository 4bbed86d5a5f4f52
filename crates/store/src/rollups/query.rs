//! Queries and their answers.

use flowmeter_core::aggregation::Aggregation;
use flowmeter_core::decimal::Quotient;
use flowmeter_core::time::{Timestamp, Zone};
use uuid::Uuid;

/// The default maximum of rows: a month of minutes.
pub const ROWS_MAX: usize = 50_000;

/// The name of the user among the group fields.
pub const SUBJECT: &str = "subject";

/// The requested usage and its division into rows.
#[derive(Clone, Debug)]
pub struct Query {
    pub meter_type: Uuid,
    /// The aggregation of values; `None` only counts events, of any aggregation.
    pub aggregation: Option<Aggregation>,
    /// Usage at or after this instant, cut to the minute like the whole answer.
    pub from: Option<Timestamp>,
    /// Usage before this instant, cut to the minute.
    pub to: Option<Timestamp>,
    /// One row for each window; without it one row for the whole time.
    pub window: Option<Window>,
    /// Usage of any of these users.
    pub subjects: Option<Vec<String>>,
    /// For each of the fields, usage with any of these values.
    pub filter: Vec<(String, Vec<String>)>,
    /// One row for each value of these fields; `subject` is the user.
    pub group_by: Vec<String>,
    /// A query with more rows is refused.
    pub rows_max: usize,
    /// Only these users or values of the first field.
    pub first: Option<First>,
}

/// The first users, or values of the first group field, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// Those that begin with this text.
    pub prefix: String,
    /// Those after this text.
    pub after: Option<String>,
    /// The number of them.
    pub count: usize,
}

impl Query {
    /// Returns the query for all usage of a meter type, in one row.
    pub fn of(meter_type: Uuid, aggregation: Aggregation) -> Query {
        Query {
            meter_type,
            aggregation: Some(aggregation),
            from: None,
            to: None,
            window: None,
            subjects: None,
            filter: Vec::new(),
            group_by: Vec::new(),
            rows_max: ROWS_MAX,
            first: None,
        }
    }

    /// Returns the query for all users with usage, one row each.
    pub fn of_subjects(meter_type: Uuid) -> Query {
        Query::of_values(meter_type, SUBJECT)
    }

    /// Returns the query for all values of a field, one row each.
    pub fn of_values(meter_type: Uuid, field: &str) -> Query {
        let all = Query::of(meter_type, Aggregation::Increment);
        Query { aggregation: None, group_by: vec![field.to_owned()], rows_max: usize::MAX, ..all }
    }

    /// Returns the group fields without the user.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.group_by.iter().map(String::as_str).filter(|field| *field != SUBJECT)
    }

    pub(super) fn groups_subjects(&self) -> bool {
        self.group_by.iter().any(|field| field == SUBJECT)
    }
}

/// Windows of one size, in local time of a zone.
#[derive(Clone, Debug)]
pub struct Window {
    pub size: WindowSize,
    /// Days and months are those of this zone.
    pub zone: Zone,
}

/// The length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSize {
    Minute,
    /// Sixty minutes, counted from the beginning of the zone's day.
    Hour,
    /// From midnight to midnight: 23 or 25 hours when the clocks change.
    Day,
    Month,
}

/// Usage of one window and group.
#[derive(Clone, Debug)]
pub struct Row {
    /// The first instant inside.
    pub window_start: Timestamp,
    /// The first instant after.
    pub window_end: Timestamp,
    /// The user, when grouped by it.
    pub subject: Option<String>,
    /// The group fields in the requested order; `None` is null.
    pub groups: Vec<(String, Option<String>)>,
    pub value: Option<Quotient>,
    /// Number of events in it.
    pub event_count: u64,
}
