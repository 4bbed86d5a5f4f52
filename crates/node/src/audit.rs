//! The audit: one entry for every change, in the same commit.

use std::sync::atomic::Ordering;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Catalog, Change, Table, key_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::installation::Installation;
use crate::rows::{kept, put};
use crate::verbatim;

/// An entry of the audit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// A number that counts up.
    pub number: u64,
    /// The time of the change.
    pub at: String,
    /// The author: the name of a key, or `local`.
    pub who: String,
    /// The namespace of the change.
    pub namespace: String,
    /// The action: `pipeline.create`, `session.pause` …
    pub action: String,
    /// The object of the action.
    pub object: String,
    /// The object before the change, if it can be represented.
    #[serde(default, skip_serializing_if = "Image::is_none")]
    pub before: Image,
    /// The object after the change.
    #[serde(default, skip_serializing_if = "Image::is_none")]
    pub after: Image,
    /// The reason that the author gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The id of the request, as in its answer and in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// `key` or `browser`; none for changes that the server makes or that needed no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

/// An object as it was or is: JSON text, so that an event stays as it was sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Image(Option<Box<RawValue>>);

impl Image {
    /// JSON that a user sent.
    pub fn sent(bytes: &[u8]) -> Image {
        Image(Some(verbatim::sent(bytes)))
    }

    fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the JSON text; empty if there is none.
    pub fn text(&self) -> &str {
        self.0.as_ref().map_or("", |json| json.get())
    }
}

impl From<Value> for Image {
    fn from(value: Value) -> Image {
        Image((!value.is_null()).then(|| verbatim::raw(&value)))
    }
}

/// A filter of entries.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Entries about this object.
    pub object: Option<String>,
    /// Entries whose action begins with this.
    pub action: Option<String>,
    /// Entries by this author.
    pub who: Option<String>,
    /// At this instant or later, RFC 3339 in UTC.
    pub from: Option<String>,
    /// Entries before this instant.
    pub to: Option<String>,
}

impl AuditFilter {
    fn takes(&self, entry: &AuditEntry) -> bool {
        self.object.as_ref().is_none_or(|object| *object == entry.object)
            && self.action.as_ref().is_none_or(|action| entry.action.starts_with(action.as_str()))
            && self.who.as_ref().is_none_or(|who| *who == entry.who)
            && self.from.as_ref().is_none_or(|from| entry.at >= *from)
            && self.to.as_ref().is_none_or(|to| entry.at < *to)
    }
}

/// The way by which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// A key in the header `Authorization`.
    Key,
    /// The cookie of a signed-in browser.
    Browser,
}

impl Via {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Via::Key => "key",
            Via::Browser => "browser",
        }
    }
}

/// The author and namespace of an entry.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// The name of the key, or `local`.
    pub name: String,
    /// The namespace of the author.
    pub namespace: String,
    /// The request of the change; empty for changes that the server makes.
    pub request: Asking,
}

/// The facts about a request that the audit keeps.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// The id of the request.
    pub id: Option<String>,
    /// The way by which it came.
    pub via: Option<Via>,
    /// The reason for the change.
    pub reason: Option<String>,
}

impl Who {
    /// Returns the author of changes without a request.
    pub fn named(name: impl Into<String>, namespace: impl Into<String>) -> Who {
        Who { name: name.into(), namespace: namespace.into(), request: Asking::default() }
    }

    /// Returns the author with a reason for the change; an empty one changes nothing.
    pub fn because(mut self, reason: &str) -> Who {
        if !reason.trim().is_empty() {
            self.request.reason = Some(reason.trim().to_owned());
        }
        self
    }
}

/// Returns the number of the next entry of the audit.
pub(crate) fn next_number(catalog: &dyn Catalog) -> Result<u64, Error> {
    let newest = catalog.scan_back(Table::Audit, b"", None, 1)?;
    let newest = newest.first().map(|(_, value)| kept::<AuditEntry>(value)).transpose()?;
    Ok(newest.map_or(0, |entry| entry.number) + 1)
}

impl Installation {
    /// Returns the changes that add an entry to the audit, to be committed with the change that
    /// they describe. Each call has its own number; if the commit fails, the number is not used.
    pub fn audited(
        &self,
        who: &Who,
        action: &str,
        object: &str,
        before: impl Into<Image>,
        after: impl Into<Image>,
    ) -> Result<Vec<Change>, Error> {
        let number = self.audit_next.fetch_add(1, Ordering::Relaxed);
        let entry = AuditEntry {
            number,
            at: Timestamp::to_string(&self.clock.wall()),
            who: who.name.clone(),
            namespace: who.namespace.clone(),
            action: action.to_owned(),
            object: object.to_owned(),
            before: before.into(),
            after: after.into(),
            reason: who.request.reason.clone(),
            request_id: who.request.id.clone(),
            via: who.request.via,
        };
        Ok(vec![put(Table::Audit, key_of(number), &entry)])
    }

    /// Adds a separate entry to the audit.
    pub fn note_audit(&self, who: &Who, action: &str, object: &str, before: Value, after: Value) -> Result<(), Error> {
        let _change = self.change()?;
        let changes = self.audited(who, action, object, before, after)?;
        Ok(self.catalog.commit(&changes)?)
    }

    /// Returns entries of the audit of a namespace, the newest first, before a number.
    pub fn audit(&self, namespace: &str, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        self.audit_of(namespace, &AuditFilter::default(), before, limit)
    }

    /// Returns filtered entries of the audit of a namespace, the newest first, before a number.
    pub fn audit_of(
        &self,
        namespace: &str,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Error> {
        let mut found = Vec::new();
        let mut before = before.map(key_of);
        loop {
            let page = self.catalog.scan_back(Table::Audit, b"", before.as_deref(), 200)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            before = Some(last.clone());
            for (_, value) in &page {
                let entry: AuditEntry = kept(value)?;
                if entry.namespace == namespace && filter.takes(&entry) && found.len() < limit {
                    found.push(entry);
                }
            }
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }
}
