//! Instants: nanoseconds since 1970-01-01T00:00:00Z, and their text forms.
//!
//! An `i64` of nanoseconds covers 1677 to 2262. An event with a time outside it cannot be metered
//! and is parked (`bad_time`). The core never reads the current time: `at` is always an argument.

mod format;
#[cfg(test)]
mod tests;

use std::fmt;

pub use format::{Clue, TimeFormat, Zone};

/// An instant, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_MILLI: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MILLIS_PER_DAY: i64 = SECONDS_PER_DAY * 1000;
/// Days from the 1st of March of the year 0, a calendar in which leap days are at the end of a
/// year.
const DAYS_BEFORE_EPOCH: i64 = 719_468;

impl Timestamp {
    /// The earliest possible instant.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest possible instant; also "never".
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// Returns the instant this many nanoseconds after the epoch.
    pub const fn from_nanos(nanos: i64) -> Timestamp {
        Timestamp(nanos)
    }

    /// Returns the nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Returns the instant this many `unit`s of nanoseconds after the epoch, if it is in range.
    pub fn from_scaled(count: i64, nanos_per_unit: i64) -> Option<Timestamp> {
        count.checked_mul(nanos_per_unit).map(Timestamp)
    }

    /// Adds nanoseconds; saturates at the ends of the range.
    pub const fn saturating_add(self, nanos: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos))
    }

    /// Subtracts nanoseconds; saturates at the ends of the range.
    pub const fn saturating_sub(self, nanos: i64) -> Timestamp {
        Timestamp(self.0.saturating_sub(nanos))
    }

    /// Returns the nanoseconds from an earlier instant to this one.
    pub const fn since(self, earlier: Timestamp) -> i128 {
        self.0 as i128 - earlier.0 as i128
    }

    /// Returns the same instant of the time-zone library.
    pub(crate) fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::MAX)
    }

    /// Converts an instant of the time-zone library, limited to our range.
    pub(crate) fn from_jiff(instant: jiff::Timestamp) -> Timestamp {
        let nanos = instant.as_nanosecond();
        Timestamp(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    /// Reads RFC 3339 (`2023-07-01T13:37:11.111Z`, any offset, 0 to 9 fraction digits).
    pub fn parse_rfc3339(text: &[u8]) -> Option<Timestamp> {
        parse_common(text).or_else(|| parse_rare(text)).or_else(|| parse_midnight(text))
    }

    /// Appends `YYYY-MM-DDTHH:MM:SS.sssZ`, the form of every time in a record.
    pub fn write_millis(self, out: &mut Vec<u8>) {
        let millis = (self.0.div_euclid(NANOS_PER_MILLI) + DAYS_BEFORE_EPOCH * MILLIS_PER_DAY) as u64;
        let (days, millis) = (millis / MILLIS_PER_DAY as u64, (millis % MILLIS_PER_DAY as u64) as u32);
        let (year, month, day) = civil_of_day(days as u32);
        let (second, millis) = (millis / 1000, millis % 1000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        two(&mut text, 0, year / 100);
        two(&mut text, 2, year % 100);
        two(&mut text, 5, month);
        two(&mut text, 8, day);
        two(&mut text, 11, second / 3600);
        two(&mut text, 14, second / 60 % 60);
        two(&mut text, 17, second % 60);
        text[20] = b'0' + (millis / 100) as u8;
        two(&mut text, 21, millis % 100);
        out.extend_from_slice(&text);
    }
}

impl Timestamp {
    /// Appends RFC 3339 with nine fraction digits: the whole instant.
    pub fn write_nanos(self, out: &mut Vec<u8>) {
        self.write_millis(out);
        out.pop();
        let below = (self.0.rem_euclid(NANOS_PER_MILLI)) as u32;
        let mut digits = *b"000000Z";
        let mut rest = below;
        for digit in digits[..6].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

fn two(text: &mut [u8; 24], at: usize, n: u32) {
    text[at..at + 2].copy_from_slice(&PAIRS[n as usize % 100]);
}

/// The numbers `00` to `99` as digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Reads the form that nearly all events have, eight characters at a time. For any other form it
/// returns `None`, and [`parse_rare`] decides.
#[inline]
fn parse_common(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_first_chunk::<8>()?;
    let (clock, rest) = rest.split_first_chunk::<8>()?;
    let (seconds, tail) = rest.split_first_chunk::<3>()?;
    let date = pairs(u64::from_le_bytes(*date), *b"0000-00-", 0xff00_00ff_0000_0000)?;
    let clock = pairs(u64::from_le_bytes(*clock), *b"00T00:00", 0x0000_ff00_00ff_0000)?;
    let seconds =
        pairs(u64::from(seconds[0]) | u64::from(seconds[1]) << 8 | u64::from(seconds[2]) << 16, *b":00\0\0\0\0\0", !0xff_ff00)?;
    let byte = |word: u64, at: u32| i64::from((word >> (8 * at)) as u8);
    let year = byte(date, 0) * 100 + byte(date, 2);
    let (month, day) = (byte(date, 5), byte(clock, 0));
    let (hour, minute, second) = (byte(clock, 3), byte(clock, 6), byte(seconds, 1));
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, offset) = match *tail {
        [b'Z'] => (0, 0),
        [b'.', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'Z'] => {
            let digit = |c: u8| i64::from(c - b'0');
            ((digit(a) * 100 + digit(b) * 10 + digit(c)) * NANOS_PER_MILLI, 0)
        }
        _ => parse_tail(tail)?,
    };
    let days = days_from_civil(year, month, day);
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos).map(Timestamp)
}

/// Reads two-digit numbers in eight characters of a given form, each into the byte of its first
/// digit. `marks` has all bits of the bytes that are not digits and must be as in the form.
#[inline]
fn pairs(text: u64, form: [u8; 8], marks: u64) -> Option<u64> {
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Digits become 0 to 9, marks become 0; any other character sets an additional bit.
    let digits = text ^ u64::from_le_bytes(form);
    let beyond = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGHS;
    (beyond == 0 && digits & marks == 0).then(|| digits.wrapping_mul(10).wrapping_add(digits >> 8))
}

/// Reads `[.fraction](Z|±HH:MM)` to nanoseconds and an offset in seconds.
#[inline(never)]
fn parse_tail(tail: &[u8]) -> Option<(i64, i64)> {
    let (nanos, zone) = match tail {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            let value = rest[..digits].iter().fold(0i64, |n, &c| n * 10 + i64::from(c - b'0'));
            (value * 10i64.pow(9 - digits as u32), &rest[digits..])
        }
        rest => (0, rest),
    };
    let digit = |c: u8| c.is_ascii_digit().then(|| i64::from(c - b'0'));
    match *zone {
        [b'Z'] => Some((nanos, 0)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digit(h1)? * 10 + digit(h2)?;
            let minutes = digit(m1)? * 10 + digit(m2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            Some((nanos, if sign == b'-' { -offset } else { offset }))
        }
        _ => None,
    }
}

/// Reads the forms of RFC 3339 beyond the common one: a blank or small letters, a leap second, a
/// comma. An offset is required, since a text without one does not name an instant.
fn parse_rare(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let instant: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(instant.as_nanosecond()).ok().map(Timestamp)
}

/// Reads `2024-01-31T24:00:00Z`, the end of a day, as midnight of the next.
fn parse_midnight(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(11)?;
    let tail = rest.strip_prefix(b"24:00:00")?;
    let begin = [date, b"00:00:00", tail].concat();
    let at = parse_common(&begin).or_else(|| parse_rare(&begin))?;
    let has_fraction = tail.first() == Some(&b'.') && tail[1..].iter().take_while(|c| c.is_ascii_digit()).any(|c| *c != b'0');
    (!has_fraction).then(|| at.0.checked_add(SECONDS_PER_DAY * NANOS_PER_SECOND).map(Timestamp))?
}

/// Returns the days since the epoch of a Gregorian date (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - DAYS_BEFORE_EPOCH
}

/// Returns the Gregorian date of a day since the 1st of March of the year 0 (Cassio Neri and Lorenz
/// Schneider, "Euclidean affine functions and their application to calendar algorithms", 2022); the
/// inverse of [`days_from_civil`], which counts from the epoch.
const fn civil_of_day(days: u32) -> (u32, u32, u32) {
    let n = 4 * days + 3;
    let (century, day_of_century) = (n / 146_097, n % 146_097 / 4);
    let wide = 2_939_745 * (4 * day_of_century + 3) as u64;
    let (year_of_century, day_of_year) = ((wide >> 32) as u32, wide as u32 / 2_939_745 / 4);
    let n = 2_141 * day_of_year + 197_913;
    let (month, day) = (n >> 16, (n & 0xffff) / 2_141 + 1);
    let year = 100 * century + year_of_century;
    // In this calendar a year begins in March.
    if day_of_year >= 306 { (year + 1, month - 12, day) } else { (year, month, day) }
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write_millis(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the nanoseconds of a duration written as `5m`, `32d`, `1h30m`; units `ms s m h d w`. A
/// day is 24 hours: a span, not a calendar step.
pub fn parse_duration(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total = 0i64;
    if rest == "0" {
        return Some(0);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &after[..letters] {
            "ms" => NANOS_PER_MILLI,
            "s" => NANOS_PER_SECOND,
            "m" => 60 * NANOS_PER_SECOND,
            "h" => 3_600 * NANOS_PER_SECOND,
            "d" => SECONDS_PER_DAY * NANOS_PER_SECOND,
            "w" => 7 * SECONDS_PER_DAY * NANOS_PER_SECOND,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        rest = &after[letters..];
    }
    (!text.trim().is_empty()).then_some(total)
}
