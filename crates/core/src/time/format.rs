//! How a field of an event says when: RFC 3339, a count since the epoch, or a pattern.

use super::{NANOS_PER_MILLI, NANOS_PER_SECOND, Timestamp};
use crate::decimal::Decimal;

/// Where a wall-clock time without an offset is.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    zone: jiff::tz::TimeZone,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Zone {
        Zone { name: "Etc/UTC".to_owned(), zone: jiff::tz::TimeZone::UTC }
    }

    /// An IANA name (`Europe/Oslo`) or a fixed offset (`+02:00`). Names come from the
    /// tz database inside the binary, so that two machines never disagree.
    pub fn named(name: &str) -> Option<Zone> {
        let zone = match fixed_offset(name) {
            Some(offset) => jiff::tz::TimeZone::fixed(offset),
            None => jiff::tz::TimeZoneDatabase::bundled().get(name).ok()?,
        };
        Some(Zone { name: name.to_owned(), zone })
    }

    /// The name it was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every zone name there is, for suggestions.
    pub fn names() -> Vec<String> {
        let database = jiff::tz::TimeZoneDatabase::bundled();
        database.available().map(|name| name.to_string()).collect()
    }

    pub(crate) fn jiff(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }
}

fn fixed_offset(text: &str) -> Option<jiff::tz::Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=23).contains(&hours) || !(0..=59).contains(&minutes) {
        return None;
    }
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// How to read a time.
#[derive(Clone, Debug)]
pub enum TimeFormat {
    /// RFC 3339 in text, Unix milliseconds as a number: what an event says by default.
    Default,
    /// A count of so many nanoseconds since the epoch, as a number or as text.
    /// Fractions of the unit are kept to the nanosecond.
    Unix {
        /// Nanoseconds in one.
        nanos_per_unit: i64,
    },
    /// A strptime pattern; where it has no offset, the zone says where the clock hung.
    Pattern {
        /// As for `strptime(3)`, with `%.f` for an optional fraction.
        pattern: String,
        /// The zone of times without an offset.
        zone: Zone,
    },
}

/// What kind of leaf the time stood in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clue {
    /// A JSON number.
    Number,
    /// Text.
    Text,
}

impl TimeFormat {
    /// The instant a leaf stands for, or `None`.
    pub fn parse(&self, text: &[u8], clue: Clue) -> Option<Timestamp> {
        match self {
            TimeFormat::Default if clue == Clue::Text => Timestamp::parse_rfc3339(text),
            TimeFormat::Default => from_count(text, NANOS_PER_MILLI),
            TimeFormat::Unix { nanos_per_unit } => from_count(text, *nanos_per_unit),
            TimeFormat::Pattern { pattern, zone } => from_pattern(text, pattern, zone),
        }
    }

    /// The format a name stands for: `rfc3339`, `unix_s`, `unix_ms`, `unix_us`,
    /// `unix_ns`, or a pattern with a `%`.
    pub fn named(name: &str, zone: Zone) -> Option<TimeFormat> {
        let unix = |nanos_per_unit| Some(TimeFormat::Unix { nanos_per_unit });
        match name {
            "rfc3339" => Some(TimeFormat::Default),
            "unix_s" => unix(NANOS_PER_SECOND),
            "unix_ms" => unix(NANOS_PER_MILLI),
            "unix_us" => unix(1_000),
            "unix_ns" => unix(1),
            pattern if pattern.contains('%') && pattern_is_sound(pattern) => {
                Some(TimeFormat::Pattern { pattern: pattern.to_owned(), zone })
            }
            _ => None,
        }
    }
}

/// Whether the library knows every directive of a pattern: what it cannot print it
/// cannot parse either.
fn pattern_is_sound(pattern: &str) -> bool {
    let sample = jiff::Zoned::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(pattern, &sample).is_ok()
}

/// A count since the epoch, exact to the nanosecond.
fn from_count(text: &[u8], nanos_per_unit: i64) -> Option<Timestamp> {
    let count = crate::decimal::parse(text).ok()?;
    if let Some(whole) = count.to_int() {
        return Timestamp::from_scaled(whole, nanos_per_unit);
    }
    let nanos = count.times(Decimal::from_int(nanos_per_unit))?;
    nanos.round(0, crate::decimal::Rounding::Floor)?.to_int().map(Timestamp::from_nanos)
}

fn from_pattern(text: &[u8], pattern: &str, zone: &Zone) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
    if let Ok(instant) = parsed.to_timestamp() {
        return i64::try_from(instant.as_nanosecond()).ok().map(Timestamp::from_nanos);
    }
    let civil = match parsed.to_datetime() {
        Ok(civil) => civil,
        // A date alone is its midnight.
        Err(_) => parsed.to_date().ok()?.at(0, 0, 0, 0),
    };
    let instant = crate::schedule::wall_clock(civil, zone)?;
    (instant != Timestamp::MAX && instant != Timestamp::MIN).then_some(instant)
}

impl TimeFormat {
    /// An instant as this format writes it, and whether as text or as a number. `None` where a
    /// pattern cannot write it.
    pub(crate) fn written(&self, at: Timestamp) -> Option<(crate::event::Kind, String)> {
        match self {
            TimeFormat::Default => Some((crate::event::Kind::Text, crate::keyed::stamp_text(at))),
            TimeFormat::Unix { nanos_per_unit } => {
                let count =
                    crate::decimal::Quotient::of_decimals(Decimal::from_int(at.nanos()), Decimal::from_int(*nanos_per_unit));
                Some((crate::event::Kind::Number, count?.to_decimal()?.to_string()))
            }
            TimeFormat::Pattern { pattern, zone } => {
                let zoned = at.to_jiff().to_zoned(zone.jiff().clone());
                let text = jiff::fmt::strtime::format(pattern, &zoned).ok()?;
                Some((crate::event::Kind::Text, text))
            }
        }
    }
}
