//! The results of `apply` and `diff`, for people and for programs.

use flowmeter_node::verbatim::Object;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::compared::{Compared, Outcome};
use super::lines::unified;

/// Returns the line of a document.
pub(super) fn line(compared: &Compared, version: Option<u64>) -> String {
    let mut parts = Vec::new();
    if compared.outcome == Outcome::Changed {
        parts.extend(version.map(|version| format!("version {version}")));
        match &compared.effects {
            Some(effects) => parts.extend(effects_of(effects)),
            None => parts.push("effects are unknown: the key lacks the scope admin".to_owned()),
        }
    }
    let text = format!("{:9}  {}  {}", compared.outcome.name(), compared.document.name, parts.join("; "));
    format!("{}\n", text.trim_end())
}

/// Returns the effects of a change on meters that exist and on targets.
fn effects_of(effects: &RawValue) -> Vec<String> {
    let effects: Value = serde_json::from_str(effects.get()).unwrap_or_default();
    let names = |list: &Value| {
        let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    match effects["keeps"]["meters"].as_u64() {
        Some(1) => parts.push("1 meter stays".to_owned()),
        Some(count) => parts.push(format!("{count} meters stay")),
        None => {}
    }
    for change in effects["schedulesChange"].as_array().into_iter().flatten() {
        let name = change["meterType"].as_str().unwrap_or_default();
        parts.push(match change["from"].as_str() {
            Some(from) => format!("meters of `{name}` have the new periods from {from} on"),
            None => format!("meters of `{name}` keep their period, which has no end"),
        });
    }
    for (list, text) in [
        (&effects["loses"], "meter types removed"),
        (&effects["targets"]["added"], "targets added"),
        (&effects["targets"]["removed"], "targets removed"),
    ] {
        let names = names(list);
        if !names.is_empty() {
            parts.push(format!("{text}: {names}"));
        }
    }
    parts
}

/// Returns the difference of the effective documents, with both names above it; an empty text if
/// they are equal.
pub(super) fn difference(compared: &Compared) -> String {
    let hunks = unified(&compared.before, &compared.after);
    if hunks.is_empty() {
        return hunks;
    }
    let before = match compared.version {
        Some(version) => format!("{}, version {version} on the server", compared.document.name),
        None => "nothing on the server".to_owned(),
    };
    format!("--- {before}\n+++ {}\n{hunks}", compared.document.file.display())
}

/// Returns the result of a document for programs. The difference is part of it if `with_lines`.
pub(super) fn object(compared: &Compared, version: Option<u64>, with_lines: bool) -> Box<RawValue> {
    let mut members = json!({
        "pipeline": compared.document.name,
        "file": compared.document.file.display().to_string(),
        "result": compared.outcome.name(),
        "version": version,
    });
    if with_lines {
        members["diff"] = json!(difference(compared));
    }
    match &compared.effects {
        Some(effects) => Object::of(&members).with("effects", effects).finish(),
        None => Object::of(&members).finish(),
    }
}
