//! Checks a document against the table of forms.

use flowmeter_core::suggest::nearest;
use flowmeter_core::time::{Timestamp, Zone, parse_duration};
use flowmeter_core::{decimal, event};

use super::problem::Problems;
use super::shape::{Form, Presence, Shape};
use super::tree::{Kind, Node};

/// Notes every deviation of a node from its form.
pub(super) fn conform(node: &Node, form: &Form, field: &str, problems: &mut Problems) {
    match (form, &node.kind) {
        (Form::Any, _) => {}
        (Form::Either(forms), kind) => match forms.iter().find(|form| suits(form, kind, node)) {
            Some(form) => conform(node, form, field, problems),
            None => problems.add(node, field, format!("expected {}, found {}", expected(form), node.describe())),
        },
        (Form::Object(shape), Kind::Map(_)) => conform_object(node, shape, field, problems),
        (Form::Map(form), Kind::Map(_)) => {
            for (name, value) in node.members() {
                conform(value, form, &join(field, name), problems);
            }
        }
        (Form::List(form), Kind::List(items)) => {
            for (i, item) in items.iter().enumerate() {
                conform(item, form, &format!("{field}[{i}]"), problems);
            }
        }
        (Form::Object(_) | Form::Map(_) | Form::List(_), _) | (_, Kind::List(_) | Kind::Map(_)) => {
            problems.add(node, field, format!("expected {}, found {}", expected(form), node.describe()));
        }
        (scalar, Kind::Scalar(text, _)) => {
            if let Err(message) = conform_scalar(scalar, text) {
                problems.add(node, field, message);
            }
        }
    }
}

pub(super) fn join(field: &str, name: &str) -> String {
    if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") }
}

/// Selects the form of several that a value is meant to have: by kind; a word only if it matches.
fn suits(form: &Form, kind: &Kind, node: &Node) -> bool {
    match (form, kind) {
        (Form::Object(_) | Form::Map(_), Kind::Map(_)) | (Form::List(_), Kind::List(_)) => true,
        (Form::Character, Kind::Scalar(text, _)) => text.chars().count() == 1 || text == "\\t",
        (Form::Boolean, Kind::Scalar(text, _)) => matches!(text.as_str(), "true" | "false"),
        // Older YAML reads `off` as false: accept either spelling.
        (Form::Word(words), Kind::Scalar(text, _)) => {
            words.contains(&text.as_str()) || words.len() > 2 || (*words == ["off"] && text == "false")
        }
        (Form::Object(_) | Form::Map(_) | Form::List(_), _) => false,
        (_, Kind::Scalar(..)) => !node.is_null(),
        _ => false,
    }
}

fn conform_object(node: &Node, shape: &Shape, field: &str, problems: &mut Problems) {
    let Kind::Map(members) = &node.kind else { return };
    for (key, value) in members {
        let Some(name) = key.scalar() else {
            problems.add(key, field, "a field name must be text");
            continue;
        };
        match shape.fields.iter().find(|known| known.name == name) {
            Some(_) if value.is_null() => {}
            Some(known) => conform(value, &known.form, &join(field, name), problems),
            None => {
                let known = shape.fields.iter().map(|known| known.name);
                let advice = match nearest(name, known.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", known.collect::<Vec<_>>().join(", ")),
                };
                problems.add(key, &join(field, name), format!("unknown {} `{name}`; {advice}", shape.noun));
            }
        }
    }
    for known in shape.fields {
        if known.presence == Presence::Required && node.get(known.name).is_none() {
            let message =
                format!("`{}` is missing; write {}: {} ({})", known.name, known.name, expected(&known.form), known.help);
            problems.add(node, &join(field, known.name), message);
        }
    }
}

fn conform_scalar(form: &Form, text: &str) -> Result<(), String> {
    let check = |good: bool| if good { Ok(()) } else { Err(format!("expected {}, found `{text}`", expected(form))) };
    match form {
        Form::Number => check(decimal::parse(text.as_bytes()).is_ok()),
        Form::Integer(least, most) => check(text.parse::<i64>().is_ok_and(|n| (*least..=*most).contains(&n))),
        Form::Boolean => check(matches!(text, "true" | "false")),
        Form::Duration => check(parse_duration(text).is_some()),
        Form::Uuid => check(uuid::Uuid::try_parse(text).is_ok()),
        Form::Instant => check(Timestamp::parse_rfc3339(text.as_bytes()).is_some()),
        Form::Character => check(text.len() == 1 || text == "\\t"),
        Form::Path => event::Path::parse(text).map(drop).map_err(|why| format!("`{text}` is not a path: {why}")),
        Form::Value => match super::value::written(text) {
            super::value::Written::Path(Err(why)) => Err(why),
            super::value::Written::Path(Ok(_)) | super::value::Written::Unclear => Ok(()),
        },
        Form::Word(["off"]) => check(matches!(text, "off" | "false")),
        Form::Word(words) if words.contains(&text) => Ok(()),
        Form::Word(words) => match nearest(text, words.iter().copied()) {
            Some(near) => Err(format!("unknown value `{text}`; did you mean `{near}`?")),
            None => Err(format!("unknown value `{text}`; write one of {}", words.join(", "))),
        },
        Form::Zone => match Zone::named(text) {
            Some(_) => Ok(()),
            None => {
                let names = Zone::names();
                let advice = nearest(text, names.iter().map(String::as_str))
                    .map_or("write an IANA name like Europe/Oslo, or an offset like +02:00".to_owned(), |near| {
                        format!("did you mean `{near}`?")
                    });
                Err(format!("unknown time zone `{text}`; {advice}"))
            }
        },
        _ => Ok(()),
    }
}

/// Describes the expected form, for people.
pub(super) fn expected(form: &Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Number => "a decimal number".to_owned(),
        Form::Integer(least, most) => format!("a whole number from {least} to {most}"),
        Form::Boolean => "true or false".to_owned(),
        Form::Duration => "a duration like 90s, 5m or 32d".to_owned(),
        Form::Path => "a path like data.user.plan".to_owned(),
        Form::Value => "a path like data.tokens, or an expression like data.a * data.b".to_owned(),
        Form::Expression => "a CEL expression like 'data.status == \"ok\"'".to_owned(),
        Form::Zone => "a time zone like Europe/Oslo".to_owned(),
        Form::Uuid => "a UUID like a1f8797b-c827-4483-b6cf-6d3d3baa18a7".to_owned(),
        Form::Instant => "an RFC 3339 time like 2024-01-31T00:00:00Z".to_owned(),
        Form::Word(words) => format!("one of {}", words.join(", ")),
        Form::Character => "one character".to_owned(),
        Form::Any => "a value".to_owned(),
        Form::Object(shape) => {
            let names: Vec<&str> = shape.fields.iter().map(|field| field.name).take(4).collect();
            format!("an object {{{}: …}}", names.join(", "))
        }
        Form::List(form) => format!("a list of {}", expected(form)),
        Form::Map(form) => format!("an object of {}", expected(form)),
        Form::Either(forms) => forms.iter().map(expected).collect::<Vec<_>>().join(" or "),
    }
}
