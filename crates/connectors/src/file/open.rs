//! Finding files and opening them, unpacked.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use flowmeter_engine::{Error, Kind};

use super::gzip::Members;
use super::text;

/// Bytes read so far, as they are on disk, and what was noticed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    warnings: Mutex<Vec<String>>,
}

impl Progress {
    pub(super) fn get(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes something about a file that does not stop reading it.
    pub(super) fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Takes what was noticed so far.
    pub(super) fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Length and time of the last change of a file: both stay while it is read.
pub(super) type Stamp = Option<(u64, Option<SystemTime>)>;

/// The stamp of a file; none of standard input and pipes.
pub(super) fn stamp(path: &str) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    meta.is_file().then(|| (meta.len(), meta.modified().ok()))
}

/// The files of a path or pattern, sorted by name; `-` is standard input.
pub(crate) fn find(path: &str) -> Result<Vec<String>, Error> {
    if path == "-" || !path.contains(['*', '?', '[']) || std::path::Path::new(path).exists() {
        return Ok(vec![path.to_owned()]);
    }
    let invalid = |why: &dyn std::fmt::Display| Error::new(Kind::Invalid, format!("{path}: {why}"));
    let mut found = Vec::new();
    for entry in glob::glob(path).map_err(|why| invalid(&why))? {
        let entry = entry.map_err(|why| invalid(&why))?;
        if entry.is_file() {
            found.push(entry.to_string_lossy().into_owned());
        }
    }
    if found.is_empty() {
        return Err(invalid(&"no file matches this pattern"));
    }
    Ok(found)
}

/// The size of a file, if it has one.
pub(super) fn size(path: &str) -> Option<u64> {
    let meta = std::fs::metadata(path).ok()?;
    meta.is_file().then_some(meta.len())
}

/// Opens a file of text: unpacked, without a byte order mark, in UTF-8. The compression `auto`
/// looks at the first bytes.
pub(super) fn open(
    path: &str,
    compression: &str,
    encoding: Option<&str>,
    progress: &Arc<Progress>,
) -> Result<Box<dyn Read + Send>, Error> {
    text::in_utf8(unpacked(path, compression, progress)?, path, encoding)
}

fn unpacked(path: &str, compression: &str, progress: &Arc<Progress>) -> Result<Box<dyn Read + Send>, Error> {
    let raw: Box<dyn Read + Send> = match path {
        "-" => Box::new(std::io::stdin()),
        path => {
            let file = File::open(path).map_err(|why| Error::io(path, &why))?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(Error::new(Kind::Invalid, format!("{path}: a folder; write {path}/*.ndjson for the files in it")));
            }
            Box::new(file)
        }
    };
    let mut counted = Counted { inner: raw, progress: Arc::clone(progress) };
    let mut magic = Vec::new();
    if compression == "auto" {
        let read = counted.by_ref().take(4).read_to_end(&mut magic);
        read.map_err(|why| Error::io(path, &why))?;
    }
    let kind = match magic.as_slice() {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "zstd",
        _ => compression,
    };
    let whole = std::io::Cursor::new(magic).chain(counted);
    Ok(match kind {
        "gzip" => Box::new(Unpacked::of(Members::new(BufReader::with_capacity(256 << 10, whole), path, progress), "gzip")),
        "zstd" => Box::new(Unpacked::of(zstd::Decoder::new(whole).map_err(|why| Error::io(path, &why))?, "zstd")),
        _ => Box::new(whole),
    })
}

/// Returns the error of a file that could not be read.
pub(super) fn failed(path: &str, why: &std::io::Error) -> Error {
    match why.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>()) {
        Some(damaged) => Error::new(Kind::Invalid, format!("{path}: {damaged}")),
        None => Error::io(path, why),
    }
}

/// Unpacked bytes, counted so that an error names the place of the damage.
struct Unpacked<R> {
    inner: R,
    form: &'static str,
    bytes: u64,
    lines: u64,
}

/// Packed data that is damaged or cut short.
#[derive(Debug)]
struct Damaged {
    form: &'static str,
    bytes: u64,
    line: u64,
    is_short: bool,
    why: String,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Damaged { form, bytes, line, is_short, why } = self;
        let what = if *is_short { "cut short" } else { "damaged" };
        write!(
            f,
            "the {form} data is {what}, behind {bytes} unpacked bytes, about line {line}: {why}; nothing of it counts. Get the \
             whole file, and check it with `{form} -t`"
        )
    }
}

impl std::error::Error for Damaged {}

impl<R> Unpacked<R> {
    fn of(inner: R, form: &'static str) -> Unpacked<R> {
        Unpacked { inner, form, bytes: 0, lines: 0 }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.bytes += read as u64;
                self.lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
                Ok(read)
            }
            // Errors of the operating system are not of the data.
            Err(why) if why.raw_os_error().is_some() || why.kind() == ErrorKind::Interrupted => Err(why),
            Err(why) => {
                let is_short = why.kind() == ErrorKind::UnexpectedEof;
                let (form, bytes, line) = (self.form, self.bytes, self.lines + 1);
                Err(std::io::Error::new(ErrorKind::InvalidData, Damaged { form, bytes, line, is_short, why: why.to_string() }))
            }
        }
    }
}

struct Counted<R> {
    inner: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}
