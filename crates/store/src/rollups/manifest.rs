//! The part of a checkpoint that names the valid runs of rollups.

use flowmeter_core::image::{BadImage, Glass, Pen, Seen};
use uuid::Uuid;

const FORMAT: u8 = 1;

/// The rollups at one instant: the runs, from the oldest to the newest, and the meter types whose
/// cells in older runs are forgotten.
///
/// The caller stores it with the position in the log up to which events were added, and after
/// [`Rollups::open`](super::Rollups::open) adds the later ones again. Then every event is there
/// once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub(super) next: u64,
    pub(super) runs: Vec<Named>,
    pub(super) forgotten: Vec<Forgotten>,
}

/// A run as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) number: u64,
    /// The greatest number of a run that was merged into it, or its own: the age of its newest
    /// cells.
    pub(super) newest: u64,
    pub(super) bytes: u64,
    pub(super) cells: u64,
    /// The checksum of its index, which has those of its blocks.
    pub(super) sum: u32,
}

/// A meter type whose cells are forgotten in runs older than a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten {
    pub(super) meter_type: Uuid,
    pub(super) before: u64,
}

impl Forgotten {
    pub(super) fn hides(&self, meter_type: Uuid, run: &Named) -> bool {
        self.meter_type == meter_type && run.newest < self.before
    }
}

impl Manifest {
    /// Returns the number of cells in the runs.
    pub fn cells(&self) -> u64 {
        self.runs.iter().map(|run| run.cells).sum()
    }

    /// Returns the bytes of the runs.
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes).sum()
    }

    /// Returns the number of runs.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn names(&self, number: u64) -> bool {
        self.runs.iter().any(|run| run.number == number)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().map(|run| run.number)
    }

    pub fn write_to(&self, pen: &mut Pen) {
        pen.byte(FORMAT);
        pen.count(self.next);
        pen.count(self.runs.len() as u64);
        for run in &self.runs {
            [run.number, run.newest, run.bytes, run.cells, run.sum.into()].into_iter().for_each(|n| pen.count(n));
        }
        pen.count(self.forgotten.len() as u64);
        for forgotten in &self.forgotten {
            pen.wide(forgotten.meter_type.as_u128());
            pen.count(forgotten.before);
        }
    }

    /// Reads the output of [`Manifest::write_to`].
    pub fn read(glass: &mut Glass<'_>) -> Seen<Manifest> {
        match glass.byte()? {
            FORMAT => {}
            format => return Err(BadImage::Format(format)),
        }
        let next = glass.count()?;
        let mut runs = Vec::new();
        for _ in 0..glass.length()? {
            let (number, newest) = (glass.count()?, glass.count()?);
            let (bytes, cells, sum) = (glass.count()?, glass.count()?, glass.count()? as u32);
            runs.push(Named { number, newest, bytes, cells, sum });
        }
        let mut forgotten = Vec::new();
        for _ in 0..glass.length()? {
            forgotten.push(Forgotten { meter_type: Uuid::from_u128(glass.wide()?), before: glass.count()? });
        }
        Ok(Manifest { next, runs, forgotten })
    }
}
