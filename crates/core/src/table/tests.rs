//! Contents of tables: checked, canonical, looked up.

use serde_json::Value;

use super::*;

fn table() -> Table {
    Table {
        name: "plans".to_owned(),
        key: vec!["customer".to_owned()],
        valid_from: Some("since".to_owned()),
        valid_to: Some("until".to_owned()),
        zone: Zone::named("Europe/Oslo").unwrap(),
        rows_max: 4,
        bytes_max: 1000,
        read: vec!["plan".to_owned()],
        has_rates: false,
        has_prices: false,
        origin: TableOrigin::Put,
        refresh: 0,
    }
}

fn rows(json: &str) -> Vec<Row> {
    let Value::Array(rows) = serde_json::from_str(json).unwrap() else { panic!("{json}") };
    let row = |(line, row)| match row {
        Value::Object(columns) => Row { line, columns: Ok(columns) },
        other => panic!("{other}"),
    };
    (1..).zip(rows).map(row).collect()
}

fn plan_of(content: &Content, customer: &str, at: &str) -> Option<String> {
    let mut key = Vec::new();
    key_of([Leaf::of_text(customer)].into_iter(), &mut key)?;
    let row = content.find(&key, Timestamp::parse_rfc3339(at.as_bytes()).unwrap())?;
    let mut shown = Vec::new();
    content.cell(row, 0).write_json(&mut shown);
    Some(String::from_utf8(shown).unwrap())
}

#[test]
fn the_row_that_holds_at_an_instant_is_found() {
    let json = r#"[{"customer":"a","plan":"old","until":"2026-01-10"},
        {"customer":"a","plan":"new","since":"2026-01-10"}, {"customer":7.0,"until":"2026-01-10T00:00:00Z"}]"#;
    let content = Content::new(&table(), rows(json)).unwrap();
    let cases = [
        // Midnight in Oslo.
        ("a", "2026-01-09T22:59:59Z", Some("\"old\"")),
        ("a", "2026-01-09T23:00:00Z", Some("\"new\"")),
        ("7", "2026-01-09T23:00:00Z", Some("null")),
        ("7", "2026-01-10T00:00:00Z", None),
        ("b", "2026-01-10T00:00:00Z", None),
    ];
    for (customer, at, expected) in cases {
        assert_eq!(plan_of(&content, customer, at).as_deref(), expected, "{customer} {at}");
    }
}

#[test]
fn equal_content_in_another_order_is_the_same_content() {
    let one = Content::new(&table(), rows(r#"[{"customer":1,"plan":"x"},{"plan":1.50,"customer":"b"}]"#)).unwrap();
    let other =
        Content::new(&table(), rows(r#"[{"plan":1.5,"customer":"b"},{"customer":1.0,"plan":"x"},{"plan":"x","customer":1}]"#));
    let other = other.unwrap();
    assert_eq!(one.canonical(), other.canonical());
    let text = String::from_utf8(one.canonical().to_vec()).unwrap();
    assert_eq!(text, "{\"customer\":1,\"plan\":\"x\"}\n{\"customer\":\"b\",\"plan\":1.5}");
}

#[test]
fn bad_content_is_refused_with_line_and_key() {
    let many = "[1,2,3,4,5]".replace(['1', '2', '3', '4', '5'], r#"{"customer":"a"}"#);
    let cases = [
        (r#"[{"customer":"a"},{"plan":"x"}]"#, 2, "", "key column `customer` is missing or null"),
        (r#"[{"customer":[1]}]"#, 1, "", "is neither text nor a number"),
        (r#"[{"customer":"a","plan":1},{"customer":"a","plan":2}]"#, 2, "a", "the row in line 1 has the same key"),
        (r#"[{"customer":"a","since":"2026-01-02","until":"2026-01-02"}]"#, 1, "a", "ends before it begins"),
        (r#"[{"customer":"a","since":"soon"}]"#, 1, "a", "`since` is \"soon\", which is no time"),
        (&many, 0, "", "5 rows; `rowsMax` is 4"),
    ];
    for (json, line, key, why) in cases {
        let refused = Content::new(&table(), rows(json)).unwrap_err();
        assert_eq!((refused.line, refused.key.as_str()), (line, key), "{refused}");
        assert!(refused.why.contains(why), "{refused}");
    }
    let rates = Table { has_rates: true, ..table() };
    let bad = Content::new(&rates, rows(r#"[{"customer":"USD","date":"2026-01-02","rate":0}]"#)).unwrap_err();
    assert!(bad.why.contains("above 0"), "{bad}");
}

#[test]
fn every_key_of_many_is_found() {
    let table = Table { rows_max: 20_000, bytes_max: 1 << 20, ..table() };
    let row = |n: u32| format!(r#"{{"customer":"c{n}","plan":{n},"since":"2026-01-0{}"}}"#, 1 + n % 2);
    let many: Vec<String> = (0..10_000).map(row).collect();
    let content = Content::new(&table, rows(&format!("[{}]", many.join(",")))).unwrap();
    assert_eq!(content.row_count(), 10_000);
    for n in 0..10_001u32 {
        let expected = (n < 10_000).then(|| n.to_string());
        assert_eq!(plan_of(&content, &format!("c{n}"), "2026-01-03T00:00:00Z"), expected);
    }
}

#[test]
fn the_longest_prefix_is_found() {
    let table = Table { valid_from: None, valid_to: None, ..table() };
    let json = r#"[{"customer":"47","plan":"no"},{"customer":"479","plan":"mobile"},{"customer":"","plan":"any"}]"#;
    let content = Content::new(&table, rows(json)).unwrap();
    for (text, expected) in [("4790001", "mobile"), ("4722", "no"), ("46", "any"), ("", "any")] {
        let row = content.find_prefix(text.as_bytes(), Timestamp::MIN).unwrap();
        assert_eq!(content.cell(row, 0), Leaf::of_text(expected), "{text}");
    }
}
