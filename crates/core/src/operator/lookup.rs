//! Operators without state that split an event or look something up for it.

use crate::decimal::Rounding;
use crate::plan::TimeField;
use crate::time::Zone;

/// Makes an event of each element of a list or member of an object.
#[derive(Clone, Debug)]
pub struct Split {
    /// Where the list is.
    pub path: u16,
    /// Where the element goes.
    pub into: u16,
    /// Where its number or name goes.
    pub key: Option<u16>,
    /// The handling of an event whose list is empty.
    pub empty: Empty,
    /// Children an event may have.
    pub children_max: usize,
    /// Where the event's id is.
    pub id: u16,
}

/// The handling of an event without elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// The event is filtered.
    Filter,
    /// The event is parked.
    Park,
}

/// Sets fields from the row of a table.
#[derive(Clone, Debug)]
pub struct Enrich {
    /// Which of the plan's tables.
    pub table: u16,
    /// Where the key is, in the order of the table's key columns.
    pub on: Vec<u16>,
    /// Whether the row with the longest key is taken that the text begins with.
    pub is_prefix: bool,
    /// Fields and the columns they are set to: slot, and place among the columns that are read.
    pub set: Vec<(u16, usize)>,
    /// The instant at which the row must hold; `None` for a table without validity.
    pub at: Option<TimeField>,
    /// The handling of an event without a row.
    pub unmatched: Unmatched,
}

/// The handling of an event without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// The event is parked.
    Park,
    /// It passes, and the fields become null.
    Pass,
    /// It takes the way `unmatched`, and the fields stay as they are.
    Route,
}

/// Converts an amount by an exchange rate.
#[derive(Clone, Debug)]
pub struct Currency {
    /// Which of the plan's tables.
    pub table: u16,
    /// Where the rate is among the columns that are read.
    pub rate: usize,
    /// Where the amount is.
    pub amount: u16,
    /// The currency it is in.
    pub from: CurrencyCode,
    /// The currency it is converted to.
    pub to: CurrencyCode,
    /// The currency that all rates of the table are from; `None`: the table has pairs.
    pub base: Option<String>,
    /// When the event was, for its day.
    pub time: TimeField,
    /// Zone of the day.
    pub zone: Zone,
    /// How many days a rate may be old.
    pub days_back: i64,
    /// Where the result goes.
    pub set: u16,
    /// Where the rate goes.
    pub set_rate: Option<u16>,
    /// Where the rate's date goes.
    pub set_date: Option<u16>,
    /// Digits after the point of the result, 0 to 18.
    pub scale: u32,
    /// How it is rounded to them.
    pub rounding: Rounding,
    /// Whether the amount may be a number written as text.
    pub text_numbers: bool,
}

/// A currency: the same for every event, or a field of it.
#[derive(Clone, Debug)]
pub enum CurrencyCode {
    /// The same for every event.
    Fixed(String),
    /// A field of the event.
    Field(u16),
}
