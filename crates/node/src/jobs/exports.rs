//! Exports: the records of a time as a file that can be fetched.
//!
//! The file is written in the folder `exports` of the data folder, beside the work, and appears
//! once it is complete. The newest files are kept; those that no job names are removed at a start.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowmeter_connectors::export::{Export, Format, Groups, Labels};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use serde::Deserialize;
use serde_json::Value;

use super::{Job, JobAction, JobKind, JobState, Progress};
use crate::audit::Who;
use crate::installation::{Installation, RESERVE_BYTES, Served};
use crate::records::RecordFilter;
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// The folder of export files in the data folder.
pub(crate) const EXPORTS_FOLDER: &str = "exports";
/// Records that are read at once.
const PAGE: usize = 1_000;

/// The format of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Csv,
    Ndjson,
    Parquet,
    Xlsx,
}

impl ExportFormat {
    /// All formats of a file.
    pub const ALL: [ExportFormat; 4] = [ExportFormat::Csv, ExportFormat::Ndjson, ExportFormat::Parquet, ExportFormat::Xlsx];

    /// Returns the name in the API, which is also the ending of the file.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Csv => "csv",
            ExportFormat::Ndjson => "ndjson",
            ExportFormat::Parquet => "parquet",
            ExportFormat::Xlsx => "xlsx",
        }
    }

    /// Returns the media type of the file.
    pub fn media_type(self) -> &'static str {
        match self {
            ExportFormat::Csv => "text/csv; charset=utf-8",
            ExportFormat::Ndjson => "application/x-ndjson",
            ExportFormat::Parquet => "application/vnd.apache.parquet",
            ExportFormat::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    fn format(self) -> Format {
        match self {
            ExportFormat::Csv => Format::Csv,
            ExportFormat::Ndjson => Format::Ndjson,
            ExportFormat::Parquet => Format::Parquet,
            ExportFormat::Xlsx => Format::Xlsx,
        }
    }
}

/// An export that is asked for.
#[derive(Clone, Debug)]
pub struct ExportWish {
    pub format: ExportFormat,
    /// Records of this pipeline; of all, without.
    pub pipeline: Option<String>,
    pub filter: RecordFilter,
    /// Records that were flushed later are left out; now, without.
    pub up_to: Option<Timestamp>,
    /// The selector as the request wrote it, for the audit.
    pub written: Value,
    pub is_dry_run: bool,
}

/// The fields of a record that make the columns of its period.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    timezone: String,
    period_start: Option<String>,
    period_end: Option<String>,
}

impl Installation {
    /// Begins an export of records. With a dry run, only counts what it would take.
    pub fn begin_export(self: &Arc<Self>, who: &Who, wish: ExportWish) -> Result<Job, Refused> {
        let mut job = self.new_job(who, JobKind::Export, JobAction::Records, wish.up_to);
        let pipelines = match &wish.pipeline {
            // A file that lacked the records of a pipeline would be billed from.
            None => {
                self.all_loaded(&who.namespace, None)?;
                self.served_in(&who.namespace)
            }
            Some(name) => {
                let kept = self.pipeline(&who.namespace, name)?;
                job.pipeline.clone_from(&kept.name);
                let not_loaded = || {
                    let detail = format!("`{name}` is not loaded, so its records cannot be read");
                    Box::new(Refusal::new(RefusalKind::Conflict, detail).field("selector.filter.pipeline"))
                };
                vec![self.served_of(kept.id).ok_or_else(not_loaded)?]
            }
        };
        let (filter, up_to) = (wish.filter, job.up_to);
        if wish.is_dry_run {
            for served in &pipelines {
                let count = |_: &[u8]| {
                    job.matched += 1;
                    Ok(())
                };
                each_record(served, &filter, up_to, &mut || true, count).map_err(|why| refusal_of(&why))?;
            }
            job.state = JobState::DryRun;
            return Ok(job);
        }
        let folder = self.settings.data.join(EXPORTS_FOLDER);
        let format = wish.format;
        self.begin_job(who, job, &wish.written, move |installation, progress| {
            let name = format!("J-{:08}.{}", progress.number, format.name());
            let file = folder.join(&name);
            let output = Output { part: file.with_extension("part"), file, name };
            let written = installation.export_to(&output, format, &pipelines, &filter, up_to, progress);
            written.map_err(|why| why.to_string())
        })
    }

    fn export_to(
        &self,
        output: &Output,
        format: ExportFormat,
        pipelines: &[Arc<Served>],
        filter: &RecordFilter,
        up_to: Timestamp,
        progress: &Progress<'_>,
    ) -> Result<(), Error> {
        let mut export = Export::new(format.format(), Groups::Column, output.sink()?)?.without_formulas();
        for served in pipelines {
            let mut since_look = 0;
            each_record(served, filter, up_to, &mut || !progress.is_canceled(), |json| {
                since_look += 1;
                if since_look >= PAGE {
                    since_look = 0;
                    self.export_has_room()?;
                }
                let dated: Dated = serde_json::from_slice(json).map_err(|why| Error::new(Kind::Corrupt, why.to_string()))?;
                export.push(json, &dated.labels(&served.kept.name))?;
                progress.matched();
                progress.done("written", 1);
                Ok(())
            })?;
        }
        if progress.is_canceled() {
            return Ok(());
        }
        export.finish()?;
        output.keep()?;
        progress.writes(output.name.clone());
        Ok(())
    }

    /// Removes files of exports that no job names: those that were not completed.
    pub(crate) fn remove_exports(&self) {
        let Ok(files) = std::fs::read_dir(self.settings.data.join(EXPORTS_FOLDER)) else { return };
        let jobs = self.jobs.lock();
        for file in files.flatten().map(|file| file.path()) {
            let name = file.file_name().and_then(|name| name.to_str());
            if !jobs.values().any(|job| job.file.is_some() && job.file.as_deref() == name) {
                // A file that cannot be removed only takes room.
                drop(std::fs::remove_file(file));
            }
        }
    }

    /// Checks that the disk keeps room for what the server needs.
    fn export_has_room(&self) -> Result<(), Error> {
        match self.disk.free_bytes() {
            Ok(free) if free < 2 * RESERVE_BYTES => {
                let message = "the disk is nearly full, and the rest is for events; export less, or use `flowmeter export`";
                Err(Error::new(Kind::Full, message))
            }
            _ => Ok(()),
        }
    }
}

/// Passes the wanted records of a pipeline to `take`, in the order of flushing, while `continues`.
fn each_record(
    served: &Served,
    filter: &RecordFilter,
    up_to: Timestamp,
    continues: &mut dyn FnMut() -> bool,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut from, end) = served.records_extent()?;
    while from < end && continues() {
        let until = end.min(from.saturating_add(PAGE as u64));
        let wanted = |record: &crate::records::RecordView| record.flushed_at <= up_to.nanos() && filter.takes(record);
        let (found, _) = served.records_between(from, until, usize::MAX, wanted)?;
        for record in found {
            take(record.json.get().as_bytes())?;
        }
        from = until;
    }
    Ok(())
}

impl Dated {
    /// Returns the columns that the record itself does not have.
    fn labels<'a>(&self, pipeline: &'a str) -> Labels<'a> {
        Labels::of(pipeline, &self.timezone, self.period_start.as_deref(), self.period_end.as_deref())
    }
}

/// The file of an export. It appears under its name once it is complete.
struct Output {
    part: PathBuf,
    file: PathBuf,
    name: String,
}

impl Output {
    fn sink(&self) -> Result<Box<dyn Write + Send>, Error> {
        let failed = |why: &std::io::Error| Error::io(self.file.display(), why);
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|why| failed(&why))?;
        Ok(Box::new(BufWriter::new(File::create(&self.part).map_err(|why| failed(&why))?)))
    }

    fn keep(&self) -> Result<(), Error> {
        std::fs::rename(&self.part, &self.file).map_err(|why| Error::io(self.file.display(), &why))
    }
}

impl Drop for Output {
    /// Removes the part of a file that was not completed; after `keep` there is none.
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.part));
    }
}
