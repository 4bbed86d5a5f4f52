//! Promises of the store and the running pipelines that the simulation once found broken, each by
//! itself on the simulated disk.

#![allow(clippy::unwrap_used)] // a test that cannot continue stops

use std::sync::Arc;

use flowmeter_engine::live::{Letter, Live};
use flowmeter_store::disk::Disk;
use flowmeter_store::log::{self, Encoded, EntryKind, Log};
use sim::disk::{Faults, SimDisk};
use sim::documents::plan_of;
use sim::node::{Layout, NAMESPACE};
use sim::random::Random;

const LAYOUT: Layout = Layout { partitions: 2, segment_bytes: 900, outlet_bytes: 700, identities_bytes: 0 };

fn open(disk: &SimDisk) -> Result<Log, flowmeter_store::Error> {
    let settings = log::Settings { segment_bytes: 900, reserve_bytes: 0 };
    Log::open(Arc::new(disk.clone()), "log", settings).map(|(log, _)| log)
}

fn fill(log: &mut Log, entries: u64) -> Result<(), flowmeter_store::Error> {
    for n in 0..entries {
        log.append(&Encoded::new(EntryKind::Events, n as i64, 3, format!("entry {n}").as_bytes()))?;
        log.commit()?;
    }
    Ok(())
}

/// Data that a killed program left in the machine's memory must be made durable before it is used:
/// the name of a segment as well as its content.
#[test]
fn entries_that_were_read_once_survive_a_loss_of_power() {
    for seed in 0..400 {
        let disk = SimDisk::new(Random::new(seed));
        disk.set_faults(Faults { crash_in: Some(seed % 100), ..Faults::default() });
        drop(open(&disk).and_then(|mut log| fill(&mut log, 40)));
        disk.restart();
        let shown = open(&disk).unwrap().next();
        disk.lose_power();
        assert_eq!(open(&disk).unwrap().next(), shown, "seed {seed}");
    }
}

#[test]
fn entries_that_a_full_disk_refused_are_not_counted() {
    let disk = SimDisk::new(Random::new(1));
    let mut log = open(&disk).unwrap();
    fill(&mut log, 4).unwrap();
    for _ in 0..8 {
        disk.set_faults(Faults { full_for: 1, ..Faults::default() });
        log.append(&Encoded::new(EntryKind::Events, 9, 5, b"refused")).unwrap();
        assert_eq!(log.commit().unwrap_err().kind, flowmeter_store::Kind::Full);
        assert_eq!((log.next(), log.items()), (4, 12));
    }
    disk.set_faults(Faults::default());
    fill(&mut log, 2).unwrap();
    drop(log);
    disk.lose_power();
    assert_eq!(open(&disk).unwrap().items(), 18);
}

#[test]
fn segments_that_were_let_go_of_leave_no_gap() {
    for seed in 0..100 {
        let disk = SimDisk::new(Random::new(seed));
        let mut log = open(&disk).unwrap();
        fill(&mut log, 60).unwrap();
        disk.set_faults(Faults { crash_in: Some(seed % 12), ..Faults::default() });
        drop(log.release(50));
        disk.lose_power();
        let log = open(&disk).unwrap();
        let mut reader = log.reader(log.first()).unwrap();
        let mut there = log.first();
        while reader.read().unwrap().is_some() {
            there += 1;
        }
        assert_eq!(there, 60, "seed {seed}");
    }
}

/// Returns the log of a pipeline that counted events of some letters, with two checkpoints.
fn lived(disk: &SimDisk) -> Log {
    let mut log = LAYOUT.open_log(disk).unwrap();
    let mut live = LAYOUT.open_live(disk, 0, (0, 0), 0, None).unwrap();
    for round in 0..3 {
        for n in 0..40 {
            let line = format!(
                r#"{{"id":"{round}-{n}","source":"s","subject":"u{}","data":{{"kind":"use","n":1,"region":"north"}}}}"#,
                n % 5
            );
            let mut bytes = Vec::new();
            Letter::open(NAMESPACE, line.as_bytes()).write_to(&mut bytes);
            log.append(&Encoded::new(EntryKind::Events, 1, 1, &bytes)).unwrap();
        }
        log.commit().unwrap();
        take_all(&mut live, &log);
        if round < 2 {
            live.checkpoint().unwrap();
        }
    }
    log
}

fn take_all(live: &mut Live, log: &Log) {
    let mut reader = log.reader(live.position()).unwrap();
    while let Some(entry) = reader.read().unwrap() {
        live.take(&[Arc::new(entry)], &|version| plan_of(0, version)).unwrap();
    }
}

fn checkpoints(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".ckpt")).collect()
}

#[test]
fn the_checkpoint_before_the_newest_can_be_gone_on_from_after_any_number_of_restarts() {
    for restarts in 0..3 {
        let disk = SimDisk::new(Random::new(restarts));
        let log = lived(&disk);
        for _ in 0..restarts {
            disk.restart();
            let mut live = LAYOUT.open_live(&disk, 0, (0, 0), log.next(), None).unwrap();
            // Nothing was counted since: no checkpoint replaces the previous one.
            live.checkpoint().unwrap();
        }
        let newest = checkpoints(&disk).pop().unwrap();
        disk.flip(|name| name == newest).unwrap();
        let mut live = LAYOUT.open_live(&disk, 0, (0, 0), log.next(), None).unwrap();
        assert_eq!(live.position(), 40);
        take_all(&mut live, &log);
        assert_eq!((live.tally().counted, live.tally().duplicate), (120, 0));
        // The damaged one does not come back.
        live.checkpoint().unwrap();
        disk.lose_power();
        let live = LAYOUT.open_live(&disk, 0, (0, 0), log.next(), None).unwrap();
        assert_eq!((live.position(), live.tally().counted), (120, 120));
    }
}

#[test]
fn files_of_identities_that_only_an_old_checkpoint_named_go_with_it() {
    let disk = SimDisk::new(Random::new(7));
    let log = lived(&disk);
    let mut live = LAYOUT.open_live(&disk, 0, (0, 0), log.next(), None).unwrap();
    take_all(&mut live, &log);
    for _ in 0..2 {
        live.checkpoint().unwrap();
    }
    drop(live);
    let runs = || disk.names().into_iter().filter(|name| name.ends_with(".run")).collect::<Vec<_>>();
    let before = runs();
    // Opening removes files that no checkpoint names: there are none.
    drop(LAYOUT.open_live(&disk, 0, (0, 0), log.next(), None).unwrap());
    assert_eq!(runs(), before);
}

#[test]
fn missing_verdicts_are_reported() {
    let disk = SimDisk::new(Random::new(3));
    let log = lived(&disk);
    let last = disk.names().into_iter().rfind(|name| name.contains("/verdicts/")).unwrap();
    let first = disk.names().into_iter().find(|name| name.contains("/verdicts/")).unwrap();
    for name in [last, first] {
        disk.open(&name).unwrap().truncate(33).unwrap();
    }
    let why = LAYOUT.open_live(&disk, 0, (0, 0), log.next(), None).err().unwrap();
    assert_eq!(why.kind, flowmeter_engine::Kind::Corrupt, "{why}");
}
