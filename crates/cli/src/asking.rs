//! One question to a server over HTTP, and its answer.

use std::time::Duration;

use anyhow::{Context, bail};
use flowmeter_connectors::answer::{RECORD_BYTES_MAX, read_blocking};
use serde_json::Value;

use crate::failure::Wrong;

/// How long a question and its whole answer may take: a backup reads everything there is.
const PATIENCE: Duration = Duration::from_secs(600);

/// An answer: its status, and its body as JSON.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The body, or the problem that the server told.
    pub(crate) fn good(self) -> anyhow::Result<Value> {
        match self.status {
            200..=299 => Ok(self.body),
            status => {
                let told = self.body.get("detail").or_else(|| self.body.get("title")).and_then(Value::as_str);
                bail!("the server answered {status}: {}", told.unwrap_or("it did not say why"))
            }
        }
    }
}

/// Asks a server. `body`: JSON to post; without, it is a GET.
pub(crate) fn ask(url: &str, key: Option<&str>, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
    if !url.starts_with("http://") {
        return Err(Wrong(format!("`{url}` does not begin with http://; this command asks without TLS")).into());
    }
    let base = url.trim_end_matches('/');
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
    let agent: ureq::Agent = config.timeout_global(Some(PATIENCE)).build().into();
    let request = ureq::http::Request::builder().uri(format!("{base}{path}")).header("accept", "application/json");
    let request = match key {
        Some(key) => request.header("authorization", format!("Bearer {key}")),
        None => request,
    };
    let invalid = |why: ureq::http::Error| Wrong(format!("{base}{path}: {why}"));
    let sent = match body {
        None => agent.run(request.method("GET").body(()).map_err(invalid)?),
        Some(body) => {
            let request = request.method("POST").header("content-type", "application/json");
            agent.run(request.body(body.to_string()).map_err(invalid)?)
        }
    };
    let response = sent.with_context(|| format!("no server answers at {base}"))?;
    let status = response.status().as_u16();
    let bytes = read_blocking(response.into_body().into_reader(), RECORD_BYTES_MAX);
    let bytes = bytes.with_context(|| format!("{base} did not finish its answer"))?;
    let body = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
    Ok(Answer { status, body: body.with_context(|| format!("what {base} answered is not JSON"))? })
}

/// A name as a part of a path.
pub(crate) fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_paths() {
        assert_eq!(escaped("a b/ü"), "a%20b%2F%C3%BC");
    }
}
