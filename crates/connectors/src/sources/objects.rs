//! Objects of a store. An object is downloaded to a file, in parallel ranges, and read from there. The
//! next ones are downloaded meanwhile, on other threads.

use std::io::Write;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowmeter_core::source::{After, ObjectsSource};
use flowmeter_engine::{Error, Kind};
use futures_util::{StreamExt, TryStreamExt};
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::Surroundings;
use super::items::{Depot, Fetched, Fetching, Item};
use crate::buckets;
use crate::calls::{Abandon, Calls};

/// Bytes of a range: large enough that the time to the first byte does not matter. Some stores read an
/// object whole for each of its ranges.
const RANGE_BYTES: u64 = 16 << 20;
/// Ranges that are read at once: one connection seldom fills a network.
const RANGES: usize = 4;
/// How long a list may take: a thousand names a request.
const LIST_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an object may take.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Objects under a prefix that are listed.
const OBJECTS_MAX: usize = 1_000_000;

/// Objects under a prefix, and the files of those that were fetched.
pub(super) struct Bucket {
    objects: Arc<Objects>,
    spool: PathBuf,
    /// Number of objects that were fetched: each has a folder of its own, as names may be equal.
    fetched: u64,
}

/// Objects under a prefix.
struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The address, for people.
    url: String,
    glob: Option<Pattern>,
    beginning: Option<String>,
    from: Option<String>,
    to: Option<String>,
    calls: Calls,
}

impl Bucket {
    pub(super) fn new(plan: &ObjectsSource, around: &Surroundings) -> Result<Bucket, Error> {
        let (store, prefix) = buckets::open(&plan.url, &plan.options)?;
        let glob = plan.glob.as_deref().map(Pattern::new).transpose();
        let glob = glob.map_err(|why| Error::new(Kind::Invalid, format!("object storage: glob: {why}")))?;
        let source = &around.plan.sources[around.source].id;
        let spool = around.spool.join(format!("{}-{source}", around.plan.id));
        // Files that a crash left there are fetched again.
        if spool.exists() {
            std::fs::remove_dir_all(&spool).map_err(|why| Error::io(spool.display(), &why))?;
        }
        std::fs::create_dir_all(&spool).map_err(|why| Error::io(spool.display(), &why))?;
        let objects = Objects {
            store,
            prefix,
            url: plan.url.trim_end_matches('/').to_owned(),
            glob,
            beginning: plan.prefix.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            calls: Calls::new(&around.abandon)?,
        };
        Ok(Bucket { objects: Arc::new(objects), spool, fetched: 0 })
    }
}

impl Objects {
    /// Returns the name of an object under the prefix.
    fn name_under(&self, location: &Path) -> String {
        let prefix = self.prefix.as_ref();
        let name = location.as_ref();
        name.strip_prefix(prefix).map_or(name, |rest| rest.trim_start_matches('/')).to_owned()
    }

    fn path_of(&self, name: &str) -> Path {
        match self.prefix.as_ref() {
            "" => Path::from(name),
            prefix => Path::from(format!("{prefix}/{name}")),
        }
    }

    /// Takes an object of a list, unless it is not wanted.
    fn item_of(&self, meta: &ObjectMeta) -> Option<Item> {
        // `**` crosses folders, `*` does not.
        const MATCHING: MatchOptions =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
        let name = self.name_under(&meta.location);
        let is_wanted = self.glob.as_ref().is_none_or(|glob| glob.matches_with(&name, MATCHING));
        let begins = self.beginning.as_ref().is_none_or(|beginning| name.starts_with(beginning));
        let is_within = self.from.as_ref().is_none_or(|from| name > *from) && self.to.as_ref().is_none_or(|to| name <= *to);
        // Consoles of stores make empty objects for folders.
        let is_folder = name.is_empty() || (meta.size == 0 && name.ends_with('/'));
        (is_wanted && begins && is_within && !is_folder).then(|| {
            let changed = i128::from(meta.last_modified.timestamp_micros()) * 1_000;
            let stamp = meta.version.clone().or_else(|| meta.e_tag.clone()).unwrap_or_else(|| changed.to_string());
            Item { name, size: meta.size, stamp, changed }
        })
    }

    fn failed(&self, what: &str, why: &object_store::Error) -> Error {
        let kind = if buckets::is_lasting(why) { Kind::Invalid } else { Kind::Unavailable };
        let advice = if kind == Kind::Invalid { "; check that it is there, and `url` and `options`" } else { "" };
        Error::new(kind, format!("object storage: {what}: {why}{advice}"))
    }

    /// Downloads an object to a file. Returns its SHA-256 in hexadecimal digits.
    fn fetch(&self, item: &Item, file: &FilePath, abandon: &Abandon) -> Result<String, Error> {
        let path = self.path_of(&item.name);
        let io = |why: std::io::Error| {
            let kind = if why.kind() == std::io::ErrorKind::StorageFull { Kind::Full } else { Kind::Unavailable };
            Error::new(kind, format!("{}: {why}", file.display()))
        };
        let folder = file.parent().unwrap_or(file);
        let mut out = std::fs::create_dir_all(folder).and_then(|()| std::fs::File::create(file)).map_err(io)?;
        let mut digest = Sha256::new();
        let starts = (0..item.size).step_by(RANGE_BYTES as usize);
        let store = &self.store;
        let reading = async {
            let ranges = starts.map(|start| {
                let range = GetRange::Bounded(start..item.size.min(start + RANGE_BYTES));
                // An object that was replaced meanwhile must not be joined of two contents.
                let options = GetOptions { range: Some(range), ..GetOptions::default() };
                let path = &path;
                async move {
                    let found = store.get_opts(path, options).await?;
                    let meta = found.meta.clone();
                    Ok::<_, object_store::Error>((start, meta, found.bytes().await?))
                }
            });
            let mut ranges = futures_util::stream::iter(ranges).buffered(RANGES);
            while let Some((start, meta, bytes)) = ranges.try_next().await? {
                let now = self.item_of(&meta);
                if now.is_none_or(|now| now.stamp != item.stamp || now.size != item.size) {
                    return Ok(Some(std::io::Error::other("the object was replaced while it was read")));
                }
                if bytes.len() as u64 != RANGE_BYTES.min(item.size - start) {
                    return Ok(Some(std::io::Error::other("the answer does not have the bytes that were asked for")));
                }
                digest.update(&bytes);
                if let Err(why) = out.write_all(&bytes) {
                    return Ok(Some(why));
                }
            }
            Ok(None)
        };
        let read = self.calls.within(OBJECT_TIMEOUT, abandon.or(reading)).and_then(|read| read);
        let read = read.map_err(|why| Error::new(Kind::Unavailable, format!("object storage: {}: {why}", item.name)))?;
        match read.map_err(|why: object_store::Error| self.failed(&item.name, &why))? {
            None => Ok(data_encoding::HEXLOWER.encode(&digest.finalize())),
            Some(why) => Err(io(why)),
        }
    }
}

/// Removes a file of the spool. One that stays is removed when the source is opened again.
fn remove(file: &FilePath) {
    drop(std::fs::remove_file(file).and_then(|()| std::fs::remove_dir(file.parent().unwrap_or(file))));
}

impl Depot for Bucket {
    fn list(&mut self) -> Result<Vec<Item>, Error> {
        let listing = async {
            let prefix = (!self.objects.prefix.as_ref().is_empty()).then_some(&self.objects.prefix);
            let (mut found, mut listed) = (Vec::new(), self.objects.store.list(prefix));
            while let Some(object) = listed.next().await {
                found.extend(self.objects.item_of(&object?));
                if found.len() > OBJECTS_MAX {
                    return Ok(None);
                }
            }
            Ok(Some(found))
        };
        let listed = self.objects.calls.within(LIST_TIMEOUT, listing);
        let listed =
            listed.map_err(|why| Error::new(Kind::Unavailable, format!("object storage: {}: {why}", self.objects.url)))?;
        listed.map_err(|why| self.objects.failed(&self.objects.url, &why))?.ok_or_else(|| {
            let message = format!(
                "object storage: {} has more than {OBJECTS_MAX} objects, which is the bound; narrow `url`, or let `after` move them",
                self.objects.url
            );
            Error::new(Kind::Invalid, message)
        })
    }

    fn fetching(&mut self, item: &Item) -> Fetching {
        // The format comes from the ending of the name.
        let name = item.name.rsplit('/').next().unwrap_or("object");
        let file = self.spool.join(self.fetched.to_string()).join(name);
        self.fetched += 1;
        let (objects, item) = (Arc::clone(&self.objects), item.clone());
        Box::new(move |abandon| match objects.fetch(&item, &file, abandon) {
            Ok(digest) => Ok(Fetched { file, digest: Some(digest) }),
            Err(why) => {
                remove(&file);
                Err(why)
            }
        })
    }

    fn shown(&self, item: &Item) -> String {
        format!("{}/{}", self.objects.url, item.name)
    }

    fn release(&mut self, file: &FilePath) {
        remove(file);
    }

    fn dispose(&mut self, item: &Item, after: &After) -> Result<(), Error> {
        let path = self.objects.path_of(&item.name);
        let store = &self.objects.store;
        let work = async {
            match store.head(&path).await {
                // Another object of its name is not taken yet.
                Ok(meta) if self.objects.item_of(&meta).is_none_or(|now| now.stamp != item.stamp) => return Ok(()),
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => return Ok(()),
                Err(why) => return Err(why),
            }
            match after {
                After::Keep => Ok(()),
                After::Delete => store.delete(&path).await,
                After::Move(to) => {
                    let to = Path::from(format!("{}/{}", to.trim_matches('/'), item.name));
                    store.copy(&path, &to).await?;
                    store.delete(&path).await
                }
            }
        };
        let done = self.objects.calls.within(OBJECT_TIMEOUT, work);
        let done = done.map_err(|why| Error::new(Kind::Unavailable, format!("object storage: {}: {why}", item.name)))?;
        done.map_err(|why| self.objects.failed(&item.name, &why))
    }
}
