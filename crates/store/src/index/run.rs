//! A file of an index: pairs of key and number in order, in blocks, and the places of entries.

use flowmeter_core::image::{Glass, Pen, Seen};

use super::{Pair, Placed};
use crate::Error;
use crate::disk::{Disk, File};
use crate::log::Spot;

/// The first and the last bytes of a file; the last byte is the version of the format.
const MARK: [u8; 8] = *b"fmindex\x01";
/// Length and checksum of the outline, and the mark.
const FOOT_BYTES: usize = 16;
/// Bytes of a block, with one pair more: what a disk reads at once.
const BLOCK_BYTES: usize = 4096;
/// Bytes that are written at a time.
const CHUNK_BYTES: usize = 1 << 20;

fn file_name(from: u64, until: u64) -> String {
    format!("{from:016x}-{until:016x}.idx")
}

/// Returns the path of a file of an index.
pub(super) fn path_of(folder: &str, from: u64, until: u64) -> String {
    format!("{folder}/{}", file_name(from, until))
}

/// Returns the range of items that a file's name has.
pub(super) fn range_of(name: &str) -> Option<(u64, u64)> {
    let (from, until) = name.strip_suffix(".idx")?.split_once('-')?;
    let range = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(until, 16).ok()?);
    (range.0 < range.1 && file_name(range.0, range.1) == name).then_some(range)
}

/// The place of a block.
#[derive(Clone, Copy, Debug)]
struct Block {
    first_key: u64,
    offset: u64,
    bytes: usize,
}

/// A file, open for reading.
pub(crate) struct Run {
    name: String,
    from: u64,
    until: u64,
    keys: u64,
    blocks: Vec<Block>,
    spots: Vec<Placed>,
    file: Box<dyn File>,
}

impl Run {
    /// Opens a file; `None` if it is not whole.
    pub(crate) fn open(disk: &dyn Disk, name: String, from: u64, until: u64) -> Result<Option<Run>, Error> {
        let file = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        let Some(outline) = outline_of(&*file, &name)? else { return Ok(None) };
        let Ok((keys, blocks, spots)) = read_outline(&outline) else { return Ok(None) };
        Ok(Some(Run { name, from, until, keys, blocks, spots, file }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn from(&self) -> u64 {
        self.from
    }

    pub(super) fn until(&self) -> u64 {
        self.until
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    pub(super) fn spots(&self) -> &[Placed] {
        &self.spots
    }

    /// Adds the numbers of items that may have a key.
    pub(crate) fn numbers(&self, key: u64, found: &mut Vec<u64>) -> Result<(), Error> {
        let first = self.blocks.partition_point(|block| block.first_key < key).saturating_sub(1);
        for block in self.blocks[first..].iter().take_while(|block| block.first_key <= key) {
            let pairs = self.block(block)?;
            found.extend(pairs.iter().filter(|(of, _)| *of == key).map(|(_, number)| *number));
        }
        Ok(())
    }

    /// Returns all pairs, in order.
    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs { run: self, block: 0, read: Vec::new().into_iter() }
    }

    fn block(&self, block: &Block) -> Result<Vec<Pair>, Error> {
        let mut bytes = vec![0; block.bytes];
        let read = self.file.read_at(&mut bytes, block.offset).map_err(|why| Error::io(&self.name, &why))?;
        let damaged = || Error::corrupt(&self.name, format!("the block at {} is not what was written", block.offset));
        let (body, sum) = bytes[..read].split_last_chunk::<4>().ok_or_else(damaged)?;
        if u32::from_le_bytes(*sum) != crc32c::crc32c(body) {
            return Err(damaged());
        }
        let mut glass = Glass::new(body);
        let (mut pairs, mut key) = (Vec::new(), 0u64);
        while !glass.is_at_end() {
            let (Ok(more), Ok(number)) = (glass.count(), glass.count()) else { return Err(damaged()) };
            key = key.wrapping_add(more);
            pairs.push((key, number));
        }
        Ok(pairs)
    }
}

/// The pairs of a file, in order.
pub(super) struct Pairs<'r> {
    run: &'r Run,
    block: usize,
    read: std::vec::IntoIter<Pair>,
}

impl Pairs<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Pair>, Error> {
        loop {
            if let Some(pair) = self.read.next() {
                return Ok(Some(pair));
            }
            let Some(block) = self.run.blocks.get(self.block) else { return Ok(None) };
            self.read = self.run.block(block)?.into_iter();
            self.block += 1;
        }
    }
}

/// A file that is being written.
pub(crate) struct Writer<'d> {
    disk: &'d dyn Disk,
    name: String,
    file: Box<dyn File>,
    from: u64,
    until: u64,
    keys: u64,
    blocks: Vec<Block>,
    block: Pen,
    last_key: u64,
    /// Written blocks that are not in the file yet.
    buffer: Vec<u8>,
    offset: u64,
}

impl<'d> Writer<'d> {
    pub(crate) fn create(disk: &'d dyn Disk, name: String, from: u64, until: u64) -> Result<Writer<'d>, Error> {
        let file = disk.create(&format!("{name}.new")).map_err(|why| Error::io(&name, &why))?;
        let (buffer, offset) = (MARK.to_vec(), MARK.len() as u64);
        Ok(Writer {
            disk,
            name,
            file,
            from,
            until,
            keys: 0,
            blocks: Vec::new(),
            block: Pen::default(),
            last_key: 0,
            buffer,
            offset,
        })
    }

    /// Adds the next pair, which must not be below the one before.
    pub(crate) fn push(&mut self, (key, number): Pair) -> Result<(), Error> {
        if self.block.bytes.is_empty() {
            self.blocks.push(Block { first_key: key, offset: self.offset, bytes: 0 });
            self.last_key = 0;
        }
        self.block.count(key - self.last_key);
        self.block.count(number);
        self.last_key = key;
        self.keys += 1;
        if self.block.bytes.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), Error> {
        if let Some(block) = self.blocks.last_mut().filter(|_| !self.block.bytes.is_empty()) {
            let sum = crc32c::crc32c(&self.block.bytes);
            block.bytes = self.block.bytes.len() + 4;
            self.offset += block.bytes as u64;
            self.buffer.append(&mut self.block.bytes);
            self.buffer.extend_from_slice(&sum.to_le_bytes());
        }
        if self.buffer.len() >= CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.append(&self.buffer).map_err(|why| Error::io(&self.name, &why))?;
        self.buffer.clear();
        Ok(())
    }

    /// Gives the file its name and opens it. A power failure may leave less of it: the checksum of
    /// the outline shows it when the file is opened, those of blocks when they are read.
    pub(crate) fn finish(mut self, spots: Vec<Placed>) -> Result<Run, Error> {
        self.end_block()?;
        let mut pen = Pen::default();
        pen.count(self.keys);
        pen.count(self.blocks.len() as u64);
        for block in &self.blocks {
            [block.first_key, block.offset, block.bytes as u64].into_iter().for_each(|number| pen.count(number));
        }
        pen.count(spots.len() as u64);
        for (first, spot) in &spots {
            [*first, spot.segment, spot.offset, spot.position].into_iter().for_each(|number| pen.count(number));
        }
        let sum = crc32c::crc32c(&pen.bytes);
        self.buffer.extend_from_slice(&pen.bytes);
        self.buffer.extend_from_slice(&(pen.bytes.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        self.buffer.extend_from_slice(&MARK);
        self.write()?;
        let Writer { disk, name, from, until, keys, blocks, .. } = self;
        disk.rename(&format!("{name}.new"), &name).map_err(|why| Error::io(&name, &why))?;
        let file = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        Ok(Run { name, from, until, keys, blocks, spots, file })
    }
}

/// Returns the outline of a file; `None` if the file is not whole.
fn outline_of(file: &dyn File, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let at = |why: std::io::Error| Error::io(name, &why);
    let length = file.len().map_err(at)?;
    let Some(foot_at) = length.checked_sub(FOOT_BYTES as u64) else { return Ok(None) };
    let mut foot = [0; FOOT_BYTES];
    let read = file.read_at(&mut foot, foot_at).map_err(at)?;
    if read < FOOT_BYTES || foot[8..] != MARK {
        return Ok(None);
    }
    let [bytes, sum] = [0, 4].map(|from: usize| u32::from_le_bytes([foot[from], foot[from + 1], foot[from + 2], foot[from + 3]]));
    let Some(outline_at) = foot_at.checked_sub(u64::from(bytes)) else { return Ok(None) };
    let mut outline = vec![0; bytes as usize];
    let read = file.read_at(&mut outline, outline_at).map_err(at)?;
    Ok((read == outline.len() && crc32c::crc32c(&outline) == sum).then_some(outline))
}

fn read_outline(outline: &[u8]) -> Seen<(u64, Vec<Block>, Vec<Placed>)> {
    let mut glass = Glass::new(outline);
    let keys = glass.count()?;
    let mut blocks = Vec::new();
    for _ in 0..glass.length()? {
        let [first_key, offset, bytes] = [glass.count()?, glass.count()?, glass.count()?];
        blocks.push(Block { first_key, offset, bytes: bytes as usize });
    }
    let mut spots = Vec::new();
    for _ in 0..glass.length()? {
        let [first, segment, offset, position] = [glass.count()?, glass.count()?, glass.count()?, glass.count()?];
        spots.push((first, Spot { segment, offset, position }));
    }
    if glass.is_at_end() { Ok((keys, blocks, spots)) } else { glass.damaged() }
}
