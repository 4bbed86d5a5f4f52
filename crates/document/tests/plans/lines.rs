//! Records of any format, written as lines of JSON for the log.

use flowmeter_core::event::{Block, Place};
use flowmeter_core::mediation::LineWriter;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::Format;
use flowmeter_document::Pipeline;

const DOCUMENT: &str = "
pipeline: p
source: { file: { path: a.csv, types: { flag: boolean } } }
operators:
  - meter:
      key: 00000000-0000-4000-8000-000000000001
      user: user
      rules: [{ category: n, value: use.n }]
meterTypes:
  - { name: N, category: n }
";

/// Returns the lines of a text in a format, and the line of each in its file.
fn written(format: Format, columns: &[&str], text: &str, lists: bool) -> (String, Vec<u64>) {
    let plan = Plan { all_columns: true, ..Pipeline::read(DOCUMENT).unwrap().plan };
    let columns: Vec<Box<str>> = columns.iter().map(|name| Box::from(*name)).collect();
    let decoder = plan.sources[0].decoder(&plan, format, &columns);
    let mut block = Block::default();
    (block.first_line, block.lists) = (2, lists);
    block.open().extend_from_slice(text.as_bytes());
    block.seal();
    let (mut out, mut lines) = (Vec::new(), Vec::new());
    LineWriter::default().write(&plan, &decoder, &mut block, &mut out, &mut |line| lines.push(line));
    (String::from_utf8(out).unwrap(), lines)
}

#[test]
fn records_of_every_form_become_lines_with_all_their_columns() {
    let second = Place { line: 2, index: 1 }.number();
    let csv = ["user", "use.n", "flag", "note"];
    let cases = [
        // Named columns first, in the types of the source; nested where the document nests them.
        (
            Format::Csv,
            &csv[..],
            "u1,0.10,true,\"a \"\"b\"\"\"\n",
            false,
            "{\"use\":{\"n\":\"0.10\"},\"user\":\"u1\",\"flag\":true,\"note\":\"a \\\"b\\\"\"}\n",
            vec![2],
        ),
        (Format::Ndjson, &[], "{\"a\":1.10}\n\n {\"b\":2}\r\n", false, "{\"a\":1.10}\n{\"b\":2}\n", vec![2, 4]),
        (Format::Ndjson, &[], "[{\"a\":1}, {\"b\":[2]}]\n", true, "{\"a\":1}\n{\"b\":[2]}\n", vec![2, second]),
        (Format::Ndjson, &[], "[{\"a\":1}]\n", false, "[{\"a\":1}]\n", vec![2]),
        (Format::Ndjson, &[], "no\n", false, "no\n", vec![2]),
    ];
    for (format, columns, text, lists, expected, lines) in cases {
        assert_eq!(written(format, columns, text, lists), (expected.to_owned(), lines), "{text}");
    }
}

#[test]
fn a_row_that_cannot_be_read_keeps_its_place_with_the_reason() {
    let (text, lines) = written(Format::Csv, &["user", "use.n"], "u1,1\nu2\nu3,3\n", false);
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(lines, [2, 3, 4]);
    assert!(rows[1].starts_with('\0') && rows[1].ends_with("\0u2"), "{rows:?}");
}
