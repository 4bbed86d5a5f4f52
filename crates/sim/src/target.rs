//! A dishonest target: it takes a record without an answer, accepts a record that it did not take,
//! stores repeats twice, refuses at random, mixes the order of meters, is unavailable for a day,
//! and loses records.
//!
//! Its content is outside the simulated program. The auditor compares it with the records: each
//! must be in effect exactly once.

use std::collections::BTreeMap;

use flowmeter_engine::Error;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Repeat, Span, Target};

use crate::documents::SECOND;
use crate::random::Random;

/// A record at the target.
struct Entry {
    json: Vec<u8>,
    /// How often it is in effect.
    times: u32,
}

pub struct Liar {
    random: Random,
    repeat: Repeat,
    held: BTreeMap<u64, Entry>,
    /// For each meter, the numbers of its records in the order in which they took effect.
    order: BTreeMap<u128, Vec<u64>>,
    away_until: i64,
    now: i64,
    /// Whether it has stopped lying.
    pub is_honest: bool,
    pub lies: u64,
}

impl Liar {
    /// Returns a target of one of two kinds: it recognises repeated records, or must be read first.
    pub fn new(mut random: Random) -> Liar {
        let repeat = if random.chance(500) { Repeat::Harmless } else { Repeat::ReadFirst };
        Liar {
            random,
            repeat,
            held: BTreeMap::new(),
            order: BTreeMap::new(),
            away_until: i64::MIN,
            now: 0,
            is_honest: false,
            lies: 0,
        }
    }

    /// Advances the time; sometimes the target becomes unavailable, or loses a record.
    pub fn pass(&mut self, now: i64) {
        self.now = now;
        if self.is_honest {
            self.away_until = i64::MIN;
            return;
        }
        if self.random.chance(20) {
            self.away_until = now + self.random.below(26 * 3600) as i64 * SECOND;
            self.lies += 1;
        }
        if self.random.chance(20) && !self.held.is_empty() {
            let at = self.random.index(self.held.len());
            let number = self.held.keys().nth(at).copied().unwrap_or_default();
            self.held.remove(&number);
            self.lies += 1;
        }
    }

    fn take(&mut self, record: &Outgoing<'_>, meter: u128) {
        let entry = self.held.entry(record.number);
        let is_new = matches!(entry, std::collections::btree_map::Entry::Vacant(_));
        let entry = entry.or_insert_with(|| Entry { json: record.json.to_vec(), times: 0 });
        if is_new || self.repeat == Repeat::ReadFirst {
            entry.times += 1;
        }
        if is_new {
            self.order.entry(meter).or_default().push(record.number);
        }
    }

    /// Compares its content with the records, by number.
    pub fn audit<'r>(&self, records: impl Iterator<Item = (u64, &'r [u8])>) -> Result<(), String> {
        let mut expected = 0;
        for (number, json) in records {
            expected += 1;
            let Some(entry) = self.held.get(&number) else { return Err(format!("record {number} is not at the target")) };
            if entry.times != 1 {
                return Err(format!("record {number} is in effect {} times at the target", entry.times));
            }
            if entry.json != json {
                return Err(format!("record {number} is another one at the target"));
            }
        }
        match self.held.len() == expected {
            true => Ok(()),
            false => Err(format!("the target holds {} records; there are {expected}", self.held.len())),
        }
    }
}

impl Target for Liar {
    fn send(&mut self, _window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        let mut answers = vec![Answer::NotTried; records.len()];
        // Meters in any order, the records of each in theirs.
        let mut lanes: BTreeMap<u128, Vec<usize>> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let meter = record.names().map_or(0, |names| names.meter.as_u128());
            lanes.entry(meter).or_default().push(at);
        }
        let mut lanes: Vec<(u128, Vec<usize>)> = lanes.into_iter().collect();
        while !lanes.is_empty() {
            let (meter, lane) = lanes.swap_remove(self.random.index(lanes.len()));
            for at in lane {
                let record = &records[at];
                if self.now < self.away_until {
                    answers[at] = Answer::Unavailable { why: "away".to_owned(), after: None };
                    return answers;
                }
                let lie = if self.is_honest { 1000 } else { self.random.below(1000) };
                answers[at] = match lie {
                    // It took the record and gives no answer.
                    0..60 => {
                        self.take(record, meter);
                        Answer::InDoubt("no answer".to_owned())
                    }
                    60..120 => Answer::InDoubt("no answer".to_owned()),
                    120..180 => Answer::Later("500".to_owned()),
                    180..200 => Answer::Refused("400".to_owned()),
                    200..220 => {
                        Answer::Unavailable { why: "429".to_owned(), after: Some(self.random.below(900) as i64 * SECOND) }
                    }
                    220..240 => Answer::NotTried,
                    _ => {
                        self.take(record, meter);
                        Answer::Accepted
                    }
                };
                self.lies += u64::from(lie < 240);
                match answers[at] {
                    Answer::Accepted | Answer::Refused(_) => {}
                    Answer::Unavailable { .. } => return answers,
                    _ => break,
                }
            }
        }
        answers
    }

    fn repeat(&self) -> Repeat {
        self.repeat
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        if self.now < self.away_until {
            return Err(Error::new(flowmeter_engine::Kind::Unavailable, "away"));
        }
        let held = |record: &Outgoing<'_>| match self.held.get(&record.number) {
            None => Held::Missing,
            Some(entry) if entry.json == record.json => Held::Same,
            Some(_) => Held::Different("other bytes".to_owned()),
        };
        Ok(records.iter().map(held).collect())
    }
}
