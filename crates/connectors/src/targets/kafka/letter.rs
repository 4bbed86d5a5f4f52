//! Records as messages.

use flowmeter_core::template::Filler;
use flowmeter_document::KafkaPlan;
use flowmeter_engine::outbox::Outgoing;
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;

use crate::kafka::sender::Post;
use xxhash_rust::xxh3::xxh3_64;

/// The message of a record before it is sent.
pub(super) struct Letter {
    /// The place of its record in the window.
    pub(super) place: usize,
    /// The number of its record.
    pub(super) number: u64,
    /// The id of its record.
    pub(super) id: u128,
    pub(super) meter: String,
    pub(super) post: Post,
}

impl Letter {
    pub(super) fn fingerprint(&self) -> u64 {
        xxh3_64(&self.post.value)
    }
}

/// The header with the id of a record.
pub(super) const ID_HEADER: &str = "recordId";

/// Returns the number of an id as it is written.
pub(super) fn id_of(written: &[u8]) -> Option<u128> {
    let digits: String = written.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte)).collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())?
}

/// Writes records as messages.
pub(super) struct Writer {
    topic: Filler,
    key: Filler,
    headers: Vec<(String, Filler)>,
    is_cloud_event: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    id: &'a str,
    meter_meta_data: Meta<'a>,
    updated_at: &'a str,
    meter_type_id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    record_id: &'a str,
}

impl Writer {
    pub(super) fn new(plan: &KafkaPlan) -> Result<Writer, Error> {
        let filler = |template: &flowmeter_core::template::Template| Filler::new(template.clone());
        Ok(Writer {
            topic: filler(&plan.topic),
            key: filler(&plan.key),
            headers: plan.headers.iter().map(|(name, value)| (name.clone(), filler(value))).collect(),
            is_cloud_event: plan.is_cloud_event,
        })
    }

    /// Writes the message of a record.
    ///
    /// # Errors
    /// The record does not fit the template; the message is for people.
    pub(super) fn write(&mut self, place: usize, record: &Outgoing<'_>) -> Result<Letter, String> {
        let wrong =
            |why: serde_json::Error| Error::new(Kind::Bug, format!("record {} is none: {why}", record.number)).to_string();
        let fields: Record<'_> = serde_json::from_slice(record.json).map_err(wrong)?;
        let plain = <[u8]>::to_vec;
        let id = fields.meter_meta_data.record_id;
        let mut headers = vec![(ID_HEADER.to_owned(), id.to_owned())];
        if self.is_cloud_event {
            let attributes = [
                ("ce_specversion", "1.0"),
                ("ce_id", id),
                ("ce_type", "meteredRecord"),
                ("ce_source", fields.meter_type_id),
                ("ce_subject", fields.id),
                ("ce_time", fields.updated_at),
                ("content-type", "application/json"),
            ];
            headers.extend(attributes.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        for (name, value) in &mut self.headers {
            let value = value.text(record.json, &plain).map_err(|why| format!("header `{name}`: {why}"))?;
            headers.push((name.clone(), value));
        }
        Ok(Letter {
            place,
            number: record.number,
            id: id_of(id.as_bytes()).ok_or_else(|| format!("`{id}` is no id of a record"))?,
            meter: fields.id.to_owned(),
            post: Post {
                topic: self.topic.text(record.json, &plain).map_err(|why| format!("topic: {why}"))?,
                key: self.key.text(record.json, &plain).map_err(|why| format!("key: {why}"))?,
                headers,
                value: record.json.to_vec(),
            },
        })
    }
}
