//! Settings for people: the effective ones, and the page of all.

use std::fmt::Write;

use crate::settings::layers::Values;
use crate::settings::table::{Kind, Setting};
use crate::settings::value;

/// Returns a settings file with the effective values and their origins.
pub(crate) fn print(values: &Values) -> String {
    let mut out = String::new();
    for (setting, value, origin) in &values.0 {
        let line = format!("{}: {}", setting.name, quoted(&value::show(value)));
        let _ = writeln!(out, "{line:<48} # {origin}");
    }
    out
}

/// Returns every setting with its value, its default and its origin. Secrets are shown as
/// references.
pub(crate) fn list(values: &Values) -> Vec<serde_json::Value> {
    let shown = |(setting, value, origin): &(&'static Setting, value::Value, crate::settings::layers::Origin)| {
        let value = value::show(value);
        serde_json::json!({
            "name": setting.name, "value": value, "default": setting.default, "isDefault": *origin == crate::settings::layers::Origin::Default,
            "origin": origin.to_string(), "range": value::expected(setting), "why": setting.reason,
            "variable": setting.variable(), "restart": true,
        })
    };
    values.0.iter().map(shown).collect()
}

/// Quotes texts that YAML would read as something else; with single quotes, which only have to be
/// doubled.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:+".contains(c);
    match text.chars().all(is_plain) && !text.ends_with(':') && !text.starts_with(['-', ':']) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Returns the page in `docs/`.
#[cfg_attr(not(test), allow(dead_code))] // a test compares docs/settings.md with it
pub(crate) fn markdown(table: &[Setting]) -> String {
    let mut out = String::from(HEAD);
    for setting in table {
        let Setting { name, default, reason, .. } = setting;
        let unit = match setting.kind {
            Kind::Count(unit, ..) if !unit.is_empty() => format!(" {unit}"),
            _ => String::new(),
        };
        let expected = value::expected(setting);
        let _ = writeln!(out, "| `{name}` | `{default}`{unit} | {expected} | {reason} |");
    }
    out
}

const HEAD: &str = "\
# Settings

Written from the table in `crates/node/src/settings/table.rs`; after a change there, run
`UPDATE=1 cargo test -p flowmeter-server settings`.

A setting comes from, the first that has it: a flag (`--set name=value`, or its own), the environment (`FLOWMETER_` and the
name in capitals, dots as underscores: `FLOWMETER_LIMITS_BODY_BYTES_MAX`; an empty variable is none), the settings file (YAML,
`limits: {body_bytes_max: 8MiB}` or `limits.body_bytes_max: 8MiB`), its default. Unknown names and values out of range stop the
start. `--print-config` prints what is in force and where each value came from.

Sizes are written `64MiB` (powers of 1024), `64MB` (powers of 1000) or in bytes; times `500ms`, `30s`, `5m`, `12h`, `32d`, `4w`.
Secrets are never written, only where they are: `${env:NAME}`, `${file:PATH}`.

| name | default | what it may be | why |
|---|---|---|---|
";
