//! Checks that links between documents lead to files and headings that exist.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Reports every relative link without a file, and every anchor without a heading.
pub(super) fn check(root: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    for (name, text) in super::language::documents(root)? {
        let folder = root.join(&name).parent().map(PathBuf::from).unwrap_or_default();
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { root.join(&name) } else { folder.join(file) };
            if !path.exists() {
                findings.push(format!("{name}: no file for the link {link}"));
            } else if !anchor.is_empty() && path.is_file() && !has_heading(&path, anchor)? {
                findings.push(format!("{name}: no heading for the link {link}"));
            }
        }
    }
    Ok(())
}

/// Returns the relative targets of `[text](target)`, outside code blocks.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    let parts = prose.flat_map(|part| part.split("](").skip(1));
    let targets = parts.filter_map(|part| part.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

fn has_heading(path: &Path, anchor: &str) -> anyhow::Result<bool> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor))
}

/// Returns the anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(slug("## Source `file`"), "source-file");
    assert_eq!(slug("# Errors"), "errors");
}
