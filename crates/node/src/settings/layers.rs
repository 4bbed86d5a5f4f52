//! The sources of values, and their precedence.

use std::fmt;
use std::path::{Path, PathBuf};

use flowmeter_core::suggest::nearest;

use crate::settings::declared::Declared;
use crate::settings::table::{Setting, TABLE};
use crate::settings::value::Value;
use crate::settings::{declared, file, value};

/// The layers of the command line and the machine. They are an argument, so that tests have their
/// own.
#[derive(Clone, Debug, Default)]
pub struct Layers<'a> {
    /// The settings file: its name, for messages, and its text.
    pub file: Option<(&'a Path, &'a str)>,
    /// The environment; only names that begin with `FLOWMETER_` are used.
    pub environment: Vec<(String, String)>,
    /// Names of `FLOWMETER_` variables that are not settings: those of the client.
    pub other_variables: &'a [&'a str],
    /// The flags in order.
    pub flags: Vec<Flag>,
}

/// A setting on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Name of the setting.
    pub name: String,
    /// Text of the value.
    pub text: String,
    /// The name of the flag, for messages: `--listen`, `--set`.
    pub flag: String,
}

impl Flag {
    /// Returns a flag with its own name for a setting.
    pub fn named(flag: &str, name: &str, text: impl Into<String>) -> Flag {
        Flag { name: name.to_owned(), text: text.into(), flag: flag.to_owned() }
    }

    /// Reads the text after `--set`.
    ///
    /// # Errors
    /// A text without `=`.
    pub fn set(assignment: &str) -> Result<Flag, String> {
        let Some((name, text)) = assignment.split_once('=') else {
            return Err(format!("--set {assignment}: write --set name=value"));
        };
        Ok(Flag::named("--set", name.trim(), text))
    }
}

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf, usize),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value for each setting, in the order of the table.
#[derive(Clone, Debug)]
pub(crate) struct Values(pub(crate) Vec<(&'static Setting, Value, Origin)>, pub(crate) Vec<Declared>);

impl Values {
    pub(crate) fn get(&self, name: &str) -> (&Value, &Origin) {
        let found = self.0.iter().find(|(setting, ..)| setting.name == name);
        debug_assert!(found.is_some(), "no setting {name}");
        found.map_or((&Value::None, &Origin::Default), |(_, value, origin)| (value, origin))
    }

    fn put(&mut self, name: &str, text: &str, origin: Origin, problems: &mut Vec<String>) {
        let Some(slot) = self.0.iter_mut().find(|(setting, ..)| setting.name == name) else {
            let meant = nearest(name, TABLE.iter().map(|setting| setting.name));
            problems.push(format!("{origin}: there is no setting `{name}`{}", did_you_mean(meant)));
            return;
        };
        match value::parse(slot.0, text) {
            Ok(value) => (slot.1, slot.2) = (value, origin),
            Err(why) => problems.push(format!("{origin}: {name}: {why}")),
        }
    }
}

impl Layers<'_> {
    /// Merges the layers, lowest first; later ones take precedence.
    pub(crate) fn merge(&self, problems: &mut Vec<String>) -> Values {
        let mut values = Values(Vec::with_capacity(TABLE.len()), Vec::new());
        for setting in TABLE {
            match value::parse(setting, setting.default) {
                Ok(value) => values.0.push((setting, value, Origin::Default)),
                Err(why) => problems.push(format!("the default of {}: {why}", setting.name)),
            }
        }
        if let Some((path, text)) = self.file {
            match file::parse(text) {
                Ok(parsed) => {
                    for line in &parsed.lines {
                        values.put(&line.name, &line.text, Origin::File(path.to_owned(), line.line), problems);
                    }
                    values.1 = declared::read(path, parsed.declared, problems);
                }
                Err((line, why)) => problems.push(format!("{}:{line}: {why}", path.display())),
            }
        }
        for (variable, text) in &self.environment {
            self.variable(variable, text, &mut values, problems);
        }
        for Flag { name, text, flag } in &self.flags {
            values.put(name, text, Origin::Flag(flag.clone()), problems);
        }
        values
    }

    fn variable(&self, variable: &str, text: &str, values: &mut Values, problems: &mut Vec<String>) {
        if !variable.starts_with("FLOWMETER_") || self.other_variables.contains(&variable) || is_of_kubernetes(variable) {
            return;
        }
        // An empty variable counts as unset, as in many tools.
        if text.is_empty() {
            return;
        }
        match TABLE.iter().find(|setting| setting.variable() == variable) {
            Some(setting) => values.put(setting.name, text, Origin::Variable(variable.to_owned()), problems),
            None => {
                let known: Vec<String> = TABLE.iter().map(Setting::variable).collect();
                let meant = did_you_mean(nearest(variable, known.iter().map(String::as_str)));
                problems.push(format!("{variable}: no setting has this variable{meant}"));
            }
        }
    }
}

/// Kubernetes sets the addresses of services as variables of every pod: a service named `flowmeter`
/// makes `FLOWMETER_PORT`, `FLOWMETER_SERVICE_HOST` and others.
fn is_of_kubernetes(variable: &str) -> bool {
    variable.starts_with("FLOWMETER_SERVICE_") || variable == "FLOWMETER_PORT" || variable.starts_with("FLOWMETER_PORT_")
}

fn did_you_mean(meant: Option<&str>) -> String {
    match meant {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; docs/settings.md lists those there are".to_owned(),
    }
}
