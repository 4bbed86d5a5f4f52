//! Checkpoints: the state of a pipeline at a position of the log, in one file that is
//! there whole or not at all. `docs/formats/checkpoint.md` says what is where.

use flowmeter_core::image::{Glass, Pen, Seen};
use flowmeter_core::mediation::OperatorCount;
use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::Tally;
use flowmeter_store::disk::{Disk, read_all, write_whole};
use flowmeter_store::identities::Manifest;
use flowmeter_store::rollups;

use crate::{Error, Kind, Totals};

const MARK: &[u8; 8] = b"FLOWCKPT";
const FORMAT: u8 = 1;
/// zstd's level 1: images are mostly small numbers and names.
const LEVEL: i32 = 1;
/// Bytes of an image at most: what says more is damaged.
const IMAGE_BYTES_MAX: usize = 64 << 30;

/// Everything a pipeline goes on from.
pub(super) struct Checkpoint {
    pub(super) version: u32,
    pub(super) position: u64,
    pub(super) clock: Timestamp,
    /// Items of the outlet's logs.
    pub(super) items: [u64; 3],
    pub(super) totals: Totals,
    /// By partition.
    pub(super) images: Vec<Vec<u8>>,
    /// By partition.
    pub(super) manifests: Vec<Manifest>,
    /// By partition; none if usage is not rolled up.
    pub(super) rollups: Vec<rollups::Manifest>,
}

fn folder(pipeline: &str) -> String {
    format!("{pipeline}/checkpoints")
}

fn name(position: u64) -> String {
    format!("{position:020}.ckpt")
}

impl Checkpoint {
    /// Writes it, durably.
    pub(super) fn write(&self, disk: &dyn Disk, pipeline: &str) -> Result<(), Error> {
        let mut pen = Pen::default();
        pen.bytes.extend_from_slice(MARK);
        pen.byte(FORMAT);
        self.write_to(&mut pen);
        let sum = flowmeter_store::checksum(&pen.bytes);
        pen.bytes.extend_from_slice(&sum.to_le_bytes());
        let folder = folder(pipeline);
        let written = disk.create_folder(&folder).and_then(|()| write_whole(disk, &folder, &name(self.position), &pen.bytes));
        written.map_err(|why| flowmeter_store::Error::io(format!("{folder}/{}", name(self.position)), &why).into())
    }

    fn write_to(&self, pen: &mut Pen) {
        pen.count(u64::from(self.version));
        pen.count(self.position);
        pen.time(self.clock);
        self.items.iter().for_each(|items| pen.count(*items));
        write_totals(&self.totals, pen);
        pen.count(self.images.len() as u64);
        for (image, manifest) in self.images.iter().zip(&self.manifests) {
            pen.count(image.len() as u64);
            pen.text(&zstd::bulk::compress(image, LEVEL).unwrap_or_default());
            let mut bytes = Vec::new();
            manifest.write_to(&mut bytes);
            pen.text(&bytes);
        }
        pen.count(self.rollups.len() as u64);
        self.rollups.iter().for_each(|manifest| manifest.write_to(pen));
    }

    fn read(bytes: &[u8]) -> Result<Checkpoint, Error> {
        let corrupt = |what: &str| Error::new(Kind::Corrupt, what.to_owned());
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("it is too short"))?;
        if u32::from_le_bytes(*sum) != flowmeter_store::checksum(body) {
            return Err(corrupt("its checksum is wrong"));
        }
        let body = body.strip_prefix(MARK).ok_or_else(|| corrupt("it is no checkpoint"))?;
        match body.split_first() {
            Some((&FORMAT, body)) => {
                let mut glass = Glass::new(body);
                Checkpoint::read_from(&mut glass).map_err(|why| corrupt(&why.to_string()))?
            }
            _ => Err(Error::new(Kind::Invalid, "it has a format newer than this program")),
        }
    }

    fn read_from(glass: &mut Glass<'_>) -> Seen<Result<Checkpoint, Error>> {
        let (version, position, clock) = (glass.count()? as u32, glass.count()?, glass.time()?);
        let items = [glass.count()?, glass.count()?, glass.count()?];
        let totals = read_totals(glass)?;
        let (mut images, mut manifests) = (Vec::new(), Vec::new());
        for _ in 0..glass.length()? {
            let length = glass.count()? as usize;
            let Ok(image) = zstd::bulk::decompress(glass.text()?, length.min(IMAGE_BYTES_MAX)) else { return glass.damaged() };
            images.push(image);
            match Manifest::read(glass.text()?) {
                Ok(manifest) => manifests.push(manifest),
                Err(why) => return Ok(Err(why.into())),
            }
        }
        let mut rollups = Vec::new();
        for _ in 0..glass.length()? {
            rollups.push(rollups::Manifest::read(glass)?);
        }
        Ok(Ok(Checkpoint { version, position, clock, items, totals, images, manifests, rollups }))
    }
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
}

fn read_totals(glass: &mut Glass<'_>) -> Seen<Totals> {
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
        operators.push(OperatorCount { received: glass.count()?, passed: glass.count()?, errors: glass.count()? });
    }
    Ok(Totals { tally, operators, meters_opened })
}

fn positions(disk: &dyn Disk, pipeline: &str) -> Result<Vec<u64>, Error> {
    let folder = folder(pipeline);
    let names = disk.list(&folder).map_err(|why| Error::io(&folder, &why))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".ckpt")?.parse().ok()).collect())
}

/// The newest checkpoint that is whole; a damaged one gives way to the one before.
pub(super) fn newest(disk: &dyn Disk, pipeline: &str) -> Result<Option<Checkpoint>, Error> {
    let mut damage = None;
    for position in positions(disk, pipeline)?.into_iter().rev() {
        let file = format!("{}/{}", folder(pipeline), name(position));
        let bytes = read_all(disk, &file).map_err(|why| Error::io(&file, &why))?;
        match Checkpoint::read(&bytes) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(why) if why.kind == Kind::Corrupt => damage = Some(Error::new(why.kind, format!("{file}: {why}"))),
            Err(why) => return Err(Error::new(why.kind, format!("{file}: {why}"))),
        }
    }
    // None at all is a beginning; none that is whole is not.
    damage.map_or(Ok(None), Err)
}

/// Removes checkpoints older than one.
pub(super) fn remove_before(disk: &dyn Disk, pipeline: &str, oldest: u64) -> Result<(), Error> {
    for position in positions(disk, pipeline)?.into_iter().filter(|position| *position < oldest) {
        let file = format!("{}/{}", folder(pipeline), name(position));
        disk.remove(&file).map_err(|why| Error::io(&file, &why))?;
    }
    Ok(())
}
