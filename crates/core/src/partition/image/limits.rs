//! The capacity and thresholds that a meter has of its own, in an image.

use crate::decimal::Decimal;
use crate::image::{Glass, Pen, Seen};
use crate::meter_type::{OwnLimits, Threshold};

pub(super) fn write(limits: Option<&OwnLimits>, pen: &mut Pen) {
    pen.byte(u8::from(limits.is_some()));
    let Some(limits) = limits else { return };
    write_number(limits.capacity, pen);
    write_number(limits.capacity_of_event.map(|(_, capacity)| capacity), pen);
    if let Some((at, _)) = limits.capacity_of_event {
        pen.time(at);
    }
    pen.byte(u8::from(limits.thresholds.is_some()));
    let Some(thresholds) = &limits.thresholds else { return };
    pen.count(thresholds.len() as u64);
    for threshold in thresholds {
        pen.text(threshold.name.as_bytes());
        write_number(threshold.value, pen);
        write_number(threshold.percent_of_capacity, pen);
        pen.count(threshold.custom_fields.len() as u64);
        for (name, json) in &threshold.custom_fields {
            pen.text(name.as_bytes());
            pen.text(json.as_bytes());
        }
    }
}

pub(super) fn read(glass: &mut Glass<'_>) -> Seen<Option<Box<OwnLimits>>> {
    if glass.byte()? == 0 {
        return Ok(None);
    }
    let (capacity, named) = (read_number(glass)?, read_number(glass)?);
    let capacity_of_event = if let Some(named) = named { Some((glass.time()?, named)) } else { None };
    let thresholds = if glass.byte()? == 0 { None } else { Some(read_thresholds(glass)?) };
    Ok(Some(Box::new(OwnLimits { capacity, capacity_of_event, thresholds })))
}

fn read_thresholds(glass: &mut Glass<'_>) -> Seen<Vec<Threshold>> {
    let mut thresholds = Vec::new();
    for _ in 0..glass.length()? {
        let name = glass.string()?;
        let (value, percent_of_capacity) = (read_number(glass)?, read_number(glass)?);
        let mut custom_fields = Vec::new();
        for _ in 0..glass.length()? {
            custom_fields.push((glass.string()?, glass.string()?));
        }
        thresholds.push(Threshold { name, value, percent_of_capacity, custom_fields });
    }
    match thresholds.len() <= super::super::THRESHOLDS_MAX {
        true => Ok(thresholds),
        false => glass.damaged(),
    }
}

fn write_number(number: Option<Decimal>, pen: &mut Pen) {
    pen.byte(u8::from(number.is_some()));
    if let Some(number) = number {
        pen.wide(number.units() as u128);
    }
}

fn read_number(glass: &mut Glass<'_>) -> Seen<Option<Decimal>> {
    if glass.byte()? == 0 {
        return Ok(None);
    }
    match Decimal::from_units(glass.wide()? as i128) {
        Some(number) => Ok(Some(number)),
        None => glass.damaged(),
    }
}
