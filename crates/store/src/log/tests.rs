//! Tests of the log in a real folder: committed entries are read back, torn ends are cut off,
//! damage is reported.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::disk::{Claims, LocalDisk};

const SETTINGS: Settings = Settings { segment_bytes: 2_000, reserve_bytes: 0 };

fn open(folder: &tempfile::TempDir) -> Result<(Log, Recovered), Error> {
    Log::open(Arc::new(LocalDisk::new(folder.path()).unwrap()), "log", SETTINGS)
}

fn entry(n: u64) -> Encoded {
    // Some small, some compressed, all different.
    let text = format!("entry {n} ").repeat(1 + (n as usize * 7) % 60);
    Encoded::new(EntryKind::Events, n as i64, (n % 5) as u32, text.as_bytes())
}

fn fill(log: &mut Log, entries: std::ops::Range<u64>) {
    for n in entries {
        assert_eq!(log.append(&entry(n)).unwrap(), n);
        if n % 3 == 0 {
            log.commit().unwrap();
        }
    }
    log.commit().unwrap();
}

fn read(log: &Log, from: u64) -> Vec<Entry> {
    let mut reader = log.reader(from).unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

fn last_segment(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let mut names: Vec<_> = std::fs::read_dir(folder.path().join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    names.pop().unwrap()
}

#[test]
fn committed_entries_are_read_in_order_over_many_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&folder).unwrap();
    fill(&mut log, 0..100);
    drop(log);
    let (mut log, recovered) = open(&folder).unwrap();
    assert_eq!(recovered, Recovered::default());
    fill(&mut log, 100..120);
    let entries = read(&log, 0);
    assert_eq!(entries.len(), 120);
    let mut items = 0;
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!((entry.position, entry.at, entry.first_item), (n as u64, n as i64, items));
        assert!(entry.bytes.starts_with(format!("entry {n} ").as_bytes()));
        items += u64::from(entry.items);
    }
    assert_eq!((log.next(), log.items()), (120, items));
    for from in [1, 50, 119, 120] {
        assert_eq!(read(&log, from), entries[from as usize..]);
    }
    for item in [0, 1, items / 2, items - 1] {
        let found = log.reader_of_item(item).unwrap().read().unwrap().unwrap();
        assert!((found.first_item..found.first_item + u64::from(found.items)).contains(&item));
    }
}

#[test]
fn entries_without_a_commit_do_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&folder).unwrap();
    fill(&mut log, 0..5);
    log.append(&entry(5)).unwrap();
    assert_eq!(read(&log, 0).len(), 5);
    drop(log);
    assert_eq!(read(&open(&folder).unwrap().0, 0).len(), 5);
}

#[test]
fn a_torn_end_is_cut_off_at_any_byte_and_the_log_continues() {
    let whole = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&whole).unwrap();
    fill(&mut log, 0..9);
    drop(log);
    let path = last_segment(&whole);
    let bytes = std::fs::read(&path).unwrap();
    for cut in (segment::HEAD_BYTES as usize..bytes.len()).step_by(13) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (mut log, recovered) = open(&whole).unwrap();
        let there = log.next();
        assert!(recovered.torn_bytes > 0 || there < 9);
        assert_eq!(log.append(&entry(there)).unwrap(), there);
        log.commit().unwrap();
        assert_eq!(read(&log, 0).len() as u64, there + 1);
    }
}

#[test]
fn damage_before_the_end_is_reported_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&folder).unwrap();
    fill(&mut log, 0..9);
    drop(log);
    let path = last_segment(&folder);
    let bytes = std::fs::read(&path).unwrap();
    for at in [segment::HEAD_BYTES as usize + 3, segment::HEAD_BYTES as usize + HEADER_BYTES + 2] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        let why = open(&folder).err().unwrap();
        assert_eq!(why.kind, Kind::Corrupt, "{why}");
        assert!(why.to_string().contains(".seg"), "{why}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn damage_in_an_earlier_segment_is_reported_by_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&folder).unwrap();
    fill(&mut log, 0..60);
    let path = folder.path().join("log").join(segment_name(0));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = log.reader(0).unwrap();
    let outcome = std::iter::from_fn(|| reader.read().transpose()).find_map(Result::err);
    assert_eq!(outcome.unwrap().kind, Kind::Corrupt);
}

#[test]
fn released_segments_are_removed_and_reading_them_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(&folder).unwrap();
    fill(&mut log, 0..100);
    assert!(log.release(50).unwrap() > 0);
    assert!(log.first() > 0 && log.first() <= 50);
    assert!(log.reader(0).is_err());
    let first = log.first();
    drop(log);
    let (log, _) = open(&folder).unwrap();
    assert_eq!(read(&log, first).len() as u64, 100 - first);
}

#[test]
fn a_disk_without_room_refuses_and_the_log_continues() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder.path()).unwrap());
    let (mut log, _) = Log::open(Arc::clone(&disk), "log", SETTINGS).unwrap();
    fill(&mut log, 0..4);
    log.settings.reserve_bytes = u64::MAX;
    log.room = 0;
    log.append(&entry(4)).unwrap();
    assert_eq!(log.commit().unwrap_err().kind, Kind::Full);
    assert_eq!((log.next(), log.poison().is_none()), (4, true));
    log.settings.reserve_bytes = 0;
    fill(&mut log, 4..9);
    assert_eq!(read(&log, 0).len(), 9);
}

/// A disk on which some calls fail for lack of a descriptor.
struct Exhausted {
    disk: LocalDisk,
    creates: AtomicU64,
    renames: AtomicU64,
    errno: i32,
}

impl Exhausted {
    /// Fails while failures are left.
    fn take(&self, left: &AtomicU64) -> io::Result<()> {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if taken.is_ok() { Err(io::Error::from_raw_os_error(self.errno)) } else { Ok(()) }
    }
}

impl Disk for Exhausted {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.take(&self.creates)?;
        self.disk.create(name)
    }

    fn rename_durably(&self, from: &str, to: &str, folder: &str) -> io::Result<()> {
        self.take(&self.renames)?;
        self.disk.rename_durably(from, to, folder)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.disk.open(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn claims(&self) -> Claims {
        self.disk.claims()
    }
}

#[test]
fn a_second_owner_of_an_open_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder.path()).unwrap());
    let open = |name: &str| Log::open(Arc::clone(&disk), name, SETTINGS);
    let (mut log, _) = open("log").unwrap();
    fill(&mut log, 0..10);
    assert_eq!(open("log").err().map(|why| why.kind), Some(Kind::Unavailable));
    open("other").unwrap();
    fill(&mut log, 10..20);
    drop(log);
    assert_eq!(read(&open("log").unwrap().0, 0).len(), 20);
}

#[test]
fn without_descriptors_the_old_segment_continues() {
    use rustix::io::Errno;
    for (errno, creates, renames) in [(Errno::MFILE, 3, 0), (Errno::NFILE, 3, 0), (Errno::MFILE, 0, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Exhausted {
            disk: LocalDisk::new(folder.path()).unwrap(),
            creates: AtomicU64::new(0),
            renames: AtomicU64::new(0),
            errno: errno.raw_os_error(),
        });
        let shared: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
        let (mut log, _) = Log::open(shared, "log", SETTINGS).unwrap();
        disk.creates.store(creates, Ordering::Relaxed);
        disk.renames.store(renames, Ordering::Relaxed);
        fill(&mut log, 0..60);
        assert!(log.poison().is_none(), "{errno}");
        let left = [&disk.creates, &disk.renames].map(|left| left.load(Ordering::Relaxed));
        assert_eq!(left, [0, 0], "every failure was met");
        assert!(log.segments.len() > 1, "{errno}: segments begin again once there are descriptors");
        drop(log);
        let (log, recovered) = open(&folder).unwrap();
        assert_eq!((recovered.torn_bytes, read(&log, 0).len()), (0, 60), "{errno}");
    }
}

#[test]
fn another_failure_to_begin_a_segment_poisons_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Exhausted {
        disk: LocalDisk::new(folder.path()).unwrap(),
        creates: AtomicU64::new(0),
        renames: AtomicU64::new(0),
        errno: rustix::io::Errno::IO.raw_os_error(),
    });
    let shared: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
    let (mut log, _) = Log::open(shared, "log", SETTINGS).unwrap();
    disk.renames.store(1, Ordering::Relaxed);
    let commit = |log: &mut Log, n| log.append(&entry(n)).and_then(|_| log.commit());
    let failed = (0..60).find_map(|n| commit(&mut log, n).err());
    assert!(failed.is_some() && log.poison().is_some());
}
