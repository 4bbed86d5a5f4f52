//! `schedule` of a document: when sessions start by themselves.

use flowmeter_core::schedule::{CatchUp, Cron, CronFields, RunSchedule, Schedule};
use flowmeter_core::time::{Zone, parse_duration};

use super::compile::Compiler;
use super::meter_type::schedule_of;
use super::tree::Node as Tree;

const MINUTE: i64 = 60_000_000_000;

pub(super) fn compile(tree: &Tree, compiler: &mut Compiler<'_>) -> Option<RunSchedule> {
    let node = tree.get("schedule")?;
    let schedule = match node.get("cron").map(|cron| cron.scalar().map_or_else(|| schedule_of(cron), read_cron)) {
        Some(_) if node.get("every").is_some() => {
            compiler.problems.add(node, "schedule.every", "either `cron` or `every`, not both");
            return None;
        }
        Some(read) => read,
        None => schedule_of(node),
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
fn read_cron(text: &str) -> Result<Schedule, flowmeter_core::schedule::BadSchedule> {
    let fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match <[String; 5]>::try_from(fields) {
        Ok([minute, hour, day, month, weekday]) => {
            Cron::new(&CronFields { minute, hour, day, month, weekday }).map(|cron| Schedule::Cron(Box::new(cron)))
        }
        Err(fields) => Err(flowmeter_core::schedule::BadSchedule {
            part: "",
            reason: format!("`{text}` has {} fields; write five: minute, hour, day, month, weekday", fields.len()),
        }),
    }
}
