//! Chooses the user, the value, the time and the identity of events by names and values.

use flowmeter_core::decimal;

use super::Guess;
use super::fields::Field;
use super::meaning::Meaning;
use super::names::{FINER_TIMES, FINER_VALUES, NO_USERS, NO_VALUES, TIMES, USERS, VALUES};

/// Values from which on their variety says something.
const ENOUGH: usize = 5;

/// Digits of one length from which on numbers are probably accounts or telephones.
const LONG_NUMBER: usize = 7;

/// A choice, why it was made, and the field that came next.
#[derive(Debug)]
pub(super) struct Choice<'g> {
    pub(super) field: &'g Field,
    pub(super) why: String,
    pub(super) next: Option<&'g Field>,
}

/// Returns the field with the greatest score, the first of equal ones.
fn choose(fields: &[Field], score: impl Fn(&Field) -> Option<(i32, String)>) -> Option<Choice<'_>> {
    let mut found: Vec<(i32, String, &Field)> =
        fields.iter().filter_map(|field| score(field).map(|(score, why)| (score, why, field))).collect();
    found.sort_by_key(|(score, ..)| -score);
    let mut found = found.into_iter();
    let (_, why, field) = found.next()?;
    Some(Choice { field, why, next: found.next().map(|(.., field)| field) })
}

/// Chooses the field of the user.
pub(super) fn user(guess: &Guess) -> Option<Choice<'_>> {
    choose(&guess.fields, |field| {
        let named = field.words.best(USERS);
        if field.words.is_label() || !is_name(field, named.is_some()) {
            return None;
        }
        let (count, distinct) = (field.values.len(), field.distinct());
        let enough = count >= ENOUGH;
        let content = match () {
            () if enough && distinct == count => -30,
            () if enough => 15 - (15 * distinct / count) as i32,
            () => 0,
        };
        // Codes of currencies and signs of one letter; a column that is mostly empty.
        let codes = field.values.iter().all(|value| value.len() == 3 && value.bytes().all(|c| c.is_ascii_uppercase()));
        let short = field.values.iter().all(|value| value.chars().count() < 2);
        let words = field.values.iter().all(|value| !value.bytes().any(|c| c.is_ascii_digit() || c.is_ascii_lowercase()));
        let mut score = named.map_or(0, |(weight, _)| weight) + field.words.sum(NO_USERS) + content;
        let is_id = field.identifies && ["id", "uuid", "guid"].iter().any(|word| field.words.has(word));
        score -= if named.is_none() && (is_id || count > 0 && (codes || short)) { 100 } else { 0 };
        score -= if count > 0 && words { 8 } else { 0 };
        score -= if count * 2 < guess.events.0 { 30 } else { 0 };
        (score >= 0).then(|| (score, because(named, distinct, count, "value")))
    })
}

/// Whether values may be names or numbers of users.
fn is_name(field: &Field, named: bool) -> bool {
    match field.meaning {
        Meaning::Text => true,
        Meaning::Number(None) => named || is_long_number(field),
        Meaning::Number(Some(_)) | Meaning::Duration | Meaning::Time(_) => false,
        Meaning::Clock(_) | Meaning::Offset | Meaning::Other => false,
    }
}

/// Whether values are digits of one length, or begin with zeros: an account or a telephone.
fn is_long_number(field: &Field) -> bool {
    let is_digits = |value: &&String| value.bytes().all(|c| c.is_ascii_digit());
    let mut digits = field.values.iter().filter(|value| !field.misfits.contains(value));
    let Some(first) = digits.next().filter(is_digits) else { return false };
    first.len() >= LONG_NUMBER && digits.all(|value| is_digits(&value) && value.len() == first.len())
}

/// Chooses the field of the value.
pub(super) fn value(guess: &Guess) -> Option<Choice<'_>> {
    choose(&guess.fields, |field| {
        let named = field.words.best(VALUES);
        let base = match field.meaning {
            Meaning::Number(_) => 10,
            Meaning::Duration => 60,
            Meaning::Text | Meaning::Time(_) | Meaning::Clock(_) | Meaning::Offset | Meaning::Other => return None,
        };
        let (count, distinct) = (field.values.len() - field.misfits.len(), field.distinct());
        let has = |sign: char| field.values.iter().any(|value| value.contains(sign));
        let is_padded = |value: &String| value.len() > 1 && value.starts_with('0') && value.bytes().all(|c| c.is_ascii_digit());
        let is_padded = !guess.fixed && field.values.iter().any(is_padded);
        let is_identifier = field.meaning != Meaning::Duration && (is_padded || (named.is_none() && is_long_number(field)));
        let mut score = base + named.map_or(0, |(weight, _)| weight) + field.words.sum(FINER_VALUES) + field.words.sum(NO_VALUES);
        score += if has('.') || has(',') { 10 } else { 0 };
        score -= if count >= ENOUGH && distinct == 1 { 20 } else { 0 };
        score -= if is_identifier { 150 } else { 0 };
        score -= if is_sequence(field) { 60 } else { 0 };
        let kind = if field.meaning == Meaning::Duration { "duration" } else { "number" };
        (score > 0).then(|| (score, because(named, distinct, count, kind)))
    })
}

/// Whether values count the rows.
fn is_sequence(field: &Field) -> bool {
    let numbers: Vec<i64> = field.values.iter().filter_map(|value| value.parse().ok()).collect();
    numbers.len() >= ENOUGH && numbers.len() == field.values.len() && numbers.windows(2).all(|two| two[1] == two[0] + 1)
}

/// Whether a value has more digits behind the point than are kept.
pub(super) fn is_too_fine(field: &Field) -> bool {
    field.values.iter().any(|value| decimal::parse(value.replace(',', ".").as_bytes()) == Err(decimal::Inexact::TooFine))
}

/// The time of events: one field, or a date with its time of day and its offset.
#[derive(Debug)]
pub(super) struct When<'g> {
    pub(super) fields: Vec<&'g Field>,
    pub(super) format: String,
    pub(super) why: String,
    pub(super) next: Option<&'g Field>,
}

/// Chooses the time of events.
pub(super) fn time(guess: &Guess) -> Option<When<'_>> {
    let of = |field: &Field, is_time: bool| {
        let named = field.words.best(TIMES);
        let is_constant = field.values.len() >= ENOUGH && field.distinct() == 1;
        let score = named.map_or(0, |(weight, _)| weight) + field.words.sum(FINER_TIMES) - if is_constant { 15 } else { 0 };
        is_time.then(|| (score, because(named, field.distinct(), field.values.len() - field.misfits.len(), "time")))
    };
    let chosen = choose(&guess.fields, |field| of(field, matches!(field.meaning, Meaning::Time(_))))?;
    let Meaning::Time(format) = &chosen.field.meaning else { return None };
    let mut when = When { fields: vec![chosen.field], format: format.clone(), why: chosen.why, next: chosen.next };
    if format.contains("%d") && !format.contains("%H") && !format.contains("%I") {
        let clock = choose(&guess.fields, |field| of(field, matches!(field.meaning, Meaning::Clock(_))));
        if let Some((clock, Meaning::Clock(form))) = clock.map(|clock| (clock.field, &clock.field.meaning)) {
            when.fields.push(clock);
            when.format.push_str(&format!(" {form}"));
            if let Some(offset) = guess.fields.iter().find(|field| field.meaning == Meaning::Offset) {
                when.fields.push(offset);
                when.format.push_str(" %:z");
            }
        }
    }
    Some(when)
}

/// Words of things that have ids of their own, which are not those of events.
const NO_EVENTS: [&str; 12] =
    ["user", "customer", "account", "subject", "tenant", "client", "project", "meter", "device", "resource", "session", "trace"];

/// Chooses the field that identifies an event: its name has `id` in it, and equal values occur only
/// in equal rows.
pub(super) fn id(guess: &Guess) -> Option<&Field> {
    let is_id = |field: &&Field| {
        let named = ["id", "uuid", "guid"].iter().any(|word| field.words.has(word));
        let of_other = NO_EVENTS.iter().any(|word| field.words.has(word)) || field.words.is_label();
        // `project.id`, but not the `id` of an event.
        let is_nested = field.path.contains('.') && !field.path.starts_with("data.");
        named && !of_other && !is_nested && field.identifies
    };
    guess.fields.iter().find(is_id)
}

/// Returns the reason of a choice: the word in its name, and how many different values it has.
fn because(named: Option<(i32, &'static str)>, distinct: usize, count: usize, kind: &str) -> String {
    let (values, rows) = (if distinct == 1 { "" } else { "s" }, if count == 1 { "" } else { "s" });
    let different = if distinct == 1 { "" } else { "different " };
    let content = format!("it has {distinct} {different}{kind}{values} in {count} row{rows}");
    match named {
        Some((_, word)) if count == 0 => format!("its name says \"{word}\""),
        Some((_, word)) => format!("its name says \"{word}\" and {content}"),
        None => content,
    }
}
