//! The contract, as one function that every target goes through.

use std::path::Path;
use std::sync::Arc;

use flowmeter_connectors::Abandon;
use flowmeter_connectors::targets::{Around, open};
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use serde_json::Value;

/// A clock that does not advance.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::parse_rfc3339(b"2026-02-03T00:00:00Z").unwrap()
    }
}

/// Returns the record of the contract's example, for a meter and with its own id.
pub(crate) fn record(meter: u64, number: u64) -> String {
    format!(
        r#"{{"carryFirst":{{}},"carryLast":{{"a":"tab\there"}},"createdAt":"2026-01-01T00:00:00.000Z","deleteOnReset":false,"groups":[{{"fields":{{"m":"x,\"y\""}},"key":"m:x","value":0.10}}],"id":"00000000-0000-4000-8000-{meter:012}","meterKey":"a1f8797b-c827-4483-b6cf-6d3d3baa18a7","meterMetaData":{{"eventCount":3,"firstEvent":"2026-01-02T00:00:00.000Z","lastEvent":"2026-01-03T00:00:00.000Z","recordId":"10000000-0000-4000-8000-{number:012}","revision":0}},"meterTypeId":"b1f8797b-c827-4483-b6cf-6d3d3baa18a7","meterTypeName":"LLM tokens","periodEnd":"2026-02-01T00:00:00.000Z","periodStart":"2026-01-01T00:00:00.000Z","timezone":"Etc/UTC","unit":"tokens","updatedAt":"2026-01-03T00:00:00.000Z","userId":"user{meter}@example.com","value":12345678901234567890.123456789012345678}}"#
    )
}

/// Opens the only target of a document, with its state.
pub(crate) fn target(yaml: &str, folder: &Path, memory: &Value) -> Box<dyn Target> {
    with_switch(yaml, folder, memory, &Abandon::default())
}

/// Opens a target with the switch that cancels its requests.
pub(crate) fn with_switch(yaml: &str, folder: &Path, memory: &Value, abandon: &Abandon) -> Box<dyn Target> {
    let document = format!(
        "pipeline: p\nsource: {{ http: {{}} }}\noperators:\n  - meter: {{ key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7, rules: [{{ category: llm }}] }}\nmeterTypes:\n  - {{ name: LLM tokens, category: llm }}\ntargets:\n{yaml}"
    );
    let pipeline = Pipeline::read(&document).unwrap_or_else(|problems| panic!("{problems}"));
    let around = Around {
        folder,
        owner: "p/t".to_owned(),
        pipeline: "p",
        memory: Some(memory),
        clock: Arc::new(Still),
        abandon: abandon.clone(),
    };
    open(&pipeline.targets[0], &around).unwrap().unwrap()
}

/// Sends records of a span; meters take turns.
pub(crate) fn send(target: &mut dyn Target, span: std::ops::Range<u64>) -> Vec<Answer> {
    with_records(span.clone(), |records| target.send(Span { first: span.start, until: span.end }, records))
}

/// Returns what a target holds of the records of a span.
pub(crate) fn held(target: &mut dyn Target, span: std::ops::Range<u64>) -> Option<Vec<Held>> {
    if !target.can_be_asked() {
        return None;
    }
    target.look_afresh();
    Some(with_records(span, |records| target.read_back(records).unwrap()))
}

fn with_records<T>(span: std::ops::Range<u64>, act: impl FnOnce(&[Outgoing<'_>]) -> T) -> T {
    let texts: Vec<(u64, String)> = span.map(|number| (number, record(number % 3, number))).collect();
    let records: Vec<Outgoing<'_>> =
        texts.iter().map(|(number, text)| Outgoing { number: *number, json: text.as_bytes() }).collect();
    act(&records)
}

/// Checks the contract of every target. `reopen` opens it again with its state; `lose` removes
/// record 1 from it, where that is possible.
pub(crate) fn keeps_to_it(reopen: &dyn Fn(&Value) -> Box<dyn Target>, lose: Option<&dyn Fn()>, count: &dyn Fn() -> usize) {
    let mut target = reopen(&Value::Null);
    let reads = held(target.as_mut(), 0..3).is_some();
    if reads {
        assert_eq!(held(target.as_mut(), 0..3), Some(vec![Held::Missing; 3]), "nothing is there yet");
    }
    assert_eq!(send(target.as_mut(), 0..10), vec![Answer::Accepted; 10]);
    assert_eq!(count(), 10);
    let before = target.memory();
    assert_eq!(send(target.as_mut(), 10..15), vec![Answer::Accepted; 5]);
    assert_eq!(count(), 15);
    // A crash: the window was sent, but not acknowledged.
    drop(target);
    let mut target = reopen(&before);
    assert_eq!(send(target.as_mut(), 10..15), vec![Answer::Accepted; 5]);
    assert_eq!(count(), 15, "a window that is sent again changes nothing");
    assert_eq!(send(target.as_mut(), 15..16), vec![Answer::Accepted]);
    // On request, a record that is already there.
    assert_eq!(send(target.as_mut(), 2..3), vec![Answer::Accepted]);
    assert_eq!(count(), 16, "a record that is sent again changes nothing");
    if reads {
        assert_eq!(held(target.as_mut(), 0..16), Some(vec![Held::Same; 16]));
        assert_eq!(held(target.as_mut(), 15..18), Some(vec![Held::Same, Held::Missing, Held::Missing]));
    }
    if let Some(lose) = lose {
        lose();
        let held = held(target.as_mut(), 0..3).unwrap();
        assert_eq!(held[1], Held::Missing, "{held:?}");
        assert_eq!(send(target.as_mut(), 1..2), vec![Answer::Accepted]);
        let held = super::contract::held(target.as_mut(), 1..2).unwrap();
        assert_eq!(held, [Held::Same], "what was lost is there again");
    }
}
