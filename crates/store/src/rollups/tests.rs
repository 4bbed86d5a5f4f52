//! Compares rollups with a list of events that is counted again for every query, with so little
//! memory that runs are written and merged all the time.

mod counting;
mod flaky;
mod top;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flowmeter_core::decimal::Decimal;
use flowmeter_core::image::{Glass, Pen};
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::disk::LocalDisk;
use counting::{ALL, Event, events, expected, lines, meter_type, questions};
use flaky::{Flaky, Fuse};

const TINY: Settings = Settings { memory_bytes: 12_000 };
fn folder() -> (tempfile::TempDir, Arc<dyn Disk>) {
    let folder = tempfile::tempdir().unwrap();
    let disk = LocalDisk::new(folder.path()).unwrap();
    (folder, Arc::new(disk))
}

/// Adds events, and merges whenever that is due.
fn add(rollups: &mut Rollups, events: &[Event]) {
    for batch in events.chunks(50) {
        add_only(rollups, batch);
        if let Some(merge) = rollups.merge(None) {
            rollups.adopt(merge.run().unwrap());
        }
    }
}

fn add_only(rollups: &mut Rollups, events: &[Event]) {
    let names = [Path::of(&["plan"]), Path::of(&["data", "region"])];
    let turned = [names[1].clone(), names[0].clone()];
    for (n, event) in events.iter().enumerate() {
        rollups.make_room().unwrap();
        let [plan, region] = event.leaves();
        let tuple = match n % 2 {
            0 => rollups.tuple(&names, [plan, region].into_iter()),
            _ => rollups.tuple(&turned, [region, plan].into_iter()),
        };
        for aggregation in ALL {
            let user = event.user.as_bytes();
            rollups.add(meter_type(aggregation), aggregation, user, xxh3_64(user), tuple, &event.contribution());
        }
    }
}

#[track_caller]
fn check(rollups: &Rollups, events: &[Event]) {
    for aggregation in ALL {
        for query in questions(aggregation) {
            let rows = rollups.query(query.clone()).unwrap();
            assert_eq!(lines(&rows), expected(&query, aggregation, events), "{query:?}");
        }
    }
}

fn through_bytes(manifest: &Manifest) -> Manifest {
    let mut pen = Pen::default();
    manifest.write_to(&mut pen);
    let mut glass = Glass::new(&pen.bytes);
    let read = Manifest::read(&mut glass).unwrap();
    assert!(glass.is_at_end());
    (0..pen.bytes.len()).for_each(|cut| assert!(Manifest::read(&mut Glass::new(&pen.bytes[..cut])).is_err()));
    read
}

#[test]
fn every_question_is_answered_as_by_counting() {
    let (_folder, disk) = folder();
    let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &Manifest::default(), TINY).unwrap();
    let events = events(1_500, 1);
    for (n, batch) in events.chunks(500).enumerate() {
        add(&mut rollups, batch);
        check(&rollups, &events[..(n + 1) * 500]);
    }
    assert!(rollups.next > 40, "{} runs were written", rollups.next);
    let manifest = rollups.seal().unwrap();
    assert!(manifest.runs() < 40 && manifest.cells() > 0 && manifest.bytes() > 0);
    check(&rollups, &events);
    rollups.retire(&[&manifest]).unwrap();
    assert_eq!(disk.list("rollups").unwrap().len(), manifest.runs());
    let reopened = Rollups::open(disk, "rollups", &through_bytes(&manifest), TINY).unwrap();
    check(&reopened, &events);
    assert_eq!(reopened.subjects(meter_type(Aggregation::Sum)).unwrap().len(), 7);
    assert_eq!(reopened.values_of(meter_type(Aggregation::Latest), "plan").unwrap(), ["a,b:\"c", "free", "pro"]);
    assert!(reopened.subjects(Uuid::nil()).unwrap().is_empty());
}

#[test]
fn a_crash_at_any_time_loses_nothing_and_counts_nothing_twice() {
    let (_folder, disk) = folder();
    let events = events(400, 2);
    let mut manifest = Manifest::default();
    let mut durable = 0;
    for crash in [30, 90, 91, 180, 250, 330, 400] {
        let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &manifest, TINY).unwrap();
        // Events after the checkpoint are added again.
        add(&mut rollups, &events[durable..crash]);
        let sealed = rollups.seal().unwrap();
        match crash % 20 {
            // The manifest did not become durable.
            10 => {}
            _ => {
                manifest = through_bytes(&sealed);
                durable = crash;
                rollups.retire(&[&manifest]).unwrap();
            }
        }
        disk.create("rollups/00000000000000ff.rollup.new").unwrap();
        drop(rollups);
        let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &manifest, TINY).unwrap();
        check(&rollups, &events[..durable]);
        assert!(rollups.sweep().unwrap() > 0);
        assert_eq!(disk.list("rollups").unwrap().len(), manifest.runs());
    }
    assert_eq!(durable, 400);
}

#[test]
fn files_of_a_durable_manifest_stay() {
    let (_folder, disk) = folder();
    let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &Manifest::default(), TINY).unwrap();
    let events = events(60, 3);
    let mut manifests = Vec::new();
    for batch in events.chunks(5) {
        add_only(&mut rollups, batch);
        manifests.push(rollups.seal().unwrap());
    }
    let asked = rollups.snapshot(Query::of(meter_type(Aggregation::Sum), Aggregation::Sum)).unwrap();
    let merge = rollups.merge(None).unwrap();
    assert!(rollups.merge(None).is_none(), "one at a time");
    assert_eq!(rollups.sweep().unwrap(), 0);
    rollups.adopt(merge.run().unwrap());
    let last = manifests.last().unwrap();
    // The durable manifest names them: `retire` and `sweep` keep them.
    assert_eq!(rollups.retire(&[last]).unwrap() + rollups.sweep().unwrap(), 0);
    check(&Rollups::open(Arc::clone(&disk), "rollups", last, TINY).unwrap(), &events);
    let newer = rollups.seal().unwrap();
    assert!(newer.runs() < last.runs());
    assert!(rollups.retire(&[&newer]).unwrap() >= merge::FAN_IN);
    check(&rollups, &events);
    // A query that began before still finds its runs.
    assert_eq!(asked.answer().unwrap().into_rows()[0].event_count, 60);
}

#[test]
fn partitions_add_up() {
    let (_folder, disk) = folder();
    let events = events(300, 4);
    let mine = |part: usize| -> Vec<Event> {
        events.iter().filter(|event| event.user.as_bytes()[5] as usize % 3 == part).cloned().collect()
    };
    let parts: Vec<Rollups> = (0..3)
        .map(|part| {
            let mut rollups = Rollups::open(Arc::clone(&disk), &format!("part-{part}"), &Manifest::default(), TINY).unwrap();
            add(&mut rollups, &mine(part));
            rollups
        })
        .collect();
    for aggregation in ALL {
        for query in questions(aggregation) {
            let ask = |part: &Rollups| part.snapshot(query.clone()).unwrap().answer().unwrap();
            let mut whole = ask(&parts[2]);
            whole.merge(ask(&parts[0])).unwrap();
            whole.merge(ask(&parts[1])).unwrap();
            assert_eq!(lines(&whole.into_rows()), expected(&query, aggregation, &events), "{query:?}");
        }
    }
}

#[test]
fn a_forgotten_meter_type_is_invisible_and_may_be_used_again() {
    let (_folder, disk) = folder();
    let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &Manifest::default(), TINY).unwrap();
    let events = events(200, 5);
    let sum = || Query::of(meter_type(Aggregation::Sum), Aggregation::Sum);
    let max = || Query::of(meter_type(Aggregation::Max), Aggregation::Max);
    add(&mut rollups, &events[..100]);
    let merge = rollups.merge(None);
    rollups.forget(meter_type(Aggregation::Sum));
    merge.into_iter().for_each(|merge| rollups.adopt(merge.run().unwrap()));
    assert!(rollups.query(sum()).unwrap().is_empty());
    assert_eq!(lines(&rollups.query(max()).unwrap()), expected(&max(), Aggregation::Max, &events[..100]));
    add(&mut rollups, &events[100..]);
    assert_eq!(lines(&rollups.query(sum()).unwrap()), expected(&sum(), Aggregation::Sum, &events[100..]));
    let manifest = through_bytes(&rollups.seal().unwrap());
    let mut rollups = Rollups::open(disk, "rollups", &manifest, TINY).unwrap();
    assert_eq!(lines(&rollups.query(sum()).unwrap()), expected(&sum(), Aggregation::Sum, &events[100..]));
    ALL.map(meter_type).into_iter().for_each(|gone| rollups.forget(gone));
    while let Some(merge) = rollups.merge(None) {
        rollups.adopt(merge.run().unwrap());
    }
    assert!(rollups.query(max()).unwrap().is_empty());
}

#[test]
fn hours_hold_what_their_minutes_held() {
    let (_folder, disk) = folder();
    let mut rollups = Rollups::open(disk, "rollups", &Manifest::default(), TINY).unwrap();
    let few = |event: Event| Event { user: "user-1".to_owned(), plan: None, ..event };
    let events: Vec<Event> = events(800, 6).into_iter().map(few).collect();
    let before = Timestamp::parse_rfc3339(b"2024-03-31T10:30:00Z").unwrap();
    let mut fewer = 0;
    for batch in events.chunks(20) {
        add_only(&mut rollups, batch);
        let cells = rollups.seal().unwrap().cells();
        while let Some(merge) = rollups.merge(Some(before)) {
            rollups.adopt(merge.run().unwrap());
        }
        fewer += cells - rollups.seal().unwrap().cells();
    }
    assert!(fewer > 100);
    for aggregation in ALL {
        let questions = questions(aggregation).into_iter().filter(|query| {
            let size = query.window.as_ref().map(|window| window.size);
            matches!(size, Some(WindowSize::Day | WindowSize::Month | WindowSize::Hour)) && query.filter.is_empty()
        });
        for query in questions {
            let rows = rollups.query(query.clone()).unwrap();
            assert_eq!(lines(&rows), expected(&query, aggregation, &events), "{query:?}");
        }
    }
}

#[test]
fn every_damaged_byte_is_reported_with_the_name_of_the_file() {
    let (folder, disk) = folder();
    let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &Manifest::default(), Settings::default()).unwrap();
    add(&mut rollups, &events(12, 7));
    let manifest = rollups.seal().unwrap();
    drop(rollups);
    let path = folder.path().join("rollups").join(run::file_name(0));
    let whole = std::fs::read(&path).unwrap();
    let ask = || -> Result<(), Error> {
        let rollups = Rollups::open(Arc::clone(&disk), "rollups", &manifest, TINY)?;
        ALL.into_iter().try_for_each(|aggregation| rollups.query(Query::of(meter_type(aggregation), aggregation)).map(|_| ()))
    };
    ask().unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let why = ask().expect_err("damage is seen");
        assert!(matches!(why.kind, Kind::Corrupt | Kind::Format), "{why}");
        assert!(why.to_string().contains("rollups/0000000000000000.rollup"), "{why}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(ask().unwrap_err().kind, Kind::Corrupt);
}

#[test]
fn queries_without_an_answer_are_refused() {
    let (_folder, disk) = folder();
    let mut rollups = Rollups::open(disk, "rollups", &Manifest::default(), TINY).unwrap();
    let events = events(50, 8);
    add(&mut rollups, &events);
    let sum = Query::of(meter_type(Aggregation::Sum), Aggregation::Sum);
    let many = Query { rows_max: 6, group_by: vec![SUBJECT.to_owned()], ..sum.clone() };
    assert_eq!(rollups.query(Query { rows_max: 7, ..many.clone() }).unwrap().len(), 7);
    let why = rollups.query(many).unwrap_err();
    assert_eq!((why.kind, why.to_string().contains("more than 6 rows")), (Kind::Invalid, true));
    assert_eq!(rollups.query(Query::of(Uuid::nil(), Aggregation::Delta(Default::default()))).unwrap_err().kind, Kind::Invalid);
    // The cells have another aggregation: nothing was counted for this one.
    assert!(rollups.query(Query { aggregation: Some(Aggregation::Max), ..sum }).unwrap().is_empty());
}

#[test]
fn sums_out_of_range_lie_beside_each_other_until_they_cancel() {
    let (_folder, disk) = folder();
    let mut rollups = Rollups::open(disk, "rollups", &Manifest::default(), TINY).unwrap();
    let most: Decimal = "99999999999999999999".parse().unwrap();
    let sum = Aggregation::Sum;
    let mut one = |number: Decimal| {
        rollups.make_room().unwrap();
        let tuple = rollups.tuple(&[], std::iter::empty());
        let contribution = Contribution { number, fingerprint: 0, at: Timestamp::from_nanos(-1) };
        rollups.add(meter_type(sum), sum, b"u", 7, tuple, &contribution);
    };
    (0..100).for_each(|_| one(most));
    let query = Query::of(meter_type(sum), sum);
    let why = rollups.query(query.clone()).unwrap_err();
    assert_eq!(why.kind, Kind::Invalid, "{why}");
    let rows = rollups.query(Query { aggregation: None, ..query }).unwrap();
    assert_eq!((rows[0].event_count, rows[0].window_end), (100, Timestamp::from_nanos(0)));
}

#[test]
fn after_any_failure_of_the_disk_it_may_be_asked_again() {
    let events = events(40, 9);
    let query = Query { group_by: vec![SUBJECT.to_owned()], ..Query::of(meter_type(Aggregation::Avg), Aggregation::Avg) };
    let mut failures = 0;
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let fuse: Fuse = Arc::new(AtomicI64::new(i64::MAX));
        let disk: Arc<dyn Disk> = Arc::new(Flaky { disk: LocalDisk::new(folder.path()).unwrap(), fuse: Arc::clone(&fuse) });
        let roomy = Settings::default();
        let mut rollups = Rollups::open(Arc::clone(&disk), "rollups", &Manifest::default(), roomy).unwrap();
        fuse.store(step, Ordering::Relaxed);
        let failures_before = failures;
        for batch in events.chunks(4) {
            add_only(&mut rollups, batch);
            let sealed = rollups.seal();
            failures += usize::from(sealed.is_err());
            let manifest = sealed.or_else(|_| rollups.seal()).unwrap();
            let mut merge = || rollups.merge(None).map(Merge::run).transpose();
            let merged = merge();
            failures += usize::from(merged.is_err());
            merged.or_else(|_| merge()).unwrap().into_iter().for_each(|merged| rollups.adopt(merged));
            failures += usize::from(rollups.retire(&[&manifest]).is_err());
        }
        assert_eq!(lines(&rollups.query(query.clone()).unwrap()), expected(&query, Aggregation::Avg, &events), "step {step}");
        let manifest = rollups.seal().unwrap();
        rollups.retire(&[&manifest]).unwrap();
        rollups.sweep().unwrap();
        assert_eq!(disk.list("rollups").unwrap().len(), manifest.runs());
        if failures == failures_before {
            break;
        }
    }
    assert!(failures > 100, "{failures}");
}

#[test]
fn questions_and_merges_go_to_other_threads() {
    fn may_go<T: Send>() {}
    may_go::<Rollups>();
    may_go::<Snapshot>();
    may_go::<Partial>();
    may_go::<Merge>();
    may_go::<Merged>();
}
