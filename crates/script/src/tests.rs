//! Scripts as tables: code, event, what comes of it.

use super::*;

/// Computes with 64-bit integers: enough to see which operation was asked for.
fn integers(operation: Operation<'_>) -> Result<String, String> {
    let read = |text: &str| text.parse::<i64>().map_err(|_| format!("`{text}` is no number"));
    Ok(match operation {
        Operation::Canonical(text) => text.to_owned(),
        Operation::Add(a, b) => (read(a)? + read(b)?).to_string(),
        Operation::Subtract(a, b) => (read(a)? - read(b)?).to_string(),
        Operation::Multiply(a, b) => (read(a)? * read(b)?).to_string(),
        Operation::Compare(a, b) => (read(a)?.cmp(&read(b)?) as i32).to_string(),
        Operation::Divide(a, b, places, rounding) => format!("{}/{}/{places}/{rounding}", read(a)?, read(b)?),
    })
}

fn limits() -> Limits {
    Limits { steps: 10_000, memory: 4 << 20, stack: 256 << 10, state_bytes: 1000, children_max: 3 }
}

fn compile(code: &str) -> Program {
    Program::compile(code, "clean", limits(), integers).unwrap_or_else(|error| panic!("{code}: {error:?}"))
}

fn run_with(program: &Program, event: &str, state: &State) -> Result<Outcome, Failure> {
    let received_at = 1_767_225_600_000;
    program.run(&Call { event: Event::Whole(event.as_bytes()), key: br#"["a",null]"#, state, received_at })
}

fn body(body: &str) -> Program {
    compile(&format!("function step(event, context) {{ {body} }}"))
}

/// The event that a body makes of an event.
fn made(code: &str, event: &str) -> String {
    match run_with(&body(code), event, &State::new()) {
        Ok(Outcome { returned: Returned::Event(event), .. }) => String::from_utf8(event).unwrap(),
        other => panic!("{code} of {event}: {other:?}"),
    }
}

#[test]
fn events_keep_what_a_script_does_not_touch() {
    let cases = [
        (r#"{"b":1.10,"a":[1e3,{"c":-0.0}],"n":null,"t":true}"#, "return event;"),
        (r#"{"v":9007199254740993,"w":0.1000000000000000000000001}"#, "return event;"),
        (r#"{"text":"quote \" slash \\ line \n tab \t","é":"日本"}"#, "return event;"),
        (r#"{"__proto__":{"x":1},"constructor":2,"toString":"t"}"#, "return event;"),
        (r#"{"big":1e400,"small":1e-7,"huge":1e+21}"#, "return event;"),
        (r#"{"v":1.0,"a\"b":{"c":[0,[2.50]]}}"#, "return event;"),
        ("{}", "return event;"),
    ];
    for (event, code) in cases {
        assert_eq!(made(code, event), event);
    }
}

#[test]
fn an_event_as_deep_as_a_source_takes_passes() {
    let deep = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert_eq!(made("return event;", &deep(DEPTH_MAX)), deep(DEPTH_MAX));
    let deeper = "let a = []; for (let i = 0; i < 128; i += 1) a = [a]; event.a = a; return event;";
    let failure = format!("{:?}", run_with(&body(deeper), "{}", &State::new()));
    assert!(failure.contains("more than 128 levels"), "{failure}");
}

#[test]
fn scripts_change_events() {
    let cases = [
        ("event.v *= 2; return event;", r#"{"v":1.50}"#, r#"{"v":3}"#),
        ("event.w = 0.1 + 0.2; return event;", r#"{"v":1.50}"#, r#"{"v":1.50,"w":0.30000000000000004}"#),
        ("return { ...event, d: new Date() };", "{}", r#"{"d":"2026-01-01T00:00:00.000Z"}"#),
        ("return { now: Date.now(), at: context.receivedAt };", "{}", r#"{"now":1767225600000,"at":1767225600000}"#),
        ("return { k: context.key, o: context.operator };", "{}", r#"{"k":["a",null],"o":"clean"}"#),
        (
            "return { h: new Date('2026-07-01T12:00:00').getHours(), z: new Date().getTimezoneOffset() };",
            "{}",
            r#"{"h":12,"z":0}"#,
        ),
        (
            "return { d: new Date(new String('2026-01-01T00:00')).getTime(), n: Number.isNaN(new Date('soon').getTime()) };",
            "{}",
            r#"{"d":1767225600000,"n":true}"#,
        ),
        (
            "return { z: new Date('2026-07-01T12:00:00+02:00').toISOString(), d: new Date('2026-07-01').getHours() };",
            "{}",
            r#"{"z":"2026-07-01T10:00:00.000Z","d":0}"#,
        ),
        ("return { m: new Date(2026, 0, 31, 23).toISOString() };", "{}", r#"{"m":"2026-01-31T23:00:00.000Z"}"#),
        ("return { n: (1234567.8912).toLocaleString() };", "{}", r#"{"n":"1,234,567.891"}"#),
        (
            "event.sum = event.v.add('1'); return event;",
            r#"{"v":9007199254740993}"#,
            r#"{"v":9007199254740993,"sum":9007199254740994}"#,
        ),
        ("return { d: Decimal('7').mul(6), c: Decimal(2).cmp(3), s: `${Decimal('5')}` };", "{}", r#"{"d":42,"c":-1,"s":"5"}"#),
        (
            "return { b: 123456789012345678901234567890n.toString(), u: undefined, f() {} };",
            "{}",
            r#"{"b":"123456789012345678901234567890"}"#,
        ),
        (
            "class Refused extends Error { constructor(m) { super(m); this.name = 'Refused'; } } \
          try { throw new Refused('x'); } catch (e) { return { e: `${e}` }; }",
            "{}",
            r#"{"e":"Refused: x"}"#,
        ),
        ("event.toString = 'x'; return event;", "{}", r#"{"toString":"x"}"#),
        (
            "return { t: [3, 1, 2].toSorted().at(-1), g: Object.groupBy([1, 2], n => n % 2 ? 'odd' : 'even') };",
            "{}",
            r#"{"t":3,"g":{"odd":[1],"even":[2]}}"#,
        ),
    ];
    for (code, event, expected) in cases {
        assert_eq!(made(code, event), expected, "{code}");
    }
}

#[test]
fn results_do_not_hang_on_who_writes_them() {
    // With `null` in it, a result is not left to the engine.
    let cases = [
        ("b: new Number(5), c: new String('x'), d: new Boolean(false)", r#""b":5,"c":"x","d":false"#),
        ("o: { toJSON() { return 7; } }, l: [undefined, 1], m: new Map([[1, 2]])", r#""o":7,"l":[null,1],"m":{}"#),
        ("z: -0, e: 1e21, s: 1e-7, f: 0.1, t: 'é\\n\\u0001\u{1f600}'", r#""z":0,"e":1e+21,"s":1e-7,"f":0.1,"t":"é\n\u0001😀""#),
        ("10: 1, a: 2, 2: 3", r#""2":3,"10":1,"a":2"#),
    ];
    for (members, expected) in cases {
        for (more, written) in [("", ""), (", n: null", r#","n":null"#)] {
            assert_eq!(made(&format!("return {{ {members}{more} }};"), "{}"), format!("{{{expected}{written}}}"), "{members}");
        }
    }
}

#[test]
fn getters_of_a_result_count_once() {
    let code = "return { get n() { context.count('reads'); return null; }, get m() { context.count('reads'); return 1; } };";
    let outcome = run_with(&body(code), "{}", &State::new()).unwrap();
    assert_eq!(outcome.counts, [("reads".to_owned(), 2)]);
}

#[test]
fn failures_say_what_happened_and_where() {
    let cases = [
        ("return;", "`step` returned nothing"),
        ("return 5;", "`step` returned a number"),
        ("return [1];", "an element of the list is no object"),
        ("return { v: 0 / 0 };", "contains NaN"),
        ("const a = {}; a.a = a; return a;", "contains itself"),
        ("return { v: Math.random() };", "Math.random is not available"),
        ("return { v: crypto.randomUUID() };", "crypto is not available"),
        ("return eval('1');", "eval is not available"),
        ("return step.constructor('return 1')();", "code from text is not available"),
        ("\n\nreturn event.a.b.c;", "(line 3)"),
        ("context.fail('no plan');", "no plan"),
        ("try { context.fail('no plan'); } catch {} return event;", "no plan"),
        ("return { v: Decimal('1') * 2 };", "a Decimal is no number"),
        ("Array.prototype.first = 1; return event;", "TypeError"),
        ("globalThis.seen = 1; return event;", "TypeError"),
        ("return Promise.resolve(event);", "promise"),
        ("throw 'a text';", "a text"),
        ("throw null;", "threw a null"),
        ("throw new Error('out of memory');", "out of memory"),
        ("return { half: '\u{1F600}'.slice(0, 1) };", "half a character"),
        ("for (let i = 0; i < 101; i++) context.count(`n${i}`); return event;", "at most 100 names"),
    ];
    for (code, expected) in cases {
        match run_with(&body(code), "{}", &State::new()) {
            Err(Failure::Error(detail)) => assert!(detail.contains(expected), "{code}: {detail}"),
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[test]
fn limits_are_counted() {
    let limit = |code: &str| match run_with(&body(code), "{}", &State::new()) {
        Err(Failure::Limit(detail)) => detail,
        other => panic!("{code}: {other:?}"),
    };
    for code in [
        "for (;;);",
        "while (true) event.n = 1;",
        "do event.n = 1; while (true);",
        "for (const x of (function* () { while (true) yield 1; })()) ;",
        "const f = () => f(); for (;;) { try { f(); } catch {} }",
        "for (;;) { try { for (;;); } catch {} }",
        "Array.from({ length: 20000 }, x => x);",
        "const o = { get a() { return this.b; }, get b() { return 1; } }; for (let i = 0; i < 4000; i++) o.a;",
    ] {
        assert!(limit(code).contains("10000 steps"), "{code}");
    }
    assert!(limit("const f = (n) => 1 + f(n + 1); f(0);").contains("bytes of stack"));
    assert!(limit("return { s: 'x'.repeat(5_000_000) };").contains("bytes of memory"));
    // Refused memory counts even if the exception is caught, or has no room.
    assert!(
        limit("const a = []; try { for (;;) a.push('x'.repeat(99_999) + a.length); } catch {} return event;").contains("memory")
    );
    assert!(limit("return { s: Array(2000).fill('x'.repeat(100_000)) };").contains("bytes of memory"));
    assert!(limit("const a = []; a.length = 4294967295; return { a };").contains("bytes of memory"));
    assert!(matches!(run_with(&body("return [{}, {}, {}, {}];"), "{}", &State::new()), Err(Failure::TooMany(_))));
}

#[test]
fn the_number_of_steps_is_exact_and_does_not_depend_on_earlier_events() {
    let program = body("for (let i = 0; i < event.n; i++); return event;");
    for _ in 0..3 {
        // One call and so many turns.
        assert!(run_with(&program, r#"{"n":9999}"#, &State::new()).is_ok());
        assert!(run_with(&program, r#"{"n":10000}"#, &State::new()).is_err());
    }
}

#[test]
fn memory_does_not_depend_on_the_garbage_of_earlier_events() {
    let program = body("const a = { s: 'x'.repeat(event.n) }; a.a = a; return { n: a.s.length };");
    for _ in 0..50 {
        assert!(run_with(&program, r#"{"n":2000000}"#, &State::new()).is_ok());
    }
    assert!(run_with(&program, r#"{"n":5000000}"#, &State::new()).is_err());
    assert!(run_with(&program, r#"{"n":2000000}"#, &State::new()).is_ok());
}

#[test]
fn equal_events_meet_equal_limits() {
    let code = "const a = []; a.push(a); for (let i = 0; i < event.n; i++) a.push({ i }); return { n: a.length };";
    let program = body(code);
    for _ in 0..40 {
        assert!(run_with(&program, r#"{"n":5000}"#, &State::new()).is_ok());
    }
    let promise = body("Promise.resolve('x'.repeat(200_000)).then(() => {}); return { n: 1 };");
    for _ in 0..200 {
        assert!(run_with(&promise, "{}", &State::new()).is_ok());
    }
}

#[test]
fn many_numbers_that_are_written_otherwise_are_kept() {
    let list = vec!["1.0"; 40_000].join(",");
    let event = format!(r#"{{"list":[{list}]}}"#);
    assert_eq!(made("return event;", &event), event);
}

#[test]
fn the_shared_world_keeps_nothing() {
    let code = "const roots = [Error, [].values().map(x => x).__proto__, Iterator.from({ next() {} }).__proto__, Date, Math]; \
                let seen = 0; for (const root of roots) { try { root.left = 1; } catch {} if ('left' in root) seen++; } return { seen };";
    let program = body(code);
    for _ in 0..2 {
        let outcome = run_with(&program, "{}", &State::new()).unwrap();
        assert_eq!(outcome.returned, Returned::Event(br#"{"seen":0}"#.to_vec()));
    }
}

#[test]
fn nothing_of_an_event_is_left_for_the_next() {
    let program = compile(
        "let seen = 0; const list = [];\nfunction step(event) { seen++; list.push(1); return { seen, n: list.length }; }",
    );
    for _ in 0..3 {
        let outcome = run_with(&program, "{}", &State::new()).unwrap();
        assert_eq!(outcome.returned, Returned::Event(br#"{"seen":1,"n":1}"#.to_vec()));
    }
}

#[test]
fn state_is_changed_only_by_runs_that_succeed() {
    let code = "const n = (context.state.get('n') ?? 0) + 1; context.state.set('n', n); context.count('runs'); \
                context.count('bytes', 10); if (event.bad) throw new Error('bad'); return { n, all: context.state.getAll() };";
    let program = body(code);
    let outcome = run_with(&program, "{}", &vec![("n".to_owned(), "41".to_owned())]).unwrap();
    assert_eq!(outcome.returned, Returned::Event(br#"{"n":42,"all":{"n":42}}"#.to_vec()));
    assert_eq!(outcome.state, Some(vec![("n".to_owned(), "42".to_owned())]));
    assert_eq!(outcome.counts, [("runs".to_owned(), 1), ("bytes".to_owned(), 10)]);
    assert!(matches!(run_with(&program, r#"{"bad":true}"#, &State::new()), Err(Failure::Error(_))));
    let exact = body("context.state.set('d', event.d); context.state.remove('x'); return null;");
    let outcome = run_with(&exact, r#"{"d":[0.1000000000000000000001]}"#, &vec![("x".to_owned(), "1".to_owned())]).unwrap();
    assert_eq!(outcome.state, Some(vec![("d".to_owned(), "[0.1000000000000000000001]".to_owned())]));
    assert_eq!(outcome.returned, Returned::Nothing);
    let full = body("try { context.state.set('s', 'x'.repeat(1000)); } catch {} return event;");
    assert!(matches!(run_with(&full, "{}", &State::new()), Err(Failure::StateFull(_))));
}

#[test]
fn code_that_cannot_work_is_refused_with_its_line() {
    let cases = [
        ("function step(event) {\n  return event;\n", 1..=3, ""),
        ("function other(event) { return event; }", 0..=0, "defines no function `step"),
        ("const a = 1;\nnull.x;\nfunction step(e) { return e; }", 2..=2, ""),
        ("function step(event) { return __flowmeterSteps; }", 0..=0, "reserved"),
        ("} function step(e) { return e; } {", 0..=1, ""),
        ("import x from 'y'; function step(e) { return e; }", 0..=1, ""),
        ("function step(e) { return e; }\nfor (;;);", 0..=2, "no steps are left"),
    ];
    for (code, lines, expected) in cases {
        let error = Program::compile(code, "clean", limits(), integers).expect_err(code);
        assert!(lines.contains(&error.line) && error.detail.contains(expected), "{code}: {error:?}");
    }
}

#[test]
fn counting_steps_keeps_the_meaning_of_code() {
    let cases = [
        "if (true) for (let i = 0; i < 2; i++) event.n = i; else event.n = 9; return event;",
        "event.n = [1, 2].map(x => x - 1)[1]; return event;",
        "event.n = (x => ({ a: x }))(1).a; return event;",
        "const o = { async m() {}, *g() { yield 1; }, get v() { return 1; } }; event.n = o.v; return event;",
        "outer: for (const a of [1]) for (const b of [1]) { if (b) continue outer; } event.n = 1; return event;",
        "let i = 0; do i++; while (i < 1)\nevent.n = i; return event;",
        "event.n = (a => b => c => a + b + c)(0)(0)(1); return event;",
        "const re = /for\\(;;\\)/; event.n = re.test('for(;;)') ? 1 : 0; return event;",
        "event.n = `${(() => 1)()}`.length; return event;",
        "class A { #p = 1; static s = 1; get p() { return this.#p; } } event.n = new A().p; return event;",
    ];
    for code in cases {
        assert_eq!(made(code, "{}"), r#"{"n":1}"#, "{code}");
    }
}

/// The value of a field of an event, as JSON.
fn value_at<'e>(event: &'e serde_json::Value, names: &[String]) -> Option<&'e serde_json::Value> {
    names.iter().try_fold(event, |at, name| at.as_object()?.get(name))
}

/// Returns the event that a program makes of one of which the script is given the fields that it names.
fn made_of_fields(program: &Program, event: &str) -> Option<String> {
    let mut event: serde_json::Value = serde_json::from_str(event).unwrap();
    let fields = program.fields().unwrap();
    let texts: Vec<Option<String>> = fields.iter().map(|names| value_at(&event, names).map(ToString::to_string)).collect();
    let given: Vec<Given<'_>> = texts
        .iter()
        .map(|text| match text.as_deref() {
            None => Given::Missing,
            Some("null") => Given::Null,
            Some(truth @ ("true" | "false")) => Given::Truth(truth == "true"),
            Some(text) if text.starts_with('"') && !text.contains('\\') => Given::Text(&text[1..text.len() - 1]),
            Some(text) if text.starts_with(['{', '[', '"']) => Given::Json(text.as_bytes()),
            Some(number) => Given::Number(number),
        })
        .collect();
    if !program.takes(&given) {
        return None;
    }
    let call = Call { event: Event::Fields(&given), key: b"[]", state: &State::new(), received_at: 1_767_225_600_000 };
    Some(match program.run(&call) {
        Ok(Outcome { returned: Returned::Changed(changes), .. }) => {
            for (field, json) in changes {
                let (last, around) = fields[field].split_last().unwrap();
                let object = around.iter().fold(&mut event, |at, name| at.get_mut(name).unwrap()).as_object_mut().unwrap();
                match json {
                    Some(json) => drop(object.insert(last.clone(), serde_json::from_slice(&json).unwrap())),
                    None => drop(object.remove(last)),
                }
            }
            event.to_string()
        }
        Ok(Outcome { returned: Returned::Event(json), .. }) => {
            serde_json::from_slice::<serde_json::Value>(&json).unwrap().to_string()
        }
        other => format!("{other:?}"),
    })
}

#[test]
fn a_script_that_names_fields_makes_the_same_of_them() {
    let codes = [
        "event.data.model = event.data.model.toLowerCase(); event.data.t = event.data.n + event.data.u; return event;",
        "event.data.n *= 2; delete event.data.u; return event;",
        "event.data.n = event.data.n; event.id = 'other'; return event;",
        "return event.data.n > 1 ? event : null;",
        "return { n: event.data.n, deep: event.data };",
        "return [{ n: event.data.n }, { l: event.list }];",
        "event.list.push({ x: 1.5 }); event.data.big = undefined; return event;",
        "event.data = { n: event.data.n }; return event;",
        "const { id, data } = event; event.copy = data; event.name = `${id}!`; return event;",
        "event.none ??= 'set'; event.nil ??= 'set'; event.yes = !event.yes; return event;",
        "event.list.forEach((x, i) => { event.list[i] = String(x); }); return event;",
        "event.data.big = event.data.big.add ? event.data.big.add(1) : event.data.big; return event;",
        "if (event.data.hasOwnProperty('u')) event.data.z = event.list.length; return event;",
        "event.made = { a: [event.nil, event.data.n] }; return event;",
        "event.data.n = NaN; return event;",
        "event.gone.x = 1; return event;",
        "return event;",
    ];
    let events = [
        r#"{"id":"e1","data":{"model":"GPT","n":1.50,"u":2,"big":12345678901234567890},"list":[1.0,"a",null],"nil":null,"yes":true}"#,
        r#"{"id":"e\n2","data":{"n":0,"model":"É","other":[{}]},"list":[]}"#,
        r#"{"id":3,"list":"text","yes":false}"#,
        r#"{"data":{},"list":{"length":7}}"#,
        r#"{"data":[1,2],"none":0}"#,
    ];
    let mut compared = 0;
    for code in codes {
        let program = body(code);
        assert!(program.fields().is_some(), "{code}");
        for event in events {
            let Some(found) = made_of_fields(&program, event) else { continue };
            let expected = match run_with(&program, event, &State::new()) {
                Ok(Outcome { returned: Returned::Event(json), .. }) => {
                    serde_json::from_slice::<serde_json::Value>(&json).unwrap().to_string()
                }
                other => format!("{other:?}"),
            };
            assert_eq!(found, expected, "{code} of {event}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}
