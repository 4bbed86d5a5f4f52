//! The rows of the catalog, each read as the type of its table.

use flowmeter_engine::Error;
use flowmeter_engine::outbox::{Delivery, Marks};
use flowmeter_store::catalog::{Catalog, Table};
use serde::de::DeserializeOwned;

use crate::answers::StoredAnswer;
use crate::audit::AuditEntry;
use crate::corrections::Outcome;
use crate::installation::CATALOG_FILE;
use crate::jobs::Job;
use crate::keys::StoredKey;
use crate::meter_types::KeptMeterType;
use crate::notifications::Notification;
use crate::notifications::notice::{ChannelState, Notice};
use crate::openmeter::meter::KeptMeter;
use crate::openmeter::subjects::KeptSubject;
use crate::pipelines::{KeptPipeline, KeptVersion};
use crate::sessions::{KeptSession, SessionEvent};
use crate::settings::InForce;
use crate::tables::KeptTable;
use crate::trials::test_data::TestData;

/// Reads every row. Returns a sentence for each that is not what its table holds.
pub(crate) fn examine(catalog: &dyn Catalog) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    for table in Table::ALL {
        for (key, value) in catalog.scan(table, b"", None, usize::MAX)? {
            if let Err(why) = read(table, &value) {
                let key = String::from_utf8_lossy(&key).escape_debug().to_string();
                wrong.push(format!("{CATALOG_FILE}: {table:?}: the row `{key}`: {why}"));
            }
        }
    }
    Ok(wrong)
}

fn read(table: Table, value: &[u8]) -> Result<(), String> {
    match table {
        Table::Counters => bytes(value, 8),
        Table::NoticesWaiting | Table::EventsOfSessions => bytes(value, 0),
        Table::Pipelines => json::<KeptPipeline>(value).map(drop),
        Table::Versions => {
            let version = json::<KeptVersion>(value)?;
            version.compile().map(drop).map_err(|why| why.to_string())
        }
        Table::MeterTypes => json::<KeptMeterType>(value).map(drop),
        Table::Tables => json::<KeptTable>(value).map(drop),
        Table::Jobs => json::<Job>(value).map(drop),
        Table::Settings => json::<InForce>(value).map(drop),
        Table::Slugs => json::<KeptMeter>(value).map(drop),
        Table::Sessions => json::<KeptSession>(value).map(drop),
        Table::SessionEvents => json::<SessionEvent>(value).map(drop),
        Table::Corrections => json::<Outcome>(value).map(drop),
        Table::Keys => json::<StoredKey>(value).map(drop),
        Table::Audit => json::<AuditEntry>(value).map(drop),
        Table::Answers => json::<StoredAnswer>(value).map(drop),
        Table::Cursors => json::<Marks>(value).map(drop),
        Table::Deliveries => json::<Delivery>(value).map(drop),
        Table::Notifications => json::<Notification>(value).map(drop),
        Table::Notices => json::<Notice>(value).map(drop),
        Table::Channels => json::<ChannelState>(value).map(drop),
        Table::TestData => json::<TestData>(value).map(drop),
        Table::Subjects => json::<KeptSubject>(value).map(drop),
        Table::BrowserSessions => json::<crate::keys::browsers::BrowserSession>(value).map(drop),
        Table::History => match crate::monitoring::history::is_sample(value) {
            true => Ok(()),
            false => Err(format!("it has {} bytes, which is no sample", value.len())),
        },
    }
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|why| why.to_string())
}

fn bytes(value: &[u8], expected: usize) -> Result<(), String> {
    match value.len() == expected {
        true => Ok(()),
        false => Err(format!("it has {} bytes, not {expected}", value.len())),
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_store::catalog::Change;

    use flowmeter_store::catalog::LocalCatalog;

    use super::*;

    #[test]
    fn a_row_that_is_not_of_its_table_is_reported_with_its_key() {
        let catalog = LocalCatalog::in_memory().unwrap();
        assert_eq!(examine(&catalog).unwrap(), Vec::<String>::new());
        let tables = Table::ALL.into_iter().filter(|table| *table != Table::NoticesWaiting);
        let wrong = |table| Change::Put(table, b"a key".to_vec(), b"{}x".to_vec());
        catalog.commit(&tables.map(wrong).collect::<Vec<_>>()).unwrap();
        let told = examine(&catalog).unwrap();
        assert_eq!(told.len(), Table::ALL.len() - 1, "{told:?}");
        assert!(told.iter().all(|one| one.contains("`a key`")), "{told:?}");
    }
}
