//! The functions of expressions.

use std::borrow::Cow;

use super::{Value, lists};
use crate::decimal::{self, Decimal, Rounding};
use crate::time::{Clue, TimeFormat, Timestamp, Zone, parse_duration};

/// A function an expression may call. As in CEL the first value may stand in front:
/// `size(x)` is `x.size()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Lower,
    Upper,
    Trim,
    Replace,
    Substring,
    Text,
    Number,
    Truth,
    Time,
    Span,
    Round(Rounding),
    Abs,
    Least,
    Greatest,
    Coalesce,
    Sum,
    /// Text as it is, null for anything else; conditions use it, expressions cannot.
    OnlyText,
    Part(Part),
}

/// A part of a wall-clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

type Called<'a> = Result<Value<'a>, String>;

impl Function {
    /// Name, function, and how many values it takes.
    pub(super) const NAMES: [(&'static str, Function, usize, usize); 38] = [
        ("size", Function::Size, 1, 1),
        ("contains", Function::Contains, 2, 2),
        ("startsWith", Function::StartsWith, 2, 2),
        ("endsWith", Function::EndsWith, 2, 2),
        ("lower", Function::Lower, 1, 1),
        ("lowerAscii", Function::Lower, 1, 1),
        ("upper", Function::Upper, 1, 1),
        ("upperAscii", Function::Upper, 1, 1),
        ("trim", Function::Trim, 1, 1),
        ("replace", Function::Replace, 3, 3),
        ("substring", Function::Substring, 2, 3),
        ("string", Function::Text, 1, 1),
        ("decimal", Function::Number, 1, 1),
        ("double", Function::Number, 1, 1),
        ("number", Function::Number, 1, 1),
        ("bool", Function::Truth, 1, 1),
        ("timestamp", Function::Time, 1, 3),
        ("duration", Function::Span, 1, 1),
        ("round", Function::Round(Rounding::HalfUp), 1, 2),
        ("ceil", Function::Round(Rounding::Ceil), 1, 2),
        ("floor", Function::Round(Rounding::Floor), 1, 2),
        ("trunc", Function::Round(Rounding::Trunc), 1, 2),
        ("int", Function::Round(Rounding::Trunc), 1, 1),
        ("abs", Function::Abs, 1, 1),
        ("min", Function::Least, 1, 16),
        ("max", Function::Greatest, 1, 16),
        ("coalesce", Function::Coalesce, 1, 16),
        ("sum", Function::Sum, 1, 1),
        ("getFullYear", Function::Part(Part::Year), 1, 2),
        ("getMonth", Function::Part(Part::Month), 1, 2),
        ("getDate", Function::Part(Part::Date), 1, 2),
        ("getDayOfMonth", Function::Part(Part::DayOfMonth), 1, 2),
        ("getDayOfWeek", Function::Part(Part::DayOfWeek), 1, 2),
        ("getDayOfYear", Function::Part(Part::DayOfYear), 1, 2),
        ("getHours", Function::Part(Part::Hours), 1, 2),
        ("getMinutes", Function::Part(Part::Minutes), 1, 2),
        ("getSeconds", Function::Part(Part::Seconds), 1, 2),
        ("getMilliseconds", Function::Part(Part::Milliseconds), 1, 2),
    ];

    pub(super) fn named(name: &str) -> Option<Function> {
        Function::NAMES.iter().find(|(known, ..)| *known == name).map(|(_, function, ..)| *function)
    }

    pub(super) fn arity(self) -> (usize, usize) {
        let entry = Function::NAMES.iter().find(|(_, function, ..)| *function == self);
        entry.map_or((1, 2), |(_, _, least, most)| (*least, *most))
    }

    pub(super) fn call<'a>(self, values: Vec<Value<'a>>) -> Called<'a> {
        match (self, values.as_slice()) {
            (Function::Size, [Value::Text(text)]) => {
                let characters = String::from_utf8_lossy(text).chars().count();
                Ok(Value::Number(Decimal::from_count(characters as u64)))
            }
            (Function::Size, [Value::List(items)]) => Ok(Value::Number(Decimal::from_count(items.len() as u64))),
            (Function::Size, [Value::Json(_)]) => {
                let elements = lists::elements(values.into_iter().next().unwrap_or(Value::Null))?;
                Ok(Value::Number(Decimal::from_count(elements.len() as u64)))
            }
            (Function::Sum, [_]) => lists::sum(values.into_iter().next().unwrap_or(Value::Null)),
            (Function::Contains, [Value::Text(text), Value::Text(part)]) => {
                Ok(Value::Bool(memchr::memmem::find(text, part).is_some()))
            }
            (Function::StartsWith, [Value::Text(text), Value::Text(part)]) => Ok(Value::Bool(text.starts_with(part))),
            (Function::EndsWith, [Value::Text(text), Value::Text(part)]) => Ok(Value::Bool(text.ends_with(part))),
            (Function::Contains | Function::StartsWith | Function::EndsWith, [Value::Null, _]) => Ok(Value::Bool(false)),
            (Function::Lower, [Value::Text(text)]) => Ok(made(string(text).to_lowercase())),
            (Function::Upper, [Value::Text(text)]) => Ok(made(string(text).to_uppercase())),
            (Function::Trim, [Value::Text(text)]) => Ok(made(string(text).trim().to_owned())),
            (Function::Replace, [Value::Text(text), Value::Text(from), Value::Text(to)]) => {
                Ok(made(string(text).replace(&*string(from), &string(to))))
            }
            (Function::Substring, [Value::Text(text), from @ Value::Number(_)]) => substring(text, from, None),
            (Function::Substring, [Value::Text(text), from @ Value::Number(_), to]) => substring(text, from, Some(to)),
            (Function::Round(rounding), [number]) => round(number, 0, rounding),
            (Function::Round(rounding), [number, Value::Number(places)]) => {
                let places = places.to_int().and_then(|places| i32::try_from(places).ok());
                round(number, places.ok_or("the number of places must be whole")?, rounding)
            }
            (Function::Abs, [Value::Number(number)]) => {
                Ok(Value::Number(if *number < Decimal::ZERO { number.neg() } else { *number }))
            }
            (Function::Time, [Value::Text(text)]) => Timestamp::parse_rfc3339(text)
                .map(Value::Time)
                .ok_or_else(|| format!("{} is no RFC 3339 time", values[0].describe())),
            (Function::Time, [Value::Number(millis)]) => millis
                .to_int()
                .and_then(|millis| Timestamp::from_scaled(millis, 1_000_000))
                .map(Value::Time)
                .ok_or_else(|| format!("{} is no Unix time in milliseconds", values[0].describe())),
            (Function::Time, [Value::Text(date), Value::Text(clock), Value::Text(zone)]) => wall_time(date, clock, zone),
            (Function::Span, [Value::Text(text)]) => parse_duration(&string(text))
                .or_else(|| clock_span(text))
                .map(Value::Span)
                .ok_or_else(|| format!("{} is no duration like 90s, 1h30m or 27:00:01", values[0].describe())),
            (Function::Part(part), [at]) => part.of(at, &Zone::utc()),
            (Function::Part(part), [at, Value::Text(zone)]) => {
                let named = Zone::named(&string(zone)).ok_or_else(|| format!("unknown time zone {}", string(zone)))?;
                part.of(at, &named)
            }
            (Function::OnlyText, [Value::Text(_)]) => Ok(values.into_iter().next().unwrap_or(Value::Null)),
            (Function::OnlyText, _) => Ok(Value::Null),
            (Function::Coalesce, _) => Ok(values.into_iter().find(|value| !matches!(value, Value::Null)).unwrap_or(Value::Null)),
            (Function::Least, _) => pick(values, std::cmp::Ordering::is_lt),
            (Function::Greatest, _) => pick(values, std::cmp::Ordering::is_gt),
            (Function::Text | Function::Number | Function::Truth, [_]) => self.convert(values),
            _ => Err(self.misfit(&values)),
        }
    }

    fn convert<'a>(self, mut values: Vec<Value<'a>>) -> Called<'a> {
        let value = values.remove(0);
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Function::Text, value) => {
                let (_, bytes) = value.into_field()?;
                Ok(Value::Text(bytes))
            }
            (Function::Number, Value::Number(number)) => Ok(Value::Number(number)),
            (Function::Number, long @ Value::Long(_)) => Ok(long),
            (Function::Number, Value::Text(text)) => match decimal::parse(&text) {
                Ok(number) => Ok(Value::Number(number)),
                // A JSON number again: a plus sign and zeros in front are not JSON.
                Err(decimal::Inexact::TooFine) => Ok(Value::Long(plain_number(text))),
                Err(why) => Err(format!("\"{}\" is {why}", string(&text))),
            },
            (Function::Number, Value::Span(nanos)) => Ok(Value::Number(Decimal::of_nanos(nanos))),
            (Function::Truth, Value::Bool(truth)) => Ok(Value::Bool(truth)),
            (Function::Truth, Value::Text(text)) if *text == *b"true" => Ok(Value::Bool(true)),
            (Function::Truth, Value::Text(text)) if *text == *b"false" => Ok(Value::Bool(false)),
            (_, other) => Err(self.misfit(&[other])),
        }
    }

    fn misfit(self, values: &[Value<'_>]) -> String {
        let name = Function::NAMES.iter().find(|(_, function, ..)| *function == self).map_or("a test of text", |(name, ..)| name);
        let shown: Vec<String> = values.iter().map(Value::describe).collect();
        format!("`{name}` cannot take {}", shown.join(", "))
    }
}

/// A number as JSON writes it: without a plus sign and without zeros in front.
fn plain_number(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let negative = text.starts_with(b"-");
    let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(&text);
    let zeros = unsigned.iter().take_while(|c| **c == b'0').count();
    let needed = usize::from(!unsigned.get(zeros).is_some_and(u8::is_ascii_digit));
    let plain = &unsigned[zeros.saturating_sub(needed)..];
    if plain.len() + usize::from(negative) == text.len() {
        return text;
    }
    let sign: &[u8] = if negative { b"-" } else { b"" };
    Cow::Owned([sign, plain].concat())
}

fn made<'a>(text: String) -> Value<'a> {
    Value::Text(Cow::Owned(text.into_bytes()))
}

fn string(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn round<'a>(value: &Value<'a>, places: i32, rounding: Rounding) -> Called<'a> {
    let rounded = match value {
        Value::Number(number) => number.round(places, rounding),
        Value::Ratio(quotient) => quotient.round(places, rounding),
        Value::Text(text) | Value::Long(text) => match decimal::parse_rounded(text, places, rounding) {
            Ok(number) => Some(number),
            Err(why) => return Err(format!("\"{}\" is {why}", string(text))),
        },
        other => return Err(format!("cannot round {}", other.describe())),
    };
    rounded.map(Value::Number).ok_or_else(|| "the rounded number is out of range".to_owned())
}

/// `timestamp(date, time, zone)`, or `timestamp(text, format, zone)` where the second has a `%`.
fn wall_time<'a>(date: &[u8], clock: &[u8], zone: &[u8]) -> Called<'a> {
    let zone = Zone::named(&string(zone)).ok_or_else(|| format!("unknown time zone {}", string(zone)))?;
    let (text, pattern) = match clock.contains(&b'%') {
        true => (date.to_vec(), string(clock).into_owned()),
        false => {
            let seconds = if clock.iter().filter(|c| **c == b':').count() > 1 { ":%S%.f" } else { "" };
            ([date, b" ", clock].concat(), format!("%Y-%m-%d %H:%M{seconds}"))
        }
    };
    let format = TimeFormat::read(&pattern, zone, false)?;
    let shown = || format!("\"{}\" is no time; expected {}", string(&text), format.expected());
    format.parse(&text, Clue::Text).map(Value::Time).ok_or_else(shown)
}

/// Nanoseconds of `27:00:01` or `00:08:10.5`: hours, minutes, seconds.
fn clock_span(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (hours, rest) = text.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let two = |digits: &str| digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_digit());
    let whole = seconds.split('.').next()?;
    let plain = !hours.is_empty() && hours.bytes().all(|c| c.is_ascii_digit());
    if !plain || !two(minutes) || !two(whole) || minutes > "59" || whole > "59" {
        return None;
    }
    let seconds = decimal::parse(seconds.as_bytes()).ok()?.units() / 1_000_000_000;
    let hours: i64 = hours.parse().ok()?;
    let minutes: i64 = minutes.parse().ok()?;
    let whole = hours.checked_mul(3_600)?.checked_add(minutes * 60)?.checked_mul(1_000_000_000)?;
    whole.checked_add(i64::try_from(seconds).ok()?)
}

fn substring<'a>(text: &[u8], from: &Value<'_>, to: Option<&Value<'_>>) -> Called<'a> {
    let text = string(text);
    let index = |value: &Value<'_>| match value {
        Value::Number(number) => number.to_int().and_then(|n| usize::try_from(n).ok()),
        _ => None,
    };
    let length = text.chars().count();
    let from = index(from);
    let to = to.map_or(Some(length), index);
    match (from, to) {
        (Some(from), Some(to)) if from <= to && to <= length => Ok(made(text.chars().skip(from).take(to - from).collect())),
        _ => Err(format!("no such part in a text of {length} characters")),
    }
}

fn pick<'a>(values: Vec<Value<'a>>, wins: fn(std::cmp::Ordering) -> bool) -> Called<'a> {
    let mut values = values.into_iter();
    let mut best = values.next().unwrap_or(Value::Null);
    for value in values {
        match value.order(&best) {
            Some(order) if wins(order) => best = value,
            Some(_) => {}
            None => return Err(format!("{} and {} have no order", value.describe(), best.describe())),
        }
    }
    Ok(best)
}

impl Part {
    /// The part of an instant on a zone's clock. Months, days of the month and of the
    /// week count from 0 (Sunday), as CEL has it; `getDate` counts from 1.
    fn of<'a>(self, at: &Value<'_>, zone: &Zone) -> Called<'a> {
        let at = match at {
            Value::Time(at) => *at,
            Value::Text(text) => {
                Timestamp::parse_rfc3339(text).ok_or_else(|| format!("{} is no RFC 3339 time", at.describe()))?
            }
            other => return Err(format!("{} is no time", other.describe())),
        };
        let civil = zone.jiff().to_datetime(at.to_jiff());
        let part = match self {
            Part::Year => i64::from(civil.year()),
            Part::Month => i64::from(civil.month()) - 1,
            Part::Date => i64::from(civil.day()),
            Part::DayOfMonth => i64::from(civil.day()) - 1,
            Part::DayOfWeek => i64::from(civil.weekday().to_sunday_zero_offset()),
            Part::DayOfYear => i64::from(civil.day_of_year()) - 1,
            Part::Hours => i64::from(civil.hour()),
            Part::Minutes => i64::from(civil.minute()),
            Part::Seconds => i64::from(civil.second()),
            Part::Milliseconds => i64::from(civil.millisecond()),
        };
        Ok(Value::Number(Decimal::from_int(part)))
    }
}
