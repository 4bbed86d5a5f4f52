//! Periods of every kind of schedule; `cases/reset` holds many more.

use std::sync::Arc;

use super::*;

fn every(unit: &str, anchor: &Anchor) -> Schedule {
    Schedule::Every(Every::new(Unit::named(unit).unwrap(), 1, anchor).unwrap())
}

fn cron(fields: [&str; 5]) -> Result<Schedule, BadSchedule> {
    let [minute, hour, day, month, weekday] = fields.map(str::to_owned);
    Cron::new(&CronFields { minute, hour, day, month, weekday }).map(|cron| Schedule::Cron(Box::new(cron)))
}

fn shown(schedule: &Schedule, zone: &str, at: &str) -> String {
    let at = Timestamp::parse_rfc3339(at.as_bytes()).unwrap();
    let period = schedule.period_at(&Zone::named(zone).unwrap(), at);
    format!("{} {}", period.start, period.end).replace(":00.000Z", "")
}

#[test]
fn cron_and_every_agree_where_they_say_the_same() {
    let pairs = [
        (cron(["0", "0", "1", "*", "*"]).unwrap(), Schedule::named("monthly").unwrap()),
        (cron(["0", "*", "*", "*", "*"]).unwrap(), Schedule::named("hourly").unwrap()),
        (cron(["0", "0", "*", "*", "1"]).unwrap(), Schedule::named("weekly").unwrap()),
        (cron(["30", "2", "*", "*", "*"]).unwrap(), every("day", &Anchor { time: Some((2, 30)), ..Anchor::default() })),
        (cron(["0", "0", "1", "1,4,7,10", "*"]).unwrap(), Schedule::named("quarterly").unwrap()),
    ];
    for zone in ["Etc/UTC", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"] {
        let zone = Zone::named(zone).unwrap();
        // Every 7 hours and a bit through years with all kinds of changes.
        let mut at = Timestamp::parse_rfc3339(b"2010-12-28T00:00:00Z").unwrap();
        let end = Timestamp::parse_rfc3339(b"2012-01-20T00:00:00Z").unwrap();
        while at < end {
            for (by_cron, by_step) in &pairs {
                assert_eq!(by_cron.period_at(&zone, at), by_step.period_at(&zone, at), "{zone:?} {at}");
            }
            at = at.saturating_add(25_321_000_000_000);
        }
    }
}

#[test]
fn periods_tile_the_line() {
    for name in SHORT_NAMES.iter().filter(|name| **name != "never") {
        let schedule = Schedule::named(name).unwrap();
        for zone in ["Africa/Juba", "Asia/Pyongyang", "America/St_Johns", "Pacific/Apia"] {
            let zone = Zone::named(zone).unwrap();
            let mut calendar = Calendar::new(Arc::new(schedule.clone()), zone.clone());
            let mut at = Timestamp::parse_rfc3339(b"2010-01-01T00:00:00Z").unwrap();
            for _ in 0..240 {
                let period = calendar.period_at(at);
                assert!(period.start < period.end, "{name} {zone:?} {period:?}");
                assert_eq!(period, schedule.period_at(&zone, at));
                let next = calendar.period_at(period.end);
                assert_eq!(next.start, period.end, "{name} {zone:?}");
                at = period.end;
            }
        }
    }
}

#[test]
fn cron_specialities() {
    let last = cron(["0", "0", "L", "*", "*"]).unwrap();
    assert_eq!(shown(&last, "Etc/UTC", "2024-02-15T00:00:00Z"), "2024-01-31T00:00 2024-02-29T00:00");
    let thirty_first = cron(["0", "0", "31", "*", "*"]).unwrap();
    assert_eq!(shown(&thirty_first, "Etc/UTC", "2024-02-15T00:00:00Z"), "2024-01-31T00:00 2024-03-31T00:00");
    let either = cron(["0", "0", "13", "*", "5"]).unwrap();
    assert_eq!(shown(&either, "Etc/UTC", "2024-09-12T00:00:00Z"), "2024-09-06T00:00 2024-09-13T00:00");
    let leap = cron(["0", "0", "29", "2", "*"]).unwrap();
    assert_eq!(shown(&leap, "Etc/UTC", "2023-01-01T00:00:00Z"), "2020-02-29T00:00 2024-02-29T00:00");
}

#[test]
fn bad_schedules_name_the_part() {
    for (fields, part) in [
        (["60", "0", "1", "*", "*"], "minute"),
        (["0", "24", "1", "*", "*"], "hour"),
        (["0", "0", "32", "*", "*"], "day"),
        (["0", "0", "1", "13", "*"], "month"),
        (["0", "0", "1", "*", "9"], "weekday"),
        (["0 0", "0", "1", "*", "*"], "minute"),
        (["", "0", "1", "*", "*"], "minute"),
        (["0", "0", "31", "2", "*"], "day"),
    ] {
        assert_eq!(cron(fields).unwrap_err().part, part, "{fields:?}");
    }
    for (unit, count, anchor, part) in [
        ("month", 0, Anchor::default(), "count"),
        ("day", 1, Anchor { day: Some(3), ..Anchor::default() }, "anchor.day"),
        ("month", 1, Anchor { day: Some(32), ..Anchor::default() }, "anchor.day"),
        ("year", 1, Anchor { month: Some(13), ..Anchor::default() }, "anchor.month"),
        ("month", 1, Anchor { weekday: Some(jiff::civil::Weekday::Monday), ..Anchor::default() }, "anchor.weekday"),
        ("day", 1, Anchor { time: Some((24, 0)), ..Anchor::default() }, "anchor.time"),
    ] {
        let error = Every::new(Unit::named(unit).unwrap(), count, &anchor).unwrap_err();
        assert_eq!(error.part, part);
    }
}

#[test]
fn steps_of_more_than_one() {
    let two_weeks = Schedule::Every(Every::new(Unit::Week, 2, &Anchor::default()).unwrap());
    assert_eq!(shown(&two_weeks, "Etc/UTC", "2024-01-10T00:00:00Z"), "2024-01-08T00:00 2024-01-22T00:00");
    let six_hours = Schedule::Every(Every::new(Unit::Hour, 6, &Anchor::default()).unwrap());
    assert_eq!(shown(&six_hours, "Etc/UTC", "2024-01-10T07:00:00Z"), "2024-01-10T06:00 2024-01-10T12:00");
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for name in SHORT_NAMES {
        for at in [Timestamp::MIN, Timestamp::MAX.saturating_sub(1)] {
            for zone in ["Etc/UTC", "Pacific/Apia"] {
                let period = Schedule::named(name).unwrap().period_at(&Zone::named(zone).unwrap(), at);
                assert!(period.start <= at && at < period.end, "{name} {at:?} {period:?}");
            }
        }
    }
}
