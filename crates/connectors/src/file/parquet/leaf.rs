//! A column of a Parquet file: its values, some rows at a time, and their JSON.
//!
//! Integers and decimals keep every digit. A float is the shortest text that reads back as the
//! same float of its own width. Instants are RFC 3339 in UTC, whatever zone the file names; times
//! without a zone have no offset. Durations are seconds.

use flowmeter_core::event::quote_into;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;

use super::kind::Kind;
use super::text;

/// A column being read.
pub(super) struct Leaf {
    pub(super) kind: Kind,
    /// The definition level of a value that is there.
    defined: i16,
    reader: Option<ColumnReader>,
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    /// The next level and the next value of those that were read.
    level: usize,
    value: usize,
}

/// Values of a column that were read, without nulls.
enum Values {
    Flags(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Leaf {
    pub(super) fn new(kind: Kind, defined: i16) -> Leaf {
        let values = Values::Flags(Vec::new());
        let (definitions, repetitions) = (Vec::new(), Vec::new());
        Leaf { kind, defined, reader: None, values, definitions, repetitions, level: 0, value: 0 }
    }

    /// Goes on with the column of a row group.
    pub(super) fn begin(&mut self, reader: ColumnReader) {
        self.reader = Some(reader);
    }

    /// Reads the values of the next rows.
    pub(super) fn read(&mut self, rows: usize) -> Result<(), ParquetError> {
        self.definitions.clear();
        self.repetitions.clear();
        (self.level, self.value) = (0, 0);
        let levels = (&mut self.definitions, &mut self.repetitions);
        self.values = match &mut self.reader {
            Some(ColumnReader::BoolColumnReader(reader)) => Values::Flags(read(reader, rows, levels)?),
            Some(ColumnReader::Int32ColumnReader(reader)) => Values::Int32(read(reader, rows, levels)?),
            Some(ColumnReader::Int64ColumnReader(reader)) => Values::Int64(read(reader, rows, levels)?),
            Some(ColumnReader::Int96ColumnReader(reader)) => Values::Int96(read(reader, rows, levels)?),
            Some(ColumnReader::FloatColumnReader(reader)) => Values::Float(read(reader, rows, levels)?),
            Some(ColumnReader::DoubleColumnReader(reader)) => Values::Double(read(reader, rows, levels)?),
            Some(ColumnReader::ByteArrayColumnReader(reader)) => Values::Bytes(read(reader, rows, levels)?),
            Some(ColumnReader::FixedLenByteArrayColumnReader(reader)) => Values::Fixed(read(reader, rows, levels)?),
            None => return Err(ParquetError::General("a column without a row group".to_owned())),
        };
        Ok(())
    }

    /// Returns the definition level of the next value; 0 where the column has no levels.
    pub(super) fn definition(&self) -> i16 {
        self.definitions.get(self.level).copied().unwrap_or(0)
    }

    /// Returns the repetition level of the next value; `None` at the end.
    pub(super) fn repetition(&self) -> Option<i16> {
        self.repetitions.get(self.level).copied()
    }

    /// Passes over a value, or over one that is not there.
    pub(super) fn skip(&mut self) {
        self.value += usize::from(self.definition() == self.defined);
        self.level += 1;
    }

    /// Appends the next value, which must be there.
    pub(super) fn append(&mut self, out: &mut Vec<u8>) {
        self.values.append(self.value, self.kind, out);
        self.skip();
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    (definitions, repetitions): (&mut Vec<i16>, &mut Vec<i16>),
) -> Result<Vec<T::T>, ParquetError> {
    let mut values = Vec::with_capacity(rows);
    let (read, ..) = reader.read_records(rows, Some(definitions), Some(repetitions), &mut values)?;
    match read == rows {
        true => Ok(values),
        false => Err(ParquetError::EOF(format!("a column ends {} rows early", rows - read))),
    }
}

impl Values {
    fn append(&self, at: usize, kind: Kind, out: &mut Vec<u8>) {
        match self {
            Values::Flags(values) => out.extend_from_slice(if values[at] { b"true" } else { b"false" }),
            Values::Int32(values) if kind == Kind::Unsigned => integer(values[at].cast_unsigned().into(), kind, out),
            Values::Int32(values) => integer(values[at].into(), kind, out),
            Values::Int64(values) if kind == Kind::Unsigned => integer(values[at].cast_unsigned().into(), kind, out),
            Values::Int64(values) => integer(values[at].into(), kind, out),
            Values::Int96(values) => stamp(nanos(values[at]), 1_000_000_000, false, out),
            Values::Float(values) => float(values[at], out),
            Values::Double(values) => float(values[at], out),
            Values::Bytes(values) => bytes(values[at].data(), kind, out),
            Values::Fixed(values) => bytes(values[at].data(), kind, out),
        }
    }
}

fn integer(value: i128, kind: Kind, out: &mut Vec<u8>) {
    // Only 64-bit integers count units of time, so nothing is cut here.
    let whole = value as i64;
    match kind {
        Kind::Decimal { scale } => text::scaled(&value.to_string(), scale, out),
        Kind::Date => quoted(out, |out| text::date(whole, out)),
        Kind::Clock { per_second } => {
            let (seconds, nanos) = text::split(whole, per_second);
            quoted(out, |out| text::clock(seconds, nanos, out));
        }
        Kind::Instant { per_second, has_zone } => stamp(whole, per_second, has_zone, out),
        Kind::Duration { per_second } => text::scaled(&value.to_string(), per_second.ilog10() as i32, out),
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::Flag | Kind::Signed | Kind::Unsigned | Kind::Float | Kind::Half | Kind::Text | Kind::Bytes | Kind::Uuid => {
            text::put(out, format_args!("{value}"));
        }
    }
}

/// A count of units since 1970. A zone only says how to show it; the count is of UTC.
fn stamp(count: i64, per_second: i64, has_zone: bool, out: &mut Vec<u8>) {
    quoted(out, |out| {
        text::date_time(count, per_second, out);
        out.extend_from_slice(if has_zone { b"Z" } else { b"" });
    });
}

/// The nanoseconds of a day and the number of the day, counted from 4713 BC.
fn nanos(value: Int96) -> i64 {
    const DAY_OF_1970: i64 = 2_440_588;
    const NANOS_PER_DAY: i64 = 86_400_000_000_000;
    let [low, high, day] = *value.data() else { return 0 };
    let of_day = i64::from(high) << 32 | i64::from(low);
    (i64::from(day) - DAY_OF_1970).saturating_mul(NANOS_PER_DAY).saturating_add(of_day)
}

/// A float; NaN and infinities are text, which no value is read from.
fn float<F: std::fmt::Debug + Into<f64> + Copy>(value: F, out: &mut Vec<u8>) {
    match value.into().is_finite() {
        true => text::put(out, format_args!("{value:?}")),
        false => text::put(out, format_args!("\"{value:?}\"")),
    }
}

fn bytes(value: &[u8], kind: Kind, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Text, _) => quote_into(value, out),
        (Kind::Decimal { scale }, _) => text::scaled(&text::big_integer(value), scale, out),
        (Kind::Uuid, _) => quoted(out, |out| text::uuid(value, out)),
        (Kind::Half, [low, high]) => float(text::half(u16::from_le_bytes([*low, *high])), out),
        (Kind::Null, _) => out.extend_from_slice(b"null"),
        _ => quoted(out, |out| text::hex(value, out)),
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}
