//! Files as a source: opened one after the other, unpacked, cut into whole records.
//!
//! Cutting depends on the format ([`lines`], [`json`], [`csv`], [`parquet`]); reading
//! the records is the core's, on all threads.

mod csv;
mod json;
mod lines;
mod open;
mod parquet;

use std::collections::VecDeque;
use std::sync::Arc;

use flowmeter_core::event::{Block, Origin};
use flowmeter_core::mediation::Decoder;
use flowmeter_core::pipeline::{Format, SourcePlan};
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Kind, Received, Source};

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
}

struct Opened {
    name: Arc<str>,
    source: usize,
    columns: Option<Arc<[Box<str>]>>,
    cutter: Box<dyn Cutter>,
    decoder: Arc<Decoder>,
}

impl Files {
    /// The files of a plan's sources; `inputs` replace the paths of the first source.
    pub fn new(plan: Arc<Plan>, inputs: &[String]) -> Result<Files, Error> {
        let mut waiting = VecDeque::new();
        for (at, source) in plan.sources.iter().enumerate() {
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
        Ok(Files { plan, waiting, current: None, progress: Arc::default(), bytes_total })
    }

    fn open(&self, source: usize, path: &str) -> Result<Opened, Error> {
        let spec = &self.plan.sources[source];
        let format = spec.format.unwrap_or_else(|| Format::of_file(path));
        if format == Format::Parquet {
            return self.opened(
                source,
                path,
                format,
                None,
                Box::new(parquet::Rows::open(path, &self.plan, source, &self.progress)?),
            );
        }
        let reader = open::open(path, &spec.compression, &self.progress)?;
        match format {
            Format::Ndjson | Format::AccessLog => {
                self.opened(source, path, format, None, Box::new(lines::Lines::new(reader, path)))
            }
            Format::Json => self.opened(source, path, format, None, Box::new(json::Elements::read(reader, path)?)),
            Format::Csv => {
                let (rows, columns) = csv::Rows::open(reader, path, spec)?;
                self.opened(source, path, format, Some(columns), Box::new(rows))
            }
            Format::Parquet => Err(Error::new(Kind::Bug, "a Parquet file is opened elsewhere")),
        }
    }

    fn opened(
        &self,
        source: usize,
        path: &str,
        format: Format,
        columns: Option<Vec<Box<str>>>,
        cutter: Box<dyn Cutter>,
    ) -> Result<Opened, Error> {
        let spec: &SourcePlan = &self.plan.sources[source];
        let named = columns.as_deref().unwrap_or_default();
        if let Some((unknown, _)) =
            spec.types.iter().find(|(name, _)| columns.is_some() && !named.iter().any(|column| **column == **name))
        {
            let message =
                format!("{path}: `types` names a column `{unknown}` that the file does not have; it has {}", named.join(", "));
            return Err(Error::new(Kind::Invalid, message));
        }
        let decoder = Arc::new(spec.decoder(&self.plan, format, named));
        Ok(Opened { name: path.into(), source, columns: columns.map(Into::into), cutter, decoder })
    }
}

pub(crate) use open::find;

/// The cutter of a file of rows, and the columns of delimited ones.
type Table = (Box<dyn Cutter>, Option<Vec<Box<str>>>);

/// Opens a file of rows of a table.
pub(crate) fn open_table(path: &str, format: Format, spec: &SourcePlan) -> Result<Table, Error> {
    let progress = Arc::default();
    let reader = || open::open(path, &spec.compression, &progress);
    match format {
        Format::Ndjson => Ok((Box::new(lines::Lines::new(reader()?, path)), None)),
        Format::Json => Ok((Box::new(json::Elements::read(reader()?, path)?), None)),
        Format::Csv => {
            let (rows, columns) = csv::Rows::open(reader()?, path, spec)?;
            Ok((Box::new(rows), Some(columns)))
        }
        Format::Parquet | Format::AccessLog => {
            let message = format!("{path}: a table is read from NDJSON, JSON or CSV; write format: csv, or convert the file");
            Err(Error::new(Kind::Invalid, message))
        }
    }
}

impl Source for Files {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        loop {
            let Some(current) = &mut self.current else {
                let Some((source, path)) = self.waiting.pop_front() else { return Ok(Received::End) };
                self.current = Some(self.open(source, &path).inspect_err(|_| self.waiting.clear())?);
                continue;
            };
            match current.cutter.cut(block, self.plan.event_bytes_max) {
                Ok(true) => {
                    let (name, columns) = (Arc::clone(&current.name), current.columns.clone());
                    block.origin = Origin { name, source: current.source, columns };
                    return Ok(Received::Block(Arc::clone(&current.decoder)));
                }
                Ok(false) => self.current = None,
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
