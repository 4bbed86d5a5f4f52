//! A disk in memory that keeps exactly the promises of `Disk`.
//!
//! Appended bytes are visible to the running program. They survive a loss of power only if they
//! were synced; otherwise they are cut anywhere, or some of their sectors exist and the others are
//! zeros. Names are durable after `sync_folder`; any subset of other changes may survive. If only
//! the program is killed, nothing is lost.
//!
//! Faults: the n-th call ends the program (done, half done or not done), any call may fail, the
//! disk is full for a while, a bit of a durable file flips.

mod catalog;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_store::disk::{Claims, Disk, File};

use crate::random::Random;
pub use catalog::CatalogStorage;
use catalog::Pages;

/// Bytes that become durable together or not at all.
const SECTOR: usize = 512;

/// The bytes of a segment before its first entry.
const SEGMENT_HEAD_BYTES: usize = 32;

/// The faults to simulate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Calls until the program ends.
    pub crash_in: Option<u64>,
    /// Failing calls in a hundred thousand.
    pub errors: u64,
    /// Appends for which the disk is full.
    pub full_for: u64,
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// Names, and the new file of each.
type Change = Vec<(String, Option<usize>)>;

#[derive(Clone)]
struct State {
    random: Random,
    /// Files by number, also those without a name.
    files: Vec<Content>,
    /// The bytes of the catalog.
    catalog: Pages,
    /// Whether the catalog was created.
    has_catalog: bool,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable: the folder, and the new state of each name.
    changes: Vec<(String, Change)>,
    faults: Faults,
    down: bool,
    calls: u64,
    /// The names with an owner in the program that runs.
    claims: Claims,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Number of durable bytes.
    durable: usize,
    /// Bytes that were durable before the last sync.
    before: usize,
}

impl SimDisk {
    /// Returns an empty disk without faults.
    pub fn new(random: Random) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(State {
            random,
            files: Vec::new(),
            catalog: Pages::default(),
            has_catalog: false,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            faults: Faults::default(),
            down: false,
            calls: 0,
            claims: Claims::default(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Empties the catalog, unless [`SimDisk::keep_catalog`] was called: it gets its name once it is whole.
    pub fn begin_catalog(&self) {
        let mut state = self.state();
        if !state.has_catalog {
            state.catalog = Pages::default();
        }
    }

    /// Notes that the catalog is whole.
    pub fn keep_catalog(&self) {
        let mut state = self.state();
        state.has_catalog |= !state.down;
    }

    /// Returns the storage of the catalog.
    pub fn catalog(&self) -> CatalogStorage {
        CatalogStorage(self.clone())
    }

    /// Returns whether the program has ended.
    pub fn is_down(&self) -> bool {
        self.state().down
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Ends the program: none of its later calls reach the disk.
    pub fn stop(&self) {
        self.state().down = true;
    }

    /// Starts the program again, on a machine that kept its power.
    pub fn restart(&self) {
        let mut state = self.state();
        state.begin();
    }

    /// Starts the program again after a loss of power.
    pub fn lose_power(&self) {
        let mut state = self.state();
        state.lose();
        state.begin();
    }

    /// Returns a copy of everything, like a backup.
    pub fn copy(&self) -> SimDisk {
        let mut state = self.state().clone();
        state.claims = Claims::default();
        SimDisk(Arc::new(Mutex::new(state)))
    }

    /// Flips a durable bit in one of the files that `chosen` selects by name. In a log, only bytes
    /// that were durable before its last sync are flipped: damage at the end of a log cannot be
    /// distinguished from a torn write. Returns the file and the offset.
    pub fn flip(&self, chosen: impl Fn(&str) -> bool) -> Option<(String, usize)> {
        let mut state = self.state();
        let State { random, files, names, .. } = &mut *state;
        let mut targets = Vec::new();
        for (name, file) in names.iter().filter(|(name, _)| chosen(name)) {
            let content = &files[*file];
            let length = if name.ends_with(".seg") { content.before } else { content.durable };
            if length > 0 {
                targets.push((name, *file, length));
            }
        }
        if targets.is_empty() {
            return None;
        }
        let (name, file, length) = targets.swap_remove(random.index(targets.len()));
        let at = random.index(length);
        files[file].bytes[at] ^= 1 << random.below(8);
        Some((name.clone(), at))
    }

    /// Flips a bit of the last byte of the newest segment in a folder, unless that has no entries.
    /// Returns whether it did.
    pub fn flip_end(&self, folder: &str) -> bool {
        let mut state = self.state();
        let State { files, names, .. } = &mut *state;
        let newest = names.iter().rev().find(|(name, _)| name.starts_with(folder) && name.ends_with(".seg"));
        let Some((_, file)) = newest else { return false };
        let bytes = &mut files[*file].bytes;
        if bytes.len() <= SEGMENT_HEAD_BYTES {
            return false;
        }
        bytes.last_mut().is_some_and(|last| {
            *last ^= 1;
            true
        })
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }
}

impl State {
    /// Begins another life of the program, in which nothing has an owner.
    fn begin(&mut self) {
        self.down = false;
        self.faults = Faults::default();
        self.claims = Claims::default();
    }

    fn lose(&mut self) {
        let State { random, files, names, durable_names, changes, .. } = self;
        for (_, change) in std::mem::take(changes) {
            if random.chance(500) {
                for (name, file) in change {
                    match file {
                        Some(file) => drop(durable_names.insert(name, file)),
                        None => drop(durable_names.remove(&name)),
                    }
                }
            }
        }
        names.clone_from(durable_names);
        for content in files.iter_mut() {
            content.lose(random);
        }
        self.catalog.lose(&mut self.random);
    }

    /// Lets a call pass, or returns its error and whether it is done anyway.
    fn gate(&mut self) -> Result<(), (io::Error, bool)> {
        self.calls += 1;
        if self.down {
            return Err((io::Error::other("the program has ended"), false));
        }
        if let Some(left) = &mut self.faults.crash_in {
            if *left == 0 {
                self.down = true;
                let done = self.random.chance(500);
                return Err((io::Error::other("the program ends here"), done));
            }
            *left -= 1;
        }
        if self.faults.errors > 0 && self.random.below(100_000) < self.faults.errors {
            let done = self.random.chance(500);
            return Err((io::Error::other("the disk failed"), done));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn change(&mut self, folder: &str, change: Change) {
        for (name, file) in &change {
            match file {
                Some(file) => drop(self.names.insert(name.clone(), *file)),
                None => drop(self.names.remove(name)),
            }
        }
        self.changes.push((folder.to_owned(), change));
    }
}

impl Content {
    fn lose(&mut self, random: &mut Random) {
        let unsynced = self.bytes.len() - self.durable;
        if unsynced == 0 {
            return;
        }
        match random.below(3) {
            0 => self.bytes.truncate(self.durable),
            1 => self.bytes.truncate(self.durable + random.index(unsynced + 1)),
            _ => {
                self.bytes.truncate(self.durable + random.index(unsynced + 1));
                let mut at = self.durable;
                while at < self.bytes.len() {
                    let end = ((at / SECTOR + 1) * SECTOR).min(self.bytes.len());
                    if random.chance(400) {
                        self.bytes[at..end].fill(0);
                    }
                    at = end;
                }
            }
        }
        self.durable = self.bytes.len();
        self.before = self.before.min(self.durable);
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        let gate = state.gate();
        if !matches!(gate, Err((_, false))) {
            match state.names.get(name).copied() {
                Some(file) => state.files[file] = Content::default(),
                None => {
                    let file = state.files.len();
                    state.files.push(Content::default());
                    state.change(folder_of(name), vec![(name.to_owned(), Some(file))]);
                }
            }
        }
        gate.map_err(|(why, _)| why)?;
        let file = state.find(name)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.gate().map_err(|(why, _)| why)?;
        let file = state.find(name)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.gate().map_err(|(why, _)| why)?;
        let inside = state.names.keys().filter(|name| folder_of(name) == folder);
        Ok(inside.map(|name| name[folder.len()..].trim_start_matches('/').to_owned()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let gate = state.gate();
        if !matches!(gate, Err((_, false))) {
            let file = state.find(from)?;
            state.change(folder_of(to), vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        }
        gate.map_err(|(why, _)| why)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let gate = state.gate();
        if !matches!(gate, Err((_, false))) {
            state.find(name)?;
            state.change(folder_of(name), vec![(name.to_owned(), None)]);
        }
        gate.map_err(|(why, _)| why)
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        self.state().gate().map_err(|(why, _)| why)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        let gate = state.gate();
        if !matches!(gate, Err((_, false))) {
            let State { changes, durable_names, .. } = &mut *state;
            for (_, change) in changes.extract_if(.., |(changed, _)| changed == folder) {
                for (name, file) in change {
                    match file {
                        Some(file) => drop(durable_names.insert(name, file)),
                        None => drop(durable_names.remove(&name)),
                    }
                }
            }
        }
        gate.map_err(|(why, _)| why)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.gate().map_err(|(why, _)| why)?;
        // Sometimes a full disk is visible; sometimes others use the space later.
        Ok(if state.faults.full_for > 0 && state.random.chance(500) { 0 } else { 1 << 40 })
    }

    fn claims(&self) -> Claims {
        self.state().claims.clone()
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl File for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let ended = state.down;
        let mut gate = state.gate();
        if gate.is_ok() && state.faults.full_for > 0 {
            state.faults.full_for -= 1;
            gate = Err((io::ErrorKind::StorageFull.into(), false));
        }
        let written = match &gate {
            Ok(()) => bytes.len(),
            Err(_) if ended => 0,
            Err(_) => state.random.index(bytes.len() + 1),
        };
        state.files[self.file].bytes.extend_from_slice(&bytes[..written]);
        gate.map_err(|(why, _)| why)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let gate = state.gate();
        if !matches!(gate, Err((_, false))) {
            let content = &mut state.files[self.file];
            if content.durable < content.bytes.len() {
                (content.before, content.durable) = (content.durable, content.bytes.len());
            }
        }
        gate.map_err(|(why, _)| why)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.gate().map_err(|(why, _)| why)?;
        let there = state.files[self.file].bytes.get(at as usize..).unwrap_or_default();
        let read = there.len().min(bytes.len());
        bytes[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.gate().map_err(|(why, _)| why)?;
        Ok(state.files[self.file].bytes.len() as u64)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let gate = state.gate();
        if !matches!(gate, Err((_, false))) {
            let content = &mut state.files[self.file];
            content.bytes.truncate(length as usize);
            content.durable = content.bytes.len();
            content.before = content.before.min(content.durable);
        }
        gate.map_err(|(why, _)| why)
    }
}
