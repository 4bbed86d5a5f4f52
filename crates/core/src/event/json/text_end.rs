//! Where a JSON string ends, eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The first quote, backslash or control character at or after `from`, where at least
/// eight readable bytes follow. `None` at the end of the bytes.
#[inline]
pub(super) fn next_special(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let word = u64::from_le_bytes(*bytes.get(from..)?.first_chunk()?);
        let marks = special(word);
        if marks != 0 {
            return Some(from + (marks.trailing_zeros() / 8) as usize);
        }
        from += 8;
    }
}

/// The high bit of each byte that is special; bytes behind the first may be marked
/// wrongly (a borrow runs upwards), which is why only the first is asked for.
#[inline]
fn special(word: u64) -> u64 {
    let is = |c: u8| {
        let other = word ^ (ONES * u64::from(c));
        other.wrapping_sub(ONES) & !other
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (is(b'"') | is(b'\\') | control) & HIGHS
}
