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

/// Instants as RFC 3339 with nanoseconds, which people can read in the file.
pub(crate) mod instant {
    use flowmeter_core::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(30);
        at.write_nanos(&mut text);
        serializer.collect_str(&String::from_utf8_lossy(&text))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        read(&String::deserialize(deserializer)?)
    }

    fn read<E: Error>(text: &str) -> Result<Timestamp, E> {
        Timestamp::parse_rfc3339(text.as_bytes()).ok_or_else(|| E::custom(format!("`{text}` is not a time (RFC 3339)")))
    }

    pub(crate) mod optional {
        use super::{Deserialize, Deserializer, Serializer, Timestamp};

        pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Option::<String>::deserialize(deserializer)?.map(|text| super::read(&text)).transpose()
        }
    }
}

/// Statuses and types of sessions by their names.
pub(crate) mod named {
    use flowmeter_core::session::{RunType, Status};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) trait Named: Copy {
        /// The kind of thing, for messages.
        const KIND: &str;

        fn name(self) -> &'static str;
        fn named(name: &str) -> Option<Self>;
    }

    impl Named for Status {
        const KIND: &str = "a status";

        fn name(self) -> &'static str {
            Status::name(self)
        }

        fn named(name: &str) -> Option<Status> {
            Status::named(name)
        }
    }

    impl Named for RunType {
        const KIND: &str = "a type of session";

        fn name(self) -> &'static str {
            RunType::name(self)
        }

        fn named(name: &str) -> Option<RunType> {
            RunType::named(name)
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
    pub(crate) fn serialize<T: Named, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.name())
    }

    pub(crate) fn deserialize<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let name = String::deserialize(deserializer)?;
        T::named(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is not {}", T::KIND)))
    }
}
