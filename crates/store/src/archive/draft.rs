//! A file that is being written.
//!
//! Events are collected in columns until there are enough for a row group, by rows or by bytes. The
//! Parquet writer then encodes and compresses the row group, column by column.
//!
//! Parquet has checksums of pages, but this writer does not make them and most readers do not check
//! them. So every row group gets its own checksum in the file's metadata: its end and the CRC-32C
//! of its bytes. The part after the row groups (filters, indexes, the metadata) has its checksum in
//! the file's name. So every byte is covered, and other readers ignore the checksums. Pieces of the
//! row groups have checksums too, so that a few rows are read without the rest of their row group.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::Settings;
use super::columns::{self, Columns, SCHEMA};
use super::event::ArchivedEvent;
use super::finished::{self, Finished};
use super::input::PIECE_BYTES;
use crate::disk::{Disk, File};
use crate::{Error, Kind};

/// Metadata: the version of this format.
pub(super) const FORMAT_KEY: &str = "flowmeter.format";
pub(super) const FORMAT: &str = "1";
/// Metadata: `end:crc32c` of each row group, separated by spaces.
pub(super) const CHECKSUMS_KEY: &str = "flowmeter.checksums";

/// Metadata: the CRC-32C of each piece of the row groups, eight digits each.
pub(super) const PIECES_KEY: &str = "flowmeter.pieces";

/// A row group is finished early when its events have this size, so that memory stays bounded.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// To find one event a reader decompresses one page of raw events: small enough for that, large
/// enough to compress.
const RAW_PAGE_BYTES: usize = 256 << 10;
/// One row group in a hundred is read in vain when an id is looked up.
const ID_FALSE_POSITIVES: f64 = 0.01;

pub(super) struct Draft {
    name: String,
    path: String,
    first: u64,
    rows: u64,
    row_group_rows: usize,
    columns: Columns,
    writer: SerializedFileWriter<Output>,
    fault: Arc<OnceLock<Error>>,
    checksums: Vec<String>,
}

impl Draft {
    pub(super) fn create(disk: &dyn Disk, folder: &str, first: u64, settings: &Settings) -> Result<Draft, Error> {
        let name = finished::unfinished(first);
        let path = format!("{folder}/{name}");
        let file = disk.create(&path).map_err(|why| Error::io(&path, &why))?;
        let fault = Arc::new(OnceLock::new());
        let output = Output { path: path.clone(), fault: Arc::clone(&fault), ..Output::new(file) };
        let row_group_rows = usize::try_from(settings.row_group_rows.clamp(1, 1 << 24)).unwrap_or(1);
        let schema = SCHEMA.as_ref().map_err(|why| cause(&path, &fault, why))?;
        let writer = SerializedFileWriter::new(output, Arc::clone(schema), Arc::new(properties(row_group_rows)));
        let writer = writer.map_err(|why| cause(&path, &fault, &why))?;
        let columns = Columns::default();
        Ok(Draft { name, path, first, rows: 0, row_group_rows, columns, writer, fault, checksums: Vec::new() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the position of the next event.
    pub(super) fn next(&self) -> u64 {
        self.first + self.rows
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the bytes written plus those of the events that wait for their row group. It depends
    /// on the events only, so that a replay ends files at the same places.
    pub(super) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.columns.bytes()) as u64
    }

    /// Adds an event. After an error the draft must be dropped.
    pub(super) fn append(&mut self, event: &ArchivedEvent<'_>) -> Result<(), Error> {
        let signed = |number: u64| i64::try_from(number).map_err(|_| Error::new(Kind::Bug, format!("{number} is out of range")));
        self.columns.push(signed(event.position)?, signed(event.line)?, event);
        self.rows += 1;
        if self.columns.rows() >= self.row_group_rows || self.columns.bytes() >= ROW_GROUP_BYTES {
            self.write_row_group()?;
        }
        Ok(())
    }

    /// Ends the file and makes its contents durable, still under the unfinished name.
    pub(super) fn seal(mut self) -> Result<Finished, Error> {
        self.write_row_group()?;
        self.writer.append_key_value_metadata(KeyValue::new(CHECKSUMS_KEY.to_owned(), self.checksums.join(" ")));
        let pieces = self.writer.inner().pieces();
        self.writer.append_key_value_metadata(KeyValue::new(PIECES_KEY.to_owned(), pieces));
        let output = self.writer.into_inner().map_err(|why| cause(&self.path, &self.fault, &why))?;
        let Output { mut file, length, checksum, .. } = output;
        file.sync().map_err(|why| Error::io(&self.path, &why))?;
        Ok(Finished { first: self.first, last: self.first + self.rows - 1, checksum, bytes: length })
    }

    fn write_row_group(&mut self) -> Result<(), Error> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        self.encode().map_err(|why| cause(&self.path, &self.fault, &why))?;
        let output = self.writer.inner_mut();
        self.checksums.push(format!("{}:{:08x}", output.length, std::mem::take(&mut output.checksum)));
        Ok(())
    }

    fn encode(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let mut column = 0;
        while let Some(mut writer) = group.next_column()? {
            self.columns.write(column, &mut writer)?;
            writer.close()?;
            column += 1;
        }
        group.close()?;
        self.columns.clear();
        Ok(self.writer.flush()?)
    }
}

/// Chooses the encoding of each column. Steadily growing numbers are stored as differences; columns
/// whose values never repeat get no dictionary, and columns that no filter compares get no bounds.
fn properties(row_group_rows: usize) -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // After the row groups, where filters are read together and covered by a checksum.
        .set_bloom_filter_position(BloomFilterPosition::End)
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(vec![KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_owned())]))
        .set_column_data_page_size_limit(column(columns::RAW), RAW_PAGE_BYTES)
        .set_column_bloom_filter_enabled(column(columns::ID), true)
        .set_column_bloom_filter_fpp(column(columns::ID), ID_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(column(columns::ID), row_group_rows as u64);
    for name in [columns::POSITION, columns::LINE, columns::RECEIVED_AT, columns::EVENT_AT] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in [columns::ID, columns::RAW, columns::RAW_BYTES] {
        properties = properties.set_column_dictionary_enabled(column(name), false);
    }
    for name in [columns::RAW, columns::RAW_BYTES, columns::DETAIL] {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::None);
    }
    properties.build()
}

/// Returns the error of the disk if there was one, since the Parquet writer keeps only its text.
fn cause(path: &str, fault: &OnceLock<Error>, why: &ParquetError) -> Error {
    fault.get().cloned().unwrap_or_else(|| Error::new(Kind::Bug, format!("{path}: {why}")))
}

/// A file of the disk in the form that the Parquet writer needs. It counts and checksums the
/// written bytes and keeps the first error. After an error it refuses all writes.
struct Output {
    file: Box<dyn File>,
    path: String,
    length: u64,
    /// Checksum of the bytes since the last row group.
    checksum: u32,
    /// Checksums of the pieces so far, and that of the piece that has begun.
    pieces: String,
    piece: u32,
    fault: Arc<OnceLock<Error>>,
}

impl Output {
    fn new(file: Box<dyn File>) -> Output {
        let (pieces, fault) = (String::new(), Arc::default());
        Output { file, path: String::new(), length: 0, checksum: 0, pieces, piece: 0, fault }
    }

    /// Adds bytes at the end to the checksums of pieces.
    fn add_to_pieces(&mut self, mut bytes: &[u8]) {
        let mut at = self.length;
        while !bytes.is_empty() {
            let room = PIECE_BYTES - at % PIECE_BYTES;
            let (part, after) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.piece = crc32c::crc32c_append(self.piece, part);
            at += part.len() as u64;
            if at.is_multiple_of(PIECE_BYTES) {
                let _ = write!(self.pieces, "{:08x}", std::mem::take(&mut self.piece));
            }
            bytes = after;
        }
    }

    /// Returns the checksums of all pieces; the last one may be shorter.
    fn pieces(&self) -> String {
        match self.length.is_multiple_of(PIECE_BYTES) {
            true => self.pieces.clone(),
            false => format!("{}{:08x}", self.pieces, self.piece),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fault.get().is_some() {
            return Err(io::Error::other("the file failed before"));
        }
        if let Err(why) = self.file.append(bytes) {
            let _ = self.fault.set(Error::io(&self.path, &why));
            return Err(why);
        }
        self.add_to_pieces(bytes);
        self.length += bytes.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
