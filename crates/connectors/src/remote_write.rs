//! Prometheus remote write, versions 1 and 2: each sample is an event.
//!
//! A request is a Protobuf message in Snappy's block format. A sample without a finite value cannot be
//! counted and is passed over; the marker of a series that has ended is one of those.

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
use crate::protobuf;
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
    /// The number of samples in the request.
    pub samples: u32,
    /// The number of native histograms in the request.
    pub histograms: u32,
}

/// Bytes of a request, decompressed. Prometheus sends less than a megabyte at once.
const BYTES_MAX: usize = 16 << 20;

/// Reads the events of a request.
///
/// # Errors
/// The body is no such request, or has too many events.
pub fn read(version: Version, body: &[u8], bounds: Bounds) -> Result<Written, Fault> {
    let no_snappy = |why: snap::Error| Fault::Unreadable(format!("the body is not in Snappy's block format: {why}"));
    let length = snap::raw::decompress_len(body).map_err(no_snappy)?;
    let bytes_max = BYTES_MAX.min(bounds.bytes_max);
    if length > bytes_max {
        return Err(Fault::TooLarge(format!("the body has {length} bytes decompressed, at most {bytes_max} are allowed")));
    }
    let body = snap::raw::Decoder::new().decompress_vec(body).map_err(no_snappy)?;
    if !protobuf::is_within_bounds(&body) {
        return Err(Fault::TooLarge(format!("the body has more than {} fields", protobuf::FIELDS_MAX)));
    }
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
                let symbols = symbols.filter(|symbols| symbols.len().is_multiple_of(2)).ok_or_else(missing)?;
                let labels = symbols.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
                written.series(labels, &series.samples, &series.histograms);
            }
        }
    }
    let lines = written.lines.finish()?;
    Ok(Written { lines, ..written })
}

impl Written {
    fn series<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
        samples: &[Sample],
        histograms: &[Histogram],
    ) {
        let bytes: usize = labels.clone().map(|(name, value)| name.len() + value.len()).sum();
        if self.lines.is_over() {
            return;
        }
        if bytes > self.lines.bounds().event_bytes_max {
            return self.lines.reject(format!("a series with labels of {bytes} bytes"));
        }
        let mut labels: Map<String, Value> = labels.map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let metric = labels.remove("__name__").unwrap_or_default();
        let series = hash(&json!([metric, labels]));
        let data = |values: &[(&str, Value)]| {
            let mut data: Map<String, Value> = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            data.insert("metric".to_owned(), metric.clone());
            data.insert("labels".to_owned(), Value::Object(labels.clone()));
            data.insert("series".to_owned(), json!(series));
            data
        };
        for sample in samples.iter() {
            // A sample that is passed over counts as written: it is not to be sent again.
            self.samples += 1;
            if let Some(value) = number(sample.value).filter(|_| !self.lines.is_over()) {
                self.push("prometheus.sample", &series, sample.timestamp, data(&[("value", value)]));
            }
        }
        for histogram in histograms.iter() {
            self.histograms += 1;
            let count = histogram.count_int.map(|count| json!(count)).or_else(|| number(histogram.count_float?));
            if let Some((count, sum)) = count.zip(number(histogram.sum)).filter(|_| !self.lines.is_over()) {
                self.push("prometheus.histogram", &series, histogram.timestamp, data(&[("count", count), ("sum", sum)]));
            }
        }
    }

    /// Appends an event. Its id is made of the series and the time, so a request that is sent again
    /// counts once.
    fn push(&mut self, kind: &str, series: &str, millis: i64, data: Map<String, Value>) {
        let id = hash(&json!([kind, series, millis]));
        let time = Timestamp::from_nanos(millis.saturating_mul(1_000_000)).to_string();
        let mut event = json!({"specversion": "1.0", "id": id, "source": "prometheus", "type": kind, "time": time});
        event["data"] = Value::Object(data);
        self.lines.push(&event);
    }
}

fn hash(identity: &Value) -> String {
    HEXLOWER.encode(&Sha256::digest(identity.to_string().as_bytes())[..16])
}

/// A finite number with the fewest digits that mean it.
fn number(value: f64) -> Option<Value> {
    value.is_finite().then(|| json!(value))
}
