//! Characters that end or escape in a JSON string, found sixteen bytes at a time.

use wide::u8x16;

/// The first quote, backslash or control character at or after `from`, where at least
/// sixteen readable bytes follow. `None` at the end of the bytes.
#[inline]
pub(super) fn next_special(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let chunk = bytes.get(from..)?.first_chunk::<16>()?;
        let marks = special(chunk);
        if marks != 0 {
            return Some(from + marks.trailing_zeros() as usize);
        }
        from += 16;
    }
}

/// A bit for each byte that is special.
#[inline]
fn special(chunk: &[u8; 16]) -> u32 {
    let text = u8x16::new(*chunk);
    let quote = text.simd_eq(u8x16::splat(b'"'));
    let backslash = text.simd_eq(u8x16::splat(b'\\'));
    let control = text.min(u8x16::splat(0x1f)).simd_eq(text);
    (quote | backslash | control).to_bitmask()
}
