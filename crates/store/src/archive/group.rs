//! A row group being read: which of its rows are wanted, and these rows.
//!
//! The columns that the filter asks about are read first. The others are read only for the rows
//! that are wanted; pages between them are skipped without being unpacked.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedRowGroupReader;

use super::columns::COLUMNS;
use super::event::Row;
use super::filter::Filter;
use super::input::Input;

/// Rows unpacked at once. Few, because an event may be large.
const ROWS: usize = 256;
/// Values of one column read at once when rows are chosen.
const CHOSEN: usize = 4096;

/// The wanted rows of a row group, some at a time.
pub(super) struct Group {
    columns: Vec<ColumnReader>,
    /// The wanted rows that have not been read.
    wanted: VecDeque<Range<usize>>,
    /// Where the column readers are.
    at: usize,
}

impl Group {
    /// Finds the wanted rows of a row group, of all or of some.
    pub(super) fn choose(
        input: &Input,
        metadata: &ParquetMetaData,
        group: usize,
        filter: &Filter,
        candidates: Option<&[usize]>,
    ) -> Result<Group, ParquetError> {
        let properties = Arc::new(ReaderProperties::builder().build());
        let index = metadata.page_index_for_row_group(group);
        let group = metadata.row_group(group);
        let reader = SerializedRowGroupReader::new(Arc::new(input.clone()), group, index, properties)?;
        let rows = usize::try_from(group.num_rows())?;
        let mut is_wanted = vec![candidates.is_none(); rows];
        candidates.iter().copied().flatten().filter(|row| **row < rows).for_each(|row| is_wanted[*row] = true);
        for name in filter.columns() {
            let Some(column) = COLUMNS.iter().position(|column| column.name == name) else { continue };
            let mut values = reader.get_column_reader(column)?;
            let mut at = 0;
            for range in ranges(&is_wanted) {
                for from in range.clone().step_by(CHOSEN) {
                    skip(&mut values, from - at)?;
                    at = range.end.min(from + CHOSEN);
                    let cells = Cells::read(&mut values, at - from)?;
                    let wanted = is_wanted[from..at].iter_mut().zip(0..cells.len());
                    wanted.for_each(|(is_wanted, row)| *is_wanted &= filter.takes_cell(name, &cells, row));
                }
            }
        }
        let columns = (0..COLUMNS.len()).map(|column| reader.get_column_reader(column)).collect::<Result<_, _>>()?;
        Ok(Group { columns, wanted: ranges(&is_wanted), at: 0 })
    }

    /// Reads the next wanted rows; none at the end.
    pub(super) fn next_rows(&mut self) -> Result<Vec<Row>, ParquetError> {
        let Some(range) = self.wanted.pop_front() else { return Ok(Vec::new()) };
        let until = range.end.min(range.start + ROWS);
        if until < range.end {
            self.wanted.push_front(until..range.end);
        }
        let read = |reader: &mut ColumnReader| {
            skip(reader, range.start - self.at)?;
            Cells::read(reader, until - range.start)
        };
        let cells = self.columns.iter_mut().map(read).collect::<Result<Vec<Cells>, ParquetError>>()?;
        self.at = until;
        (0..until - range.start).map(|row| row_of(&cells, row)).collect()
    }
}

/// Stretches of rows that are wanted.
fn ranges(is_wanted: &[bool]) -> VecDeque<Range<usize>> {
    let mut ranges = VecDeque::new();
    let mut at = 0;
    for stretch in is_wanted.chunk_by(|one, other| one == other) {
        if stretch[0] {
            ranges.push_back(at..at + stretch.len());
        }
        at += stretch.len();
    }
    ranges
}

fn skip(reader: &mut ColumnReader, rows: usize) -> Result<(), ParquetError> {
    let skipped = match reader {
        ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows)?,
        ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows)?,
        ColumnReader::BoolColumnReader(_)
        | ColumnReader::Int32ColumnReader(_)
        | ColumnReader::Int96ColumnReader(_)
        | ColumnReader::FloatColumnReader(_)
        | ColumnReader::DoubleColumnReader(_)
        | ColumnReader::FixedLenByteArrayColumnReader(_) => return Err(other_type()),
    };
    match skipped == rows {
        true => Ok(()),
        false => Err(ParquetError::EOF(format!("a column ends {} rows early", rows - skipped))),
    }
}

fn other_type() -> ParquetError {
    ParquetError::General("a column of another type".to_owned())
}

/// Values of a column, by row.
pub(super) enum Cells {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<ByteArray>>),
}

impl Cells {
    fn read(reader: &mut ColumnReader, rows: usize) -> Result<Cells, ParquetError> {
        match reader {
            ColumnReader::Int64ColumnReader(reader) => values(reader, rows).map(Cells::Numbers),
            ColumnReader::ByteArrayColumnReader(reader) => values(reader, rows).map(Cells::Texts),
            ColumnReader::BoolColumnReader(_)
            | ColumnReader::Int32ColumnReader(_)
            | ColumnReader::Int96ColumnReader(_)
            | ColumnReader::FloatColumnReader(_)
            | ColumnReader::DoubleColumnReader(_)
            | ColumnReader::FixedLenByteArrayColumnReader(_) => Err(other_type()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Cells::Numbers(numbers) => numbers.len(),
            Cells::Texts(texts) => texts.len(),
        }
    }

    pub(super) fn number(&self, row: usize) -> Option<i64> {
        match self {
            Cells::Numbers(numbers) => numbers[row],
            Cells::Texts(_) => None,
        }
    }

    pub(super) fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Cells::Numbers(_) => None,
            Cells::Texts(texts) => texts[row].as_ref().map(ByteArray::data),
        }
    }
}

fn values<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut levels, mut present) = (Vec::new(), Vec::with_capacity(rows));
    let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut present)?;
    if read != rows {
        return Err(ParquetError::EOF(format!("a column ends {} rows early", rows - read)));
    }
    if levels.is_empty() {
        return Ok(present.into_iter().map(Some).collect());
    }
    let mut present = present.into_iter();
    Ok(levels.iter().map(|level| if *level > 0 { present.next() } else { None }).collect())
}

/// A row of all columns.
fn row_of(cells: &[Cells], row: usize) -> Result<Row, ParquetError> {
    let number = |column: usize| cells[column].number(row);
    let text = |column: usize| {
        let bytes = cells[column].bytes(row).map(<[u8]>::to_vec);
        bytes.map(String::from_utf8).transpose().map_err(|why| ParquetError::General(why.to_string()))
    };
    let always = |column: usize| text(column).map(Option::unwrap_or_default);
    Ok(Row {
        position: number(0).unwrap_or_default().cast_unsigned(),
        received_at: number(1).unwrap_or_default(),
        pipeline: always(2)?,
        namespace: always(3)?,
        origin: always(4)?,
        line: number(5).unwrap_or_default().cast_unsigned(),
        id: text(6)?,
        source: text(7)?,
        event_type: text(8)?,
        subject: text(9)?,
        event_at: number(10),
        verdict: always(11)?,
        reason: text(12)?,
        detail: text(13)?,
        operator: text(14)?,
        raw: cells[15].bytes(row).or_else(|| cells[16].bytes(row)).unwrap_or_default().to_vec(),
    })
}
