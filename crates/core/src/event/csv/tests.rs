//! Rows, their quotes and their numbers.

use super::strict::{RowEnd, row_end};
use super::*;
use crate::decimal::Round;

/// Cuts and decodes a text of rows with so many columns: fields, or what is wrong.
fn read(dialect: &Dialect, width: usize, text: &str) -> Vec<String> {
    let mut batch = Batch::default();
    let (mut from, mut line) = (0, 0);
    let bytes = text.as_bytes();
    batch.block.open();
    let mut written = 0;
    while from < bytes.len() {
        let RowEnd::At { end, next } = row_end(dialect, bytes, from, width, true, 1 << 20) else { panic!("no end") };
        batch.block.open_more().extend_from_slice(&bytes[from..end]);
        written += end - from;
        batch.block.ends.push((written as u32, line));
        line += bytes[from..next].iter().filter(|c| **c == b'\n').count() as u32;
        from = next;
    }
    batch.block.seal();
    let targets = (0..width).map(|slot| Some((slot as u16, ColumnType::Text))).collect();
    decode(dialect, &Columns { targets, copies: Vec::new(), width }, &mut batch, 1000);
    let shown = |event: usize| match batch.faults.iter().find(|fault| fault.event as usize == event) {
        Some(fault) => format!("{}: {}", batch.line(event) + 1, fault.detail.split(';').next().unwrap()),
        None => {
            let fields = (0..width).map(|slot| String::from_utf8(batch.leaf(event, slot as u16).bytes.to_vec()).unwrap());
            fields.collect::<Vec<_>>().join("|")
        }
    };
    (0..batch.len()).map(shown).collect()
}

#[test]
fn a_mistake_costs_its_line_and_no_other() {
    let strict = Dialect::default();
    let trim = Dialect { trim: true, ..strict };
    let none = Dialect { quote: None, ..strict };
    for (label, dialect, text, expected) in [
        ("plain", strict, "a,b,1\r\nc,d,2\n", &["a|b|1", "c|d|2"][..]),
        ("lines that end in a carriage return", strict, "a,b,1\rc,d,2\r", &["a|b|1", "c|d|2"]),
        ("quotes", strict, "\"a,\"\"x\"\"\",\"b\nc\",1\nd,e,2\n", &["a,\"x\"|b\nc|1", "d|e|2"]),
        (
            "an inch sign",
            strict,
            "1,5\" pipe,1\n2,\"6\"\" pipe\",2\n",
            &["1: a quote inside a field without quotes in column 2", "2|6\" pipe|2"],
        ),
        ("text behind a quote", strict, "1,\"x\"y,1\n2,z,2\n", &["1: text after the closing quote in column 2", "2|z|2"]),
        (
            "closed by the next row",
            strict,
            "1,\"5 pipe,1\n2,6 pipe\",2\n3,x,3\n",
            &[
                "1: the quote opened in column 2 of this line is never closed",
                "2: a quote inside a field without quotes in column 2",
                "3|x|3",
            ],
        ),
        (
            "closed by the quote of a good row",
            strict,
            "1,\"oops,1\n2,\"fine\",2\n3,x,3\n",
            &["1: the quote opened in column 2 of this line is never closed", "2|fine|2", "3|x|3"],
        ),
        (
            "never closed",
            strict,
            "1,\"oops,1\n2,y,2\n3,x,3\n",
            &["1: the quote opened in column 2 of this line is never closed", "2|y|2", "3|x|3"],
        ),
        ("a guard of a spreadsheet", strict, "=\"00123\",\"=\"\"007\"\"\",1\n", &["00123|007|1"]),
        ("blanks that are cut", trim, " a , \"b \" ,1\n", &["a|b |1"]),
        ("quotes as text", none, "1,5\" pipe,1\n\"2,x,2\n", &["1|5\" pipe|1", "\"2|x|2"]),
        ("ragged", strict, "a,b\nc,d,1\n", &["1: the row has 2 fields, but the file has 3 columns", "c|d|1"]),
        ("lenient", Dialect { lenient: true, ..none }, "a,b,1\n", &["a|b|1"]),
        (
            "the guard of spreadsheets, leniently",
            Dialect { lenient: true, ..strict },
            "=\"00123\",=\"\",1\n\"=\"\"0 \"\"\"\"7\"\"\"\"\"\"\",=5,2\n=\"a\"\"b\",=\",3\n",
            &["00123||1", "0 \"7\"|=5|2", "a\"b|=\"|3"],
        ),
    ] {
        assert_eq!(read(&dialect, 3, text), expected, "{label}");
    }
}

#[test]
fn a_quote_that_is_never_closed_swallows_no_good_row() {
    let good: String = (0..400).map(|i| format!("u{i},x,{i}\n")).collect();
    let rows = read(&Dialect::default(), 3, &format!("bad,\"oops,1\n{good}"));
    assert_eq!(rows.len(), 401);
    assert!(rows[0].contains("never closed"));
    assert!(rows[1..].iter().enumerate().all(|(i, row)| *row == format!("u{i}|x|{i}")));
}

#[test]
fn a_quoted_field_spans_as_many_lines_as_allowed() {
    let of = |lines: usize| format!("a,\"{}x\",1\nb,c,2\n", "x\n".repeat(lines));
    assert_eq!(read(&Dialect::default(), 3, &of(99)).len(), 2);
    let rows = read(&Dialect::default(), 3, &of(100));
    assert!(rows[0].contains("never closed"), "{}", rows[0]);
    assert_eq!(rows.last().unwrap(), "b|c|2");
    let long = Dialect { quoted_lines_max: 1_000, ..Dialect::default() };
    assert_eq!(read(&long, 3, &of(100)).len(), 2);
}

#[test]
fn rows_that_are_not_all_there_wait() {
    let strict = Dialect::default();
    let of = |text: &str| row_end(&strict, text.as_bytes(), 0, 3, false, 100);
    for open in ["a,b", "a,\"b", "a,\"b\"", "a,\"b\",1\r", "a,\"b\nc"] {
        assert_eq!(of(open), RowEnd::Beyond, "{open:?}");
    }
    assert_eq!(of("a,\"b\",1\r\nx"), RowEnd::At { end: 7, next: 9 });
    assert_eq!(of(&format!("a,\"{}\nb", "x".repeat(200))), RowEnd::At { end: 203, next: 204 });
}

#[test]
fn types_and_where_fields_are() {
    let mut batch = Batch::default();
    batch.block.open().extend_from_slice(b"a;1;xb;;zd;no;1e400");
    batch.block.seal();
    batch.block.ends = vec![(5, 0), (9, 1), (19, 2)];
    let columns = Columns {
        targets: vec![Some((1, ColumnType::Text)), Some((0, ColumnType::Number)), Some((2, ColumnType::Number))],
        copies: vec![(1, 3)],
        width: 4,
    };
    decode(&Dialect { delimiter: b';', ..Dialect::default() }, &columns, &mut batch, 100);
    let kinds = |event| [0, 1, 2, 3].map(|slot| batch.leaf(event, slot).kind);
    assert_eq!(kinds(0), [Kind::Number, Kind::Text, Kind::Text, Kind::Text]);
    assert_eq!(kinds(1), [Kind::Null, Kind::Text, Kind::Text, Kind::Text]);
    assert_eq!(kinds(2), [Kind::Text, Kind::Text, Kind::Number, Kind::Text]);
    assert_eq!(batch.leaf(2, 3).bytes, b"d");
}

#[test]
fn numbers_of_an_office() {
    let european = NumberForm { decimal: b',', group: Some(b'.'), ..NumberForm::default() };
    let french = NumberForm { decimal: b',', group: Some(b' '), ..NumberForm::default() };
    let money = NumberForm { group: Some(b','), currency: true, ..NumberForm::default() };
    let euros = NumberForm { currency: true, ..european };
    let share = NumberForm { percent: true, ..european };
    let round = Some(Round { places: 2, mode: crate::decimal::Rounding::HalfUp });
    for (form, text, expected) in [
        (european, "1.234,56", "1234.56"),
        (european, "1.234.567", "1234567"),
        (european, "-7,5", "-7.5"),
        (european, "1234,5", "1234.5"),
        // Not 15, and not 1.5.
        (european, "1.5", "\"1.5\""),
        (european, "1,234.5", "\"1,234.5\""),
        (european, "", ""),
        (french, "1\u{a0}234,56", "1234.56"),
        (french, "1 234,56", "1234.56"),
        (money, "$1,234.50", "1234.5"),
        (money, "(12.50 EUR)", "-12.5"),
        (money, "-$5", "-5"),
        (money, "USD 7", "7"),
        (money, "12,34,567.5", "1234567.5"),
        (euros, "1.234,56 €", "1234.56"),
        (NumberForm::default(), "$5", "\"$5\""),
        (share, "7,5 %", "0.075"),
        (share, "7,5", "7.5"),
        (NumberForm { round, ..european }, "0,12500000000000000000001", "0.13"),
        (european, "NaN", "\"NaN\""),
        (european, "0x10", "\"0x10\""),
    ] {
        let mut out = Vec::new();
        form.read_into(text.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text} by {form:?}");
    }
}
