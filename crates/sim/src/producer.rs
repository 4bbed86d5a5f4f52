//! Senders of events: honest ones, late ones, ones that repeat events, and ones that send events
//! which no meter can count.

use flowmeter_core::time::Timestamp;

use crate::documents::{HOUR, SECOND};
use crate::random::Random;

/// Remembers sent events, so that they can be sent again.
#[derive(Default)]
pub struct Producer {
    count: u64,
    sent: Vec<String>,
}

pub const REGIONS: [&str; 3] = ["north", "south", "west"];
const KINDS: [&str; 7] = ["use", "use", "use", "buy", "buy", "noise", "dull"];

impl Producer {
    /// Returns some lines that are received at about an instant.
    pub fn lines(&mut self, random: &mut Random, now: i64) -> String {
        let mut lines = String::new();
        for _ in 0..1 + random.below(6) {
            lines.push_str(&self.line(random, now));
            if random.chance(970) {
                lines.push('\n');
            } else {
                lines.push_str("\n \n");
            }
        }
        if random.chance(100) {
            lines.truncate(lines.trim_end_matches('\n').len());
        }
        lines
    }

    fn line(&mut self, random: &mut Random, now: i64) -> String {
        if random.chance(150) && !self.sent.is_empty() {
            return self.sent[random.index(self.sent.len())].clone();
        }
        if random.chance(20) {
            return ["{\"id\": ", "nothing", "[1]", "{\"id\":\"x\",}"][random.index(4)].to_owned();
        }
        if random.chance(60) && !self.sent.is_empty() {
            let before = self.sent[random.index(self.sent.len())].clone();
            return self.mend(random, now, before.as_bytes());
        }
        self.count += 1;
        // Sometimes an id is sent again with other content, perhaps outside the window.
        let number = if random.chance(40) { random.below(self.count) } else { self.count };
        let line = self.event(random, now, number);
        self.sent.push(line.clone());
        line
    }

    /// Returns an event with the identity of another one and content that counts, as a sender would
    /// after the first was parked.
    pub fn mend(&mut self, random: &mut Random, now: i64, before: &[u8]) -> String {
        let before: serde_json::Value = serde_json::from_slice(before).unwrap_or_default();
        let of = |name: &str| before[name].as_str().unwrap_or("lost").to_owned();
        let (at, user) = (Timestamp::from_nanos(now - random.below(600) as i64 * SECOND), random.below(6));
        let (kind, region) = (KINDS[random.index(5)], REGIONS[random.index(REGIONS.len())]);
        let line = format!(
            r#"{{"id":"{}","source":"{}","subject":"user-{user}","time":"{at}","data":{{"kind":"{kind}","n":{},"region":"{region}"}}}}"#,
            of("id"),
            of("source"),
            random.below(20)
        );
        self.sent.push(line.clone());
        line
    }

    fn event(&self, random: &mut Random, now: i64, number: u64) -> String {
        let lag = match random.below(100) {
            0..60 => -(random.below(600) as i64) * SECOND,
            60..80 => -(random.below(6 * 3600) as i64) * SECOND,
            80..92 => -(random.below(60 * 3600) as i64) * SECOND,
            92..96 => random.below(300) as i64 * SECOND,
            96..98 => HOUR,
            // On the hour, to the nanosecond.
            _ => -now.rem_euclid(HOUR),
        };
        let time = match random.below(100) {
            0 => r#""time":"yesterday","#.to_owned(),
            1..5 => String::new(),
            _ => format!(r#""time":"{}","#, Timestamp::from_nanos(now + lag)),
        };
        let subject = match random.below(50) {
            0 => String::new(),
            _ => format!(r#""subject":"user-{}","#, random.below(6)),
        };
        let n = match random.below(60) {
            0 => "\"much\"".to_owned(),
            1 => "null".to_owned(),
            2 => "{}".to_owned(),
            3..20 => format!("{}.{}", random.below(9), 1 + random.below(9)),
            20..25 => format!("-{}", 1 + random.below(9)),
            _ => format!("{}", random.below(20)),
        };
        let (kind, region) = (KINDS[random.index(KINDS.len())], REGIONS[random.index(REGIONS.len())]);
        let source = random.below(2);
        format!(
            r#"{{"id":"{number}","source":"s{source}",{subject}{time}"data":{{"kind":"{kind}","n":{n},"region":"{region}"}}}}"#
        )
    }
}
