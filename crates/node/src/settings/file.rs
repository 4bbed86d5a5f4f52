//! The settings file: YAML (JSON is YAML), read into names and texts with their lines.
//!
//! `limits: {body_bytes_max: 8MiB}` and `limits.body_bytes_max: 8MiB` are the same. Values keep
//! their text, so that the setting interprets `0644` or `off`, not YAML. One name is a list, that
//! of declared notifications; other lists, anchors and several documents have no meaning here and
//! are refused.

use saphyr_parser::{Event, Parser};

use crate::settings::list::{Item, List};

/// Maximal bytes of a settings file.
const BYTES_MAX: usize = 1 << 20;

/// Maximal nesting of maps: no name has more parts.
const DEPTH_MAX: usize = 8;

/// The one name that is a list.
pub(crate) const DECLARED: &str = "notifications.declared";

/// A file with its lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) lines: Vec<Line>,
    /// The members of the list.
    pub(crate) declared: Vec<Item>,
}

/// A name with its text and line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Reads a file; stops at the first part that is not valid in a settings file.
///
/// # Errors
/// The line and the error.
pub(crate) fn parse(text: &str) -> Result<Parsed, (usize, String)> {
    if text.len() > BYTES_MAX {
        return Err((1, format!("the file is larger than {BYTES_MAX} bytes; it is not a settings file")));
    }
    let mut reader = Reader::default();
    for step in Parser::new_from_str(text) {
        let (event, span) = step.map_err(|why| (why.marker().line(), format!("not YAML: {}", why.info())))?;
        let line = span.start.line();
        reader.take(event, line).map_err(|message| (line, message))?;
    }
    Ok(Parsed { lines: reader.lines, declared: reader.declared.unwrap_or_default() })
}

#[derive(Default)]
struct Reader {
    lines: Vec<Line>,
    /// The keys of the open maps; the last one waits for its value if `has_key`.
    path: Vec<String>,
    depth: usize,
    has_key: bool,
    documents: usize,
    /// The list that is being read.
    list: Option<List>,
    declared: Option<Vec<Item>>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        if let Some(list) = &mut self.list {
            if let Some(items) = list.take(event, line)? {
                (self.list, self.declared, self.has_key) = (None, Some(items), false);
                self.path.pop();
            }
            return Ok(());
        }
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err("more than one document".to_owned()) } else { Ok(()) }
            }
            Event::MappingStart(..) => self.open(),
            Event::MappingEnd => {
                self.depth -= 1;
                self.path.pop();
                self.has_key = false;
                Ok(())
            }
            Event::Scalar(text, ..) => self.scalar(text.into_owned(), line),
            Event::SequenceStart(..) => self.begin_list(),
            Event::Alias(_) => Err("aliases have no meaning here; write the value".to_owned()),
            _ => Ok(()),
        }
    }

    fn open(&mut self) -> Result<(), String> {
        if self.depth > 0 && !self.has_key {
            return Err("a name must be text".to_owned());
        }
        if self.depth >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels; no setting is that deep"));
        }
        self.depth += 1;
        self.has_key = false;
        Ok(())
    }

    fn begin_list(&mut self) -> Result<(), String> {
        let name = self.path.join(".");
        if !self.has_key || name != DECLARED {
            return Err(format!("`{name}` is a list; no setting but {DECLARED} is one"));
        }
        if self.declared.is_some() {
            return Err(format!("`{name}` occurs twice"));
        }
        self.list = Some(List::default());
        Ok(())
    }

    fn scalar(&mut self, text: String, line: usize) -> Result<(), String> {
        if self.depth == 0 {
            return if text.is_empty() || text == "~" { Ok(()) } else { Err("write `name: value`, a line each".to_owned()) };
        }
        if !self.has_key {
            self.path.push(text);
            self.has_key = true;
            return Ok(());
        }
        let name = self.path.join(".");
        self.path.pop();
        self.has_key = false;
        if let Some(first) = self.lines.iter().find(|line| line.name == name) {
            return Err(format!("`{name}` occurs twice; first in line {}", first.line));
        }
        self.lines.push(Line { name, text, line });
        Ok(())
    }
}
