//! Files put together by the rules of the specification.

use std::io::Write;

use flowmeter_document::Pipeline;

use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"Usage","namespace":"a.b","fields":[
    {"name":"user","type":"string"},
    {"name":"n","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}]},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["in","out"]}},
    {"name":"tags","type":{"type":"array","items":"string"}},
    {"name":"more","type":{"type":"map","values":["null","double"]}},
    {"name":"next","type":["null","Usage"]},
    {"name":"id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
    {"name":"flag","type":"boolean"},
    {"name":"f","type":"float"},
    {"name":"day","type":{"type":"int","logicalType":"date"}}
]}"#;

fn long(value: i64, out: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value);
}

fn record(user: &str, inner: bool) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(user.as_bytes(), &mut out);
    long(1, &mut out);
    // 1.5 and a little, in units of 10⁻¹⁸.
    bytes(&1_500_000_000_000_000_001i128.to_be_bytes()[6..], &mut out);
    long(1_767_225_600_123_456, &mut out);
    long(1, &mut out);
    // Two blocks of a list, one with its size.
    long(1, &mut out);
    bytes(b"x", &mut out);
    long(-1, &mut out);
    long(2, &mut out);
    bytes(b"y", &mut out);
    long(0, &mut out);
    long(1, &mut out);
    bytes(b"k", &mut out);
    long(1, &mut out);
    out.extend_from_slice(&0.1f64.to_le_bytes());
    long(0, &mut out);
    long(i64::from(inner), &mut out);
    if inner {
        out.extend_from_slice(&record("inner", false));
    }
    out.extend_from_slice(&[0x11; 16]);
    out.push(1);
    out.extend_from_slice(&0.5f32.to_le_bytes());
    long(19_460, &mut out);
    out
}

fn packed(codec: &str, records: &[u8]) -> Vec<u8> {
    match codec {
        "deflate" => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(records).unwrap();
            encoder.finish().unwrap()
        }
        "snappy" => {
            let mut packed = snap::raw::Encoder::new().compress_vec(records).unwrap();
            packed.extend_from_slice(&crc32fast::hash(records).to_be_bytes());
            packed
        }
        "zstandard" => zstd::encode_all(records, 1).unwrap(),
        _ => records.to_vec(),
    }
}

fn file(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    long(2, &mut out);
    bytes(b"avro.schema", &mut out);
    bytes(schema.as_bytes(), &mut out);
    bytes(b"avro.codec", &mut out);
    bytes(codec.as_bytes(), &mut out);
    long(0, &mut out);
    out.extend_from_slice(&[7; 16]);
    for (count, records) in blocks {
        long(*count, &mut out);
        bytes(&packed(codec, records), &mut out);
        out.extend_from_slice(&[7; 16]);
    }
    out
}

fn plan(id: &str) -> Plan {
    let key = "00000000-0000-4000-8000-000000000001";
    let document = format!(
        "pipeline: p\nsource: {{file: {{path: x.avro, {id}}}}}\ndedupe: off\n\
         operators: [{{meter: {{key: {key}, user: user, time: at, rules: [{{value: n}}]}}}}]\nmeterTypes: [{{name: m}}]\n"
    );
    Pipeline::read(&document).unwrap_or_else(|why| panic!("{document}: {why:?}")).plan
}

fn read(bytes: &[u8], id: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.avro");
    std::fs::write(&path, bytes).unwrap();
    let mut rows = Rows::open(path.to_str().unwrap(), &plan(id), 0, &Arc::default()).map_err(|why| why.to_string())?;
    let (mut block, mut lines) = (Block::default(), Vec::new());
    loop {
        block.clear();
        if !rows.cut(&mut block, 1 << 20).map_err(|why| why.to_string())? {
            return Ok(lines);
        }
        let text = String::from_utf8(block.bytes().to_vec()).unwrap();
        assert_eq!(block.first_line, lines.len() as u64 + 1);
        lines.extend(text.lines().map(str::to_owned));
    }
}

#[test]
fn every_type_and_codec_is_read() {
    let records = [record("anna", true), record("b\"o", false)];
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let bytes = file(SCHEMA, codec, &[(1, records[0].clone()), (0, Vec::new()), (1, records[1].clone())]);
        let lines = read(&bytes, "id: content").unwrap();
        let rest = |next: &str| {
            format!(
                r#""n":1.500000000000000001,"at":"2026-01-01T00:00:00.123456Z","kind":"out","tags":["x","y"],"more":{{"k":0.1}},"next":{next},"id":"11111111-1111-1111-1111-111111111111","flag":true,"f":0.5,"day":"2023-04-13"}}"#
            )
        };
        let inner = format!(r#"{{"user":"inner",{}"#, rest("null"));
        assert_eq!(lines[0], format!(r#"{{"user":"anna",{}"#, rest(&inner)), "{codec}");
        assert_eq!(lines[1], format!(r#"{{"user":"b\"o",{}"#, rest("null")), "{codec}");
        // Only what the pipeline names is read.
        let few = read(&bytes, "").unwrap();
        assert_eq!(few[1], r#"{"user":"b\"o","n":1.500000000000000001,"at":"2026-01-01T00:00:00.123456Z"}"#, "{codec}");
    }
}

#[test]
fn a_damaged_file_is_refused_and_nothing_panics() {
    let bytes = file(SCHEMA, "null", &[(1, record("anna", false))]);
    assert!(read(&bytes[..bytes.len() - 1], "").unwrap_err().contains("cut short"));
    for (damaged, complaint) in [
        (file(SCHEMA, "bzip2", &[]), "packed with `bzip2`"),
        (file("\"string\"", "null", &[]), "its schema is no record"),
        (file("{", "null", &[]), "its schema is no JSON"),
        (file(SCHEMA, "null", &[(2, record("anna", false))]), "record 2: a value is cut short"),
        (file(SCHEMA, "null", &[(1, [record("a", false), vec![0]].concat())]), "longer than its records"),
        (b"Obj\x02".to_vec(), "it does not begin as one"),
    ] {
        let found = read(&damaged, "").unwrap_err();
        assert!(found.contains(complaint), "{found}");
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            drop(read(&damaged, "id: content"));
        }
    }
}
