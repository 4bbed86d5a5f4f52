//! Answers for people: a list as a table, one object as its members, line by line.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::Form;

/// Titles and members of columns; a dot leads into a member.
pub(crate) type Columns = &'static [(&'static str, &'static str)];

/// The maximum characters of a cell: longer ones would push the others off the screen.
const CELL_CHARS_MAX: usize = 60;

type Members = BTreeMap<String, Box<RawValue>>;

pub(crate) fn list(items: &[Box<RawValue>], columns: Columns, form: Form) -> String {
    if form == Form::Json {
        let items: Vec<&str> = items.iter().map(|item| item.get()).collect();
        return format!("[{}]\n", items.join(",\n"));
    }
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let mut rows: Vec<Vec<String>> = vec![titles];
    rows.extend(items.iter().map(|item| columns.iter().map(|(_, member)| cell(item, member)).collect()));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

pub(crate) fn one(answer: &[u8], form: Form) -> String {
    let text = String::from_utf8_lossy(answer);
    let Ok(members) = serde_json::from_str::<Members>(&text) else { return ended(&text) };
    if form == Form::Json {
        return ended(&text);
    }
    let width = members.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for (name, value) in &members {
        let text = plain(value);
        // A document is printed below its name, as it was written.
        match text.contains('\n') {
            false => out.push_str(&format!("{name:width$}  {text}\n")),
            true => out.push_str(&format!("{name}\n  {}\n", text.trim_end().replace('\n', "\n  "))),
        }
    }
    out
}

/// Print nothing for an empty body.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn cell(item: &RawValue, path: &str) -> String {
    let Some(value) = member(item, path) else { return String::new() };
    let text = plain(&value).replace('\n', " ");
    match text.chars().count() > CELL_CHARS_MAX {
        true => text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect(),
        false => text,
    }
}

/// Returns a member of an object as it was sent; a dot leads into a member.
pub(crate) fn member(of: &RawValue, path: &str) -> Option<Box<RawValue>> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let found = serde_json::from_str::<Members>(of.get()).ok()?.remove(name)?;
    match rest {
        Some(rest) => member(&found, rest),
        None => Some(found),
    }
}

/// Returns the items of a list in an object, or none if it is not a list.
pub(crate) fn list_of(of: &RawValue, path: &str) -> Vec<Box<RawValue>> {
    let items = |list: Box<RawValue>| serde_json::from_str(list.get()).ok();
    member(of, path).and_then(items).unwrap_or_default()
}

/// Returns text without its quotes, nothing for null, and everything else as it was sent.
pub(crate) fn plain(value: &RawValue) -> String {
    match value.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_for_people_keeps_every_digit() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let items = [raw(r#"{"user":"anna","value":0.1000000000000000055,"in":{"a":null}}"#), raw(r#"{"user":"b","value":12}"#)];
        let columns: Columns = &[("USER", "user"), ("VALUE", "value"), ("A", "in.a")];
        assert_eq!(list(&items, columns, Form::Table), "USER  VALUE                  A\nanna  0.1000000000000000055\nb     12\n");
        assert_eq!(list(&items[1..], columns, Form::Json), "[{\"user\":\"b\",\"value\":12}]\n");
    }

    #[test]
    fn one_thing_for_people() {
        assert_eq!(one(br#"{"name":"x","id":1}"#, Form::Table), "id    1\nname  x\n");
        assert_eq!(one(br#"{"document":"a: 1\nb: 2\n"}"#, Form::Table), "document\n  a: 1\n  b: 2\n");
        assert_eq!(one(b"", Form::Table), "");
    }
}
