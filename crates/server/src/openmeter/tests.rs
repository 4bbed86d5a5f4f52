//! Tests that need no server.

use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;
use flowmeter_node::openmeter::document;
use flowmeter_node::openmeter::meter::{KeptMeter, path, ulid};
use serde_json::{Value, json};

use super::{literal, recent};

fn meter(fields: &Value) -> Result<KeptMeter, String> {
    KeptMeter::read(fields.as_object().unwrap(), "default", Timestamp::from_nanos(1_700_000_000_000_000_000))
        .map_err(|refused| refused.field.unwrap_or_default())
}

fn numbered(n: usize) -> KeptMeter {
    let fields = json!({"slug": format!("m_{n}"), "aggregation": "SUM", "eventType": "t", "valueProperty": "$.v", "groupBy": {"a": "$.a", "b": "$['b.c']"}});
    KeptMeter { id: uuid::Uuid::from_u128(n as u128 + 1), operator: (n / 64) as u16, ..meter(&fields).unwrap() }
}

#[test]
fn definitions_are_checked() {
    let good = json!({"slug": "s", "aggregation": "SUM", "eventType": "t", "valueProperty": "$.v"});
    let table = [
        (json!({}), None),
        (json!({"slug": "a_b_2"}), None),
        (json!({"slug": "A"}), Some("slug")),
        (json!({"slug": "a__b"}), Some("slug")),
        (json!({"slug": "_a"}), Some("slug")),
        (json!({"slug": "a".repeat(65)}), Some("slug")),
        (json!({"aggregation": "MEDIAN"}), Some("aggregation")),
        (json!({"aggregation": "COUNT"}), Some("valueProperty")),
        (json!({"aggregation": "COUNT", "valueProperty": null}), None),
        (json!({"valueProperty": null}), Some("valueProperty")),
        (json!({"valueProperty": "v"}), Some("valueProperty")),
        (json!({"valueProperty": "$.v[0]"}), Some("valueProperty")),
        (json!({"eventType": ""}), Some("eventType")),
        (json!({"groupBy": {"camelCase": "$.x"}}), None),
        (json!({"groupBy": {"a-b": "$.x"}}), Some("groupBy.a-b")),
        (json!({"groupBy": {"a": "$.v"}}), Some("groupBy.a")),
        (json!({"groupBy": {"subject": "$.s"}}), Some("groupBy.subject")),
        (json!({"groupBy": []}), Some("groupBy")),
    ];
    for (change, field) in table {
        let mut fields = good.clone();
        fields.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(meter(&fields).err().as_deref(), field, "{change}");
    }
}

#[test]
fn properties_are_paths_into_the_data() {
    let table = [
        ("$.a", Some("data.a")),
        ("$.a.b", Some("data.a.b")),
        ("$['a b'].c", Some("data.a b.c")),
        ("$[\"a.b\"]", Some(r"data.a\.b")),
        ("$", None),
        ("a", None),
        ("$.", None),
        ("$.a[0]", None),
        ("$..a", None),
        ("$.*", None),
    ];
    for (property, expected) in table {
        assert_eq!(path(property, "").ok().as_deref(), expected, "{property}");
    }
}

#[test]
fn filters_are_read_as_python_writes_them() {
    let one =
        |key: &str, values: &[&str]| vec![(key.to_owned(), values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>())];
    let table = [
        ("{'model': 'gpt-4o'}", Some(one("model", &["gpt-4o"]))),
        ("{\"model\": [\"a\", 'b']}", Some(one("model", &["a", "b"]))),
        (r#"{'a': "it's", }"#, None),
        (r#"{'a': 'x\'y\\z\u00e9'}"#, Some(one("a", &["x'y\\zé"]))),
        ("{}", Some(Vec::new())),
        ("{'a': 1}", None),
        ("gpt", None),
        ("{'a': 'b'} x", None),
    ];
    for (text, expected) in table {
        assert_eq!(literal::read(text), expected, "{text}");
    }
}

#[test]
fn ids_are_ulids() {
    assert_eq!(ulid(uuid::Uuid::from_u128(0)), "0".repeat(26));
    assert_eq!(ulid(uuid::Uuid::max()), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    assert!(ulid(numbered(0).id).len() == 26);
}

#[test]
fn documents_compile_whatever_meters_there_are() {
    let mut gone = numbered(1);
    gone.deleting = true;
    for meters in [vec![], vec![numbered(0)], vec![gone.clone()], vec![numbered(0), gone], (0..130).map(numbered).collect()] {
        let document = document::write("default", &meters);
        let pipeline = Pipeline::read(&document).unwrap_or_else(|why| panic!("{why}\n{document}"));
        assert_eq!(pipeline.plan.meter_types.len(), meters.len());
        let rules: usize = pipeline.plan.processors.iter().map(|processor| processor.rules.len()).sum();
        assert_eq!(rules, meters.len());
    }
    assert_eq!(document::operator_with_room(&(0..130).map(numbered).collect::<Vec<_>>()), 2);
    assert_eq!(document::operator_with_room(&(0..128).filter(|n| *n != 5).map(numbered).collect::<Vec<_>>()), 0);
}

#[test]
fn events_tell_why_they_count_in_no_meter() {
    let meters = [numbered(0)];
    let event = |kind: &str, data: Value| json!({"type": kind, "data": data});
    let table = [
        (event("t", json!({"v": 1})), false),
        (event("t", json!({"v": "1.5"})), false),
        (event("t", json!({"v": "NaN"})), true),
        (event("t", json!({"v": null})), true),
        (event("t", json!({"v": {}})), true),
        (event("t", Value::Null), true),
        (event("other", json!({"v": 1})), true),
    ];
    for (event, expected) in table {
        assert_eq!(recent::flaw(&event, &meters).is_some(), expected, "{event}");
    }
}
