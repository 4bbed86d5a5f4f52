//! Files of this machine: paths and patterns.
//!
//! A followed file is taken once it has not changed for the time `settle`; one that is written
//! elsewhere and renamed into place keeps the time of its last change and is taken at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use flowmeter_core::source::{After, Taking};
use flowmeter_engine::{Error, Kind};

use super::Surroundings;
use super::items::{Depot, Fetched, Fetching, Item};

/// Files by path and pattern.
pub(super) struct Folder {
    patterns: Vec<String>,
    follows: bool,
    settle: i128,
    wall: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Folder {
    pub(super) fn new(around: &Surroundings, taking: &Taking) -> Folder {
        Folder {
            patterns: around.plan.sources[around.source].paths.clone(),
            follows: taking.following.follows,
            settle: i128::from(taking.settle),
            wall: Arc::clone(&around.wall),
        }
    }
}

fn nanos(at: SystemTime) -> i128 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// Returns a file as it is now; none if it is gone or no file.
fn item_of(path: &str) -> Option<Item> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let changed = meta.modified().map(nanos).unwrap_or_default();
    Some(Item { name: path.to_owned(), size: meta.len(), stamp: changed.to_string(), changed })
}

impl Depot for Folder {
    fn list(&mut self) -> Result<Vec<Item>, Error> {
        let now = nanos((self.wall)());
        let mut found = BTreeMap::new();
        for pattern in &self.patterns {
            let pattern = crate::expand(pattern)?;
            if pattern == "-" {
                let message = "a server has no standard input; write the path of a file, or use `flowmeter run`";
                return Err(Error::new(Kind::Invalid, message));
            }
            // A folder that is watched may be empty.
            let paths = match crate::file::find(&pattern) {
                Ok(paths) => paths,
                Err(_) if self.follows => continue,
                Err(why) => return Err(why),
            };
            for path in paths {
                match item_of(&path) {
                    Some(item) => drop(found.insert(path, item)),
                    None if self.follows => {}
                    None => return Err(Error::new(Kind::Invalid, format!("{path}: there is no such file"))),
                }
            }
        }
        let is_settled = |item: &Item| !self.follows || now - item.changed >= self.settle;
        Ok(found.into_values().filter(is_settled).collect())
    }

    fn fetching(&mut self, item: &Item) -> Fetching {
        let file = PathBuf::from(&item.name);
        Box::new(|_| Ok(Fetched { file, digest: None }))
    }

    fn is_unchanged(&self, item: &Item) -> bool {
        item_of(&item.name).is_some_and(|now| now == *item)
    }

    fn shown(&self, item: &Item) -> String {
        item.name.clone()
    }

    fn dispose(&mut self, item: &Item, after: &After) -> Result<(), Error> {
        // Another file of its name is not taken yet.
        if !self.is_unchanged(item) {
            return Ok(());
        }
        let done = match after {
            After::Keep => Ok(()),
            After::Delete => std::fs::remove_file(&item.name),
            After::Move(to) => {
                let to = PathBuf::from(crate::expand(to)?);
                let name = Path::new(&item.name).file_name().unwrap_or_default();
                std::fs::create_dir_all(&to).and_then(|()| std::fs::rename(&item.name, free_name(&to, name)))
            }
        };
        done.map_err(|why| Error::io(item.name.clone(), &why))
    }
}

/// Returns a path in a folder that nothing has: a file of an earlier day must not be replaced.
fn free_name(folder: &Path, name: &std::ffi::OsStr) -> PathBuf {
    let plain = folder.join(name);
    let numbered = (2..).map(|number| folder.join(format!("{}.{number}", name.to_string_lossy())));
    std::iter::once(plain.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(plain)
}
