//! The search beside one that tries every minute.

use jiff::civil::datetime;

use super::*;

fn cron(fields: &str) -> Cron {
    let fields: Vec<String> = fields.split(' ').map(str::to_owned).collect();
    let [minute, hour, day, month, weekday] = fields.try_into().unwrap();
    Cron::new(&CronFields { minute, hour, day, month, weekday }).unwrap()
}

/// Whether a minute matches, by the text of the fields alone.
fn is_match(fields: &str, at: DateTime) -> bool {
    let texts: Vec<&str> = fields.split(' ').collect();
    let weekday = at.weekday().to_sunday_zero_offset();
    let has = |text: &str, number: i8| text.split(',').any(|item| item_has(item, number));
    let last = texts[2].contains('L') && at.day() == at.date().days_in_month();
    let in_month = has(texts[2], at.day()) || last;
    let in_week = has(texts[4], weekday) || weekday == 0 && has(texts[4], 7);
    let is_day = match (texts[2], texts[4]) {
        ("*", "*") => true,
        ("*", _) => in_week,
        (_, "*") => in_month,
        _ => in_month || in_week,
    };
    is_day && has(texts[0], at.minute()) && has(texts[1], at.hour()) && has(texts[3], at.month())
}

fn item_has(item: &str, number: i8) -> bool {
    let (span, step) = item.split_once('/').map_or((item, 1), |(span, step)| (span, step.parse().unwrap()));
    let (first, last): (i8, i8) = match span.split_once('-') {
        Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
        // In these tests steps of `*` are of fields that begin at 0.
        None if span == "*" => (0, 59),
        None => match span.parse() {
            Ok(alone) => (alone, if step > 1 { 59 } else { alone }),
            Err(_) => return false,
        },
    };
    (first..=last).contains(&number) && (number - first) % step == 0
}

#[test]
fn matches_are_those_of_a_search_minute_by_minute() {
    for fields in [
        "* * * * *",
        "*/15 * * * *",
        "0 0 1 * *",
        "30 2,14 1-7 * 1",
        "5/20 9-17 * * 1-5",
        "0 12 L 1-12/3 *",
        "0 0 10,L * 0",
        "59 23 31 * *",
        "0 0 29 2 *",
        "0 6 * * 5-7",
    ] {
        let cron = cron(fields);
        for start in [datetime(2024, 2, 27, 23, 50, 0, 0), datetime(2023, 12, 30, 0, 0, 30, 5)] {
            let mut at = start;
            for _ in 0..40 {
                let next = cron.next(at, false).unwrap();
                // Years between are left out: no minute of theirs is tried.
                let mut minute = next.checked_sub(3.days()).unwrap().max(at.checked_add(1.minute()).unwrap());
                minute = minute.with().second(0).subsec_nanosecond(0).build().unwrap();
                while minute < next {
                    assert!(!is_match(fields, minute), "{fields}: {minute} after {at}, not {next}");
                    minute = minute.checked_add(1.minute()).unwrap();
                }
                assert!(is_match(fields, next), "{fields}: {next} after {at}");
                assert_eq!(cron.previous(next.checked_add(1.minute()).unwrap()), Some(next), "{fields}");
                assert_eq!(cron.next(next, true), Some(next), "{fields}");
                at = next;
            }
        }
    }
}

#[test]
fn names_and_both_sundays_are_read() {
    let at = datetime(2024, 5, 1, 0, 0, 0, 0);
    for (fields, next) in [
        ("0 0 * * sun", datetime(2024, 5, 5, 0, 0, 0, 0)),
        ("0 0 * * 7", datetime(2024, 5, 5, 0, 0, 0, 0)),
        ("0 0 * * MON-FRI", datetime(2024, 5, 2, 0, 0, 0, 0)),
        ("0 0 1 Jul,aug *", datetime(2024, 7, 1, 0, 0, 0, 0)),
        ("0 0 l * *", datetime(2024, 5, 31, 0, 0, 0, 0)),
    ] {
        assert_eq!(cron(fields).next(at, false), Some(next), "{fields}");
    }
}

#[test]
fn malformed_fields_are_refused() {
    let fields =
        |day: &str| CronFields { minute: "0".into(), hour: "0".into(), day: day.into(), month: "*".into(), weekday: "*".into() };
    for day in ["5-1", "1-", "-3", "+3", "*/0", "*/x", "1,,2", "1 2", "L-1", "0", "?", "1/", "L,"] {
        assert_eq!(Cron::new(&fields(day)).unwrap_err().part, "day", "{day}");
    }
}
