//! References to secrets: what is known of them until they are needed.

use std::fmt;

/// Where a secret is to be found. Printing it prints the reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Environment(String),
    File(String),
}

impl Secret {
    /// Reads `${env:NAME}` or `${file:PATH}`. The message does not repeat the text: who
    /// writes a secret here by mistake shall not find it in a log.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
        let place = match inner.and_then(|inner| inner.split_once(':')) {
            Some(("env", name)) if !name.is_empty() => Some(Place::Environment(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Some(Place::File(path.to_owned())),
            _ => None,
        };
        place.map(Secret).ok_or_else(|| {
            "a secret is never written here (what is written is not shown); write ${env:NAME} or ${file:PATH}, where it is"
                .to_owned()
        })
    }

    /// The secret itself, without the line end that editors put after it. Use it at once.
    ///
    /// # Errors
    /// A variable or a file that is not there, or is empty.
    pub fn reveal(&self) -> Result<String, String> {
        let text = match &self.0 {
            Place::Environment(name) => {
                std::env::var(name).map_err(|_| format!("{self}: the environment has no such variable; set it"))?
            }
            Place::File(path) => std::fs::read_to_string(path).map_err(|why| format!("{self}: {why}"))?,
        };
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() { Err(format!("{self}: it is empty")) } else { Ok(text.to_owned()) }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Environment(name) => write!(f, "${{env:{name}}}"),
            Place::File(path) => write!(f, "${{file:{path}}}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
