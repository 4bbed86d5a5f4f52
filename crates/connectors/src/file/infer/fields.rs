//! The fields of sample events, with their values.

use serde_json::Value;

use super::meaning::{Meaning, Reading};
use super::names::Words;

/// A field of the events of a file.
#[derive(Clone, Debug)]
pub(in crate::file) struct Field {
    /// Its path, as a pipeline names it.
    pub(super) path: String,
    pub(super) words: Words,
    pub(super) meaning: Meaning,
    /// The values that are not empty, in the order of the rows.
    pub(super) values: Vec<String>,
    /// Values that do not fit the meaning.
    pub(super) misfits: Vec<String>,
    /// Whether its values are text.
    pub(super) is_text: bool,
    /// Whether equal values occur only in equal rows.
    pub(super) identifies: bool,
    /// Another meaning that the values may have.
    pub(super) doubt: Option<String>,
}

impl Field {
    /// A field that is known without a look at its values.
    pub(super) fn known(path: &str, meaning: Meaning) -> Field {
        Field {
            path: path.to_owned(),
            words: Words::of(path),
            meaning,
            values: Vec::new(),
            misfits: Vec::new(),
            is_text: true,
            identifies: false,
            doubt: None,
        }
    }

    /// Returns how many different values that fit it has.
    pub(super) fn distinct(&self) -> usize {
        let mut values: Vec<&String> = self.values.iter().filter(|value| !self.misfits.contains(value)).collect();
        values.sort_unstable();
        values.dedup();
        values.len()
    }

    /// Describes the field: its meaning, a value, and the values that do not fit.
    pub(super) fn shown(&self) -> String {
        let mut shown = self.meaning.name();
        let fits = |value: &&String| !self.misfits.contains(value);
        if let Some(sample) = self.values.iter().find(fits).map(|value| plain(value)).filter(|sample| !sample.is_empty()) {
            shown.push_str(&format!(", like {sample}"));
        }
        if let Some(first) = self.misfits.first() {
            let (few, all) = (self.misfits.len(), self.values.len());
            let fit = if few == 1 { "does not fit" } else { "do not fit" };
            shown.push_str(&format!("; {few} of {all} values {fit}, like {}", plain(first)));
        }
        if let Some(doubt) = &self.doubt {
            shown.push_str(&format!("; {doubt}"));
        }
        shown
    }
}

/// Returns the beginning of a text on one line, for a comment.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// A column of the sample: its path, its values with their rows, and whether they are text.
#[derive(Debug)]
struct Column {
    path: String,
    cells: Vec<(usize, String)>,
    is_text: bool,
}

/// Sample events, by field, in order of their first occurrence.
#[derive(Debug, Default)]
pub(super) struct Seen {
    columns: Vec<Column>,
    /// The whole text of each event.
    rows: Vec<String>,
}

impl Seen {
    /// Begins the next event; `whole` is its text.
    pub(super) fn begin(&mut self, whole: &str) {
        self.rows.push(whole.to_owned());
    }

    /// Notes a value; `is_text` separates a text from a number.
    pub(super) fn note(&mut self, path: &str, value: &str, is_text: bool) {
        let at = self.columns.iter().position(|known| known.path == path).unwrap_or_else(|| {
            self.columns.push(Column { path: path.to_owned(), cells: Vec::new(), is_text: false });
            self.columns.len() - 1
        });
        let column = &mut self.columns[at];
        column.is_text |= is_text;
        if !value.is_empty() {
            column.cells.push((self.rows.len(), value.to_owned()));
        }
    }

    /// Notes the fields of an event.
    pub(super) fn note_json(&mut self, event: &Value, text: &str) {
        self.begin(text);
        self.note_members("", event);
    }

    fn note_members(&mut self, at: &str, value: &Value) {
        for (name, inner) in value.as_object().into_iter().flatten().filter(|(name, _)| !name.is_empty()) {
            let name = escaped(name);
            let path = if at.is_empty() { name } else { format!("{at}.{name}") };
            match inner {
                Value::Object(_) => self.note_members(&path, inner),
                Value::String(text) => self.note(&path, text, true),
                Value::Number(number) => self.note(&path, &number.to_string(), false),
                Value::Null | Value::Bool(_) | Value::Array(_) => {}
            }
        }
    }

    /// Returns how many events there are, and how many of them equal another one.
    pub(super) fn events(&self) -> (usize, usize) {
        let mut rows: Vec<&String> = self.rows.iter().collect();
        rows.sort_unstable();
        rows.dedup();
        (self.rows.len(), self.rows.len() - rows.len())
    }

    /// Returns the fields and what they seem to mean.
    pub(super) fn fields(&self, delimiter: u8) -> Vec<Field> {
        let field = |column: &Column| {
            let words = Words::of(&column.path);
            let values: Vec<String> = column.cells.iter().map(|(_, value)| value.clone()).collect();
            let Reading { meaning, misfits, doubt } = Reading::of(&values, column.is_text, &words, delimiter);
            let (path, is_text) = (column.path.clone(), column.is_text);
            Field { path, words, meaning, misfits, doubt, values, is_text, identifies: self.identifies(column) }
        };
        self.columns.iter().map(field).collect()
    }

    /// Whether every event has a value, and two events with the same value are the same event.
    fn identifies(&self, column: &Column) -> bool {
        let mut cells: Vec<(&str, &str)> =
            column.cells.iter().map(|(row, value)| (value.as_str(), self.rows[row - 1].as_str())).collect();
        cells.sort_unstable();
        cells.len() == self.rows.len() && cells.windows(2).all(|two| two[0].0 != two[1].0 || two[0].1 == two[1].1)
    }
}

/// Returns a name as one part of a path.
pub(super) fn escaped(name: &str) -> String {
    name.replace('\\', r"\\").replace('.', r"\.")
}
