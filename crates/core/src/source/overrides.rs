//! Options of a source that one run sets for itself.

use serde_json::{Map, Value};

use super::{KafkaStart, RowsFrom, SourceKind, SourcePlan};
use crate::time::Timestamp;

impl SourcePlan {
    /// Returns the source with the options of one run.
    ///
    /// # Errors
    /// Names the option that the source does not have, or whose value does not fit.
    pub fn with(&self, options: &Map<String, Value>) -> Result<SourcePlan, String> {
        let mut source = self.clone();
        for (name, value) in options {
            let wrong = |expected: &str| format!("sources.{}.{name}: expected {expected}, found {value}", self.id);
            let instant = || {
                let at = value.as_str().and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
                at.map(Some).ok_or_else(|| wrong("a time with an offset"))
            };
            let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong("text"));
            match (&mut source.kind, name.as_str()) {
                (SourceKind::Files(_), "path") => {
                    source.paths = match value {
                        Value::String(path) => vec![path.clone()],
                        Value::Array(paths) => {
                            let paths = paths.iter().map(|path| path.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                            paths.ok_or_else(|| wrong("text or a list of texts"))?
                        }
                        _ => return Err(wrong("text or a list of texts")),
                    };
                }
                (SourceKind::Objects(objects), "prefix") => objects.prefix = Some(text()?),
                (SourceKind::Objects(objects), "from") => objects.from = Some(text()?),
                (SourceKind::Objects(objects), "to") => objects.to = Some(text()?),
                (SourceKind::Rows(rows), "query") => rows.from = RowsFrom::Query(text()?),
                (SourceKind::Pages(pages), "start") => pages.start = text()?,
                (SourceKind::Kafka(kafka), "start") => {
                    let written = KafkaStart::read(value);
                    kafka.start = written.ok_or_else(|| wrong("earliest, latest, committed or {\"time\": RFC 3339}"))?;
                }
                (SourceKind::Received(received), "from") => received.from = instant()?,
                (SourceKind::Received(received), "to") => received.to = instant()?,
                (kind, _) => {
                    let known = match kind {
                        SourceKind::Files(_) => "path",
                        SourceKind::Objects(_) => "prefix, from, to",
                        SourceKind::Rows(_) => "query",
                        SourceKind::Received(_) => "from, to",
                        SourceKind::Pages(_) | SourceKind::Kafka(_) => "start",
                        SourceKind::Http | SourceKind::Output(_) => "none",
                    };
                    return Err(format!("sources.{}.{name}: a run of this source may set: {known}", self.id));
                }
            }
        }
        Ok(source)
    }
}

impl KafkaStart {
    fn read(value: &Value) -> Option<KafkaStart> {
        let time = value.get("time").and_then(Value::as_str).and_then(|text| Timestamp::parse_rfc3339(text.as_bytes()));
        match (value.as_str(), time) {
            (Some("earliest"), _) => Some(KafkaStart::Earliest),
            (Some("latest"), _) => Some(KafkaStart::Latest),
            (Some("committed"), _) => Some(KafkaStart::Committed),
            (None, Some(at)) => Some(KafkaStart::Time(at.nanos() / 1_000_000)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_start_is_read_as_the_document_writes_it() {
        assert_eq!(KafkaStart::read(&json!("latest")), Some(KafkaStart::Latest));
        let time = json!({"time": "2026-01-01T01:00:00+01:00"});
        assert_eq!(KafkaStart::read(&time), Some(KafkaStart::Time(1_767_225_600_000)));
        for wrong in [json!("now"), json!({"time": "yesterday"}), json!(5), json!(null)] {
            assert_eq!(KafkaStart::read(&wrong), None, "{wrong}");
        }
    }
}
