//! The CloudEvents HTTP binding and JSON format, rule by rule.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::BOUNDS;
use crate::api::door::{Form, Knocking, Needs, read};
use crate::problem::{Code, Refused};

const MINIMAL: [(&str, &[u8]); 4] = [("ce-specversion", b"1.0"), ("ce-id", b"1"), ("ce-source", b"/s"), ("ce-type", b"t")];

fn map(headers: &[(&str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    map
}

/// A request as the server reads it: the form of its headers, then its body.
fn request(headers: &HeaderMap, body: &[u8]) -> Result<Knocking, Refused> {
    let form = Form::of(headers)?;
    read(form, Needs::Nothing, headers, body.to_vec(), Vec::new(), BOUNDS)
}

fn event(headers: &[(&str, &[u8])], body: &[u8]) -> Value {
    let taken = request(&map(headers), body).unwrap();
    assert_eq!(taken.admitted, 1, "{:?}", taken.rejected);
    serde_json::from_slice(&taken.letter).unwrap()
}

#[test]
fn header_values_are_unquoted_then_percent_decoded() {
    let cases: [(&[u8], &str); 15] = [
        (b"plain", "plain"),
        (b"  blanks around  ", "blanks around"),
        (b"blank%20encoded", "blank encoded"),
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b"lower%c3%a9", "loweré"),
        (b"%41%42", "AB"),
        (b"one%2520round", "one%20round"),
        (b"\"quoted\"", "quoted"),
        (b"\"with blanks\"", "with blanks"),
        (b"\"an \\\"inner\\\" quote\"", "an \"inner\" quote"),
        (b"\"a\\\\b\"", "a\\b"),
        (b"\"then%20decoded\"", "then decoded"),
        (b"a\\b", "a\\b"),
        (b"100%", "100%"),
        (b"in\"side", "in\"side"),
    ];
    for (value, expected) in cases {
        let mut headers = MINIMAL.to_vec();
        headers[1].1 = value;
        let id = event(&headers, b"")["id"].clone();
        assert_eq!(id, expected, "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn different_header_values_are_different_ids() {
    let ids: [&[u8]; 6] = [b"a", b"\"a b\"", b"%22a%22", b"\"\\\"a\"", b"\"a\\\"\"", b"a%5C"];
    let mut seen: Vec<Value> = Vec::new();
    for id in ids {
        let mut headers = MINIMAL.to_vec();
        headers[1].1 = id;
        let id = event(&headers, b"")["id"].clone();
        assert!(!seen.contains(&id), "{id} again");
        seen.push(id);
    }
}

#[test]
fn headers_that_cannot_be_decoded_refuse_the_request_and_are_named() {
    let cases: [(&str, &[u8]); 10] = [
        ("ce-subject", "Zoë".as_bytes()),
        ("ce-subject", b"Zo\xEB"),
        ("ce-subject", b"%C0%A0"),
        ("ce-subject", b"%FF"),
        ("ce-subject", b"\"open\\\""),
        ("ce-subject", b"\"a\"b\""),
        ("ce-datacontenttype", b"application/json"),
        ("ce-data", b"{}"),
        ("ce-id", b"2"),
        ("ce-extension", b"\x80"),
    ];
    for (name, value) in cases {
        let mut headers = MINIMAL.to_vec();
        headers.push((name, value));
        let refused = request(&map(&headers), b"").unwrap_err();
        let told = (refused.code, refused.field.as_deref());
        assert_eq!(told, (Code::Invalid, Some(name)), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn headers_of_an_event_need_its_specversion() {
    let json: (&str, &[u8]) = ("content-type", b"application/json");
    let lines: (&str, &[u8]) = ("content-type", b"application/x-ndjson");
    for headers in [&[MINIMAL[1], json][..], &[("ce-subject", &b"anna"[..]), lines], &MINIMAL[1..]] {
        let refused = request(&map(headers), b"{\"subject\":\"bob\"}").unwrap_err();
        assert_eq!((refused.code, refused.field.as_deref()), (Code::Invalid, Some("ce-specversion")));
    }
    // In structured mode the body holds, and headers may repeat its attributes.
    let structured: (&str, &[u8]) = ("content-type", b"application/cloudevents+json; charset=utf-8");
    let body = br#"{"specversion":"1.0","id":"body","source":"s","type":"t"}"#;
    assert_eq!(event(&[structured, ("ce-id", b"header")], body)["id"], "body");
    let refused = event_refused(&[MINIMAL[0], MINIMAL[1], MINIMAL[2]], b"");
    assert_eq!(refused, "`type` is to be text that is not empty");
    let mut old = MINIMAL.to_vec();
    old[0].1 = b"0.3";
    assert_eq!(event_refused(&old, b""), "`specversion` is to be \"1.0\"");
}

fn event_refused(headers: &[(&str, &[u8])], body: &[u8]) -> String {
    let taken = request(&map(headers), body).unwrap();
    assert_eq!((taken.admitted, taken.rejected.len()), (0, 1));
    taken.rejected[0].detail.clone()
}

#[test]
fn data_of_a_body_is_what_its_content_type_says() {
    let cases: [(&[u8], &[u8], &str, Value); 10] = [
        (b"application/json", b"{\"n\":\n1}", "data", json!({"n": 1})),
        (b"application/json; charset=utf-8", b"[1]", "data", json!([1])),
        (b"Application/JSON", b"1", "data", json!(1)),
        (b"application/vnd.acme+json;v=1", b"\"x\"", "data", json!("x")),
        (b"text/json", b"null", "data", json!(null)),
        (b"text/plain", b"{\"n\":1}", "data", json!("{\"n\":1}")),
        (b"application/jsonl", b"{}", "data", json!("{}")),
        (b"application/octet-stream", b"\xFF\x00", "data_base64", json!("/wA=")),
        // Without a content type nothing is assumed.
        (b"", b"{\"n\":1}", "data_base64", json!("eyJuIjoxfQ==")),
        (b"", b"\xFF", "data_base64", json!("/w==")),
    ];
    for (content_type, body, member, expected) in cases {
        let mut headers = MINIMAL.to_vec();
        if !content_type.is_empty() {
            headers.push(("content-type", content_type));
        }
        let event = event(&headers, body);
        let shown = String::from_utf8_lossy(content_type);
        assert_eq!(event[member], expected, "{shown}: {event}");
        let other = if member == "data" { "data_base64" } else { "data" };
        assert!(event.get(other).is_none(), "{shown}: {event}");
        assert_eq!(event["datacontenttype"].as_str().unwrap_or_default(), shown);
    }
    let mut broken = MINIMAL.to_vec();
    broken.push(("content-type", b"application/json"));
    assert_eq!(request(&map(&broken), b"{\"n\":").unwrap_err().code, Code::BadJson);
    let other: &[(&str, &[u8])] = &[("content-type", b"application/json\xFF")];
    assert_eq!(request(&map(other), b"{}").unwrap_err().code, Code::UnsupportedMediaType);
}

fn structured(members: &str) -> Result<Knocking, Refused> {
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{members}}}"#);
    request(&map(&[("content-type", b"application/cloudevents-batch+json")]), format!("[{event}]").as_bytes())
}

#[test]
fn json_in_base64_becomes_data() {
    let base64 = |data: &str| data_encoding::BASE64.encode(data.as_bytes());
    let cases = [
        ("application/json", "{\"n\":\n 1.10}", true),
        ("application/json; charset=utf-8", "[1]", true),
        ("application/vnd.acme+json", " \"text\" ", true),
        ("", "{\"n\":1}", true),
        ("", "no JSON", false),
        ("", "1,\"subject\":\"other\"", false),
        ("text/plain", "{\"n\":1}", false),
        ("application/octet-stream", "1", false),
    ];
    for (content_type, data, is_json) in cases {
        let content_type_member = match content_type {
            "" => String::new(),
            known => format!("\"datacontenttype\":\"{known}\","),
        };
        let taken = structured(&format!("{content_type_member}\"data_base64\":\"{}\"", base64(data))).unwrap();
        assert_eq!(taken.admitted, 1, "{content_type} {data}: {:?}", taken.rejected);
        let line = String::from_utf8(taken.letter).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        match is_json {
            true => {
                assert_eq!(event["data"], serde_json::from_str::<Value>(data).unwrap(), "{line}");
                assert!(event.get("data_base64").is_none(), "{line}");
            }
            false => assert_eq!(event["data_base64"], base64(data), "{line}"),
        }
        assert_eq!((&event["id"], event.get("subject")), (&json!("1"), None), "{line}");
    }
    let taken = structured(&format!("\"data_base64\":\"{}\"", base64("{\"n\":1.10}"))).unwrap();
    let line = String::from_utf8(taken.letter).unwrap();
    assert!(line.contains("\"data\":{\"n\":1.10}"), "no digit is lost: {line}");
}

#[test]
fn data_that_breaks_the_format_is_rejected_with_its_place() {
    let deep = data_encoding::BASE64.encode(format!("{}{}", "[".repeat(128), "]".repeat(128)).as_bytes());
    let json = "\"datacontenttype\":\"application/json\"";
    let cases = [
        ("\"data\":{},\"data_base64\":\"e30=\"".to_owned(), "exclude each other"),
        ("\"data\":null,\"data_base64\":\"e30=\"".to_owned(), "exclude each other"),
        ("\"data_base64\":\"e30\"".to_owned(), "is not Base64"),
        ("\"data_base64\":\"e3 0=\"".to_owned(), "is not Base64"),
        ("\"data_base64\":\"_-8=\"".to_owned(), "is not Base64"),
        ("\"data_base64\":7".to_owned(), "is to be Base64 in text"),
        ("\"data_base64\":{}".to_owned(), "is to be Base64 in text"),
        (format!("{json},\"data_base64\":\"bm8=\""), "is not JSON, but `datacontenttype`"),
        (format!("{json},\"data_base64\":\"/w==\""), "is not JSON, but `datacontenttype`"),
        (format!("{json},\"data_base64\":\"{deep}\""), "nested too deeply"),
    ];
    for (members, why) in cases {
        let taken = structured(&members).unwrap();
        let told = taken.rejected.first().map(|one| (one.index, one.id.as_deref(), one.reason));
        assert_eq!(told, Some((0, Some("1"), "not_cloudevent")), "{members}");
        assert!(taken.rejected[0].detail.contains(why), "{members}: {}", taken.rejected[0].detail);
    }
    // An unset member is as if it were not there, and other objects have no such rule.
    assert_eq!(structured("\"data\":1,\"data_base64\":null").unwrap().admitted, 1);
    let plain = map(&[("content-type", b"application/json")]);
    assert_eq!(request(&plain, br#"{"data":1,"data_base64":"?"}"#).unwrap().admitted, 1);
}
