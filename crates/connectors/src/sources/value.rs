//! The memory of a source of files or objects about each of them.

use flowmeter_core::source::SourceKind;
use flowmeter_engine::live::Taken;
use serde::{Deserialize, Serialize};

/// The prefix of keys of items.
const NAME: &str = "item:";
/// The prefix of keys of contents; the value is the name of the item that had it first.
pub(crate) const CONTENT: &str = "content:";

/// A file or object that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemValue {
    /// Its state for the source.
    pub state: ItemState,
    /// Its size in bytes, as it is stored.
    pub size: u64,
    /// A text that changes when its content does: the time of its last change, or its version or tag.
    pub stamp: String,
    /// SHA-256 of its bytes, as it is stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The events that were taken.
    #[serde(default)]
    pub events: u64,
    /// The session that looked at it last.
    pub session: u64,
    /// Why it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The state of a file or object for its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemState {
    /// The first of its events are taken.
    Taking,
    /// All of its events are taken.
    Taken,
    /// It cannot be read. None of its events are taken, unless it changed in between.
    Failed,
    /// It is not taken: its content was taken under another name, or a person said so.
    Skipped,
}

impl ItemValue {
    /// Reads it as the log has it.
    pub fn read(text: &str) -> Option<ItemValue> {
        serde_json::from_str(text).ok()
    }

    /// Returns it as the log has it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Returns the items of which a source has taken anything, by name.
pub fn items_of(taken: &Taken) -> impl Iterator<Item = (&str, ItemValue)> {
    taken.iter().filter_map(|(key, value)| Some((key.strip_prefix(NAME)?, ItemValue::read(value)?)))
}

/// Returns the key under which a source remembers an item.
pub fn key_of(name: &str) -> String {
    format!("{NAME}{name}")
}

/// Returns an item as it is shown to people: a path, or the address of an object.
pub fn shown_item(kind: &SourceKind, name: &str) -> String {
    match kind {
        SourceKind::Objects(plan) => format!("{}/{name}", plan.url.trim_end_matches('/')),
        SourceKind::Files(_)
        | SourceKind::Rows(_)
        | SourceKind::Pages(_)
        | SourceKind::Kafka(_)
        | SourceKind::Received(_)
        | SourceKind::Output(_)
        | SourceKind::Http => name.to_owned(),
    }
}
