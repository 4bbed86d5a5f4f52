//! What may be asked, and what comes back.

use flowmeter_core::aggregation::Aggregation;
use flowmeter_core::decimal::Quotient;
use flowmeter_core::time::{Timestamp, Zone};
use uuid::Uuid;

/// Rows of an answer when the question does not say: a month of minutes.
pub const ROWS_MAX: usize = 50_000;

/// The word that stands for the user among the fields to group by.
pub const SUBJECT: &str = "subject";

/// Which usage, and how it is cut.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of which meter type.
    pub meter_type: Uuid,
    /// What is made of values; `None` counts events only, of whatever aggregation.
    pub aggregation: Option<Aggregation>,
    /// Usage at or after; cut to the minute, as all of the answer is.
    pub from: Option<Timestamp>,
    /// Usage before; cut to the minute.
    pub to: Option<Timestamp>,
    /// A row for each such window; without it one for the whole time.
    pub window: Option<Window>,
    /// Usage of any of these users.
    pub subjects: Option<Vec<String>>,
    /// Usage whose field has any of these values, for each of the fields.
    pub filter: Vec<(String, Vec<String>)>,
    /// A row for each value of these fields; the word `subject` is the user.
    pub group_by: Vec<String>,
    /// More rows than this are refused.
    pub rows_max: usize,
}

impl Query {
    /// All usage of a meter type, in one row.
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
        }
    }

    /// Who has usage: a row for each.
    pub fn of_subjects(meter_type: Uuid) -> Query {
        Query::of_values(meter_type, SUBJECT)
    }

    /// Which values a field has: a row for each.
    pub fn of_values(meter_type: Uuid, field: &str) -> Query {
        let all = Query::of(meter_type, Aggregation::Increment);
        Query { aggregation: None, group_by: vec![field.to_owned()], rows_max: usize::MAX, ..all }
    }

    /// The fields to group by, without the user.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.group_by.iter().map(String::as_str).filter(|field| *field != SUBJECT)
    }

    pub(super) fn groups_subjects(&self) -> bool {
        self.group_by.iter().any(|field| field == SUBJECT)
    }
}

/// Windows of one size, by the clock of a zone.
#[derive(Clone, Debug)]
pub struct Window {
    /// How long.
    pub size: WindowSize,
    /// Where the clock hangs. Days and months are those of its calendar.
    pub zone: Zone,
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSize {
    /// A minute.
    Minute,
    /// Sixty minutes, counted from the beginning of the zone's day.
    Hour,
    /// From midnight to midnight: 23 or 25 hours when the clocks change.
    Day,
    /// A calendar month.
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
    /// The fields grouped by, in the order asked for; `None` is null.
    pub groups: Vec<(String, Option<String>)>,
    /// The value; `None` is null.
    pub value: Option<Quotient>,
    /// How many events count in it.
    pub event_count: u64,
}
