//! Avro object container files: the fields a pipeline reads, as JSON objects, one a line.
//!
//! A file has a header with its schema, then blocks of records, each compressed on its own and
//! followed by a mark. The format is that of the Avro specification 1.11.

mod schema;
#[cfg(test)]
mod tests;
mod value;

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use flowmeter_core::event::{Block, Path};
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Error, Kind as ErrorKind};

use super::open::Progress;
use super::{BLOCK_BYTES, Cutter, typed};
pub(crate) use schema::Schema;
pub(crate) use value::Input;

const MAGIC: &[u8; 4] = b"Obj\x01";
/// Bytes of a block, packed or unpacked, and of the header: writers make blocks of some dozens of
/// KiB, and a damaged length must not take all memory.
const BYTES_MAX: u64 = 256 << 20;

pub(super) struct Rows {
    file: Source,
    codec: Codec,
    mark: [u8; 16],
    schema: Schema,
    /// The fields of the record, with their names as JSON; none for a name that is not read.
    fields: Vec<(Option<Vec<u8>>, usize)>,
    names: Vec<Box<str>>,
    /// The records of the current block, unpacked, and how far they are read.
    block: Vec<u8>,
    at: usize,
    left: u64,
    row: u64,
    progress: Arc<Progress>,
}

/// The bytes of a file, with its name for messages.
struct Source {
    reader: BufReader<File>,
    name: String,
}

#[derive(Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Rows {
    /// Opens a file for a source of a plan.
    pub(super) fn open(path: &str, plan: &Plan, source: usize, progress: &Arc<Progress>) -> Result<Rows, Error> {
        let reader = File::open(path).map_err(|why| Error::io(path, &why))?;
        let mut file = Source { reader: BufReader::new(reader), name: path.to_owned() };
        let header = file.header()?;
        let schema = Schema::parse(&header.schema).map_err(|why| file.corrupt(&why))?;
        let members = schema.record().ok_or_else(|| file.corrupt("its schema is no record"))?.to_vec();
        let columns: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        typed::check(path, &columns, &|path: &Path| schema.kind_at(path), plan, source)?;
        let mut fields = Vec::new();
        for (name, kind) in &members {
            let is_wanted = typed::is_wanted(name, plan);
            fields.push((is_wanted.then(|| typed::key(name)), *kind));
        }
        Ok(Rows {
            codec: header.codec,
            mark: header.mark,
            names: columns.iter().map(|name| Box::from(*name)).collect(),
            fields,
            schema,
            file,
            block: Vec::new(),
            at: 0,
            left: 0,
            row: 1,
            progress: Arc::clone(progress),
        })
    }

    /// Returns the names of the record's fields.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.names.clone()
    }

    /// Unpacks blocks until there is a record; says no at the end.
    fn more(&mut self) -> Result<bool, Error> {
        while self.left == 0 {
            if self.at != self.block.len() {
                return Err(self.file.corrupt("a block is longer than its records"));
            }
            let Some(records) = self.file.number_or_end()? else { return Ok(false) };
            let bytes = self.file.number()?;
            let packed = self.file.take(bytes)?;
            if self.file.array::<16>()? != self.mark {
                return Err(self.file.corrupt("a block does not end with the file's mark"));
            }
            self.progress.add(packed.len() as u64 + 18);
            self.block = self.codec.unpack(packed).map_err(|why| self.file.corrupt(&why))?;
            self.at = 0;
            self.left = u64::try_from(records).map_err(|_| self.file.corrupt("a block of fewer than no records"))?;
        }
        Ok(true)
    }

    /// Appends the next record as an object.
    fn append(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut input = Input::new(&self.block[self.at..]);
        out.push(b'{');
        let mut is_first = true;
        for (key, kind) in &self.fields {
            let start = out.len();
            if let Some(key) = key {
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                out.extend_from_slice(key);
            }
            let appended = self.schema.append(*kind, &mut input, out, 0);
            appended.map_err(|why| self.file.corrupt(&format!("record {}: {why}", self.row)))?;
            if key.is_none() {
                out.truncate(start);
            }
        }
        out.push(b'}');
        self.at = self.block.len() - input.left();
        Ok(())
    }
}

impl Cutter for Rows {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        if !self.more()? {
            return Ok(false);
        }
        let first = self.row;
        let out = block.open();
        while self.left > 0 && out.len() < BLOCK_BYTES {
            let start = out.len();
            self.append(out)?;
            // Its beginning is enough to refuse an event that is too long.
            out.truncate(start + bytes_max + 1);
            out.push(b'\n');
            self.left -= 1;
            self.row += 1;
        }
        block.seal();
        block.first_line = first;
        Ok(true)
    }
}

/// The header of a file.
struct Header {
    schema: Vec<u8>,
    codec: Codec,
    mark: [u8; 16],
}

impl Source {
    fn corrupt(&self, why: &str) -> Error {
        Error::new(ErrorKind::Invalid, format!("{}: not a sound Avro file: {why}", self.name))
    }

    fn header(&mut self) -> Result<Header, Error> {
        if self.array::<4>()? != *MAGIC {
            return Err(self.corrupt("it does not begin as one"));
        }
        let (mut schema, mut codec) = (Vec::new(), Codec::Null);
        loop {
            let entries = match self.number()? {
                0 => break,
                // A negative count is followed by the bytes of the entries.
                count if count < 0 => self.number().map(|_| count.unsigned_abs())?,
                count => count.unsigned_abs(),
            };
            for _ in 0..entries {
                let length = self.number()?;
                let key = self.take(length)?;
                let length = self.number()?;
                let value = self.take(length)?;
                match key.as_slice() {
                    b"avro.schema" => schema = value,
                    b"avro.codec" => codec = Codec::named(&value).map_err(|why| self.corrupt(&why))?,
                    _ => {}
                }
            }
        }
        Ok(Header { schema, codec, mark: self.array()? })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.corrupt("it is cut short")),
            Err(why) => Err(Error::io(&self.name, &why)),
        }
    }

    fn take(&mut self, length: i64) -> Result<Vec<u8>, Error> {
        let length = u64::try_from(length).ok().filter(|length| *length <= BYTES_MAX);
        let length = length.ok_or_else(|| self.corrupt("a length that no writer makes"))?;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes).map_err(|why| Error::io(&self.name, &why))?;
        match read as u64 == length {
            true => Ok(bytes),
            false => Err(self.corrupt("it is cut short")),
        }
    }

    /// Reads a number: seven bits a byte, the lowest first, the sign in the lowest bit.
    fn number(&mut self) -> Result<i64, Error> {
        self.number_or_end()?.ok_or_else(|| self.corrupt("it is cut short"))
    }

    fn number_or_end(&mut self) -> Result<Option<i64>, Error> {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            match self.reader.read(&mut byte) {
                Ok(0) if bytes.is_empty() => return Ok(None),
                Ok(0) => return Err(self.corrupt("it is cut short")),
                Ok(_) => bytes.push(byte[0]),
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(Error::io(&self.name, &why)),
            }
            if byte[0] < 0x80 {
                return Input::new(&bytes).long().map(Some).map_err(|why| self.corrupt(&why));
            }
        }
    }
}

impl Codec {
    fn named(name: &[u8]) -> Result<Codec, String> {
        match name {
            b"null" | b"" => Ok(Codec::Null),
            b"deflate" => Ok(Codec::Deflate),
            b"snappy" => Ok(Codec::Snappy),
            b"zstandard" => Ok(Codec::Zstandard),
            other => Err(format!(
                "it is packed with `{}`; there are null, deflate, snappy and zstandard",
                String::from_utf8_lossy(other)
            )),
        }
    }

    fn unpack(self, packed: Vec<u8>) -> Result<Vec<u8>, String> {
        let all = |reader: &mut dyn Read| {
            let mut bytes = Vec::new();
            let read = reader.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|why| format!("a block: {why}"))?;
            match read as u64 > BYTES_MAX {
                true => Err(format!("a block of more than {BYTES_MAX} bytes")),
                false => Ok(bytes),
            }
        };
        match self {
            Codec::Null => Ok(packed),
            Codec::Deflate => all(&mut flate2::read::DeflateDecoder::new(packed.as_slice())),
            Codec::Zstandard => all(&mut zstd::Decoder::new(packed.as_slice()).map_err(|why| format!("a block: {why}"))?),
            Codec::Snappy => unpack_snappy(&packed),
        }
    }
}

/// A block of Snappy's own form, with the CRC-32 of the bytes behind it.
fn unpack_snappy(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (packed, sum) = packed.split_last_chunk::<4>().ok_or("a block without a checksum")?;
    let length = snap::raw::decompress_len(packed).map_err(|why| format!("a block: {why}"))?;
    if length as u64 > BYTES_MAX {
        return Err(format!("a block of more than {BYTES_MAX} bytes"));
    }
    let bytes = snap::raw::Decoder::new().decompress_vec(packed).map_err(|why| format!("a block: {why}"))?;
    match crc32fast::hash(&bytes) == u32::from_be_bytes(*sum) {
        true => Ok(bytes),
        false => Err("a block is not what was written".to_owned()),
    }
}
