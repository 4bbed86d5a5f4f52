//! The event of a point: the attributes of a CloudEvent around its data.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::value::{Attributes, instant, text};

/// The attributes that name the user of a point, the first that is there.
const USERS: [&str; 2] = ["user.id", "enduser.id"];

/// Where the points of a group were measured: resource and instrumentation scope.
pub(super) struct Place {
    user: Option<String>,
    resource: Map<String, Value>,
    scope: Value,
    /// A short text for resource and scope, in the identities of points.
    name: String,
}

impl Place {
    /// Reads the members `resource` and `scope` of the groups around points.
    ///
    /// # Errors
    /// They are larger than an event may be, or have too many attributes.
    pub(super) fn of(of_resource: &Value, of_scope: &Value, bytes_max: usize) -> Result<Place, String> {
        let (resource, scope) = (of_resource.get("resource"), of_scope.get("scope"));
        let attributes = Attributes::of(resource.unwrap_or(&Value::Null))?;
        let mut described = Map::new();
        for name in ["name", "version"] {
            if let Some(value) = scope.and_then(|scope| text(scope, name)) {
                described.insert(name.to_owned(), json!(value));
            }
        }
        let own = Attributes::of(scope.unwrap_or(&Value::Null))?.nested();
        if !own.is_empty() {
            described.insert("attributes".to_owned(), Value::Object(own));
        }
        let (resource, scope) = (attributes.nested(), Value::Object(described));
        let written = json!([resource, scope]).to_string();
        if written.len() > bytes_max {
            return Err(format!("a resource of {} bytes; an event may have {bytes_max}", written.len()));
        }
        Ok(Place { user: user(&attributes), resource, scope, name: hash(&written) })
    }

    /// Returns the identity of something in this place.
    pub(super) fn identity(&self, of: &Value) -> String {
        hash(&json!([self.name, of]).to_string())
    }

    /// Makes the event of a point; the user is that of its attributes, else of the resource.
    pub(super) fn event(&self, head: &Head, attributes: &Attributes<'_>, data: Map<String, Value>) -> Value {
        let mut event = json!({"specversion": "1.0", "id": head.id, "source": head.source, "type": head.kind});
        if let Some(user) = user(attributes).or_else(|| self.user.clone()) {
            event["subject"] = json!(user);
        }
        if let Some(time) = head.time.and_then(instant) {
            event["time"] = json!(time);
        }
        let mut data = data;
        data.insert("resource".to_owned(), Value::Object(self.resource.clone()));
        data.insert("scope".to_owned(), self.scope.clone());
        event["data"] = Value::Object(data);
        event
    }
}

/// The attributes of an event.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) source: &'static str,
    /// The `type` of the event.
    pub(super) kind: &'static str,
    /// Its time, in nanoseconds since 1970.
    pub(super) time: Option<u64>,
}

fn hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes())[..16])
}

/// The user that attributes name.
fn user(attributes: &Attributes<'_>) -> Option<String> {
    USERS.iter().find_map(|name| match attributes.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}
