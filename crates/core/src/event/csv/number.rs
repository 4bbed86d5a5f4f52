//! Numbers as office software writes them: `1.234,56`, `(12.50 EUR)`, `7,5 %`.
//!
//! A text is a number only if it has the declared form, digit groups included. So `1.5` is not read
//! as 15 where the point separates groups.

use super::super::slot::Kind;
use crate::decimal::{self, Decimal, Round};

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberForm {
    /// The separator of whole and fraction.
    pub decimal: u8,
    /// The separator of groups of digits; without it, digits are not grouped.
    pub group: Option<u8>,
    /// Whether a sign `%` divides by a hundred.
    pub percent: bool,
    /// Whether signs and codes of currencies are cut, and parentheses are a minus.
    pub currency: bool,
    /// How they are rounded.
    pub round: Option<Round>,
}

impl Default for NumberForm {
    fn default() -> NumberForm {
        NumberForm { decimal: b'.', group: None, percent: false, currency: false, round: None }
    }
}

/// Signs of currencies that are cut.
const SIGNS: [char; 10] = ['€', '$', '£', '¥', '₹', '₽', '₩', '₺', '₴', '฿'];

impl NumberForm {
    /// Appends the number in a field, as JSON writes it. A text that is not a number is appended as
    /// a JSON string, which no meter accepts as a value.
    pub fn read_into(&self, field: &[u8], out: &mut Vec<u8>) -> Kind {
        let text = String::from_utf8_lossy(field);
        let text = text.trim_matches(is_blank);
        if text.is_empty() {
            return Kind::Null;
        }
        match self.read(text) {
            Some(number) => {
                number.write_to(out);
                Kind::Number
            }
            None => {
                super::super::quote_into(field, out);
                Kind::Json
            }
        }
    }

    fn read(&self, text: &str) -> Option<Decimal> {
        let (mut text, mut negative) = (text, false);
        if self.currency {
            if let Some(inside) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
                (text, negative) = (inside.trim_matches(is_blank), true);
            }
            text = without_currency(text);
        }
        let percent = self.percent.then(|| text.strip_suffix('%')).flatten();
        text = percent.map_or(text, |text| text.trim_end_matches(is_blank));
        if let Some(rest) = text.strip_prefix('-').filter(|_| !negative) {
            (text, negative) = (rest, true);
        }
        let text = if self.currency { without_currency(text.trim_matches(is_blank)) } else { text };
        let plain = self.plain(text)?;
        let (places, mode) = self.round.map_or((0, decimal::Rounding::HalfEven), |round| (round.places, round.mode));
        let number = match (self.round, percent.is_some()) {
            (None, false) => decimal::parse(plain.as_bytes()).ok()?,
            (None, true) => decimal::parse(format!("{plain}e-2").as_bytes()).ok()?,
            (Some(_), false) => decimal::parse_rounded(plain.as_bytes(), places, mode).ok()?,
            (Some(_), true) => decimal::parse_rounded(format!("{plain}e-2").as_bytes(), places, mode).ok()?,
        };
        Some(if negative { number.neg() } else { number })
    }

    /// Returns the digits, with a decimal point, of a text without a sign.
    fn plain(&self, text: &str) -> Option<String> {
        let decimal = char::from(self.decimal);
        let (whole, fraction) = text.split_once(decimal).map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
        let mut plain = String::with_capacity(text.len());
        let is_group = |c: char| self.group.is_some_and(|group| c == char::from(group) || (group == b' ' && is_blank(c)));
        let groups: Vec<&str> = whole.split(is_group).collect();
        for (i, group) in groups.iter().enumerate() {
            let is_last = i + 1 == groups.len();
            let length = match (groups.len(), i) {
                (1, _) => 1..=usize::MAX,
                (_, 0) => 1..=3,
                // India groups by two above the thousands.
                _ if is_last => 3..=3,
                _ => 2..=3,
            };
            if !group.bytes().all(|c| c.is_ascii_digit()) || !length.contains(&group.len()) {
                return None;
            }
            plain.push_str(group);
        }
        if let Some(fraction) = fraction {
            if fraction.is_empty() || !fraction.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            plain.push('.');
            plain.push_str(fraction);
        }
        Some(plain)
    }
}

/// Whether a character is a blank, the non-breaking ones included.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{a0}' | '\u{202f}' | '\u{2009}')
}

/// Removes one sign or code of a currency from either end.
fn without_currency(text: &str) -> &str {
    let code = |text: &str| text.len() == 3 && text.bytes().all(|c| c.is_ascii_uppercase());
    let mut rest = text;
    if let Some(inside) = rest.strip_prefix(SIGNS).or(rest.strip_suffix(SIGNS)) {
        rest = inside;
    } else if rest.get(..3).is_some_and(code) {
        rest = &rest[3..];
    } else if let Some(before) = rest.len().checked_sub(3).filter(|at| rest.get(*at..).is_some_and(code)) {
        rest = &rest[..before];
    }
    rest.trim_matches(is_blank)
}
