//! Checkpoints: the state of a pipeline at a position of the log, in one file that is written
//! completely or not at all. `docs/formats/checkpoint.md` describes the format.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::mediation::OperatorCount;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_store::disk::{Disk, read_all};
use flowmeter_store::identities::Manifest;
use flowmeter_store::{Examined, rollups};
use rayon::prelude::*;
use zstd::stream::write::Encoder;

use crate::live::{InForce, Items, Origins, TableVersion, Taken, read_origins, write_origins};
use crate::vault::{Keeping, Tenure, Vault};
use crate::{Error, Kind, Totals};

const MARK: &[u8; 8] = b"FLOWCKPT";
const FORMAT: u8 = 7;
/// The format before derived events were kept.
const FORMAT_WITHOUT_DERIVED_LOG: u8 = 6;
/// The format before sources had taken anything.
const FORMAT_WITHOUT_SOURCES: u8 = 5;
/// The format before scripts had counters and tables had versions.
const FORMAT_WITHOUT_COUNTERS: u8 = 4;
/// The format before operators made events and events timed by receipt were counted.
const FORMAT_WITHOUT_DERIVED: u8 = 3;
/// The format before there were settlements.
const FORMAT_WITHOUT_SETTLEMENTS: u8 = 2;
/// The format before there were notes.
const FORMAT_WITHOUT_NOTES: u8 = 1;
/// zstd's level 1: images are mostly small numbers and names.
const LEVEL: i32 = 1;

/// The state from which a pipeline resumes. Its images are compressed when it is written and
/// uncompressed when it was read.
pub(crate) struct Checkpoint<Image = Vec<u8>> {
    pub(crate) version: u32,
    pub(crate) position: u64,
    pub(crate) clock: Timestamp,
    /// The number of items in the outlet's logs.
    pub(crate) items: Items,
    /// Whether a reader has subscribed to the events of single meters.
    pub(crate) listens: bool,
    pub(crate) totals: Totals,
    /// The images of the partitions, in order.
    pub(crate) images: Vec<Image>,
    /// The manifests of identities, by partition.
    pub(crate) manifests: Vec<Manifest>,
    /// The manifests of rollups, by partition; none if usage is not rolled up.
    pub(crate) rollups: Vec<rollups::Manifest>,
    /// The versions of tables in force.
    pub(crate) tables: InForce,
    /// Keys and values that each source has taken, by its id.
    pub(crate) taken: BTreeMap<String, Taken>,
    /// Events by the place they come from.
    pub(crate) origins: Origins,
}

fn folder(pipeline: &str) -> String {
    format!("{pipeline}/checkpoints")
}

/// A compressed image of a partition.
pub(crate) struct Packed {
    bytes: Vec<u8>,
    /// The length before compression, in bytes.
    length: usize,
}

impl Packed {
    /// Compresses an image that is written a page at a time.
    pub(crate) fn new(write: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>) -> io::Result<Packed> {
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        let mut length = 0;
        write(&mut |page| {
            length += page.len();
            encoder.write_all(page)
        })?;
        Ok(Packed { bytes: encoder.finish()?, length })
    }
}

impl Checkpoint<Packed> {
    /// Writes the checkpoint durably.
    pub(crate) fn write(&self, vault: &dyn Vault, tenure: &Tenure) -> Result<(), Error> {
        let mut pen = Pen::default();
        pen.bytes.extend_from_slice(MARK);
        pen.byte(FORMAT);
        self.write_to(&mut pen);
        let sum = flowmeter_store::checksum(&pen.bytes);
        pen.bytes.extend_from_slice(&sum.to_le_bytes());
        match vault.keep(tenure, self.position, &pen.bytes)? {
            Keeping::Kept => Ok(()),
            Keeping::Fenced => {
                Err(Error::new(Kind::Unavailable, format!("{}: another server has this pipeline now", tenure.pipeline)))
            }
        }
    }

    fn write_to(&self, pen: &mut Pen) {
        pen.count(u64::from(self.version));
        pen.count(self.position);
        pen.time(self.clock);
        let Items { records, parked, arrivals, notes, settled, derived } = self.items;
        [records, parked, arrivals, notes, settled, derived].into_iter().for_each(|items| pen.count(items));
        pen.byte(u8::from(self.listens));
        write_totals(&self.totals, pen);
        pen.count(self.images.len() as u64);
        for (image, manifest) in self.images.iter().zip(&self.manifests) {
            pen.count(image.length as u64);
            pen.text(&image.bytes);
            let mut bytes = Vec::new();
            manifest.write_to(&mut bytes);
            pen.text(&bytes);
        }
        pen.count(self.rollups.len() as u64);
        self.rollups.iter().for_each(|manifest| manifest.write_to(pen));
        pen.count(self.tables.len() as u64);
        for (name, TableVersion { version, hash }) in &self.tables {
            pen.text(name.as_bytes());
            pen.count(*version);
            pen.text(hash.as_bytes());
        }
        pen.count(self.taken.len() as u64);
        for (source, taken) in &self.taken {
            pen.text(source.as_bytes());
            pen.count(taken.len() as u64);
            for (key, value) in taken {
                pen.text(key.as_bytes());
                pen.text(value.as_bytes());
            }
        }
        write_origins(&self.origins, pen);
    }
}

impl Checkpoint {
    /// Reads a checkpoint; `unpack` makes an image of its compressed bytes and its length.
    fn read(bytes: &[u8], unpack: impl Fn(&[u8], usize) -> Option<Vec<u8>> + Sync) -> Result<Checkpoint, Error> {
        let corrupt = |what: &str| Error::new(Kind::Corrupt, what.to_owned());
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("it is too short"))?;
        if u32::from_le_bytes(*sum) != flowmeter_store::checksum(body) {
            return Err(corrupt("its checksum is wrong"));
        }
        let body = body.strip_prefix(MARK).ok_or_else(|| corrupt("it is no checkpoint"))?;
        match body.split_first() {
            Some((&format @ FORMAT_WITHOUT_NOTES..=FORMAT, body)) => {
                let mut glass = Glass::new(body);
                Checkpoint::read_from(&mut glass, format, unpack).map_err(|why| corrupt(&why.to_string()))?
            }
            _ => Err(Error::new(Kind::Invalid, "it has a format newer than this program")),
        }
    }

    fn read_from(
        glass: &mut Glass<'_>,
        format: u8,
        unpack: impl Fn(&[u8], usize) -> Option<Vec<u8>> + Sync,
    ) -> Seen<Result<Checkpoint, Error>> {
        let (version, position, clock) = (glass.count()? as u32, glass.count()?, glass.time()?);
        let [records, parked, arrivals] = [glass.count()?, glass.count()?, glass.count()?];
        let notes = if format > FORMAT_WITHOUT_NOTES { glass.count()? } else { 0 };
        let settled = if format > FORMAT_WITHOUT_SETTLEMENTS { glass.count()? } else { 0 };
        let derived = if format > FORMAT_WITHOUT_DERIVED_LOG { glass.count()? } else { 0 };
        let listens = format > FORMAT_WITHOUT_NOTES && glass.byte()? != 0;
        let items = Items { records, parked, arrivals, notes, settled, derived };
        let totals = read_totals(format, glass)?;
        let (mut packed, mut manifests) = (Vec::new(), Vec::new());
        for _ in 0..glass.length()? {
            let length = glass.count()? as usize;
            packed.push((glass.text()?, length));
            match Manifest::read(glass.text()?) {
                Ok(manifest) => manifests.push(manifest),
                Err(why) => return Ok(Err(why.into())),
            }
        }
        let images: Option<Vec<Vec<u8>>> = packed.into_par_iter().map(|(packed, length)| unpack(packed, length)).collect();
        let Some(images) = images else { return glass.damaged() };
        let mut rollups = Vec::new();
        for _ in 0..glass.length()? {
            rollups.push(rollups::Manifest::read(glass)?);
        }
        if images.is_empty() {
            return glass.damaged();
        }
        let mut tables = InForce::new();
        if format > FORMAT_WITHOUT_COUNTERS {
            for _ in 0..glass.length()? {
                let name = glass.string()?;
                tables.insert(name, TableVersion { version: glass.count()?, hash: glass.string()? });
            }
        }
        let (mut taken, mut origins) = (BTreeMap::new(), Origins::new());
        if format > FORMAT_WITHOUT_SOURCES {
            for _ in 0..glass.length()? {
                taken.insert(glass.string()?, read_taken(glass)?);
            }
            origins = read_origins(glass)?;
        }
        Ok(Ok(Checkpoint {
            version,
            position,
            clock,
            items,
            listens,
            totals,
            images,
            manifests,
            rollups,
            tables,
            taken,
            origins,
        }))
    }
}

fn read_taken(glass: &mut Glass<'_>) -> Seen<Taken> {
    let mut taken = Taken::new();
    for _ in 0..glass.length()? {
        taken.insert(glass.string()?, glass.string()?);
    }
    Ok(taken)
}

fn write_totals(totals: &Totals, pen: &mut Pen) {
    let tally = &totals.tally;
    for count in [tally.received, tally.counted, tally.late, tally.duplicate, tally.filtered] {
        pen.count(count);
    }
    pen.count(tally.parked.len() as u64);
    tally.parked.iter().for_each(|count| pen.count(*count));
    pen.count(totals.meters_opened);
    pen.count(totals.operators.len() as u64);
    for count in &totals.operators {
        [count.received, count.passed, count.errors].iter().for_each(|count| pen.count(*count));
    }
    pen.count(totals.timed_by_receipt);
    [tally.derived, tally.split, tally.absorbed, tally.cancelled].into_iter().for_each(|count| pen.count(count));
    for count in &totals.operators {
        let OperatorCount { derived, absorbed, released, late, unmatched, .. } = *count;
        [derived, absorbed, released, late, unmatched].into_iter().for_each(|count| pen.count(count));
    }
    pen.count(totals.counters.len() as u64);
    for ((operator, name), count) in &totals.counters {
        pen.count(u64::from(*operator));
        pen.text(name.as_bytes());
        // Two's complement: a counter may be below zero.
        pen.count(*count as u64);
    }
}

fn read_totals(format: u8, glass: &mut Glass<'_>) -> Seen<Totals> {
    let mut tally = Tally {
        received: glass.count()?,
        counted: glass.count()?,
        late: glass.count()?,
        duplicate: glass.count()?,
        filtered: glass.count()?,
        ..Tally::default()
    };
    for at in 0..glass.length()? {
        let count = glass.count()?;
        match tally.parked.get_mut(at) {
            Some(known) => *known = count,
            None => return glass.damaged(),
        }
    }
    let meters_opened = glass.count()?;
    let mut operators = Vec::new();
    for _ in 0..glass.length()? {
        let [received, passed, errors] = [glass.count()?, glass.count()?, glass.count()?];
        operators.push(OperatorCount { received, passed, errors, ..OperatorCount::default() });
    }
    let mut timed_by_receipt = 0;
    if format > FORMAT_WITHOUT_DERIVED {
        timed_by_receipt = glass.count()?;
        [tally.derived, tally.split] = [glass.count()?, glass.count()?];
        [tally.absorbed, tally.cancelled] = [glass.count()?, glass.count()?];
        for count in &mut operators {
            [count.derived, count.absorbed, count.released] = [glass.count()?, glass.count()?, glass.count()?];
            [count.late, count.unmatched] = [glass.count()?, glass.count()?];
        }
    }
    let mut counters = BTreeMap::new();
    if format > FORMAT_WITHOUT_COUNTERS {
        for _ in 0..glass.length()? {
            let Ok(operator) = u16::try_from(glass.count()?) else { return glass.damaged() };
            counters.insert((operator, glass.string()?), glass.count()? as i64);
        }
    }
    Ok(Totals { tally, operators, meters_opened, timed_by_receipt, counters, rejudged: Tally::default() })
}

/// Reads every checkpoint of a pipeline completely, including damaged ones that were set aside.
///
/// # Errors
/// The folder cannot be listed.
pub fn examine(disk: &dyn Disk, pipeline: &str) -> Result<Vec<Examined>, Error> {
    let folder = folder(pipeline);
    let names = disk.list(&folder).map_err(|why| Error::from(flowmeter_store::Error::io(&folder, &why)))?;
    let files = names.iter().filter(|name| name.ends_with(".ckpt") || name.ends_with(".damaged"));
    let one = |name: &String| {
        let file = format!("{folder}/{name}");
        let read = read_all(disk, &file).map_err(|why| flowmeter_store::Error::io(&file, &why));
        let whole = |bytes: Vec<u8>| match Checkpoint::read(&bytes, unpack) {
            Ok(_) => Ok(()),
            Err(why) => Err(flowmeter_store::Error::corrupt(&file, why)),
        };
        let outcome = read.and_then(whole);
        Examined::new(file, outcome)
    };
    Ok(files.map(one).collect())
}

/// The names and the position of a checkpoint from which the pipeline may resume.
pub(crate) struct Kept {
    pub(crate) position: u64,
    pub(crate) identities: Vec<Manifest>,
    pub(crate) rollups: Vec<rollups::Manifest>,
}

/// The state from which a pipeline resumes.
pub(crate) struct Found {
    /// The newest undamaged checkpoint.
    pub(crate) newest: Checkpoint,
    /// The previous one, the fallback if the newest is lost or damaged.
    pub(crate) before: Option<Kept>,
}

/// Returns the newest undamaged checkpoint; if the newest one is damaged, the previous one.
pub(crate) fn newest(vault: &dyn Vault, tenure: &Tenure) -> Result<Option<Found>, Error> {
    let place = |position: u64| format!("{}: the checkpoint at {position}", tenure.pipeline);
    let (mut newest, mut damaged, mut damage) = (None::<Checkpoint>, Vec::new(), None);
    let set_aside = |damaged: &[u64]| damaged.iter().try_for_each(|position| vault.set_aside(tenure, *position));
    let positions = vault.positions(&tenure.pipeline)?;
    if !positions.is_empty() {
        // The next steps rely on them.
        vault.settle(tenure)?;
    }
    for position in positions.into_iter().rev() {
        let bytes = vault.fetch(tenure, position)?;
        let found = match newest {
            None => Checkpoint::read(&bytes, unpack),
            // Only the manifests of this one are needed.
            Some(_) => Checkpoint::read(&bytes, |_, _| Some(Vec::new())),
        };
        match (found, newest.take()) {
            (Ok(found), None) => newest = Some(found),
            (Ok(before), Some(newest)) => {
                set_aside(&damaged)?;
                return Ok(Some(Found {
                    newest,
                    before: Some(Kept { position: before.position, identities: before.manifests, rollups: before.rollups }),
                }));
            }
            (Err(why), known) if why.kind == Kind::Corrupt => {
                newest = known;
                damage = Some(Error::new(why.kind, format!("{}: {why}", place(position))));
                damaged.push(position);
            }
            (Err(why), _) => return Err(Error::new(why.kind, format!("{}: {why}", place(position)))),
        }
    }
    match (newest, damage) {
        (Some(newest), _) => {
            set_aside(&damaged)?;
            Ok(Some(Found { newest, before: None }))
        }
        // Without any checkpoint the pipeline is new; with damaged ones only, opening it fails.
        (None, damage) => damage.map_or(Ok(None), Err),
    }
}

/// Decompresses an image; `None` if it has another length.
fn unpack(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    // A damaged length must not cause a huge allocation.
    let mut image = Vec::with_capacity(length.min(packed.len().saturating_mul(16)));
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?;
    decoder.take((length as u64).saturating_add(1)).read_to_end(&mut image).ok()?;
    (image.len() == length).then_some(image)
}
