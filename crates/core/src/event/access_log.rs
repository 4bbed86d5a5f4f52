//! Web servers' access logs, common and combined format, to events.
//!
//! Fields: `client ident user time method path protocol status bytes referrer agent
//! request`. `status` and `bytes` are numbers (`-` bytes are 0); `time` is turned into
//! RFC 3339; `-` elsewhere is null. The request is split only when it has three parts.

use super::Path;
use super::batch::Batch;
use super::slot::{Kind, Slot};
use crate::time::{Clue, TimeFormat, Zone};

/// The fields a log line has, in the order of [`Columns`].
pub const FIELDS: [&str; 12] =
    ["client", "ident", "user", "time", "method", "path", "protocol", "status", "bytes", "referrer", "agent", "request"];

/// Where each field goes.
#[derive(Clone, Debug)]
pub struct Columns {
    slots: [Option<u16>; FIELDS.len()],
    width: usize,
    time: TimeFormat,
    /// Whether a line may have more than the pattern.
    extra: bool,
}

impl Columns {
    /// Slots for those of the paths that are fields of a log line.
    pub fn new(paths: &[Path], extra: bool) -> Columns {
        let slot = |field: &&str| paths.iter().position(|path| path.as_str() == *field).map(|at| at as u16);
        let pattern = "%d/%b/%Y:%H:%M:%S %z".to_owned();
        Columns {
            slots: FIELDS.each_ref().map(slot),
            width: paths.len(),
            time: TimeFormat::Pattern { pattern, zone: Zone::utc(), zone_name: None },
            extra,
        }
    }
}

/// Fills the batch with the lines of its block.
pub fn decode(columns: &Columns, batch: &mut Batch, event_bytes_max: usize) {
    batch.reset(columns.width);
    let records = batch.cut();
    for record in records.iter().copied() {
        let row = batch.push(record);
        let line = &row.bytes[record.start as usize..record.end as usize];
        let read = match () {
            () if line.len() > event_bytes_max => Err("longer than the limit of an event"),
            () if simdutf8::basic::from_utf8(line).is_err() => {
                let detail = super::not_utf8(line);
                batch.refuse(detail);
                continue;
            }
            () => split(line, columns.extra),
        };
        let fields = match read {
            Ok(fields) => fields,
            Err(what) => {
                batch.refuse(format!("not a line of an access log: {what}"));
                continue;
            }
        };
        let Some(time) = columns.time.parse(fields[3].unwrap_or_default(), Clue::Text) else {
            batch.refuse("not a line of an access log: the time is not like 17/May/2015:10:05:03 +0000".to_owned());
            continue;
        };
        for (field, text) in fields.iter().enumerate() {
            let (Some(slot), Some(text)) = (columns.slots[field], text) else { continue };
            let from = row.arena.len();
            if field == 3 {
                time.write_millis(row.arena);
            } else {
                row.arena.extend_from_slice(text);
            }
            let kind = match FIELDS[field] {
                "status" | "bytes" => Kind::Number,
                _ if *text == b"-" => Kind::Null,
                _ => Kind::Text,
            };
            row.slots[usize::from(slot)] = Slot::in_arena(kind, from, row.arena.len());
        }
    }
    batch.keep_cut(records);
}

type Fields<'a> = [Option<&'a [u8]>; FIELDS.len()];

/// `client ident user [time] "request" status bytes ["referrer" "agent"]`.
fn split(line: &[u8], extra: bool) -> Result<Fields<'_>, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut rest = line;
    let mut fields: Fields<'_> = [None; FIELDS.len()];
    fields[0] = Some(take(&mut rest, b' ').ok_or("no client")?);
    fields[1] = Some(take(&mut rest, b' ').ok_or("no ident")?);
    // A user name may hold blanks; the time's bracket ends it.
    let bracket = find(rest, b" [").ok_or("no [time]")?;
    fields[2] = Some(&rest[..bracket]);
    if is_shifted(&fields) {
        return Err("more than client, ident and user before the time; is there a virtual host (`format: vhost_combined`), \
                    or another `pattern`?");
    }
    rest = &rest[bracket + 2..];
    fields[3] = Some(take(&mut rest, b']').ok_or("the time does not end with ]")?);
    rest = rest.strip_prefix(b" ").ok_or("no request after the time")?;
    let request = quoted(&mut rest).ok_or("the request is not in quotes")?;
    fields[11] = Some(request);
    split_request(request, &mut fields);
    rest = rest.strip_prefix(b" ").ok_or("no status after the request")?;
    fields[7] = Some(number(take(&mut rest, b' ').ok_or("no size after the status")?).ok_or("the status is not a number")?);
    let bytes = take(&mut rest, b' ').unwrap_or_else(|| std::mem::take(&mut rest));
    fields[8] = Some(if bytes == b"-" { b"0" } else { number(bytes).ok_or("the size is not a number")? });
    if rest.is_empty() || (extra && rest[0] != b'"') {
        return Ok(fields);
    }
    fields[9] = Some(quoted(&mut rest).ok_or("the referrer is not in quotes")?);
    rest = rest.strip_prefix(b" ").ok_or("no user agent after the referrer")?;
    fields[10] = Some(quoted(&mut rest).ok_or("the user agent is not in quotes")?);
    match rest.is_empty() || extra {
        true => Ok(fields),
        false => Err("more fields after the user agent; give the `pattern` of the log, or say `extra: ignore`"),
    }
}

/// Whether text precedes the client, so that every field is another: a user with a
/// blank is a name only behind an empty ident, and `- ` begins no name.
fn is_shifted(fields: &Fields<'_>) -> bool {
    let [client, ident, user] = [fields[0], fields[1], fields[2]].map(Option::unwrap_or_default);
    let has_blank = memchr::memchr(b' ', user).is_some();
    client.ends_with(b",") || (has_blank && (ident != b"-" || user.starts_with(b"- ")))
}

fn split_request<'a>(request: &'a [u8], fields: &mut Fields<'a>) {
    let mut parts = request.splitn(3, |&c| c == b' ');
    if let (Some(method), Some(path), Some(protocol)) = (parts.next(), parts.next(), parts.next()) {
        fields[4] = Some(method);
        fields[5] = Some(path);
        fields[6] = Some(protocol);
    }
}

fn number(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then_some(text)
}

fn take<'a>(rest: &mut &'a [u8], until: u8) -> Option<&'a [u8]> {
    let at = memchr::memchr(until, rest)?;
    let taken = &rest[..at];
    *rest = &rest[at + 1..];
    (!taken.is_empty()).then_some(taken)
}

/// Text in quotes, where a quote inside is written `\"`.
fn quoted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let inside = rest.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match inside.get(at)? {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    *rest = &inside[at + 1..];
    Some(&inside[..at])
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        let paths: Vec<Path> = FIELDS.iter().map(|field| Path::parse(field).unwrap()).collect();
        let mut batch = Batch::default();
        batch.block.open().extend_from_slice(line.as_bytes());
        batch.block.seal();
        decode(&Columns::new(&paths, false), &mut batch, 1000);
        if let [fault] = batch.faults.as_slice() {
            return fault.detail.clone();
        }
        let mut out = Vec::new();
        for slot in 0..11 {
            batch.leaf(0, slot).write_json(&mut out);
            out.push(b' ');
        }
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    #[test]
    fn lines_and_what_is_none() {
        for (line, expected) in [
            (
                r#"83.149.9.216 - - [17/May/2015:10:05:03 +0200] "GET /a b HTTP/1.1" 200 203023 "-" "Mozilla \"x\" (a)""#,
                r#""83.149.9.216" null null "2015-05-17T08:05:03.000Z" "GET" "/a" "b HTTP/1.1" 200 203023 null "Mozilla \\\"x\\\" (a)""#,
            ),
            (
                r#"::1 - bob smith [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.0" 304 -"#,
                r#""::1" null "bob smith" "2015-05-17T10:05:03.000Z" "HEAD" "/" "HTTP/1.0" 304 0 null null"#,
            ),
            (
                r#"h - - [17/May/2015:10:05:03 +0000] "garbage" 400 0"#,
                r#""h" null null "2015-05-17T10:05:03.000Z" null null null 400 0 null null"#,
            ),
            (
                r#"vhost:443 192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.0" 200 1"#,
                "not a line of an access log: more than client, ident and user before the time; is there a virtual host \
                 (`format: vhost_combined`), or another `pattern`?",
            ),
            (
                r#"192.0.2.5, 10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.0" 200 1"#,
                "not a line of an access log: more than client, ident and user before the time; is there a virtual host \
                 (`format: vhost_combined`), or another `pattern`?",
            ),
            (
                r#"h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.0" 200 1 "-" "a" 0.25"#,
                "not a line of an access log: more fields after the user agent; give the `pattern` of the log, or say \
                 `extra: ignore`",
            ),
            ("hello", "not a line of an access log: no client"),
            (
                r#"h - - [now] "GET / HTTP/1.0" 200 1"#,
                "not a line of an access log: the time is not like 17/May/2015:10:05:03 +0000",
            ),
            (
                r#"h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.0" OK 1"#,
                "not a line of an access log: the status is not a number",
            ),
            (r#"h - - [17/May/2015:10:05:03 +0000] "GET / 200 1"#, "not a line of an access log: the request is not in quotes"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
