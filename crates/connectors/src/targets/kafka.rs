//! Topics of Kafka: a message for each record, there once.
//!
//! The producer is idempotent: its own repetitions are there once. A message that is sent again by another
//! producer would be there twice: after a restart, and after an attempt whose end is not known. So
//! messages are looked for before they are sent again. After a restart that is the end of each
//! partition, behind the last offset that was acknowledged; where records are sent once more on request,
//! the whole topic. Messages are known by a header with the id of their record.

mod letter;
mod tail;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use flowmeter_document::KafkaPlan;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};
use letter::{Letter, Writer};
use rdkafka::error::RDKafkaErrorCode;
use serde_json::{Map, Value, json};
use tail::Tail;

use crate::calls::Abandon;
use crate::kafka::sender::{Outcome, Post, Sender};
use crate::kafka::{Place, lasting};

/// Messages of a read-back that are remembered for the next one: about 200 MB.
const SEEN_MAX: usize = 4_000_000;

/// A target of topics.
pub(super) struct Topics {
    brokers: String,
    writer: Writer,
    sender: Sender,
    tail: Tail,
    /// The topic, if all records go to one.
    fixed: Option<String>,
    /// Topics that were there when messages were sent last.
    known: BTreeSet<String>,
    /// The offset behind the last acknowledged message of each partition.
    acknowledged: BTreeMap<Place, i64>,
    /// Records with smaller numbers may be there already.
    next: u64,
    /// As `acknowledged` was when the target was opened. The process before may have sent more.
    opened_at: BTreeMap<Place, i64>,
    /// Topics that were read from there to their end.
    looked_at: BTreeSet<String>,
    /// The records whose messages were there.
    found: HashSet<u128>,
    /// Records of which it is not known whether their messages are there.
    in_doubt: BTreeSet<u128>,
    /// Their messages are at these offsets or behind.
    in_doubt_from: BTreeMap<Place, i64>,
    needs_a_person: bool,
    seen: Seen,
}

/// The messages that were read back.
enum Seen {
    Nothing,
    /// By record: the fingerprint of its message.
    All(HashMap<u128, u64>),
    /// There were too many to remember.
    TooMany,
}

impl Topics {
    /// Creates the target without connecting.
    ///
    /// # Errors
    /// A setting is unknown, or a secret is missing.
    pub(super) fn new(plan: &KafkaPlan, memory: &Value, abandon: &Abandon) -> Result<Topics, Error> {
        let timeout = Duration::from_nanos(u64::try_from(plan.timeout).unwrap_or_default());
        let place = |(place, offset): (&String, &Value)| {
            let (topic, partition) = place.rsplit_once('/')?;
            Some(((topic.to_owned(), partition.parse().ok()?), offset.as_i64()?))
        };
        let known = memory.get("acknowledged").and_then(Value::as_object);
        let acknowledged: BTreeMap<Place, i64> = known.into_iter().flatten().filter_map(place).collect();
        Ok(Topics {
            brokers: plan.cluster.brokers.join(","),
            writer: Writer::new(plan)?,
            sender: Sender::new(&plan.cluster, timeout, abandon)?,
            tail: Tail::new(&plan.cluster, abandon)?,
            fixed: plan.fixed_topic.clone(),
            known: BTreeSet::new(),
            in_doubt_from: acknowledged.clone(),
            opened_at: acknowledged.clone(),
            looked_at: BTreeSet::new(),
            found: HashSet::new(),
            acknowledged,
            next: memory.get("next").and_then(Value::as_u64).unwrap_or_default(),
            in_doubt: BTreeSet::new(),
            needs_a_person: false,
            seen: Seen::Nothing,
        })
    }

    /// Checks that the brokers answer and have the topics of letters: a message for others would only be known
    /// to be in doubt.
    fn look_for_topics(&mut self, letters: &[Letter]) -> Result<(), Error> {
        let topics: BTreeSet<&String> = letters.iter().map(|letter| &letter.post.topic).collect();
        let unknown: Vec<&String> = topics.into_iter().filter(|topic| !self.known.contains(*topic)).collect();
        if unknown.is_empty() {
            return self.sender.look_at(None);
        }
        for topic in unknown {
            self.sender.look_at(Some(topic))?;
            self.known.insert(topic.clone());
        }
        Ok(())
    }

    /// Removes the letters whose messages are there; returns their places.
    fn take_out_those_there(&mut self, letters: &mut Vec<Letter>) -> Result<Vec<usize>, Error> {
        let unread = letters.iter().map(|letter| &letter.post.topic).filter(|topic| !self.looked_at.contains(*topic));
        let unread: BTreeSet<String> = unread.cloned().collect();
        if !unread.is_empty() {
            let (opened_at, found) = (&self.opened_at, &mut self.found);
            self.tail.read(&unread, &|place| opened_at.get(place).copied(), &mut |id, _| {
                found.insert(id);
            })?;
            self.looked_at.extend(unread);
        }
        let is_in_doubt = |letter: &Letter| self.in_doubt.contains(&letter.id);
        let is_old = |letter: &Letter| letter.number < self.next && !is_in_doubt(letter);
        let may_be_there = |letter: &&Letter| !self.found.contains(&letter.id) && (is_in_doubt(letter) || is_old(letter));
        let suspects: Vec<&Letter> = letters.iter().filter(may_be_there).collect();
        let wanted: BTreeSet<u128> = suspects.iter().map(|letter| letter.id).collect();
        let topics: BTreeSet<String> = suspects.iter().map(|letter| letter.post.topic.clone()).collect();
        let reads_all = suspects.iter().any(|letter| is_old(letter));
        let offsets = &self.in_doubt_from;
        let from = |place: &Place| if reads_all { None } else { offsets.get(place).copied() };
        let mut again = BTreeSet::new();
        if !wanted.is_empty() {
            self.tail.read(&topics, &from, &mut |id, _| {
                if wanted.contains(&id) {
                    again.insert(id);
                }
            })?;
        }
        self.in_doubt.retain(|id| !wanted.contains(id) && !self.found.contains(id));
        let is_there = |letter: &mut Letter| self.found.contains(&letter.id) || again.contains(&letter.id);
        Ok(letters.extract_if(.., is_there).map(|letter| letter.place).collect())
    }

    fn note(&mut self, letter: &Letter, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::There { partition, offset } => {
                // A topic that was made again begins with small offsets.
                self.acknowledged.insert((letter.post.topic.clone(), partition), offset + 1);
                Answer::Accepted
            }
            Outcome::Failed(code, why) => {
                use RDKafkaErrorCode::{
                    ClusterAuthorizationFailed, InvalidTopic, MessageSizeTooLarge, NotEnoughReplicas, SaslAuthenticationFailed,
                    TopicAuthorizationFailed, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
                };
                match code {
                    MessageSizeTooLarge => Answer::Refused(format!("{why}; raise `max.message.bytes` of the topic")),
                    InvalidTopic | UnknownPartition | UnknownTopic | UnknownTopicOrPartition => {
                        self.needs_a_person = true;
                        self.known.clear();
                        let why = format!("topic `{}`: {why}; create the topic, or correct its name", letter.post.topic);
                        Answer::Unavailable { why, after: None }
                    }
                    ClusterAuthorizationFailed | SaslAuthenticationFailed | TopicAuthorizationFailed => {
                        self.needs_a_person = true;
                        Answer::Unavailable { why, after: None }
                    }
                    NotEnoughReplicas => Answer::Unavailable { why, after: None },
                    _ => {
                        self.in_doubt.insert(letter.id);
                        Answer::InDoubt(why)
                    }
                }
            }
        }
    }
}

impl Target for Topics {
    fn probe(&mut self) -> Result<(), Error> {
        self.needs_a_person = false;
        let probed = self.sender.look_at(self.fixed.as_deref());
        self.needs_a_person = probed.as_ref().is_err_and(|why| why.kind == Kind::Invalid);
        probed
    }

    fn address(&self) -> String {
        self.brokers.clone()
    }

    fn needs_a_person(&self) -> bool {
        self.needs_a_person
    }

    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        self.needs_a_person = false;
        let mut answers: Vec<Answer> = vec![Answer::NotTried; records.len()];
        let mut letters = Vec::with_capacity(records.len());
        for (place, record) in records.iter().enumerate() {
            match self.writer.write(place, record) {
                Ok(letter) => letters.push(letter),
                Err(why) => answers[place] = Answer::Refused(why),
            }
        }
        // A refused record is never there: later ones of its meter are sent without it.
        match self.look_for_topics(&letters).and_then(|()| self.take_out_those_there(&mut letters)) {
            Ok(there) => there.into_iter().for_each(|place| answers[place] = Answer::Accepted),
            Err(why) => {
                self.needs_a_person = why.kind == Kind::Invalid;
                self.known.clear();
                for letter in &letters {
                    answers[letter.place] = Answer::Unavailable { why: why.to_string(), after: None };
                }
                return answers;
            }
        }
        if self.in_doubt.is_empty() {
            self.in_doubt_from = self.acknowledged.clone();
        }
        let mut stopped: BTreeSet<String> = BTreeSet::new();
        // Of each meter one record at a time: a later one must not be there without the one before.
        while !letters.is_empty() {
            let mut meters = BTreeSet::new();
            let is_first = |letter: &mut Letter| !stopped.contains(&letter.meter) && meters.insert(letter.meter.clone());
            let round: Vec<Letter> = letters.extract_if(.., is_first).collect();
            if round.is_empty() {
                break;
            }
            let outcomes = self.sender.send(&posts(&round));
            for (letter, outcome) in round.iter().zip(outcomes) {
                // A broker refuses all messages that came together when they are too large together.
                let outcome = match outcome {
                    Outcome::Failed(RDKafkaErrorCode::MessageSizeTooLarge, _) if round.len() > 1 => {
                        let mut alone = self.sender.send(&[&letter.post]);
                        alone.pop().unwrap_or(outcome)
                    }
                    outcome => outcome,
                };
                let answer = self.note(letter, outcome);
                if !matches!(answer, Answer::Accepted | Answer::Refused(_)) {
                    stopped.insert(letter.meter.clone());
                }
                answers[letter.place] = answer;
            }
        }
        if answers.iter().any(|answer| matches!(answer, Answer::Accepted | Answer::Refused(_))) {
            self.next = self.next.max(window.until);
        }
        answers
    }

    fn memory(&self) -> Value {
        let places = self.acknowledged.iter().map(|((topic, partition), offset)| (format!("{topic}/{partition}"), json!(offset)));
        json!({"next": self.next, "acknowledged": places.collect::<Map<String, Value>>()})
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn look_afresh(&mut self) {
        self.seen = Seen::Nothing;
        // Messages may have been removed since.
        self.found.clear();
        self.looked_at.clear();
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        let written = records.iter().map(|record| self.writer.write(0, record));
        let letters: Vec<Letter> = written.collect::<Result<_, _>>().map_err(|why| lasting(&why))?;
        let topics: BTreeSet<String> = letters.iter().map(|letter| letter.post.topic.clone()).collect();
        let held = |seen: &HashMap<u128, u64>| {
            let of = |letter: &Letter| match seen.get(&letter.id) {
                None => Held::Missing,
                Some(fingerprint) if *fingerprint == letter.fingerprint() => Held::Same,
                Some(_) => Held::Different("the message is another one".to_owned()),
            };
            letters.iter().map(of).collect()
        };
        // With one topic, what was read serves the next questions too.
        if let (Seen::All(seen), true) = (&self.seen, self.fixed.is_some()) {
            return Ok(held(seen));
        }
        let wanted: BTreeSet<u128> = letters.iter().map(|letter| letter.id).collect();
        let remembers = self.fixed.is_some() && matches!(self.seen, Seen::Nothing);
        let (mut all, mut mine, mut is_full) = (HashMap::new(), HashMap::new(), !remembers);
        self.tail.read(&topics, &|_| None, &mut |id, fingerprint| {
            if wanted.contains(&id) {
                mine.insert(id, fingerprint);
            }
            if !is_full {
                all.insert(id, fingerprint);
                is_full = all.len() > SEEN_MAX;
            }
        })?;
        self.seen = if is_full { Seen::TooMany } else { Seen::All(all) };
        Ok(held(&mine))
    }
}

fn posts(letters: &[Letter]) -> Vec<&Post> {
    letters.iter().map(|letter| &letter.post).collect()
}
