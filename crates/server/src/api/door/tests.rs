//! Every form of a body, and the refusals of each.

mod binding;

use super::*;

const BOUNDS: Bounds = Bounds { event_bytes_max: 1_000, events_max: 3, depth_max: JSON_DEPTH_MAX };
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

fn read_text(form: Form, headers: &[(&'static str, &str)], body: &str) -> Result<Knocking, Refused> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    read(form, Needs::Nothing, &map, body.into(), Vec::new(), BOUNDS)
}

fn lines(form: Form, body: &str) -> String {
    String::from_utf8(read_text(form, &[], body).unwrap().letter).unwrap()
}

#[test]
fn every_form_becomes_lines() {
    assert_eq!(lines(Form::Structured, EVENT), format!("{EVENT}\n"));
    assert_eq!(lines(Form::Structured, &EVENT.replace(',', ",\r\n ")), format!("{}\n", EVENT.replace(',', ",   ")));
    assert_eq!(lines(Form::Batched, &format!(" [ {EVENT} ,\n{EVENT}] ")), format!("{EVENT}\n{EVENT}\n"));
    assert_eq!(lines(Form::Batched, "[]"), "");
    assert_eq!(lines(Form::Plain, r#"{"a":1}"#), "{\"a\":1}\n");
    assert_eq!(lines(Form::Plain, r#"[{"a":1},{"b":2}]"#), "{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(lines(Form::Lines, "{\"a\":1}\r\n\n{\"b\":2}"), "{\"a\":1}\n{\"b\":2}\n");
}

#[test]
fn binary_headers_are_decoded() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-subject", "Euro%20%E2%82%AC"),
        ("content-type", "application/json"),
    ];
    let knocking = read_text(Form::Binary, &headers, "{\n\"n\":1}").unwrap();
    let event: serde_json::Value = serde_json::from_slice(&knocking.letter).unwrap();
    assert_eq!(event["subject"], "Euro €");
    assert_eq!(event["data"]["n"], 1);
}

#[test]
fn rejected_events_carry_their_index() {
    let cases = [
        (Form::Lines, "{\"a\":1}\nnonsense\n".to_owned(), 1, "not_json"),
        (
            Form::Batched,
            format!("[{EVENT},{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"\",\"type\":\"t\"}}]"),
            1,
            "not_cloudevent",
        ),
        (Form::Batched, "[{}]".to_owned(), 0, "not_cloudevent"),
        (Form::Plain, "[1]".to_owned(), 0, "not_json"),
        (Form::Plain, "{\"specversion\":\"2\"}".to_owned(), 0, "not_cloudevent"),
        (Form::Lines, format!("{{\"a\":\"{}\"}}", "x".repeat(1_000)), 0, "too_large"),
    ];
    for (form, body, index, reason) in cases {
        let knocking = read_text(form, &[], &body).unwrap();
        assert_eq!(knocking.rejected.len(), 1, "{body}");
        assert_eq!((knocking.rejected[0].index, knocking.rejected[0].reason), (index, reason), "{body}");
    }
}

#[test]
fn openmeter_needs_a_subject() {
    let with = EVENT.replace('}', ",\"subject\":\"u\"}");
    let text = with.replace('}', ",\"data\":\"x\"}");
    let xml = with.replace('}', ",\"datacontenttype\":\"application/xml\"}");
    for (needs, body, admitted) in [
        (Needs::Nothing, "{}", 1),
        (Needs::CloudEvent, "{}", 0),
        (Needs::CloudEvent, EVENT, 1),
        (Needs::Subject, EVENT, 0),
        (Needs::Subject, &with, 1),
        (Needs::CloudEvent, &text, 1),
        (Needs::Subject, &text, 0),
        (Needs::Subject, &xml, 0),
    ] {
        let knocking = read(Form::Plain, needs, &HeaderMap::new(), body.into(), Vec::new(), BOUNDS).unwrap();
        assert_eq!(knocking.admitted, admitted, "{needs:?} {body}");
    }
}

#[test]
fn bodies_without_events_are_refused() {
    for (form, body) in
        [(Form::Structured, ""), (Form::Batched, "{}"), (Form::Batched, "[{}"), (Form::Plain, "[{},]"), (Form::Plain, " ")]
    {
        assert!(read_text(form, &[], body).is_err(), "{form:?} {body}");
    }
    assert_eq!(read_text(Form::Lines, &[], "{}\n{}\n{}\n{}\n").unwrap_err().code, Code::TooMany);
}

#[test]
fn an_event_is_rejected_beyond_the_depth_of_the_setting() {
    for (event, reason) in [
        (r#"{"a":{"b":[[1]]}}"#, None),
        (r#"{"a":{"b":[[[1]]]}}"#, Some("too_deep")),
        (r#"{"a":"[[[[[[[[","b":{}}"#, None),
        (r#"{"a":[],"b":[],"c":[],"d":[],"e":[]}"#, None),
    ] {
        for form in [Form::Lines, Form::Plain] {
            let bounds = Bounds { depth_max: 4, ..BOUNDS };
            let knocking = read(form, Needs::Nothing, &HeaderMap::new(), event.into(), Vec::new(), bounds).unwrap();
            assert_eq!(knocking.rejected.first().map(|rejected| rejected.reason), reason, "{event}");
        }
    }
    let deepest = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(read_text(Form::Lines, &[], &deepest).unwrap().rejected[0].reason, "too_deep");
}
