//! `cargo xtask tidy`: what the compiler does not check. Also a test.
//!
//! - paths and symbols in ARCHITECTURE.md exist;
//! - every source file begins with `//!` and has at most 500 lines;
//! - the core has no floats, clocks or random sources;
//! - other crates have no floats except those listed in `digits`;
//! - comments, messages and documents stay within the bounds of `language`;
//! - `web/dist` was built from the sources in `web/`;
//! - the pages of `docs/errors/` are current, and links between documents lead somewhere;
//! - no file has a path of a machine or a host of a package registry.

mod digits;
mod language;
mod links;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

const LINES_MAX: usize = 500;

/// Checks everything and fails with all findings at once.
pub(crate) fn tidy(root: &Path) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    architecture(root, &mut findings)?;
    let sources = sources(root)?;
    sources.iter().for_each(|(name, text)| source(name, text, &mut findings));
    language::check(root, &sources, &mut findings)?;
    crate::errors::check(root, &mut findings)?;
    links::check(root, &mut findings)?;
    if crate::web::sources_hash(root)? != crate::web::built_from(root)? {
        findings.push("web/dist is older than web/src; run `cargo xtask web`".to_owned());
    }
    ensure!(findings.is_empty(), "untidy:\n  {}", findings.join("\n  "));
    Ok(())
}

/// Prints the places that `language` counts in an area, or the counts of all areas.
pub(crate) fn words(root: &Path, area: Option<&str>) -> anyhow::Result<()> {
    language::print(root, &sources(root)?, area)
}

/// Returns path and text of every Rust file of the workspace.
fn sources(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok((file.strip_prefix(root).unwrap_or(&file).display().to_string(), text))
    };
    source_files(root)?.into_iter().map(read).collect()
}

/// Checks the rows of ARCHITECTURE.md: the second column names a file, the third its symbols.
fn architecture(root: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`"));
    let mut checked = 0;
    for row in rows {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let Some(path) = quoted.iter().find(|word| word.ends_with(".rs")) else { continue };
        let Ok(code) = fs::read_to_string(root.join(path)) else {
            findings.push(format!("ARCHITECTURE.md: no file {path}"));
            continue;
        };
        for symbol in quoted.iter().filter(|word| !word.contains(['/', '.', ' '])) {
            let bare = symbol.rsplit("::").next().unwrap_or(symbol);
            checked += 1;
            if !code.contains(bare) {
                findings.push(format!("ARCHITECTURE.md: {path} has no {symbol}"));
            }
        }
    }
    if checked < 10 {
        findings.push(format!("ARCHITECTURE.md: the table names only {checked} symbols"));
    }
    Ok(())
}

fn source(name: &str, text: &str, findings: &mut Vec<String>) {
    let is_test = name.contains("tests");
    if !text.starts_with("//!") {
        findings.push(format!("{name}: does not begin with //! (its content and reason)"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !is_test {
        findings.push(format!("{name}: {lines} lines; more than {LINES_MAX}"));
    }
    if !is_test {
        digits::check(name, text, findings);
    }
    let forbidden: &[&str] = match name.starts_with("crates/core/src") && !is_test {
        true => &["f32", "f64", "SystemTime", "Instant::now", "rand::", "std::fs", "std::net"],
        false => &[],
    };
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).collect();
        for word in forbidden.iter().filter(|word| words.iter().any(|found| found.starts_with(**word))) {
            findings.push(format!("{name}:{}: {word} in the core", number + 1));
        }
        if name != "xtask/src/tidy.rs" && ["/work/", "/root/", "/home/"].iter().any(|path| line.contains(path)) {
            findings.push(format!("{name}:{}: a path of a machine", number + 1));
        }
    }
}

/// Returns every Rust file of the workspace.
fn source_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![root.join("crates"), root.join("xtask"), root.join("fuzz/fuzz_targets")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "rs") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn the_tree_is_tidy() {
    tidy(&crate::root()).unwrap();
}
