//! Counts words that make sentences hard to read, in comments, messages and documents.
//!
//! Plain technical English names the subject and uses the verb of the field: "the server
//! acknowledges events once they are durable". The words below mark sentences that do not. Each
//! area has a bound in `BOUNDS`. A bound may be lowered but not raised, so that the counts can only
//! fall; an area without a row has the bound 0.

mod prose;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Words and phrases that are counted, in lower case.
const WORDS: &[&[&str]] = &[
    &["whoever"],
    &["somebody"],
    &["nobody"],
    &["anew"],
    &["nought"],
    &["told"],
    &["tells"],
    &["hears"],
    &["speaks"],
    &["stands"],
    &["lies"],
    &["rests"],
    &["knows"],
    &["at", "hand"],
    &["go", "on"],
    &["goes", "on"],
    &["went", "on"],
    &["comes", "to"],
    &["came", "to"],
    &["let", "go", "of"],
    &["lets", "go", "of"],
];

/// Documentation comments of one line with at most this many words repeat the name.
const SHORT_DOC_WORDS: usize = 3;

/// Area, words and sentences that are counted, documentation comments of three words or fewer.
///
/// The four words of the node are keys of stored rows and a text of a stored document, which must
/// not change.
const BOUNDS: &[(&str, usize, usize)] = &[("crates/node", 4, 0)];

/// The counts of one area.
#[derive(Default)]
struct Counts {
    words: usize,
    short_docs: usize,
    places: Vec<String>,
}

/// The maximum of places that a finding lists.
const PLACES_MAX: usize = 12;

/// Reports every area above its bound. `sources` are Rust files, with their path in the repository.
pub(super) fn check(root: &Path, sources: &[(String, String)], findings: &mut Vec<String>) -> anyhow::Result<()> {
    for (area, counts) in &areas(root, sources)? {
        judge(area, counts, findings);
    }
    Ok(())
}

/// Prints every counted place of an area, or the counts of all areas.
pub(super) fn print(root: &Path, sources: &[(String, String)], only: Option<&str>) -> anyhow::Result<()> {
    for (area, counts) in &areas(root, sources)? {
        match only {
            Some(only) if area == only => counts.places.iter().for_each(|place| println!("{place}")),
            Some(_) => {}
            None => println!("(\"{area}\", {}, {}),", counts.words, counts.short_docs),
        }
    }
    Ok(())
}

fn areas(root: &Path, sources: &[(String, String)]) -> anyhow::Result<BTreeMap<String, Counts>> {
    let mut areas: BTreeMap<String, Counts> = BTreeMap::new();
    // This file has the words as data.
    for (name, text) in sources.iter().filter(|(name, _)| name != "xtask/src/tidy/language.rs") {
        let counts = areas.entry(area(name)).or_default();
        let code = prose::of_code(text);
        count(name, &code.sentences, counts);
        counts.short_docs += code.short_docs.len();
        counts.places.extend(code.short_docs.iter().map(|line| format!("{name}:{line}: short doc")));
        count_names(name, text, counts);
    }
    for (name, text) in documents(root)?.into_iter().filter(|(name, _)| !is_generated(name)) {
        count(&name, &prose::of_document(&text), areas.entry("docs".to_owned()).or_default());
    }
    Ok(areas)
}

/// Whether a page is written from the code of a crate, where its words are counted.
fn is_generated(name: &str) -> bool {
    matches!(name, "docs/http.md" | "docs/settings.md") || name.starts_with("docs/errors/")
}

fn judge(area: &str, counts: &Counts, findings: &mut Vec<String>) {
    let bound = BOUNDS.iter().find(|row| row.0 == area).copied().unwrap_or((area, 0, 0));
    if counts.words > bound.1 {
        let places = &counts.places[..counts.places.len().min(PLACES_MAX)].join("\n    ");
        findings.push(format!(
            "{area}: {} hard words or sentences, more than the bound of {}; cargo xtask words {area} lists all:\n    {places}",
            counts.words, bound.1
        ));
    }
    if counts.short_docs > bound.2 {
        findings.push(format!(
            "{area}: {} documentation comments of {SHORT_DOC_WORDS} words or fewer, more than the bound of {}",
            counts.short_docs, bound.2
        ));
    }
}

/// `crates/NAME`, or the first folder.
fn area(name: &str) -> String {
    let mut parts = name.split('/');
    match (parts.next(), parts.next()) {
        (Some("crates"), Some(krate)) => format!("crates/{krate}"),
        (first, _) => first.unwrap_or_default().to_owned(),
    }
}

fn count(name: &str, sentences: &[prose::Sentence], counts: &mut Counts) {
    for sentence in sentences {
        let lower = without_code(&sentence.text).to_lowercase();
        let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for phrase in WORDS {
            let found = words.windows(phrase.len()).filter(|window| window == phrase).count();
            counts.add(found, || format!("{name}:{}: {}", sentence.line, phrase.join(" ")));
        }
        let is_headless = ["What ", "Who "].iter().any(|word| sentence.text.starts_with(word));
        let is_headless = is_headless && !sentence.text.ends_with('?');
        counts.add(usize::from(is_headless), || format!("{name}:{}: begins with What or Who", sentence.line));
    }
}

/// Returns a text without its `code` spans and the `{placeholders}` of messages.
fn without_code(text: &str) -> String {
    let prose: String = text.split('`').step_by(2).collect();
    prose.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect()
}

/// Test names shall state a fact, not ask.
fn count_names(name: &str, text: &str, counts: &mut Counts) {
    for (number, line) in text.lines().enumerate() {
        let is_headless = ["fn what_", "fn who_"].iter().any(|start| line.trim_start().starts_with(start));
        counts.add(usize::from(is_headless), || format!("{name}:{}: {}", number + 1, line.trim()));
    }
}

impl Counts {
    fn add(&mut self, found: usize, place: impl Fn() -> String) {
        self.words += found;
        if found > 0 {
            self.places.push(place());
        }
    }
}

/// Every document: the manual and the pages at the root.
pub(super) fn documents(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths: Vec<_> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok((path.strip_prefix(root).unwrap_or(&path).display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn hard_words_headless_sentences_and_test_names_are_counted() {
    let text =
        "//! What is told.\n//! Is it so? Nobody\n//! goes on `anew`.\n\n/// Its name.\nfn what_is_it() { say(\"at hand\"); }\n";
    let mut counts = Counts::default();
    let code = prose::of_code(text);
    count("x.rs", &code.sentences, &mut counts);
    count_names("x.rs", text, &mut counts);
    assert_eq!(counts.words, 6, "{:?}", counts.places);
    assert_eq!(code.short_docs, [5]);
}
