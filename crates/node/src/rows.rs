//! Rows of the catalog: their keys, and their values as JSON.

use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Change, Table, key_of};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Reads a value of the catalog.
pub fn kept<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|why| Error::new(Kind::Corrupt, format!("the catalog: {why}")))
}

/// Serializes a value for the catalog.
pub(crate) fn to_keep(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Returns `namespace` and a name as a key that sorts by both.
pub fn named_key(namespace: &str, name: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], name.as_bytes()].concat()
}

pub(crate) fn put(table: Table, key: Vec<u8>, value: &impl Serialize) -> Change {
    Change::Put(table, key, to_keep(value))
}

/// Returns two numbers as one key.
pub(crate) fn pair_key(id: Uuid, number: u64) -> Vec<u8> {
    [id.as_bytes(), key_of(number).as_slice()].concat()
}

/// Returns an instant in its JSON form.
pub fn shown(at: Timestamp) -> Value {
    if at == Timestamp::MAX || at == Timestamp::MIN { Value::Null } else { Value::String(at.to_string()) }
}

/// Returns a tag of the content of a row: two rows that differ have different tags, whenever they
/// were written.
pub(crate) fn content_tag<T: Serialize>(row: &T) -> String {
    let bytes = serde_json::to_vec(row).unwrap_or_default();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))
}
