//! `flowmeter keys create --data`: creates the first key while no server runs.

use std::process::ExitCode;

use flowmeter_core::time::Timestamp;
use flowmeter_node::keys::{NewKey, Scope, Scopes, key_offline};
use serde_json::{Value, json};

use super::commands::CreateKey;
use super::table;
use crate::failure::{self, Wrong};
use crate::form::Form;

pub(super) fn create_offline(create: &CreateKey, form: Form) -> anyhow::Result<ExitCode> {
    let scopes = create.scope.iter().map(|name| name.parse().map_err(Wrong)).collect::<Result<Vec<Scope>, _>>()?;
    let expires_at = match create.expires_at.as_deref() {
        None => None,
        Some(text) => Some(
            Timestamp::parse_rfc3339(text.as_bytes())
                .ok_or_else(|| Wrong(format!("--expires-at {text}: not a time; write RFC 3339")))?,
        ),
    };
    let data = create.data.as_deref().unwrap_or(std::path::Path::new("flowmeter-data"));
    let new = NewKey { name: create.name.clone(), namespace: create.namespace.clone(), scopes: Scopes::of(&scopes), expires_at };
    let issued = key_offline(data, new, crate::clock::now())?;
    let mut shown: Value = serde_json::to_value(&issued.stored.key)?;
    shown["secret"] = json!(issued.text.into_text());
    failure::print(&table::one(shown.to_string().as_bytes(), form))
}
