//! The event of a point: the attributes of a CloudEvent around its data.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::value::{attributes, instant, text};

/// The attributes that name the user of a point, the first that is there.
const USERS: [[&str; 2]; 2] = [["user", "id"], ["enduser", "id"]];

/// Where a point was measured: resource and instrumentation scope.
pub(super) struct Place {
    resource: Map<String, Value>,
    scope: Value,
}

impl Place {
    /// Reads the members `resource` and `scope` of the groups around a point.
    pub(super) fn of(of_resource: &Value, of_scope: &Value) -> Place {
        let resource = of_resource.get("resource").map(attributes).unwrap_or_default();
        let mut scope = Map::new();
        for name in ["name", "version"] {
            if let Some(value) = of_scope.get("scope").and_then(|scope| text(scope, name)) {
                scope.insert(name.to_owned(), json!(value));
            }
        }
        Place { resource, scope: Value::Object(scope) }
    }

    /// Makes the event of a point with its own attributes and data.
    pub(super) fn event(&self, of: &Of<'_>, own: Map<String, Value>, data: Map<String, Value>) -> Value {
        let id = of.id.clone().unwrap_or_else(|| self.id(of, &own, &data));
        let mut event = json!({"specversion": "1.0", "id": id, "source": of.source, "type": of.kind});
        if let Some(user) = user(&own).or_else(|| user(&self.resource)) {
            event["subject"] = json!(user);
        }
        if let Some(time) = of.time.and_then(instant) {
            event["time"] = json!(time);
        }
        let mut data = data;
        data.insert("attributes".to_owned(), Value::Object(own));
        data.insert("resource".to_owned(), Value::Object(self.resource.clone()));
        data.insert("scope".to_owned(), self.scope.clone());
        event["data"] = Value::Object(data);
        event
    }

    /// An id of resource, scope, name, attributes and time. Objects are sorted by name, so the order in
    /// which attributes were sent plays no role.
    fn id(&self, of: &Of<'_>, own: &Map<String, Value>, data: &Map<String, Value>) -> String {
        let said = if of.is_measured { Value::Null } else { Value::Object(data.clone()) };
        let identity = json!([self.resource, self.scope, of.name, own, of.time, said]);
        HEXLOWER.encode(&Sha256::digest(identity.to_string().as_bytes())[..16])
    }
}

/// The kind and identity of a point.
pub(super) struct Of<'v> {
    /// The `source` of its event.
    pub(super) source: &'static str,
    /// The `type` of its event.
    pub(super) kind: &'static str,
    /// Its own id, if it has one; else one is made.
    pub(super) id: Option<String>,
    /// The name of the metric.
    pub(super) name: &'v str,
    /// Its time, in nanoseconds since 1970.
    pub(super) time: Option<u64>,
    /// Whether there is one point of its name, attributes and time, whatever its value.
    pub(super) is_measured: bool,
}

/// The user that attributes name.
fn user(attributes: &Map<String, Value>) -> Option<String> {
    USERS.iter().find_map(|[outer, inner]| match attributes.get(*outer)?.get(inner)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}
