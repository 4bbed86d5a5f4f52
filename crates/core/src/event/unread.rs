//! Records that could not be read, as lines among lines of JSON.
//!
//! A server's log has one JSON object a line. A record of a file or topic that cannot be turned into
//! one keeps its place: a zero byte, the reason, another zero byte, and the record as it was
//! received, with `\n` for its line breaks. No JSON text contains a zero byte.

/// The first byte of such a line.
pub const MARK: u8 = 0;

/// Appends the line of a record that could not be read, with its line break.
pub fn write(reason: &str, raw: &[u8], out: &mut Vec<u8>) {
    out.push(MARK);
    out.extend(reason.bytes().map(|byte| if byte == MARK || byte == b'\n' { b' ' } else { byte }));
    out.push(MARK);
    for (nth, part) in raw.split(|byte| *byte == b'\n').enumerate() {
        if nth > 0 {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(part);
    }
    out.push(b'\n');
}

/// Returns the reason of such a line and the offset of the record in it; `None` for other lines.
pub(super) fn read(line: &[u8]) -> Option<(String, usize)> {
    let rest = line.strip_prefix(&[MARK])?;
    let end = memchr::memchr(MARK, rest)?;
    Some((String::from_utf8_lossy(&rest[..end]).into_owned(), end + 2))
}
