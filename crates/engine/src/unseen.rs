//! Fields that a pipeline names and that no event of a file had: most likely misspelled.

use flowmeter_core::plan::Plan;
use flowmeter_core::suggest::nearest;

/// A sentence for each field that none of the mediators has seen, with the name that was probably
/// meant. Each mediator gives the slots it has not seen and an event that lacks them.
pub(crate) fn sentences(plan: &Plan, mediators: &[(&[u16], Option<&[u8]>)], received: u64) -> Vec<String> {
    let Some(sample) = mediators.iter().find_map(|(_, sample)| *sample) else { return Vec::new() };
    let sample = serde_json::from_slice(sample).unwrap_or_default();
    let mut names = Vec::new();
    names_of(&sample, &mut String::new(), &mut names);
    let first = mediators.first().map_or(&[][..], |(unseen, _)| unseen).iter();
    let nowhere = first.filter(|slot| mediators.iter().all(|(unseen, _)| unseen.contains(slot)));
    let sentence = |slot: &u16| {
        let path = &plan.paths[usize::from(*slot)];
        let near = nearest(path.as_str(), names.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("; nearest: `{near}`"));
        format!("`{path}` was in none of {received} events{near}")
    };
    nowhere.map(sentence).collect()
}

/// Names of an event that are suggested.
const NAMES_MAX: usize = 1_000;

/// The paths of an event, as a pipeline writes them.
fn names_of(value: &serde_json::Value, at: &mut String, names: &mut Vec<String>) {
    let Some(members) = value.as_object() else { return };
    for (name, inner) in members {
        let length = at.len();
        if !at.is_empty() {
            at.push('.');
        }
        at.push_str(&name.replace('\\', r"\\").replace('.', r"\."));
        if names.len() < NAMES_MAX {
            names.push(at.clone());
            names_of(inner, at, names);
        }
        at.truncate(length);
    }
}
