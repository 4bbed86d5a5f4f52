//! The path of a record: a template, filled with the record's own fields.

use std::borrow::Cow;

use flowmeter_core::time::{Timestamp, Zone};
use flowmeter_engine::outbox::Outgoing;
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;

use crate::export::Labels;

/// The placeholder of the number of the window's first record.
pub(super) const WINDOW: &str = "{window}";
/// The value of a bound that a period does not have.
const NEVER: &str = "never";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    period_start: Option<&'a str>,
    period_end: Option<&'a str>,
    #[serde(borrow)]
    meter_type_name: Cow<'a, str>,
    meter_key: &'a str,
    #[serde(default)]
    timezone: &'a str,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
}

/// Returns a path with the record's fields in it; `{window}` stays.
pub(super) fn fill(template: &str, record: &Outgoing<'_>) -> Result<String, Error> {
    filled(template, record, &|name, value| match name {
        // An hour's name has colons, which file names of some systems cannot have.
        "period" => safe(&value.replace(':', "")),
        _ => safe(value),
    })
}

/// Returns a text for people with the record's fields in it.
pub(super) fn text(template: &str, record: &Outgoing<'_>) -> Result<String, Error> {
    filled(template, record, &|_, value| value.to_owned())
}

fn filled(template: &str, record: &Outgoing<'_>, write: &dyn Fn(&str, &str) -> String) -> Result<String, Error> {
    if !template.contains('{') {
        return Ok(template.to_owned());
    }
    let wrong = |why| Error::new(Kind::Bug, format!("record {} is none: {why}", record.number));
    let fields: Fields<'_> = serde_json::from_slice(record.json).map_err(wrong)?;
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
        match value(name, &fields) {
            Some(value) => out.push_str(&write(name, &value)),
            None => out.push_str(&format!("{{{name}}}")),
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// Returns the value of a placeholder; none for `window`.
fn value<'f>(name: &str, fields: &'f Fields<'_>) -> Option<Cow<'f, str>> {
    let (name, pattern) = name.split_once(':').map_or((name, None), |(name, pattern)| (name, Some(pattern)));
    let instant = |written: Option<&'f str>| {
        let written = written.unwrap_or(NEVER);
        match (pattern, Timestamp::parse_rfc3339(written.as_bytes())) {
            (Some(pattern), Some(at)) => Cow::Owned(dated(pattern, at, fields.timezone)),
            _ => Cow::Borrowed(written),
        }
    };
    Some(match name {
        "period" => Cow::Owned(Labels::of("", fields.timezone, fields.period_start, fields.period_end).period),
        "periodStart" => instant(fields.period_start),
        "periodEnd" => instant(fields.period_end),
        "meterType" => Cow::Borrowed(&*fields.meter_type_name),
        "meterKey" => Cow::Borrowed(fields.meter_key),
        "userId" => Cow::Borrowed(&*fields.user_id),
        _ => return None,
    })
}

/// Returns an instant in a pattern of `%Y`, `%m`, `%d`, `%H` and `%M`, as the clock of its zone
/// shows it.
fn dated(pattern: &str, at: Timestamp, zone: &str) -> String {
    let local = Zone::named(zone).unwrap_or_else(Zone::utc).wall_clock(at).to_string();
    // 2026-01-01T00:00:00.000Z
    let parts = [("%Y", 0..4), ("%m", 5..7), ("%d", 8..10), ("%H", 11..13), ("%M", 14..16)];
    parts.into_iter().fold(pattern.to_owned(), |text, (name, range)| text.replace(name, local.get(range).unwrap_or_default()))
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
        let json = br#"{"meterKey":"k","meterTypeName":"a/b","periodEnd":null,"periodStart":"2026-01-01T00:00:00.000Z","timezone":"Europe/Oslo","userId":"\"x\""}"#;
        let record = Outgoing { number: 7, json };
        let filled = fill("out/{meterType}/{periodStart}-{periodEnd}/{userId}-{window}.csv", &record).unwrap();
        assert_eq!(filled, "out/a%2Fb/2026-01-01T00:00:00.000Z-never/%22x%22-{window}.csv");
        assert_eq!(window_name(7), "000000000007");
        let dated = fill("{periodStart:%Y-%m-%d_%H%M}_{periodEnd:%Y}", &record).unwrap();
        assert_eq!(dated, "2026-01-01_0100_never", "by the clock of the record's zone");
        let hour = br#"{"meterKey":"k","meterTypeName":"t","periodEnd":"2026-10-25T01:00:00.000Z","periodStart":"2026-10-25T00:00:00.000Z","timezone":"Europe/Oslo","userId":"{meterType}"}"#;
        let hour = Outgoing { number: 8, json: hour };
        assert_eq!(fill("{period}/{userId}", &hour).unwrap(), "2026-10-25T0200+0200/%7BmeterType%7D");
        assert_eq!(text("{period} {userId}", &hour).unwrap(), "2026-10-25T02:00+02:00 {meterType}");
    }
}
