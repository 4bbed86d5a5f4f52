//! Runs many histories on two threads: first the seeds that once failed, then the others.
//! `FLOWMETER_SEEDS=A..B` chooses others.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of the default run: some 70 ms of work each.
const SEEDS: std::ops::Range<u64> = 0..1200;

#[test]
fn histories_are_sound() {
    let chosen = std::env::var("FLOWMETER_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let seeds: Vec<u64> = numbers(include_str!("../seeds.txt")).chain(chosen.unwrap_or(SEEDS)).collect();
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            failed.extend(sim::run(*seed, sim::STEPS, false).err());
        }
        failed
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|_| vec!["a thread ended".to_owned()])).collect()
    });
    assert!(failed.is_empty(), "{} histories are not sound; the first:\n{}", failed.len(), failed[0]);
}

/// Returns the number at the beginning of each line; what follows is its story.
fn numbers(lines: &str) -> impl Iterator<Item = u64> {
    lines.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

/// Seeds of whole servers in the default run: some 250 ms of work each.
const SERVER_SEEDS: std::ops::Range<u64> = 0..100;

#[test]
fn histories_of_a_server_are_sound() {
    let seeds: Vec<u64> = numbers(include_str!("../server_seeds.txt")).chain(SERVER_SEEDS).collect();
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            failed.extend(sim::run_server(*seed, false).err());
        }
        failed
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|_| vec!["a thread ended".to_owned()])).collect()
    });
    assert!(failed.is_empty(), "{} histories are not sound; the first:\n{}", failed.len(), failed[0]);
}

#[test]
fn a_seed_makes_the_same_history_every_time() {
    for seed in 0..5 {
        assert_eq!(sim::run(seed, sim::STEPS, false), sim::run(seed, sim::STEPS, false));
    }
}
