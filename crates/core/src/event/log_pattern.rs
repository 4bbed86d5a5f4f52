//! Access logs by their server's own pattern: Apache's `LogFormat`, nginx's `log_format`.
//!
//! A line must match the whole pattern. A field goes by the name of its directive (`D`,
//! `Referer`, `request_time`) and, where it is one of the usual fields, by that name too
//! (`client`, `user`, `time`, `status`, `bytes` …; see [`super::access_log`]).

use super::Path;
use super::batch::Batch;
use super::slot::{Kind, Slot};
use crate::time::{Clue, TimeFormat, Timestamp, Zone};

/// The pattern of Apache's format `vhost_combined`.
pub const VHOST_COMBINED: &str = "%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"";

/// A compiled pattern of access log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// Whether a line may have more than the pattern.
    extra: bool,
}

/// A field, with the text before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    before: Box<str>,
    /// The name of its directive; none for the text behind the last field.
    name: Option<Box<str>>,
    means: Means,
    /// The usual name of such a field.
    usual: Option<&'static str>,
}

/// How a field is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Text,
    /// A number; `-` is 0 for bytes.
    Number,
    /// Of `%t` and `$time_local`: 17/May/2015:10:05:03 +0000.
    LocalTime,
    /// The request line, which is split as well.
    Request,
}

/// Directives by their names: what they are and their usual names.
const KNOWN: [(&str, Means, Option<&str>); 33] = [
    ("h", Means::Text, Some("client")),
    ("a", Means::Text, Some("client")),
    ("remote_addr", Means::Text, Some("client")),
    ("l", Means::Text, Some("ident")),
    ("u", Means::Text, Some("user")),
    ("remote_user", Means::Text, Some("user")),
    ("t", Means::LocalTime, Some("time")),
    ("time_local", Means::LocalTime, Some("time")),
    ("time_iso8601", Means::Text, Some("time")),
    ("r", Means::Request, Some("request")),
    ("request", Means::Request, Some("request")),
    ("s", Means::Number, Some("status")),
    ("status", Means::Number, Some("status")),
    ("b", Means::Number, Some("bytes")),
    ("B", Means::Number, Some("bytes")),
    ("O", Means::Number, Some("bytes")),
    ("body_bytes_sent", Means::Number, Some("bytes")),
    ("bytes_sent", Means::Number, Some("bytes")),
    ("referer", Means::Text, Some("referrer")),
    ("http_referer", Means::Text, Some("referrer")),
    ("user-agent", Means::Text, Some("agent")),
    ("http_user_agent", Means::Text, Some("agent")),
    ("v", Means::Text, Some("vhost")),
    ("V", Means::Text, Some("vhost")),
    ("host", Means::Text, Some("vhost")),
    ("server_name", Means::Text, Some("vhost")),
    ("p", Means::Number, Some("port")),
    ("D", Means::Number, None),
    ("T", Means::Number, None),
    ("I", Means::Number, None),
    ("S", Means::Number, None),
    ("request_length", Means::Number, None),
    ("request_time", Means::Number, None),
];

impl Pattern {
    /// Reads a pattern: nginx's where it has a `$`, else Apache's.
    ///
    /// # Errors
    /// Returns the message if a part of the pattern is unknown; it names the part.
    pub fn read(text: &str, extra: bool) -> Result<Pattern, String> {
        let tokens = if text.contains('$') { nginx(text) } else { apache(text)? };
        let mut parts: Vec<Part> = Vec::new();
        let mut before = String::new();
        for token in tokens {
            match token {
                Token::Text(text) => before.push_str(&text),
                Token::Field(name) => {
                    let joined = before.is_empty() && !parts.is_empty();
                    if joined {
                        return Err(format!("`{name}` follows another field without a character between them"));
                    }
                    let known =
                        KNOWN.iter().find(|(known, ..)| *known == name || (name.len() > 2 && known.eq_ignore_ascii_case(&name)));
                    let (means, usual) = known.map_or((Means::Text, None), |(_, means, usual)| (*means, *usual));
                    parts.push(Part { before: std::mem::take(&mut before).into(), name: Some(name.into()), means, usual });
                }
            }
        }
        if parts.is_empty() {
            return Err("the pattern names no field; write Apache's LogFormat or nginx's log_format".to_owned());
        }
        parts.push(Part { before: before.into(), name: None, means: Means::Text, usual: None });
        Ok(Pattern { parts, extra })
    }

    /// The names its fields go by.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for part in &self.parts {
            names.extend(part.usual);
            names.extend(part.name.as_deref());
            if part.means == Means::Request {
                names.extend(["method", "path", "protocol"]);
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

enum Token {
    Text(String),
    Field(String),
}

fn nginx(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut pieces = text.split('$');
    tokens.extend(pieces.next().map(|text| Token::Text(text.to_owned())));
    for piece in pieces {
        let braced = piece.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (name, rest) = braced.unwrap_or(piece.split_at(end));
        tokens.push(Token::Field(name.to_owned()));
        tokens.push(Token::Text(rest.to_owned()));
    }
    tokens
}

fn apache(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        tokens.push(Token::Text(unescaped(&rest[..at])));
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            tokens.push(Token::Text("%".to_owned()));
            rest = behind;
            continue;
        }
        // Conditions on the status and the choice of the request do not change the form.
        rest = rest.trim_start_matches(|c: char| matches!(c, '<' | '>' | '!' | ',') || c.is_ascii_digit());
        let argument = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        rest = argument.map_or(rest, |(_, behind)| behind);
        let letter = rest.chars().next().filter(char::is_ascii_alphabetic);
        let letter = letter.ok_or_else(|| format!("`%` without a directive in `{text}`; `%%` is the sign itself"))?;
        rest = &rest[1..];
        let name = match argument {
            Some((_, _)) if letter == 't' => return Err("`%{…}t` is not read; write `%t`".to_owned()),
            Some((argument, _)) => argument.to_owned(),
            None => letter.to_string(),
        };
        // The brackets of the time are part of the directive.
        if letter == 't' {
            tokens.push(Token::Text("[".to_owned()));
        }
        tokens.push(Token::Field(name));
        if letter == 't' {
            tokens.push(Token::Text("]".to_owned()));
        }
    }
    tokens.push(Token::Text(unescaped(rest)));
    Ok(tokens)
}

/// Apache's configuration writes quotes inside quotes with a backslash.
fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\t", "\t")
}

/// Where the fields of a pattern go.
#[derive(Clone, Debug)]
pub struct Columns {
    pattern: Pattern,
    /// By part: the slots of its names.
    slots: Vec<Vec<u16>>,
    /// Of the parts of the request line.
    request: [Option<u16>; 3],
    width: usize,
    time: TimeFormat,
}

impl Columns {
    /// Slots for those of the paths that are fields of the pattern.
    pub fn new(pattern: &Pattern, paths: &[Path]) -> Columns {
        let slot = |name: &str| paths.iter().position(|path| path.is_named(name)).map(|at| at as u16);
        let of_part = |part: &Part| part.name.as_deref().into_iter().chain(part.usual).filter_map(slot).collect();
        let local = "%d/%b/%Y:%H:%M:%S %z".to_owned();
        Columns {
            slots: pattern.parts.iter().map(of_part).collect(),
            request: ["method", "path", "protocol"].map(slot),
            pattern: pattern.clone(),
            width: paths.len(),
            time: TimeFormat::Pattern { pattern: local, zone: Zone::utc(), zone_name: None },
        }
    }
}

/// Fills the batch with the lines of its block.
pub fn decode(columns: &Columns, batch: &mut Batch, event_bytes_max: usize) {
    batch.reset(columns.width);
    let mut found = Vec::with_capacity(columns.pattern.parts.len());
    let records = batch.cut();
    for record in records.iter().copied() {
        let (start, end) = (record.start as usize, record.end as usize);
        let mut row = batch.push(record);
        let line = &row.bytes[start..end];
        let read = match () {
            () if line.len() > event_bytes_max => Err("longer than the limit of an event".to_owned()),
            () if simdutf8::basic::from_utf8(line).is_err() => Err(super::not_utf8(line)),
            () => split(&columns.pattern, line, &mut found).and_then(|()| note(columns, &mut row, line, &found)),
        };
        if let Err(detail) = read {
            batch.refuse(format!("not a line of the pattern: {detail}"));
        }
    }
    batch.keep_cut(records);
}

/// The places of a line's fields.
fn split(pattern: &Pattern, line: &[u8], found: &mut Vec<(usize, usize)>) -> Result<(), String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    found.clear();
    let mut at = 0;
    for (i, part) in pattern.parts.iter().enumerate() {
        let behind = line[at..].strip_prefix(part.before.as_bytes());
        let expected = || format!("expected `{}` at byte {}", part.before, at + 1);
        at = line.len() - behind.ok_or_else(expected)?.len();
        let Some(name) = &part.name else { break };
        let until = pattern.parts[i + 1].before.as_bytes();
        let is_quoted = part.before.ends_with('"') && until.first() == Some(&b'"');
        let end = match until.first() {
            _ if is_quoted => closing_quote(line, at),
            Some(_) => memchr::memmem::find(&line[at..], until).map(|length| at + length),
            None if pattern.extra => Some(memchr::memchr(b' ', &line[at..]).map_or(line.len(), |length| at + length)),
            None => Some(line.len()),
        };
        let end = end.ok_or_else(|| format!("`{name}` does not end"))?;
        // Only quotes and brackets hold blanks.
        let is_open = !is_quoted && !part.before.ends_with('[');
        if is_open && (end == at || line[at..end].contains(&b' ')) {
            return Err(format!("`{name}` is empty or has a blank"));
        }
        found.push((at, end));
        at = end;
    }
    match at == line.len() || (pattern.extra && line[at] == b' ') {
        true => Ok(()),
        false => Err(format!("more text at byte {}; complete the `pattern`, or say `extra: ignore`", at + 1)),
    }
}

/// The quote that ends a text in which a quote is written `\"`.
fn closing_quote(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match line.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn note(columns: &Columns, row: &mut super::batch::Row<'_>, line: &[u8], found: &[(usize, usize)]) -> Result<(), String> {
    for (i, (&(start, end), part)) in found.iter().zip(&columns.pattern.parts).enumerate() {
        let text = &line[start..end];
        let from = row.arena.len();
        let kind = match part.means {
            Means::LocalTime => {
                local_time(columns, text)?.write_millis(row.arena);
                Kind::Text
            }
            Means::Number if text == b"-" && part.usual == Some("bytes") => {
                row.arena.push(b'0');
                Kind::Number
            }
            _ => {
                row.arena.extend_from_slice(text);
                match part.means {
                    _ if text == b"-" => Kind::Null,
                    Means::Number if crate::decimal::parse(text).is_ok() => Kind::Number,
                    Means::Number if part.usual == Some("status") => return Err("the status is not a number".to_owned()),
                    _ => Kind::Text,
                }
            }
        };
        let slot = Slot::in_arena(kind, from, row.arena.len());
        columns.slots[i].iter().for_each(|at| row.slots[usize::from(*at)] = slot);
        if part.means == Means::Request {
            note_request(columns, row, text);
        }
    }
    Ok(())
}

fn local_time(columns: &Columns, text: &[u8]) -> Result<Timestamp, String> {
    columns.time.parse(text, Clue::Text).ok_or_else(|| "the time is not like 17/May/2015:10:05:03 +0000".to_owned())
}

/// The parts of a request line that has three.
fn note_request(columns: &Columns, row: &mut super::batch::Row<'_>, text: &[u8]) {
    let parts: Vec<&[u8]> = text.splitn(3, |c| *c == b' ').collect();
    if parts.len() < 3 {
        return;
    }
    for (part, slot) in parts.into_iter().zip(columns.request) {
        let from = row.arena.len();
        row.arena.extend_from_slice(part);
        if let Some(slot) = slot {
            row.slots[usize::from(slot)] = Slot::in_arena(Kind::Text, from, row.arena.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, extra: bool, names: &[&str], line: &str) -> String {
        let paths: Vec<Path> = names.iter().map(|name| Path::of(&[name])).collect();
        let pattern = Pattern::read(pattern, extra).unwrap();
        let mut batch = Batch::default();
        batch.block.open().extend_from_slice(line.as_bytes());
        batch.block.seal();
        decode(&Columns::new(&pattern, &paths), &mut batch, 1000);
        if let [fault] = batch.faults.as_slice() {
            return fault.detail.clone();
        }
        let mut out = Vec::new();
        for slot in 0..names.len() {
            batch.leaf(0, slot as u16).write_json(&mut out);
            out.push(b' ');
        }
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    #[test]
    fn lines_match_the_whole_pattern_or_not_at_all() {
        let apache = r#"%h %l %u %t "%r" %>s %b %D"#;
        let nginx = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent rt=$request_time"#;
        let usual = ["client", "user", "time", "method", "path", "status", "bytes"];
        let line = r#"192.0.2.1 - bob [01/Feb/2024:10:00:00 +0100] "GET /a HTTP/1.1" 200 -"#;
        for (pattern, extra, names, line, expected) in [
            (
                apache,
                false,
                &usual[..],
                &*format!("{line} 1500"),
                r#""192.0.2.1" "bob" "2024-02-01T09:00:00.000Z" "GET" "/a" 200 0"#,
            ),
            (apache, false, &["D", "h", "s"], &*format!("{line} 1500"), r#"1500 "192.0.2.1" 200"#),
            (apache, false, &["D"], line, "not a line of the pattern: `b` does not end"),
            (apache, false, &["D"], &*format!("{line} 1500 9"), "not a line of the pattern: `D` is empty or has a blank"),
            (apache, true, &["D"], &*format!("{line} 1500 9"), "1500"),
            (
                nginx,
                false,
                &["client", "request_time", "bytes"],
                r#"192.0.2.1 - - [01/Feb/2024:10:00:00 +0100] "GET /a HTTP/1.1" 200 12 rt=0.250"#,
                r#""192.0.2.1" 0.250 12"#,
            ),
            (
                VHOST_COMBINED,
                false,
                &["vhost", "port", "client", "agent"],
                r#"shop:443 192.0.2.1 - - [01/Feb/2024:10:00:00 +0100] "GET /a HTTP/1.1" 200 12 "-" "x \"y\"""#,
                r#""shop" 443 "192.0.2.1" "x \\\"y\\\"""#,
            ),
            (
                apache,
                false,
                &["client"],
                r#"192.0.2.5, 10.0.0.1 - - [01/Feb/2024:10:00:00 +0100] "GET /a HTTP/1.1" 200 1 2"#,
                "not a line of the pattern: `u` is empty or has a blank",
            ),
        ] {
            assert_eq!(read(pattern, extra, names, line), expected, "{pattern}: {line}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_read_are_refused() {
        for (pattern, why) in [
            ("plain", "names no field"),
            ("%h%u", "without a character"),
            ("%{%d}t", "write `%t`"),
            ("%h %", "without a directive"),
        ] {
            assert!(Pattern::read(pattern, false).unwrap_err().contains(why), "{pattern}");
        }
        assert!(Pattern::read(VHOST_COMBINED, false).unwrap().names().contains(&"referrer"));
    }
}
