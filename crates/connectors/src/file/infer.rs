//! Writes a pipeline for files without a description: a guess, as a document to correct.
//!
//! Guesses come from the first rows and are written with their evidence, as comments. The document
//! always compiles; whether it means what its reader wants is for the reader to say.

mod fields;
mod table;

use std::io::Read;
use std::sync::Arc;

use flowmeter_core::event::json::Document;
use flowmeter_core::meter_type::derived;
use flowmeter_core::pipeline::Format;
use flowmeter_core::suggest::nearest;
use flowmeter_engine::{Error, Kind};

use super::open;
use fields::{Field, Meaning};

/// Bytes of a file that are examined.
const SAMPLE_BYTES: u64 = 1 << 20;
/// Events that are examined.
const SAMPLE_EVENTS: usize = 1_000;

/// The likely form of a file: options of the source, and its fields.
#[derive(Debug, Default)]
struct Guess {
    /// The options as written in the source.
    options: Vec<String>,
    fields: Vec<Field>,
}

/// Returns a pipeline document for files.
///
/// # Errors
/// A file cannot be read, or has no content to infer from.
pub fn infer(paths: &[String]) -> Result<String, Error> {
    let Some(first) = paths.first() else {
        return Err(Error::new(Kind::Invalid, "name a file to look at"));
    };
    let guess = guess(first)?;
    for other in &paths[1..] {
        let beside = self::guess(other)?;
        if let Some(missing) = guess.fields.iter().find(|field| !beside.fields.iter().any(|known| known.path == field.path)) {
            let near = nearest(&missing.path, beside.fields.iter().map(|field| field.path.as_str()));
            let near = near.map_or(String::new(), |near| format!("; nearest: `{near}`"));
            let message = format!("{other}: has no `{}`, which {first} has{near}; these are files of two sources", missing.path);
            return Err(Error::new(Kind::Invalid, message));
        }
    }
    Ok(write(paths, &guess))
}

fn guess(path: &str) -> Result<Guess, Error> {
    let format = Format::of_file(path);
    if matches!(format, Format::Parquet | Format::Avro | Format::Xlsx) {
        let message =
            format!("{path}: such a file names its columns itself; write their names in a pipeline, and `flowmeter test` it");
        return Err(Error::new(Kind::Invalid, message));
    }
    let reader = open::open(path, "auto", None, &Arc::default())?;
    let mut bytes = Vec::new();
    reader.take(SAMPLE_BYTES).read_to_end(&mut bytes).map_err(|why| Error::io(path, &why))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let nothing = || Error::new(Kind::Invalid, format!("{path}: nothing in it to go by"));
    let first = text.trim_start().chars().next().ok_or_else(nothing)?;
    let mut guess = match (format, first) {
        (_, '{' | '[') => of_json(&text),
        (Format::AccessLog, _) => of_log(),
        _ => table::guess(&text),
    };
    if guess.fields.is_empty() {
        return Err(nothing());
    }
    if format == Format::Ndjson && first != '{' && first != '[' {
        guess.options.insert(0, "format: csv".to_owned());
    }
    Ok(guess)
}

fn of_json(text: &str) -> Guess {
    let document = Document::new(text.as_bytes().to_vec());
    let mut seen = fields::Seen::default();
    let (mut at, mut events) = (0, 0);
    while let Some(c) = document.bytes().get(at).filter(|_| events < SAMPLE_EVENTS) {
        if c.is_ascii_whitespace() || matches!(c, b'[' | b',' | b']') {
            at += 1;
            continue;
        }
        let Some(end) = document.value_end(at) else { break };
        if let Ok(event) = serde_json::from_slice(&document.bytes()[at..end]) {
            seen.note_json(&event);
            events += 1;
        }
        at = end;
    }
    Guess { options: Vec::new(), fields: seen.fields() }
}

fn of_log() -> Guess {
    let field = |path: &str, meaning| Field { path: path.to_owned(), meaning, sample: String::new() };
    let fields = vec![
        field("client", Meaning::Text),
        field("time", Meaning::Time(String::new())),
        field("path", Meaning::Text),
        field("status", Meaning::Number),
        field("bytes", Meaning::Number),
    ];
    Guess { options: vec!["format: access_log".to_owned()], fields }
}

/// Usual names of users, values and ids.
const USERS: [&str; 12] = [
    "subject",
    "userid",
    "user",
    "customer",
    "customerid",
    "account",
    "accountid",
    "tenant",
    "client",
    "email",
    "caller",
    "owner",
];
const VALUES: [&str; 12] =
    ["value", "amount", "quantity", "tokens", "bytes", "count", "duration", "seconds", "units", "usage", "cost", "total"];
const IDS: [&str; 4] = ["id", "eventid", "uuid", "requestid"];

/// Returns the field with a known name, or else the first suitable one.
fn choose<'g>(fields: &'g [Field], names: &[&str], will_do: impl Fn(&Field) -> bool) -> Option<&'g Field> {
    let plain = |path: &str| path.rsplit('.').next().unwrap_or_default().to_lowercase().replace(['_', '-', ' '], "");
    let named = names.iter().find_map(|name| fields.iter().find(|field| plain(&field.path) == *name && will_do(field)));
    named.or_else(|| fields.iter().find(|field| will_do(field)))
}

fn write(paths: &[String], guess: &Guess) -> String {
    let is_time = |field: &Field| matches!(field.meaning, Meaning::Time(_));
    let time = choose(&guess.fields, &["time", "timestamp", "date", "at"], is_time);
    let user = choose(&guess.fields, &USERS, |field| field.meaning == Meaning::Text && !is_id(field));
    let value = choose(&guess.fields, &VALUES, |field| field.meaning == Meaning::Number && !is_id(field));
    let id = guess.fields.iter().find(|field| is_id(field));
    let mut out = String::from("# Guessed from the first rows; correct it, then try: flowmeter test FILE\n#\n");
    for field in &guess.fields {
        out.push_str(&format!("#   {}: {}{}\n", field.path, field.meaning.name(), field.shown()));
    }
    out.push_str("pipeline: my-pipeline\nsource:\n  file:\n");
    match paths {
        [one] => out.push_str(&format!("    path: {}\n", quoted(one))),
        several => {
            out.push_str(&format!("    path: [{}]\n", several.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(", ")));
        }
    }
    guess.options.iter().for_each(|option| out.push_str(&format!("    {option}\n")));
    match id {
        Some(id) => out.push_str(&format!("    id: [{}]\n", quoted(&id.path))),
        None => out.push_str("    id: content   # events of equal content count once; use `line` to count them all\n"),
    }
    let key = derived::named(&uuid::Uuid::NAMESPACE_URL, paths.join(" ").as_bytes());
    out.push_str(&format!("operators:\n  - meter:\n      key: {key}\n"));
    match user {
        Some(user) => out.push_str(&format!("      user: {}\n", quoted(&user.path))),
        None => out.push_str("      # user: …   # no field looks like one\n"),
    }
    if let Some(time) = time {
        let Meaning::Time(format) = &time.meaning else { return out };
        match format.as_str() {
            "" | "rfc3339" => out.push_str(&format!("      time: {}\n", quoted(&time.path))),
            format => {
                let (zone, field) = (if format.starts_with('%') { ", timezone: Etc/UTC" } else { "" }, quoted(&time.path));
                out.push_str(&format!("      time: {{ field: {field}, format: '{format}'{zone} }}\n"));
            }
        }
    }
    let (aggregation, rule) = match value {
        Some(value) => ("sum", format!("{{ name: usage, value: {} }}", quoted(&value.path))),
        None => ("count", "{ name: events }".to_owned()),
    };
    out.push_str(&format!("      rules:\n        - {rule}\nmeterTypes:\n  - {{ name: Usage, aggregation: {aggregation} }}\n"));
    out
}

fn is_id(field: &Field) -> bool {
    IDS.contains(&field.path.to_lowercase().replace(['_', '-', ' '], "").as_str())
}

/// Returns a text in YAML.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    match text.chars().all(is_plain) && text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/')) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_core::pipeline::Pipeline;

    use super::*;

    fn inferred(name: &str, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let document = infer(&[path.display().to_string()]).unwrap();
        Pipeline::read(&document).unwrap_or_else(|problems| panic!("{problems}\n{document}"));
        document
    }

    #[test]
    fn files_become_documents_that_compile() {
        for (name, text, parts) in [
            (
                "a.csv",
                "When,Customer,Secs\n2026-01-01 10:00:00,acme,5\n2026-01-02 10:00:00,globex,6.5\n",
                &["user: Customer", "format: '%Y-%m-%d %H:%M:%S'", "value: Secs"][..],
            ),
            (
                "report.csv",
                "Usage report\n\nKunde;Datum;Betrag\nacme;31.01.2026;1.234,50\nacme;28.01.2026;7,00\n",
                &["delimiter: ';'", "skip: { before: 1 }", "decimal: ','", "format: '%d.%m.%Y'", "value: Betrag"],
            ),
            ("a.tsv", "ts\tuser\tn\n1767312000\tu\t5\n", &["format: 'unix_s'", "user: user", "value: n"]),
            (
                "a.ndjson",
                "{\"id\":\"1\",\"subject\":\"u\",\"time\":\"2026-01-01T00:00:00Z\",\"data\":{\"tokens\":5,\"model\":\"m\"}}\n",
                &["id: [id]", "user: subject", "time: time", "value: data.tokens", "data.model: text"],
            ),
            (
                "a.log",
                "h - - [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
                &["format: access_log", "user: client", "value: bytes"],
            ),
        ] {
            let document = inferred(name, text);
            for part in parts {
                assert!(document.contains(part), "{name} lacks `{part}`:\n{document}");
            }
        }
    }

    #[test]
    fn files_of_two_sources_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let files = [put("a.csv", "user,n\nu,1\n"), put("b.csv", "usr,n\nu,1\n")];
        let why = infer(&files).unwrap_err().to_string();
        assert!(why.contains("has no `user`") && why.contains("nearest: `usr`"), "{why}");
        assert!(infer(&[put("empty.csv", "")]).is_err());
    }
}
