//! `cargo xtask errors`: writes the pages of `docs/errors/`.
//!
//! Names, statuses, titles and remedies come from the table of codes in the server, the longer
//! explanations from `texts`. `tidy` fails when a page differs from what this module writes.

mod texts;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::wrap::wrap;

const TABLE: &str = "crates/server/src/problem/code.rs";
const FOLDER: &str = "docs/errors";

/// One row of the server's table.
struct Code {
    name: String,
    status: String,
    title: String,
    remedy: String,
}

/// Writes all pages and deletes those of codes that no longer exist.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(FOLDER);
    for (name, page) in pages(root)? {
        fs::write(folder.join(&name), page).with_context(|| name)?;
    }
    for name in strangers(root)? {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

/// Reports pages that are missing, differ, or belong to no code.
pub(crate) fn check(root: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    for (name, page) in pages(root)? {
        if fs::read_to_string(root.join(FOLDER).join(&name)).ok().as_deref() != Some(&page) {
            findings.push(format!("{FOLDER}/{name}: is not current; run cargo xtask errors"));
        }
    }
    findings.extend(strangers(root)?.iter().map(|name| format!("{FOLDER}/{name}: no such code")));
    Ok(())
}

/// File name and content of every page.
fn pages(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let codes = codes(&fs::read_to_string(root.join(TABLE)).context(TABLE)?)?;
    let mut pages = Vec::new();
    for code in &codes {
        let text = texts::TEXTS.iter().find(|text| text.code == code.name);
        let Some(text) = text else { bail!("xtask/src/errors/texts.rs has no text for `{}`", code.name) };
        pages.push((format!("{}.md", code.name), page(code, text)?));
    }
    let unused = texts::TEXTS.iter().find(|text| !codes.iter().any(|code| code.name == text.code));
    ensure!(unused.is_none(), "xtask/src/errors/texts.rs: `{}` is no code", unused.map_or("", |text| text.code));
    pages.push(("README.md".to_owned(), list(&codes)?));
    Ok(pages)
}

fn page(code: &Code, text: &texts::Text) -> anyhow::Result<String> {
    let mut page = format!("# `{}` ({})\n\n{}.\n\n", code.name, code.status, code.title);
    page.push_str(&wrap(&format!("**What it means.** {}", text.meaning)));
    let remedy = format!("**What to do.** {} {}", code.remedy, text.more);
    write!(page, "\n{}", wrap(remedy.trim_end()))?;
    page.push_str("\n<!-- Written by `cargo xtask errors`. -->\n");
    Ok(page)
}

fn list(codes: &[Code]) -> anyhow::Result<String> {
    let mut page = String::from(HEAD);
    for Code { name, status, title, remedy } in codes {
        writeln!(page, "| [`{name}`]({name}.md) | {status} | {title} | {remedy} |")?;
    }
    page.push_str("\n<!-- Written by `cargo xtask errors`. -->\n");
    Ok(page)
}

const HEAD: &str = "\
# Errors

This page lists the error codes of the HTTP API. A refused request is answered with a problem
document (RFC 9457, `application/problem+json`):

| field | meaning |
|---|---|
| `code` | one of the codes below; codes never change their meaning, so programs can rely on them |
| `status`, `title` | the HTTP status; the same short text for every problem of this code |
| `detail` | what is wrong in this request |
| `field` | the field, header or parameter that is wrong, if there is one |
| `remedy` | what to do |
| `instance`, `requestId` | the path, and the `X-Request-Id` that the server's log has too |

| code | status | title | remedy |
|---|---|---|---|
";

/// Pages that belong to no code.
fn strangers(root: &Path) -> anyhow::Result<Vec<String>> {
    let known: Vec<String> = pages(root)?.into_iter().map(|(name, _)| name).collect();
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Reads the rows `(Code::X, "name", 400, "title", "remedy")` of the table.
fn codes(source: &str) -> anyhow::Result<Vec<Code>> {
    let table = source.split_once("const CODES").context("no CODES")?.1;
    let (table, _) = table.split_once("\n];").context("no end of CODES")?;
    let mut codes = Vec::new();
    for row in table.split("Code::").skip(1) {
        let (texts, rest) = literals(row);
        let [name, title, remedy] = texts.as_slice() else {
            bail!("{TABLE}: a row is not (Code, name, status, title, remedy): {row}");
        };
        let status: String = rest.chars().filter(char::is_ascii_digit).collect();
        ensure!(status.len() == 3, "{TABLE}: no status in the row of `{name}`");
        codes.push(Code { name: name.clone(), status, title: title.clone(), remedy: remedy.clone() });
    }
    ensure!(codes.len() > 10, "{TABLE}: only {} codes found", codes.len());
    Ok(codes)
}

/// Splits a row into its string literals and everything else, without comments.
fn literals(row: &str) -> (Vec<String>, String) {
    let mut texts = Vec::new();
    let mut rest = String::new();
    let mut characters = row.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => {
                characters.by_ref().find(|next| *next == '\n');
            }
            '"' => texts.push(literal(&mut characters)),
            other => rest.push(other),
        }
    }
    (texts, rest)
}

/// Reads a string literal up to its closing quote.
fn literal(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('n') => text.push('\n'),
                // A line that continues: its indentation is not part of the text.
                Some('\n') => while characters.next_if(|next| next.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    text
}

#[test]
fn rows_are_read_with_comments_and_continued_lines() {
    let row = "A, \"a\", 400, \"T \\\"x\\\"\", \"R \\\n        s.\"),\n    // 401: \"who\"\n    (";
    let (texts, rest) = literals(row);
    assert_eq!(texts, ["a", "T \"x\"", "R s."]);
    assert_eq!(rest.chars().filter(char::is_ascii_digit).collect::<String>(), "400");
}
