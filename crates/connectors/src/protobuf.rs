//! The number of fields in a Protobuf message, before memory is taken for them.

/// Fields of a request with a length: texts and messages. 8,192 spans with 20 attributes have about
/// 700,000. In memory each takes many times its bytes.
pub(crate) const FIELDS_MAX: usize = 1_000_000;

/// The depth to which messages inside each other are counted; those of the protocol are less deep.
const DEPTH_MAX: u32 = 32;

/// Returns whether a message has at most [`FIELDS_MAX`] fields with a length. A text that reads like a message
/// counts as one.
pub(crate) fn is_within_bounds(message: &[u8]) -> bool {
    let mut left = FIELDS_MAX;
    count(message, &mut left, 0) != Count::TooMany
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Message,
    NoMessage,
    TooMany,
}

fn count(mut bytes: &[u8], left: &mut usize, depth: u32) -> Count {
    while !bytes.is_empty() {
        let Some(tag) = varint(&mut bytes) else { return Count::NoMessage };
        let skipped = match tag & 7 {
            0 => varint(&mut bytes).map(|_| 0),
            1 => Some(8),
            5 => Some(4),
            2 => match varint(&mut bytes).and_then(|length| usize::try_from(length).ok()) {
                Some(length) if length <= bytes.len() => {
                    *left = left.saturating_sub(1);
                    if *left == 0 || (depth < DEPTH_MAX && count(&bytes[..length], left, depth + 1) == Count::TooMany) {
                        return Count::TooMany;
                    }
                    Some(length)
                }
                _ => None,
            },
            _ => None,
        };
        match skipped.and_then(|skipped| bytes.get(skipped..)) {
            Some(rest) => bytes = rest,
            None => return Count::NoMessage,
        }
    }
    Count::Message
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_at_every_depth() {
        // Field 1 with the field 1 with nothing in it, again and again.
        let inner = [0x0a, 0x00].repeat(63);
        let outer = [&[0x0a, 126][..], &inner].concat();
        let cases = [
            (Vec::new(), true),
            (b"no message".to_vec(), true),
            (vec![0x0a; 40], true),
            (outer.repeat(FIELDS_MAX / 64 - 1), true),
            (outer.repeat(FIELDS_MAX / 64 + 1), false),
            ([0x0a, 0x00].repeat(FIELDS_MAX + 1), false),
        ];
        for (message, is_within) in cases {
            assert_eq!(is_within_bounds(&message), is_within, "{} bytes", message.len());
        }
    }
}
