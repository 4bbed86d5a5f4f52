//! `schedule` of a document: when sessions start by themselves.

use super::compile::Compiler;
use super::meter_type::read_schedule;
use super::tree::Node as Tree;
use crate::schedule::{Cron, CronFields, Schedule};
use crate::time::{Timestamp, Zone, parse_duration};

const MINUTE: i64 = 60_000_000_000;

/// When sessions of a pipeline start by themselves.
#[derive(Clone, Debug)]
pub struct RunSchedule {
    schedule: Schedule,
    zone: Zone,
    /// Whether a run that is due while one is running waits for it; otherwise it is skipped.
    pub queues: bool,
    /// Handling of runs that were due while the server was down.
    pub catch_up: CatchUp,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Nanoseconds before it is tried again.
    pub pause: i64,
}

/// Handling of runs that were due while the server was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// The latest is made up for.
    Latest,
    /// All are made up for, in order.
    All,
    /// None is made up for.
    None,
}

impl RunSchedule {
    /// Returns the first instant after another one at which a run is due.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        Some(self.schedule.period_at(&self.zone, at).end).filter(|next| *next != Timestamp::MAX)
    }
}

pub(super) fn compile(tree: &Tree, compiler: &mut Compiler<'_>) -> Option<RunSchedule> {
    let node = tree.get("schedule")?;
    let schedule = match node.get("cron").map(|cron| cron.scalar().map_or_else(|| read_schedule(cron), read_cron)) {
        Some(_) if node.get("every").is_some() => {
            compiler.problems.add(node, "schedule.every", "either `cron` or `every`, not both");
            return None;
        }
        Some(read) => read,
        None => read_schedule(node),
    };
    let schedule = match schedule {
        Ok(schedule) => schedule,
        Err(why) => {
            let field = if node.get("cron").is_some() { "schedule.cron" } else { "schedule" };
            compiler.problems.add(node, field, why.to_string());
            return None;
        }
    };
    let retry = node.get("retry");
    let times = retry.and_then(|retry| retry.text("times")).and_then(|text| text.parse().ok());
    let pause = retry.and_then(|retry| retry.text("pause")).and_then(parse_duration);
    Some(RunSchedule {
        schedule,
        zone: node.text("timezone").and_then(Zone::named).unwrap_or_else(Zone::utc),
        queues: node.text("overlap") == Some("queue"),
        catch_up: match node.text("catchUp") {
            Some("all") => CatchUp::All,
            Some("none") => CatchUp::None,
            _ => CatchUp::Latest,
        },
        retries: times.unwrap_or(0),
        pause: pause.unwrap_or(5 * MINUTE),
    })
}

/// Reads cron as one text of five fields.
fn read_cron(text: &str) -> Result<Schedule, crate::schedule::BadSchedule> {
    let fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match <[String; 5]>::try_from(fields) {
        Ok([minute, hour, day, month, weekday]) => {
            Cron::new(&CronFields { minute, hour, day, month, weekday }).map(|cron| Schedule::Cron(Box::new(cron)))
        }
        Err(fields) => Err(crate::schedule::BadSchedule {
            part: "",
            reason: format!("`{text}` has {} fields; write five: minute, hour, day, month, weekday", fields.len()),
        }),
    }
}
