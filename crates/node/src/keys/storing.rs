//! Keys in the catalog: stored together with the entries of the audit, or not at all.

use flowmeter_store::catalog::Table;
use serde_json::{Value, json};

use super::StoredKey;
use crate::audit::Who;
use crate::change::ChangeSet;
use crate::installation::Installation;
use crate::refusal::{Refused, refusal_of};
use crate::rows::put;

impl Installation {
    /// Stores keys, each with its action in the audit: all of them or none.
    pub fn store_keys(&self, who: &Who, keys: &[(&str, &StoredKey)]) -> Result<(), Refused> {
        let _change = self.begin_change()?;
        let mut set = ChangeSet::default();
        for (action, stored) in keys {
            let key = &stored.key;
            set.rows.push(put(Table::Keys, key.id.to_string().into_bytes(), stored));
            // A key without its secret: salt and hash are not part of it.
            let after = serde_json::to_value(key).unwrap_or_else(|_| json!({"id": key.id}));
            let audited = self.audit_in(&mut set, who, action, &key.name, (Value::Null, after));
            audited.map_err(|why| refusal_of(&why))?;
        }
        self.make_change(set).map(drop)
    }
}
