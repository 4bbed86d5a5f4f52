//! Texts that a spreadsheet would evaluate.

use std::borrow::Cow;

use flowmeter_core::decimal::Decimal;

/// Returns a text with an apostrophe in front if a spreadsheet would take it for a formula: one that
/// begins with `=`, `+`, `-` or `@` and is no number.
pub fn disarmed(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(text) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// Returns whether a text is a number, of any number of digits.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(whole) && are_digits(fraction)) || text.parse::<Decimal>().is_ok()
}
