//! The meter types of a document.

use std::sync::Arc;

use flowmeter_core::aggregation::{Aggregation, Delta, LevelInput, Restart, Weighted};
use flowmeter_core::decimal::Decimal;
use flowmeter_core::event::Path;
use flowmeter_core::meter_type::{Late, LatePolicy, MeterType, Threshold, derived};
use flowmeter_core::partition::THRESHOLDS_MAX;
use flowmeter_core::schedule::{Anchor, BadSchedule, Cron, CronFields, Every, Schedule, Unit};
use flowmeter_core::time::{Timestamp, Zone, parse_duration};
use jiff::civil::Weekday;
use uuid::Uuid;

use super::compile::{instant, json_members, number};
use super::problem::Problems;
use super::tree::Node as Tree;

pub(super) fn compile_all(tree: &Tree, problems: &mut Problems) -> Vec<MeterType> {
    let items = tree.get("meterTypes").map(Tree::items).unwrap_or_default();
    let mut types: Vec<MeterType> = Vec::new();
    for (i, node) in items.iter().enumerate() {
        let field = format!("meterTypes[{i}]");
        let kind = compile(node, &field, problems);
        for known in &types {
            let same_ref = kind.external_ref.is_some() && kind.external_ref == known.external_ref;
            if known.name == kind.name || known.id == kind.id || same_ref {
                problems.add(node, &field, format!("name, id and externalRef are unique; `{}` has the same", known.name));
            }
        }
        types.push(kind);
    }
    types
}

fn compile(node: &Tree, field: &str, problems: &mut Problems) -> MeterType {
    let name = node.text("name").unwrap_or_default().to_owned();
    if name.is_empty() || name.chars().count() > 80 {
        problems.add(node, &format!("{field}.name"), "a name has 1 to 80 characters");
    }
    let text = |name: &str| node.text(name).map(str::to_owned);
    let schedule = node.get("resetSchedule");
    let schedule = match schedule {
        None => Schedule::named("monthly").unwrap_or(Schedule::Never),
        Some(node) => schedule_of(node).unwrap_or_else(|why| {
            let part = if why.part.is_empty() { String::new() } else { format!(".{}", why.part) };
            problems.add(node, &format!("{field}.resetSchedule{part}"), why.reason);
            Schedule::Never
        }),
    };
    let aggregation = aggregation(node, field, problems);
    if matches!(schedule, Schedule::Never) && matches!(aggregation, Aggregation::Weighted(_)) {
        problems.add(
            node,
            &format!("{field}.resetSchedule"),
            "`weighted` is an integral over a period: it needs a schedule whose periods end",
        );
    }
    let capacity = number(node, "capacity");
    let path = |node: Option<&str>| node.and_then(|text| Path::parse(text).ok());
    let capacity_from = path(node.text("capacityFrom"));
    let zone = node.get("timezone");
    let zone_from = path(zone.and_then(|zone| zone.text("field")));
    let zone = zone.and_then(|zone| zone.scalar().or(zone.text("default")));
    let (from, to) = (instant(node, "activeFrom"), instant(node, "activeTo"));
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        problems.add(node, &format!("{field}.activeTo"), "activeTo must be later than activeFrom");
    }
    MeterType {
        id: node.text("id").and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(|| derived::meter_type(&name)),
        description: text("description"),
        external_ref: text("externalRef"),
        category: text("category").unwrap_or_else(|| "DEFAULT".to_owned()),
        unit: text("unit").unwrap_or_default(),
        aggregation,
        schedule: Arc::new(schedule),
        zone: zone.and_then(Zone::named).unwrap_or_else(Zone::utc),
        zone_from,
        active_from: from.unwrap_or(Timestamp::MIN),
        active_to: to.unwrap_or(Timestamp::MAX),
        thresholds: thresholds(node, capacity.is_some() || capacity_from.is_some(), field, problems),
        capacity,
        capacity_from,
        auto_create: node.text("autoCreate") != Some("false"),
        flush_empty: node.text("flushEmpty") != Some("false"),
        empty_periods_max: node
            .text("emptyPeriodsMax")
            .and_then(|n| n.parse().ok())
            .unwrap_or(flowmeter_core::limits::EMPTY_PERIODS_MAX),
        late: node.get("late").map(late).unwrap_or_default(),
        group_limit: node.text("groupLimit").and_then(|n| n.parse().ok()).unwrap_or(flowmeter_core::limits::GROUPS_MAX),
        name,
    }
}

fn late(node: &Tree) -> Late {
    let default = Late::default();
    let span = |name, default| node.text(name).and_then(parse_duration).unwrap_or(default);
    Late {
        policy: match node.text("policy") {
            Some("carry") => LatePolicy::Carry,
            Some("park") => LatePolicy::Park,
            _ => LatePolicy::Amend,
        },
        grace: span("grace", default.grace),
        amend_within: span("amendWithin", default.amend_within),
    }
}

fn aggregation(node: &Tree, field: &str, problems: &mut Problems) -> Aggregation {
    let written = node.get("aggregation");
    let detailed = written.filter(|written| written.scalar().is_none());
    let name = written.and_then(|written| written.scalar().or(written.text("type"))).unwrap_or("sum");
    // Parameters stand beside the aggregation or inside it.
    let parameter = |name: &str| detailed.and_then(|node| node.text(name)).or(node.text(name));
    let hour = 3_600_000_000_000;
    match name {
        "increment" | "count" => Aggregation::Increment,
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "avg" => Aggregation::Avg,
        "unique" => Aggregation::Unique,
        "latest" => Aggregation::Latest,
        "delta" => Aggregation::Delta(delta(detailed, node, field, problems)),
        "weighted" => Aggregation::Weighted(Weighted {
            unit: match parameter("timeUnit") {
                Some("second") => Some(hour / 3600),
                Some("minute") => Some(hour / 60),
                Some("day") => Some(hour * 24),
                Some("period") => None,
                _ => Some(hour),
            },
            input: if parameter("input") == Some("change") { LevelInput::Change } else { LevelInput::Level },
        }),
        "percentile" => {
            let p = parameter("p").and_then(|p| flowmeter_core::decimal::parse(p.as_bytes()).ok());
            let sound = p.filter(|p| *p > Decimal::ZERO && *p <= Decimal::from_int(100));
            if sound.is_none() {
                problems.add(node, &format!("{field}.p"), "`percentile` needs p: above 0 and at most 100, like p: 95");
            }
            Aggregation::Percentile(sound.unwrap_or(Decimal::ONE))
        }
        _ => Aggregation::Sum,
    }
}

/// Compiles how the `delta` aggregation treats a counter that falls, and its first reading.
fn delta(detailed: Option<&Tree>, node: &Tree, field: &str, problems: &mut Problems) -> Delta {
    let parameter = |name: &str| detailed.and_then(|node| node.get(name));
    let mut refuse = |name: &str, message: &str| problems.add(node, &format!("{field}.aggregation.{name}"), message);
    let restart = parameter("restart");
    let below = restart.and_then(|restart| number(restart, "below"));
    let wrap_at = detailed.and_then(|node| number(node, "wrapAt"));
    let share = Decimal::ZERO..=Decimal::ONE;
    if below.is_some_and(|below| !share.contains(&below)) {
        refuse("restart.below", "`below` is a share of the last reading: 0 to 1, like 0.5");
    }
    if wrap_at.is_some_and(|wrap| wrap <= Decimal::ZERO) {
        refuse("wrapAt", "`wrapAt` is the number at which the counter begins at 0 again: above 0, like 4294967296");
    }
    if wrap_at.is_some() && restart.is_some() {
        refuse("restart", "with `wrapAt` every drop is a wrap; leave `restart` out");
    }
    Delta {
        restart: match (restart.and_then(Tree::scalar), below) {
            (_, Some(below)) => Restart::Below(below),
            (Some("none"), None) => Restart::Never,
            _ => Restart::Any,
        },
        wrap_at,
        from_zero: parameter("begin").and_then(Tree::scalar) == Some("zero"),
        ignore_zero: parameter("ignoreZero").and_then(Tree::scalar) == Some("true"),
    }
}

/// Reads the thresholds of a meter type, or those that one meter has of its own.
pub(super) fn thresholds(node: &Tree, has_capacity: bool, field: &str, problems: &mut Problems) -> Vec<Threshold> {
    let items = node.get("thresholds").map(Tree::items).unwrap_or_default();
    if items.len() > THRESHOLDS_MAX {
        problems.add(node, &format!("{field}.thresholds"), format!("at most {THRESHOLDS_MAX} thresholds"));
    }
    let mut thresholds: Vec<Threshold> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let field = format!("{field}.thresholds[{i}]");
        let (value, percent_of_capacity) = (number(item, "value"), number(item, "percentOfCapacity"));
        let name = item.text("name").unwrap_or_default().to_owned();
        if value.is_none() && !(percent_of_capacity.is_some() && has_capacity) {
            let message = "a threshold needs `value`, or `percentOfCapacity` and a `capacity` of the meter type \
                           (or `capacityFrom`, if events name it)";
            problems.add(item, &field, message);
        }
        if thresholds.iter().any(|known| known.name == name) {
            problems.add(item, &format!("{field}.name"), format!("a second threshold `{name}`"));
        }
        let custom_fields = json_members(item.get("customFields"));
        thresholds.push(Threshold { name, value, percent_of_capacity, custom_fields });
    }
    thresholds
}

/// Reads a schedule as it is written on a command line: a short name, or the JSON (or YAML) of a
/// reset schedule.
pub fn read_schedule(text: &str) -> Result<Schedule, BadSchedule> {
    let bad = |reason: String| BadSchedule { part: "", reason };
    let tree = super::tree::parse(text).map_err(|problems| bad(problems.to_string()))?;
    let mut problems = Problems::default();
    if tree.scalar().is_none() {
        super::conform::conform(&tree, &super::forms::SCHEDULE, "", &mut problems);
        problems.into_result().map_err(|problems| bad(problems.to_string()))?;
    }
    schedule_of(&tree)
}

pub(super) fn schedule_of(node: &Tree) -> Result<Schedule, BadSchedule> {
    if let Some(name) = node.scalar() {
        return Schedule::named(name).ok_or_else(|| BadSchedule {
            part: "",
            reason: format!("unknown schedule `{name}`; write one of {}", flowmeter_core::schedule::SHORT_NAMES.join(", ")),
        });
    }
    let cron = ["minute", "hour", "day", "month", "weekday"];
    let every = ["every", "count", "anchor"];
    let has = |names: &[&str]| names.iter().any(|name| node.get(name).is_some());
    if has(&cron) && has(&every) {
        return Err(BadSchedule { part: "", reason: "either cron fields or `every`, not both".to_owned() });
    }
    if has(&cron) {
        let text = |name: &str| node.text(name).unwrap_or("*").to_owned();
        if let Some(missing) = cron.iter().find(|name| node.get(name).is_none()) {
            return Err(BadSchedule { part: "", reason: format!("cron field `{missing}` is missing; write \"*\" for any") });
        }
        let [minute, hour, day, month, weekday] = cron.map(text);
        return Cron::new(&CronFields { minute, hour, day, month, weekday }).map(|cron| Schedule::Cron(Box::new(cron)));
    }
    let Some(unit) = node.text("every").and_then(Unit::named) else {
        let reason = "write a short name, `every` (with hour, day, week, month, quarter or year), or five cron fields";
        return Err(BadSchedule { part: "", reason: reason.to_owned() });
    };
    let count = node.text("count").and_then(|count| count.parse().ok()).unwrap_or(1);
    let anchor = node.get("anchor").map_or(Ok(Anchor::default()), read_anchor)?;
    Every::new(unit, count, &anchor).map(Schedule::Every)
}

fn read_anchor(node: &Tree) -> Result<Anchor, BadSchedule> {
    let small = |name: &str| node.text(name).and_then(|text| text.parse::<i8>().ok());
    let weekday = |name: &str| {
        Some(match name {
            "monday" => Weekday::Monday,
            "tuesday" => Weekday::Tuesday,
            "wednesday" => Weekday::Wednesday,
            "thursday" => Weekday::Thursday,
            "friday" => Weekday::Friday,
            "saturday" => Weekday::Saturday,
            "sunday" => Weekday::Sunday,
            _ => return None,
        })
    };
    let time = match node.text("time") {
        None => None,
        Some(text) => {
            let parts = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2);
            let parts = parts.and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
            let reason = || format!("`{text}` is no time; write HH:MM, from 00:00 to 23:59");
            Some(parts.ok_or_else(|| BadSchedule { part: "anchor.time", reason: reason() })?)
        }
    };
    Ok(Anchor { month: small("month"), day: small("day"), weekday: node.text("weekday").and_then(weekday), time })
}
