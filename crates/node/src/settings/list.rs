//! A list in the settings file: declared notifications, whose members are not settings. It becomes
//! the JSON of the same notification in the API, so that one reader reads both.

use saphyr_parser::{Event, ScalarStyle};
use serde_json::{Map, Value};

/// Maximal nesting of lists and objects; a notification has seven levels.
const DEPTH_MAX: usize = 16;

/// A list that is being read.
#[derive(Debug, Default)]
pub(crate) struct List {
    open: Vec<Open>,
    items: Vec<Item>,
}

/// A member of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) line: usize,
}

#[derive(Debug)]
enum Open {
    Object { members: Map<String, Value>, key: Option<String>, line: usize },
    List(Vec<Value>),
}

impl List {
    /// Takes an event of the YAML parser; returns the members at the end of the list.
    pub(crate) fn take(&mut self, event: Event<'_>, line: usize) -> Result<Option<Vec<Item>>, String> {
        match event {
            Event::MappingStart(..) => self.begin(Open::Object { members: Map::new(), key: None, line })?,
            Event::SequenceStart(..) => self.begin(Open::List(Vec::new()))?,
            Event::MappingEnd => match self.open.pop() {
                Some(Open::Object { members, line, .. }) => self.put(Value::Object(members), line)?,
                _ => return Err("not YAML".to_owned()),
            },
            Event::SequenceEnd => match self.open.pop() {
                Some(Open::List(values)) => self.put(Value::Array(values), line)?,
                _ => return Ok(Some(std::mem::take(&mut self.items))),
            },
            Event::Scalar(text, style, ..) => self.scalar(&text, style, line)?,
            Event::Alias(_) => return Err("aliases have no meaning here; write the value".to_owned()),
            _ => {}
        }
        Ok(None)
    }

    fn begin(&mut self, open: Open) -> Result<(), String> {
        if let Some(Open::Object { key: None, .. }) = self.open.last() {
            return Err("a name must be text".to_owned());
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels"));
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, line: usize) -> Result<(), String> {
        if let Some(Open::Object { members, key: key @ None, .. }) = self.open.last_mut() {
            if members.contains_key(text) {
                return Err(format!("`{text}` occurs twice"));
            }
            *key = Some(text.to_owned());
            return Ok(());
        }
        let plain = style == ScalarStyle::Plain;
        let value = match text {
            "" | "~" | "null" if plain => Value::Null,
            "true" if plain => Value::Bool(true),
            "false" if plain => Value::Bool(false),
            // A plain text is a number if it is one in JSON.
            _ if plain => serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| text.into(), Value::Number),
            _ => text.into(),
        };
        self.put(value, line)
    }

    fn put(&mut self, value: Value, line: usize) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.items.push(Item { value, line }),
            Some(Open::List(values)) => values.push(value),
            Some(Open::Object { members, key, .. }) => {
                let name = key.take().ok_or_else(|| "a name must be text".to_owned())?;
                members.insert(name, value);
            }
        }
        Ok(())
    }
}
