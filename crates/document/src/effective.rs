//! The effective document: what was written, with every default written out.

use super::forms;
use super::shape::{Form, Presence};
use super::tree::{Kind, Node};

/// The document as YAML, defaults included, in the order of the table.
pub(super) fn effective(tree: &Node) -> String {
    let mut out = String::new();
    write(tree, &forms::PIPELINE, 0, &mut out);
    out
}

fn write(node: &Node, form: &Form, indent: usize, out: &mut String) {
    match (form, &node.kind) {
        (Form::Object(shape), Kind::Map(_)) => {
            for field in shape.fields {
                match (node.get(field.name), field.presence) {
                    (Some(value), _) => member(field.name, value, &field.form, indent, out),
                    (None, Presence::Default(value)) => {
                        pad(indent, out);
                        let shown = if value.starts_with('[') { value.to_owned() } else { scalar(value, false, &field.form) };
                        out.push_str(&format!("{}: {shown}\n", field.name));
                    }
                    (None, Presence::Filled) => {
                        let empty = Node { kind: Kind::Map(Vec::new()), ..node.clone() };
                        pad(indent, out);
                        out.push_str(&format!("{}:\n", field.name));
                        write(&empty, &field.form, indent + 2, out);
                    }
                    (None, Presence::Required | Presence::Optional) => {}
                }
            }
        }
        // One field is a list of one: the same breakdown, written in one way.
        (Form::Either([Form::Path, Form::List(_)]), Kind::Scalar(text, quoted)) => {
            pad(indent, out);
            out.push_str(&format!("- {}\n", scalar(text, *quoted, &Form::Path)));
        }
        (Form::Either(forms), kind) => {
            let object = |form: &&Form| matches!(form, Form::Object(_) | Form::Map(_));
            let list = |form: &&Form| matches!(form, Form::List(_));
            let inner = match kind {
                Kind::Map(_) => forms.iter().find(object),
                Kind::List(_) => forms.iter().find(list),
                Kind::Scalar(..) => forms.iter().find(|form| !object(form) && !list(form)),
            };
            write(node, inner.unwrap_or(&Form::Any), indent, out);
        }
        (_, Kind::Map(members)) => {
            let inner = if let Form::Map(inner) = form { inner } else { &Form::Any };
            for (key, value) in members {
                member(key.scalar().unwrap_or_default(), value, inner, indent, out);
            }
        }
        (_, Kind::List(items)) => {
            let inner = if let Form::List(inner) = form { inner } else { &Form::Any };
            for item in items {
                let mut text = String::new();
                write(item, inner, indent + 2, &mut text);
                pad(indent, out);
                out.push_str("- ");
                out.push_str(text.trim_start());
            }
        }
        (_, Kind::Scalar(text, quoted)) => {
            pad(indent, out);
            out.push_str(&scalar(text, *quoted, form));
            out.push('\n');
        }
    }
}

fn member(name: &str, value: &Node, form: &Form, indent: usize, out: &mut String) {
    pad(indent, out);
    out.push_str(&scalar(name, false, &Form::Text));
    out.push(':');
    match &value.kind {
        Kind::Scalar(text, quoted) => out.push_str(&format!(" {}\n", scalar(text, *quoted, form))),
        Kind::List(items) if items.is_empty() => out.push_str(" []\n"),
        Kind::Map(members) if members.is_empty() => out.push_str(" {}\n"),
        _ => {
            out.push('\n');
            write(value, form, indent + 2, out);
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Plain where YAML reads it back as the same text, in JSON's quotes elsewhere. Quotes around a
/// number distinguish text only where any value is allowed: `5m` and `"5m"` are one duration.
fn scalar(text: &str, quoted: bool, form: &Form) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./+% ".contains(c);
    let plain = !text.is_empty()
        && text.chars().all(safe)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with(' ');
    let is_any = |form: &Form| matches!(form, Form::Any);
    let any = is_any(form) || matches!(form, Form::Either(forms) if forms.iter().any(is_any));
    let numeric = any && text.starts_with(|c: char| c.is_ascii_digit());
    match plain && !(quoted && (numeric || matches!(text, "true" | "false" | "null"))) {
        true => text.to_owned(),
        false => serde_json::Value::String(text.to_owned()).to_string(),
    }
}
