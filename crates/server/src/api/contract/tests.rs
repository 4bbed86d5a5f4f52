//! Checks that the table of endpoints and the files of schemas belong together.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::api::{endpoints, openapi};

/// Adds the names of components to which a value refers.
fn add_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|text| text.strip_prefix("#/components/schemas/")).map(str::to_owned));
            members.values().for_each(|member| add_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| add_references(item, found)),
        _ => {}
    }
}

#[test]
fn every_file_is_read() {
    for (name, text) in FILES {
        let group = serde_json::from_str::<Group>(text);
        assert!(group.is_ok(), "schemas/{name}.json: {}", group.unwrap_err());
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/schemas");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len(), "a file that is not in the list");
}

#[test]
fn every_endpoint_has_an_operation_and_every_operation_an_endpoint() {
    let all = endpoints();
    let mut ids = BTreeSet::new();
    for endpoint in &all {
        let (method, path) = (&endpoint.method, endpoint.path);
        let Some((operation, _)) = endpoint.operation() else {
            panic!("{method} {path} has no operation; describe it in a file under crates/server/src/api/schemas");
        };
        assert!(ids.insert(&operation.id), "{method} {path}: two operations are `{}`", operation.id);
        assert_eq!(operation.body.is_some(), endpoint.body.is_some(), "{method} {path}: the body");
        assert!(operation.answers.contains_key(&endpoint.answer.0), "{method} {path}: status {}", endpoint.answer.0);
        for name in operation.query.keys() {
            assert!(endpoint.query.iter().any(|(known, _)| known == name), "{method} {path} has no parameter `{name}`");
        }
        for name in operation.path.keys() {
            assert!(endpoint.names_in_path().any(|known| known == name), "{method} {path} has no `{name}` in its path");
        }
    }
    for key in GROUPS.iter().flat_map(|group| group.operations.keys()) {
        let is_known = all.iter().any(|endpoint| *key == format!("{} {}", endpoint.method, endpoint.path));
        assert!(is_known, "there is no endpoint `{key}`");
    }
}

#[test]
fn every_name_has_a_component_and_every_component_is_used() {
    let schemas = schemas();
    let mut used = BTreeSet::new();
    let document = openapi::document();
    add_references(&document["paths"], &mut used);
    add_references(&document["components"]["responses"], &mut used);
    // Texts about streams name the components of their messages.
    let texts = schemas.values().filter_map(|schema| schema["description"].as_str());
    let texts: String = texts.filter(|text| text.starts_with("Server-sent events")).collect();
    used.extend(schemas.keys().filter(|name| texts.contains(name.as_str())).cloned());
    let mut rest: Vec<String> = used.iter().cloned().collect();
    while let Some(name) = rest.pop() {
        let schema = schemas.get(&name).unwrap_or_else(|| panic!("there is no schema `{name}`"));
        let mut more = BTreeSet::new();
        add_references(schema, &mut more);
        rest.extend(more.into_iter().filter(|name| used.insert(name.clone())));
    }
    let unused: Vec<&String> = schemas.keys().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, Vec::<&String>::new());
    let count: usize = GROUPS.iter().map(|group| group.schemas.len()).sum::<usize>() + words::schemas().count();
    assert_eq!(count, schemas.len(), "two schemas have one name");
}

#[test]
fn objects_say_whether_they_are_closed() {
    fn look(place: &str, schema: &Value) {
        if schema.get("properties").is_some() {
            assert!(schema.get("additionalProperties").is_some(), "{place} lacks additionalProperties");
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(schema["properties"].get(name.as_str().unwrap()).is_some(), "{place} requires {name}");
            }
        }
        match schema {
            Value::Object(members) => members.iter().for_each(|(name, member)| look(&format!("{place}/{name}"), member)),
            Value::Array(items) => items.iter().for_each(|item| look(place, item)),
            _ => {}
        }
    }
    schemas().iter().for_each(|(name, schema)| look(name, schema));
}
