//! The values of a column as JSON.
//!
//! Integers and decimals keep every digit. A float is the shortest text that reads back
//! as the same float of its own width. Instants are RFC 3339 in UTC, whatever zone the
//! file names; times without a zone have no offset. Durations are seconds.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, ByteArrayType, ByteViewType, Date32Type, Date64Type, Decimal32Type,
    Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, OffsetSizeTrait};
use arrow_schema::{DataType, Field, TimeUnit};
use flowmeter_core::event::quote_into;

use super::text;

type Write<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// Writes the values of one column.
pub(super) struct Cells<'a> {
    array: &'a dyn Array,
    write: Write<'a>,
}

/// The name arrow gives to columns of UUIDs.
const UUID: &str = "arrow.uuid";
const EXTENSION: &str = "ARROW:extension:name";

impl<'a> Cells<'a> {
    /// The cells of a column.
    ///
    /// # Errors
    /// Its type has no JSON form: the type.
    pub(super) fn new(field: &Field, array: &'a dyn Array) -> Result<Cells<'a>, String> {
        Ok(Cells { array, write: writer(field, array)? })
    }

    /// Appends the value of a row.
    pub(super) fn append(&self, row: usize, out: &mut Vec<u8>) {
        match self.array.is_null(row) {
            true => out.extend_from_slice(b"null"),
            false => (self.write)(row, out),
        }
    }
}

/// Whether a column can be read: what does not depend on its values.
pub(super) fn check(field: &Field) -> Result<(), String> {
    let empty = arrow_array::new_empty_array(field.data_type());
    writer(field, &empty).map(drop)
}

fn writer<'a>(field: &Field, array: &'a dyn Array) -> Result<Write<'a>, String> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, out| out.extend_from_slice(b"null")),
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(|row, out| out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }))
        }
        DataType::Int8 => whole::<Int8Type>(array),
        DataType::Int16 => whole::<Int16Type>(array),
        DataType::Int32 => whole::<Int32Type>(array),
        DataType::Int64 => whole::<Int64Type>(array),
        DataType::UInt8 => whole::<UInt8Type>(array),
        DataType::UInt16 => whole::<UInt16Type>(array),
        DataType::UInt32 => whole::<UInt32Type>(array),
        DataType::UInt64 => whole::<UInt64Type>(array),
        DataType::Float16 => primitive::<Float16Type>(array, |value, out| float(value.to_f32(), out)),
        DataType::Float32 => primitive::<Float32Type>(array, float),
        DataType::Float64 => primitive::<Float64Type>(array, float),
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(array, *scale),
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(array, *scale),
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(array, *scale),
        DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(array, *scale),
        DataType::Utf8 => bytes::<arrow_array::types::Utf8Type>(array, quote),
        DataType::LargeUtf8 => bytes::<arrow_array::types::LargeUtf8Type>(array, quote),
        DataType::Utf8View => view::<arrow_array::types::StringViewType>(array, quote),
        DataType::Binary => bytes::<arrow_array::types::BinaryType>(array, hex),
        DataType::LargeBinary => bytes::<arrow_array::types::LargeBinaryType>(array, hex),
        DataType::BinaryView => view::<arrow_array::types::BinaryViewType>(array, hex),
        DataType::FixedSizeBinary(_) => fixed_bytes(field, array),
        DataType::Date32 => primitive::<Date32Type>(array, |days, out| quoted(out, |out| text::date(days.into(), out))),
        DataType::Date64 => primitive::<Date64Type>(array, |millis, out| {
            quoted(out, |out| text::date(millis.div_euclid(86_400_000), out));
        }),
        DataType::Timestamp(unit, zone) => timestamp(*unit, zone.is_some(), array),
        DataType::Time32(_) | DataType::Time64(_) => return time(array),
        DataType::Duration(unit) => duration(*unit, array),
        DataType::Dictionary(..) => return dictionary(field, array),
        DataType::List(item) => list::<i32>(item, array)?,
        DataType::LargeList(item) => list::<i64>(item, array)?,
        DataType::ListView(item) => list_view::<i32>(item, array)?,
        DataType::LargeListView(item) => list_view::<i64>(item, array)?,
        DataType::FixedSizeList(item, _) => {
            let (lists, cells) = (array.as_fixed_size_list(), Cells::new(item, array.as_fixed_size_list().values())?);
            let width = lists.value_length() as usize;
            Box::new(move |row, out| {
                let from = lists.value_offset_at(row);
                elements(&cells, from..from + width, out);
            })
        }
        DataType::Struct(_) => object(array)?,
        DataType::Map(..) => map(array)?,
        other => return Err(other.to_string()),
    })
}

fn primitive<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, write: impl Fn(T::Native, &mut Vec<u8>) + 'a) -> Write<'a> {
    let values = array.as_primitive::<T>();
    Box::new(move |row, out| write(values.value(row), out))
}

fn whole<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &dyn Array) -> Write<'_> {
    primitive::<T>(array, |value, out| text::put(out, format_args!("{value}")))
}

fn decimal<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &dyn Array, scale: i8) -> Write<'_> {
    primitive::<T>(array, move |value, out| text::scaled(&value.to_string(), scale.into(), out))
}

/// A float; what is not a number is text, which no value is read from.
fn float<F: std::fmt::Debug + Into<f64> + Copy>(value: F, out: &mut Vec<u8>) {
    match value.into().is_finite() {
        true => text::put(out, format_args!("{value:?}")),
        false => text::put(out, format_args!("\"{value:?}\"")),
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn quote(text: &[u8], out: &mut Vec<u8>) {
    quote_into(text, out);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    quoted(out, |out| text::hex(bytes, out));
}

fn bytes<T: ByteArrayType<Native: AsRef<[u8]>>>(array: &dyn Array, write: fn(&[u8], &mut Vec<u8>)) -> Write<'_> {
    let values = array.as_bytes::<T>();
    Box::new(move |row, out| write(values.value(row).as_ref(), out))
}

fn view<T: ByteViewType<Native: AsRef<[u8]>>>(array: &dyn Array, write: fn(&[u8], &mut Vec<u8>)) -> Write<'_> {
    let values = array.as_byte_view::<T>();
    Box::new(move |row, out| write(values.value(row).as_ref(), out))
}

fn fixed_bytes<'a>(field: &Field, array: &'a dyn Array) -> Write<'a> {
    let values = array.as_fixed_size_binary();
    let is_uuid = field.metadata().get(EXTENSION).is_some_and(|name| name == UUID);
    let write = if is_uuid { text::uuid } else { text::hex };
    Box::new(move |row, out| quoted(out, |out| write(values.value(row), out)))
}

fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn timestamp(unit: TimeUnit, has_zone: bool, array: &dyn Array) -> Write<'_> {
    let write = move |count: i64, out: &mut Vec<u8>| {
        quoted(out, |out| {
            text::date_time(count, units_per_second(unit), out);
            // A zone only says how to show the instant; the count is of UTC.
            out.extend_from_slice(if has_zone { b"Z" } else { b"" });
        });
    };
    match unit {
        TimeUnit::Second => primitive::<TimestampSecondType>(array, write),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array, write),
        TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(array, write),
        TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(array, write),
    }
}

fn time(array: &dyn Array) -> Result<Write<'_>, String> {
    let write = |count: i64, unit: TimeUnit, out: &mut Vec<u8>| {
        let (seconds, nanos) = text::split(count, units_per_second(unit));
        quoted(out, |out| text::clock(seconds, nanos, out));
    };
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    Ok(match array.data_type() {
        DataType::Time32(Second) => primitive::<Time32SecondType>(array, move |n, out| write(n.into(), Second, out)),
        DataType::Time32(Millisecond) => {
            primitive::<Time32MillisecondType>(array, move |n, out| write(n.into(), Millisecond, out))
        }
        DataType::Time64(Microsecond) => primitive::<Time64MicrosecondType>(array, move |n, out| write(n, Microsecond, out)),
        DataType::Time64(Nanosecond) => primitive::<Time64NanosecondType>(array, move |n, out| write(n, Nanosecond, out)),
        other => return Err(other.to_string()),
    })
}

/// A duration in seconds, as a number with as many decimals as its unit has.
fn duration(unit: TimeUnit, array: &dyn Array) -> Write<'_> {
    let decimals = units_per_second(unit).ilog10() as i32;
    let write = move |count: i64, out: &mut Vec<u8>| text::scaled(&count.to_string(), decimals, out);
    match unit {
        TimeUnit::Second => primitive::<DurationSecondType>(array, write),
        TimeUnit::Millisecond => primitive::<DurationMillisecondType>(array, write),
        TimeUnit::Microsecond => primitive::<DurationMicrosecondType>(array, write),
        TimeUnit::Nanosecond => primitive::<DurationNanosecondType>(array, write),
    }
}

fn dictionary<'a>(field: &Field, array: &'a dyn Array) -> Result<Write<'a>, String> {
    let DataType::Dictionary(key, _) = array.data_type() else { return Err(array.data_type().to_string()) };
    match **key {
        DataType::Int8 => looked_up::<Int8Type>(field, array),
        DataType::Int16 => looked_up::<Int16Type>(field, array),
        DataType::Int32 => looked_up::<Int32Type>(field, array),
        DataType::Int64 => looked_up::<Int64Type>(field, array),
        DataType::UInt8 => looked_up::<UInt8Type>(field, array),
        DataType::UInt16 => looked_up::<UInt16Type>(field, array),
        DataType::UInt32 => looked_up::<UInt32Type>(field, array),
        DataType::UInt64 => looked_up::<UInt64Type>(field, array),
        _ => Err(array.data_type().to_string()),
    }
}

fn looked_up<'a, K: ArrowDictionaryKeyType>(field: &Field, array: &'a dyn Array) -> Result<Write<'a>, String> {
    let dictionary = array.as_dictionary::<K>();
    let cells = Cells::new(field, dictionary.values())?;
    Ok(Box::new(move |row, out| match dictionary.key(row) {
        Some(key) => cells.append(key, out),
        None => out.extend_from_slice(b"null"),
    }))
}

fn elements(cells: &Cells<'_>, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (place, at) in range.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        cells.append(at, out);
    }
    out.push(b']');
}

fn list<'a, O: OffsetSizeTrait>(item: &Field, array: &'a dyn Array) -> Result<Write<'a>, String> {
    let lists = array.as_list::<O>();
    let cells = Cells::new(item, lists.values())?;
    let offsets = lists.value_offsets();
    Ok(Box::new(move |row, out| elements(&cells, offsets[row].as_usize()..offsets[row + 1].as_usize(), out)))
}

fn list_view<'a, O: OffsetSizeTrait>(item: &Field, array: &'a dyn Array) -> Result<Write<'a>, String> {
    let lists = array.as_list_view::<O>();
    let cells = Cells::new(item, lists.values())?;
    Ok(Box::new(move |row, out| {
        let from = lists.value_offset(row).as_usize();
        elements(&cells, from..from + lists.value_size(row).as_usize(), out);
    }))
}

fn object(array: &dyn Array) -> Result<Write<'_>, String> {
    let members = array.as_struct();
    let member = |(field, column): (&'_ std::sync::Arc<Field>, _)| Ok((name(field), Cells::new(field, column)?));
    let columns = members.columns().iter().map(AsRef::as_ref);
    let members = members.fields().iter().zip(columns).map(member).collect::<Result<Vec<_>, String>>()?;
    Ok(Box::new(move |row, out| append_object(&members, row, out)))
}

/// A member's name as JSON, with the colon behind it.
pub(super) fn name(field: &Field) -> Vec<u8> {
    let mut name = Vec::new();
    quote_into(field.name().as_bytes(), &mut name);
    name.push(b':');
    name
}

/// Appends an object of the columns' values of a row.
pub(super) fn append_object(members: &[(Vec<u8>, Cells<'_>)], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (name, cells)) in members.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        cells.append(row, out);
    }
    out.push(b'}');
}

/// A map as an object; a key that is not text is written as JSON and becomes text.
fn map(array: &dyn Array) -> Result<Write<'_>, String> {
    let map = array.as_map();
    let [key, value] = &map.entries().fields()[..] else { return Err(array.data_type().to_string()) };
    let (keys, values) = (Cells::new(key, map.keys())?, Cells::new(value, map.values())?);
    let offsets = map.value_offsets();
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        for at in offsets[row] as usize..offsets[row + 1] as usize {
            if at > offsets[row] as usize {
                out.push(b',');
            }
            let from = out.len();
            keys.append(at, out);
            if out[from] != b'"' {
                let bare = out.split_off(from);
                quote_into(&bare, out);
            }
            out.push(b':');
            values.append(at, out);
        }
        out.push(b'}');
    }))
}
