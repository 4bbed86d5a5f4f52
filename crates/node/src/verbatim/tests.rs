//! Texts go through unchanged.

use serde_json::json;

use crate::verbatim::*;

#[test]
fn members_are_added_as_they_were_sent() {
    let event = sent(br#"{"b":1E+2,"a":1842.00000000000000025,"a":-0}"#);
    let head = json!({"id": "x"});
    let made = Object::of(&head).with("event", &event).with_list("all", &[sent(b"1"), sent(b"2")]);
    let text = r#"{"id":"x","event":{"b":1E+2,"a":1842.00000000000000025,"a":-0},"all":[1,2]}"#;
    assert_eq!(made.finish().get(), text);
}

#[test]
fn an_object_may_begin_empty() {
    let made = Object::of(&json!({})).with("a \"name\"", &sent(b"null")).finish();
    assert_eq!(made.get(), r#"{"a \"name\"":null}"#);
    assert_eq!(Object::of(&json!(1)).finish().get(), "{}");
}

#[test]
fn bytes_that_are_not_json_become_text() {
    assert_eq!(sent(b"{\"a\":").get(), r#""{\"a\":""#);
    assert_eq!(sent(&[0xff, b'a']).get(), "\"\u{fffd}a\"");
}
