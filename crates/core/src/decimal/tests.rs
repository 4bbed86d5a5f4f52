//! Texts, sums, products, roundings and quotients, as tables and as properties.

use super::*;
use proptest::prelude::*;

fn shown(text: &str) -> String {
    match parse(text.as_bytes()) {
        Ok(decimal) => decimal.to_string(),
        Err(inexact) => format!("{inexact:?}"),
    }
}

#[test]
fn texts_become_exact_decimals_or_say_why_not() {
    for (text, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("25.0", "25"),
        ("0.1", "0.1"),
        ("12.50", "12.5"),
        ("007", "7"),
        ("+3", "3"),
        ("9007199254740993", "9007199254740993"),
        ("0.4567890123456789", "0.4567890123456789"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("0.0000000000000000001", "TooFine"),
        ("0.1000000000000000000000", "0.1"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
        ("-99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999999"),
        ("100000000000000000000", "TooLarge"),
        ("1e3", "1000"),
        ("1.5E+3", "1500"),
        ("15e-1", "1.5"),
        ("1e-19", "TooFine"),
        ("1e19", "10000000000000000000"),
        ("1e20", "TooLarge"),
        ("0e99999999999999", "0"),
        ("1e99999999999999", "TooLarge"),
        ("1e-99999999999999", "TooFine"),
        ("", "NotANumber"),
        (".", "NotANumber"),
        (".5", "NotANumber"),
        ("5.", "NotANumber"),
        ("1.2.3", "NotANumber"),
        ("-", "NotANumber"),
        ("+", "NotANumber"),
        ("1e", "NotANumber"),
        (" 1", "NotANumber"),
        ("1,000", "NotANumber"),
        ("0x10", "NotANumber"),
        ("NaN", "NotANumber"),
        ("+Inf", "NotANumber"),
        ("١", "NotANumber"),
    ] {
        assert_eq!(shown(text), expected, "{text:?}");
    }
}

#[test]
fn ten_tenths_are_one() {
    let tenth = parse(b"0.1").unwrap();
    let sum = (0..10).fold(Decimal::ZERO, |sum, _| sum.add(tenth).unwrap());
    assert_eq!(sum.to_string(), "1");
}

#[test]
fn sums_leave_the_range_loudly() {
    let most = parse(b"99999999999999999999.999999999999999999").unwrap();
    assert_eq!(most.add(Decimal::from_units(1).unwrap()), None);
    assert_eq!(most.neg().sub(Decimal::from_units(1).unwrap()), None);
    assert_eq!(most.add(most), None);
}

#[test]
fn products_are_exact_or_nothing() {
    let product = |a: &str, b: &str| parse(a.as_bytes()).unwrap().times(parse(b.as_bytes()).unwrap());
    assert_eq!(product("10.4", "2").unwrap().to_string(), "20.8");
    assert_eq!(product("0.000000001", "0.000000001").unwrap().to_string(), "0.000000000000000001");
    assert_eq!(product("0.0000000001", "0.000000001"), None, "too fine");
    assert_eq!(product("99999999999", "99999999999"), None, "too large");
}

#[test]
fn rounding_follows_its_name() {
    use Rounding::{Ceil, Floor, HalfUp, Trunc};
    for (text, places, rounding, expected) in [
        ("123.456", 2, HalfUp, "123.46"),
        ("123.456", -2, HalfUp, "100"),
        ("123.456", 0, Ceil, "124"),
        ("123.456", -2, Ceil, "200"),
        ("123.456", 2, Floor, "123.45"),
        ("-2.5", 0, HalfUp, "-3"),
        ("2.5", 0, HalfUp, "3"),
        ("-2.4", 0, HalfUp, "-2"),
        ("-2.5", 0, Trunc, "-2"),
        ("2.5", 0, Trunc, "2"),
        ("-2.1", 0, Floor, "-3"),
        ("1.5", 30, HalfUp, "1.5"),
        ("1.5", -30, HalfUp, "0"),
    ] {
        let rounded = parse(text.as_bytes()).unwrap().round(places, rounding).unwrap();
        assert_eq!(rounded.to_string(), expected, "{text} to {places} {rounding:?}");
    }
}

fn quotient(numerator: &str, divisor: u64) -> String {
    let mut out = Vec::new();
    Quotient::of(parse(numerator.as_bytes()).unwrap(), divisor).write_to(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn quotients_have_28_digits_half_even() {
    for (numerator, divisor, expected) in [
        ("50", 2, "25"),
        ("70", 3, "23.33333333333333333333333333"),
        ("18059974", 8819, "2047.848282118153985712665835"),
        ("0", 7, "0"),
        ("-1", 3, "-0.3333333333333333333333333333"),
        ("2", 3, "0.6666666666666666666666666667"),
        ("99999999999999999999.999999999999999999", 1, "99999999999999999999.999999999999999999"),
        ("99999999999999999999.999999999999999999", 7, "14285714285714285714.28571429"),
        ("99999999999999999999.5", 1, "99999999999999999999.5"),
        ("0.000000000000000001", 3, "0.0000000000000000003333333333333333333333333333"),
        // 1/2^k ends in 5: half-even decides once it is longer than 28 digits.
        ("1", 1 << 40, "0.0000000000009094947017729282379150390625"),
    ] {
        assert_eq!(quotient(numerator, divisor), expected, "{numerator}/{divisor}");
    }
}

#[test]
fn a_whole_quotient_is_a_decimal() {
    assert_eq!(Quotient::of(Decimal::from_int(50), 4).to_decimal(), parse(b"12.5").ok());
    assert_eq!(Quotient::of(Decimal::from_int(1), 3).to_decimal(), None);
}

#[test]
fn long_numbers_are_rounded_where_they_are_read() {
    use Rounding::{Ceil, Floor, HalfEven, HalfUp, Trunc, Up};
    let thousand = format!("0.{}5", "0".repeat(998));
    let more = format!("0.{}5", "0".repeat(1_200));
    for (text, places, rounding, expected) in [
        ("0.00014145000000000000123", 12, HalfUp, "0.00014145"),
        ("1.41450000000000001e-4", 12, HalfUp, "0.00014145"),
        ("0.1250000000000000000", 2, HalfEven, "0.12"),
        ("0.1250000000000000000001", 2, HalfEven, "0.13"),
        ("0.1350000000000000000", 2, HalfEven, "0.14"),
        ("-0.12500000000000000001", 2, HalfUp, "-0.13"),
        ("-0.12500000000000000001", 2, Ceil, "-0.12"),
        ("-0.12000000000000000001", 2, Floor, "-0.13"),
        ("0.12000000000000000001", 2, Up, "0.13"),
        ("0.12999999999999999999", 2, Trunc, "0.12"),
        ("7e-30", 2, Up, "0.01"),
        ("7e-30", 2, HalfUp, "0"),
        ("1234.5000000000000000001", 0, HalfEven, "1235"),
        ("1234.5678900000000000001", -2, HalfUp, "1200"),
        ("99.99999999999999999999", 18, HalfUp, "100"),
        (&thousand, 18, HalfUp, "0"),
        (&more, 18, HalfUp, "more than 18 digits after the decimal point"),
        ("99999999999999999999.99999999999999999999", 18, HalfUp, "more than 20 digits before the decimal point"),
        ("0x1F", 2, HalfUp, "not a decimal number"),
        ("NaN", 2, HalfUp, "not a decimal number"),
        ("\u{661}\u{662}", 2, HalfUp, "not a decimal number"),
    ] {
        let rounded = parse_rounded(text.as_bytes(), places, rounding);
        let shown = rounded.map_or_else(|why| why.to_string(), |decimal| decimal.to_string());
        assert_eq!(shown, expected, "{text} to {places} {rounding:?}");
    }
}

proptest! {
    #[test]
    fn a_number_is_rounded_alike_as_text_and_as_decimal(units in any::<i64>(), places in -3i32..18, mode in 0usize..6) {
        let mode = Rounding::named(Rounding::NAMES[mode]).unwrap();
        let decimal = Decimal::from_units(i128::from(units)).unwrap();
        // A digit far behind the point forces the long way and moves no exact step.
        let long = match decimal.to_string() {
            whole if !whole.contains('.') => format!("{whole}.{}", "0".repeat(30)),
            fraction => format!("{fraction}{}", "0".repeat(30)),
        };
        prop_assert_eq!(parse_rounded(long.as_bytes(), places, mode).ok(), decimal.round(places, mode));
        let above = format!("{long}1");
        if units > 0 && mode == Rounding::Floor {
            prop_assert_eq!(parse_rounded(above.as_bytes(), places, mode).ok(), decimal.round(places, mode));
        }
    }

    #[test]
    fn written_decimals_read_back(units in any::<i128>()) {
        if let Some(decimal) = Decimal::from_units(units) {
            prop_assert_eq!(parse(decimal.to_string().as_bytes()), Ok(decimal));
        }
    }

    #[test]
    fn no_text_panics_and_both_paths_agree(text in "[-+]?[0-9]{0,24}[.]?[0-9]{0,24}([eE][-+]?[0-9]{0,3})?") {
        let general = super::parse::parse(text.as_bytes());
        // A leading '+' forces the general path; both must say the same of the rest.
        if !text.starts_with(['+', '-']) {
            prop_assert_eq!(general, parse(format!("+{text}").as_bytes()));
        }
    }
}
