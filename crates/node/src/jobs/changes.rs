//! Changes of fields in parked events: set, convert, rename and remove, in this order.

use flowmeter_core::event::Kind;
use flowmeter_core::event::csv::ColumnType;
use serde_json::{Map, Value, json};

/// The changes that are made in each event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldChanges {
    /// Values by the paths of fields.
    pub set: Map<String, Value>,
    /// Types by the paths of fields.
    pub convert: Vec<(String, ColumnType)>,
    /// Paths, and the paths that these fields get.
    pub rename: Vec<(String, String)>,
    /// Paths of fields that are taken away.
    pub remove: Vec<String>,
}

impl FieldChanges {
    /// Whether events stay as they came.
    pub fn are_none(&self) -> bool {
        *self == FieldChanges::default()
    }

    /// Changes an event. A field that is not there is neither converted nor renamed.
    ///
    /// # Errors
    /// The first change that cannot be made in it, for people.
    pub(crate) fn apply(&self, event: &mut Value) -> Result<(), String> {
        for (path, value) in &self.set {
            put(event, path, value.clone())?;
        }
        for (path, to) in &self.convert {
            if let Some(field) = find(event, path).filter(|field| !field.is_null()) {
                *field =
                    converted(field, *to).ok_or_else(|| format!("`{path}` is {field}, which does not read as {}", named(*to)))?;
            }
        }
        let taken: Vec<(&String, Value)> = self.rename.iter().filter_map(|(from, to)| Some((to, take(event, from)?))).collect();
        for (to, value) in taken {
            if let Some(there) = find(event, to).filter(|there| !there.is_null()) {
                return Err(format!("`{to}` is there already: {there}"));
            }
            put(event, to, value)?;
        }
        for path in &self.remove {
            take(event, path);
        }
        Ok(())
    }
}

/// Sets a field by its path with dots; objects on the way are made. Something else on the way, such as
/// a list, must not be lost.
fn put(event: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let mut at = event;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        if at.is_null() {
            *at = json!({});
        }
        let Some(members) = at.as_object_mut() else {
            return Err(format!("`{path}` cannot be set: there is something else than an object on its way"));
        };
        if names.peek().is_none() {
            members.insert(name.to_owned(), value);
            break;
        }
        at = members.entry(name).or_insert_with(|| json!({}));
    }
    Ok(())
}

fn find<'v>(event: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('.').try_fold(event, |at, name| at.as_object_mut()?.get_mut(name))
}

/// Takes a field out of an event.
fn take(event: &mut Value, path: &str) -> Option<Value> {
    match path.rsplit_once('.') {
        Some((above, name)) => find(event, above)?.as_object_mut()?.remove(name),
        None => event.as_object_mut()?.remove(path),
    }
}

/// Returns a value as another type, with all its digits.
fn converted(value: &Value, to: ColumnType) -> Option<Value> {
    let text = match value {
        // A number of JSON is one: the form is that of texts.
        Value::Number(_) if to != ColumnType::Text && to != ColumnType::Boolean => return Some(value.clone()),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    if let ColumnType::Form(form) = to {
        let mut number = Vec::new();
        return (form.read_into(text.as_bytes(), &mut number) == Kind::Number).then(|| serde_json::from_slice(&number).ok())?;
    }
    match (to, to.kind(text.as_bytes())) {
        (ColumnType::Text, _) => Some(Value::String(text)),
        (_, Kind::Number) => serde_json::from_str(&text).ok(),
        (_, kind @ (Kind::True | Kind::False)) => Some(Value::Bool(kind == Kind::True)),
        _ => None,
    }
}

fn named(to: ColumnType) -> &'static str {
    match to {
        ColumnType::Text => "text",
        ColumnType::Number | ColumnType::Form(_) => "a number",
        ColumnType::Boolean => "true or false",
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_core::event::csv::NumberForm;

    use super::*;

    const EVENT: &str =
        r#"{"a":12345678901234567890.123456789012345678,"b":{"c":"1.234,50"},"d":[3],"g":null,"n":"7.10","t":"true"}"#;

    fn changed(changes: &FieldChanges) -> Result<String, String> {
        let mut event: Value = serde_json::from_str(EVENT).unwrap();
        changes.apply(&mut event).map(|()| event.to_string())
    }

    fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
    }

    #[test]
    fn fields_are_changed_by_their_paths_and_other_digits_stay() {
        let german = NumberForm { decimal: b',', group: Some(b'.'), ..NumberForm::default() };
        let changes = FieldChanges {
            set: json!({"b.e": "x", "g.f": 2, "subject": "anna"}).as_object().unwrap().clone(),
            convert: vec![
                ("b.c".to_owned(), ColumnType::Form(german)),
                ("n".to_owned(), ColumnType::Number),
                ("t".to_owned(), ColumnType::Boolean),
                ("a".to_owned(), ColumnType::Text),
                ("missing".to_owned(), ColumnType::Number),
            ],
            rename: texts(&[("b.c", "data.value"), ("missing", "data.other"), ("n", "m")]),
            remove: vec!["d".to_owned(), "b.none".to_owned()],
        };
        assert_eq!(
            changed(&changes).unwrap(),
            r#"{"a":"12345678901234567890.123456789012345678","b":{"e":"x"},"data":{"value":1234.5},"g":{"f":2},"m":7.10,"subject":"anna","t":true}"#
        );
        let point = NumberForm { decimal: b',', group: Some(b'.'), ..NumberForm::default() };
        let number = json!({"n": 1.5, "m": "1.500"});
        let mut event = number.clone();
        let convert = ["n", "m"].map(|path| (path.to_owned(), ColumnType::Form(point))).to_vec();
        FieldChanges { convert, ..FieldChanges::default() }.apply(&mut event).unwrap();
        assert_eq!(event, json!({"n": 1.5, "m": 1500}), "a number is not read by the form of texts");
        assert_eq!(changed(&FieldChanges::default()).unwrap(), serde_json::from_str::<Value>(EVENT).unwrap().to_string());
    }

    #[test]
    fn a_change_that_cannot_be_made_is_named() {
        let set = |path: &str| FieldChanges { set: json!({path: 2}).as_object().unwrap().clone(), ..FieldChanges::default() };
        for path in ["d.0", "d.f", "a.b"] {
            assert!(changed(&set(path)).unwrap_err().contains(path), "{path}");
        }
        let convert = |path: &str, to| FieldChanges { convert: vec![(path.to_owned(), to)], ..FieldChanges::default() };
        assert_eq!(changed(&convert("t", ColumnType::Number)).unwrap_err(), "`t` is \"true\", which does not read as a number");
        assert!(changed(&convert("d", ColumnType::Text)).is_err(), "a list is no text");
        assert!(changed(&convert("n", ColumnType::Boolean)).is_err());
        let rename = |pairs: &[(&str, &str)]| changed(&FieldChanges { rename: texts(pairs), ..FieldChanges::default() });
        assert!(rename(&[("n", "d.x")]).is_err(), "a field cannot go into a list");
        assert_eq!(rename(&[("n", "t")]).unwrap_err(), "`t` is there already: \"true\"");
        let swapped = rename(&[("n", "t"), ("t", "n")]).unwrap();
        assert!(swapped.contains(r#""n":"true""#) && swapped.contains(r#""t":"7.10""#), "{swapped}");
        assert!(rename(&[("n", "g")]).unwrap().contains(r#""g":"7.10""#), "null is no value");
    }
}
