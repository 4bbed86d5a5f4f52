//! Layers, ranges, refusals, and the comparison of the page with the table.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use crate::settings::limits::Limits;
use crate::settings::table::{Kind, TABLE};
use crate::settings::{Flag, Layers, Problems, Settings, page};

fn read(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Settings, Problems> {
    Settings::read(&Layers {
        file: Some((Path::new("flowmeter.yaml"), file)),
        environment: environment.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect(),
        other_variables: &["FLOWMETER_URL"],
        flags: flags.iter().map(|flag| Flag::set(flag).unwrap()).collect(),
    })
}

fn file(text: &str) -> Result<Settings, Problems> {
    read(text, &[], &[])
}

fn complaint(result: Result<Settings, Problems>) -> String {
    result.err().map(|problems| problems.to_string()).unwrap_or_default()
}

#[test]
fn nothing_chosen_gives_the_defaults_of_limits() {
    let settings = file("").unwrap();
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8888");
    assert_eq!((settings.threads, settings.tls.is_none(), settings.event_store.retention_bytes), (None, true, None));
    assert_eq!(file("# only a comment\n").unwrap().drain, Duration::from_secs(30));
}

#[test]
fn every_setting_is_read_and_none_twice() {
    let typed = include_str!("typed.rs");
    let mut variables: Vec<String> = TABLE.iter().map(crate::settings::Setting::variable).collect();
    for setting in TABLE {
        assert!(typed.contains(&format!("\"{}\"", setting.name)), "typed.rs does not read {}", setting.name);
        assert!(!setting.reason.contains('|'), "{}: a reason is part of a table", setting.name);
    }
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), TABLE.len(), "two settings have one variable");
}

#[test]
fn flags_precede_the_environment_and_the_file() {
    let in_file = "limits:\n  body_bytes_max: 1MiB\n";
    let variable = [("FLOWMETER_LIMITS_BODY_BYTES_MAX", "2MiB")];
    let cases = [
        (read("", &[], &[]), 16, "default"),
        (read(in_file, &[], &[]), 1, "flowmeter.yaml:2"),
        (read(in_file, &variable, &[]), 2, "FLOWMETER_LIMITS_BODY_BYTES_MAX"),
        (read(in_file, &[("FLOWMETER_LIMITS_BODY_BYTES_MAX", "")], &[]), 1, "flowmeter.yaml:2"),
        (read(in_file, &variable, &["limits.body_bytes_max=3MiB"]), 3, "--set"),
    ];
    for (settings, mebibytes, origin) in cases {
        let settings = settings.unwrap();
        assert_eq!(settings.limits.body_bytes_max, mebibytes << 20);
        let printed = settings.print();
        let line = printed.lines().find(|line| line.starts_with("limits.body_bytes_max: ")).unwrap();
        assert!(line.contains(&format!("{mebibytes}MiB")) && line.ends_with(&format!("# {origin}")), "{line}");
    }
}

#[test]
fn values() {
    let cases = [
        ("limits.body_bytes_max: 65536", "limits.body_bytes_max: 64KiB"),
        ("limits.body_bytes_max: 2MB", "limits.body_bytes_max: 2000000B"),
        ("limits: {batch_events_max: 5_000}", "limits.batch_events_max: 5000"),
        ("log: {retention: none}", "log.retention: none"),
        ("log: {retention: 36h}", "log.retention: 36h"),
        ("log: {retention: 1d12h}", "log.retention: 36h"),
        ("{\"tracing\": {\"format\": \"json\"}}", "tracing.format: json"),
        ("listen: \"[::1]:80\"", "listen: '[::1]:80'"),
        ("auth.bootstrap_key: ${env:KEY}", "auth.bootstrap_key: '${env:KEY}'"),
        ("data: it's here", "data: 'it''s here'"),
    ];
    for (text, expected) in cases {
        let printed = file(text).unwrap_or_else(|why| panic!("{text}: {why}")).print();
        assert!(printed.lines().any(|line| line.split(" #").next().unwrap().trim_end() == expected), "{text}: {printed}");
    }
}

#[test]
fn printed_settings_can_be_read() {
    let chosen =
        "data: 'a: b # c'\nauth.bootstrap_key: ${file:/run/secrets/k}\nlog.retention: none\nthreads: 4\nlisten: '[::]:1'\n";
    let settings = file(chosen).unwrap();
    let values = |printed: String| printed.lines().map(|line| line.rsplit_once(" # ").unwrap().0.to_owned()).collect::<Vec<_>>();
    let again = file(&settings.print()).unwrap();
    assert_eq!(values(again.print()), values(settings.print()));
}

#[test]
fn invalid_settings_are_refused_with_their_place() {
    let cases = [
        (
            "limits:\n  body_byte_max: 1MiB",
            "flowmeter.yaml:2: there is no setting `limits.body_byte_max`; did you mean `limits.body_bytes_max`?",
        ),
        ("nothing_like_it: 1", "flowmeter.yaml:1: there is no setting `nothing_like_it`; docs/settings.md lists those there are"),
        ("limits.body_bytes_max: 2GiB", "flowmeter.yaml:1: limits.body_bytes_max: `2GiB` is not bytes from 1KiB to 1GiB"),
        ("limits.body_bytes_max: 1.5MiB", "`1.5MiB` is not bytes"),
        ("limits.body_bytes_max: -1", "`-1` is not bytes"),
        ("limits.body_bytes_max: none", "`none` is not bytes"),
        ("limits.body_bytes_max: 99999999999999999TiB", "is not bytes"),
        ("shutdown.drain: 30", "`30` is not a time from 0 to 1h"),
        ("threads: 0", "`0` is not a number from 1 to 512, or none"),
        ("listen: 8888", "`8888` is not IP:PORT, such as 127.0.0.1:8888 or [::1]:8888"),
        ("auth.required: yes", "`yes` is not true or false"),
        ("tracing.format: jsn", "`jsn` is not text, json; did you mean `json`?"),
        ("otlp.endpoint: http://me:pass@host", "is not an address"),
        ("threads: [1]", "flowmeter.yaml:1: `threads` is a list; no setting but notifications.declared is one"),
        ("threads: 1\nthreads: 2", "flowmeter.yaml:2: `threads` occurs twice; first in line 1"),
        ("limits: {body_idle: 1s}\nlimits.body_idle: 2s", "`limits.body_idle` occurs twice"),
        ("threads 1", "flowmeter.yaml:1: write `name: value`"),
        ("threads: {1: 2", "flowmeter.yaml:"),
        ("? {a: b}\n: c", "a name must be text"),
        ("a: &x 1\nb: *x", "aliases have no meaning here"),
        ("threads: 1\n---\nthreads: 2", "more than one document"),
        ("tls.cert: c.pem", "flowmeter.yaml:1: tls.cert is set and tls.key is not; TLS needs both"),
        ("tls.key: k.pem", "flowmeter.yaml:1: tls.key is set and tls.cert is not; TLS needs both"),
        (
            "limits.body_bytes_max: 65MiB",
            "default: limits.decompressed_bytes_max is smaller than limits.body_bytes_max (flowmeter.yaml:1)",
        ),
    ];
    for (text, expected) in cases {
        let why = complaint(file(text));
        assert!(why.contains(expected), "{text}:\n  {why}\n  is not\n  {expected}");
    }
    assert_eq!(complaint(file("threads: 0\npartitions: 0")).lines().count(), 2, "all problems at once");
}

#[test]
fn variables_and_flags_are_named() {
    let why = complaint(read("", &[("FLOWMETER_LIMITS_BODY_BYTE_MAX", "1MiB")], &[]));
    assert_eq!(
        why,
        "FLOWMETER_LIMITS_BODY_BYTE_MAX: no setting has this variable; did you mean `FLOWMETER_LIMITS_BODY_BYTES_MAX`?"
    );
    let why = complaint(read("", &[("FLOWMETER_THREADS", "many")], &[]));
    assert_eq!(why, "FLOWMETER_THREADS: threads: `many` is not a number from 1 to 512, or none");
    let why = complaint(read("", &[], &["thread=2"]));
    assert_eq!(why, "--set: there is no setting `thread`; did you mean `threads`?");
    assert!(Flag::set("threads").is_err());
    // Variables of the client, of other programs, and those that Kubernetes makes for a service of
    // that name.
    let others = ["FLOWMETER_URL", "HOME", "FLOWMETER_PORT", "FLOWMETER_PORT_8888_TCP_ADDR", "FLOWMETER_SERVICE_HOST"];
    assert!(read("", &others.map(|name| (name, "tcp://10.0.0.1:8888")), &[]).is_ok());
}

#[test]
fn secrets_are_not_shown() {
    for why in [
        complaint(file("auth.bootstrap_key: fm_hunter2")),
        complaint(read("", &[("FLOWMETER_AUTH_BOOTSTRAP_KEY", "fm_hunter2")], &[])),
        complaint(read("", &[], &["auth.bootstrap_key=fm_hunter2"])),
    ] {
        assert!(why.contains("write ${env:NAME} or ${file:PATH}") && !why.contains("hunter2"), "{why}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "hunter2\n").unwrap();
    let settings = file(&format!("auth.bootstrap_key: ${{file:{}}}", path.display())).unwrap();
    let secret = settings.auth.bootstrap_key.clone().unwrap();
    assert_eq!(secret.reveal().unwrap(), "hunter2");
    assert!(!format!("{settings:?}{}", settings.print()).contains("hunter2"));
    std::fs::write(&path, "\n").unwrap();
    assert!(secret.reveal().unwrap_err().ends_with("it is empty"));
}

#[test]
fn when_the_server_may_start() {
    let cases = [
        ("", false, ""),
        ("", true, ""),
        ("listen: 0.0.0.0:80", true, "Set auth.required: true"),
        ("listen: '[::]:80'\ntls: {cert: c, key: k}", true, "Set auth.required: true"),
        ("{listen: 0.0.0.0:80, auth: {required: true}}", false, "Make one with"),
        ("{listen: 0.0.0.0:80, auth: {required: true}}", true, ""),
        ("{listen: 0.0.0.0:80, auth: {required: true, bootstrap_key: '${env:KEY}'}}", false, ""),
        ("auth.required: true", false, "every request would be refused"),
        ("auth.required: true", true, ""),
    ];
    for (text, has_keys, expected) in cases {
        let answer = file(text).unwrap().check(has_keys).err().unwrap_or_default();
        assert_eq!(answer.is_empty(), expected.is_empty(), "{text}: {answer}");
        assert!(answer.contains(expected), "{text}: {answer}");
    }
    let warned = |text| file(text).unwrap().warnings().len();
    assert_eq!([warned(""), warned("listen: 0.0.0.0:80"), warned("{listen: 0.0.0.0:80, tls: {cert: c, key: k}}")], [0, 1, 0]);
}

proptest! {
    /// Any text in the file, in a variable or after --set gives settings or problems.
    #[test]
    fn nothing_panics(text in "[a-z.:{}\\[\\]'\"#&*!|>?\n -]{0,60}", value in ".{0,20}", at in 0..TABLE.len()) {
        let name = TABLE[at].name;
        let _ = read(&text, &[(&TABLE[at].variable(), &value)], &[]);
        let _ = read(&format!("{name}: {value}\n{text}"), &[], &[&format!("{name}={value}")]);
    }

    /// Any printed text can be read again.
    #[test]
    fn texts_survive_printing(text in "[^\r\n\\p{Cc}]{1,30}") {
        prop_assume!(!text.trim().is_empty());
        let first = read("", &[], &[&format!("namespace.default={text}")]).unwrap();
        let again = file(&first.print()).unwrap();
        prop_assert_eq!(again.namespace, first.namespace);
    }
}

#[test]
fn ranges_hold_their_defaults() {
    for setting in TABLE {
        if let Kind::Count(_, min, max) | Kind::Bytes(min, max) | Kind::Seconds(min, max) = setting.kind {
            assert!(min < max, "{}", setting.name);
        }
    }
    assert!(file("").is_ok(), "every default is in its range");
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let expected = page::markdown(TABLE);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/settings.md is out of date: UPDATE=1 cargo test -p flowmeter-server settings");
}
