//! Prometheus remote write, versions 1 and 2: each sample is an event.
//!
//! A request is a Protobuf message in Snappy's block format. A sample without a finite value cannot be
//! counted; the marker of a series that has ended is one of those.

mod message;
#[cfg(test)]
mod tests;

use data_encoding::HEXLOWER;
use flowmeter_core::time::Timestamp;
use prost::Message;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::lines::{Bounds, Lines};
use crate::otlp::Fault;
use message::{Histogram, Request, Sample, WriteRequest};

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1; its message is `prometheus.WriteRequest`.
    One,
    /// Version 2; its message is `io.prometheus.write.v2.Request`.
    Two,
}

/// The events of a request.
#[derive(Debug)]
pub struct Written {
    /// The events of samples and histograms.
    pub lines: Lines,
    /// The number of samples among them.
    pub samples: u32,
    /// The number of native histograms among them.
    pub histograms: u32,
}

/// The value by which Prometheus marks the end of a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Reads the events of a request.
///
/// # Errors
/// The body is no such request, or has too many events.
pub fn read(version: Version, body: &[u8], bounds: Bounds) -> Result<Written, Fault> {
    let no_snappy = |why: snap::Error| Fault::Unreadable(format!("the body is not in Snappy's block format: {why}"));
    let length = snap::raw::decompress_len(body).map_err(no_snappy)?;
    if length > bounds.bytes_max {
        return Err(Fault::TooLarge(format!(
            "the body has {length} bytes decompressed, at most {} are allowed",
            bounds.bytes_max
        )));
    }
    let body = snap::raw::Decoder::new().decompress_vec(body).map_err(no_snappy)?;
    let no_message = |why: prost::DecodeError| Fault::Unreadable(format!("the body is no such Protobuf message: {why}"));
    let mut written = Written { lines: Lines::new(bounds), samples: 0, histograms: 0 };
    match version {
        Version::One => {
            for series in WriteRequest::decode(&body[..]).map_err(no_message)?.timeseries {
                let labels = series.labels.iter().map(|label| (&*label.name, &*label.value));
                written.series(labels, &series.samples, &series.histograms);
            }
        }
        Version::Two => {
            let request = Request::decode(&body[..]).map_err(no_message)?;
            for series in &request.timeseries {
                let symbol = |at: &u32| usize::try_from(*at).ok().and_then(|at| request.symbols.get(at));
                let symbols: Option<Vec<&String>> = series.labels_refs.iter().map(symbol).collect();
                let missing = || Fault::Unreadable("a label refers to a symbol that is not there".to_owned());
                let symbols = symbols.ok_or_else(missing)?;
                let labels = symbols.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
                written.series(labels, &series.samples, &series.histograms);
            }
        }
    }
    let lines = written.lines.finish().map_err(Fault::TooLarge)?;
    Ok(Written { lines, ..written })
}

impl Written {
    fn series<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>, samples: &[Sample], histograms: &[Histogram]) {
        let mut labels: Map<String, Value> = labels.map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let metric = labels.remove("__name__").unwrap_or_default();
        for sample in samples {
            match number(sample.value) {
                Some(value) => {
                    let data = Map::from_iter([("value".to_owned(), value)]);
                    self.push("prometheus.sample", &metric, &labels, sample.timestamp, data);
                    self.samples += 1;
                }
                None => self.reject(&metric, sample.value),
            }
        }
        for histogram in histograms {
            let count = histogram.count_int.map(|count| json!(count)).or_else(|| number(histogram.count_float?));
            match count.zip(number(histogram.sum)) {
                Some((count, sum)) => {
                    let data = Map::from_iter([("count".to_owned(), count), ("sum".to_owned(), sum)]);
                    self.push("prometheus.histogram", &metric, &labels, histogram.timestamp, data);
                    self.histograms += 1;
                }
                None => self.reject(&metric, histogram.sum),
            }
        }
    }

    /// Appends an event. Its id is made of the labels and the time, so a request that is sent again
    /// counts once.
    fn push(&mut self, kind: &str, metric: &Value, labels: &Map<String, Value>, millis: i64, data: Map<String, Value>) {
        let identity = json!([kind, metric, labels, millis]);
        let id = HEXLOWER.encode(&Sha256::digest(identity.to_string().as_bytes())[..16]);
        let time = Timestamp::from_nanos(millis.saturating_mul(1_000_000)).to_string();
        let mut data = data;
        data.insert("metric".to_owned(), metric.clone());
        data.insert("labels".to_owned(), Value::Object(labels.clone()));
        let event = json!({"specversion": "1.0", "id": id, "source": "prometheus", "type": kind, "time": time, "data": data});
        self.lines.push(&event);
    }

    fn reject(&mut self, metric: &Value, value: f64) {
        if value.to_bits() != STALE {
            self.lines.reject(format!("metric {}: a sample without a finite value", metric.as_str().unwrap_or_default()));
        }
    }
}

/// A finite number with the fewest digits that mean it.
fn number(value: f64) -> Option<Value> {
    value.is_finite().then(|| json!(value))
}
