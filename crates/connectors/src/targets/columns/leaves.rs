//! The columns of a Parquet file while records gather for a row group.
//!
//! Parquet keeps nested values as columns of leaves with levels. All columns may be null, so a
//! value has definition level 1. The groups of a record are a list of objects with a map each:
//!
//! ```text
//! optional group groups (LIST)                          null: 0, empty: 1
//!   repeated group list                                 another group: repetition 1
//!     optional group element                            3
//!       optional group fields (MAP)                     empty: 4
//!         repeated group key_value                      another field: repetition 2
//!           required key                                5
//!           optional value                              null: 5, there: 6
//!       optional key                                    4
//!       optional value                                  null: 3, there: 4
//! ```

use bytes::Bytes;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;

use super::Type;
use super::cell::{Cell, Group};

/// Returns the fields of a column in the language of Parquet schemas.
pub(super) fn schema_of(name: &str, column: Type) -> String {
    const NUMBER: &str = "fixed_len_byte_array(16)";
    match column {
        Type::Text | Type::Json => format!("optional binary {name} (STRING);"),
        Type::Time => format!("optional int64 {name} (TIMESTAMP(MICROS,true));"),
        Type::Local => format!("optional int64 {name} (TIMESTAMP(MICROS,false));"),
        Type::Number => format!("optional {NUMBER} {name} (DECIMAL(38,18));"),
        Type::Small => format!("optional int32 {name};"),
        Type::Count => format!("optional int64 {name};"),
        Type::Flag => format!("optional boolean {name};"),
        Type::Groups => format!(
            "optional group {name} (LIST) {{ repeated group list {{ optional group element {{
                optional group fields (MAP) {{ repeated group key_value {{
                    required binary key (STRING); optional binary value (STRING); }} }}
                optional binary key (STRING);
                optional {NUMBER} value (DECIMAL(38,18)); }} }} }}"
        ),
    }
}

/// A column of leaves.
pub(super) struct Leaf {
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

enum Values {
    Flags(Vec<bool>),
    Small(Vec<i32>),
    Whole(Vec<i64>),
    /// Texts one behind the other, and where each ends.
    Texts(Vec<u8>, Vec<usize>),
    Numbers(Vec<i128>),
}

impl Leaf {
    fn new(values: Values) -> Leaf {
        Leaf { values, definitions: Vec::new(), repetitions: Vec::new() }
    }

    fn level(&mut self, definition: i16, repetition: i16) {
        self.definitions.push(definition);
        self.repetitions.push(repetition);
    }

    fn text(&mut self, text: &str) {
        if let Values::Texts(bytes, ends) = &mut self.values {
            bytes.extend_from_slice(text.as_bytes());
            ends.push(bytes.len());
        }
    }

    fn number(&mut self, units: i128) {
        if let Values::Numbers(values) = &mut self.values {
            values.push(units);
        }
    }

    /// Writes the column into a row group; it is empty afterwards.
    pub(super) fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = (std::mem::take(&mut self.definitions), std::mem::take(&mut self.repetitions));
        match &mut self.values {
            Values::Flags(values) => write::<BoolType>(writer, &std::mem::take(values), &levels),
            Values::Small(values) => write::<Int32Type>(writer, &std::mem::take(values), &levels),
            Values::Whole(values) => write::<Int64Type>(writer, &std::mem::take(values), &levels),
            Values::Texts(bytes, ends) => {
                let (whole, ends) = (Bytes::from(std::mem::take(bytes)), std::mem::take(ends));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let texts = starts.zip(&ends).map(|(start, end)| ByteArray::from(whole.slice(start..*end)));
                write::<ByteArrayType>(writer, &texts.collect::<Vec<_>>(), &levels)
            }
            Values::Numbers(values) => {
                let bytes = |units: i128| FixedLenByteArray::from(units.to_be_bytes().to_vec());
                let values: Vec<FixedLenByteArray> = std::mem::take(values).into_iter().map(bytes).collect();
                write::<FixedLenByteArrayType>(writer, &values, &levels)
            }
        }
    }
}

fn write<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    (definitions, repetitions): &(Vec<i16>, Vec<i16>),
) -> Result<(), ParquetError> {
    // A column outside lists ignores its repetitions: all are 0.
    writer.typed::<T>().write_batch(values, Some(definitions), Some(repetitions)).map(drop)
}

/// Returns the leaves of a column, all empty.
pub(super) fn leaves_of(column: Type) -> Vec<Leaf> {
    let texts = || Values::Texts(Vec::new(), Vec::new());
    let numbers = || Values::Numbers(Vec::new());
    let values = match column {
        Type::Text | Type::Json => vec![texts()],
        Type::Time | Type::Local | Type::Count => vec![Values::Whole(Vec::new())],
        Type::Number => vec![numbers()],
        Type::Small => vec![Values::Small(Vec::new())],
        Type::Flag => vec![Values::Flags(Vec::new())],
        Type::Groups => vec![texts(), texts(), texts(), numbers()],
    };
    values.into_iter().map(Leaf::new).collect()
}

/// Adds a value to the leaves of its column. One of another kind than the column's is null; there
/// is none.
pub(super) fn push(leaves: &mut [Leaf], cell: &Cell) {
    if let ([names, texts, keys, values], Cell::Groups(groups)) = (&mut *leaves, cell) {
        return push_groups([names, texts, keys, values], groups);
    }
    let is_there = match (&mut leaves[0].values, cell) {
        (Values::Texts(..), Cell::Text(text)) => {
            leaves[0].text(text);
            true
        }
        (Values::Whole(values), Cell::Time(whole) | Cell::Whole(whole)) => {
            values.push(*whole);
            true
        }
        (Values::Numbers(values), Cell::Number(units)) => {
            values.push(*units);
            true
        }
        (Values::Small(values), Cell::Whole(whole)) => {
            values.push(i32::try_from(*whole).unwrap_or(i32::MAX));
            true
        }
        (Values::Flags(values), Cell::Flag(flag)) => {
            values.push(*flag);
            true
        }
        _ => false,
    };
    leaves.iter_mut().for_each(|leaf| leaf.level(i16::from(is_there), 0));
}

fn push_groups([names, texts, keys, values]: [&mut Leaf; 4], groups: &[Group]) {
    if groups.is_empty() {
        [names, texts, keys, values].into_iter().for_each(|leaf| leaf.level(1, 0));
        return;
    }
    for (place, group) in groups.iter().enumerate() {
        let another = i16::from(place > 0);
        if group.fields.is_empty() {
            names.level(4, another);
            texts.level(4, another);
        }
        for (place, (name, text)) in group.fields.iter().enumerate() {
            let another = if place > 0 { 2 } else { another };
            names.level(5, another);
            names.text(name);
            texts.level(5 + i16::from(text.is_some()), another);
            text.iter().for_each(|text| texts.text(text));
        }
        keys.level(4, another);
        keys.text(&group.key);
        values.level(3 + i16::from(group.value.is_some()), another);
        group.value.iter().for_each(|units| values.number(*units));
    }
}
