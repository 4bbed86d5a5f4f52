//! Object storage: S3 and compatible stores, Google Cloud Storage, Azure.
//!
//! An object is put only if its name is free, so that of two servers that believe they own
//! a pipeline, the second finds what the first put.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_document::ObjectsPlan;
use flowmeter_engine::{Error, Kind};
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::windowed::{Blobs, NAMES_MAX, Put};
use crate::answer::OBJECT_BYTES_MAX;
use crate::buckets::{self, is_lasting};
use crate::calls::{Abandon, Calls};

/// How long an object may take, with the attempts the library makes.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a list may take: a thousand names a request.
const LIST_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the first look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Objects of a store, under a prefix.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    calls: Calls,
}

impl Objects {
    /// # Errors
    /// The address or a setting is none.
    pub(super) fn new(plan: &ObjectsPlan, abandon: &Abandon) -> Result<Objects, Error> {
        let (store, prefix) = buckets::open(&plan.url, &plan.options)?;
        Ok(Objects { store, prefix, calls: Calls::new(abandon)? })
    }

    fn within<T>(&self, limit: Duration, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Error> {
        self.calls.within(limit, work).map_err(unavailable)?.map_err(unavailable)
    }

    fn path(&self, name: &str) -> Path {
        Path::parse(format!("{}/{name}", self.prefix)).unwrap_or_else(|_| Path::from(format!("{}/{name}", self.prefix)))
    }
}

fn unavailable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("object storage: {why}"))
}

impl Blobs for Objects {
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<Put, Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let path = self.path(name);
        let put = async {
            match self.store.put_opts(&path, bytes.into(), options).await {
                Ok(_) => Ok(Put::New),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Taken),
                Err(why) => Err(why),
            }
        };
        self.within(TIMEOUT, put)
    }

    fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        let read = async {
            match self.store.get(&path).await {
                Ok(found) if found.meta.size > OBJECT_BYTES_MAX as u64 => Ok(Err(found.meta.size)),
                // The bytes are bounded beneath, whatever the store says of their number.
                Ok(found) => found.bytes().await.map(|bytes| Ok(Some(bytes.to_vec()))),
                Err(object_store::Error::NotFound { .. }) => Ok(Ok(None)),
                Err(why) => Err(why),
            }
        };
        self.within(TIMEOUT, read)?
            .map_err(|size| unavailable(format!("{name} has {size} bytes; the bound of what is read back is {OBJECT_BYTES_MAX}")))
    }

    fn names(&mut self, beginning: &str) -> Result<Vec<String>, Error> {
        let folder = beginning.rfind('/').map(|slash| &beginning[..slash]).unwrap_or_default();
        let under = if folder.is_empty() { self.prefix.clone() } else { self.path(folder) };
        // Names as they were put: without the prefix, and not encoded a second time.
        let prefix = if self.prefix.as_ref().is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let wanted = match beginning {
            "" => String::new(),
            beginning => self.path(beginning).as_ref().trim_start_matches(&prefix).to_owned(),
        };
        let listing = async {
            let (mut names, mut listed) = (Vec::new(), self.store.list(Some(&under)));
            while let Some(object) = listed.next().await {
                let location = object?.location;
                names.extend(location.as_ref().strip_prefix(&prefix).filter(|name| name.starts_with(&wanted)).map(str::to_owned));
                if names.len() > NAMES_MAX {
                    return Ok(None);
                }
            }
            Ok(Some(names))
        };
        self.within(LIST_TIMEOUT, listing)?.ok_or_else(|| {
            let message = format!("more than {NAMES_MAX} objects begin with {beginning}, which is the bound");
            unavailable(format!("{message}; let `path` have a folder for each {{periodEnd}} or {{meterType}}"))
        })
    }

    fn probe(&mut self, _beginning: &str) -> Result<(), Error> {
        let looking = async { self.store.list(Some(&self.prefix)).next().await.transpose() };
        let looked = self.calls.within(PROBE_TIMEOUT, looking).map_err(unavailable)?;
        looked.map(drop).map_err(|why| {
            let kind = if is_lasting(&why) { Kind::Invalid } else { Kind::Unavailable };
            Error::new(kind, format!("object storage: {why}; check that the bucket is there, and `url` and `options`"))
        })
    }
}
