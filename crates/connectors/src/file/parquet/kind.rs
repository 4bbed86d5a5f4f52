//! The kind of a Parquet column's values, by its physical type and its annotation.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::schema::types::Type;

use crate::file::typed::Kind;

/// Returns the kind of a column's values.
///
/// # Errors
/// It has no JSON form: its type, for a message.
pub(super) fn kind_of(column: &Type) -> Result<Kind, String> {
    let info = column.get_basic_info();
    match info.logical_type_ref() {
        Some(logical) => of_logical(column, logical),
        None => of_converted(column, info.converted_type()),
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
        // Of lists and maps the leaves are asked; anything newer has the kind of its physical type.
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
