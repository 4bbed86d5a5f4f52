//! Notifications that the settings file declares. Before the start they are checked like those of
//! the API.

use std::path::Path;

use serde_json::{Map, Value};

use crate::notifications::Draft;
use crate::settings::list::Item;

/// A notification of the settings file: its fields, as they would be sent to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Name of the notification.
    pub name: String,
    /// All fields of it.
    pub fields: Map<String, Value>,
}

/// Reads the notifications; adds their errors to the problems.
pub(crate) fn read(path: &Path, items: Vec<Item>, problems: &mut Vec<String>) -> Vec<Declared> {
    let mut declared: Vec<Declared> = Vec::new();
    for (at, Item { value, line }) in items.into_iter().enumerate() {
        let mut wrong = |field: &str, why: &str| {
            problems.push(format!("{}:{line}: notifications.declared[{at}]{field}: {why}", path.display()));
        };
        let Value::Object(fields) = value else {
            wrong("", "a notification has name, eventType, conditions, channels, enabled");
            continue;
        };
        match Draft::read(&fields) {
            Ok(draft) if declared.iter().any(|known| known.name == draft.name) => {
                wrong(".name", &format!("there are two called `{}`", draft.name));
            }
            Ok(draft) => declared.push(Declared { name: draft.name, fields }),
            Err(why) => wrong(&why.field.map(|field| format!(".{field}")).unwrap_or_default(), &why.detail),
        }
    }
    declared
}
