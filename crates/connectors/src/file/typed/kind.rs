//! The kinds of values of a typed column.

/// The kind of values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::file) enum Kind {
    Flag,
    /// Integers; unsigned ones are stored as signed ones of the same bits.
    Signed,
    Unsigned,
    Float,
    /// A float of 16 bits.
    Half,
    /// An integer divided by ten to the power of the scale.
    Decimal {
        scale: i32,
    },
    Text,
    /// Bytes that are not text: hexadecimal digits.
    Bytes,
    Uuid,
    /// A number of days since 1970.
    Date,
    /// A number of units since midnight.
    Clock {
        per_second: i64,
    },
    /// A number of units since 1970: an instant, or a wall-clock time without a zone.
    Instant {
        per_second: i64,
        has_zone: bool,
    },
    /// A duration in units; only Arrow has these.
    Duration {
        per_second: i64,
    },
    /// A column of only nulls.
    Null,
}

impl Kind {
    /// Returns how a message names the type.
    pub(in crate::file) fn describe(self) -> &'static str {
        match self {
            Kind::Flag => "Boolean",
            Kind::Signed | Kind::Unsigned => "Integer",
            Kind::Float | Kind::Half => "Float",
            Kind::Decimal { .. } => "Decimal",
            Kind::Text => "Text",
            Kind::Bytes => "Bytes",
            Kind::Uuid => "UUID",
            Kind::Date => "Date",
            Kind::Clock { .. } => "Time of day",
            Kind::Instant { .. } => "Timestamp",
            Kind::Duration { .. } => "Duration",
            Kind::Null => "Null",
        }
    }
}
