//! Values of a Parquet file of records, read back.

use parquet::data_type::Decimal;
use parquet::record::{Field, Row};

use super::Type;
use super::cell::{Cell, Group};

/// Digits behind the point of every number of a record.
const SCALE: i32 = 18;

/// Returns the value of a column; `None` if it is of another type. A column of text is read by
/// its texts.
pub(super) fn cell(column: Type, field: &Field) -> Option<Cell> {
    Some(match (column, field) {
        (_, Field::Null) => Cell::Null,
        (_, Field::Str(text)) => return Cell::of_text(column, text),
        (Type::Time, Field::TimestampMicros(micros)) => Cell::Time(*micros),
        (Type::Number, Field::Decimal(number)) => Cell::Number(units(number)?),
        (Type::Small, Field::Int(whole)) => Cell::Whole((*whole).into()),
        (Type::Count, Field::Long(whole)) => Cell::Whole(*whole),
        (Type::Flag, Field::Bool(flag)) => Cell::Flag(*flag),
        (Type::Groups, Field::ListInternal(groups)) => {
            Cell::Groups(groups.elements().iter().map(group).collect::<Option<Vec<Group>>>()?)
        }
        _ => return None,
    })
}

fn group(element: &Field) -> Option<Group> {
    let Field::Group(members) = element else { return None };
    let fields = match member(members, "fields")? {
        Field::MapInternal(entries) => entries.entries().iter().map(entry).collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    let value = match member(members, "value")? {
        Field::Null => None,
        Field::Decimal(number) => Some(units(number)?),
        _ => return None,
    };
    Some(Group { fields, key: text(member(members, "key")?)?, value })
}

fn entry((name, value): &(Field, Field)) -> Option<(String, Option<String>)> {
    let value = match value {
        Field::Null => None,
        other => Some(text(other)?),
    };
    Some((text(name)?, value))
}

fn member<'r>(row: &'r Row, name: &str) -> Option<&'r Field> {
    row.get_column_iter().find(|(member, _)| *member == name).map(|(_, field)| field)
}

fn text(field: &Field) -> Option<String> {
    let Field::Str(text) = field else { return None };
    Some(text.clone())
}

fn units(number: &Decimal) -> Option<i128> {
    let bytes: [u8; 16] = number.data().try_into().ok()?;
    (number.scale() == SCALE).then_some(i128::from_be_bytes(bytes))
}
