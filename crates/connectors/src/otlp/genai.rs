//! Usage of language models, after the semantic conventions for generative AI.
//!
//! A span with attributes `gen_ai.usage.*` gets plain members, so that a pipeline needs no mapping:
//! `model`, `provider`, `operation`, and a member for each counter, such as `input_tokens`.

use serde_json::{Map, Value};

/// Counters by the name that earlier conventions gave them.
const RENAMED: [(&str, &str); 2] = [("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")];

/// The members for usage, if the attributes have any.
pub(super) fn usage(attributes: &Map<String, Value>) -> Option<Map<String, Value>> {
    let conventions = attributes.get("gen_ai")?;
    let mut usage = Map::new();
    counters("", conventions.get("usage")?, &mut usage);
    if usage.is_empty() {
        return None;
    }
    let at = |path: &[&str]| path.iter().try_fold(conventions, |value, name| value.get(*name)).filter(|value| value.is_string());
    let named = [
        ("model", at(&["response", "model"]).or_else(|| at(&["request", "model"]))),
        ("provider", at(&["provider", "name"]).or_else(|| at(&["system"]))),
        ("operation", at(&["operation", "name"])),
    ];
    usage.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))));
    Some(usage)
}

/// Adds every number below `usage`; a name inside another is joined by `_`.
fn counters(before: &str, value: &Value, usage: &mut Map<String, Value>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{before}{name}");
        match value {
            Value::Number(_) => {
                let known = RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| (*new).to_owned());
                usage.entry(known.unwrap_or(name)).or_insert_with(|| value.clone());
            }
            _ => counters(&format!("{name}_"), value, usage),
        }
    }
}
