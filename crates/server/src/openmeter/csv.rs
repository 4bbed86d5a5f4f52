//! Answers as CSV, as OpenMeter writes them: times in UTC, values with six decimals.

use flowmeter_core::decimal::{Quotient, Rounding};
use flowmeter_core::time::Timestamp;
use flowmeter_store::rollups::Row;

/// Places behind the point.
const PLACES: usize = 6;

/// The rows with their head; `subject` is a column when it was asked for.
pub(super) fn write(rows: &[Row], subject: bool, dimensions: &[String]) -> String {
    let mut out = String::from("window_start,window_end");
    if subject {
        out.push_str(",subject");
    }
    for dimension in dimensions {
        out.push(',');
        field(dimension, &mut out);
    }
    out.push_str(",value\n");
    for row in rows {
        out.push_str(&format!("{},{}", seconds(row.window_start), seconds(row.window_end)));
        if subject {
            out.push(',');
            field(row.subject.as_deref().unwrap_or_default(), &mut out);
        }
        for (_, value) in row.groups.iter().take(dimensions.len()) {
            out.push(',');
            field(value.as_deref().unwrap_or_default(), &mut out);
        }
        out.push(',');
        if let Some(number) = row.value {
            out.push_str(&fixed(number));
        }
        out.push('\n');
    }
    out
}

/// Windows begin and end with minutes, and are written without fractions.
fn seconds(at: Timestamp) -> String {
    at.to_string().replace(".000Z", "Z")
}

fn field(text: &str, out: &mut String) {
    if text.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

fn fixed(number: Quotient) -> String {
    let mut digits = Vec::new();
    match number.round(PLACES as i32, Rounding::HalfUp) {
        Some(rounded) => rounded.write_to(&mut digits),
        None => number.write_to(&mut digits),
    }
    let text = String::from_utf8(digits).unwrap_or_default();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}.{fraction:0<PLACES$}")
}
