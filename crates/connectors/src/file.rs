//! Files as a source: opened one after the other, unpacked, cut into whole records.
//!
//! Cutting depends on the format ([`lines`], [`json`], [`csv`], [`parquet`]); reading
//! the records is the core's, on all threads.

mod ahead;
pub(crate) mod avro;
mod csv;
mod gzip;
mod infer;
mod json;
mod lines;
mod open;
mod parquet;
mod taken;
mod text;
mod typed;
mod xlsx;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ahead::Ahead;
use flowmeter_core::event::{Block, Origin, Path};
use flowmeter_core::mediation::Decoder;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::{Format, SourceKind, SourcePlan};
use flowmeter_engine::live::Taken;
use flowmeter_engine::{Error, Kind, Received, Source};
pub use infer::infer;
use taken::Contents;

/// Bytes of a block: enough to amortise a hand-over, few enough for the cache.
const BLOCK_BYTES: usize = 256 << 10;

/// Cuts one opened file into blocks.
pub(crate) trait Cutter: Send {
    /// Fills a cleared block with whole records; says no at the end. `bytes_max` is the
    /// limit of an event.
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error>;
}

/// The files of all sources of a plan, in order.
pub struct Files {
    plan: Arc<Plan>,
    waiting: VecDeque<(usize, String)>,
    current: Option<Opened>,
    progress: Arc<open::Progress>,
    bytes_total: Option<u64>,
    /// Contents that are not taken again.
    contents: Option<Contents>,
}

struct Opened {
    name: Arc<str>,
    source: usize,
    columns: Option<Arc<[Box<str>]>>,
    cutter: Box<dyn Cutter>,
    decoder: Arc<Decoder>,
    stamp: open::Stamp,
}

impl Files {
    /// The files of a plan's sources; `inputs` replace the paths of the first source.
    pub fn new(plan: Arc<Plan>, inputs: &[String]) -> Result<Files, Error> {
        let mut waiting = VecDeque::new();
        for (at, source) in plan.sources.iter().enumerate() {
            if !(source.is_http() || matches!(source.kind, SourceKind::Files(_)) || at == 0 && !inputs.is_empty()) {
                let (id, kind) = (&source.id, source.kind.name());
                let message =
                    format!("a server reads the source `{id}` ({kind}); use `flowmeter serve`, or give files with --input");
                return Err(Error::new(Kind::Invalid, message));
            }
            let paths = if at == 0 && !inputs.is_empty() { inputs } else { &source.paths };
            for path in paths {
                let path = crate::expand(path)?;
                for found in open::find(&path)? {
                    if !waiting.contains(&(at, found.clone())) {
                        waiting.push_back((at, found));
                    }
                }
            }
        }
        let sizes = waiting.iter().map(|(_, path)| open::size(path));
        let bytes_total = sizes.sum::<Option<u64>>();
        Ok(Files { plan, waiting, current: None, progress: Arc::default(), bytes_total, contents: None })
    }

    /// Skips files whose content a source took before. `taken` has those of each source, by its id.
    #[must_use]
    pub fn except(self, taken: BTreeMap<String, Taken>) -> Files {
        Files { contents: Some(Contents::of(taken)), ..self }
    }

    /// Returns what each source has taken, with the files that were read; nothing without
    /// [`Files::except`].
    pub fn into_taken(self) -> BTreeMap<String, Taken> {
        self.contents.map(Contents::into_taken).unwrap_or_default()
    }

    /// One file, read as those of a source.
    pub(crate) fn one(plan: Arc<Plan>, source: usize, path: &std::path::Path) -> Result<Files, Error> {
        let path = path.to_str().ok_or_else(|| {
            let message = format!("{}: the name of the file is not UTF-8; rename it", path.display());
            Error::new(Kind::Invalid, message)
        })?;
        let bytes_total = open::size(path);
        let waiting = VecDeque::from([(source, path.to_owned())]);
        Ok(Files { plan, waiting, current: None, progress: Arc::default(), bytes_total, contents: None })
    }

    /// Opens a file, unless its content was taken before. Standard input and pipes have none that could
    /// be known.
    fn begin(&mut self, source: usize, path: &str) -> Result<Option<Opened>, Error> {
        let stamp = open::stamp(path);
        if let Some((contents, (bytes, _))) = self.contents.as_mut().zip(stamp)
            && let Some(before) = contents.take(&self.plan.sources[source].id, path)?
        {
            self.progress.add(bytes);
            self.progress.warn(format!("{path}: skipped, since its content was taken before as {before}"));
            return Ok(None);
        }
        // The content may not change between its digest and its end.
        Ok(Some(Opened { stamp, ..self.open(source, path)? }))
    }

    fn open(&self, source: usize, path: &str) -> Result<Opened, Error> {
        let spec = &self.plan.sources[source];
        let format = spec.format.unwrap_or_else(|| Format::of_file(path));
        if format == Format::Avro {
            let rows = avro::Rows::open(path, &self.plan, source, &self.progress)?;
            let decoder = spec.decoder(&self.plan, format, &rows.names());
            return Ok(self.opened(source, path, None, Ahead::of(rows), decoder));
        }
        if format == Format::Parquet {
            let rows = parquet::Rows::open(path, &self.plan, source, &self.progress)?;
            let decoder = spec.decoder(&self.plan, format, &rows.names());
            return Ok(self.opened(source, path, None, Ahead::of(rows), decoder));
        }
        if let Some(names) = spec.known_names(format) {
            self.check_columns(source, path, &names)?;
        }
        if format == Format::Xlsx {
            let (rows, columns) = xlsx::open(path, spec)?;
            return self.opened_table(source, path, format, rows, columns);
        }
        let reader = open::open(path, &spec.compression, spec.encoding.as_deref(), &self.progress)?;
        let cutter: Box<dyn Cutter> = match format {
            Format::Ndjson | Format::Json if format == Format::Json || spec.items.is_some() => {
                Box::new(json::Elements::read(reader, path, spec.items.as_ref())?)
            }
            Format::Ndjson | Format::Json => lines::lines_or_list(reader, path)?,
            Format::AccessLog | Format::Fixed => Box::new(lines::Lines::new(reader, path)),
            Format::Csv => {
                let (rows, columns) = csv::Rows::open(reader, path, spec)?;
                return self.opened_table(source, path, format, rows, columns);
            }
            Format::Parquet | Format::Avro | Format::Xlsx => {
                return Err(Error::new(Kind::Bug, "a file of columns is opened elsewhere"));
            }
        };
        let decoder = spec.decoder(&self.plan, format, &[]);
        Ok(self.opened(source, path, None, cutter, decoder))
    }

    /// A file of rows whose columns are known. An empty file has none.
    fn opened_table(
        &self,
        source: usize,
        path: &str,
        format: Format,
        rows: csv::Rows,
        columns: Vec<Box<str>>,
    ) -> Result<Opened, Error> {
        let spec = &self.plan.sources[source];
        if !columns.is_empty() {
            let names: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
            self.check_columns(source, path, &names)?;
            check_types(spec, path, &columns)?;
        }
        let decoder = spec.decoder(&self.plan, format, &columns);
        Ok(self.opened(source, path, Some(columns), Box::new(rows), decoder))
    }

    /// Refuses a file that lacks a column that the pipeline names.
    fn check_columns(&self, source: usize, path: &str, names: &[&str]) -> Result<(), Error> {
        let has = |path: &Path| names.iter().any(|name| path.is_named(name));
        let checked = self.plan.check_columns(source, names, &has);
        checked.map_err(|why| Error::new(Kind::Invalid, format!("{path}: {why}")))
    }

    /// Returns warnings about files that did not stop their reading, each once.
    pub fn warnings(&self) -> Vec<String> {
        self.progress.warnings()
    }

    fn opened(
        &self,
        source: usize,
        path: &str,
        columns: Option<Vec<Box<str>>>,
        cutter: Box<dyn Cutter>,
        decoder: Decoder,
    ) -> Opened {
        let columns = columns.map(Into::into);
        Opened { name: path.into(), source, columns, cutter, decoder: Arc::new(decoder), stamp: open::stamp(path) }
    }
}

impl Opened {
    /// A file that changed while it was read may have been read half.
    fn check_unchanged(&self) -> Result<(), Error> {
        if self.stamp.is_none() || self.stamp == open::stamp(&self.name) {
            return Ok(());
        }
        let message =
            format!("{}: the file changed while it was read; nothing of it counts. Read it once it is complete", self.name);
        Err(Error::new(Kind::Unavailable, message))
    }
}

/// Refuses types of columns that a file does not have.
fn check_types(spec: &SourcePlan, path: &str, columns: &[Box<str>]) -> Result<(), Error> {
    let is_column = |name: &str| columns.iter().any(|column| **column == *name);
    let is_optional = |name: &str| spec.optional.iter().any(|optional| optional == name);
    match spec.types.iter().find(|(name, _)| !is_column(name) && !is_optional(name)) {
        None => Ok(()),
        Some((unknown, _)) => {
            let columns = columns.join(", ");
            let message = format!("{path}: `types` names a column `{unknown}` that the file does not have; it has {columns}");
            Err(Error::new(Kind::Invalid, message))
        }
    }
}

pub(crate) use open::find;
pub(crate) use taken::digest_of;

/// The cutter of a file of rows, and the columns of delimited ones.
type Table = (Box<dyn Cutter>, Option<Vec<Box<str>>>);

/// Opens a file of rows of a table.
pub(crate) fn open_table(path: &str, format: Format, spec: &SourcePlan) -> Result<Table, Error> {
    let progress = Arc::default();
    let reader = || open::open(path, &spec.compression, spec.encoding.as_deref(), &progress);
    match format {
        Format::Ndjson | Format::Json if format == Format::Json || spec.items.is_some() => {
            Ok((Box::new(json::Elements::read(reader()?, path, spec.items.as_ref())?), None))
        }
        Format::Ndjson | Format::Json => Ok((lines::lines_or_list(reader()?, path)?, None)),
        Format::Csv => {
            let (rows, columns) = csv::Rows::open(reader()?, path, spec)?;
            Ok((Box::new(rows), Some(columns)))
        }
        Format::Xlsx => {
            let (rows, columns) = xlsx::open(path, spec)?;
            Ok((Box::new(rows), Some(columns)))
        }
        Format::Parquet | Format::Avro | Format::AccessLog | Format::Fixed => {
            let message =
                format!("{path}: a table is read from NDJSON, JSON, CSV or XLSX; write format: csv, or convert the file");
            Err(Error::new(Kind::Invalid, message))
        }
    }
}

impl Source for Files {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some((source, path)) = self.waiting.pop_front() else { return Ok(Received::End) };
                self.current = self.begin(source, &path).inspect_err(|_| self.waiting.clear())?;
                continue;
            };
            match current.cutter.cut(block, self.plan.event_bytes_max) {
                Ok(true) => {
                    let (name, columns) = (Arc::clone(&current.name), current.columns.clone());
                    block.origin = Origin { name, source: current.source, columns };
                    return Ok(Received::Block(Arc::clone(&current.decoder)));
                }
                Ok(false) => {
                    let ended = self.current.take();
                    ended.map_or(Ok(()), |ended| ended.check_unchanged()).inspect_err(|_| self.waiting.clear())?;
                }
                Err(why) => {
                    self.current = None;
                    self.waiting.clear();
                    return Err(why);
                }
            }
        }
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.progress.get(), self.bytes_total)
    }
}
