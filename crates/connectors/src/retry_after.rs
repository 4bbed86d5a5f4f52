//! Reads `Retry-After`: how long a server asks a client to wait.

use flowmeter_core::time::Timestamp;

/// Seconds or a date, as nanoseconds from now on.
pub fn retry_after(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds.saturating_mul(1_000_000_000).max(0));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = Timestamp::from_nanos(i64::try_from(date.as_nanos()).ok()?);
    i64::try_from(at.since(now)).ok().map(|nanos| nanos.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait() {
        let now = Timestamp::parse_rfc3339(b"2015-10-21T07:28:00Z").unwrap();
        let cases = [
            ("120", Some(120_000_000_000)),
            ("Wed, 21 Oct 2015 07:30:00 GMT", Some(120_000_000_000)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after(text, now), expected, "{text}");
        }
    }
}
