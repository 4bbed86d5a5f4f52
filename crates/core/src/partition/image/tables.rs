//! The tables at the front of a partition's image. They translate its numbers to the present plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::super::late::Horizon;
use super::super::{Identities, Meters, Partition, Symbols, THRESHOLDS_MAX};
use crate::event::Path;
use crate::image::{BadImage, Glass, Pen, Seen};
use crate::meter_type::MeterType;
use crate::plan::Plan;
use crate::record::Direction;
use crate::schedule::Calendar;

/// Indexes in the plan of the parts that an image names, by their indexes in the image; the name of
/// a part that the plan does not have.
pub(super) struct Tables {
    pub(super) format: u8,
    pub(super) meter_types: Vec<Result<u16, String>>,
    pub(super) processors: Vec<Result<u16, String>>,
    pub(super) carried: Vec<Result<u16, String>>,
    breakdowns: Vec<(Option<u16>, Vec<Path>)>,
    /// Indexes among the partition's calendars.
    calendars: Vec<u16>,
    /// The bits of thresholds, by meter type of the plan.
    pub(super) thresholds: BTreeMap<u16, Bits>,
    /// Indexes among the partition's symbols.
    pub(super) symbols: Vec<u32>,
}

/// The bits of thresholds in the plan, by those in the image; the name if no bit is free.
pub(super) struct Bits(Vec<Result<usize, String>>);

impl Bits {
    /// Translates the bits of a period to those of the plan.
    pub(super) fn of(&self, crossed: u64) -> impl Iterator<Item = (Result<usize, &str>, Direction)> {
        self.0.iter().enumerate().flat_map(move |(at, bit)| {
            let directions = [Direction::Reached, Direction::Recovered];
            let told = directions.into_iter().filter(move |direction| crossed & direction.bit(at) != 0);
            told.map(move |direction| (bit.as_ref().map(|bit| *bit).map_err(String::as_str), direction))
        })
    }
}

impl Direction {
    /// Returns the bit that marks a threshold as crossed in this direction.
    pub(crate) const fn bit(self, threshold: usize) -> u64 {
        match self {
            Direction::Reached => 1 << threshold,
            Direction::Recovered => 1 << (threshold + THRESHOLDS_MAX),
        }
    }
}

impl Tables {
    /// Reads the number of a calendar.
    pub(super) fn calendar(&self, glass: &mut Glass<'_>) -> Seen<u16> {
        match self.calendars.get(glass.count()? as usize) {
            Some(calendar) => Ok(*calendar),
            None => glass.damaged(),
        }
    }
}

/// Reads an index of a table and returns the one in the plan.
pub(super) fn place(table: &[Result<u16, String>], glass: &mut Glass<'_>) -> Seen<u16> {
    match table.get(glass.count()? as usize) {
        Some(Ok(at)) => Ok(*at),
        Some(Err(what)) => Err(BadImage::Unknown(what.clone())),
        None => glass.damaged(),
    }
}

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Writes the plan's names, in its order, and the calendars that meters have besides those of
    /// its types. Returns the number in the image of each calendar.
    pub(super) fn write_tables(&self, pen: &mut Pen) -> Vec<u16> {
        let plan = &self.plan;
        pen.count(plan.meter_types.len() as u64);
        for (at, kind) in plan.meter_types.iter().enumerate() {
            pen.wide(kind.id.as_u128());
            pen.text(kind.name.as_bytes());
            pen.text(&aggregation_of(kind));
            self.calendars[at].write_to(pen);
            pen.time(self.horizons[at].amendable_from);
            pen.time(self.horizons[at].empties_until);
            let names: Vec<&str> = self.thresholds[at].names(kind).collect();
            pen.count(names.len() as u64);
            names.iter().for_each(|name| pen.text(name.as_bytes()));
        }
        let calendars = self.write_calendars(pen);
        pen.count(plan.processors.len() as u64);
        plan.processors.iter().for_each(|processor| pen.wide(processor.key.as_u128()));
        let retired = self.symbols.retired();
        pen.count((plan.breakdowns.len() + retired.len()) as u64);
        for breakdown in plan.breakdowns.iter().chain(retired) {
            pen.count(breakdown.len() as u64);
            breakdown.iter().for_each(|path| pen.text(path.as_str().as_bytes()));
        }
        pen.count(plan.carried.len() as u64);
        plan.carried.iter().for_each(|path| pen.text(path.as_str().as_bytes()));
        calendars
    }

    /// Writes only calendars that a meter uses; others are dropped.
    fn write_calendars(&self, pen: &mut Pen) -> Vec<u16> {
        let own = self.plan.meter_types.len();
        let mut used = vec![false; self.calendars.len()];
        self.meters.all().for_each(|(_, meter)| used[usize::from(meter.calendar)] = true);
        let beside: Vec<usize> = (own..self.calendars.len()).filter(|at| used[*at]).collect();
        pen.count(beside.len() as u64);
        beside.iter().for_each(|at| self.calendars[*at].write_to(pen));
        let mut numbers: Vec<u16> = (0..self.calendars.len()).map(|at| at as u16).collect();
        for (number, at) in beside.into_iter().enumerate() {
            numbers[at] = (own + number) as u16;
        }
        numbers
    }

    /// Reads the tables and prepares the partition for its numbers.
    pub(super) fn read_tables(&mut self, format: u8, glass: &mut Glass<'_>) -> Seen<Tables> {
        let mut tables = Tables {
            format,
            meter_types: Vec::new(),
            processors: Vec::new(),
            carried: Vec::new(),
            breakdowns: Vec::new(),
            calendars: Vec::new(),
            thresholds: BTreeMap::new(),
            symbols: Vec::new(),
        };
        for _ in 0..glass.length()? {
            self.read_meter_type(&mut tables, glass)?;
        }
        if format > 1 {
            for _ in 0..glass.length()? {
                let calendar = Calendar::read(glass)?;
                self.name_calendar(calendar, &mut tables, glass)?;
            }
        }
        let plan = Arc::clone(&self.plan);
        for _ in 0..glass.length()? {
            let key = Uuid::from_u128(glass.wide()?);
            let at = plan.processors.iter().position(|processor| processor.key == key);
            tables.processors.push(at.map(|at| at as u16).ok_or_else(|| format!("meter operator with the key {key}")));
        }
        for _ in 0..glass.length()? {
            let mut paths = Vec::new();
            for _ in 0..glass.length()? {
                paths.push(read_path(glass)?);
            }
            let at = plan.breakdowns.iter().position(|known| same(known, &paths));
            tables.breakdowns.push((at.map(|at| at as u16), paths));
        }
        for _ in 0..glass.length()? {
            let path = read_path(glass)?;
            let at = plan.carried.iter().position(|known| known.as_str() == path.as_str());
            tables.carried.push(at.map(|at| at as u16).ok_or_else(|| format!("carried field `{path}`")));
        }
        Ok(tables)
    }

    fn read_meter_type(&mut self, tables: &mut Tables, glass: &mut Glass<'_>) -> Seen<()> {
        let plan = Arc::clone(&self.plan);
        let id = Uuid::from_u128(glass.wide()?);
        let name = glass.string()?;
        let aggregation = if tables.format == 1 { None } else { Some(glass.text()?) };
        let at = plan.meter_types.iter().position(|kind| kind.id == id);
        let is = |at: &usize| aggregation.is_none_or(|aggregation| aggregation == aggregation_of(&plan.meter_types[*at]));
        tables.meter_types.push(match at {
            None => Err(format!("meter type `{name}`")),
            Some(at) if !is(&at) => Err(format!("meter type `{name}` with the aggregation it had")),
            Some(at) => Ok(at as u16),
        });
        if tables.format == 1 {
            if let Some(at) = at {
                tables.thresholds.insert(at as u16, Bits((0..THRESHOLDS_MAX).map(Ok).collect()));
            }
            return Ok(());
        }
        let calendar = Calendar::read(glass)?;
        let horizon = Horizon { amendable_from: glass.time()?, empties_until: glass.time()? };
        let mut names = Vec::new();
        for _ in 0..glass.length()? {
            names.push(glass.string()?);
        }
        if names.len() > THRESHOLDS_MAX {
            return glass.damaged();
        }
        match at {
            Some(at) => {
                self.horizons[at] = horizon.under(&plan.meter_types[at]);
                let bits = names.into_iter().map(|name| self.bit_of(at, name)).collect();
                tables.thresholds.insert(at as u16, Bits(bits));
            }
            None => drop(names),
        }
        match at.filter(|at| self.calendars[*at].is(&calendar)) {
            Some(at) => tables.calendars.push(at as u16),
            None => self.name_calendar(calendar, tables, glass)?,
        }
        Ok(())
    }

    fn name_calendar(&mut self, calendar: Calendar, tables: &mut Tables, glass: &mut Glass<'_>) -> Seen<()> {
        match self.calendar(calendar) {
            Some(at) => tables.calendars.push(at),
            None => return glass.damaged(),
        }
        Ok(())
    }

    /// Returns the bit of a threshold; one that the plan no longer has gets a bit after the plan's
    /// own.
    fn bit_of(&mut self, meter_type: usize, name: String) -> Result<usize, String> {
        let kind = &self.plan.meter_types[meter_type];
        let known = self.thresholds[meter_type].names(kind).position(|known| *known == name);
        let crossings = &mut self.thresholds[meter_type];
        match known {
            Some(bit) => Ok(bit),
            None if kind.thresholds.len() + crossings.retired.len() < THRESHOLDS_MAX => {
                crossings.retired.push(name);
                Ok(kind.thresholds.len() + crossings.retired.len() - 1)
            }
            None => Err(name),
        }
    }

    /// Reads the symbols: the number of a symbol in the image is an index of this list.
    pub(super) fn read_symbols(&mut self, tables: &mut Tables, glass: &mut Glass<'_>) -> Seen<()> {
        for _ in 0..glass.length()? {
            let identity = glass.text()?;
            match read_symbol(identity, &self.plan, tables, &mut self.symbols) {
                Some(symbol) => tables.symbols.push(symbol),
                None => return glass.damaged(),
            }
        }
        Ok(())
    }
}

fn aggregation_of(kind: &MeterType) -> Vec<u8> {
    let mut pen = Pen::default();
    kind.aggregation.write_to(&mut pen);
    pen.bytes
}

fn same(a: &[Path], b: &[Path]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.as_str() == b.as_str())
}

fn read_path(glass: &mut Glass<'_>) -> Seen<Path> {
    let text = glass.string()?;
    match Path::parse(&text) {
        Ok(path) => Ok(path),
        Err(_) => glass.damaged(),
    }
}

/// Reads a symbol. A breakdown that the plan no longer has keeps its groups under a number beyond
/// the plan's own.
fn read_symbol(identity: &[u8], plan: &Plan, tables: &Tables, symbols: &mut Symbols) -> Option<u32> {
    let (breakdown, values) = identity.split_first_chunk::<2>()?;
    let (at, names) = tables.breakdowns.get(usize::from(u16::from_le_bytes(*breakdown)))?;
    let at = at.unwrap_or_else(|| plan.breakdowns.len() as u16 + symbols.retire(names));
    Some(symbols.intern_identity(at, names, values))
}
