//! Tables as CSV for spreadsheets.
//!
//! A cell that begins with `=`, `+`, `-` or `@` would be a formula there. A number keeps its digits;
//! any other text of this kind gets an apostrophe in front.

use flowmeter_connectors::export::disarmed;

/// A table that is being written, row by row.
#[derive(Debug, Default)]
pub struct Table {
    text: String,
    is_begun: bool,
}

impl Table {
    /// Creates a table with the names of its columns.
    pub fn with_columns<'n>(names: impl IntoIterator<Item = &'n str>) -> Table {
        let mut table = Table::default();
        names.into_iter().for_each(|name| table.cell(name));
        table.end_row();
        table
    }

    /// Adds a cell to the current row.
    pub fn cell(&mut self, text: &str) {
        if std::mem::replace(&mut self.is_begun, true) {
            self.text.push(',');
        }
        let text = disarmed(text);
        if text.contains(['"', ',', '\n', '\r']) {
            self.text.push('"');
            self.text.push_str(&text.replace('"', "\"\""));
            self.text.push('"');
        } else {
            self.text.push_str(&text);
        }
    }

    /// Ends the current row.
    pub fn end_row(&mut self) {
        self.text.push_str("\r\n");
        self.is_begun = false;
    }

    /// Returns the text of the table.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_disarmed() {
        let cases = [
            ("anna", "anna"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-anna", "'-anna"),
            ("+47 22 33", "'+47 22 33"),
            ("=A1,B1", "\"'=A1,B1\""),
            ("-1842.00000000000000025", "-1842.00000000000000025"),
            ("-12345678901234567890.123456789012345678", "-12345678901234567890.123456789012345678"),
            ("+5", "+5"),
            ("-1e3", "-1e3"),
            ("-", "'-"),
            ("", ""),
        ];
        for (text, expected) in cases {
            let mut table = Table::default();
            table.cell(text);
            assert_eq!(table.finish(), expected, "{text}");
        }
    }

    #[test]
    fn rows_follow_their_columns() {
        let mut table = Table::with_columns(["id", "value"]);
        table.cell("1");
        table.cell("");
        table.end_row();
        assert_eq!(table.finish(), "id,value\r\n1,\r\n");
    }
}
