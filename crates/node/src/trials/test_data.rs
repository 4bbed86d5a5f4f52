//! Test data: events that are stored by name, for testing pipelines repeatedly. They are in the
//! catalog as they were written, one per line; they are never counted.

use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::Who;
use crate::installation::Installation;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::rows::{kept, named_key, put};

/// Test data as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestData {
    /// A name that is unique in its namespace.
    pub name: String,
    /// The namespace of the data.
    pub namespace: String,
    /// The number of events.
    pub event_count: u64,
    /// Whether they are lines of an access log instead of JSON.
    pub raw: bool,
    /// The time at which they were stored.
    pub created_at: String,
    /// The author of the data.
    pub created_by: String,
    /// The events, one per line.
    pub lines: String,
}

impl TestData {
    /// Returns its form in lists, without its events.
    pub fn listed(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = shown.as_object_mut() {
            members.remove("lines");
            members.insert("bytes".to_owned(), json!(self.lines.len()));
        }
        shown
    }
}

impl Installation {
    /// Returns the test data of a namespace, by name.
    pub fn all_test_data(&self, namespace: &str) -> Result<Vec<TestData>, Error> {
        let found = self.catalog.scan(Table::TestData, &named_key(namespace, ""), None, usize::MAX)?;
        found.iter().map(|(_, value)| kept(value)).collect()
    }

    /// Returns test data by name.
    pub fn test_data(&self, namespace: &str, name: &str) -> Result<TestData, Refused> {
        let found = self.catalog.get(Table::TestData, &named_key(namespace, name)).map_err(|why| refusal_of(&why.into()))?;
        kept(&found.ok_or_else(|| not_found("test data", name))?).map_err(|why| refusal_of(&why))
    }

    /// Stores events under a name.
    pub fn create_test_data(&self, who: &Who, name: &str, lines: String, raw: bool) -> Result<TestData, Refused> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 80 || name.contains('/') {
            let detail = "test data needs a name of 1 to 80 characters, without `/`";
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field("name")));
        }
        let _change = self.begin_change()?;
        let key = named_key(&who.namespace, name);
        if self.catalog.get(Table::TestData, &key).map_err(|why| refusal_of(&why.into()))?.is_some() {
            let detail = format!("there is test data `{name}` already; delete it first");
            return Err(Box::new(Refusal::new(RefusalKind::AlreadyExists, detail).field("name")));
        }
        let made = TestData {
            name: name.to_owned(),
            namespace: who.namespace.clone(),
            event_count: lines.lines().count() as u64,
            raw,
            created_at: self.now().to_string(),
            created_by: who.name.clone(),
            lines,
        };
        let mut changes = vec![put(Table::TestData, key, &made)];
        let audited = self.audited(who, "test_data.create", name, Value::Null, json!({"eventCount": made.event_count}));
        changes.extend(audited.map_err(|why| refusal_of(&why))?);
        self.catalog.commit(&changes).map_err(|why| refusal_of(&why.into()))?;
        Ok(made)
    }

    /// Deletes test data by name.
    pub fn delete_test_data(&self, who: &Who, name: &str) -> Result<(), Refused> {
        let _change = self.begin_change()?;
        let known = self.test_data(&who.namespace, name)?;
        let mut changes = vec![Change::Remove(Table::TestData, named_key(&who.namespace, name))];
        let audited = self.audited(who, "test_data.delete", name, json!({"eventCount": known.event_count}), Value::Null);
        changes.extend(audited.map_err(|why| refusal_of(&why))?);
        self.catalog.commit(&changes).map_err(|why| refusal_of(&why.into()))
    }
}
