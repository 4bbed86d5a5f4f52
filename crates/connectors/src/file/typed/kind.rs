//! How the values of a typed column read.

/// How the values of a column read.
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
    /// Bytes that are no text: hexadecimal digits.
    Bytes,
    Uuid,
    /// Days since 1970.
    Date,
    /// Units since midnight.
    Clock {
        per_second: i64,
    },
    /// Units since 1970: an instant, or the reading of a clock in a zone that is not written down.
    Instant {
        per_second: i64,
        has_zone: bool,
    },
    /// A length of time in units; only Arrow has these.
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
