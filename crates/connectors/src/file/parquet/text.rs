//! Text of the Parquet types that JSON has no form for: dates, times, decimals.
//!
//! Everything is computed on whole numbers; no value passes through a float.

use std::io::Write;

const SECONDS_PER_DAY: i64 = 86_400;

/// Appends `YYYY-MM-DD` for days since 1970-01-01. A year beyond four digits gets a sign.
pub(super) fn date(days: i64, out: &mut Vec<u8>) {
    // From the 1st of March of the year 0, where leap days are at the end of a year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    match year {
        0..=9999 => put(out, format_args!("{year:04}-{month:02}-{day:02}")),
        _ => put(out, format_args!("{year:+05}-{month:02}-{day:02}")),
    }
}

/// Appends `HH:MM:SS` and a fraction of three, six or nine digits if there is one.
pub(super) fn clock(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    put(out, format_args!("{hour:02}:{minute:02}:{second:02}"));
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => put(out, format_args!(".{:03}", n / 1_000_000)),
        n if n % 1_000 == 0 => put(out, format_args!(".{:06}", n / 1_000)),
        n => put(out, format_args!(".{n:09}")),
    }
}

/// Appends `YYYY-MM-DDTHH:MM:SS` and a fraction, for a count of units since the epoch.
pub(super) fn date_time(count: i64, units_per_second: i64, out: &mut Vec<u8>) {
    let (seconds, nanos) = split(count, units_per_second);
    date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b'T');
    clock(seconds.rem_euclid(SECONDS_PER_DAY), nanos, out);
}

/// A count of units as whole seconds, rounded down, and the nanoseconds above them.
pub(super) fn split(count: i64, units_per_second: i64) -> (i64, u32) {
    let below = count.rem_euclid(units_per_second);
    (count.div_euclid(units_per_second), (below * (1_000_000_000 / units_per_second)) as u32)
}

/// Appends an integer (as its decimal text) divided by ten to the power of `scale`.
pub(super) fn scaled(unscaled: &str, scale: i32, out: &mut Vec<u8>) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    out.extend_from_slice(sign.as_bytes());
    let Ok(scale) = usize::try_from(scale) else {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + scale.unsigned_abs() as usize, b'0');
        }
        return;
    };
    match digits.len().checked_sub(scale) {
        _ if scale == 0 => out.extend_from_slice(digits.as_bytes()),
        Some(whole) if whole > 0 => put(out, format_args!("{}.{}", &digits[..whole], &digits[whole..])),
        _ => put(out, format_args!("0.{digits:0>scale$}")),
    }
}

/// Appends bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
}

/// Appends 16 bytes as a UUID.
pub(super) fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    match uuid::Uuid::from_slice(bytes) {
        Ok(id) => put(out, format_args!("{id}")),
        Err(_) => hex(bytes, out),
    }
}

/// Appends formatted text.
pub(super) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes everything.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_before_and_after_the_epoch() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_460, "2023-04-13"),
            (-719_162, "0001-01-01"),
            (2_932_897, "+10000-01-01"),
            (-719_529, "-0001-12-31"),
        ] {
            assert_eq!(text(|out| date(days, out)), expected, "{days}");
        }
    }

    #[test]
    fn times_of_every_unit() {
        for (count, per_second, expected) in [
            (1_681_430_338, 1, "2023-04-13T23:58:58"),
            (1_681_430_338_500, 1_000, "2023-04-13T23:58:58.500"),
            (1_681_430_338_000_001, 1_000_000, "2023-04-13T23:58:58.000001"),
            (1_681_430_338_000_000_001, 1_000_000_000, "2023-04-13T23:58:58.000000001"),
            (-1, 1_000, "1969-12-31T23:59:59.999"),
            (i64::MIN, 1_000_000_000, "1677-09-21T00:12:43.145224192"),
        ] {
            assert_eq!(text(|out| date_time(count, per_second, out)), expected);
        }
        // The ends of the range are text too, however far away they are.
        text(|out| date_time(i64::MIN, 1, out));
        text(|out| date_time(i64::MAX, 1, out));
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (unscaled, scale, expected) in [
            ("0", 0, "0"),
            ("0", 2, "0.00"),
            ("1", 3, "0.001"),
            ("-1", 3, "-0.001"),
            ("123", 3, "0.123"),
            ("-1234", 3, "-1.234"),
            ("12", -3, "12000"),
            ("0", -3, "0"),
            ("12345678901234567890123456789012345678", 18, "12345678901234567890.123456789012345678"),
        ] {
            assert_eq!(text(|out| scaled(unscaled, scale, out)), expected, "{unscaled} {scale}");
        }
    }
}
