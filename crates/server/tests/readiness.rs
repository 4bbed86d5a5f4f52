//! The conditions under which the server refuses events.

#![allow(clippy::unwrap_used, missing_docs)] // a failed test panics

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::Letter;
use flowmeter_engine::node::{Clock, Submission};
use flowmeter_node::installation::Installation;
use flowmeter_node::monitoring::readiness::Condition;
use flowmeter_node::refusal::RefusalKind;
use flowmeter_node::settings::{Flag, Layers, Settings};

/// A clock that only moves on demand.
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

fn opened(more: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Arc<Hands>, Arc<Installation>) {
    let folder = tempfile::tempdir().unwrap();
    let flags = vec![Flag::named("--data", "data", folder.path().to_string_lossy()), Flag::set("threads=1").unwrap()];
    let mut settings = Settings::read(&Layers { flags, ..Layers::default() }).unwrap();
    more(&mut settings);
    let clock = Arc::new(Hands(AtomicI64::new(1_700_000_000_000_000_000)));
    let (installation, _) = Installation::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    (folder, clock, installation)
}

#[test]
fn a_full_disk_is_a_condition_since_it_was_first_seen() {
    // No disk has room for a request of this size.
    let (_folder, clock, installation) = opened(|settings| settings.limits.decompressed_bytes_max = u64::MAX);
    let began = clock.now();
    for _ in 0..2 {
        let standing = installation.conditions();
        assert_eq!(standing.len(), 1, "{standing:?}");
        assert_eq!((standing[0].condition, standing[0].since), (Condition::DiskFull, began));
        assert_eq!(standing[0].condition.kind(), RefusalKind::DiskFull);
        clock.0.fetch_add(60_000_000_000, Ordering::SeqCst);
    }
    installation.close();
}

#[test]
fn full_meters_and_a_full_disk_are_two_conditions() {
    let (_folder, _clock, installation) = opened(|settings| {
        settings.limits.decompressed_bytes_max = u64::MAX;
        settings.meters_bytes = Some(0);
    });
    let standing: Vec<Condition> = installation.conditions().iter().map(|one| one.condition).collect();
    assert_eq!(standing, [Condition::DiskFull, Condition::MetersFull]);
    installation.close();
}

#[test]
fn a_server_that_takes_events_has_no_condition() {
    let (_folder, _clock, installation) = opened(|settings| settings.limits.decompressed_bytes_max = 1);
    assert_eq!(installation.conditions(), []);
    installation.close();
}

#[test]
fn a_clock_behind_the_log_is_a_condition() {
    const HOUR: i64 = 3_600_000_000_000;
    let (_folder, clock, installation) = opened(|settings| settings.limits.decompressed_bytes_max = 1);
    let mut letter = Vec::new();
    Letter::open("default", &[]).write_head(&mut letter);
    let head = letter.len();
    letter.extend_from_slice(b"{}\n");
    let (sender, receiver) = std::sync::mpsc::channel();
    let reply = Box::new(move |placed: Result<_, _>| sender.send(placed.is_ok()).unwrap());
    installation.put(Submission::events(head, letter, 1, &*clock, reply));
    assert!(receiver.recv().unwrap());
    clock.0.fetch_sub(HOUR / 2, Ordering::SeqCst);
    assert_eq!(installation.conditions(), [], "within clock.jump_max");
    clock.0.fetch_sub(HOUR, Ordering::SeqCst);
    let standing = installation.conditions();
    assert_eq!(standing.iter().map(|one| one.condition).collect::<Vec<_>>(), [Condition::ClockBehind]);
    assert!(standing[0].detail.contains("no period closes before that time"), "{}", standing[0].detail);
    clock.0.fetch_add(2 * HOUR, Ordering::SeqCst);
    assert_eq!(installation.conditions(), []);
    installation.close();
}
