//! A key made while no server runs: the first one, with which the others are made.

use std::path::Path;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::catalog::{Catalog, Change, LocalCatalog, Table, key_of};
use serde_json::{Value, json};

use crate::audit;
use crate::audit::AuditEntry;
use crate::installation::CATALOG_FILE;
use crate::keys::{Issued, NewKey, issue};
use crate::rows::{put, to_keep};

/// Makes a key in a data directory. The directory's lock is the catalog's: while a server
/// uses it, this is refused, and the key is to be made through the server.
///
/// # Errors
/// A wish that makes no sense, a directory that cannot be used, or is in use.
pub fn key_offline(data: &Path, new: NewKey, now: Timestamp) -> Result<Issued, Error> {
    let namespace = new.namespace.clone();
    let issued = issue(new, now).map_err(|why| Error::new(Kind::Invalid, why.to_string()))?;
    std::fs::create_dir_all(data).map_err(|why| Error::io(data.display(), &why))?;
    let catalog = LocalCatalog::open(&data.join(CATALOG_FILE)).map_err(|why| {
        let advice = "if a server uses the folder, make the key through it: leave --data out";
        Error::new(Kind::Unavailable, format!("{why}; {advice}"))
    })?;
    let key = &issued.stored.key;
    let number = audit::next_number(&catalog)?;
    let entry = AuditEntry {
        number,
        at: Timestamp::to_string(&now),
        who: "offline".to_owned(),
        namespace,
        action: "key.create".to_owned(),
        object: key.name.clone(),
        before: Value::Null.into(),
        after: json!({"id": key.id}).into(),
        reason: None,
        request_id: None,
        via: None,
    };
    catalog.commit(&[
        Change::Put(Table::Keys, key.id.to_string().into_bytes(), to_keep(&issued.stored)),
        put(Table::Audit, key_of(number), &entry),
    ])?;
    Ok(issued)
}
