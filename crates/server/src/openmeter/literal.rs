//! Filters as a Python program writes them: OpenMeter's client for Python sends the `repr`
//! of a dict, `{'model': 'gpt-4o'}`, where others send `filterGroupBy[model]=gpt-4o`. JSON
//! is read by the same few lines.

/// Names and, for each, the values that pass; `None`: it is not written like that.
pub(super) fn read(text: &str) -> Option<Vec<(String, Vec<String>)>> {
    let mut reader = Reader { rest: text.trim() };
    let mut all = Vec::new();
    reader.expect("{")?;
    if reader.expect("}").is_none() {
        loop {
            let key = reader.text()?;
            reader.expect(":")?;
            all.push((key, reader.values()?));
            if reader.expect(",").is_none() {
                break;
            }
        }
        reader.expect("}")?;
    }
    reader.rest.is_empty().then_some(all)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn expect(&mut self, mark: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(mark)?.trim_start();
        Some(())
    }

    fn values(&mut self) -> Option<Vec<String>> {
        if self.expect("[").is_none() {
            return Some(vec![self.text()?]);
        }
        let mut values = Vec::new();
        loop {
            values.push(self.text()?);
            if self.expect(",").is_none() {
                self.expect("]")?;
                return Some(values);
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut characters = self.rest.char_indices();
        let (_, quote @ ('\'' | '"')) = characters.next()? else { return None };
        let mut text = String::new();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => text.push(match characters.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    digits @ ('x' | 'u' | 'U') => {
                        let count = [('x', 2), ('u', 4), ('U', 8)].iter().find(|(known, _)| *known == digits)?.1;
                        let hex: String = characters.by_ref().take(count).map(|(_, c)| c).collect();
                        char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
                    }
                    other => other,
                }),
                c if c == quote => {
                    self.rest = self.rest[at + 1..].trim_start();
                    return Some(text);
                }
                c => text.push(c),
            }
        }
        None
    }
}
