//! Checks that no number of a user passes through a float, and that none is lost on the way into a
//! type. `docs/decisions/0017-digits-of-users.md` has the reasons.

/// Words that make or read floats. Longer words that begin with one of them count too.
const FLOATS: &[&str] = &["f64", "f32", "as_f64", "from_f64", "is_f64", "as_f32"];

/// Files that may use floats, and their purpose: none of these numbers comes from a user.
const MAY_USE_FLOATS: &[(&str, &str)] = &[
    ("crates/cli/src/bench/report.rs", "rates and latencies of the load generator"),
    ("crates/cli/src/summary.rs", "events per second"),
    ("crates/cli/src/traces.rs", "the share of traces that is sampled"),
    ("crates/connectors/src/export/xlsx.rs", "cells of workbooks; numbers that a double does not hold are text"),
    ("crates/connectors/src/remote_write", "samples are doubles in the protocol, written as their shortest text"),
    ("crates/connectors/src/file/xlsx.rs", "cells that are doubles in the workbook"),
    ("crates/connectors/src/file/avro/value.rs", "float columns, written as their shortest text"),
    ("crates/connectors/src/file/parquet/leaf.rs", "float columns, written as their shortest text"),
    ("crates/connectors/src/file/typed/text.rs", "float columns, written as their shortest text"),
    ("crates/connectors/src/file/typed/value.rs", "float columns, written as their shortest text"),
    ("crates/connectors/src/file/parquet.rs", "bytes a row has on average, for the progress bar"),
    ("crates/script/src/", "numbers of JavaScript; those that do not fit one are decimals"),
    ("crates/store/src/archive/draft.rs", "the false positives of a bloom filter"),
    ("xtask/", "figures of benchmarks; and this list"),
];

/// Attributes whose derived readers buffer their input. With `arbitrary_precision` a number does
/// not leave that buffer as an integer type.
const BUFFERED: &[&str] = &["flatten", "untagged", "tag"];

/// Files that may use such an attribute, and the reason why nothing is lost there.
const MAY_BUFFER: &[(&str, &str)] = &[
    ("crates/engine/src/live/command.rs", "only written by a derive; read by hand"),
    ("crates/node/src/deliveries.rs", "only written"),
    ("crates/node/src/keys/stored.rs", "texts, no numbers"),
    ("crates/node/src/notifications/channels.rs", "texts, no numbers"),
    ("crates/node/src/notifications/condition.rs", "numbers become a `Value`"),
];

/// Checks a source file that is not a test.
pub(super) fn check(name: &str, text: &str, findings: &mut Vec<String>) {
    let listed = |list: &[(&str, &str)]| list.iter().any(|(path, _)| name.starts_with(path));
    let (floats, buffers) = (listed(MAY_USE_FLOATS), listed(MAY_BUFFER));
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words: Vec<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        if let Some(word) = words.iter().find(|word| FLOATS.contains(word)).filter(|_| !floats) {
            findings.push(format!(
                "{name}:{}: `{word}`: numbers of users are decimals; \
                 if it is not one, list the file in xtask/src/tidy/digits.rs",
                number + 1
            ));
        }
        let is_attribute = code.trim_start().starts_with("#[serde(");
        let word = words.iter().find(|word| is_attribute && BUFFERED.contains(word));
        if let Some(word) = word.filter(|_| !buffers) {
            findings.push(format!(
                "{name}:{}: `{word}` buffers, and numbers do not become integers again; \
                 read the fields one by one",
                number + 1
            ));
        }
    }
}

#[test]
fn floats_and_buffering_readers_are_found() {
    let found = |name: &str, text: &str| {
        let mut findings = Vec::new();
        check(name, text, &mut findings);
        findings.len()
    };
    let server = "crates/server/src/api/usage.rs";
    assert_eq!(found(server, "let x = value.as_f64();"), 1);
    assert_eq!(found(server, "let x: f64 = text.parse()?; // f64"), 1);
    assert_eq!(found(server, "// an f64 in a comment"), 0);
    assert_eq!(found(server, "duration.as_secs_f64()"), 0);
    assert_eq!(found(server, "    #[serde(flatten)]"), 1);
    assert_eq!(found(server, "#[serde(tag = \"type\")]"), 1);
    assert_eq!(found("crates/cli/src/summary.rs", "let x = 1 as f64;"), 0);
    assert_eq!(found("crates/node/src/keys/stored.rs", "    #[serde(flatten)]"), 0);
}
