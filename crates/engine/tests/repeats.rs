//! Events that repeat an identity within a round get the verdicts of events taken one by one.

#![allow(clippy::unwrap_used)] // a failed test panics

mod support;

use flowmeter_core::time::Timestamp;
use flowmeter_core::verdict::{Reason, Verdict};
use support::{Layout, Outcome, STRAIGHT, Step, at, run};

const METER: &str = "key: 4b7c1f0e-23a5-4d68-9a1e-0c5d3f2b1a00";

/// A pipeline whose first operator deduplicates in a window.
fn pipeline(window: &str, types: &str) -> String {
    format!(
        "pipeline: repeats\nsource: {{ http: {{}} }}\noperators:\n  - dedupe: {{ window: {window} }}\n  - meter:\n      \
         {METER}\n      rules: [{{ category: use, value: data.value }}]\nmeterTypes:\n  - {{ name: Use, category: use, \
         resetSchedule: daily, {types} }}\n"
    )
}

/// A pipeline in which the ways of an event part after `dedupe` and meet again at the meter.
fn ways_that_meet() -> String {
    format!(
        "pipeline: repeats\nsource: {{ http: {{}} }}\noperators:\n  - {{ id: once, dedupe: {{ window: 1d }} }}\n  \
         - {{ id: left, from: once, map: {{ set: {{ data.side: \"'left'\" }} }} }}\n  \
         - {{ id: right, from: once, filter: {{ when: 'data.value > 0' }} }}\n  \
         - {{ id: meter, from: [left, right], meter: {{ {METER}, rules: [{{ category: use, value: data.value }}] }} }}\n\
         meterTypes:\n  - {{ name: Use, category: use, resetSchedule: daily }}\n"
    )
}

/// A pipeline that keeps state by key behind `dedupe`, so that a round is taken span by span.
fn in_order(window: &str) -> String {
    keeping(&format!("dedupe: {{ window: {window} }}"))
}

/// One in which an event may repeat itself: its children have the identities that it lists.
fn children_that_repeat() -> String {
    keeping("split: { path: data.ids, into: data.id }\n  - dedupe: { key: [data.id], window: 1d }")
}

fn keeping(operators: &str) -> String {
    format!(
        "pipeline: repeats\nsource: {{ http: {{}} }}\noperators:\n  - {operators}\n  \
         - rate: {{ quantity: data.value, set: data.amount, key: [subject], schedule: daily, \
         price: {{ model: graduated, tiers: [{{ upTo: 5, unit: 2 }}, {{ unit: 1 }}] }} }}\n  \
         - meter: {{ {METER}, rules: [{{ category: use, value: data.amount }}] }}\n\
         meterTypes:\n  - {{ name: Use, category: use, resetSchedule: daily }}\n"
    )
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Events of few identities within four days, many of which cannot be counted.
fn events(random: &mut Random, count: usize) -> Vec<String> {
    let identities = 1 + random.below(6);
    let event = |_| {
        let id = random.below(identities);
        let (day, hour) = (1 + random.below(4), random.below(24));
        let user = ["", r#","subject":"a""#, r#","subject":"b""#, r#","subject":"a""#][random.below(4) as usize];
        let value = ["1", "2.5", "\"many\"", "null", "-3", "4"][random.below(6) as usize];
        let ids = ["[1]", "[1,1]", "[1,2,1]", "[3,2]"][random.below(4) as usize];
        format!(
            r#"{{"specversion":"1.0","type":"t","source":"s","id":"{id}","time":"2026-03-0{day}T{hour:02}:00:00Z"{user},"data":{{"value":{value},"ids":{ids}}}}}"#
        )
    };
    (0..count).map(event).collect()
}

fn now() -> Timestamp {
    at("2026-03-05T00:00:00Z")
}

/// Runs events in steps of a number of them, and flushes.
fn in_steps(document: &str, events: &[String], per_step: usize, layout: Layout) -> Outcome {
    let mut steps: Vec<Step> = events.chunks(per_step).map(|events| Step::Events(now(), events.to_vec())).collect();
    steps.push(Step::Flush(now()));
    run(document, &steps, layout)
}

fn assert_same(document: &str, events: &[String], seed: u64) {
    let alone = in_steps(document, events, 1, STRAIGHT);
    for (threads, partitions, lines) in [(1, 1, 1000), (2, 3, 4), (1, 2, 1)] {
        let layout = Layout { threads, partitions, lines, ..STRAIGHT };
        let together = in_steps(document, events, events.len(), layout);
        let place = format!("seed {seed}, {layout:?}\n{document}{}", events.join("\n"));
        assert_eq!(together.verdicts, alone.verdicts, "{place}");
        assert_eq!(together.superseded, alone.superseded, "{place}");
        assert_eq!(together.parked, alone.parked, "{place}");
        assert_eq!(together.records, alone.records, "{place}");
    }
}

#[test]
fn a_round_gives_the_verdicts_of_events_taken_one_by_one() {
    let documents = [
        pipeline("forever", "autoCreate: true"),
        pipeline("1d", "autoCreate: true"),
        pipeline("day", "autoCreate: true"),
        pipeline("2h", "autoCreate: false"),
        pipeline("36h", "activeFrom: '2026-03-03T00:00:00Z'"),
        ways_that_meet(),
        in_order("1d"),
        in_order("3h"),
        children_that_repeat(),
    ];
    for seed in 0..600 {
        let mut random = Random(seed);
        let count = 2 + random.below(30) as usize;
        let events = events(&mut random, count);
        assert_same(&documents[seed as usize % documents.len()], &events, seed);
    }
}

fn same(count: usize, value: &str) -> Vec<String> {
    let event = format!(
        r#"{{"specversion":"1.0","type":"t","source":"s","id":"1","subject":"a","time":"2026-03-04T00:00:00Z","data":{{"value":{value}}}}}"#
    );
    vec![event; count]
}

#[test]
fn an_event_held_behind_one_that_is_parked_comes_before_later_ones() {
    let event = |day: u32, hour: u32, value: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"t","source":"s","id":"1","subject":"a","time":"2026-03-0{day}T{hour:02}:00:00Z","data":{{"value":{value}}}}}"#
        )
    };
    // The third is outside the window of the first, which is parked, but inside that of the second.
    let events = [event(1, 0, "\"many\""), event(1, 12, "1"), event(2, 5, "1")];
    let outcome = in_steps(&pipeline("1d", "autoCreate: true"), &events, 3, STRAIGHT);
    assert_eq!(outcome.verdicts, [Verdict::Parked(Reason::BadValue), Verdict::Counted, Verdict::Duplicate]);
}

#[test]
fn an_event_held_for_its_identity_alone_is_no_repetition() {
    let event = |day: u32| {
        format!(
            r#"{{"specversion":"1.0","type":"t","source":"s","id":"1","subject":"a","time":"2026-03-0{day}T00:00:00Z","data":{{"value":1}}}}"#
        )
    };
    // The third is held behind the second, which repeats the first, but is outside its window.
    let outcome = in_steps(&in_order("1d"), &[event(1), event(1), event(3)], 3, STRAIGHT);
    assert_eq!(outcome.verdicts, [Verdict::Counted, Verdict::Duplicate, Verdict::Counted]);
}

#[test]
fn many_events_with_one_identity_are_one_event() {
    let count = 20_000;
    let forever = pipeline("forever", "autoCreate: true");
    let outcome = in_steps(&forever, &same(count, "1"), count, STRAIGHT);
    assert_eq!((outcome.tally.counted, outcome.tally.duplicate), (1, count as u64 - 1));

    // None of them can be counted, so none repeats another.
    let outcome = in_steps(&forever, &same(count, "\"many\""), count, STRAIGHT);
    assert_eq!((outcome.tally.parked.iter().sum::<u64>(), outcome.tally.duplicate), (count as u64, 0));
    let without_meter = pipeline("forever", "autoCreate: false");
    let outcome = in_steps(&without_meter, &same(count, "1"), count, STRAIGHT);
    assert_eq!((outcome.tally.parked.iter().sum::<u64>(), outcome.tally.duplicate), (count as u64, 0));
}
