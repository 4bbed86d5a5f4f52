//! The fields of a record that an export looks at.

use flowmeter_connectors::export::Labels;
use flowmeter_core::decimal::{self, Decimal};
use flowmeter_core::schedule;
use flowmeter_core::time::{Timestamp, Zone};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::unexpected;
use crate::client::table::plain;

/// Meter type, user, start, end and meter: all revisions of a record have the same.
pub(super) type Key = (String, String, String, String, String);

/// A record of a server.
pub(super) struct Record {
    pub(super) meter_type: String,
    pub(super) unit: String,
    pub(super) revision: u64,
    /// None if the meter has no value.
    pub(super) value: Option<Decimal>,
    /// None if the period has no start.
    pub(super) period: Option<Period>,
    key: Key,
}

/// The period of a record, in UTC and by the clock of its zone.
pub(super) struct Period {
    pub(super) start: Timestamp,
    /// The start that the clock shows, as if it were UTC.
    pub(super) local_start: Timestamp,
    local_end: Option<Timestamp>,
    label: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    id: String,
    user_id: String,
    meter_type_name: String,
    unit: String,
    timezone: String,
    #[serde(borrow)]
    value: &'a RawValue,
    period_start: Option<String>,
    period_end: Option<String>,
    meter_meta_data: Meta,
}

#[derive(Deserialize)]
struct Meta {
    revision: u64,
}

impl Record {
    /// Reads a record as the server sent it.
    pub(super) fn read(item: &RawValue) -> anyhow::Result<Record> {
        let fields: Fields<'_> = serde_json::from_str(item.get()).map_err(|why| unexpected(&format!("a record: {why}")))?;
        let text = plain(fields.value);
        let value = match text.is_empty() {
            true => None,
            false => Some(decimal::parse(text.as_bytes()).map_err(|_| unexpected(&format!("a record with the value {text}")))?),
        };
        let period = Period::read(&fields)?;
        let (start, end) = (fields.period_start.unwrap_or_default(), fields.period_end.unwrap_or_default());
        let key = (fields.meter_type_name.clone(), fields.user_id, start, end, fields.id);
        let revision = fields.meter_meta_data.revision;
        Ok(Record { meter_type: fields.meter_type_name, unit: fields.unit, revision, value, period, key })
    }

    pub(super) fn key(&self) -> Key {
        self.key.clone()
    }

    /// Returns the columns that the record itself does not have.
    pub(super) fn labels<'a>(&'a self, pipeline: &'a str) -> Labels<'a> {
        let period = self.period.as_ref();
        Labels {
            pipeline,
            period: period.map(|period| period.label.clone()).unwrap_or_default(),
            start: period.map(|period| period.local_start),
            end: period.and_then(|period| period.local_end),
        }
    }
}

impl Period {
    fn read(fields: &Fields<'_>) -> anyhow::Result<Option<Period>> {
        let zone = Zone::named(&fields.timezone);
        let zone = zone.ok_or_else(|| unexpected(&format!("a record in the unknown time zone {}", fields.timezone)))?;
        let instant = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => {
                let at = Timestamp::parse_rfc3339(text.as_bytes());
                at.map(Some).ok_or_else(|| unexpected(&format!("a record with the time {text}")))
            }
        };
        let (start, end) = (instant(&fields.period_start)?, instant(&fields.period_end)?);
        let Some(start) = start else { return Ok(None) };
        let period = schedule::Period { start, end: end.unwrap_or(Timestamp::MAX) };
        let (local_start, local_end) = (zone.wall_clock(start), end.map(|end| zone.wall_clock(end)));
        Ok(Some(Period { start, local_start, local_end, label: period.label(&zone) }))
    }
}
