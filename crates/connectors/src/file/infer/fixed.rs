//! Lines of fixed width: where their columns probably begin and end.
//!
//! Columns with blanks between them are found by the blanks. Of columns without blanks, a time of
//! the form 20261005080000 is found by its digits, and others by what changes from line to line: a
//! boundary is where a run of characters that never change begins behind one that does, and where
//! digits end and letters begin.

use flowmeter_core::time::{Clue, TimeFormat, Zone};

use super::fields::Seen;
use super::meaning::Meaning;
use super::{Guess, SAMPLE_EVENTS};

/// Characters of the shortest line, and lines, that make a file one of fixed width.
const LENGTH_MIN: usize = 8;
const LINES_MIN: usize = 2;

/// Characters that never change, from which on they begin another column: the zeros at the end of
/// amounts are fewer.
const CONSTANT_MIN: usize = 3;

/// Guesses the columns of lines; `None` if their lengths differ too much.
pub(super) fn guess(text: &str) -> Option<Guess> {
    let lines: Vec<Vec<char>> =
        text.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE_EVENTS).map(|line| line.chars().collect()).collect();
    let count = |length: usize| lines.iter().filter(|line| line.len() == length).count();
    let width = lines.iter().map(Vec::len).max_by_key(|length| (count(*length), *length))?;
    let whole: Vec<&Vec<char>> = lines.iter().filter(|line| line.len() == width).collect();
    if width < LENGTH_MIN || whole.len() < LINES_MIN || whole.len() * 3 < lines.len() * 2 {
        return None;
    }
    let mut columns = Vec::new();
    for (from, to) in between_blanks(&whole, width) {
        split(&whole, from, to, &mut columns);
    }
    let mut seen = Seen::default();
    for line in &whole {
        seen.begin(&line.iter().collect::<String>());
        for (i, &(from, to)) in columns.iter().enumerate() {
            let cell: String = line[from..to].iter().collect();
            seen.note(&format!("c{}", i + 1), cell.trim_matches(' '), true);
        }
    }
    let mut guess = Guess { fields: seen.fields(b','), events: seen.events(), fixed: true, ..Guess::default() };
    guess.options.push("format: fixed".to_owned());
    guess.options.push("columns:   # guessed from blanks and from what changes: check where each begins and ends".to_owned());
    for (i, (from, to)) in columns.iter().enumerate() {
        let name = format!("c{}", i + 1);
        let meaning = guess.fields.iter().find(|field| field.path == name).map(|field| &field.meaning);
        let is_number = matches!(meaning, Some(Meaning::Number(_))) && to - from < 10;
        let of_type = if is_number { ", type: number" } else { "" };
        guess.options.push(format!("  - {{ name: {name}, from: {}, to: {to}{of_type} }}", from + 1));
    }
    Some(guess)
}

/// Returns the ranges between positions that are blank in every line.
fn between_blanks(lines: &[&Vec<char>], width: usize) -> Vec<(usize, usize)> {
    let is_blank = |at: usize| lines.iter().all(|line| line[at] == ' ');
    let begins: Vec<usize> = (0..width).filter(|at| !is_blank(*at) && (*at == 0 || is_blank(at - 1))).collect();
    // The blanks behind a column belong to it: a longer value may need them.
    let ends = begins.iter().skip(1).copied().chain([width]);
    begins.iter().copied().zip(ends).collect()
}

/// Splits a range without blanks at its time and at what changes.
fn split(lines: &[&Vec<char>], from: usize, to: usize, columns: &mut Vec<(usize, usize)>) {
    let Some((begin, end)) = time(lines, from, to) else { return pieces(lines, from, to, true, columns) };
    pieces(lines, from, begin, true, columns);
    columns.push((begin, end));
    // Behind a time are mostly amounts, which must stay whole.
    pieces(lines, end, to, false, columns);
}

/// Returns where most lines have a time.
fn time(lines: &[&Vec<char>], from: usize, to: usize) -> Option<(usize, usize)> {
    for (name, length) in [("%Y%m%d%H%M%S", 14), ("%Y%m%d", 8)] {
        let format = TimeFormat::named(name, Zone::utc())?;
        let reads = |line: &[char]| {
            let text: String = line.iter().collect();
            let is_digits = text.bytes().all(|c| c.is_ascii_digit());
            is_digits && (text.starts_with("19") || text.starts_with("20")) && format.parse(text.as_bytes(), Clue::Text).is_some()
        };
        let count = |at: usize| lines.iter().filter(|line| reads(&line[at..at + length])).count();
        let found = (from..(to + 1).saturating_sub(length)).rev().max_by_key(|at| count(*at));
        if let Some(at) = found.filter(|at| count(*at) * 3 >= lines.len() * 2) {
            return Some((at, at + length));
        }
    }
    None
}

/// Splits a range where digits end and letters begin and, if asked to, where what changes ends.
fn pieces(lines: &[&Vec<char>], from: usize, to: usize, constants: bool, columns: &mut Vec<(usize, usize)>) {
    let is_constant = |at: usize| at < to && lines.iter().all(|line| line[at] == lines[0][at]);
    let is_letter = |at: usize| lines.iter().filter(|line| line[at].is_alphabetic()).count() * 3 >= lines.len() * 2;
    let is_digit = |at: usize| lines.iter().filter(|line| line[at].is_ascii_digit()).count() * 3 >= lines.len() * 2;
    let mut begin = from;
    for at in from + 1..to {
        let changes_end = constants && !is_constant(at - 1) && (at..at + CONSTANT_MIN).all(is_constant);
        if changes_end || (is_digit(at - 1) && is_letter(at)) {
            columns.push((begin, at));
            begin = at;
        }
    }
    if begin < to {
        columns.push((begin, to));
    }
}
