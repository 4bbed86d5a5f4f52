//! References in settings: `${env:NAME}` and `${file:PATH}` stand for a value that is
//! never written into a document, and never shown again.

use flowmeter_engine::{Error, Kind};

/// Returns the text with every reference replaced by its value.
pub fn expand(text: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let Some(length) = rest[at..].find('}') else { break };
        out.push_str(&value(&rest[at + 2..at + length])?);
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value(reference: &str) -> Result<String, Error> {
    match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .map_err(|_| Error::new(Kind::Invalid, format!("${{env:{name}}}: the environment has no such variable; set it"))),
        Some(("file", path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(why) => Err(Error::io(format!("${{file:{path}}}"), &why)),
        },
        _ => Err(Error::new(Kind::Invalid, format!("${{{reference}}}: write ${{env:NAME}} or ${{file:PATH}}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_or_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let text = format!("a${{file:{}}}b", file.path().display());
        assert_eq!(expand(&text).unwrap(), "as3cretb");
        assert_eq!(expand("plain {periodEnd}").unwrap(), "plain {periodEnd}");
        assert!(expand("${env:NO_SUCH_VARIABLE_HERE}").is_err());
        assert!(expand("${vault:x}").is_err());
    }
}
