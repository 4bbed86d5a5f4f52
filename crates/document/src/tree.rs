//! YAML as a tree of nodes with their positions.
//!
//! JSON is YAML, so one parser reads both. Scalars keep their text: `0.1` does not become a float,
//! and `off` does not become false. Anchors work; the number of nodes is bounded, so that aliases
//! of aliases cannot grow beyond it.

use std::collections::HashMap;

use flowmeter_core::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_NODES_MAX};
use saphyr_parser::{Event, Parser, ScalarStyle};

use super::problem::{Problem, Problems};

/// Maximal nesting of lists and maps.
const DEPTH_MAX: usize = 64;

/// A node of a document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Text, and whether it was quoted (a quoted scalar is always text).
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Returns the value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.members().find(|(key, _)| *key == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// Returns the fields of a map.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Node)> {
        let members = match &self.kind {
            Kind::Map(members) => members.as_slice(),
            _ => &[],
        };
        members.iter().filter_map(|(key, value)| Some((key.scalar()?, value)))
    }

    /// Returns the items of a list.
    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The value of a field of a map, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        let Kind::Map(members) = &mut self.kind else { return None };
        members.iter_mut().find(|(key, _)| key.scalar() == Some(name)).map(|(_, value)| value)
    }

    /// The items of a list, to be changed.
    pub(super) fn items_mut(&mut self) -> &mut [Node] {
        match &mut self.kind {
            Kind::List(items) => items,
            _ => &mut [],
        }
    }

    /// Puts a text under another name in the place of a field of a map.
    pub(super) fn replace_by_text(&mut self, name: &str, other: &str, text: String) {
        let Kind::Map(members) = &mut self.kind else { return };
        if let Some((key, value)) = members.iter_mut().find(|(key, _)| key.scalar() == Some(name)) {
            key.kind = Kind::Scalar(other.to_owned(), true);
            value.kind = Kind::Scalar(text, true);
        }
    }

    /// Adds items to a list of a map; a missing list is created.
    pub(super) fn extend_list(&mut self, name: &str, more: impl IntoIterator<Item = Node>) {
        let (line, column) = (self.line, self.column);
        let Kind::Map(members) = &mut self.kind else { return };
        let at = members.iter().position(|(key, _)| key.scalar() == Some(name)).unwrap_or_else(|| {
            let key = Node { line, column, kind: Kind::Scalar(name.to_owned(), true) };
            members.push((key, Node { line, column, kind: Kind::List(Vec::new()) }));
            members.len() - 1
        });
        let list = &mut members[at].1;
        if list.is_null() {
            list.kind = Kind::List(Vec::new());
        }
        if let Kind::List(items) = &mut list.kind {
            items.extend(more);
        }
    }

    /// Returns the text of a scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Returns the text of a field that is a scalar.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.scalar()
    }

    /// Whether the value is `null`, `~` or empty.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, false) if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Describes the node, for people.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Scalar(text, _) => format!("`{}`", text.chars().take(60).collect::<String>()),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "an object".to_owned(),
        }
    }

    /// Returns the node as the text of a JSON document, with fields in their order and every digit.
    pub(super) fn json_text(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match &self.kind {
            Kind::Scalar(..) => out.push_str(&self.to_json().to_string()),
            Kind::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    item.write_json(out);
                }
                out.push(']');
            }
            Kind::Map(_) => {
                out.push('{');
                for (i, (name, value)) in self.members().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    out.push_str(&serde_json::Value::from(name).to_string());
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Returns the node as JSON, with the types that YAML's core schema gives to plain scalars.
    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Scalar(text, true) => Value::String(text.clone()),
            Kind::Scalar(text, false) => match text.as_str() {
                "" | "~" | "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                plain if flowmeter_core::decimal::parse(plain.as_bytes()).is_ok() => {
                    serde_json::from_str(plain).unwrap_or_else(|_| Value::String(plain.to_owned()))
                }
                plain => Value::String(plain.to_owned()),
            },
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(members) => {
                let members = members.iter().filter_map(|(key, value)| Some((key.scalar()?.to_owned(), value.to_json())));
                Value::Object(members.collect())
            }
        }
    }
}

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, Problems> {
    let fail = |line, column, message: String| Problems(vec![Problem { line, column, field: String::new(), message }]);
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(fail(1, 1, format!("the document is larger than {DOCUMENT_BYTES_MAX} bytes")));
    }
    let mut builder = Builder::default();
    for step in Parser::new_from_str(text) {
        let (event, span) = step.map_err(|error| {
            let at = error.marker();
            fail(at.line(), at.col() + 1, format!("not YAML: {}", error.info()))
        })?;
        let (line, column) = (span.start.line(), span.start.col() + 1);
        builder.take(event, line, column).map_err(|message| fail(line, column, message))?;
    }
    builder.root.ok_or_else(|| fail(1, 1, "the document is empty; begin with `pipeline: a-name`".to_owned()))
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<(Node, usize)>,
    anchors: HashMap<usize, Node, std::hash::BuildHasherDefault<flowmeter_core::aggregation::Fingerprint>>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize, column: usize) -> Result<(), String> {
        let node = |kind| Node { line, column, kind };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                self.close(node(Kind::Scalar(text.into_owned(), quoted)), anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(node(Kind::List(Vec::new())), anchor),
            Event::MappingStart(anchor, _) => self.begin(node(Kind::Map(Vec::new())), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((done, anchor)) => self.close(done, anchor),
                None => Err("an end without a beginning".to_owned()),
            },
            Event::Alias(anchor) => {
                let copy = self.anchors.get(&anchor).cloned().ok_or("an alias of something unknown, or of itself")?;
                self.nodes += size(&copy);
                self.close(Node { line, column, ..copy }, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels"));
        }
        self.open.push((node, anchor));
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > DOCUMENT_NODES_MAX {
            return Err(format!("more than {DOCUMENT_NODES_MAX} values"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some((parent, _)) = self.open.last_mut() else {
            return match self.root.replace(node) {
                None => Ok(()),
                Some(_) => Err("more than one document; keep one pipeline in a file".to_owned()),
            };
        };
        match &mut parent.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(members) => match members.last_mut() {
                // A key waits for its value under a placeholder that cannot occur in a document.
                Some((key, value)) if value.line == 0 => {
                    let name = key.scalar().map(str::to_owned);
                    *value = node;
                    if let Some(name) = name
                        && members[..members.len() - 1].iter().any(|(key, _)| key.scalar() == Some(&name))
                    {
                        return Err(format!("the field `{name}` occurs twice"));
                    }
                }
                _ => members.push((node, Node { line: 0, column: 0, kind: Kind::List(Vec::new()) })),
            },
            Kind::Scalar(..) => {}
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(..) => 1,
        Kind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Map(members) => 1 + members.iter().map(|(_, value)| 1 + size(value)).sum::<usize>(),
    }
}
