//! Files on an SFTP server, each written once: beside its place first, then put there whole.
//!
//! A file is put in place by a hard link where the server offers them, since a link never replaces
//! a file, and else by a rename after a look at the name. So the file of a window appears whole or
//! not at all, and a repetition finds it. The part beside it has a fixed name, `.NAME.part`: an
//! upload that a crash broke off leaves one part, which the next attempt replaces. The part is
//! removed and created again, never truncated: it may be a link to a file that is in place.
//!
//! A connection is kept. It is checked before it is used again, and closed after any error.

mod files;
mod host_key;
mod link;

use std::time::Duration;

use flowmeter_document::SftpPlan;
use flowmeter_engine::{Error, Kind};

use self::link::{Link, Server};
use super::windowed::{Blobs, Put};
use crate::answer::OBJECT_BYTES_MAX;
use crate::calls::{Abandon, Calls};

/// Bytes that a server must take or send in a second: a file may take longer than a request.
const BYTES_PER_SECOND_MIN: usize = 128 << 10;
/// How long a list may take: OpenSSH sends a hundred names in an answer.
const LIST_TIMEOUT: Duration = Duration::from_secs(300);

/// Files on an SFTP server.
pub(super) struct Sftp {
    server: Server,
    link: Option<Link>,
    calls: Calls,
    needs_a_person: bool,
}

impl Sftp {
    /// # Errors
    /// A secret is missing, or a key cannot be read.
    pub(super) fn new(plan: &SftpPlan, abandon: &Abandon) -> Result<Sftp, Error> {
        Ok(Sftp { server: Server::new(plan)?, link: None, calls: Calls::new(abandon)?, needs_a_person: false })
    }

    /// Works over the connection, which is made if there is none.
    fn call<T>(&mut self, limit: Duration, work: impl AsyncFnOnce(&Link) -> Result<T, Error>) -> Result<T, Error> {
        // Without an answer its state is unknown, so a connection is kept only after a success.
        let kept = self.link.take();
        let working = async {
            let link = self.server.link(kept).await?;
            let done = work(&link).await?;
            Ok((link, done))
        };
        let worked = self.calls.within(limit, working);
        let worked = worked.map_err(|cut| Error::new(Kind::Unavailable, format!("{}: {cut}", self.server.place())));
        let worked = worked.and_then(|worked| worked);
        self.needs_a_person = matches!(&worked, Err(why) if why.kind == Kind::Invalid);
        let (link, done) = worked?;
        self.link = Some(link);
        Ok(done)
    }

    /// Returns the time that so many bytes may take.
    fn limit(&self, bytes: usize) -> Duration {
        self.server.timeout() + Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64)
    }
}

impl Blobs for Sftp {
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<Put, Error> {
        self.call(self.limit(bytes.len()), async |link: &Link| link.put(name, &bytes).await)
    }

    fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.call(self.limit(OBJECT_BYTES_MAX), async |link: &Link| link.get(name).await)
    }

    fn names(&mut self, beginning: &str) -> Result<Vec<String>, Error> {
        let limit = self.server.timeout().max(LIST_TIMEOUT);
        self.call(limit, async |link: &Link| link.names(beginning).await)
    }

    fn probe(&mut self, beginning: &str) -> Result<(), Error> {
        self.call(self.server.timeout(), async |link: &Link| link.make_folder(files::folder_of(beginning)).await)
    }

    fn needs_a_person(&self) -> bool {
        self.needs_a_person
    }
}
