//! Expressions and conditions on one event, as tables.

use super::condition::Literal;
use super::*;
use crate::event::json::{Projection, Scanner};

#[derive(Default)]
struct Slots(Vec<Path>);

impl Fields for Slots {
    fn slot(&mut self, path: &Path) -> u16 {
        let found = self.0.iter().position(|known| known == path);
        found.unwrap_or_else(|| {
            self.0.push(path.clone());
            self.0.len() - 1
        }) as u16
    }
}

const EVENT: &str = r#"{"n":10.4,"u":2,"text":"Hej, \"du\"","time":"2024-03-10T07:30:15.250Z","none":null,"yes":true,"data":{"list":[1,2],"items":[{"price":0.10,"n":1,"tag":"a"},{"price":0.2,"n":2}],"API name":"x","big":99999999999999999999}}"#;

fn on_event<T>(slots: &Slots, run: impl FnOnce(&Batch) -> T) -> T {
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(EVENT.as_bytes());
    batch.block.seal();
    Scanner::new().decode(&Projection::new(&slots.0), &mut batch, 1 << 20);
    assert_eq!(batch.faults, []);
    run(&batch)
}

fn value(text: &str) -> String {
    let mut slots = Slots::default();
    let program = match Program::compile(text, &mut slots) {
        Ok(program) => program,
        Err(why) => return format!("does not compile: {why}"),
    };
    on_event(&slots, |batch| match program.evaluate(batch, 0).and_then(Value::into_field) {
        Ok((_, bytes)) => String::from_utf8(bytes.into_owned()).unwrap(),
        Err(why) => format!("error: {why}"),
    })
}

#[test]
fn values_are_exact() {
    for (text, expected) in [
        ("n * u", "20.8"),
        ("round(n * u)", "21"),
        ("0.1 + 0.2", "0.3"),
        ("7 / 2", "3.5"),
        ("round(1 / 3, 4)", "0.3333"),
        ("round(2 / 3, 18)", "0.666666666666666667"),
        ("ceil(123.456, -2)", "200"),
        ("floor(-0.5)", "-1"),
        ("trunc(-1 / 3, 2)", "-0.33"),
        ("7 % 4", "3"),
        ("-n", "-10.4"),
        ("decimal(\"0.000000000000000001\") * 3", "0.000000000000000003"),
        ("data.big + 0.5", "99999999999999999999.5"),
        ("n > 10 && text.startsWith(\"Hej\")", "true"),
        ("text", "Hej, \"du\""),
        ("size(text)", "9"),
        ("text.contains(\"\\\"du\\\"\")", "true"),
        ("upper(text).substring(0, 3) + \"!\"", "HEJ!"),
        ("event[\"n\"] == n && data[\"API name\"] == \"x\"", "true"),
        ("has(event.none) && !has(event.nothing) && nothing == null", "true"),
        ("none == null ? 1 : 2", "1"),
        ("u in [1, 2, \"2\"]", "true"),
        ("\"2\" in [1, 2]", "false"),
        ("text.matches(\"^Hej,.*du\\\"$\")", "true"),
        ("coalesce(nothing, none, u)", "2"),
        ("max(1, n, u)", "10.4"),
        ("timestamp(time) - timestamp(\"2024-03-10T07:30:00Z\")", "15.25"),
        ("timestamp(time) + duration(\"1h30m\")", "2024-03-10T09:00:15.250Z"),
        ("timestamp(time).getHours(\"America/New_York\")", "3"),
        ("getDayOfWeek(time)", "0"),
        ("string(n) + \"/\" + string(yes)", "10.4/true"),
        ("[n, text, null]", "[10.4,\"Hej, \\\"du\\\"\",null]"),
        ("data.list", "[1,2]"),
        ("false && (1 / 0 > 1)", "false"),
        ("1 + 2 * 3 - 4 / 2", "5"),
        ("10 - 3 - 2", "5"),
        ("-2 - -3", "1"),
        ("!yes == false", "true"),
        ("1 < 2 == true", "true"),
        ("yes || no && no", "true"),
        ("false ? 1 : true ? 2 : 3", "2"),
        ("0x1F + 5u", "36"),
        ("1.5e3 + .5 + 2E-2", "1500.52"),
        ("0.123456789012345678", "0.123456789012345678"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ("'a\\'b' + \"\\x41\\u00f8\\101\" + r'\\d'", "a'bAøA\\d"),
        ("\"\"\"two\nlines \"quoted\" \"\"\"", "two\nlines \"quoted\" "),
        ("n // a comment\n + 1", "11.4"),
        ("data.`API name`", "x"),
        ("[1, 2,]", "[1,2]"),
        ("(1 / 0 > 1) || true", "true"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn lists_are_looked_through() {
    for (text, expected) in [
        ("[1].all(x, x > 0)", "true"),
        ("data.list.all(x, x > 1)", "false"),
        ("data.list.exists(x, x > 1)", "true"),
        ("data.list.exists_one(x, x > 0)", "false"),
        ("data.list.filter(x, x > 1)", "[2]"),
        ("data.list.map(x, x * n)", "[10.4,20.8]"),
        ("data.list.map(x, x > 1, x + 1)", "[3]"),
        ("data.list[1]", "2"),
        ("data.list[5] == null", "true"),
        ("size(data.list)", "2"),
        ("sum(data.list)", "3"),
        ("sum([])", "0"),
        ("2 in data.list", "true"),
        ("nothing.all(x, x > 0)", "true"),
        ("data.items[0].price", "0.1"),
        ("sum(data.items.map(i, i.price * i.n))", "0.5"),
        ("data.items.filter(i, has(i.tag)).map(i, i.tag)", r#"["a"]"#),
        ("data.items.exists(i, i.price == 0.1)", "true"),
        ("data.items.map(i, data.list.filter(x, x > i.n))", "[[2],[]]"),
        ("data.items.map(i, i.none)", "[null,null]"),
        ("data[\"list\"][0]", "1"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn expressions_without_a_result_report_the_reason() {
    for (text, complaint) in [
        ("1 / 3", "no exact decimal; write round"),
        ("1 / 0", "division by zero"),
        ("n + text", "cannot add the number 10.4 and the text"),
        ("nothing + 1", "cannot add null and the number 1"),
        ("text > 5", "have no order"),
        ("data.big * 10", "no exact decimal of 38 digits"),
        ("decimal(text)", "not a decimal number"),
        ("timestamp(text)", "is no RFC 3339 time"),
        ("yes ? 1 : text > 1", "1"),
        ("!n", "where true or false is needed"),
        ("{\"a\": 1}", "an expression makes one value"),
        ("data.list.map(x, x, x, x)", "does not compile: "),
        ("data.list[0].a", "the number 1 has no `a`"),
        ("data.list[0.5]", "an index is a whole number"),
        ("data.list.exists(x, x)", "where true or false is needed"),
        ("sum([1, text])", "`sum` needs numbers, not the text"),
        ("n.all(x, x > 0)", "a list is needed, not the number 10.4"),
        ("size()", "does not compile: `size` takes 1 to 1 values"),
        ("matches(text, n)", "does not compile: matches takes a pattern"),
        ("text.matches(\"(\")", "does not compile: not a regular expression"),
        ("1 +", "does not compile: not an expression: at 1:4: expected a value, found the end"),
        ("", "does not compile: not an expression: at 1:1"),
        ("n\n= u", "not an expression: at 2:1: `=` compares nothing; write `==`"),
        ("n & u", "`&` is no operator; write `&&`"),
        ("n u", "at 1:3: `u` after the end of the expression"),
        ("(n", "at 1:3: expected `)`, found the end"),
        ("12a", "`12a` is no number"),
        ("\"open", "a text has no closing quote"),
        ("\"\\q\"", "an escape sequence that does not exist"),
        ("0.1234567890123456789", "0.1234567890123456789: "),
        ("has(n > 1)", "has() takes a field"),
    ] {
        assert!(value(text).contains(complaint), "{text}: {}", value(text));
    }
}

#[test]
fn structured_conditions_compare_typed_values() {
    let number = |text: &str| Literal::Number(text.parse().unwrap());
    let text = |text: &str| Literal::Text(text.to_owned());
    for (field, op, literal, expected) in [
        ("n", "eq", number("10.40"), true),
        ("n", "eq", text("10.4"), false),
        ("n", "ne", text("10.4"), true),
        ("n", "lt", number("11"), true),
        ("text", "lt", number("11"), false),
        ("text", "ge", text("Hej"), true),
        ("none", "eq", Literal::Null, true),
        ("nothing", "eq", Literal::Null, true),
        ("yes", "eq", Literal::Bool(true), true),
        ("u", "in", Literal::List(vec![number("1"), number("2")]), true),
        ("u", "notIn", Literal::List(vec![number("1"), text("2")]), true),
        ("text", "contains", text("\"du"), true),
        ("n", "contains", text("1"), false),
        ("text", "startsWith", text("hej"), false),
        ("text", "endsWith", text("\""), true),
        ("none", "exists", Literal::Null, true),
        ("nothing", "exists", Literal::Bool(false), true),
        ("text", "matches", text("^H.j"), true),
        ("nothing", "matches", text(".*"), false),
    ] {
        let mut slots = Slots::default();
        let program = Program::condition(&Path::parse(field).unwrap(), op, &literal, &mut slots).unwrap();
        assert_eq!(on_event(&slots, |batch| program.holds(batch, 0)), Ok(expected), "{field} {op} {literal:?}");
    }
    let mut slots = Slots::default();
    let path = Path::parse("n").unwrap();
    assert!(Program::condition(&path, "in", &number("1"), &mut slots).is_err());
    assert!(Program::condition(&path, "contains", &number("1"), &mut slots).is_err());
}

#[test]
fn long_chains_compile_and_deep_ones_are_refused() {
    let alternatives = vec!["n == 1"; 900].join(" || ");
    assert_eq!(value(&alternatives), "false");
    let sum = vec!["1"; 150].join(" + ");
    assert_eq!(value(&sum), "150");
    for deep in [vec!["1"; 300].join(" + "), format!("{}n{}", "(".repeat(300), ")".repeat(300)), "!".repeat(300) + "yes"] {
        assert!(value(&deep).contains("nested deeper than 200"), "{}", value(&deep));
    }
    assert!(value(&format!("n{}", ".a".repeat(300))).contains("nested deeper"));
}
