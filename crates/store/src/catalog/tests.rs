//! Tests of the catalog, on disks that fail as well.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// A file in memory. A call fails after it was done, once some others were.
#[derive(Clone, Debug)]
struct Failing {
    bytes: Arc<Mutex<Vec<u8>>>,
    calls_left: Arc<AtomicI64>,
}

impl Failing {
    fn gate(&self) -> io::Result<()> {
        match self.calls_left.fetch_sub(1, Ordering::Relaxed) {
            0 => Err(io::Error::other("the disk failed")),
            _ => Ok(()),
        }
    }
}

impl redb::StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..offset as usize + out.len()]);
        self.gate()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().resize(len as usize, 0);
        self.gate()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.lock().unwrap()[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        self.gate()
    }
}

#[test]
fn a_commit_that_failed_has_no_effect_though_it_is_in_the_file() {
    let put = |key: &str, value: &str| Change::Put(Table::Sessions, key.into(), value.into());
    let (mut failed, mut in_doubt) = (0, 0);
    for calls in 0..60 {
        let backend = Failing { bytes: Arc::default(), calls_left: Arc::new(AtomicI64::new(i64::MAX)) };
        let opened = backend.clone();
        let catalog = LocalCatalog::with_backend(move || opened.clone()).unwrap();
        catalog.commit(&[put("1", "old"), put("2", "gone")]).unwrap();
        backend.calls_left.store(calls, Ordering::Relaxed);
        let twice = [put("1", "newer"), put("1", "newest"), put("3", "new"), Change::Remove(Table::Sessions, b"2".to_vec())];
        let done = catalog.commit(&twice);
        failed += u32::from(done.is_err());
        in_doubt += u32::from(catalog.is_in_doubt());
        let rows = catalog.scan(Table::Sessions, b"", None, 9).unwrap_or_default();
        let rows = if rows.is_empty() { catalog.scan(Table::Sessions, b"", None, 9).unwrap() } else { rows };
        let values: Vec<&[u8]> = rows.iter().map(|(_, value)| value.as_slice()).collect();
        let expected: [&[u8]; 2] = if done.is_ok() { [b"newest", b"new"] } else { [b"old", b"gone"] };
        assert_eq!(values, expected, "call {calls} fails: {done:?}");
        assert!(!catalog.is_in_doubt());
    }
    assert!(failed > 3 && in_doubt > 1, "{failed} commits failed, {in_doubt} were in doubt");
}

#[test]
fn committed_changes_are_stored_and_lists_are_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.redb");
    let catalog = LocalCatalog::open(&file).unwrap();
    let put = |key: &str, value: &str| Change::Put(Table::MeterTypes, key.into(), value.into());
    catalog.commit(&[put("a/2", "two"), put("a/1", "one"), put("b/1", "other")]).unwrap();
    catalog.commit(&[Change::Remove(Table::MeterTypes, b"a/9".to_vec()), count_to(b"n", 7)]).unwrap();
    drop(catalog);
    let catalog = LocalCatalog::open(&file).unwrap();
    let keys =
        |found: Vec<(Vec<u8>, Vec<u8>)>| found.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect::<Vec<_>>();
    assert_eq!(keys(catalog.scan(Table::MeterTypes, b"a/", None, 9).unwrap()), ["a/1", "a/2"]);
    assert_eq!(keys(catalog.scan(Table::MeterTypes, b"a/", Some(b"a/1"), 9).unwrap()), ["a/2"]);
    assert_eq!(keys(catalog.scan(Table::MeterTypes, b"", None, 2).unwrap()), ["a/1", "a/2"]);
    assert_eq!(keys(catalog.scan_back(Table::MeterTypes, b"a/", None, 1).unwrap()), ["a/2"]);
    assert_eq!(keys(catalog.scan_back(Table::MeterTypes, b"a/", Some(b"a/2"), 9).unwrap()), ["a/1"]);
    assert_eq!(catalog.get(Table::MeterTypes, b"a/1").unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!((catalog.counter(b"n").unwrap(), catalog.counter(b"m").unwrap()), (7, 0));
}

#[test]
fn changes_are_made_only_if_rows_are_as_they_were_read() {
    let catalog = LocalCatalog::in_memory().unwrap();
    let put = |value: &[u8]| [Change::Put(Table::Keys, b"k".to_vec(), value.to_vec())];
    let read = |value: Option<&[u8]>| [Condition { table: Table::Keys, key: b"k".to_vec(), value: value.map(<[u8]>::to_vec) }];
    assert_eq!(catalog.commit_if(&put(b"1"), &read(None)).unwrap(), Committed::Made);
    assert_eq!(catalog.commit_if(&put(b"2"), &read(None)).unwrap(), Committed::Refused);
    assert_eq!(catalog.commit_if(&put(b"2"), &read(Some(b"0"))).unwrap(), Committed::Refused);
    assert_eq!(catalog.get(Table::Keys, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(catalog.commit_if(&put(b"2"), &read(Some(b"1"))).unwrap(), Committed::Made);
    assert_eq!(catalog.get(Table::Keys, b"k").unwrap().as_deref(), Some(&b"2"[..]));
}
