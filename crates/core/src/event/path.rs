//! Dotted paths into an event: `data.user.plan`. A literal dot or backslash inside a
//! name is escaped by a backslash: `server_zones.hg\.nginx\.org.received`. Blanks and other
//! signs may be escaped as well (`API\ name`), which changes nothing about the path.

use std::fmt;

/// A path of one or more names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    written: Box<str>,
    names: Vec<Box<str>>,
}

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// Nothing between two dots, or nothing at all.
    EmptyName,
    /// A backslash before a letter or a digit, or at the end.
    BadEscape,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPath::EmptyName => "a path is names joined by dots, and none of them is empty",
            BadPath::BadEscape => r"in a path a backslash is followed by a dot, a backslash, a blank or another sign",
        })
    }
}

impl Path {
    /// Reads a path as it is written in a pipeline.
    pub fn parse(written: &str) -> Result<Path, BadPath> {
        let mut names = Vec::new();
        let mut name = String::new();
        let mut is_plain = true;
        let mut characters = written.chars();
        while let Some(c) = characters.next() {
            match c {
                '\\' => match characters.next() {
                    Some(literal @ ('.' | '\\')) => name.push(literal),
                    Some(literal) if literal == ' ' || literal.is_ascii_punctuation() => {
                        is_plain = false;
                        name.push(literal);
                    }
                    _ => return Err(BadPath::BadEscape),
                },
                '.' => names.push(std::mem::take(&mut name).into_boxed_str()),
                c => name.push(c),
            }
        }
        names.push(name.into_boxed_str());
        if names.iter().any(|name| name.is_empty()) {
            return Err(BadPath::EmptyName);
        }
        // Equal paths are written alike, so that each has one slot.
        Ok(if is_plain { Path { written: written.into(), names } } else { Path::of(&names) })
    }

    /// The path of names that are not escaped.
    pub fn of<S: AsRef<str>>(names: &[S]) -> Path {
        let escape = |name: &S| name.as_ref().replace('\\', r"\\").replace('.', r"\.");
        let written = names.iter().map(escape).collect::<Vec<_>>().join(".");
        let names = names.iter().map(|name| name.as_ref().into()).collect();
        Path { written: written.into(), names }
    }

    /// The path of a value that is computed: shown as its expression, under a name that no
    /// field of an event is meant to have.
    pub fn computed(expression: &str) -> Path {
        Path { written: expression.into(), names: vec![format!("= {expression}").into_boxed_str()] }
    }

    /// Whether it names a value that is computed.
    pub fn is_computed(&self) -> bool {
        matches!(&*self.names, [name] if name.starts_with("= "))
    }

    /// The path of a column: a name with points is one inside another, as where a document names it.
    pub fn of_column(name: &str) -> Path {
        Path::parse(name).ok().filter(|path| path.is_named(name)).unwrap_or_else(|| Path::of(&[name]))
    }

    /// Whether a column of this name is meant: `a.b` is the column `a.b`, if there is one.
    pub fn is_named(&self, column: &str) -> bool {
        match &*self.names {
            [name] => **name == *column,
            names => {
                let mut rest = Some(column);
                for (i, name) in names.iter().enumerate() {
                    rest = rest.and_then(|rest| if i == 0 { Some(rest) } else { rest.strip_prefix('.') });
                    rest = rest.and_then(|rest| rest.strip_prefix(&**name));
                }
                rest == Some("")
            }
        }
    }

    /// The names, outermost first.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// As it was written: the name of the field in groups and carried values.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether `other` is below this path (or is it).
    pub fn covers(&self, other: &Path) -> bool {
        other.names.starts_with(&self.names)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_what_is_none() {
        let names = |text: &str| Path::parse(text).map(|path| path.names().join("|"));
        assert_eq!(names("data.user.plan").as_deref(), Ok("data|user|plan"));
        assert_eq!(names("API name").as_deref(), Ok("API name"));
        assert_eq!(names(r"zones.hg\.nginx\.org.x\\y").as_deref(), Ok(r"zones|hg.nginx.org|x\y"));
        for bad in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(names(bad), Err(BadPath::EmptyName), "{bad:?}");
        }
        assert_eq!(names(r"a\b"), Err(BadPath::BadEscape));
        assert_eq!(names("a\\"), Err(BadPath::BadEscape));
        assert_eq!(Path::parse(r"API\ name.a\.b\/c"), Path::parse(r"API name.a\.b/c"));
        assert!(Path::parse("resource_tags.user_shop").unwrap().is_named("resource_tags.user_shop"));
        assert!(Path::parse(r"resource_tags\.user_shop").unwrap().is_named("resource_tags.user_shop"));
        assert!(!Path::parse("a.b").unwrap().is_named("a.bc"));
        assert!(!Path::parse("a.b").unwrap().is_named("a"));
        let path = Path::of(&["hg.nginx.org", r"x\y"]);
        assert_eq!(Path::parse(path.as_str()), Ok(path));
    }
}
