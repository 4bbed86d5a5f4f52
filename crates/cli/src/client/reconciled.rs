//! A reconciliation for people: the result of each target, its periods as a table, and missing and
//! different records.

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::table::{self, Columns};
use crate::form::Form;

/// The maximum of differences that are shown; `--output json` has more.
const SHOWN_MAX: usize = 20;

const PERIODS: Columns = &[
    ("METER TYPE", "meterType"),
    ("PERIOD START", "periodStart"),
    ("PERIOD END", "periodEnd"),
    ("FLUSHED", "flushed.records"),
    ("REVISIONS", "flushed.revisions"),
    ("VALUE", "flushed.value"),
    ("HELD", "held.records"),
    ("VALUE HELD", "held.value"),
    ("MISSING", "missing"),
    ("DIFFERENT", "different"),
];
const DIFFERENCES: Columns = &[("RECORD", "recordId"), ("WHAT", "what")];

#[derive(Deserialize)]
struct Answer {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Target {
    target: String,
    error: Option<String>,
    agrees: Option<bool>,
    periods: Vec<Box<RawValue>>,
    differences: Vec<Box<RawValue>>,
    difference_count: u64,
    sent_again: u64,
}

/// Formats an answer.
///
/// # Errors
/// The answer is not a reconciliation.
pub(super) fn text(answer: &[u8]) -> anyhow::Result<String> {
    let answer: Answer = serde_json::from_slice(answer).context("the answer is not a reconciliation")?;
    let mut out = String::new();
    for target in &answer.targets {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{}: {}\n", target.target, verdict(target)));
        if !target.periods.is_empty() {
            out.push_str(&table::list(&target.periods, PERIODS, Form::Table));
        }
        if !target.differences.is_empty() {
            let shown = &target.differences[..target.differences.len().min(SHOWN_MAX)];
            out.push_str(&table::list(shown, DIFFERENCES, Form::Table));
            if target.difference_count > shown.len() as u64 {
                let more = target.difference_count - shown.len() as u64;
                out.push_str(&format!("and {more} more; `--output json` names up to a thousand\n"));
            }
        }
    }
    Ok(if out.is_empty() { "the pipeline has no targets\n".to_owned() } else { out })
}

fn verdict(target: &Target) -> String {
    if let Some(why) = &target.error {
        return format!("no answer: {why}");
    }
    let sent = match target.sent_again {
        0 => String::new(),
        count => format!("; sent again: {count}"),
    };
    match target.agrees {
        None => "not asked: it cannot be read back, so only its acceptances are known".to_owned(),
        Some(true) => format!("agrees{sent}"),
        Some(false) => format!("does not agree; records missing or different: {}{sent}", target.difference_count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconciliation_is_a_table_with_every_digit() {
        let period = |held: &str| {
            format!(
                r#"{{"meterType":"Tokens","periodStart":"2026-01-01T00:00:00.000Z","periodEnd":"2026-02-01T00:00:00.000Z","flushed":{{"records":3,"revisions":2,"value":0.1000000000000000055}},{held}}}"#
            )
        };
        let asked = period(r#""held":{"records":2,"revisions":1,"value":12},"missing":1,"different":0,"known":0"#);
        let other = period(r#""held":null,"missing":null,"different":null,"known":null"#);
        let answer = format!(
            r#"{{"pipeline":"p","agrees":false,"notAsked":["hook"],"targets":[{{"target":"db","asked":true,"agrees":false,"periods":[{asked}],"differences":[{{"recordId":"r1","what":"is not there"}}],"differenceCount":30,"sentAgain":1}},{{"target":"hook","asked":false,"agrees":null,"periods":[{other}],"differences":[],"differenceCount":0,"sentAgain":0}},{{"target":"away","error":"no connection"}}]}}"#
        );
        let expected = "\
db: does not agree; records missing or different: 30; sent again: 1
METER TYPE  PERIOD START              PERIOD END                FLUSHED  REVISIONS  VALUE                  HELD  VALUE HELD  MISSING  DIFFERENT
Tokens      2026-01-01T00:00:00.000Z  2026-02-01T00:00:00.000Z  3        2          0.1000000000000000055  2     12          1        0
RECORD  WHAT
r1      is not there
and 29 more; `--output json` names up to a thousand

hook: not asked: it cannot be read back, so only its acceptances are known
METER TYPE  PERIOD START              PERIOD END                FLUSHED  REVISIONS  VALUE                  HELD  VALUE HELD  MISSING  DIFFERENT
Tokens      2026-01-01T00:00:00.000Z  2026-02-01T00:00:00.000Z  3        2          0.1000000000000000055

away: no answer: no connection
";
        assert_eq!(text(answer.as_bytes()).unwrap(), expected);
    }
}
