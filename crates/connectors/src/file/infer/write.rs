//! Writes the guess as a pipeline document, with the reasons as comments.

use std::path::Path as FilePath;

use flowmeter_core::event::Path;
use flowmeter_core::meter_type::derived;

use super::Guess;
use super::choose::{self, Choice, When};
use super::fields::{Field, escaped, plain};
use super::meaning::{Meaning, shown};
use super::names::{USERS, Words};

/// Digits behind the point that are kept of numbers with more.
const PLACES: u32 = 18;

/// Names of a field for a user that no field has.
const OWN_NAMES: [&str; 4] = ["account", "owner", "payer", "meteredUser"];

pub(super) fn document(paths: &[String], guess: &Guess) -> String {
    let user = choose::user(guess);
    let value = choose::value(guess);
    let time = choose::time(guess);
    let id = choose::id(guess);
    let mut out = comments(guess, user.as_ref(), value.as_ref(), time.as_ref(), id);
    out.push_str("pipeline: my-pipeline\nsource:\n  file:\n");
    match paths {
        [one] => out.push_str(&format!("    path: {}\n", quoted(one))),
        several => {
            out.push_str(&format!("    path: [{}]\n", several.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(", ")));
        }
    }
    guess.options.iter().for_each(|option| out.push_str(&format!("    {option}\n")));
    let is_fine = value.as_ref().is_some_and(|value| choose::is_too_fine(value.field));
    let form = value.as_ref().and_then(|value| match value.field.meaning {
        Meaning::Number(form) => form,
        _ => None,
    });
    if let Some(form) = form {
        let round = if is_fine { format!(", round: {{ places: {PLACES} }}") } else { String::new() };
        out.push_str(&format!("    numbers: {{ {}{round} }}\n", shown(form)));
    }
    match id {
        Some(id) => out.push_str(&format!("    id: [{}]\n", quoted(&id.path))),
        None => out.push_str("    id: content   # equal events count once; `line` counts them all\n"),
    }
    let key = derived::named(&uuid::Uuid::NAMESPACE_URL, paths.join(" ").as_bytes());
    out.push_str("operators:\n");
    if let Some(not) = &guess.not {
        let name = expression(&escaped(not));
        let when = quoted(&format!("{name} != \"{}\"", not.replace('\\', "\\\\").replace('"', "\\\"")));
        out.push_str(&format!("  - filter: {{ when: {when} }}   # the line with the names of the columns\n"));
    }
    let user = user.map_or_else(
        || {
            let (name, account) = own_user(paths, guess);
            out.push_str(&format!("  - map: {{ set: {{ {name}: '\"{account}\"' }} }}\n"));
            name.to_owned()
        },
        |user| quoted(&user.field.path),
    );
    out.push_str(&format!("  - meter:\n      key: {key}\n      user: {user}\n"));
    if let Some(time) = &time {
        out.push_str(&written_time(time));
    }
    if !guess.is_rows && value.as_ref().is_some_and(|value| value.field.is_text) {
        out.push_str("      textNumbers: true\n");
    }
    let (aggregation, rule) = match &value {
        Some(value) => {
            let round = if is_fine && form.is_none() { format!(", round: {{ places: {PLACES} }}") } else { String::new() };
            ("sum", format!("{{ name: usage, value: {}{round} }}", written_value(value.field)))
        }
        None => ("count", "{ name: events }".to_owned()),
    };
    out.push_str(&format!("      rules:\n        - {rule}\nmeterTypes:\n  - {{ name: Usage, aggregation: {aggregation} }}\n"));
    out
}

/// Explains the choices and lists the fields.
fn comments(
    guess: &Guess,
    user: Option<&Choice<'_>>,
    value: Option<&Choice<'_>>,
    time: Option<&When<'_>>,
    id: Option<&Field>,
) -> String {
    let (events, equal) = guess.events;
    let mut out = String::from("# Guessed from the first rows; correct it, then try: flowmeter test FILE\n");
    let mut note = |line: String| out.push_str(&format!("# {line}\n"));
    if time.is_none() {
        note("NO TIME FOUND: every event counts at the time of its receipt. Name the field with `time:` in".to_owned());
        note("the meter operator before you use this pipeline.".to_owned());
    }
    note(String::new());
    match user {
        Some(user) => note(chosen("user", &name(&user.field.path), &user.why, user.next)),
        None => note("user: no field looks like one, so all events count for one user that the map sets; correct it".to_owned()),
    }
    match value {
        Some(value) => note(chosen("value", &name(&value.field.path), &value.why, value.next)),
        None => note("value: no field looks like an amount, so events are counted".to_owned()),
    }
    if let Some(time) = time {
        let names: Vec<String> = time.fields.iter().map(|field| name(&field.path)).collect();
        note(chosen("time", &names.join(" and "), &time.why, time.next));
        if is_local(&time.format) {
            note("time: it has no offset from UTC; correct `timezone`".to_owned());
        }
    }
    match id {
        Some(id) => note(format!("id: {}, because equal values occur only in equal events", name(&id.path))),
        None if equal > 0 => {
            note(format!("id: none found; {equal} of {events} events equal another one and are not counted again"));
        }
        None => note("id: none found, so that equal events count once".to_owned()),
    }
    if value.is_some_and(|value| choose::is_too_fine(value.field)) {
        note(format!("round: the value has more than {PLACES} digits behind the point"));
    }
    note(String::new());
    note("Fields:".to_owned());
    for field in &guess.fields {
        note(format!("  {}: {}", plain(&field.path), field.shown()));
    }
    out.replace("# \n", "#\n")
}

fn chosen(what: &str, names: &str, why: &str, next: Option<&Field>) -> String {
    let next = next.map_or(String::new(), |next| format!("; next: {}", name(&next.path)));
    format!("{what}: {names}, because {why}{next}")
}

fn name(path: &str) -> String {
    format!("`{}`", plain(path))
}

/// Returns a field for the user and an account from above the rows, or else the file's name.
fn own_user(paths: &[String], guess: &Guess) -> (&'static str, String) {
    let is_free = |name: &&&str| !guess.fields.iter().any(|field| field.path == **name);
    let name = OWN_NAMES.iter().find(is_free).unwrap_or(&OWN_NAMES[0]);
    let labelled = guess.preamble.iter().find_map(|row| match row.as_slice() {
        [label, value, ..] if Words::of(label).best(USERS).is_some_and(|(weight, _)| weight > 90) => Some(value.as_str()),
        _ => None,
    });
    let stem = || FilePath::new(paths.first().map_or("", String::as_str)).file_stem().and_then(|stem| stem.to_str());
    let is_safe = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let account: String = labelled.or_else(stem).unwrap_or_default().chars().filter(is_safe).take(80).collect();
    (name, if account.is_empty() { "all".to_owned() } else { account })
}

/// Whether times of a format are those of a wall clock.
fn is_local(format: &str) -> bool {
    format.starts_with('%')
        && !format.contains("%z")
        && !format.contains("%:z")
        && !format.ends_with("UTC")
        && !format.ends_with('Z')
}

fn written_time(time: &When<'_>) -> String {
    let format = &time.format;
    let zone =
        if format.starts_with('%') && !format.contains("%z") && !format.contains("%:z") { ", timezone: Etc/UTC" } else { "" };
    match time.fields.as_slice() {
        [one] if format.is_empty() || format == "rfc3339" => format!("      time: {}\n", quoted(&one.path)),
        [one] => format!("      time: {{ field: {}, format: '{format}'{zone} }}\n", quoted(&one.path)),
        several => {
            let names: Vec<String> = several.iter().map(|field| quoted(&field.path)).collect();
            format!("      time: {{ fields: [{}], join: ' ', format: '{format}'{zone} }}\n", names.join(", "))
        }
    }
}

/// Returns the value of a rule: a path, or an expression for other names and for durations.
fn written_value(field: &Field) -> String {
    let is_path = |c: char| is_word(c) || matches!(c, '/' | '-' | ':' | '\\' | '@' | '#' | '$');
    match field.meaning {
        Meaning::Duration => quoted(&format!("duration({})", expression(&field.path))),
        _ if field.path.chars().all(is_path) && begins_as_word(&field.path) => quoted(&field.path),
        _ => quoted(&expression(&field.path)),
    }
}

/// Returns a field as an expression has it: `event["USAGE (kWh)"]` unless its name is a word.
fn expression(path: &str) -> String {
    if path.chars().all(is_word) && begins_as_word(path) {
        return path.to_owned();
    }
    let names = Path::parse(path).map(|path| path.names().to_vec()).unwrap_or_default();
    let member = |name: &str| format!("[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\""));
    format!("event{}", names.iter().map(|name| member(name)).collect::<String>())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

fn begins_as_word(path: &str) -> bool {
    path.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Returns a text in YAML.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let is_word = ["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_lowercase().as_str());
    match !is_word && text.chars().all(is_plain) && text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/'))
    {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}
