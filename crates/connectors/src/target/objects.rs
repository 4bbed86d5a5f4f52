//! Object storage: S3 and compatible stores, Google Cloud Storage, Azure.
//!
//! An object is put only if its name is free, so that of two servers that believe they own
//! a pipeline, the second finds what the first put.

use std::sync::Arc;

use flowmeter_core::pipeline::ObjectsPlan;
use flowmeter_engine::{Error, Kind};
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::runtime::Runtime;
use url::Url;

use super::windowed::{Blobs, Put};

/// Objects of a store, under a prefix.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: Runtime,
}

impl Objects {
    /// # Errors
    /// The address or a setting is none.
    pub(super) fn new(plan: &ObjectsPlan) -> Result<Objects, Error> {
        let wrong = |why: &dyn std::fmt::Display| Error::new(Kind::Invalid, format!("object storage: {why}"));
        let url = crate::expand(&plan.url)?;
        let url = Url::parse(&url).map_err(|why| wrong(&format!("{url}: {why}")))?;
        let options = plan.options.iter().map(|(name, value)| Ok((name.to_ascii_lowercase(), crate::expand(value)?)));
        let options = options.collect::<Result<Vec<_>, Error>>()?;
        super::http::prefer_ring();
        let (store, prefix) = object_store::parse_url_opts(&url, options).map_err(|why| wrong(&why))?;
        Ok(Objects { store: Arc::from(store), prefix, runtime: super::http::runtime()? })
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
        match self.runtime.block_on(self.store.put_opts(&path, bytes.into(), options)) {
            Ok(_) => Ok(Put::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Taken),
            Err(why) => Err(unavailable(why)),
        }
    }

    fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        let read = async {
            match self.store.get(&path).await {
                Ok(found) => found.bytes().await.map(|bytes| Some(bytes.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(why) => Err(why),
            }
        };
        self.runtime.block_on(read).map_err(unavailable)
    }

    fn names(&mut self, beginning: &str) -> Result<Vec<String>, Error> {
        let folder = beginning.rfind('/').map(|slash| &beginning[..slash]).unwrap_or_default();
        let under = if folder.is_empty() { self.prefix.clone() } else { self.path(folder) };
        let found: Vec<_> = self.runtime.block_on(self.store.list(Some(&under)).try_collect()).map_err(unavailable)?;
        // Names as they were put: without the prefix, and not encoded a second time.
        let prefix = if self.prefix.as_ref().is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let names = found.into_iter().filter_map(|object| Some(object.location.as_ref().strip_prefix(&prefix)?.to_owned()));
        let wanted = match beginning {
            "" => String::new(),
            beginning => self.path(beginning).as_ref().trim_start_matches(&prefix).to_owned(),
        };
        Ok(names.filter(|name| name.starts_with(&wanted)).collect())
    }
}
