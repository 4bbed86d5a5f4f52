//! Compares the answers with a list of everything seen, whatever was spilled, merged, sealed,
//! reopened or lost in between, and checks that damaged bytes give no answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::upkeep::RUNS_MAX;
use super::*;
use crate::disk::{Claims, File, LocalDisk};

const FOLDER: &str = "identities";
const TINY: Settings = Settings { memory_bytes: 0, merging: Merging::Paced };

/// A folder of the operating system that fails after a number of calls. Nothing is synced: no test
/// cuts the power, and thousands of small runs would wait for it.
struct Frail {
    disk: LocalDisk,
    calls_left: Arc<AtomicUsize>,
    _root: tempfile::TempDir,
}

struct FrailFile(Box<dyn File>, Arc<AtomicUsize>);

fn spend(left: &AtomicUsize) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::other("worn out"))
}

impl Frail {
    fn new(calls: usize) -> Arc<Frail> {
        let root = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(root.path()).unwrap();
        Arc::new(Frail { disk, calls_left: Arc::new(AtomicUsize::new(calls)), _root: root })
    }

    fn sound() -> Arc<Frail> {
        Frail::new(usize::MAX)
    }

    fn file(&self, file: io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        spend(&self.calls_left)?;
        Ok(Box::new(FrailFile(file?, Arc::clone(&self.calls_left))))
    }

    fn files(&self) -> Vec<String> {
        self.disk.list(FOLDER).unwrap()
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.disk.root().join(FOLDER).join(file)
    }
}

impl Disk for Frail {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.file(self.disk.create(name))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.file(self.disk.open(name))
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        spend(&self.calls_left).and_then(|()| self.disk.rename(from, to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.create_folder(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.list(folder).and_then(|_| spend(&self.calls_left))
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn claims(&self) -> Claims {
        self.disk.claims()
    }
}

impl File for FrailFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        spend(&self.1).and_then(|()| self.0.append(bytes))
    }
    fn sync(&mut self) -> io::Result<()> {
        spend(&self.1)
    }
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        spend(&self.1).and_then(|()| self.0.read_at(bytes, at))
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
}

/// Everything seen so far.
#[derive(Clone, Default)]
struct Oracle(BTreeMap<u128, Vec<i64>>);

impl Oracle {
    fn admit(&mut self, identities: &[Identity], window: Option<i64>) -> Vec<u32> {
        let is_duplicate = |identity: &&Identity| {
            let known = self.0.entry(identity.fingerprint).or_default();
            let at = identity.at.nanos().max(i64::MIN + 1);
            let found = known.iter().any(|known| window.is_none_or(|window| known.abs_diff(at) < window as u64));
            if !found {
                known.push(at);
            }
            found
        };
        identities.iter().filter(is_duplicate).map(|identity| identity.place).collect()
    }
}

/// Realistic events: hashes of recurring numbers, with drifting times.
struct Events(u64);

impl Events {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((u128::from(self.0.rotate_left(40)) * u128::from(below)) >> 64) as u64
    }

    fn batch(&mut self, numbers: u64, now: i64) -> Vec<Identity> {
        let length = self.next(300);
        (0..length as u32).map(|place| self.one(numbers, now, place)).collect()
    }

    fn one(&mut self, numbers: u64, now: i64, place: u32) -> Identity {
        let at = Timestamp::from_nanos(now + self.next(40) as i64 - 20);
        Identity { fingerprint: fingerprint(self.next(numbers)), at, place }
    }
}

/// Returns mostly uniform fingerprints; some share their high half, so that only the low half
/// distinguishes them.
fn fingerprint(number: u64) -> u128 {
    let mixed = |number: u64| {
        let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let high = if number.is_multiple_of(50) { mixed(number / 5_000) } else { mixed(number) };
    u128::from(high) << 64 | u128::from(mixed(number + 1))
}

fn open(disk: &Arc<Frail>, manifest: &Manifest, settings: Settings) -> Result<SpilledIdentities, Error> {
    let disk: Arc<dyn Disk> = Arc::<Frail>::clone(disk);
    SpilledIdentities::open(disk, FOLDER, manifest, settings)
}

fn duplicates(identities: &mut SpilledIdentities, batch: &[Identity], window: Option<i64>) -> Vec<u32> {
    let mut found = Vec::new();
    let mut answer = |identity: &Identity, admission| {
        if admission == Admission::Known {
            found.push(identity.place);
        }
    };
    identities.admit(batch, window, &mut answer);
    identities.settle();
    found
}

fn rounds(settings: Settings, count: i64, numbers: u64) {
    let disk = Frail::sound();
    let (mut oracle, mut events) = (Oracle::default(), Events(count as u64));
    let mut identities = open(&disk, &Manifest::empty(3), settings).unwrap();
    // The state after a crash.
    let (mut manifest, mut sealed) = (Manifest::empty(3), Oracle::default());
    for round in 0..count {
        let batch = events.batch(numbers, round);
        let window = [Some(10), Some(25), None, Some(0)][events.next(4) as usize];
        assert_eq!(duplicates(&mut identities, &batch, window), oracle.admit(&batch, window), "round {round}");
        assert!(identities.failure().is_none());
        match events.next(40) {
            0 => {
                manifest = Manifest::read(&written(&identities.seal().unwrap())).unwrap();
                sealed = oracle.clone();
                if events.next(2) == 0 {
                    identities.retire(&manifest).unwrap();
                }
            }
            1 => {
                // A crash, perhaps after a seal whose manifest was lost.
                if events.next(2) == 0 {
                    identities.seal().unwrap();
                }
                drop(identities);
                if events.next(2) == 0 {
                    sweep(&disk.disk, FOLDER, &[&manifest]).unwrap();
                }
                identities = open(&disk, &manifest, settings).unwrap();
                oracle = sealed.clone();
            }
            _ => {}
        }
    }
    let last = identities.seal().unwrap();
    // Equal entries (the window of nothing admits them) may have become one.
    let same = |known: &Vec<i64>| known.iter().collect::<std::collections::BTreeSet<_>>().len() as u64;
    assert!(last.count() <= oracle.0.values().map(|known| known.len() as u64).sum());
    assert!(last.count() >= oracle.0.values().map(same).sum());
    identities.retire(&last).unwrap();
    drop(identities);
    sweep(&disk.disk, FOLDER, &[&last]).unwrap();
    let mut named: Vec<String> = last.files().collect();
    named.sort();
    assert_eq!(disk.files(), named);
}

fn written(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = Vec::new();
    manifest.write_to(&mut bytes);
    bytes
}

#[test]
fn answers_as_a_list_of_everything_would() {
    rounds(TINY, 1_500, 100_000);
    rounds(TINY, 800, 300);
    rounds(Settings { memory_bytes: 100_000, ..TINY }, 1_500, 1_000_000);
    rounds(Settings { merging: Merging::Background, ..TINY }, 800, 50_000);
}

fn uniform(numbers: std::ops::Range<u64>) -> Vec<Identity> {
    let one = |number: u64| Identity { fingerprint: fingerprint(number), at: Timestamp::from_nanos(0), place: number as u32 };
    numbers.map(one).collect()
}

#[test]
fn many_runs_become_few_and_their_filters_stay_small() {
    for merging in [Merging::Paced, Merging::Background] {
        let disk = Frail::sound();
        let settings = Settings { memory_bytes: 500_000, merging };
        let mut identities = open(&disk, &Manifest::empty(0), settings).unwrap();
        let all = uniform(0..600_000);
        for batch in all.chunks(1_000) {
            assert_eq!(duplicates(&mut identities, batch, None), [0; 0]);
        }
        assert!(identities.run_count() <= RUNS_MAX, "{} runs", identities.run_count());
        let manifest = identities.seal().unwrap();
        assert_eq!(manifest.count(), 600_000);
        drop(identities);
        let mut identities = open(&disk, &manifest, settings).unwrap();
        // Small filters use more bytes for each key than large ones.
        assert!(identities.memory_bytes() < 600_000 * 3, "{} bytes", identities.memory_bytes());
        for batch in all.chunks(7_000).step_by(9) {
            assert_eq!(duplicates(&mut identities, batch, Some(1)).len(), batch.len());
        }
    }
}

#[test]
fn files_stay_until_a_newer_manifest_is_durable() {
    let disk = Frail::sound();
    let mut identities = open(&disk, &Manifest::empty(0), TINY).unwrap();
    let mut manifests = Vec::new();
    for number in 0..40 {
        duplicates(&mut identities, &uniform(number * 50..number * 50 + 50), None);
        let manifest = identities.seal().unwrap();
        let files = disk.files();
        assert!(manifests.iter().chain([&manifest]).flat_map(Manifest::files).all(|file| files.contains(&file)));
        manifests.push(manifest);
    }
    let before = disk.files().len();
    identities.retire(&manifests[20]).unwrap();
    let files = disk.files();
    assert!(files.len() < before);
    assert!(manifests[20..].iter().flat_map(Manifest::files).all(|file| files.contains(&file)));
    // A crash after which an old manifest is the newest: only its identities are known.
    drop(identities);
    let mut identities = open(&disk, &manifests[30], TINY).unwrap();
    assert_eq!(duplicates(&mut identities, &uniform(0..2_000), None).len(), 31 * 50);
}

#[test]
fn sweep_removes_only_runs_that_no_manifest_names() {
    let disk = Frail::sound();
    let mut identities = open(&disk, &Manifest::empty(7), TINY).unwrap();
    duplicates(&mut identities, &uniform(0..60), None);
    let manifest = identities.seal().unwrap();
    for file in ["7-900.run", "8-0.run", "7-901.run.new", "notes.txt", "7-x.run", "checkpoint.new"] {
        std::fs::write(disk.path(file), "left").unwrap();
    }
    assert_eq!(sweep(&disk.disk, FOLDER, &[&manifest]).unwrap(), ["7-900.run", "7-901.run.new", "8-0.run"]);
    assert_eq!(disk.files(), ["7-0.run", "7-x.run", "checkpoint.new", "notes.txt"]);
    assert_eq!(sweep(&disk.disk, "nowhere", &[]).unwrap(), Vec::<String>::new());
}

#[test]
fn old_identities_are_forgotten_with_their_run() {
    let disk = Frail::sound();
    let mut identities = open(&disk, &Manifest::empty(0), TINY).unwrap();
    let at = |nanos| Timestamp::from_nanos(nanos);
    for day in 0..3 {
        let events: Vec<_> = uniform(day * 50..day * 50 + 50);
        let events: Vec<_> = events.iter().map(|event| Identity { at: at(day as i64 * 100), ..*event }).collect();
        duplicates(&mut identities, &events, Some(10));
        identities.seal().unwrap();
    }
    identities.forget(at(101));
    identities.forget(at(50));
    assert_eq!(identities.run_count(), 1);
    let manifest = identities.seal().unwrap();
    assert_eq!(manifest.count(), 50);
    identities.retire(&manifest).unwrap();
    assert_eq!(disk.files(), manifest.files().collect::<Vec<_>>());
    // The horizon stays: merges leave out identities before it.
    let mut identities = open(&disk, &Manifest::read(&written(&manifest)).unwrap(), TINY).unwrap();
    for old in 0..3 {
        duplicates(&mut identities, &uniform(1_000 + old..1_001 + old), Some(10));
        identities.seal().unwrap();
    }
    identities.seal().unwrap();
    assert_eq!(identities.seal().unwrap().count(), 50);
}

#[test]
fn every_byte_that_changed_is_found_out() {
    let disk = Frail::sound();
    let mut identities = open(&disk, &Manifest::empty(0), Settings { memory_bytes: 200_000, ..TINY }).unwrap();
    let all = uniform(0..1_000);
    duplicates(&mut identities, &all, None);
    let manifest = identities.seal().unwrap();
    let path = disk.path("0-0.run");
    let sound = std::fs::read(&path).unwrap();
    let pages = 1_000usize.div_ceil(page::PAGE_ENTRIES) * PAGE_BYTES;
    let verdict = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let mut identities = open(&disk, &manifest, TINY)?;
        duplicates(&mut identities, &all, None);
        identities.failure().cloned().map_or(Ok(()), Err)
    };
    verdict(&sound).unwrap();
    // Some of the pages, then filter, fences and trailer densely.
    for place in (0..pages).step_by(509).chain((pages..sound.len()).step_by(13)).chain(sound.len() - 80..sound.len()) {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x10;
        let error = verdict(&bytes).unwrap_err();
        assert_eq!(error.kind, Kind::Corrupt, "byte {place}: {error}");
        assert!(error.to_string().contains("identities/0-0.run"), "{error}");
    }
    for length in [0, 10, 80, PAGE_BYTES, sound.len() - 1] {
        assert_eq!(verdict(&sound[..length]).unwrap_err().kind, Kind::Corrupt, "{length} bytes");
    }
    // Two swapped pages: each is intact, and neither is in its place.
    let mut bytes = sound.clone();
    bytes[..2 * PAGE_BYTES].rotate_left(PAGE_BYTES);
    assert_eq!(verdict(&bytes).unwrap_err().kind, Kind::Corrupt);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(open(&disk, &manifest, TINY).unwrap_err().kind, Kind::Corrupt);

    let bytes = written(&manifest);
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x10;
        assert_eq!(Manifest::read(&bytes).unwrap_err().kind, Kind::Corrupt, "byte {place}");
        assert!(Manifest::read(&bytes[..place]).is_err());
    }
    // Another format is recognised only if its checksum is right.
    let (mut bytes, end) = (bytes.clone(), bytes.len() - 4);
    bytes[8] += 1;
    let sum = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Manifest::read(&bytes).unwrap_err().kind, Kind::Format);
}

#[test]
fn after_a_failure_nothing_is_answered() {
    let mut calls = 0;
    loop {
        let disk = Frail::new(usize::MAX);
        let mut identities = open(&disk, &Manifest::empty(0), TINY).unwrap();
        disk.calls_left.store(calls, Ordering::SeqCst);
        let mut oracle = Oracle::default();
        let batch = uniform(0..3_000);
        for batch in batch.chunks(100).chain(batch.chunks(100)) {
            let found = duplicates(&mut identities, batch, None);
            if identities.failure().is_some() {
                break;
            }
            assert_eq!(found, oracle.admit(batch, None));
        }
        let Some(failure) = identities.failure() else { break };
        assert_eq!(failure.kind, Kind::Unavailable);
        assert_eq!(duplicates(&mut identities, &batch, None), [0; 0]);
        assert_eq!(identities.seal().unwrap_err().kind, Kind::Poisoned);
        calls += 1 + calls / 8;
    }
    assert!(calls > 100, "the disk was hardly used: {calls}");
}
