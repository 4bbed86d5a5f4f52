//! The schema of an Avro file.
//!
//! Types are kept in a list and named by their places, so that a type may contain itself.

use std::collections::HashMap;

use flowmeter_core::event::Path;
use serde_json::Value;

use crate::file::typed::Kind;

/// Types nested deeper are none that a program writes.
const DEPTH_MAX: usize = 64;

/// A type of the schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Null,
    Boolean,
    /// `int` and `long`, which are written alike.
    Long(Kind),
    Float,
    Double,
    /// Bytes and text, with their length.
    Bytes(Kind),
    Fixed(usize, Kind),
    Enum(Vec<String>),
    Record(Vec<(String, usize)>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
}

/// The types of a file; the first is that of its records.
pub(crate) struct Schema {
    pub(super) types: Vec<Type>,
}

impl Schema {
    pub(crate) fn parse(text: &[u8]) -> Result<Schema, String> {
        let json: Value = serde_json::from_slice(text).map_err(|why| format!("its schema is no JSON: {why}"))?;
        let mut reader = Reader { types: Vec::new(), named: HashMap::new() };
        let root = reader.read(&json, "", 0)?;
        match root {
            0 => Ok(Schema { types: reader.types }),
            _ => Err("its schema is no record".to_owned()),
        }
    }

    /// Returns the fields of the records.
    pub(super) fn record(&self) -> Option<&[(String, usize)]> {
        match self.types.first()? {
            Type::Record(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the kind of the field that a path leads to, through records only. A union of a type
    /// and null is that type.
    pub(super) fn kind_at(&self, path: &Path) -> Option<Kind> {
        let mut found = &self.types[0];
        for name in path.names() {
            let Type::Record(fields) = self.plain(found) else { return None };
            found = &self.types[fields.iter().find(|(known, _)| **known == **name)?.1];
        }
        match self.plain(found) {
            Type::Null => Some(Kind::Null),
            Type::Boolean => Some(Kind::Flag),
            Type::Long(kind) | Type::Bytes(kind) | Type::Fixed(_, kind) => Some(*kind),
            Type::Float | Type::Double => Some(Kind::Float),
            Type::Enum(_) => Some(Kind::Text),
            Type::Record(_) | Type::Array(_) | Type::Map(_) | Type::Union(_) => None,
        }
    }

    fn plain<'s>(&'s self, found: &'s Type) -> &'s Type {
        let Type::Union(branches) = found else { return found };
        let mut others = branches.iter().map(|branch| &self.types[*branch]).filter(|branch| **branch != Type::Null);
        match (others.next(), others.next()) {
            (Some(only), None) => only,
            _ => found,
        }
    }
}

struct Reader {
    types: Vec<Type>,
    /// Places of named types, by full name.
    named: HashMap<String, usize>,
}

impl Reader {
    fn add(&mut self, found: Type) -> usize {
        self.types.push(found);
        self.types.len() - 1
    }

    fn read(&mut self, json: &Value, space: &str, depth: usize) -> Result<usize, String> {
        if depth > DEPTH_MAX {
            return Err(format!("its schema is nested deeper than {DEPTH_MAX}"));
        }
        match json {
            Value::String(name) => self.by_name(name, space),
            Value::Array(branches) => {
                let place = self.add(Type::Null);
                let branches = branches.iter().map(|branch| self.read(branch, space, depth + 1));
                self.types[place] = Type::Union(branches.collect::<Result<_, _>>()?);
                Ok(place)
            }
            Value::Object(_) => match &json["type"] {
                Value::String(name) => self.complex(json, name, space, depth),
                // A type in an envelope of its own.
                inner => self.read(inner, space, depth + 1),
            },
            other => Err(format!("its schema has {other} where a type is expected")),
        }
    }

    fn by_name(&mut self, name: &str, space: &str) -> Result<usize, String> {
        if let Some(primitive) = primitive(name, None, 0) {
            return Ok(self.add(primitive));
        }
        let found = self.named.get(&full_name(name, space)).or_else(|| self.named.get(name));
        found.copied().ok_or_else(|| format!("its schema names the type `{name}`, which it does not define"))
    }

    fn complex(&mut self, json: &Value, name: &str, space: &str, depth: usize) -> Result<usize, String> {
        let logical = json["logicalType"].as_str();
        let scale = json["scale"].as_i64().and_then(|scale| i32::try_from(scale).ok()).unwrap_or(0);
        let part = |member: &str| json.get(member).ok_or_else(|| format!("a type `{name}` without `{member}`"));
        match name {
            "array" => {
                let place = self.add(Type::Null);
                self.types[place] = Type::Array(self.read(part("items")?, space, depth + 1)?);
                Ok(place)
            }
            "map" => {
                let place = self.add(Type::Null);
                self.types[place] = Type::Map(self.read(part("values")?, space, depth + 1)?);
                Ok(place)
            }
            "record" | "error" | "enum" | "fixed" => {
                let (full, space) = names_of(json, space)?;
                let place = self.add(Type::Null);
                self.named.insert(full, place);
                self.types[place] = match name {
                    "enum" => Type::Enum(texts(part("symbols")?)?),
                    "fixed" => {
                        let size = part("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                        let size = size.ok_or("a `fixed` whose size is no number")?;
                        Type::Fixed(size, kind_of_bytes(logical, scale))
                    }
                    _ => Type::Record(self.fields(part("fields")?, &space, depth)?),
                };
                Ok(place)
            }
            _ => match primitive(name, logical, scale) {
                Some(primitive) => Ok(self.add(primitive)),
                None => self.by_name(name, space),
            },
        }
    }

    fn fields(&mut self, json: &Value, space: &str, depth: usize) -> Result<Vec<(String, usize)>, String> {
        let fields = json.as_array().ok_or("a record whose fields are no list")?;
        let field = |field: &Value| {
            let name = field["name"].as_str().ok_or("a field without a name")?;
            Ok((name.to_owned(), self.read(&field["type"], space, depth + 1)?))
        };
        fields.iter().map(field).collect()
    }
}

fn texts(json: &Value) -> Result<Vec<String>, String> {
    let items = json.as_array().ok_or("an enum whose symbols are no list")?;
    let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    texts.ok_or_else(|| "an enum with a symbol that is no text".to_owned())
}

/// The full name of a type and the namespace of the names in it.
fn names_of(json: &Value, space: &str) -> Result<(String, String), String> {
    let name = json["name"].as_str().ok_or("a type without a name")?;
    let space = json["namespace"].as_str().unwrap_or(space);
    let full = full_name(name, space);
    let inner = full.rsplit_once('.').map_or(String::new(), |(space, _)| space.to_owned());
    Ok((full, inner))
}

fn full_name(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.to_owned(),
        false => format!("{space}.{name}"),
    }
}

fn primitive(name: &str, logical: Option<&str>, scale: i32) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" | "long" => Type::Long(kind_of_long(logical)),
        "float" => Type::Float,
        "double" => Type::Double,
        "string" => Type::Bytes(Kind::Text),
        "bytes" => Type::Bytes(kind_of_bytes(logical, scale)),
        _ => return None,
    })
}

fn kind_of_long(logical: Option<&str>) -> Kind {
    let (per_second, is_clock, has_zone) = match logical {
        Some("date") => return Kind::Date,
        Some("time-millis") => (1_000, true, false),
        Some("time-micros") => (1_000_000, true, false),
        Some("timestamp-millis") => (1_000, false, true),
        Some("timestamp-micros") => (1_000_000, false, true),
        Some("timestamp-nanos") => (1_000_000_000, false, true),
        Some("local-timestamp-millis") => (1_000, false, false),
        Some("local-timestamp-micros") => (1_000_000, false, false),
        Some("local-timestamp-nanos") => (1_000_000_000, false, false),
        // An unknown logical type is its plain type, says the specification.
        Some(_) | None => return Kind::Signed,
    };
    match is_clock {
        true => Kind::Clock { per_second },
        false => Kind::Instant { per_second, has_zone },
    }
}

fn kind_of_bytes(logical: Option<&str>, scale: i32) -> Kind {
    match logical {
        Some("decimal") => Kind::Decimal { scale },
        Some("uuid") => Kind::Uuid,
        Some(_) | None => Kind::Bytes,
    }
}
