//! Values as JSON.
//!
//! Integers and decimals keep every digit. A float is the shortest text that reads back as the
//! same float of its own width. Instants are RFC 3339 in UTC, whatever zone the file names; times
//! without a zone have no offset. Durations are seconds.

use flowmeter_core::event::quote_into;

use super::Kind;
use super::text;

/// Appends an integer, or what is counted by one.
pub(in crate::file) fn integer(value: i128, kind: Kind, out: &mut Vec<u8>) {
    // Only 64-bit integers count units of time, so nothing is cut here.
    let whole = value as i64;
    match kind {
        Kind::Decimal { scale } => text::scaled(text::Digits::of(value).text(), scale, out),
        Kind::Date => quoted(out, |out| text::date(whole, out)),
        Kind::Clock { per_second } => {
            let (seconds, nanos) = text::split(whole, per_second);
            quoted(out, |out| text::clock(seconds, nanos, out));
        }
        Kind::Instant { per_second, has_zone } => stamp(whole, per_second, has_zone, out),
        Kind::Duration { per_second } => text::scaled(text::Digits::of(value).text(), per_second.ilog10() as i32, out),
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::Flag | Kind::Signed | Kind::Unsigned | Kind::Float | Kind::Half | Kind::Text | Kind::Bytes | Kind::Uuid => {
            out.extend_from_slice(text::Digits::of(value).text().as_bytes());
        }
    }
}

/// Appends a count of units since 1970. A zone only says how to show it; the count is of UTC.
pub(in crate::file) fn stamp(count: i64, per_second: i64, has_zone: bool, out: &mut Vec<u8>) {
    quoted(out, |out| {
        text::date_time(count, per_second, out);
        out.extend_from_slice(if has_zone { b"Z" } else { b"" });
    });
}

/// Appends a float; NaN and infinities are text, which no value is read from.
pub(in crate::file) fn float<F: std::fmt::Debug + Into<f64> + Copy>(value: F, out: &mut Vec<u8>) {
    match value.into().is_finite() {
        true => text::put(out, format_args!("{value:?}")),
        false => text::put(out, format_args!("\"{value:?}\"")),
    }
}

/// Appends text or bytes, or a number kept in them.
pub(in crate::file) fn bytes(value: &[u8], kind: Kind, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Text, _) => quote_into(value, out),
        (Kind::Decimal { scale }, _) => match text::integer(value) {
            Some(integer) => text::scaled(text::Digits::of(integer).text(), scale, out),
            None => text::scaled(&text::big_integer(value), scale, out),
        },
        (Kind::Uuid, _) => quoted(out, |out| text::uuid(value, out)),
        (Kind::Half, [low, high]) => float(text::half(u16::from_le_bytes([*low, *high])), out),
        (Kind::Null, _) => out.extend_from_slice(b"null"),
        _ => quoted(out, |out| text::hex(value, out)),
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}
