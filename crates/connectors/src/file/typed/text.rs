//! Text of the types that JSON has no form for: dates, times, decimals.
//!
//! Everything is computed on whole numbers; no value passes through a float.

use std::io::Write;

const SECONDS_PER_DAY: i64 = 86_400;

/// Appends `YYYY-MM-DD` for days since 1970-01-01. A year beyond four digits gets a sign.
pub(in crate::file) fn date(days: i64, out: &mut Vec<u8>) {
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
pub(in crate::file) fn clock(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
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
pub(in crate::file) fn date_time(count: i64, units_per_second: i64, out: &mut Vec<u8>) {
    let (seconds, nanos) = split(count, units_per_second);
    date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b'T');
    clock(seconds.rem_euclid(SECONDS_PER_DAY), nanos, out);
}

/// A count of units as whole seconds, rounded down, and the nanoseconds above them.
pub(in crate::file) fn split(count: i64, units_per_second: i64) -> (i64, u32) {
    let below = count.rem_euclid(units_per_second);
    (count.div_euclid(units_per_second), (below * (1_000_000_000 / units_per_second)) as u32)
}

/// Appends an integer (as its decimal text) divided by ten to the power of `scale`.
pub(in crate::file) fn scaled(unscaled: &str, scale: i32, out: &mut Vec<u8>) {
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
        Some(whole) if whole > 0 => {
            out.extend_from_slice(&digits.as_bytes()[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[whole..]);
        }
        _ => put(out, format_args!("0.{digits:0>scale$}")),
    }
}

/// The decimal text of an integer, without memory of its own.
pub(in crate::file) struct Digits {
    text: [u8; 40],
    from: usize,
}

impl Digits {
    pub(in crate::file) fn of(value: i128) -> Digits {
        let mut digits = Digits { text: [0; 40], from: 40 };
        let mut left = value.unsigned_abs();
        // Divisions of 128 bits are slow.
        while left > u128::from(u64::MAX) {
            digits.push(b'0' + (left % 10) as u8);
            left /= 10;
        }
        let mut left = left as u64;
        loop {
            digits.push(b'0' + (left % 10) as u8);
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if value < 0 {
            digits.push(b'-');
        }
        digits
    }

    fn push(&mut self, digit: u8) {
        self.from -= 1;
        self.text[self.from] = digit;
    }

    pub(in crate::file) fn text(&self) -> &str {
        // It has digits and a sign only.
        std::str::from_utf8(&self.text[self.from..]).unwrap_or_default()
    }
}

/// Returns a signed integer, the highest byte first; `None` if it is longer than 128 bits.
pub(in crate::file) fn integer(bytes: &[u8]) -> Option<i128> {
    let missing = size_of::<i128>().checked_sub(bytes.len())?;
    let sign = if bytes.first().is_some_and(|byte| byte >> 7 == 1) { 0xff } else { 0 };
    let mut wide = [sign; size_of::<i128>()];
    wide[missing..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// Returns the decimal text of a signed integer of any length, the highest byte first.
pub(in crate::file) fn big_integer(bytes: &[u8]) -> String {
    const DIGITS: u64 = 1_000_000_000;
    let is_negative = bytes.first().is_some_and(|byte| byte >> 7 == 1);
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if is_negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (negated, is_over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (negated, is_over);
        }
    }
    // Nine digits at a time, the lowest first.
    let mut parts = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut magnitude {
            let value = rest << 8 | u64::from(*byte);
            *byte = (value / DIGITS) as u8;
            rest = value % DIGITS;
        }
        parts.push(rest);
    }
    let mut text = if is_negative { "-".to_owned() } else { String::new() };
    text += &parts.pop().unwrap_or(0).to_string();
    parts.iter().rev().for_each(|part| text += &format!("{part:09}"));
    text
}

/// Returns a float of 16 bits as one of 32, which holds every one of them.
pub(in crate::file) fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        // Below the smallest ordinary number, in steps of 2⁻²⁴.
        0 => (fraction as f32 / 16_777_216.0).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// Appends bytes as lower-case hexadecimal digits.
pub(in crate::file) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
}

/// Appends 16 bytes as a UUID.
pub(in crate::file) fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    match uuid::Uuid::from_slice(bytes) {
        Ok(id) => put(out, format_args!("{id}")),
        Err(_) => hex(bytes, out),
    }
}

/// Appends formatted text to the output.
pub(in crate::file) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
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
    fn integers_of_any_length_keep_every_digit() {
        let long = i128::MAX.to_be_bytes();
        for (bytes, expected) in [
            (&[][..], "0".to_owned()),
            (&[0], "0".to_owned()),
            (&[0xff], "-1".to_owned()),
            (&[0x80], "-128".to_owned()),
            (&[0x7f, 0xff], "32767".to_owned()),
            (&[0, 0, 0, 1, 0, 0, 0, 0], "4294967296".to_owned()),
            (&long, i128::MAX.to_string()),
            (&i128::MIN.to_be_bytes(), i128::MIN.to_string()),
            (&[0x3b, 0x9a, 0xca, 0x00], "1000000000".to_owned()),
        ] {
            assert_eq!(big_integer(bytes), expected);
            assert_eq!(Digits::of(integer(bytes).unwrap()).text(), expected);
        }
        assert_eq!(integer(&[0; 17]), None);
    }

    #[test]
    fn short_floats_are_the_same_numbers() {
        let pairs = [(0x0000, 0.0), (0x8000, -0.0), (0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.33325195), (0x7bff, 65504.0)];
        for (bits, expected) in pairs {
            assert_eq!(half(bits).to_bits(), f32::to_bits(expected), "{bits:x}");
        }
        assert_eq!(half(0x0001), 2f32.powi(-24));
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f32::NEG_INFINITY);
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
