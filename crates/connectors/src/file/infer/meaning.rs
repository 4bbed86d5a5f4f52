//! Guesses the meaning of a field by most of its values.

use flowmeter_core::decimal;
use flowmeter_core::event::Kind;
use flowmeter_core::event::csv::NumberForm;
use flowmeter_core::time::{Clue, TimeFormat, Zone};

use super::names::{NO_VALUES, TIMES as TIME_WORDS, USERS, VALUES, Words};

/// Values of a field that are tried with every form of a time.
const TRIED: usize = 30;

/// Forms of times, in the order in which they are tried. Of forms that read the same values, the
/// first is taken.
const TIMES: [&str; 33] = [
    "rfc3339",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f %:z",
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H%M%S",
    "%Y%m%dT%H%M%SZ",
    "%Y%m%d",
];

/// Forms of the time of a day.
const CLOCKS: [&str; 4] = ["%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p"];

/// Words of a length of time.
const LENGTHS: [&str; 6] = ["length", "duration", "dur", "elapsed", "talk", "billsec"];

/// Seconds from 2000 to 2100.
const SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// The likely meaning of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Text,
    /// Numbers; with a form if they are not plain.
    Number(Option<NumberForm>),
    /// Lengths of time like `00:01:30`.
    Duration,
    /// Times of a format.
    Time(String),
    /// The time of a day, of a format.
    Clock(String),
    /// Offsets from UTC like `+02:00`.
    Offset,
    /// Nothing that can be metered.
    Other,
}

impl Meaning {
    pub(super) fn name(&self) -> String {
        match self {
            Meaning::Text => "text".to_owned(),
            Meaning::Number(None) => "number".to_owned(),
            Meaning::Number(Some(form)) => format!("number ({})", shown(*form)),
            Meaning::Duration => "duration".to_owned(),
            Meaning::Time(format) if format.is_empty() => "time".to_owned(),
            Meaning::Time(format) => format!("time ({format})"),
            Meaning::Clock(format) => format!("time of day ({format})"),
            Meaning::Offset => "offset from UTC".to_owned(),
            Meaning::Other => "no values".to_owned(),
        }
    }
}

/// Returns a form of numbers as a pipeline has it.
pub(super) fn shown(form: NumberForm) -> String {
    let mut parts = Vec::new();
    if form.decimal != b'.' {
        parts.push(format!("decimal: '{}'", char::from(form.decimal)));
    }
    if let Some(group) = form.group {
        parts.push(format!("group: '{}'", char::from(group)));
    }
    if form.currency {
        parts.push("currency: true".to_owned());
    }
    if form.percent {
        parts.push("percent: true".to_owned());
    }
    parts.join(", ")
}

/// The meaning of most values of a field.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) meaning: Meaning,
    /// Values that it does not fit.
    pub(super) misfits: Vec<String>,
    /// Another meaning that they may have.
    pub(super) doubt: Option<String>,
}

impl Reading {
    /// Reads the values of a field by its name and by the form that two thirds of them share.
    pub(super) fn of(values: &[String], is_text: bool, words: &Words, delimiter: u8) -> Reading {
        let plain = |meaning| Reading { meaning, misfits: Vec::new(), doubt: None };
        if values.is_empty() {
            return plain(Meaning::Other);
        }
        let found = count_of_time(values, is_text, words).or_else(|| number(values, delimiter));
        let found = found.or_else(|| length(values, words)).or_else(|| time(values)).or_else(|| clock(values));
        found.or_else(|| fits(values, is_offset).map(|misfits| reading(Meaning::Offset, misfits))).unwrap_or(plain(Meaning::Text))
    }
}

fn reading(meaning: Meaning, misfits: Vec<String>) -> Reading {
    Reading { meaning, misfits, doubt: None }
}

/// Returns the values that do not hold if at least two thirds do.
fn fits(values: &[String], holds: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    let misfits: Vec<String> = values.iter().filter(|value| !holds(value)).cloned().collect();
    (misfits.len() * 3 <= values.len()).then_some(misfits)
}

/// Numbers that count seconds or milliseconds, or are written like 20261005080000. Numbers of
/// telephones look alike, so a name of a user or an amount rules it out.
fn count_of_time(values: &[String], is_text: bool, words: &Words) -> Option<Reading> {
    let is_time = words.best(TIME_WORDS).is_some() || words.has("end") || words.has("stop");
    if !is_time && (words.best(USERS).is_some() || words.best(VALUES).is_some() || words.sum(NO_VALUES) < 0) {
        return None;
    }
    let whole = |value: &str| value.parse::<i64>().ok();
    if let Some(misfits) = fits(values, |value| whole(value).is_some_and(|n| SECONDS.contains(&n))) {
        return Some(reading(Meaning::Time("unix_s".to_owned()), misfits));
    }
    if let Some(misfits) = fits(values, |value| whole(value).is_some_and(|n| SECONDS.contains(&(n / 1000)))) {
        // A number without a declared format is milliseconds.
        let format = if is_text { "unix_ms" } else { "rfc3339" };
        return Some(reading(Meaning::Time(format.to_owned()), misfits));
    }
    let compact = |format: &'static str, length: usize| {
        let reads = TimeFormat::named(format, Zone::utc())?;
        let is_date = |value: &str| (value.starts_with("19") || value.starts_with("20")) && value.len() == length;
        let misfits = fits(values, |value| is_date(value) && reads.parse(value.as_bytes(), Clue::Text).is_some())?;
        Some(reading(Meaning::Time(format.to_owned()), misfits))
    };
    compact("%Y%m%d%H%M%S", 14).or_else(|| compact("%Y%m%d", 8).filter(|_| is_text))
}

/// Numbers, plain or in the form that more of them have.
fn number(values: &[String], delimiter: u8) -> Option<Reading> {
    let is_number = |value: &str| decimal::parse(value.as_bytes()) != Err(decimal::Inexact::NotANumber);
    let plain = fits(values, is_number).map(|misfits| reading(Meaning::Number(None), misfits));
    if plain.as_ref().is_some_and(|plain| plain.misfits.is_empty()) {
        return plain;
    }
    match (plain, form(values, delimiter)) {
        (Some(plain), Some(form)) if form.misfits.len() >= plain.misfits.len() => Some(plain),
        (plain, form) => form.or(plain),
    }
}

/// Numbers with a comma, groups of digits, or a sign of a currency.
fn form(values: &[String], delimiter: u8) -> Option<Reading> {
    let plain = NumberForm::default();
    let comma = NumberForm { decimal: b',', ..plain };
    let groups = NumberForm { group: Some(b','), ..plain };
    let european = NumberForm { group: Some(b'.'), ..comma };
    let spaced = NumberForm { group: Some(b' '), ..comma };
    // `1,250` alone may be 1.25 or 1250; rows between semicolons are mostly of countries with a comma.
    let mut forms = if delimiter == b';' { vec![comma, european, spaced, groups] } else { vec![groups, comma, european, spaced] };
    forms.extend([NumberForm { currency: true, ..plain }, NumberForm { percent: true, ..plain }]);
    forms.extend([groups, comma, european].map(|form| NumberForm { currency: true, ..form }));
    let reads = |form: &NumberForm, value: &str| {
        let form =
            NumberForm { round: Some(flowmeter_core::decimal::Round { places: 18, mode: decimal::Rounding::HalfEven }), ..*form };
        // `0.900` is no group of thousands.
        let is_zero = form.group.is_some_and(|group| value.starts_with(&format!("0{}", char::from(group))));
        !is_zero && form.read_into(value.as_bytes(), &mut Vec::new()) == Kind::Number
    };
    let count = |form: &NumberForm| values.iter().filter(|value| reads(form, value)).count();
    let most = forms.iter().map(count).max()?;
    let best = *forms.iter().find(|form| count(form) == most)?;
    let misfits = fits(values, |value| reads(&best, value))?;
    let other = if best.decimal == b'.' { comma } else { groups };
    let is_unclear =
        values.iter().filter(|value| !misfits.contains(value)).all(|value| value.contains(',') && reads(&other, value));
    let doubt = is_unclear.then(|| format!("may also be numbers ({})", shown(other)));
    Some(Reading { meaning: Meaning::Number(Some(best)), misfits, doubt })
}

/// Lengths of time like 27:00:01, by their name or because no day has so many hours.
fn length(values: &[String], words: &Words) -> Option<Reading> {
    let hours = |value: &str| {
        let parts: Vec<&str> = value.split(':').collect();
        let is_digits = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        (parts.len() == 3 && parts.iter().all(is_digits)).then(|| parts[0].parse::<u32>().ok()).flatten()
    };
    let misfits = fits(values, |value| hours(value).is_some())?;
    let is_long = values.iter().any(|value| hours(value).is_some_and(|hours| hours > 24));
    let is_length = is_long || LENGTHS.iter().any(|word| words.has(word));
    is_length.then(|| reading(Meaning::Duration, misfits))
}

fn time(values: &[String]) -> Option<Reading> {
    let reads = |format: &TimeFormat, value: &str| format.parse(value.as_bytes(), Clue::Text).is_some();
    let mut best: Option<(usize, &str, TimeFormat)> = None;
    let mut doubt = None;
    let tried = &values[..values.len().min(TRIED)];
    for name in TIMES {
        let Some(format) = TimeFormat::named(name, Zone::utc()) else { continue };
        let count = tried.iter().filter(|value| reads(&format, value)).count();
        match &best {
            Some((most, known, _)) if count == *most && known.starts_with("%d/") && name.starts_with("%m/") => {
                doubt = Some(format!("may also be {name}"));
            }
            Some((most, ..)) if count <= *most => {}
            _ if count * 3 >= tried.len() * 2 => (best, doubt) = (Some((count, name, format)), None),
            _ => {}
        }
    }
    let (_, name, format) = best?;
    let misfits = fits(values, |value| reads(&format, value))?;
    let has_fraction = values.iter().any(|value| value.contains('.') && !misfits.contains(value));
    let name = if has_fraction { name.to_owned() } else { name.replace("%.f", "") };
    Some(Reading { meaning: Meaning::Time(name), misfits, doubt })
}

fn clock(values: &[String]) -> Option<Reading> {
    CLOCKS.into_iter().find_map(|name| {
        let format = TimeFormat::named(&format!("%Y-%m-%d {name}"), Zone::utc())?;
        let misfits = fits(values, |value| format.parse(format!("2026-01-01 {value}").as_bytes(), Clue::Text).is_some())?;
        Some(reading(Meaning::Clock(name.to_owned()), misfits))
    })
}

/// Whether a text is an offset like `+02:00`.
fn is_offset(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['+', '-']) else { return false };
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit());
    rest.split_once(':').is_some_and(|(hours, minutes)| digits(hours) && digits(minutes))
}
