//! A meter of OpenMeter's API: read, checked, shown.

use std::collections::BTreeMap;

use flowmeter_core::event::Path;
use flowmeter_core::meter_type::derived;
use flowmeter_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::refusal::{Refusal, RefusalKind, Refused};

/// OpenMeter's aggregations, and their names here.
pub const AGGREGATIONS: [(&str, &str); 7] = [
    ("SUM", "sum"),
    ("COUNT", "increment"),
    ("UNIQUE_COUNT", "unique"),
    ("AVG", "avg"),
    ("MIN", "min"),
    ("MAX", "max"),
    ("LATEST", "latest"),
];

/// Characters of a slug; OpenMeter's bound.
const SLUG_MAX: usize = 64;

/// A meter as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptMeter {
    /// The id of the meter, and of its meter type.
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub aggregation: String,
    pub event_type: String,
    pub value_property: Option<String>,
    #[serde(default)]
    pub group_by: BTreeMap<String, String>,
    pub metadata: Option<Map<String, Value>>,
    pub created_at: String,
    pub updated_at: String,
    /// The meter operator of the pipeline that guides events to it. It never changes, since users'
    /// meters belong to an operator.
    pub operator: u16,
    /// Whether it is being deleted: no events are guided to it, and its users' meters are being
    /// removed.
    #[serde(default)]
    pub deleting: bool,
}

fn invalid(field: &str, detail: impl Into<String>) -> Refused {
    Box::new(Refusal::new(RefusalKind::Invalid, detail).field(field))
}

impl KeptMeter {
    /// Reads a meter that a client creates.
    pub fn read(fields: &Map<String, Value>, namespace: &str, now: Timestamp) -> Result<KeptMeter, Refused> {
        let slug = required(fields, "slug")?;
        if !is_slug(&slug) {
            let detail = "a slug is lower-case letters and digits, joined by single underscores, at most 64";
            return Err(invalid("slug", detail));
        }
        let aggregation = required(fields, "aggregation")?;
        if !AGGREGATIONS.iter().any(|(known, _)| *known == aggregation) {
            let known = AGGREGATIONS.map(|(known, _)| known).join(", ");
            return Err(invalid("aggregation", format!("`{aggregation}` is no aggregation; write one of {known}")));
        }
        if fields.get("eventFrom").is_some_and(|value| !value.is_null()) {
            return Err(invalid("eventFrom", "eventFrom is not read here: a meter counts events from when it is made"));
        }
        let value_property = text(fields, "valueProperty")?;
        match (&value_property, aggregation == "COUNT") {
            (Some(_), true) => return Err(invalid("valueProperty", "COUNT counts events; leave valueProperty out")),
            (None, false) => {
                return Err(invalid("valueProperty", format!("{aggregation} needs a value: write `$.` and its name")));
            }
            (Some(property), false) => drop(path(property, "valueProperty")?),
            (None, true) => {}
        }
        let stamp = now.to_string();
        let meter = KeptMeter {
            id: new_id(namespace, &slug, now),
            name: text(fields, "name")?.filter(|name| !name.is_empty()).unwrap_or_else(|| slug.clone()),
            description: text(fields, "description")?,
            event_type: required(fields, "eventType")?,
            group_by: group_by(fields, value_property.as_deref())?,
            metadata: fields.get("metadata").and_then(Value::as_object).cloned(),
            created_at: stamp.clone(),
            updated_at: stamp,
            operator: 0,
            deleting: false,
            slug,
            aggregation,
            value_property,
        };
        Ok(meter)
    }

    /// Returns the meter with changed fields: name, description, metadata, and dimensions.
    pub fn changed(&self, fields: &Map<String, Value>, now: Timestamp) -> Result<KeptMeter, Refused> {
        let mut meter = self.clone();
        if let Some(name) = text(fields, "name")? {
            meter.name = name;
        }
        meter.description = text(fields, "description")?;
        meter.metadata = fields.get("metadata").and_then(Value::as_object).cloned();
        if fields.get("groupBy").is_some_and(|value| !value.is_null()) {
            meter.group_by = group_by(fields, self.value_property.as_deref())?;
        }
        meter.updated_at = now.to_string();
        Ok(meter)
    }

    /// Returns its JSON form for clients.
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "id": ulid(self.id), "slug": self.slug, "name": self.name, "aggregation": self.aggregation,
            "eventType": self.event_type, "createdAt": self.created_at, "updatedAt": self.updated_at,
        });
        let optional = [
            ("description", self.description.clone().map(Value::String)),
            ("valueProperty", self.value_property.clone().map(Value::String)),
            ("groupBy", (!self.group_by.is_empty()).then(|| json!(self.group_by))),
            ("metadata", self.metadata.clone().map(Value::Object)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        shown
    }

    /// Whether this is its slug or id.
    pub fn is_called(&self, id_or_slug: &str) -> bool {
        self.slug == id_or_slug || ulid(self.id) == id_or_slug
    }

    /// Returns the path of an event's value.
    pub fn value_path(&self) -> Option<String> {
        self.value_property.as_deref().and_then(|property| path(property, "").ok())
    }

    /// Returns the path of an event's dimension.
    pub fn dimension(&self, key: &str) -> Option<String> {
        self.group_by.get(key).and_then(|property| path(property, "").ok())
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Refused> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(name, format!("{name} is text"))),
    }
}

fn required(fields: &Map<String, Value>, name: &str) -> Result<String, Refused> {
    text(fields, name)?.filter(|text| !text.is_empty()).ok_or_else(|| invalid(name, format!("a meter needs {name}")))
}

fn group_by(fields: &Map<String, Value>, value: Option<&str>) -> Result<BTreeMap<String, String>, Refused> {
    let mut all = BTreeMap::new();
    let given = match fields.get("groupBy") {
        None | Some(Value::Null) => return Ok(all),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(invalid("groupBy", "groupBy is an object: the name of a dimension, and where it is")),
    };
    for (key, property) in given {
        let field = format!("groupBy.{key}");
        if !is_key(key) {
            return Err(invalid(
                &field,
                "the name of a dimension is letters, digits and underscores, and begins with none of the digits",
            ));
        }
        if key == flowmeter_store::rollups::SUBJECT {
            return Err(invalid(&field, "`subject` is the subject of the event; name the dimension otherwise"));
        }
        let Some(property) = property.as_str() else { return Err(invalid(&field, "write where it is, like `$.model`")) };
        path(property, &field)?;
        if Some(property) == value {
            return Err(invalid(&field, "a dimension cannot be the value"));
        }
        all.insert(key.clone(), property.to_owned());
    }
    Ok(all)
}

fn is_slug(slug: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    slug.len() <= SLUG_MAX && slug.split('_').all(word)
}

fn is_key(key: &str) -> bool {
    let first = key.bytes().next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
    first && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// Returns the path of a property, which is a JSONPath into the event's data: names only.
pub fn path(property: &str, field: &str) -> Result<String, Refused> {
    let wrong = || invalid(field, format!("`{property}` is not read here; write `$.name`, `$.outer.inner` or `$['a name']`"));
    let mut rest = property.strip_prefix('$').ok_or_else(wrong)?;
    let mut names = vec!["data".to_owned()];
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix('.') {
            after.split_at(after.find(['.', '[']).unwrap_or(after.len()))
        } else {
            let quoted = ["['", "[\""].iter().find_map(|open| rest.strip_prefix(open).zip(open.chars().nth(1)));
            let (after, quote) = quoted.ok_or_else(wrong)?;
            after.split_once(&format!("{quote}]")).ok_or_else(wrong)?
        };
        if name.is_empty() || name == "*" {
            return Err(wrong());
        }
        names.push(name.to_owned());
        rest = after;
    }
    if names.len() < 2 { Err(wrong()) } else { Ok(Path::of(&names).as_str().to_owned()) }
}

/// Returns a new id: a ULID's time, and a hash in place of a ULID's random part. The id need not be
/// secret.
fn new_id(namespace: &str, slug: &str, now: Timestamp) -> Uuid {
    let millis = (now.nanos() / 1_000_000).max(0) as u128;
    let hash = derived::meter_type(&format!("openmeter/{namespace}/{slug}/{}", now.nanos())).as_u128();
    Uuid::from_u128(millis << 80 | hash & ((1 << 80) - 1))
}

/// Returns an id in OpenMeter's form: 26 digits of Crockford's base 32.
pub fn ulid(id: Uuid) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    (0..26).rev().map(|place| DIGITS[(id.as_u128() >> (5 * place)) as usize & 31] as char).collect()
}
