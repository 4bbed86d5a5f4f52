//! Aggregates as bytes, and added to each other.

use super::counter::Opening;
use super::points::Line;
use super::{Aggregate, Aggregation, Delta, LevelInput, Points, Restart, Weighted};
use crate::decimal::Decimal;
use crate::image::{Glass, Pen, Seen};

fn write_decimal(decimal: Decimal, pen: &mut Pen) {
    pen.wide(decimal.units() as u128);
}

fn read_decimal(glass: &mut Glass<'_>) -> Seen<Decimal> {
    let units = glass.wide()? as i128;
    match Decimal::from_units(units) {
        Some(decimal) => Ok(decimal),
        None => glass.damaged(),
    }
}

fn write_maybe(decimal: Option<Decimal>, pen: &mut Pen) {
    pen.byte(u8::from(decimal.is_some()));
    if let Some(decimal) = decimal {
        write_decimal(decimal, pen);
    }
}

fn read_maybe(glass: &mut Glass<'_>) -> Seen<Option<Decimal>> {
    Ok(if glass.byte()? == 0 { None } else { Some(read_decimal(glass)?) })
}

impl Aggregation {
    /// Appends which it is: two write the same if they read each other's states.
    pub(crate) fn write_to(self, pen: &mut Pen) {
        pen.byte(match self {
            Aggregation::Sum => 0,
            Aggregation::Increment => 1,
            Aggregation::Min => 2,
            Aggregation::Max => 3,
            Aggregation::Avg => 4,
            Aggregation::Unique => 5,
            Aggregation::Latest => 6,
            Aggregation::Weighted(_) => 7,
            Aggregation::Delta(_) => 8,
            Aggregation::Percentile(_) => 9,
        });
        match self {
            Aggregation::Weighted(Weighted { unit, input }) => {
                pen.count(unit.map_or(0, |unit| unit as u64));
                pen.byte(u8::from(input == LevelInput::Change));
            }
            Aggregation::Percentile(p) => write_decimal(p, pen),
            Aggregation::Delta(delta) if delta != Delta::default() => write_delta(delta, pen),
            _ => {}
        }
    }
}

/// The parameters of a delta that has any.
fn write_delta(delta: Delta, pen: &mut Pen) {
    match delta.restart {
        Restart::Any => pen.byte(0),
        Restart::Never => pen.byte(1),
        Restart::Below(share) => {
            pen.byte(2);
            write_decimal(share, pen);
        }
    }
    write_maybe(delta.wrap_at, pen);
    pen.byte(u8::from(delta.from_zero) | u8::from(delta.ignore_zero) << 1);
}

/// Marks points of several series, or of a counter that dipped. Without it there is one series,
/// whose opening is 0 or 1 and a decimal.
const SERIES: u8 = 2;

impl Points {
    fn write_to(&self, pen: &mut Pen) {
        let line = match self.lines.as_slice() {
            [] => Some(&Line::default()),
            [(0, line)] if line.opening.is_none_or(|opening| opening == Opening::at(opening.last)) => Some(line),
            _ => None,
        };
        if let Some(line) = line {
            write_maybe(line.opening.map(|opening| opening.last), pen);
            return write_points(&line.points, pen);
        }
        pen.byte(SERIES);
        pen.count(self.lines.len() as u64);
        for (series, line) in &self.lines {
            pen.wide(*series);
            pen.byte(line.opening.map_or(0, |opening| 1 | u8::from(opening.zero) << 1));
            if let Some(opening) = line.opening {
                write_decimal(opening.last, pen);
                write_decimal(opening.high, pen);
            }
            write_points(&line.points, pen);
        }
    }

    fn read_from(glass: &mut Glass<'_>) -> Seen<Points> {
        let mut read = Points::default();
        let form = glass.byte()?;
        if form < SERIES {
            let opening = if form == 0 { None } else { Some(Opening::at(read_decimal(glass)?)) };
            let line = Line { opening, points: read_points(glass)? };
            if opening.is_some() || !line.points.is_empty() {
                read.lines.push((0, line));
            }
            return Ok(read);
        }
        if form > SERIES {
            return glass.damaged();
        }
        for _ in 0..glass.length()? {
            let series = glass.wide()?;
            let flags = glass.byte()?;
            let opening = match flags {
                0 => None,
                _ => Some(Opening { last: read_decimal(glass)?, high: read_decimal(glass)?, zero: flags & 2 != 0 }),
            };
            let line = Line { opening, points: read_points(glass)? };
            if read.lines.last().is_some_and(|(before, _)| *before >= series) {
                return glass.damaged();
            }
            read.lines.push((series, line));
        }
        Ok(read)
    }
}

fn write_points(points: &[(crate::time::Timestamp, Decimal)], pen: &mut Pen) {
    pen.count(points.len() as u64);
    for (at, value) in points {
        pen.time(*at);
        write_decimal(*value, pen);
    }
}

fn read_points(glass: &mut Glass<'_>) -> Seen<Vec<(crate::time::Timestamp, Decimal)>> {
    let mut points = Vec::new();
    for _ in 0..glass.length()? {
        points.push((glass.time()?, read_decimal(glass)?));
    }
    Ok(points)
}

impl Aggregate {
    /// Appends the state to an image.
    pub fn write_to(&self, pen: &mut Pen) {
        match self {
            Aggregate::Count(count) => pen.count(*count),
            Aggregate::Sum(sum) => write_decimal((*sum).into(), pen),
            Aggregate::Extreme(there, extreme) => write_maybe(there.then(|| (*extreme).into()), pen),
            Aggregate::Mean(mean) => {
                write_decimal(mean.0, pen);
                pen.count(mean.1);
            }
            Aggregate::Latest(latest) => {
                pen.byte(u8::from(latest.is_some()));
                if let Some(latest) = latest {
                    pen.time(latest.0);
                    write_decimal(latest.1, pen);
                }
            }
            Aggregate::Distinct(seen) => {
                // In order, so that the same state is always the same bytes.
                let mut seen: Vec<u128> = seen.iter().copied().collect();
                seen.sort_unstable();
                pen.count(seen.len() as u64);
                seen.into_iter().for_each(|fingerprint| pen.wide(fingerprint));
            }
            Aggregate::Values(values) => {
                pen.count(values.len() as u64);
                values.iter().for_each(|value| write_decimal(*value, pen));
            }
            Aggregate::Points(points) => points.write_to(pen),
        }
    }

    /// Reads the state of an aggregation.
    pub fn read(aggregation: Aggregation, glass: &mut Glass<'_>) -> Seen<Aggregate> {
        let mut aggregate = Aggregate::initial(aggregation);
        match &mut aggregate {
            Aggregate::Count(count) => *count = glass.count()?,
            Aggregate::Sum(sum) => *sum = read_decimal(glass)?.into(),
            Aggregate::Extreme(there, extreme) => {
                let read = read_maybe(glass)?;
                (*there, *extreme) = (read.is_some(), read.unwrap_or_default().into());
            }
            Aggregate::Mean(mean) => **mean = (read_decimal(glass)?, glass.count()?),
            Aggregate::Latest(latest) => {
                if glass.byte()? != 0 {
                    *latest = Some(Box::new((glass.time()?, read_decimal(glass)?)));
                }
            }
            Aggregate::Distinct(seen) => {
                for _ in 0..glass.length()? {
                    seen.insert(glass.wide()?);
                }
            }
            Aggregate::Values(values) => {
                for _ in 0..glass.length()? {
                    values.push(read_decimal(glass)?);
                }
            }
            Aggregate::Points(points) => **points = Points::read_from(glass)?,
        }
        Ok(aggregate)
    }

    /// Adds what another aggregate of the same aggregation holds, whose events arrived
    /// later. Says no, and adds nothing, where the sum would leave the range.
    pub fn merge(&mut self, aggregation: Aggregation, later: &Aggregate) -> bool {
        match (self, later) {
            (Aggregate::Count(mine), Aggregate::Count(theirs)) => *mine += theirs,
            (Aggregate::Sum(mine), Aggregate::Sum(theirs)) => match Decimal::from(*mine).add((*theirs).into()) {
                Some(sum) => *mine = sum.into(),
                None => return false,
            },
            (Aggregate::Extreme(there, mine), Aggregate::Extreme(true, theirs)) => {
                let (known, other) = (Decimal::from(*mine), Decimal::from(*theirs));
                let beats = if aggregation == Aggregation::Min { other < known } else { other > known };
                if !*there || beats {
                    (*there, *mine) = (true, *theirs);
                }
            }
            (Aggregate::Mean(mine), Aggregate::Mean(theirs)) => match mine.0.add(theirs.0) {
                Some(sum) => **mine = (sum, mine.1 + theirs.1),
                None => return false,
            },
            (Aggregate::Latest(mine), Aggregate::Latest(Some(theirs)))
                if mine.as_ref().is_none_or(|known| theirs.0 >= known.0) =>
            {
                *mine = Some(theirs.clone());
            }
            (Aggregate::Distinct(mine), Aggregate::Distinct(theirs)) => mine.extend(theirs.iter()),
            (Aggregate::Values(mine), Aggregate::Values(theirs)) => mine.extend(theirs.iter()),
            (Aggregate::Points(mine), Aggregate::Points(theirs)) => {
                for (series, line) in &theirs.lines {
                    line.points.iter().for_each(|(at, value)| mine.insert(*series, *at, *value));
                }
            }
            _ => {}
        }
        true
    }
}

impl Points {
    /// Whether there is nothing to begin with and nothing was added.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregation::{Contribution, LevelInput, Weighted};
    use crate::time::Timestamp;

    const ALL: [Aggregation; 11] = [
        Aggregation::Sum,
        Aggregation::Increment,
        Aggregation::Min,
        Aggregation::Max,
        Aggregation::Avg,
        Aggregation::Unique,
        Aggregation::Latest,
        Aggregation::Weighted(Weighted { unit: None, input: LevelInput::Level }),
        Aggregation::Delta(Delta { restart: Restart::Any, wrap_at: None, from_zero: false, ignore_zero: false }),
        Aggregation::Delta(Delta { restart: Restart::Never, wrap_at: None, from_zero: true, ignore_zero: true }),
        Aggregation::Percentile(Decimal::ONE),
    ];

    fn of(aggregation: Aggregation, numbers: std::ops::Range<i64>) -> Aggregate {
        let mut aggregate = Aggregate::initial(aggregation);
        for n in numbers {
            let number = Decimal::from_int(n * 7 % 11 - 3);
            aggregate.add(aggregation, &Contribution { number, fingerprint: n as u128 % 5, at: Timestamp::from_nanos(n) });
        }
        aggregate
    }

    fn bytes(aggregate: &Aggregate) -> Vec<u8> {
        let mut pen = Pen::default();
        aggregate.write_to(&mut pen);
        pen.bytes
    }

    #[test]
    fn comes_back_as_it_was_and_is_cut_nowhere() {
        for aggregation in ALL {
            for numbers in [0..0, 0..1, 0..40] {
                let written = bytes(&of(aggregation, numbers));
                let mut glass = Glass::new(&written);
                let read = Aggregate::read(aggregation, &mut glass).unwrap();
                assert!(glass.is_at_end());
                assert_eq!(bytes(&read), written);
                for cut in 0..written.len() {
                    assert!(Aggregate::read(aggregation, &mut Glass::new(&written[..cut])).is_err(), "{aggregation:?}");
                }
            }
        }
    }

    #[test]
    fn parts_added_are_the_whole() {
        for aggregation in ALL {
            for cut in [0, 1, 20, 40] {
                let mut merged = of(aggregation, 0..cut);
                assert!(merged.merge(aggregation, &of(aggregation, cut..40)));
                assert_eq!(bytes(&merged), bytes(&of(aggregation, 0..40)), "{aggregation:?} at {cut}");
            }
        }
    }
}
