//! The scanner, on chosen lines and beside serde_json on random ones.

use proptest::prelude::*;

use super::*;
use crate::event::{Kind, Path};

fn batch_of(lines: &str) -> Batch {
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(lines.as_bytes());
    batch.block.seal();
    batch
}

fn decode(paths: &[&str], lines: &str) -> Batch {
    let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
    let mut batch = batch_of(lines);
    Scanner::new().decode(&Projection::new(&paths), &mut batch, 1 << 20);
    batch
}

fn shown(batch: &Batch, event: usize, width: u16) -> String {
    let mut out = Vec::new();
    for slot in 0..width {
        let leaf = batch.leaf(event, slot);
        if leaf.kind == Kind::Missing {
            out.push(b'-');
        } else {
            leaf.write_json(&mut out);
        }
        out.push(b' ');
    }
    String::from_utf8(out).unwrap().trim_end().to_owned()
}

/// Senders write blanks in different places; those of the last event are only a guess for the next.
#[test]
fn blanks_may_come_and_go_between_events() {
    let shapes =
        [r#"{"id":"x","data":{"n":1.50}}"#, r#"{"id": "x", "data": {"n": 1.50}}"#, r#"{ "id" : "x" , "data" : { "n" : 1.50 } }"#];
    for first in shapes {
        for second in shapes {
            let batch = decode(&["id", "data.n"], &format!("{first}\n{second}\n{first}"));
            assert_eq!(batch.faults, [], "{first} {second}");
            (0..3).for_each(|event| assert_eq!(shown(&batch, event, 2), r#""x" 1.50"#, "{first} {second}"));
        }
    }
}

#[test]
fn a_line_that_is_cut_off_is_named_as_such() {
    for (line, expected) in [
        (r#"{"id":"x","note":"abc"#, "the line ends inside a string, after column 21"),
        (r#"{"id":"x","note":"abc  "#, "the line ends inside a string, after column 21"),
        (r#"{"id":"x\n"#, "the line ends inside a string, after column 10"),
        (r#"{"id":"x\"#, "the line ends inside a string, after column 9"),
        (r#"{"id":"x\u00"#, "the line ends inside a string, after column 12"),
        (r#"{"id"#, "the line ends inside a string, after column 4"),
        (r#"{"id":"#, "the line ends after column 6: "),
        (r#"{"id":"x","#, "the line ends after column 10: "),
        (r#"{"id":12"#, "the line ends after column 8: expected `,` or `}`"),
        ("{\"id\":\"a\tb\"}", "a control character inside a string at column 9"),
        (r#"{"id":"\q"}"#, "an unknown escape at column 8"),
        (r#"{"id":"\u12"}"#, "an escape that is no character at column 8"),
    ] {
        for behind in ["", "\n", "\r\n", "\n{\"id\":\"next\"}\n"] {
            let batch = decode(&["id", "note"], &format!("{line}{behind}"));
            let detail = &batch.faults[0].detail;
            assert!(detail.starts_with(&format!("not a JSON object: {expected}")), "{line:?}, {behind:?}: {detail}");
        }
    }
}

#[test]
fn error_messages_do_not_depend_on_earlier_events() {
    let flawed = ["{\"id\": ", "{\"id\": \"x", "{\"id\":\"x\",}", "nothing", "[1]"];
    for line in flawed {
        let alone = decode(&["id", "n"], line);
        let after = decode(&["id", "n"], &format!("{{\"id\": \"a\",\"n\":1}}\n{{\"id\":\"b\",\"n\":2}}\n{line}"));
        let detail = |batch: &Batch| batch.faults.last().unwrap().detail.clone();
        assert_eq!(detail(&after), detail(&alone), "{line}");
    }
}

#[test]
fn fields_are_found_wherever_they_stand() {
    let paths = ["id", "data", "data.n", "data.user.plan", "a.b"];
    let cases = [
        (r#"{"id":"x","data":{"n":1.50,"user":{"plan":"pro"}}}"#, r#""x" {"n":1.50,"user":{"plan":"pro"}} 1.50 "pro" -"#),
        (
            r#"{ "data" : { "user" : { "plan" : null } , "n" : -0 } , "id" : true }"#,
            r#"true { "user" : { "plan" : null } , "n" : -0 } -0 null -"#,
        ),
        (r#"{"id":"a\"bA","data":"text","a":[1,{"b":2}]}"#, r#""a\"bA" "text" - - -"#),
        (r#"{"data":{"n":1},"data":{"user":{}}}"#, r#"- {"user":{}} - - -"#),
        (r#"{"id":1,"id":2}"#, "2 - - - -"),
        (r#"{"\u0069d":"escaped name"}"#, r#""escaped name" - - - -"#),
        ("{}", "- - - - -"),
        ("  {}  ", "- - - - -"),
    ];
    let lines = cases.map(|(line, _)| line).join("\r\n");
    let batch = decode(&paths, &lines);
    assert_eq!(batch.faults, []);
    for (event, (line, expected)) in cases.iter().enumerate() {
        assert_eq!(shown(&batch, event, 5), *expected, "{line}");
    }
}

#[test]
fn bad_lines_are_refused_alone_and_located() {
    let lines = "{\"id\":1}\n\nnot json\n{\"id\":2} x\n{\"id\":\"\\ud800\"}\n[1]\n{\"id\":01}\n{\"id\":\"tab\t\"}\n{\"id\":3";
    let batch = decode(&["id"], lines);
    assert_eq!(batch.len(), 8);
    let faults: Vec<_> = batch.faults.iter().map(|f| (batch.line(f.event as usize), f.detail.as_str())).collect();
    assert_eq!(faults.len(), 7, "{faults:?}");
    assert_eq!(faults[0], (2, "not a JSON object: it does not begin with `{` at column 1"));
    assert_eq!(faults[1], (3, "not a JSON object: more text after the end of the object at column 10"));
    assert_eq!(shown(&batch, 0, 1), "1");
    assert_eq!(shown(&batch, 2, 1), "-", "a refused event has no fields");
}

#[test]
fn bytes_that_are_not_utf8_spoil_one_event_only() {
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(b"{\"id\":\"\xff\"}\n{\"id\":\"\xc3\xa9\"}\n");
    batch.block.seal();
    Scanner::new().decode(&Projection::new(&[Path::parse("id").unwrap()]), &mut batch, 1 << 20);
    assert_eq!(batch.faults.len(), 1);
    assert_eq!(shown(&batch, 1, 1), "\"é\"");
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
    let deeper = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    assert_eq!(decode(&["b"], &deep).faults, []);
    assert_eq!(decode(&["b"], &deeper).faults.len(), 1);
    let mut batch = batch_of(r#"{"a":"0123456789"}"#);
    Scanner::new().decode(&Projection::new(&[]), &mut batch, 10);
    assert_eq!(batch.faults.len(), 1);
}

#[test]
fn a_document_is_cut_into_values() {
    let document = Document::new(b" {\"a\":[1,\n2]} , 7".to_vec());
    assert_eq!(document.value_end(0), Some(13));
    assert_eq!(document.value_end(15), Some(17));
    assert_eq!(Document::new(b"{\"a\"".to_vec()).value_end(0), None);
    assert_eq!(Document::new(Vec::new()).value_end(0), None);
}

/// The result of serde_json for the same line: an object whose every string is sound.
fn reference(line: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_str(line).ok()
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "[-]?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\ud83d\ude00\u0041\/""#.to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
    ];
    scalar.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof!["[abn]", any::<String>()];
        let member = (name, inner.clone()).prop_map(|(k, v)| format!("{} : {v}", serde_json::to_string(&k).unwrap()));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_serde_on_sound_and_broken_text(
        value in json(), cut in any::<prop::sample::Index>(), junk in "[\\[\\]{},:\"\\\\0-9a-z ]{0,2}", broken in any::<bool>(),
    ) {
        let mut line = format!("{{\"a\":{value},\"n\":1}}");
        if broken {
            let mut at = cut.index(line.len());
            while !line.is_char_boundary(at) { at -= 1; }
            line.insert_str(at, &junk);
        }
        if line.contains(['\n', '\r']) { return Ok(()); }
        let batch = decode(&["a", "n", "a.b", "a.n"], &line);
        let ours = batch.faults.is_empty();
        let theirs = reference(&line);
        // serde_json also refuses numbers beyond a float's range, which we keep as text.
        if theirs.is_none() && line.contains(['e', 'E']) { return Ok(()); }
        prop_assert_eq!(ours, theirs.is_some(), "{}: {:?}", line, batch.faults);
        let Some(theirs) = theirs else { return Ok(()) };
        let nested = |name: &str| theirs.get("a").and_then(|a| a.as_object()).and_then(|a| a.get(name));
        let expected = [theirs.get("a"), theirs.get("n"), nested("b"), nested("n")];
        for (slot, expected) in expected.into_iter().enumerate() {
            let leaf = batch.leaf(0, slot as u16);
            prop_assert_eq!(leaf.kind == Kind::Missing, expected.is_none(), "{} slot {}", line, slot);
            if let Some(expected) = expected {
                let mut text = Vec::new();
                leaf.write_json(&mut text);
                prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&text).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_scanner_with_habits_finds_what_a_fresh_one_finds(values in prop::collection::vec(json(), 1..8)) {
        let paths: Vec<Path> = ["a", "a.b", "n"].iter().map(|path| Path::parse(path).unwrap()).collect();
        let projection = Projection::new(&paths);
        let mut seasoned = Scanner::new();
        for value in values {
            let line = format!("{{\"a\": {value},\"n\" : {value}}}");
            if line.contains(['\n', '\r']) { continue; }
            let (mut old, mut new) = (batch_of(&line), batch_of(&line));
            seasoned.decode(&projection, &mut old, 1 << 20);
            Scanner::new().decode(&projection, &mut new, 1 << 20);
            for slot in 0..3 {
                prop_assert_eq!(old.leaf(0, slot), new.leaf(0, slot));
            }
        }
    }
}
