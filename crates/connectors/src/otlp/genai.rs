//! Usage of language models, after the semantic conventions for generative AI.
//!
//! A span with attributes `gen_ai.usage.*` gets plain members, so that a pipeline needs no mapping:
//! `model`, `provider`, `operation`, and a member for each counter, such as `input_tokens`.

use serde_json::{Map, Value};

use super::value::Attributes;

/// The beginning of the names of counters.
const USAGE: &str = "gen_ai.usage.";

/// Counters by the name that earlier conventions gave them. A counter under its present name wins.
const RENAMED: [(&str, &str); 2] = [("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")];

/// The members for usage, if the attributes have any.
pub(super) fn usage(attributes: &Attributes<'_>) -> Option<Map<String, Value>> {
    let counter = |(name, value): &(&str, Value)| Some((name.strip_prefix(USAGE)?.replace('.', "_"), value.clone()));
    let counters = attributes.iter().filter(|(_, value)| value.is_number()).filter_map(counter);
    let mut usage: Map<String, Value> = counters.collect();
    if usage.is_empty() {
        return None;
    }
    for (old, new) in RENAMED {
        if let Some(value) = usage.remove(old) {
            usage.entry(new).or_insert(value);
        }
    }
    let named = [
        ("model", ["gen_ai.response.model", "gen_ai.request.model"]),
        ("provider", ["gen_ai.provider.name", "gen_ai.system"]),
        ("operation", ["gen_ai.operation.name"; 2]),
    ];
    for (name, attribute) in named {
        let value = attribute.iter().find_map(|attribute| attributes.get(attribute).filter(|value| value.is_string()));
        usage.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    Some(usage)
}
