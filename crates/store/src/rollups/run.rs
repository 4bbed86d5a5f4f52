//! A run: an immutable file of sorted cells, as described in `docs/formats/rollups.md`.
//!
//! It is written under a temporary name, synced and renamed: a run exists completely or not at all.
//! The manifest decides which runs are valid, not the folder.

use flowmeter_core::image::{Glass, Pen, Seen};
use uuid::Uuid;

use super::amount::{Amount, Form};
use super::block::{Block, Builder, Key};
use super::manifest::Named;
use crate::disk::{Disk, File};
use crate::{Error, Kind};

/// The first bytes of a run; the last is the version of the format.
const HEAD: [u8; 8] = *b"fmrolls\x01";
const FOOT_BYTES: usize = 24;
/// Approximate bytes of a block before compression: enough to compress well, little to read.
const BLOCK_BYTES: usize = 64 << 10;

/// The compression level of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pressing {
    /// For new runs, which delay events and are merged soon.
    Light = 1,
    /// For merged runs, which stay for years and are read often.
    Firm = 3,
}

/// Returns the name of a run's file.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:016x}.rollup")
}

/// The place of a block, and the range of its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) meter_type: Uuid,
    pub(super) form: Form,
    /// Least and greatest start of a cell, in minutes.
    pub(super) first: i32,
    pub(super) last: i32,
    offset: u64,
    bytes: u32,
    raw_bytes: u32,
    sum: u32,
}

impl Place {
    fn write_to(&self, pen: &mut Pen) {
        pen.wide(self.meter_type.as_u128());
        pen.byte(self.form as u8);
        pen.bytes.extend_from_slice(&self.first.to_le_bytes());
        pen.bytes.extend_from_slice(&self.last.to_le_bytes());
        for n in [self.offset, self.bytes.into(), self.raw_bytes.into(), self.sum.into()] {
            pen.count(n);
        }
    }

    fn read(glass: &mut Glass<'_>) -> Seen<Place> {
        let meter_type = Uuid::from_u128(glass.wide()?);
        let Some(form) = Form::of_code(glass.byte()?) else { return glass.damaged() };
        let mut minute = || Ok(i32::from_le_bytes([glass.byte()?, glass.byte()?, glass.byte()?, glass.byte()?]));
        let (first, last) = (minute()?, minute()?);
        let offset = glass.count()?;
        let mut small = || Ok(glass.count()? as u32);
        Ok(Place { meter_type, form, first, last, offset, bytes: small()?, raw_bytes: small()?, sum: small()? })
    }
}

/// A run under construction. Cells arrive in order.
pub(super) struct Writer<'d> {
    disk: &'d dyn Disk,
    folder: &'d str,
    number: u64,
    pressing: Pressing,
    file: Box<dyn File>,
    length: u64,
    cells: u64,
    block: Builder,
    owner: Option<(Uuid, Form)>,
    places: Vec<Place>,
}

impl<'d> Writer<'d> {
    pub(super) fn create(disk: &'d dyn Disk, folder: &'d str, number: u64, pressing: Pressing) -> Result<Writer<'d>, Error> {
        let fresh = format!("{folder}/{}.new", file_name(number));
        let mut file = disk.create(&fresh).map_err(|why| Error::io(&fresh, &why))?;
        file.append(&HEAD).map_err(|why| Error::io(&fresh, &why))?;
        let (length, block, places) = (HEAD.len() as u64, Builder::default(), Vec::new());
        Ok(Writer { disk, folder, number, pressing, file, length, cells: 0, block, owner: None, places })
    }

    pub(super) fn push(&mut self, key: &Key<'_>, amount: &Amount) -> Result<(), Error> {
        let owner = Some((key.meter_type, key.form));
        if self.owner != owner || self.block.bytes() >= BLOCK_BYTES {
            self.write_block()?;
            self.owner = owner;
        }
        self.block.push(key, amount);
        self.cells += 1;
        Ok(())
    }

    fn write_block(&mut self) -> Result<(), Error> {
        let Some((meter_type, form)) = self.owner.filter(|_| self.block.cells() > 0) else { return Ok(()) };
        let (first, last) = self.block.starts();
        let raw = self.block.take();
        let name = self.name();
        let squeezed = zstd::bulk::compress(&raw, self.pressing as i32).map_err(|why| Error::io(&name, &why))?;
        let (Ok(bytes), Ok(raw_bytes)) = (u32::try_from(squeezed.len()), u32::try_from(raw.len())) else {
            return Err(Error::new(Kind::Bug, format!("{name}: a block of {} bytes", raw.len())));
        };
        if raw_bytes > crate::log::PAYLOAD_BYTES_MAX {
            return Err(Error::new(Kind::Bug, format!("{name}: a cell of {raw_bytes} bytes")));
        }
        self.file.append(&squeezed).map_err(|why| Error::io(&name, &why))?;
        let (offset, sum) = (self.length, crc32c::crc32c(&squeezed));
        self.places.push(Place { meter_type, form, first, last, offset, bytes, raw_bytes, sum });
        self.length += u64::from(bytes);
        Ok(())
    }

    /// Writes index and foot, and renames the file, durably.
    pub(super) fn finish(mut self, newest: u64) -> Result<Named, Error> {
        self.write_block()?;
        let mut pen = Pen::default();
        pen.count(self.places.len() as u64);
        self.places.iter().for_each(|place| place.write_to(&mut pen));
        let sum = crc32c::crc32c(&pen.bytes);
        let index_bytes = pen.bytes.len() as u32;
        pen.bytes.extend_from_slice(&self.length.to_le_bytes());
        pen.bytes.extend_from_slice(&index_bytes.to_le_bytes());
        pen.bytes.extend_from_slice(&sum.to_le_bytes());
        let foot = pen.bytes.len() - 16;
        let foot_sum = crc32c::crc32c(&pen.bytes[foot..]);
        pen.bytes.extend_from_slice(&foot_sum.to_le_bytes());
        pen.bytes.extend_from_slice(&HEAD[4..]);
        let (name, fresh) = (self.name(), format!("{}.new", self.name()));
        self.file.append(&pen.bytes).and_then(|()| self.file.sync()).map_err(|why| Error::io(&fresh, &why))?;
        let placed = self.disk.rename(&fresh, &name).and_then(|()| self.disk.sync_folder(self.folder));
        placed.map_err(|why| Error::io(&name, &why))?;
        let bytes = self.length + pen.bytes.len() as u64;
        Ok(Named { number: self.number, newest, bytes, cells: self.cells, sum })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.folder, file_name(self.number))
    }
}

/// A run, open for reading from any thread.
pub(super) struct Run {
    pub(super) named: Named,
    name: String,
    file: Box<dyn File>,
    pub(super) places: Vec<Place>,
}

impl Run {
    /// Opens the run that a manifest names, and checks that it is that one.
    pub(super) fn open(disk: &dyn Disk, folder: &str, named: Named) -> Result<Run, Error> {
        let name = format!("{folder}/{}", file_name(named.number));
        let file = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
        let length = file.len().map_err(|why| Error::io(&name, &why))?;
        if length != named.bytes || length < (HEAD.len() + FOOT_BYTES) as u64 {
            return Err(Error::corrupt(&name, format!("it has {length} bytes, the manifest says {}", named.bytes)));
        }
        let head = read_exact(&*file, &name, 0, HEAD.len())?;
        if head[..7] != HEAD[..7] {
            return Err(Error::corrupt(&name, "it does not begin like a rollup file"));
        }
        if head[7] != HEAD[7] {
            return Err(Error::new(Kind::Format, format!("{name}: format {} of rollup files is unknown", head[7])));
        }
        let foot = read_exact(&*file, &name, length - FOOT_BYTES as u64, FOOT_BYTES)?;
        let word = |at: usize| u32::from_le_bytes([foot[at], foot[at + 1], foot[at + 2], foot[at + 3]]);
        let offset = u64::from(word(0)) | u64::from(word(4)) << 32;
        let index_bytes = word(8);
        if word(16) != crc32c::crc32c(&foot[..16]) || foot[20..] != HEAD[4..] || word(12) != named.sum {
            return Err(Error::corrupt(&name, "its foot is damaged, or another file's"));
        }
        if offset.checked_add(u64::from(index_bytes) + FOOT_BYTES as u64) != Some(length) {
            return Err(Error::corrupt(&name, "its foot names an index that does not exist"));
        }
        let index = read_exact(&*file, &name, offset, index_bytes as usize)?;
        if crc32c::crc32c(&index) != named.sum {
            return Err(Error::corrupt(&name, "its index is damaged"));
        }
        let places = read_index(&index).map_err(|why| Error::corrupt(&name, why))?;
        Ok(Run { named, name, file, places })
    }

    /// Returns the name of the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn block(&self, place: &Place) -> Result<Block, Error> {
        let damaged = |what: String| Error::corrupt(&self.name, format!("the block at byte {}: {what}", place.offset));
        if place.raw_bytes > crate::log::PAYLOAD_BYTES_MAX || u64::from(place.bytes) > self.named.bytes {
            return Err(damaged("it is too long".to_owned()));
        }
        let squeezed = read_exact(&*self.file, &self.name, place.offset, place.bytes as usize)?;
        if crc32c::crc32c(&squeezed) != place.sum {
            return Err(damaged("its checksum is wrong".to_owned()));
        }
        let raw = zstd::bulk::decompress(&squeezed, place.raw_bytes as usize).map_err(|why| damaged(why.to_string()))?;
        Block::read(place.form, place.first, &raw).map_err(|why| damaged(why.to_string()))
    }
}

/// Returns the entry that a manifest would have for a file, as far as opening compares it.
pub(super) fn named_in(disk: &dyn Disk, folder: &str, file: &str) -> Result<Named, Error> {
    let name = format!("{folder}/{file}");
    let number = file.strip_suffix(".rollup").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let number = number.filter(|number| file_name(*number) == file);
    let number = number.ok_or_else(|| Error::corrupt(&name, "does not have the name of a rollup file"))?;
    let open = disk.open(&name).map_err(|why| Error::io(&name, &why))?;
    let bytes = open.len().map_err(|why| Error::io(&name, &why))?;
    let foot = bytes.checked_sub(FOOT_BYTES as u64).ok_or_else(|| Error::corrupt(&name, "too short"))?;
    let sum = read_exact(&*open, &name, foot + 12, 4)?;
    let sum = sum.first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
    Ok(Named { number, newest: number, bytes, cells: 0, sum })
}

fn read_index(index: &[u8]) -> Seen<Vec<Place>> {
    let mut glass = Glass::new(index);
    let places = (0..glass.length()?).map(|_| Place::read(&mut glass)).collect::<Seen<Vec<Place>>>()?;
    if glass.is_at_end() { Ok(places) } else { glass.damaged() }
}

fn read_exact(file: &dyn File, name: &str, at: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    match file.read_at(&mut bytes, at) {
        Ok(read) if read == length => Ok(bytes),
        Ok(read) => Err(Error::corrupt(name, format!("it ends {} bytes too early", length - read))),
        Err(why) => Err(Error::io(name, &why)),
    }
}
