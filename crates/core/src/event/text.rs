//! JSON text: escapes in and out.

use super::special::next_special;

/// Decodes an escaped JSON string. The scanner has checked the escapes;
/// anything unsound that still comes here is kept as it is.
pub fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        let used = match after.first() {
            Some(b'u') => match unicode(after) {
                Some((character, used)) => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    used
                }
                None => 1,
            },
            Some(&c) => {
                out.push(plain_escape(c));
                1
            }
            None => 0,
        };
        rest = &after[used..];
    }
    out.extend_from_slice(rest);
    out
}

fn plain_escape(c: u8) -> u8 {
    match c {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        other => other,
    }
}

/// `uXXXX` or a surrogate pair `uXXXX\uXXXX` → the character and the bytes used.
pub(super) fn unicode(after_backslash: &[u8]) -> Option<(char, usize)> {
    let first = hex4(after_backslash.get(1..5)?)?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(first)?, 5));
    }
    if first >= 0xDC00 || after_backslash.get(5..7)? != b"\\u" {
        return None;
    }
    let second = hex4(after_backslash.get(7..11)?)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    Some((char::from_u32(code)?, 11))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |n, &c| Some(n * 16 + char::from(c).to_digit(16)?))
}

/// Appends text as a JSON string, with the escapes JSON demands and no others.
pub fn quote_into(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    while let Some(at) = next_to_escape(text, from) {
        out.extend_from_slice(&text[from..at]);
        from = at + 1;
        escape_into(text[at], out);
    }
    out.extend_from_slice(&text[from..]);
    out.push(b'"');
}

/// Returns the first quote, backslash or control character from a place on.
fn next_to_escape(text: &[u8], from: usize) -> Option<usize> {
    let whole = from + (text.len() - from) / 16 * 16;
    let tail = || text[whole..].iter().position(|&c| c < 0x20 || c == b'"' || c == b'\\').map(|at| whole + at);
    next_special(text, from).or_else(tail)
}

fn escape_into(c: u8, out: &mut Vec<u8>) {
    match c {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        8 => out.extend_from_slice(b"\\b"),
        12 => out.extend_from_slice(b"\\f"),
        c => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(c >> 4)]);
            out.push(HEX[usize::from(c & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quoting_agrees_with_serde_and_comes_back(text in any::<String>()) {
            let mut quoted = Vec::new();
            quote_into(text.as_bytes(), &mut quoted);
            prop_assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), text.clone());
            prop_assert_eq!(unescape(&quoted[1..quoted.len() - 1]), text.into_bytes());
        }
    }

    #[test]
    fn surrogates_pair_up() {
        assert_eq!(unescape(br"\ud83d\ude00\u00e9\/"), "😀é/".as_bytes());
        assert_eq!(unicode(b"ud800"), None);
        assert_eq!(unicode(br"ud800\u0041"), None);
        assert_eq!(unicode(b"udc00"), None);
    }
}
