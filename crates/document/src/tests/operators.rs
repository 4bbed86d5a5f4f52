//! Operators that look up, split, gather, pair and price: the messages about invalid ones.

use super::problems;

/// A document with operators before its meter, and tables.
fn document(operators: &str, tables: &str) -> String {
    format!(
        "pipeline: p\nsource: {{file: {{path: '-'}}}}\ntables: {tables}\noperators:\n{operators}\n  - meter: {{key: \
         a1f8797b-c827-4483-b6cf-6d3d3baa18a7, rules: [{{}}]}}\nmeterTypes: [{{name: m}}]\n"
    )
}

const PLANS: &str = "[{name: plans, key: [customer], rows: [{customer: a, plan: x}]}]";

#[test]
fn bad_operators_are_told_with_their_place_and_advice() {
    let cases = [
        ("  - split: {into: data.x}", "[]", "operators[0].split.path: `path` is missing"),
        ("  - split: {path: a, childrenMax: 0}", "[]", "expected a whole number from 1 to 100000"),
        ("  - enrich: {table: plan, on: {customer: subject}, set: {p: plan}}", PLANS, "no table `plan`; did you mean `plans`?"),
        (
            "  - enrich: {table: plans, on: {user: subject}, set: {p: plan}}",
            PLANS,
            "`user` is no key column; the key of the table is customer",
        ),
        ("  - enrich: {table: plans, on: {user: subject}, set: {p: plan}}", PLANS, "key column `customer` is missing"),
        ("  - filter: {when: 'true'}", "[{name: Plans, key: [a]}]", "`Plans` is no name of a table"),
        (
            "  - enrich: {table: t, on: {a: b}, set: {c: d}}",
            "[{name: t, key: [a], rows: [{a: 1, d: 1}, {a: 1, d: 2}]}]",
            "tables[0].rows: key 1: the row in line 3 has the same key",
        ),
        ("  - currency: {table: plans, amount: a, from: b, to: {value: EUR}, set: c}", PLANS, "rates need key: [from, to, date]"),
        ("  - rate: {quantity: q, set: a, price: {model: unit}}", "[]", "operators[0].rate.price.unit: `unit` is missing"),
        ("  - rate: {quantity: q, set: a, price: {model: unit, unit: 1, tiers: []}}", "[]", "`tiers` is not of the model `unit`"),
        (
            "  - rate: {quantity: q, set: a, price: {model: volume, tiers: [{upTo: 5, unit: 1}, {upTo: 3}, {unit: 2}]}}",
            "[]",
            "the bound 3 is not above 5",
        ),
        (
            "  - rate: {quantity: q, set: a, price: {model: graduated, tiers: [{upTo: 5, unit: 1}]}}",
            "[]",
            "the last tier has no bound",
        ),
        (
            "  - rate: {quantity: q, set: a, schedule: daily, price: {model: unit, unit: 1}}",
            "[]",
            "`key` and `schedule` belong together",
        ),
        ("  - aggregate: {key: [], fields: {a: {sum: b, min: b}}}", "[]", "a field has one function"),
        ("  - accumulate: {key: [], window: {}}", "[]", "a window is one of {size: 1h}"),
        ("  - accumulate: {key: [], window: {size: 1h, step: 25m}}", "[]", "`size` must be a multiple of `step`"),
        ("  - accumulate: {key: [], window: {size: 1h, gap: 5m}}", "[]", "a window is one of"),
        ("  - accumulate: {key: [], window: {gap: 5m}, late: {policy: carry}}", "[]", "`carry` is not for sessions"),
        ("  - accumulate: {key: [id], window: {size: 1h}}", "[]", "a derived event has `id` of its own"),
        ("  - accumulate: {key: [a], window: {size: 1h}, keep: [a.b]}", "[]", "overlap: one contains the other"),
        ("  - accumulate: {key: [], window: {size: 1h}, fields: {a: {delta: b}}}", "[]", "`delta` is of `aggregate`"),
        (
            "  - correlate: {key: [a], start: 'x', stop: 'y', duration: d, cut: {schedule: daily}}",
            "[]",
            "write onTimeout: close or timeout: none",
        ),
    ];
    let mut missed = Vec::new();
    for (operators, tables, told) in cases {
        let found = problems(&document(operators, tables));
        if !found.contains(told) {
            missed.push(format!("{operators}\n  found:  {found}\n  wanted: {told}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn the_way_of_unmatched_events_has_a_name() {
    let operators = "  - enrich: {table: plans, on: {customer: subject}, set: {p: plan}, unmatched: route}\n  - {from: \
                     enrich.unmatched, filter: {when: 'true'}}\n  - {from: [enrich, filter], map: {set: {value: '1'}}}";
    assert_eq!(problems(&document(operators, PLANS)), "");
    let wrong = operators.replace("enrich.unmatched", "enrich.unmatch");
    assert!(problems(&document(&wrong, PLANS)).contains("did you mean `enrich.unmatched`?"));
}

#[test]
fn the_examples_of_the_manual_are_sound() {
    let page = include_str!("../../../../docs/operators.md");
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 10);
    for example in examples {
        assert_eq!(problems(example), "", "{example}");
    }
}
