//! A column of a Parquet file: its values, some rows at a time.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;

use crate::file::typed::Kind;
use crate::file::typed::value::{bytes, float, integer, stamp};

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

    /// Begins with the column of a row group.
    pub(super) fn begin(&mut self, reader: ColumnReader) {
        self.values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Flags(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        self.reader = Some(reader);
    }

    /// Reads the values of the next rows.
    pub(super) fn read(&mut self, rows: usize) -> Result<(), ParquetError> {
        self.definitions.clear();
        self.repetitions.clear();
        (self.level, self.value) = (0, 0);
        let levels = (&mut self.definitions, &mut self.repetitions);
        match (&mut self.reader, &mut self.values) {
            (Some(ColumnReader::BoolColumnReader(reader)), Values::Flags(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::Int32ColumnReader(reader)), Values::Int32(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::Int64ColumnReader(reader)), Values::Int64(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::Int96ColumnReader(reader)), Values::Int96(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::FloatColumnReader(reader)), Values::Float(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::DoubleColumnReader(reader)), Values::Double(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::ByteArrayColumnReader(reader)), Values::Bytes(values)) => read(reader, rows, levels, values),
            (Some(ColumnReader::FixedLenByteArrayColumnReader(reader)), Values::Fixed(values)) => {
                read(reader, rows, levels, values)
            }
            _ => Err(ParquetError::General("a column without a row group".to_owned())),
        }
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
    values: &mut Vec<T::T>,
) -> Result<(), ParquetError> {
    values.clear();
    let (read, ..) = reader.read_records(rows, Some(definitions), Some(repetitions), values)?;
    match read == rows {
        true => Ok(()),
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

/// The nanoseconds of a day and the number of the day, counted from 4713 BC.
fn nanos(value: Int96) -> i64 {
    const DAY_OF_1970: i64 = 2_440_588;
    const NANOS_PER_DAY: i64 = 86_400_000_000_000;
    let [low, high, day] = *value.data() else { return 0 };
    let of_day = i64::from(high) << 32 | i64::from(low);
    (i64::from(day) - DAY_OF_1970).saturating_mul(NANOS_PER_DAY).saturating_add(of_day)
}
