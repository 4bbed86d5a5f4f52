//! Values as arrays, and arrays as values.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
    StructBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::Type;
use super::cell::{Cell, Group};

/// As every number of a record: 38 digits, 18 of them behind the point.
const NUMBER: DataType = DataType::Decimal128(38, 18);

pub(super) fn data_type(column: Type) -> DataType {
    match column {
        Type::Text | Type::Json => DataType::Utf8,
        Type::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Number => NUMBER,
        Type::Small => DataType::Int32,
        Type::Count => DataType::Int64,
        Type::Flag => DataType::Boolean,
        Type::Groups => DataType::List(element()),
    }
}

fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(members()), true))
}

fn members() -> Fields {
    let entry = [Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    let entries = Field::new("key_value", DataType::Struct(entry.into_iter().collect()), false);
    let fields = Field::new("fields", DataType::Map(Arc::new(entries), false), true);
    Fields::from(vec![fields, Field::new("key", DataType::Utf8, true), Field::new("value", NUMBER, true)])
}

/// A column of values. One of another kind than the column's is null; there is none.
pub(super) fn build<'c>(column: Type, cells: impl Iterator<Item = &'c Cell>) -> ArrayRef {
    macro_rules! built {
        ($builder:expr, $kind:ident, $value:ident => $as:expr) => {{
            let mut builder = $builder;
            cells.for_each(|cell| match cell {
                Cell::$kind($value) => builder.append_value($as),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }};
    }
    match column {
        Type::Text | Type::Json => built!(StringBuilder::new(), Text, text => text),
        Type::Time => built!(TimestampMicrosecondBuilder::new().with_timezone("UTC"), Time, micros => *micros),
        Type::Number => built!(Decimal128Builder::new().with_data_type(NUMBER), Number, units => *units),
        Type::Small => built!(Int32Builder::new(), Whole, whole => i32::try_from(*whole).unwrap_or(i32::MAX)),
        Type::Count => built!(Int64Builder::new(), Whole, whole => *whole),
        Type::Flag => built!(BooleanBuilder::new(), Flag, flag => *flag),
        Type::Groups => Arc::new(groups(cells)),
    }
}

fn groups<'c>(cells: impl Iterator<Item = &'c Cell>) -> arrow_array::ListArray {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let fields = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    let value = Decimal128Builder::new().with_data_type(NUMBER);
    let builders: Vec<Box<dyn arrow_array::builder::ArrayBuilder>> =
        vec![Box::new(fields), Box::new(StringBuilder::new()), Box::new(value)];
    let mut list = ListBuilder::new(StructBuilder::new(members(), builders)).with_field(element());
    for cell in cells {
        let Cell::Groups(groups) = cell else {
            list.append_null();
            continue;
        };
        groups.iter().for_each(|group| append(list.values(), group));
        list.append(true);
    }
    list.finish()
}

fn append(row: &mut StructBuilder, group: &Group) {
    if let Some(fields) = row.field_builder::<MapBuilder<StringBuilder, StringBuilder>>(0) {
        for (name, value) in &group.fields {
            fields.keys().append_value(name);
            fields.values().append_option(value.as_ref());
        }
        // It fails where keys and values are not as many.
        let _ = fields.append(true);
    }
    if let Some(key) = row.field_builder::<StringBuilder>(1) {
        key.append_value(&group.key);
    }
    if let Some(value) = row.field_builder::<Decimal128Builder>(2) {
        value.append_option(group.value);
    }
    row.append(true);
}

/// The values of a column; `None` if it is of another type. A column of text is read by
/// what its texts say.
pub(super) fn take(column: Type, array: &ArrayRef) -> Option<Vec<Cell>> {
    let at = |row: usize, cell: &dyn Fn(usize) -> Option<Cell>| if array.is_null(row) { Some(Cell::Null) } else { cell(row) };
    let all = |cell: &dyn Fn(usize) -> Option<Cell>| (0..array.len()).map(|row| at(row, cell)).collect();
    if let Some(texts) = array.as_string_opt::<i32>() {
        return all(&|row| Cell::of_text(column, texts.value(row)));
    }
    if *array.data_type() != data_type(column) && column != Type::Groups {
        return None;
    }
    match column {
        Type::Text | Type::Json => None,
        Type::Time => whole::<TimestampMicrosecondType>(array, &|micros| Cell::Time(micros), &all),
        Type::Number => whole::<Decimal128Type>(array, &|units| Cell::Number(units), &all),
        Type::Small => whole::<Int32Type>(array, &|whole| Cell::Whole(whole.into()), &all),
        Type::Count => whole::<Int64Type>(array, &|whole| Cell::Whole(whole), &all),
        Type::Flag => {
            let flags = array.as_boolean_opt()?;
            all(&|row| Some(Cell::Flag(flags.value(row))))
        }
        Type::Groups => {
            let lists = array.as_list_opt::<i32>()?;
            all(&|row| taken(lists.value(row).as_struct_opt()?).map(Cell::Groups))
        }
    }
}

type All<'a> = dyn Fn(&dyn Fn(usize) -> Option<Cell>) -> Option<Vec<Cell>> + 'a;

fn whole<T: ArrowPrimitiveType>(array: &ArrayRef, cell: &dyn Fn(T::Native) -> Cell, all: &All<'_>) -> Option<Vec<Cell>> {
    let values = array.as_primitive_opt::<T>()?;
    all(&|row| Some(cell(values.value(row))))
}

fn taken(groups: &StructArray) -> Option<Vec<Group>> {
    let fields = groups.column_by_name("fields")?.as_map_opt()?;
    let keys = groups.column_by_name("key")?.as_string_opt::<i32>()?;
    let values = groups.column_by_name("value")?.as_primitive_opt::<Decimal128Type>()?;
    let group = |row: usize| {
        let entries = fields.value(row);
        let (names, texts) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
        let text = |at: usize| (!texts.is_null(at)).then(|| texts.value(at).to_owned());
        let fields = (0..entries.len()).map(|at| (names.value(at).to_owned(), text(at))).collect();
        let value = (!values.is_null(row)).then(|| values.value(row));
        Some(Group { fields, key: keys.value(row).to_owned(), value })
    };
    (0..groups.len()).map(group).collect()
}
