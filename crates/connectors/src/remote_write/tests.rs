//! Requests of both versions, and the events that come of them.

use super::message::{Label, SymbolSeries, TimeSeries};
use super::*;

const BOUNDS: Bounds = Bounds { event_bytes_max: 10_000, events_max: 10, bytes_max: 20_000 };
const AT: i64 = 1_767_225_600_123;
/// The value by which Prometheus marks the end of a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn packed(message: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

fn sample(value: f64) -> Sample {
    Sample { value, timestamp: AT }
}

fn first() -> WriteRequest {
    let histogram = Histogram { count_int: Some(3), count_float: None, sum: 1.5, timestamp: AT };
    WriteRequest {
        timeseries: vec![TimeSeries {
            labels: vec![label("__name__", "http_requests_total"), label("customer", "anna")],
            samples: vec![sample(12.0), sample(f64::from_bits(STALE)), sample(f64::NAN), sample(0.1)],
            histograms: vec![histogram],
        }],
    }
}

#[test]
fn samples_become_events_in_both_versions() {
    let series = first().timeseries.remove(0);
    let symbols = ["", "__name__", "http_requests_total", "customer", "anna"].map(str::to_owned).to_vec();
    let (samples, histograms) = (series.samples, series.histograms);
    let second = Request { symbols, timeseries: vec![SymbolSeries { labels_refs: vec![1, 2, 3, 4], samples, histograms }] };
    let one = read(Version::One, &packed(&first()), BOUNDS).unwrap();
    let two = read(Version::Two, &packed(&second), BOUNDS).unwrap();
    assert_eq!(one.lines.bytes, two.lines.bytes);
    assert_eq!((one.samples, one.histograms, one.lines.count), (4, 1, 3), "what is passed over is not to be sent again");
    let text = String::from_utf8(one.lines.bytes).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let data = &events[0]["data"];
    assert_eq!((&data["metric"], &data["labels"]), (&json!("http_requests_total"), &json!({"customer": "anna"})));
    assert_eq!((&data["value"], &events[0]["time"]), (&json!(12.0), &json!("2026-01-01T00:00:00.123Z")));
    assert_eq!(data["series"], events[2]["data"]["series"]);
    assert_eq!(events[1]["data"]["value"].to_string(), "0.1");
    assert_eq!((&events[2]["type"], &events[2]["data"]["count"]), (&json!("prometheus.histogram"), &json!(3)));
    assert_eq!(events[0]["id"], events[1]["id"], "one series has one sample at a time");
    assert_ne!(events[0]["id"], events[2]["id"]);
}

#[test]
fn requests_that_are_none_or_too_large_are_refused_whole() {
    let mut many = first();
    many.timeseries[0].samples = vec![sample(1.0); 11];
    let dangling =
        Request { symbols: Vec::new(), timeseries: vec![SymbolSeries { labels_refs: vec![7, 8], ..SymbolSeries::default() }] };
    let odd = Request {
        symbols: vec![String::new()],
        timeseries: vec![SymbolSeries { labels_refs: vec![0], ..SymbolSeries::default() }],
    };
    // The length of the decompressed bytes, as Snappy writes it: 2^28.
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x01];
    let cases = [
        (Version::One, b"nonsense".to_vec(), "Snappy"),
        (Version::One, bomb.to_vec(), "at most 20000"),
        (Version::One, snap::raw::Encoder::new().compress_vec(b"nonsense").unwrap(), "Protobuf"),
        (Version::One, packed(&many), "TooMany(\"the request has more than 10 events"),
        (Version::Two, packed(&dangling), "symbol"),
        (Version::Two, packed(&odd), "symbol"),
    ];
    for (version, body, expected) in cases {
        let fault = format!("{:?}", read(version, &body, BOUNDS).unwrap_err());
        assert!(fault.contains(expected), "{fault}");
    }
}
