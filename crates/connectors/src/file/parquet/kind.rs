//! What the values of a Parquet column are, by its physical type and its annotation.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

/// How the values of a column read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
    /// Units since 1970: an instant, or the reading of a clock in a zone that nobody wrote down.
    Instant {
        per_second: i64,
        has_zone: bool,
    },
    /// A length of time in units; only Arrow knows of these.
    Duration {
        per_second: i64,
    },
    /// Nothing but nulls.
    Null,
}

impl Kind {
    /// Returns the kind of a column's values.
    ///
    /// # Errors
    /// It has no JSON form: its type, for a message.
    pub(super) fn of(column: &Type) -> Result<Kind, String> {
        let info = column.get_basic_info();
        match info.logical_type_ref() {
            Some(logical) => of_logical(column, logical),
            None => of_converted(column, info.converted_type()),
        }
    }

    /// Returns how a message names the type.
    pub(super) fn describe(self) -> &'static str {
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

fn of_logical(column: &Type, logical: &LogicalType) -> Result<Kind, String> {
    Ok(match logical {
        LogicalType::String | LogicalType::Enum | LogicalType::Json => Kind::Text,
        LogicalType::Decimal(decimal) => Kind::Decimal { scale: decimal.scale },
        LogicalType::Date => Kind::Date,
        LogicalType::Time(time) => Kind::Clock { per_second: per_second(time.unit) },
        LogicalType::Timestamp(stamp) => {
            Kind::Instant { per_second: per_second(stamp.unit), has_zone: stamp.is_adjusted_to_u_t_c }
        }
        LogicalType::Integer(integer) if integer.is_signed => Kind::Signed,
        LogicalType::Integer(_) => Kind::Unsigned,
        LogicalType::Unknown => Kind::Null,
        LogicalType::Uuid => Kind::Uuid,
        LogicalType::Float16 => Kind::Half,
        LogicalType::Bson | LogicalType::Geometry(_) | LogicalType::Geography(_) => Kind::Bytes,
        // Of lists and maps the leaves are asked; anything newer is told by its physical type.
        _ => return Ok(of_physical(column.get_physical_type())),
    })
}

fn of_converted(column: &Type, converted: ConvertedType) -> Result<Kind, String> {
    const MILLIS: i64 = 1_000;
    const MICROS: i64 = 1_000_000;
    Ok(match converted {
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Kind::Text,
        ConvertedType::DECIMAL => Kind::Decimal { scale: column.get_scale() },
        ConvertedType::DATE => Kind::Date,
        ConvertedType::TIME_MILLIS => Kind::Clock { per_second: MILLIS },
        ConvertedType::TIME_MICROS => Kind::Clock { per_second: MICROS },
        ConvertedType::TIMESTAMP_MILLIS => Kind::Instant { per_second: MILLIS, has_zone: true },
        ConvertedType::TIMESTAMP_MICROS => Kind::Instant { per_second: MICROS, has_zone: true },
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => Kind::Unsigned,
        ConvertedType::INT_8 | ConvertedType::INT_16 | ConvertedType::INT_32 | ConvertedType::INT_64 => Kind::Signed,
        ConvertedType::BSON => Kind::Bytes,
        ConvertedType::INTERVAL => return Err("Interval".to_owned()),
        ConvertedType::NONE | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE | ConvertedType::LIST => {
            of_physical(column.get_physical_type())
        }
    })
}

fn of_physical(physical: Physical) -> Kind {
    match physical {
        Physical::BOOLEAN => Kind::Flag,
        Physical::INT32 | Physical::INT64 => Kind::Signed,
        // Spark and Impala before they had better: a time without a zone.
        Physical::INT96 => Kind::Instant { per_second: NANOS, has_zone: false },
        Physical::FLOAT | Physical::DOUBLE => Kind::Float,
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => Kind::Bytes,
    }
}

const NANOS: i64 = 1_000_000_000;

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => NANOS,
    }
}
