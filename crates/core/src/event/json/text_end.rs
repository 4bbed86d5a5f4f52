//! Where a JSON string ends, sixteen bytes at a time.

/// The first quote, backslash or control character at or after `from`, where at least
/// 16 readable bytes follow. `None` at the end of the bytes.
#[inline]
pub(super) fn next_special(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let chunk: &[u8; 16] = bytes.get(from..)?.first_chunk()?;
        // One comparison of all lanes at once: the compiler makes vector code of it.
        let marks = chunk.map(|c| if c < 0x20 || c == b'"' || c == b'\\' { 0xff } else { 0 });
        let mask = u128::from_le_bytes(marks);
        if mask != 0 {
            return Some(from + (mask.trailing_zeros() / 8) as usize);
        }
        from += 16;
    }
}
