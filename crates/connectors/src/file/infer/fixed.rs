//! Lines of fixed width: where their columns probably begin and end.
//!
//! Columns with blanks between them are found by the blanks. Of columns without blanks, a time of
//! the form 20261005080000 is found by its digits, and others by what changes from line to line: a
//! boundary is where a run of characters that never change begins behind one that does, and where
//! digits end and letters begin.

use flowmeter_core::time::{Clue, TimeFormat, Zone};

use super::fields::{Seen, escaped};
use super::meaning::{Meaning, Reading};
use super::names::Words;
use super::write::quoted;
use super::{Guess, SAMPLE_EVENTS};

/// Characters of the shortest line, and lines, that make a file one of fixed width.
const LENGTH_MIN: usize = 8;
const LINES_MIN: usize = 2;

/// Lines of different lengths that leave the same positions blank, which prose does not.
const RAGGED_LINES_MIN: usize = 4;

/// Characters from which on a column of digits is an account or a telephone.
const NUMBER_MAX: usize = 10;

/// Characters that never change, from which on they begin another column: the zeros at the end of
/// amounts are fewer.
const CONSTANT_MIN: usize = 3;

/// Guesses the columns of lines; `None` if their lengths differ too much, unless all of them leave
/// the same positions blank.
pub(super) fn guess(text: &str) -> Option<Guess> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE_EVENTS);
    let mut lines: Vec<Vec<char>> = lines.map(|line| line.chars().collect()).collect();
    let count = |length: usize| lines.iter().filter(|line| line.len() == length).count();
    let usual = lines.iter().map(Vec::len).max_by_key(|length| (count(*length), *length))?;
    let is_ragged = count(usual) * 3 < lines.len() * 2;
    let width = if is_ragged { lines.iter().map(Vec::len).max()? } else { usual };
    match is_ragged {
        true => lines.iter_mut().for_each(|line| line.resize(width, ' ')),
        false => lines.retain(|line| line.len() == width),
    }
    let blanks = between_blanks(&lines, width);
    if width < LENGTH_MIN || lines.len() < LINES_MIN || (is_ragged && (blanks.len() < 2 || lines.len() < RAGGED_LINES_MIN)) {
        return None;
    }
    let mut columns = Vec::new();
    for &(from, to) in &blanks {
        split(&lines, from, to, &mut columns);
    }
    let cells = |line: &Vec<char>| -> Vec<String> {
        columns.iter().map(|&(from, to)| line[from..to].iter().collect::<String>().trim().to_owned()).collect()
    };
    let header = header(&cells(&lines[0]), &lines[1..].iter().map(cells).collect::<Vec<_>>());
    let names = header.clone().unwrap_or_else(|| (1..=columns.len()).map(|i| format!("c{i}")).collect());
    let mut seen = Seen::default();
    for line in &lines[usize::from(header.is_some())..] {
        seen.begin(&line.iter().collect::<String>());
        names.iter().zip(cells(line)).for_each(|(name, cell)| seen.note(&escaped(name), &cell, true));
    }
    let mut guess = Guess { fields: seen.fields(b','), events: seen.events(), fixed: true, ..Guess::default() };
    guess.options.push("format: fixed".to_owned());
    if is_ragged {
        guess.options.push("shortLines: allow   # the blanks at the end of lines are cut".to_owned());
    }
    guess.options.push("columns:   # guessed from blanks and from what changes: check where each begins and ends".to_owned());
    for (name, (from, to)) in names.iter().zip(&columns) {
        let field = guess.fields.iter().find(|field| field.path == escaped(name));
        let is_number = field.is_some_and(|field| matches!(field.meaning, Meaning::Number(_))) && to - from < NUMBER_MAX;
        let of_type = if is_number { ", type: number" } else { "" };
        guess.options.push(format!("  - {{ name: {}, from: {}, to: {to}{of_type} }}", quoted(name), from + 1));
    }
    // The line with the names is an event like any other.
    guess.not = header.and_then(|names| names.into_iter().next());
    Some(guess)
}

/// Returns the names of the columns if the first line has them: each has one of its own without a
/// digit, and below one of them are numbers or times.
fn header(first: &[String], rows: &[Vec<String>]) -> Option<Vec<String>> {
    let is_name = |(at, name): (usize, &String)| {
        !name.is_empty() && !name.contains(|c: char| c.is_ascii_digit()) && !first[..at].contains(name)
    };
    let is_data = |column: usize| {
        let values: Vec<String> = rows.iter().map(|row| row[column].clone()).filter(|cell| !cell.is_empty()).collect();
        !matches!(Reading::of(&values, true, &Words::default(), b',').meaning, Meaning::Text | Meaning::Other)
    };
    let is_header = first.iter().enumerate().all(is_name) && (0..first.len()).any(is_data);
    is_header.then(|| first.to_vec())
}

/// Returns the ranges between positions that are blank in every line.
fn between_blanks(lines: &[Vec<char>], width: usize) -> Vec<(usize, usize)> {
    let is_blank = |at: usize| lines.iter().all(|line| line[at] == ' ');
    let begins: Vec<usize> = (0..width).filter(|at| !is_blank(*at) && (*at == 0 || is_blank(at - 1))).collect();
    // The blanks behind a column belong to it: a longer value may need them.
    let ends = begins.iter().skip(1).copied().chain([width]);
    begins.iter().copied().zip(ends).collect()
}

/// Splits a range without blanks at its time and at what changes.
fn split(lines: &[Vec<char>], from: usize, to: usize, columns: &mut Vec<(usize, usize)>) {
    let Some((begin, end)) = time(lines, from, to) else { return pieces(lines, from, to, true, columns) };
    pieces(lines, from, begin, true, columns);
    columns.push((begin, end));
    // Behind a time are mostly amounts, which must stay whole.
    pieces(lines, end, to, false, columns);
}

/// Returns where most lines have a time.
fn time(lines: &[Vec<char>], from: usize, to: usize) -> Option<(usize, usize)> {
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
fn pieces(lines: &[Vec<char>], from: usize, to: usize, constants: bool, columns: &mut Vec<(usize, usize)>) {
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
