//! Tests of an index: against a list of all pairs, after merges, restarts and damage.

use std::sync::Arc;

use super::*;
use crate::disk::{Disk, LocalDisk};

fn spot(entry: u64) -> Spot {
    Spot { segment: entry / 100 * 100, offset: entry % 100 * 20_000, position: entry }
}

/// Adds entries of ten items with two keys each.
fn fill(index: &mut Index, until: u64) {
    while index.next() < until {
        let first = index.next();
        let pairs: Vec<Pair> = (first..first + 10).flat_map(|number| [(number % 977, number), (number << 40, number)]).collect();
        index.add(spot(first / 10), first, &pairs, first + 10);
        if index.is_full() {
            index.write().unwrap();
        }
        while first.is_multiple_of(5000)
            && let Some(merging) = index.mergeable()
        {
            index.merged(merging.run().unwrap()).unwrap();
        }
    }
}

fn check(index: &Index, until: u64) {
    for key in [0, 5, 976] {
        let expected: Vec<u64> = (0..until).filter(|number| number % 977 == key || number << 40 == key).collect();
        let mut found = index.numbers(key).unwrap();
        found.dedup();
        assert_eq!(found, expected, "{key}");
    }
    for number in [1, 17, until / 2, until - 1] {
        assert_eq!(index.numbers(number << 40).unwrap(), [number]);
        let spot = index.spot(number).unwrap();
        assert!(spot.position <= number / 10 && spot.position + 3 >= number / 10, "{number}: {spot:?}");
    }
    assert!(index.numbers(978).unwrap().is_empty());
}

#[test]
fn numbers_are_found_after_merges_restarts_and_damage() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder.path()).unwrap());
    let open = || Index::open(Arc::clone(&disk), "index").unwrap();
    let mut index = open();
    let count = 700_000;
    fill(&mut index, count);
    check(&index, count);
    assert!(index.runs.len() < 5, "{} files", index.runs.len());
    drop(index);
    // Items that were in memory are added again.
    let mut index = open();
    assert!(index.next() > count / 2 && index.next() < count);
    fill(&mut index, count);
    check(&index, count);
    // A damaged file is written again, and so are those behind it.
    let name = index.runs[0].name().to_owned();
    drop(index);
    let mut file = disk.open(&name).unwrap();
    file.append(b"x").unwrap();
    let mut index = open();
    assert_eq!(index.next(), 0);
    fill(&mut index, count);
    check(&index, count);
    let mut index = open();
    let first_end = index.runs[0].until();
    index.release(first_end).unwrap();
    assert!(index.numbers(1 << 40).unwrap().is_empty());
    assert_eq!(index.numbers(first_end << 40).unwrap().len(), usize::from(index.next() > first_end));
    index.begin_again(70).unwrap();
    assert_eq!((index.from(), index.next(), index.numbers(5).unwrap()), (70, 70, Vec::<u64>::new()));
}

#[test]
fn a_damaged_block_is_reported_by_lookups_and_merges() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder.path()).unwrap());
    let mut index = Index::open(Arc::clone(&disk), "index").unwrap();
    for first in (0..40_000).step_by(10) {
        let pairs: Vec<Pair> = (first..first + 10).map(|number| (number << 40, number)).collect();
        index.add(spot(first / 10), first, &pairs, first + 10);
        if first == 20_000 {
            index.write().unwrap();
        }
    }
    index.write().unwrap();
    let name = folder.path().join(index.runs[0].name());
    let mut bytes = std::fs::read(&name).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&name, bytes).unwrap();
    let mut index = Index::open(Arc::clone(&disk), "index").unwrap();
    assert_eq!(index.numbers(5 << 40).unwrap_err().kind, crate::Kind::Corrupt);
    assert_eq!(index.numbers(30_000 << 40).unwrap(), [30_000], "other blocks are whole");
    let merging = index.mergeable().unwrap();
    assert_eq!(merging.run().err().unwrap().kind, crate::Kind::Corrupt);
    index.begin_again(0).unwrap();
    assert!(disk.list("index").unwrap().iter().all(|name| name.ends_with(".new")));
}
