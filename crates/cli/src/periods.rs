//! `flowmeter periods`: prints the metering periods of a schedule.

use std::process::ExitCode;

use flowmeter_core::schedule::Period;
use flowmeter_core::time::{Timestamp, Zone};

use crate::args::Periods;
use crate::clock;
use crate::failure::{self, Wrong};
use crate::load::instant;

/// The maximum of periods that are printed: a century of hours.
const PRINTED_MAX: usize = 1_000_000;

pub(crate) fn periods(periods: &Periods) -> anyhow::Result<ExitCode> {
    let schedule = flowmeter_document::read_schedule(&periods.schedule).map_err(|why| Wrong(format!("--schedule: {why}")))?;
    let zone = Zone::named(&periods.timezone).ok_or_else(|| {
        let names = Zone::names();
        let near = flowmeter_core::suggest::nearest(&periods.timezone, names.iter().map(String::as_str));
        let advice = near.map_or("write an IANA name like Europe/Oslo".to_owned(), |near| format!("did you mean {near}?"));
        Wrong(format!("--timezone {}: unknown; {advice}", periods.timezone))
    })?;
    let (from, to) = match (&periods.from, &periods.to) {
        (Some(from), Some(to)) => (instant("--from", from)?, instant("--to", to)?),
        _ => {
            let at = periods.at.as_deref().map_or_else(|| Ok(clock::now()), |at| instant("--at", at))?;
            (at, at.saturating_add(1))
        }
    };
    let mut text = String::new();
    let mut at = from;
    for _ in 0..PRINTED_MAX {
        let period = schedule.period_at(&zone, at);
        text.push_str(&line(period));
        at = period.end;
        if at >= to {
            break;
        }
    }
    failure::print(&text)
}

fn line(period: Period) -> String {
    let shown = |at: Timestamp| match at {
        Timestamp::MIN | Timestamp::MAX => "null".to_owned(),
        at => format!("\"{at}\""),
    };
    format!("{{\"periodStart\": {}, \"periodEnd\": {}}}\n", shown(period.start), shown(period.end))
}
