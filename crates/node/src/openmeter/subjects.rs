//! Subjects: whose usage events are of, with names for people.
//!
//! An event needs no subject to be known; a subject that is kept has a display name and metadata.

use flowmeter_core::meter_type::derived;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::Who;
use crate::change::ChangeSet;
use crate::installation::Installation;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, named_key, put};

/// Bytes of a key or a display name.
const TEXT_MAX: usize = 256;

/// A subject as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptSubject {
    /// The `subject` of events.
    pub key: String,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Further fields of the subject.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The time of its creation, RFC 3339.
    pub created_at: String,
    /// The time of its last change, RFC 3339.
    pub updated_at: String,
}

impl KeptSubject {
    /// Returns the subject as the API shows it.
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "id": derived::named(&Uuid::NAMESPACE_OID, self.key.as_bytes()),
            "key": self.key, "createdAt": self.created_at, "updatedAt": self.updated_at,
        });
        if let Some(name) = &self.display_name {
            shown["displayName"] = json!(name);
        }
        if !self.metadata.is_empty() {
            shown["metadata"] = json!(self.metadata);
        }
        shown
    }

    /// Reads a subject of a request. Fields that are left out stay as they are.
    fn read(at: usize, given: &Value, known: Option<KeptSubject>, now: String) -> Result<KeptSubject, Refused> {
        let invalid =
            |field: &str, detail: &str| Box::new(Refusal::new(RefusalKind::Invalid, detail).field(format!("[{at}].{field}")));
        let key = given["key"].as_str().filter(|key| !key.is_empty() && key.len() <= TEXT_MAX);
        let key = key.ok_or_else(|| invalid("key", "a subject needs a `key` of 1 to 256 bytes"))?;
        let known = known.unwrap_or(KeptSubject {
            key: key.to_owned(),
            display_name: None,
            metadata: Map::new(),
            created_at: now.clone(),
            updated_at: String::new(),
        });
        let display_name = match given.get("displayName") {
            None => known.display_name,
            Some(Value::Null) => None,
            Some(Value::String(name)) if name.len() <= TEXT_MAX => Some(name.clone()),
            Some(_) => return Err(invalid("displayName", "`displayName` is text of at most 256 bytes")),
        };
        let metadata = match given.get("metadata") {
            None => known.metadata,
            Some(Value::Null) => Map::new(),
            Some(Value::Object(metadata)) => metadata.clone(),
            Some(_) => return Err(invalid("metadata", "`metadata` is an object")),
        };
        Ok(KeptSubject { display_name, metadata, updated_at: now, key: known.key, created_at: known.created_at })
    }
}

impl Installation {
    /// Returns a subject of a namespace.
    pub fn subject(&self, namespace: &str, key: &str) -> Result<Option<KeptSubject>, Error> {
        let found = self.catalog.get(Table::Subjects, &named_key(namespace, key))?;
        found.as_deref().map(kept).transpose()
    }

    /// Returns the subjects of a namespace, by key.
    pub fn subjects(&self, namespace: &str) -> Result<Vec<KeptSubject>, Error> {
        let all = self.catalog.scan(Table::Subjects, &named_key(namespace, ""), None, usize::MAX)?;
        all.iter().map(|(_, value)| kept(value)).collect()
    }

    /// Makes or changes subjects, all or none. Returns them.
    pub fn put_subjects(&self, who: &Who, given: &[Value]) -> Result<Vec<KeptSubject>, Refused> {
        let _change = self.begin_change()?;
        let (mut set, mut subjects) = (ChangeSet::default(), Vec::new());
        for (at, given) in given.iter().enumerate() {
            let key = given["key"].as_str().unwrap_or_default();
            let known = self.subject(&who.namespace, key).map_err(|why| refusal_of(&why))?;
            let subject = KeptSubject::read(at, given, known, self.now().to_string())?;
            set.rows.push(put(Table::Subjects, named_key(&who.namespace, &subject.key), &subject));
            subjects.push(subject);
        }
        let shown: Vec<Value> = subjects.iter().map(KeptSubject::shown).collect();
        let audited = self.audit_in(&mut set, who, "openmeter.subject.upsert", "subjects", (Value::Null, json!(shown)));
        audited.map_err(|why| refusal_of(&why))?;
        self.make_change(set)?;
        Ok(subjects)
    }

    /// Forgets a subject. Its usage stays.
    pub fn delete_subject(&self, who: &Who, key: &str) -> Result<(), Refused> {
        let _change = self.begin_change()?;
        let known = self.subject(&who.namespace, key).map_err(|why| refusal_of(&why))?;
        let known = known.ok_or_else(|| not_found("subject", key))?;
        let removed = Change::Remove(Table::Subjects, named_key(&who.namespace, key));
        let mut set = ChangeSet { rows: vec![removed], ..ChangeSet::default() };
        let audited = self.audit_in(&mut set, who, "openmeter.subject.delete", key, (known.shown(), Value::Null));
        audited.map_err(|why| refusal_of(&why))?;
        self.make_change(set).map(drop)
    }
}
