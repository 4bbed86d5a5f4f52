//! The path of a record: a template, filled with the record's own fields.

use std::borrow::Cow;

use flowmeter_engine::outbox::Outgoing;
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;

/// The placeholder of the number of the window's first record.
pub(super) const WINDOW: &str = "{window}";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    period_start: Option<&'a str>,
    period_end: Option<&'a str>,
    #[serde(borrow)]
    meter_type_name: Cow<'a, str>,
    meter_key: &'a str,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
}

/// Returns the template with the record's fields in it; `{window}` stays.
pub(super) fn fill(template: &str, record: &Outgoing<'_>) -> Result<String, Error> {
    if !template.contains('{') {
        return Ok(template.to_owned());
    }
    let wrong = |why| Error::new(Kind::Bug, format!("record {} is none: {why}", record.number));
    let fields: Fields<'_> = serde_json::from_slice(record.json).map_err(wrong)?;
    let values = [
        ("{periodStart}", fields.period_start.unwrap_or("never")),
        ("{periodEnd}", fields.period_end.unwrap_or("never")),
        ("{meterType}", &fields.meter_type_name),
        ("{meterKey}", fields.meter_key),
        ("{userId}", &fields.user_id),
    ];
    Ok(values.iter().fold(template.to_owned(), |path, (name, value)| match path.contains(name) {
        true => path.replace(name, &safe(value)),
        false => path,
    }))
}

/// Returns the common prefix of all paths of a template.
pub(super) fn fixed(template: &str) -> &str {
    template.split('{').next().unwrap_or(template)
}

/// Returns the number of a window in names, which sort by it.
pub(super) fn window_name(first: u64) -> String {
    format!("{first:012}")
}

/// Encodes a value as a part of a file name: characters with a meaning in paths are written as %XX.
fn safe(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (i, byte) in value.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-_@+,=: ".contains(&byte) || (byte == b'.' && i > 0);
        match plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_the_folder() {
        assert_eq!(safe("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(safe("user0@example.com"), "user0@example.com");
        assert_eq!(safe("blå"), "bl%C3%A5");
    }

    #[test]
    fn a_record_says_where_it_goes() {
        let json = br#"{"meterKey":"k","meterTypeName":"a/b","periodEnd":null,"periodStart":"2026-01-01T00:00:00.000Z","userId":"\"x\""}"#;
        let record = Outgoing { number: 7, json };
        let filled = fill("out/{meterType}/{periodStart}-{periodEnd}/{userId}-{window}.csv", &record).unwrap();
        assert_eq!(filled, "out/a%2Fb/2026-01-01T00:00:00.000Z-never/%22x%22-{window}.csv");
        assert_eq!(window_name(7), "000000000007");
    }
}
