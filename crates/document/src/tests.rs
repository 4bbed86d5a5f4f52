//! Documents: what is wrong with them and what is said about it.

use flowmeter_core::meter_type::derived;
use proptest::prelude::*;

use super::*;

mod operators;

const SOUND: &str = r#"pipeline: llm-usage
source:
  file: { path: events.ndjson, format: ndjson }
operators:
  - filter: { when: 'data.status == "ok"' }
  - dedupe: { key: [source, id], window: 32d }
  - meter:
      key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7
      user: subject
      rules:
        - name: tokens
          category: llm
          value: data.tokens
          groupBy: [[data.model]]
          carryLast: [data.region]
meterTypes:
  - { name: LLM tokens, category: llm, unit: tokens, aggregation: sum, resetSchedule: monthly, timezone: Europe/Oslo }
targets:
  - file: { path: 'out/{periodEnd}.ndjson' }
"#;

fn problems(document: &str) -> String {
    match Pipeline::read(document) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_document_of_the_specification_is_sound() {
    assert_eq!(problems(SOUND), "");
    let pipeline = Pipeline::read(SOUND).unwrap();
    let ids: Vec<&str> = pipeline.plan.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["filter", "dedupe", "meter"]);
    assert_eq!(pipeline.plan.stages, [vec![1], vec![2]]);
}

/// Each row changes one thing and expects a message with the line, the cause and the advice.
#[test]
fn whatever_is_wrong_is_told_with_its_line_and_a_suggestion() {
    let mut missed = Vec::new();
    for (from, to, told) in [
        ("- filter:", "- fliter:", "line 5, column 5, operators[0].fliter: unknown operator `fliter`; did you mean `filter`?"),
        (
            "aggregation: sum",
            "agregation: sum",
            "line 17, column 54, meterTypes[0].agregation: unknown field of a meter type `agregation`; did you mean `aggregation`?",
        ),
        (
            "aggregation: sum",
            "aggregation: summ",
            "line 17, column 67, meterTypes[0].aggregation: unknown value `summ`; did you mean `sum`?",
        ),
        (
            "      key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7\n",
            "",
            "line 8, column 7, operators[2].meter.key: `key` is missing; write key: a UUID",
        ),
        ("Europe/Oslo", "Europe/Olso", "meterTypes[0].timezone: unknown time zone `Europe/Olso`; did you mean `Europe/Oslo`?"),
        (
            "resetSchedule: monthly",
            "resetSchedule: montly",
            "meterTypes[0].resetSchedule: unknown value `montly`; did you mean `monthly`?",
        ),
        (
            "resetSchedule: monthly",
            "resetSchedule: {minute: '0', hour: '25', day: '1', month: '*', weekday: '*'}",
            "meterTypes[0].resetSchedule.hour: `25` is not a cron hour; write 0-23",
        ),
        (
            "resetSchedule: monthly",
            "resetSchedule: {every: month, anchor: {day: 32}}",
            "meterTypes[0].resetSchedule.anchor.day: expected a whole number from 1 to 31, found `32`",
        ),
        ("'data.status == \"ok\"'", "'data.status == '", "line 5, column 21, operators[0].filter.when: not an expression: at 1:"),
        (
            "'data.status == \"ok\"'",
            "'siez(data.status) > 1'",
            "operators[0].filter.when: unknown function `siez`; did you mean `size`?",
        ),
        ("'data.status == \"ok\"'", "'data.n > 0.1234567890123456789'", "at 1:10: 0.1234567890123456789: "),
        (
            "category: llm\n",
            "category: lmm\n",
            "line 12, column 21, operators[2].meter.rules[0].category: no meter type has the category `lmm`; did you mean `llm`?",
        ),
        (
            "  - dedupe:",
            "  - from: fitler\n    dedupe:",
            "operators[1].from: no operator or source `fitler`; did you mean `filter`?",
        ),
        (
            "  - filter:",
            "  - from: meter\n    filter:",
            "line 5, column 5, operators[0].from: the operators read each other in a circle: filter ← meter ← dedupe ← filter; change one `from`",
        ),
        ("value: data.tokens", "value: data..tokens", "operators[2].meter.rules[0].value: `data..tokens` is not a path"),
        ("{periodEnd}", "{periodEdn}", "unknown placeholder {periodEdn}; did you mean {periodEnd}?"),
        ("window: 32d", "window: 32 days", "operators[1].dedupe.window: `32 days` is no window"),
        ("pipeline: llm-usage\n", "", "line 1, column 1, pipeline: `pipeline` is missing; write pipeline: text"),
        ("aggregation: sum", "aggregation: percentile", "`percentile` needs p: above 0 and at most 100, like p: 95"),
        (
            "aggregation: sum",
            "thresholds: [{name: x, percentOfCapacity: 80}]",
            "a threshold needs `value`, or `percentOfCapacity` and a `capacity`",
        ),
        ("operators:\n", "operators:\n  - id: a.b\n    filter: {when: 'true'}\n", "an id holds no dot"),
        (
            "operators:\n",
            "operators:\n  - branch: {routes: [{name: x, when: 'true'}]}\n",
            "behind a branch say which way: from: branch.x or branch.default",
        ),
        ("name: tokens\n", "name: tokens\n          name: again\n", "the field `name` occurs twice"),
        (
            "format: ndjson",
            "encoding: utf-61",
            "line 3, column 42, source.file.encoding: unknown encoding `utf-61`; write utf-8, utf-16le",
        ),
        (
            "events.ndjson, format: ndjson",
            "a.csv, quote: ','",
            "source.file.quote: `quote` and `delimiter` are the same character",
        ),
        (
            "events.ndjson, format: ndjson",
            "a.csv, delimiter: '\"'",
            "source.file.delimiter: `quote` and `delimiter` are the same character",
        ),
        (
            "events.ndjson, format: ndjson",
            "a.csv, comment: '\"'",
            "source.file.comment: `comment` and `quote` are the same character",
        ),
        ("source:\n", "source:\n\t", "not YAML"),
    ] {
        assert!(SOUND.contains(from), "{from}");
        let found = problems(&SOUND.replacen(from, to, 1));
        if !found.contains(told) {
            missed.push(format!("{to}\n  found:  {found}\n  wanted: {told}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn two_declared_meters_never_share_an_id() {
    let id = "00000000-0000-4000-8000-0000000000aa";
    let declared = |one: &str, other: &str| {
        let meters = format!(
            "meters:\n  - {{ meterType: LLM tokens, userId: a{one} }}\n  - {{ meterType: LLM tokens, userId: b{other} }}\n"
        );
        SOUND.replace("targets:\n", &format!("{meters}targets:\n"))
    };
    let given = format!(", id: {id}");
    Pipeline::read(&declared(&given, "")).unwrap();
    let found = problems(&declared(&given, &given));
    assert!(found.contains("meters[1].id: meters[0] has this id too"), "{found}");
    let plan = Pipeline::read(&declared("", "")).unwrap().plan;
    let derived = derived::meter(plan.processors[0].key, plan.meter_types[usize::from(plan.meters[0].meter_type)].id, b"a");
    let found = problems(&declared("", &format!(", id: {derived}")));
    assert!(found.contains("meters[1].id: meters[0] has this id too"), "{found}");
}

#[test]
fn several_problems_are_told_at_once() {
    let broken = SOUND.replace("filter:", "fliter:").replace("Europe/Oslo", "Mars/Base").replace("32d", "soon");
    assert_eq!(Pipeline::read(&broken).unwrap_err().0.len(), 2);
}

#[test]
fn deduplication_is_on_unless_it_is_said_otherwise() {
    let without = SOUND.replace("  - dedupe: { key: [source, id], window: 32d }\n", "");
    let nodes = |text: &str| Pipeline::read(text).unwrap().plan.nodes.iter().map(|node| node.id.clone()).collect::<Vec<_>>();
    assert_eq!(nodes(&without), ["dedupe", "filter", "meter"]);
    assert_eq!(nodes(&format!("{without}dedupe: off\n")), ["filter", "meter"]);
}

#[test]
fn the_effective_document_means_the_same() {
    let effective = Pipeline::read(SOUND).unwrap().effective().to_owned();
    assert_eq!(Pipeline::read(&effective).unwrap().effective(), effective);
    assert!(effective.contains("aggregation: sum") && effective.contains("unmatched: park"));
}

#[test]
fn the_json_schema_accepts_what_the_checker_accepts() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let tree = tree::parse(SOUND).unwrap();
    assert!(validator.is_valid(&tree.to_json()));
    assert_eq!(json_schema()["$id"], "urn:flowmeter:schema:pipeline");
    let misspelt = tree::parse(&SOUND.replace("filter", "fliter")).unwrap();
    assert!(!validator.is_valid(&misspelt.to_json()));
}

fn warnings(document: &str) -> Vec<String> {
    let pipeline = Pipeline::read(document).unwrap_or_else(|problems| panic!("{problems}\n{document}"));
    pipeline.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_that_can_never_apply_are_warned_of() {
    let second = "          carryLast: [data.region]\n        - { name: calls, category: calls }\n";
    let both = SOUND.replace("          carryLast: [data.region]\n", second);
    let both = both.replace("targets:\n", "  - { name: Calls, category: calls, aggregation: count }\ntargets:\n");
    let told = warnings(&both);
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = "line 16, column 11, operators[2].meter.rules[1]: `calls` can never apply: `tokens` in line 11 has \
                    no condition and takes every event; write `match: all`";
    assert!(told[0].starts_with(expected), "{told:?}");
    for (from, to) in [
        ("      user: subject\n", "      user: subject\n      match: all\n"),
        ("        - name: tokens\n", "        - name: tokens\n          when: 'data.tokens > 0'\n"),
        ("unit: tokens,", "unit: tokens, autoCreate: false,"),
        ("unit: tokens,", "unit: tokens, activeFrom: 2026-01-01T00:00:00Z,"),
    ] {
        assert_eq!(warnings(&both.replacen(from, to, 1)), [""; 0], "{to}");
    }
    assert_eq!(warnings(SOUND), [""; 0]);
}

#[test]
fn windows_that_do_not_fit_periods_are_warned_of() {
    let told = |window: &str, late: &str, kind: &str| {
        warnings(&format!(
            "pipeline: p\nsource: {{ http: {{}} }}\noperators:\n  - accumulate: {{ key: [subject], window: {window}, late: {late}, \
             fields: {{ n: {{ count: true }} }} }}\n  - meter: {{ key: 00000000-0000-4000-8000-000000000001, value: n, rules: [{{}}] }}\n\
             meterTypes:\n  - {{ name: m, {kind} }}\n"
        ))
    };
    for (window, late, kind) in [
        ("{ size: 1h }", "{}", "resetSchedule: monthly"),
        ("{ size: 24h }", "{}", "resetSchedule: monthly"),
        ("{ schedule: daily }", "{ grace: 1h }", "resetSchedule: quarterly, late: { grace: 1h }"),
        ("{ gap: 30m }", "{}", "resetSchedule: hourly"),
        ("{ size: 7d }", "{}", "resetSchedule: never"),
    ] {
        assert_eq!(told(window, late, kind), [""; 0], "{window} {late} {kind}");
    }
    for (window, late, kind, expected) in [
        ("{ size: 7d }", "{}", "resetSchedule: monthly", "around 2026-02-01T00:00:00"),
        ("{ size: 24h }", "{}", "resetSchedule: monthly, timezone: Europe/Oslo", "around 2026-01-31T23:00:00"),
        ("{ size: 2h, step: 1h }", "{}", "resetSchedule: daily", "a window is in two periods of `m`"),
        ("{ schedule: quarterly }", "{}", "resetSchedule: monthly", "around 2026-02-01T00:00:00"),
        (
            "{ size: 1h }",
            "{ grace: 2h }",
            "resetSchedule: daily",
            "windows wait 2h for late events, longer than periods of `m` do",
        ),
    ] {
        let warnings = told(window, late, kind);
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{window} {late} {kind}: {warnings:?}");
    }
}

#[test]
fn columns_of_fixed_width_that_overlap_are_warned_of() {
    let fixed = |third: &str| {
        let columns = format!("[{{name: at, from: 1, to: 20}}, {{name: who, from: 21, to: 30}}, {third}]");
        warnings(&SOUND.replace("events.ndjson, format: ndjson", &format!("a.txt, format: fixed, columns: {columns}")))
    };
    assert_eq!(fixed("{name: n, from: 31, to: 35}"), [""; 0]);
    let told = fixed("{name: n, from: 30, to: 35}");
    assert!(told.len() == 1 && told[0].contains("`n` (30 to 35) overlaps `who` (21 to 30)"), "{told:?}");
}

#[test]
fn ways_that_no_operator_reads_are_warned_of() {
    let branch = "  - branch: { routes: [{ name: big, when: 'data.tokens > 9' }, { name: small, when: 'data.tokens > 0' }] }\n";
    let from = |ways: &str| {
        let dedupe = format!("{branch}  - from: {ways}\n    dedupe: {{ key: [source, id], window: 32d }}\n");
        SOUND.replace("  - dedupe: { key: [source, id], window: 32d }\n", &dedupe)
    };
    let told = warnings(&from("branch.big"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("line 6, column 5, operators[1].branch: no operator reads `branch.default`"), "{told:?}");
    assert!(told[1].contains("operators[1].branch.routes[1]: no operator reads `branch.small`, so events"), "{told:?}");
    assert_eq!(warnings(&from("[branch.big, branch.small, branch.default]")), [""; 0]);

    let loose = SOUND.replace(
        "operators:\n",
        "operators:\n  - map: { set: { data.a: '1' } }\n  - from: source\n    filter: { when: 'true' }\n",
    );
    let loose = loose.replace("  - filter: { when: 'data", "  - id: other\n    filter: { when: 'data");
    let loose = loose.replace("source:\n  file", "source:\n  id: source\n  file");
    let told = warnings(&loose);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("operators[0]: no operator reads `map`, so all events that pass it"), "{told:?}");

    let two = SOUND.replace(
        "source:\n  file: { path: events.ndjson, format: ndjson }\n",
        "sources:\n  - { id: a, file: { path: a.ndjson } }\n  - { id: b, file: { path: b.ndjson } }\n",
    );
    let told = warnings(&two.replace("  - filter:", "  - from: a\n    filter:"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("line 4, column 5, sources[1]: no operator reads `b`"), "{told:?}");
}

/// The value of the rule of the specification's document, written this way.
fn with_value(value: &str) -> String {
    SOUND.replace("value: data.tokens", &format!("value: {value}"))
}

#[test]
fn a_value_is_a_path_or_an_expression() {
    let rule = |value: &str| {
        let document = with_value(value);
        let pipeline = Pipeline::read(&document).unwrap_or_else(|problems| panic!("{value}: {problems}"));
        let rule = &pipeline.plan.processors[0].rules[0];
        let names = pipeline.plan.paths[usize::from(rule.value)].names().join("|");
        (names, rule.computed.is_some())
    };
    for (value, names) in [
        ("data.tokens", "data|tokens"),
        ("lineItem/UsageAmount", "lineItem/UsageAmount"),
        ("line-item", "line-item"),
        ("tags:user", "tags:user"),
        ("'a*'", "a*"),
        (r"API\ name", "API name"),
        (r"data.a\ *\ b", "data|a * b"),
        ("'\"a * b\"'", "a * b"),
        ("'\"a.b\"'", "a.b"),
    ] {
        assert_eq!(rule(value), (names.to_owned(), false), "{value}");
    }
    for value in ["data.a * data.b", "data.a*data.b", "data.a / 2", "1", "0.5", "size(data.items)", "'event[\"API name\"]'"] {
        assert!(rule(value).1, "{value}");
    }
    for (value, told) in [
        ("API name", "neither a path nor an expression"),
        ("data.a * * 2", "neither a path nor an expression"),
        ("data..a", "`data..a` is not a path"),
        ("siez(data.a) * 2", "did you mean `size`?"),
    ] {
        let found = problems(&with_value(value));
        assert!(found.contains(told) && found.contains("rules[0].value"), "{value}: {found}");
    }
    let of_operator = SOUND.replace("          value: data.tokens\n", "").replace("user: subject", "value: data.a * 2");
    assert!(Pipeline::read(&of_operator).unwrap().plan.processors[0].rules[0].computed.is_some());
}

#[test]
fn breakdowns_are_shown_as_lists_of_lists() {
    let of = |group_by: &str| {
        let document = SOUND.replace("groupBy: [[data.model]]", &format!("groupBy: {group_by}"));
        Pipeline::read(&document).unwrap().effective().to_owned()
    };
    assert_eq!(of("[data.model, data.region]"), of("[[data.model], [data.region]]"));
    assert_ne!(of("[data.model, data.region]"), of("[[data.model, data.region]]"));
    let shown = of("[data.model, [data.region, data.plan]]");
    let part: Vec<&str> = shown.lines().skip_while(|line| !line.contains("groupBy")).take(4).map(str::trim).collect();
    assert_eq!(part, ["groupBy:", "- - data.model", "- - data.region", "- data.plan"], "{shown}");
    assert_eq!(Pipeline::read(&shown).unwrap().effective(), shown);
}

#[test]
fn a_target_with_its_defaults_written_out_is_the_same_target() {
    for written in [
        "objectStorage: { url: 's3://a/b' }",
        "snowflake: { url: 's3://a/b' }",
        "bigquery: { url: 'gs://a/b', table: d.t }",
        "kafka: { brokers: 'a:9092', topic: t }",
        "sftp: { host: h, user: u, password: p, hostKey: 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU' }",
        "email: { smtp: 'smtps://a:465', from: a@example.com, to: b@example.com }",
        "stripe: { secretKey: k, eventName: e }",
        "zuora: { url: 'https://a', clientId: c, clientSecret: s }",
        "lago: { apiKey: k, code: c }",
        "webhook: { url: 'https://a/b', accepted: [{ status: 409 }] }",
    ] {
        let targets = |document: &str| format!("{:?}", Pipeline::read(document).unwrap_or_else(|why| panic!("{why}")).targets);
        let document = format!("{SOUND}  - {written}\n");
        let shown = Pipeline::read(&document).unwrap_or_else(|why| panic!("{why}")).effective().to_owned();
        assert_eq!(targets(&shown), targets(&document), "{shown}");
    }
}

#[test]
fn names_of_files_take_dates_by_their_patterns() {
    let with = |path: &str| problems(&SOUND.replace("out/{periodEnd}.ndjson", path));
    assert_eq!(with("out/{period}/{periodStart:%Y-%m}_{periodEnd:%d.%H%M}.ndjson"), "");
    for wrong in ["{periodStart:yyyy}", "{periodStart:%y}", "{periodStart:}", "{userId:%Y}", "{periodStart:%Y%}"] {
        let found = with(wrong);
        assert!(found.contains(wrong) && found.contains("write {periodStart:%Y-%m-%d}"), "{wrong}: {found}");
    }
    assert!(with("{perod}").contains("did you mean {period}?"));
}

#[test]
fn documents_are_bounded() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(problems(bomb).contains("more than 200000 values"));
    assert!(!problems(&"[".repeat(10_000)).is_empty());
    for deep in [format!("{}1{} > 0", "(".repeat(5000), ")".repeat(5000)), format!("{}1 > 0", "-".repeat(5000))] {
        // A problem or a plan, but never an overflow of the stack.
        drop(problems(&SOUND.replace("data.status == \"ok\"", &deep)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_panics_on_a_document_with_a_piece_changed(
        at in any::<prop::sample::Index>(), length in 0usize..12, piece in "[ -~\\n]{0,12}",
    ) {
        let at = at.index(SOUND.len());
        let end = (at + length).min(SOUND.len());
        let text = format!("{}{piece}{}", &SOUND[..at], &SOUND[end..]);
        drop(Pipeline::read(&text));
    }

    #[test]
    fn nothing_panics_on_an_expression(text in "[-a-z0-9 .()\\[\\]\"'!&|<>=+*/%?:,]{0,40}") {
        struct One;
        impl flowmeter_core::expression::Fields for One {
            fn slot(&mut self, _: &flowmeter_core::event::Path) -> u16 { 0 }
        }
        drop(flowmeter_core::expression::Program::compile(&text, &mut One));
    }
}

#[test]
fn the_effective_document_does_not_depend_on_how_a_value_is_quoted() {
    let with_schema =
        SOUND.replace("  - dedupe:", "  - validate: { schema: { properties: { data.plan: { const: '5' } } } }\n  - dedupe:");
    let effective = |document: &str| Pipeline::read(document).unwrap_or_else(|why| panic!("{why}")).effective().to_owned();
    let plain = effective(&with_schema);
    assert_eq!(effective(&with_schema.replace("32d", "\"32d\"").replace("llm-usage", "'llm-usage'")), plain);
    assert_eq!(effective(&tree::parse(&with_schema).unwrap().json_text()), plain, "as JSON");
    assert_eq!(effective(&plain), plain);
    assert_ne!(effective(&with_schema.replace("'5'", "5")), plain, "a literal has a type");
}

#[test]
fn a_document_with_code_keeps_the_order_of_its_fields() {
    let map = "  - map: { set: { data.z: '1', data.a: 'data.z' } }\n  - script: { file: x.js }\n";
    let document = SOUND.replace("  - dedupe:", &format!("{map}  - dedupe:"));
    let code = "function step(event) { return event; }";
    let sent = Pipeline::with_code(&document, &|_| Ok(code.to_owned())).unwrap().unwrap();
    assert!(sent.find("data.z").unwrap() < sent.find("data.a").unwrap(), "{sent}");
    let effective = Pipeline::read(&sent).unwrap().effective().to_owned();
    assert_eq!(effective, Pipeline::read_with_files(&document, &|_| Ok(code.to_owned())).unwrap().effective());
}

#[test]
fn tests_of_a_document_are_read_and_checked() {
    let tests = "tests:
  - name: one call
    input: [{ id: 1, data: { tokens: 12.50, plan: '5' } }]
    asOf: 2026-02-01T00:00:00Z
    expect: [{ value: 12.5 }]
  - { name: a file, input: in.ndjson, expect: out.ndjson }
";
    let document = format!("{SOUND}{tests}");
    let pipeline = Pipeline::read(&document).unwrap_or_else(|problems| panic!("{problems}"));
    let [one, file] = pipeline.tests.as_slice() else { panic!("{:?}", pipeline.tests) };
    let event = r#"{"id":1,"data":{"tokens":12.50,"plan":"5"}}"#;
    assert_eq!((one.name.as_str(), &one.input), ("one call", &TestData::Items(vec![event.to_owned()])));
    assert_eq!(one.as_of.map(|at| at.to_string()).as_deref(), Some("2026-02-01T00:00:00.000Z"));
    assert_eq!((file.as_of, &file.expect), (None, &TestData::File("out.ndjson".to_owned())));
    assert!(pipeline.effective().contains("tests:\n  - name: one call\n"), "{}", pipeline.effective());
    assert!(Pipeline::read(SOUND).unwrap().tests.is_empty());
    for (from, to, expected) in [
        ("name: a file", "name: one call", "line 25, column 13, tests[1].name: there are two tests `one call`"),
        ("asOf: 2026-02-01T00:00:00Z", "asOf: tomorrow", "tests[0].asOf: expected an RFC 3339 time"),
        (
            "expect: [{ value: 12.5 }]",
            "expected: []",
            "tests[0].expected: unknown field of a test `expected`; did you mean `expect`?",
        ),
        ("input: in.ndjson, ", "", "tests[1].input: `input` is missing"),
        ("[{ value: 12.5 }]", "[12.5]", "tests[0].expect[0]: expected an object"),
    ] {
        let problems = problems(&document.replace(from, to));
        assert!(problems.contains(expected), "{expected}: {problems}");
    }
}
