//! Schedules as bytes, and back: a meter's older periods keep their schedule, even when no
//! remaining version of the pipeline has it.

use jiff::civil::DateTime;

use super::{Cron, CronFields, Every, Schedule, Unit};
use crate::image::{Glass, Pen, Seen};

const UNITS: [Unit; 6] = [Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];

impl Schedule {
    /// Appends the parts of a schedule.
    pub(super) fn write_to(&self, pen: &mut Pen) {
        match self {
            Schedule::Never => pen.byte(0),
            Schedule::Every(every) => {
                pen.byte(1);
                pen.byte(UNITS.iter().position(|unit| *unit == every.unit).unwrap_or_default() as u8);
                pen.count(every.count as u64);
                let base = every.base;
                pen.count(base.year() as u64);
                [every.day, base.month(), base.day(), base.hour(), base.minute()].iter().for_each(|part| pen.byte(*part as u8));
            }
            Schedule::Cron(cron) => {
                pen.byte(2);
                let CronFields { minute, hour, day, month, weekday } = &cron.fields;
                [minute, hour, day, month, weekday].iter().for_each(|text| pen.text(text.as_bytes()));
            }
        }
    }

    /// Reads a schedule from an image.
    pub(super) fn read_image(glass: &mut Glass<'_>) -> Seen<Schedule> {
        let schedule = match glass.byte()? {
            0 => Some(Schedule::Never),
            1 => read_every(glass)?.map(Schedule::Every),
            2 => {
                let mut text = || glass.string();
                let fields = CronFields { minute: text()?, hour: text()?, day: text()?, month: text()?, weekday: text()? };
                Cron::new(&fields).ok().map(|cron| Schedule::Cron(Box::new(cron)))
            }
            _ => None,
        };
        schedule.map_or_else(|| glass.damaged(), Ok)
    }
}

fn read_every(glass: &mut Glass<'_>) -> Seen<Option<Every>> {
    let unit = UNITS.get(usize::from(glass.byte()?)).copied();
    let (count, year) = (glass.count()?, glass.count()?);
    let mut part = || glass.byte().map(|part| part as i8);
    let (day, month, date, hour, minute) = (part()?, part()?, part()?, part()?, part()?);
    // A base is at the beginning of 1970: another one is damage.
    let sound = (1..=1000).contains(&count) && (1969..=1970).contains(&year) && (1..=31).contains(&day);
    let base = DateTime::new(year as i16, month, date, hour, minute, 0, 0).ok().filter(|_| sound);
    Ok(unit.zip(base).map(|(unit, base)| Every { unit, count: count as i64, day, base }))
}
