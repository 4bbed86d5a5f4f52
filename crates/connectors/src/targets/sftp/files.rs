//! The files of a server, over a connection: several requests are under way at a time.

use flowmeter_engine::{Error, Kind};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use russh_sftp::client::error::Error as Failure;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};

use super::link::Link;
use crate::answer::OBJECT_BYTES_MAX;
use crate::targets::windowed::{NAMES_MAX, Put};

/// Requests to read or write that are under way at a time, some megabytes.
const REQUESTS_MAX: usize = 16;
/// Characters of a server's message that are shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// Returns the folder of a path, with its last slash.
pub(super) fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..=slash])
}

/// Returns the name beside a file under which it is written.
fn part_of(path: &str) -> String {
    let folder = folder_of(path);
    format!("{folder}.{}.part", &path[folder.len()..])
}

/// Returns whether a name is that of a part.
fn is_part(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".part")
}

fn has_status(failed: &Failure, code: StatusCode) -> bool {
    matches!(failed, Failure::Status(status) if status.status_code == code)
}

impl Link {
    /// Stores a file under a name that is not taken.
    ///
    /// # Errors
    /// The server refuses it, or does not answer.
    pub(super) async fn put(&self, path: &str, bytes: &[u8]) -> Result<Put, Error> {
        let part = part_of(path);
        if self.size(path).await?.is_some() {
            // After a crash the part may still be there, as a link to the file.
            drop(self.sftp.remove(&part).await);
            return Ok(Put::Taken);
        }
        let handle = self.create(&part).await?;
        let written = self.write(&handle, &part, bytes).await;
        let closed = self.sftp.close(&handle).await.map_err(|why| self.failed("close", &part, &why));
        written.and(closed.map(drop))?;
        if self.place(&part, path).await? == Put::Taken {
            drop(self.sftp.remove(&part).await);
            return Ok(Put::Taken);
        }
        match self.size(path).await? {
            Some(Some(size)) if size != bytes.len() as u64 => {
                let message = format!("{}: {path} has {size} bytes after {} were written", self.place, bytes.len());
                Err(Error::new(Kind::Unavailable, format!("{message}; check the free space and the quota of the server")))
            }
            // It may have been fetched and moved away already.
            Some(_) | None => Ok(Put::New),
        }
    }

    /// Returns the size of a file, which a server may leave out; `None` if nothing has this name.
    async fn size(&self, path: &str) -> Result<Option<Option<u64>>, Error> {
        match self.sftp.lstat(path).await {
            Ok(found) => Ok(Some(found.attrs.size)),
            Err(why) if has_status(&why, StatusCode::NoSuchFile) => Ok(None),
            Err(why) => Err(self.failed("look at", path, &why)),
        }
    }

    /// Creates a part, in a folder that is made if it is missing. A stale part is replaced.
    async fn create(&self, part: &str) -> Result<String, Error> {
        let write = OpenFlags::WRITE | OpenFlags::CREATE;
        let open = async |flags| self.sftp.open(part, flags, FileAttributes::empty()).await;
        let mut opened = open(write | OpenFlags::EXCLUDE).await;
        if matches!(&opened, Err(why) if has_status(why, StatusCode::NoSuchFile)) {
            self.make_folder(folder_of(part)).await?;
            opened = open(write | OpenFlags::EXCLUDE).await;
        }
        if matches!(&opened, Err(why) if has_status(why, StatusCode::Failure)) {
            match self.sftp.remove(part).await {
                Err(why) if !has_status(&why, StatusCode::NoSuchFile) => return Err(self.failed("remove", part, &why)),
                Ok(_) | Err(_) => {}
            }
            opened = open(write | OpenFlags::TRUNCATE).await;
        }
        opened.map(|opened| opened.handle).map_err(|why| self.failed("write", part, &why))
    }

    async fn write(&self, handle: &str, part: &str, bytes: &[u8]) -> Result<(), Error> {
        let requests = stream::iter(bytes.chunks(self.chunk_bytes).enumerate());
        let requests = requests.map(|(at, chunk)| self.sftp.write(handle, (at * self.chunk_bytes) as u64, chunk.to_vec()));
        let written = requests.buffered(REQUESTS_MAX).try_for_each(async |_| Ok(())).await;
        written.map_err(|why| self.failed("write", part, &why))?;
        if !self.can_sync {
            return Ok(());
        }
        self.sftp.fsync(handle).await.map(drop).map_err(|why| self.failed("sync", part, &why))
    }

    /// Puts a part in place, unless the name is taken.
    async fn place(&self, part: &str, path: &str) -> Result<Put, Error> {
        if self.can_link && self.sftp.hardlink(part, path).await.is_ok() {
            drop(self.sftp.remove(part).await);
            return Ok(Put::New);
        }
        // The name is taken, or the file system has no links. A rename of some servers replaces a
        // file, so the name is looked at first.
        if self.size(path).await?.is_some() {
            return Ok(Put::Taken);
        }
        match self.sftp.rename(part, path).await {
            Ok(_) => Ok(Put::New),
            Err(why) => match self.size(path).await? {
                Some(_) => Ok(Put::Taken),
                None => Err(self.failed("rename a part to", path, &why)),
            },
        }
    }

    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// It has more bytes than the bound, or the server does not answer.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let handle = match self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await {
            Ok(opened) => opened.handle,
            Err(why) if has_status(&why, StatusCode::NoSuchFile) => return Ok(None),
            Err(why) => return Err(self.failed("read", path, &why)),
        };
        let read = self.read(&handle, path).await;
        drop(self.sftp.close(handle).await);
        read.map(Some)
    }

    async fn read(&self, handle: &str, path: &str) -> Result<Vec<u8>, Error> {
        let chunk_bytes = self.chunk_bytes;
        let chunk =
            async |at: u64| self.chunk(handle, at * chunk_bytes as u64).await.map_err(|why| self.failed("read", path, &why));
        let mut bytes = chunk(0).await?;
        if bytes.len() < chunk_bytes {
            return Ok(bytes);
        }
        let mut chunks = std::pin::pin!(stream::iter(1..).map(chunk).buffered(REQUESTS_MAX));
        while let Some(read) = chunks.next().await {
            let read = read?;
            let is_last = read.len() < chunk_bytes;
            bytes.extend(read);
            if bytes.len() > OBJECT_BYTES_MAX {
                let message = format!("{path} has more than {OBJECT_BYTES_MAX} bytes, which is the bound of what is read back");
                return Err(Error::new(Kind::Unavailable, format!("{}: {message}", self.place)));
            }
            if is_last {
                break;
            }
        }
        Ok(bytes)
    }

    /// Returns the bytes at a place of a file; fewer than a chunk at its end alone.
    async fn chunk(&self, handle: &str, from: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while bytes.len() < self.chunk_bytes {
            let wanted = self.chunk_bytes - bytes.len();
            match self.sftp.read(handle, from + bytes.len() as u64, wanted as u32).await {
                Ok(read) if read.data.is_empty() => break,
                Ok(read) if read.data.len() > wanted => {
                    return Err(Failure::UnexpectedBehavior("the answer has more bytes than were asked for".to_owned()));
                }
                Ok(read) => bytes.extend(read.data),
                Err(why) if has_status(&why, StatusCode::Eof) => break,
                Err(why) => return Err(why),
            }
        }
        Ok(bytes)
    }

    /// Returns the files whose paths begin with a text, without parts.
    ///
    /// # Errors
    /// There are more than the bound, or the server does not answer.
    pub(super) async fn names(&self, beginning: &str) -> Result<Vec<String>, Error> {
        let folder = folder_of(beginning);
        let opened = self.sftp.opendir(if folder.is_empty() { "." } else { folder }).await;
        let handle = match opened {
            Ok(opened) => opened.handle,
            Err(why) if has_status(&why, StatusCode::NoSuchFile) => return Ok(Vec::new()),
            Err(why) => return Err(self.failed("list", folder, &why)),
        };
        let mut names = Vec::new();
        loop {
            let listed = match self.sftp.readdir(&handle).await {
                Ok(listed) => listed.files,
                Err(why) if has_status(&why, StatusCode::Eof) => break,
                Err(why) => return Err(self.failed("list", folder, &why)),
            };
            let listed = listed.into_iter().map(|file| file.filename).filter(|name| !is_part(name) && !name.contains('/'));
            names.extend(listed.map(|name| format!("{folder}{name}")).filter(|path| path.starts_with(beginning)));
            if names.len() > NAMES_MAX {
                let message = format!("more than {NAMES_MAX} files begin with {beginning}, which is the bound");
                let message = format!("{message}; let `path` have a folder for each {{periodEnd}} or {{meterType}}");
                return Err(Error::new(Kind::Unavailable, format!("{}: {message}", self.place)));
            }
        }
        drop(self.sftp.close(handle).await);
        Ok(names)
    }

    /// Creates a folder and those above it, if they are missing.
    ///
    /// # Errors
    /// The server refuses it.
    pub(super) async fn make_folder(&self, folder: &str) -> Result<(), Error> {
        if self.is_folder(folder).await? {
            return Ok(());
        }
        for (slash, _) in folder.match_indices('/').filter(|(slash, _)| *slash > 0) {
            let above = &folder[..slash];
            // Some servers hide the folders above the one of the login.
            if matches!(self.sftp.stat(above).await, Err(why) if has_status(&why, StatusCode::NoSuchFile)) {
                let made = self.sftp.mkdir(above, FileAttributes::empty()).await;
                if let Err(why) = made
                    && self.sftp.stat(above).await.is_err()
                {
                    return Err(self.failed("create the folder", above, &why));
                }
            }
        }
        match self.is_folder(folder).await? {
            true => Ok(()),
            false => Err(Error::new(Kind::Invalid, format!("{}: there is no folder {folder}; create it", self.place))),
        }
    }

    /// Returns whether a folder is there.
    async fn is_folder(&self, folder: &str) -> Result<bool, Error> {
        let named = match folder.trim_end_matches('/') {
            "" if folder.is_empty() => ".",
            "" => "/",
            named => named,
        };
        match self.sftp.stat(named).await {
            Ok(found) if found.attrs.permissions.is_some() && !found.attrs.is_dir() => {
                Err(Error::new(Kind::Invalid, format!("{}: {folder} is not a folder; correct `path`", self.place)))
            }
            Ok(_) => Ok(true),
            Err(why) if has_status(&why, StatusCode::NoSuchFile) => Ok(false),
            Err(why) => Err(self.failed("look at", named, &why)),
        }
    }

    /// Returns the error of a request, with the remedy.
    fn failed(&self, verb: &str, path: &str, why: &Failure) -> Error {
        let code = match why {
            Failure::Status(status) => Some(status.status_code),
            _ => None,
        };
        let (kind, remedy) = match code {
            Some(StatusCode::PermissionDenied) => (Kind::Invalid, "; let the login do this on the server, or correct `path`"),
            Some(StatusCode::NoSuchFile) => (Kind::Invalid, "; create the folder, or correct `path`"),
            Some(StatusCode::OpUnsupported) => (Kind::Invalid, "; the server does not support this request"),
            Some(StatusCode::Failure) => {
                (Kind::Unavailable, "; check the free space and the quota of the server, and the length of the name")
            }
            _ => (Kind::Unavailable, ""),
        };
        let shown = match why {
            Failure::Status(status) => {
                let message: String = status.error_message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
                let code = status.status_code.to_string();
                if message.is_empty() || message == code { code } else { format!("{code} ({message})") }
            }
            Failure::Timeout => format!("no answer within {} s", self.timeout.as_secs()),
            why => why.to_string(),
        };
        Error::new(kind, format!("{}: cannot {verb} {path}: {shown}{remedy}", self.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_hidden_beside_its_file() {
        for (path, folder, part) in [
            ("/in/a/0.csv", "/in/a/", "/in/a/.0.csv.part"),
            ("in/0.csv", "in/", "in/.0.csv.part"),
            ("0.csv", "", ".0.csv.part"),
            ("/0.csv", "/", "/.0.csv.part"),
        ] {
            assert_eq!((folder_of(path), part_of(path).as_str()), (folder, part));
            assert!(is_part(&part_of(path)[folder.len()..]));
        }
        assert!(!is_part("0.csv"));
    }
}
