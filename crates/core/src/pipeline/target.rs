//! The targets of a document.

use super::problem::Problems;
use super::tree::Node as Tree;

/// A target, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    /// `threshold` takes partial records; any other, metered records.
    pub name: String,
    /// Where to; a path that may hold `{periodEnd}` and the like, `-` for standard
    /// output, `None` for nowhere.
    pub path: Option<String>,
    /// How records are written.
    pub format: TargetFormat,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFormat {
    /// One JSON object a line.
    Ndjson,
    /// Rows; objects and arrays as JSON in their column.
    Csv,
}

/// The names that stand for something in a target's path.
pub(super) const PLACEHOLDERS: [&str; 5] = ["periodStart", "periodEnd", "meterType", "meterKey", "userId"];

pub(super) fn compile_all(tree: &Tree, problems: &mut Problems) -> Vec<TargetPlan> {
    let items = tree.get("targets").map(Tree::items).unwrap_or_default();
    let targets = items.iter().enumerate();
    targets.filter_map(|(i, target)| compile(target, &format!("targets[{i}]"), problems)).collect()
}

fn compile(node: &Tree, field: &str, problems: &mut Problems) -> Option<TargetPlan> {
    let name = node.text("name").unwrap_or("records").to_owned();
    let none = node.members().any(|(name, _)| name == "none");
    let Some(file) = node.get("file") else {
        if !none {
            problems.add(node, field, "a target needs `file: {path: …}` or `none: {}`");
        }
        return none.then_some(TargetPlan { name, path: None, format: TargetFormat::Ndjson });
    };
    let path = file.text("path").unwrap_or_default();
    check_placeholders(file.get("path").unwrap_or(file), path, field, problems);
    let by_name = if path.ends_with(".csv") { "csv" } else { "ndjson" };
    let format = match file.text("format").unwrap_or(by_name) {
        "csv" => TargetFormat::Csv,
        _ => TargetFormat::Ndjson,
    };
    Some(TargetPlan { name, path: Some(path.to_owned()), format })
}

fn check_placeholders(node: &Tree, path: &str, field: &str, problems: &mut Problems) {
    for part in path.split('{').skip(1) {
        let name = part.split('}').next().unwrap_or_default();
        if !PLACEHOLDERS.contains(&name) && !part.starts_with("env:") && !part.starts_with("file:") {
            let advice = match crate::suggest::nearest(name, PLACEHOLDERS) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => format!("there are {}", PLACEHOLDERS.join(", ")),
            };
            problems.add(node, &format!("{field}.file.path"), format!("unknown placeholder {{{name}}}; {advice}"));
        }
    }
}
