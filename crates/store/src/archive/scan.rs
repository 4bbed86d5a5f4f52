//! Reads the archive: rows in the order of arrival, in bounded memory.
//!
//! A scan skips files by their names, and row groups by the bounds of their columns and by the
//! filter of their ids. If a file has an index that helps ([`keys`]), the scan looks only at the rows
//! that the index has. Of a row group that may hold wanted events, it first reads the columns with
//! conditions, and the others only for the wanted rows. Checksums are compared before anything is
//! decompressed or skipped: a row that is read is one that was written, and the Parquet reader,
//! which may panic over a corrupt index, never reads one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::Length;
use parquet::file::statistics::Statistics;

use super::columns::{self, ID};
use super::draft::{CHECKSUMS_KEY, FORMAT, FORMAT_KEY, PIECES_KEY};
use super::event::Row;
use super::filter::{Filter, chunk};
use super::finished::{self, Finished};
use super::group::Group;
use super::input::{Input, Pieces};
use super::keys;
use crate::disk::Disk;
use crate::{Error, Kind};

/// Reads the finished files of an archive, as they are now. A file that retention removes in the
/// meantime is skipped. The archive need not be open.
pub fn scan(disk: Arc<dyn Disk>, folder: &str, filter: Filter) -> Result<Scan, Error> {
    let files = finished::list(&*disk, folder)?;
    let files = files.into_iter().filter(|file| filter.may_hold(file.first, file.last)).collect();
    Ok(Scan { disk, folder: folder.to_owned(), filter, files, reading: None, rows: Vec::new().into_iter() })
}

/// Returns the position after the last finished one, from the names of the files, also while an
/// archive writes; `None` if nothing was ever archived.
pub fn extent(disk: &dyn Disk, folder: &str) -> Result<Option<u64>, Error> {
    match finished::list(disk, folder)?.last() {
        Some(newest) => Ok(Some(newest.last + 1)),
        None => super::retention::remembered(disk, folder),
    }
}

/// Returns the first position that is archived and was not removed; `None` if nothing was ever archived.
pub fn first(disk: &dyn Disk, folder: &str) -> Result<Option<u64>, Error> {
    match finished::list(disk, folder)?.first() {
        Some(oldest) => Ok(Some(oldest.first)),
        None => super::retention::remembered(disk, folder),
    }
}

/// Archived events, in the order of arrival. It ends after an error.
pub struct Scan {
    disk: Arc<dyn Disk>,
    folder: String,
    filter: Filter,
    files: VecDeque<Finished>,
    reading: Option<Reading>,
    rows: vec::IntoIter<Row>,
}

/// A file being read, and the position in it.
struct Reading {
    open: Open,
    groups: Range<usize>,
    group: Option<Group>,
    /// The rows that may be wanted, if an index has them: those of the next row groups.
    rows: Option<VecDeque<u64>>,
    /// The first row of the next row group.
    row: u64,
}

impl Reading {
    /// Returns the rows of a row group that may be wanted, if an index has them.
    fn rows_of(&mut self, group: usize) -> Option<Vec<usize>> {
        let (from, rows) = (self.row, self.open.metadata.row_group(group).num_rows().cast_unsigned());
        self.row += rows;
        let candidates = self.rows.as_mut()?;
        let mut found = Vec::new();
        while let Some(row) = candidates.pop_front_if(|row| *row < from + rows) {
            found.push((row - from) as usize);
        }
        Some(found)
    }
}

impl Iterator for Scan {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Result<Row, Error>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(why) => {
                    self.files.clear();
                    self.reading = None;
                    return Some(Err(why));
                }
            }
        }
    }
}

impl Scan {
    /// Advances by a batch, a row group or a file. Returns false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        let Some(reading) = &mut self.reading else {
            let Some(file) = self.files.pop_front() else { return Ok(false) };
            self.reading = self.open(&file)?;
            if self.reading.as_ref().is_some_and(|reading| reading.open.begins_behind(&self.filter)) {
                // Events are in the order of their receipt.
                self.files.clear();
                self.reading = None;
            }
            return Ok(true);
        };
        if let Some(group) = &mut reading.group {
            let rows = reading.open.rows(group)?;
            if rows.is_empty() {
                reading.group = None;
            }
            self.rows = rows.into_iter();
            return Ok(true);
        }
        match reading.groups.next() {
            Some(group) => {
                let rows = reading.rows_of(group);
                reading.group = reading.open.read(group, &self.filter, rows.as_deref())?;
            }
            None => self.reading = None,
        }
        Ok(true)
    }

    fn open(&self, file: &Finished) -> Result<Option<Reading>, Error> {
        let wanted = self.filter.keys();
        let rows = if wanted.is_empty() { None } else { keys::rows(&*self.disk, &self.folder, &wanted, file) };
        if rows.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let path = format!("{}/{}", self.folder, file.name());
        let open = match Open::new(&*self.disk, &path, file) {
            Err(_) if self.is_retained(file)? => return Ok(None),
            open => open?,
        };
        let groups = 0..open.groups().len();
        Ok(Some(Reading { open, groups, group: None, rows: rows.map(VecDeque::from), row: 0 }))
    }

    /// Whether retention has removed a file since the scan began.
    fn is_retained(&self, file: &Finished) -> Result<bool, Error> {
        let now = finished::list(&*self.disk, &self.folder)?;
        Ok(now.first().is_none_or(|oldest| oldest.first > file.first))
    }
}

/// A finished file whose footer was read and agrees with its name.
pub(super) struct Open {
    file: Finished,
    input: Input,
    metadata: ParquetMetaData,
    /// The ends of row groups, and their checksums.
    checksums: Vec<(u64, u32)>,
    /// The same of pieces; older files have none.
    pieces: Option<Arc<Pieces>>,
}

impl Open {
    pub(super) fn new(disk: &dyn Disk, path: &str, file: &Finished) -> Result<Open, Error> {
        let input = Input::open(disk, path).map_err(|why| Error::io(path, &why))?;
        let load = |index: PageIndexPolicy| {
            let reader = ParquetMetaDataReader::new().with_offset_index_policy(index);
            reader.parse_and_finish(&input).map_err(|why| input.cause(why))
        };
        let metadata = load(PageIndexPolicy::Skip)?;
        let footer = metadata.file_metadata();
        let entry = |key: &str| footer.key_value_metadata()?.iter().find(|entry| entry.key == key)?.value.clone();
        match entry(FORMAT_KEY).as_deref() {
            Some(FORMAT) => {}
            Some(other) => return Err(Error::new(Kind::Format, format!("{path}: format {other}, not {FORMAT}"))),
            None => return Err(Error::corrupt(path, "has no format")),
        }
        if !columns::are_columns_of(footer.schema_descr()) {
            return Err(Error::corrupt(path, "has other columns"));
        }
        if u64::try_from(footer.num_rows()).ok() != Some(file.rows()) {
            return Err(Error::corrupt(
                path,
                format_args!("has {} rows, not the {} of its name", footer.num_rows(), file.rows()),
            ));
        }
        let checksums = entry(CHECKSUMS_KEY).and_then(|sums| parse_checksums(&sums)).unwrap_or_default();
        if checksums.len() != metadata.num_row_groups() {
            return Err(Error::corrupt(path, "has not a checksum for each row group"));
        }
        let end = checksums.last().map_or(0, |(end, _)| *end);
        if input.checksum(end, input.len())? != file.checksum {
            return Err(input.cause("what follows its row groups is not what was written"));
        }
        // The positions of pages are needed to read single ones. They are trusted only now.
        let pieces = entry(PIECES_KEY).and_then(|text| Pieces::read(&text, end)).map(Arc::new);
        let metadata = load(PageIndexPolicy::Optional)?;
        Ok(Open { file: file.clone(), input, metadata, checksums, pieces })
    }

    pub(super) fn groups(&self) -> impl ExactSizeIterator<Item = &RowGroupMetaData> {
        self.metadata.row_groups().iter()
    }

    /// Whether everything in it was received after the wanted events.
    fn begins_behind(&self, filter: &Filter) -> bool {
        let received_at = |group| chunk(group, columns::RECEIVED_AT).and_then(ColumnChunkMetaData::statistics);
        match (&filter.received_at, self.groups().next().and_then(received_at)) {
            (Some(range), Some(Statistics::Int64(bounds))) => bounds.min_opt().is_some_and(|min| *min >= range.end),
            _ => false,
        }
    }

    /// Returns the wanted rows of a row group, of all or of some; `None` where it can have none.
    fn read(&self, group: usize, filter: &Filter, rows: Option<&[usize]>) -> Result<Option<Group>, Error> {
        let metadata = self.metadata.row_group(group);
        if rows.is_some_and(<[usize]>::is_empty) || !filter.may_be_in(metadata) || !self.may_have_id(metadata, filter)? {
            return Ok(None);
        }
        let input = match (&self.pieces, rows) {
            // Pages with none of these rows are not read, so they need not be compared.
            (Some(pieces), Some(_)) => &self.input.checked(pieces),
            _ => {
                self.verify(group)?;
                &self.input
            }
        };
        let chosen = Group::choose(input, &self.metadata, group, filter, rows);
        chosen.map(Some).map_err(|why| self.input.cause(why))
    }

    fn rows(&self, group: &mut Group) -> Result<Vec<Row>, Error> {
        let rows = group.next_rows().map_err(|why| self.input.cause(why))?;
        match rows.iter().find(|row| !(self.file.first..=self.file.last).contains(&row.position)) {
            Some(row) => Err(self.input.cause(format_args!("holds position {}", row.position))),
            None => Ok(rows),
        }
    }

    fn may_have_id(&self, group: &RowGroupMetaData, filter: &Filter) -> Result<bool, Error> {
        let (Some(id), Some(column)) = (&filter.id, chunk(group, ID)) else { return Ok(true) };
        let ids = Sbbf::read_from_column_chunk(column, &self.input).map_err(|why| self.input.cause(why))?;
        match ids {
            Some(ids) if ids.num_blocks() == 0 => Err(self.input.cause("has an empty filter of ids")),
            ids => Ok(ids.is_none_or(|ids| ids.check(id.as_str()))),
        }
    }

    /// Compares every row group with its checksum.
    pub(super) fn verify_all(&self) -> Result<(), Error> {
        (0..self.checksums.len()).try_for_each(|group| self.verify(group))
    }

    fn verify(&self, group: usize) -> Result<(), Error> {
        let start = group.checked_sub(1).map_or(0, |before| self.checksums[before].0);
        let (end, sum) = self.checksums[group];
        match self.input.checksum(start, end)? == sum {
            true => Ok(()),
            false => Err(self.input.cause(format_args!("row group {group} is not what was written"))),
        }
    }
}

fn parse_checksums(text: &str) -> Option<Vec<(u64, u32)>> {
    let parse = |word: &str| {
        let (end, sum) = word.split_once(':')?;
        Some((end.parse().ok()?, u32::from_str_radix(sum, 16).ok()?))
    };
    text.split(' ').map(parse).collect()
}
