//! Text to [`Decimal`], without a float in between.
//!
//! Accepts what JSON calls a number, plus a leading `+` and leading zeros, which
//! text columns have. Exponents are honoured exactly: `1.5e3` is 1500 and `1e-19` is
//! too fine. `NaN`, `Infinity`, blanks, digit groups and hexadecimal are not numbers.

use std::cmp::Ordering;

use super::{Decimal, FRACTION_DIGITS, Inexact, Rounding};

/// Parses the text of a decimal.
pub fn parse(text: &[u8]) -> Result<Decimal, Inexact> {
    match parse_short(text) {
        Some(decimal) => Ok(decimal),
        None => parse_general(text),
    }
}

const POW10: [i128; 19] = {
    let mut table = [1i128; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// The hot path: up to 18 characters of digits with at most one point inside.
/// Anything else, good or bad, is left to [`parse_general`].
#[inline]
fn parse_short(text: &[u8]) -> Option<Decimal> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut mantissa = 0u64;
    let mut point = None;
    for (i, &c) in digits.iter().enumerate() {
        let digit = c.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + u64::from(digit);
        } else if c == b'.' && point.is_none() {
            point = Some(i);
        } else {
            return None;
        }
    }
    let fraction = match point {
        None => 0,
        Some(0) => return None,
        Some(at) if at + 1 == digits.len() => return None,
        Some(at) => digits.len() - at - 1,
    };
    let units = i128::from(mantissa) * POW10[FRACTION_DIGITS as usize - fraction];
    Some(Decimal(if negative { -units } else { units }))
}

/// Every spelling there is, at leisure.
fn parse_general(text: &[u8]) -> Result<Decimal, Inexact> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (number, exponent) = match unsigned.iter().position(|c| matches!(c, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match number.iter().position(|&c| c == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &[][..]),
    };
    let pointed = number.len() > whole.len();
    if whole.is_empty() || (pointed && fraction.is_empty()) {
        return Err(Inexact::NotANumber);
    }
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(Inexact::NotANumber);
    }
    scale(whole, fraction, exponent).map(|units| Decimal(if negative { -units } else { units }))
}

/// The exponent, clamped: beyond ±100,000 the answer no longer depends on it.
fn parse_exponent(text: &[u8]) -> Result<i64, Inexact> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Inexact::NotANumber);
    }
    let size = digits.iter().fold(0i64, |n, &c| (n * 10 + i64::from(c - b'0')).min(100_000));
    Ok(if negative { -size } else { size })
}

/// Units of 10⁻¹⁸ in `whole.fraction · 10^exponent`; zeros at either end cost nothing.
fn scale(whole: &[u8], fraction: &[u8], exponent: i64) -> Result<i128, Inexact> {
    let digits = whole.iter().chain(fraction);
    let skipped = digits.clone().take_while(|&&c| c == b'0').count();
    let total = whole.len() + fraction.len();
    let trailing = digits.clone().rev().take_while(|&&c| c == b'0').count();
    if skipped == total {
        return Ok(0);
    }
    let kept = total - skipped - trailing;
    // The last kept digit has the weight 10^power.
    let power = exponent - fraction.len() as i64 + trailing as i64;
    let shift = power + i64::from(FRACTION_DIGITS);
    if shift < 0 {
        return Err(Inexact::TooFine);
    }
    if kept as i64 + shift > 38 {
        return Err(Inexact::TooLarge);
    }
    let mantissa = digits.skip(skipped).take(kept).fold(0i128, |n, &c| n * 10 + i128::from(c - b'0'));
    Ok(mantissa * 10i128.pow(shift as u32))
}

/// Digits of a number that are read before it is rounded. Doubles have at most 767.
const DIGITS_MAX: usize = 1_000;

/// Parses the text of a decimal, rounded to `places` digits behind the point (at most 18). All
/// digits of the text take part, up to 1,000.
///
/// # Errors
/// The text is no number, has more than 1,000 digits, or leaves the range once rounded.
pub fn parse_rounded(text: &[u8], places: i32, rounding: Rounding) -> Result<Decimal, Inexact> {
    let places = places.min(FRACTION_DIGITS as i32);
    match parse(text) {
        Ok(decimal) => decimal.round(places, rounding).ok_or(Inexact::TooLarge),
        Err(Inexact::TooFine) => round_long(text, places, rounding),
        Err(why) => Err(why),
    }
}

/// Rounds a text that has been found to be a number with digits beyond the 18th.
fn round_long(text: &[u8], places: i32, rounding: Rounding) -> Result<Decimal, Inexact> {
    let negative = text.first() == Some(&b'-');
    let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let exponent_at = unsigned.iter().position(|c| matches!(c, b'e' | b'E'));
    let exponent = exponent_at.map_or(Ok(0), |at| parse_exponent(&unsigned[at + 1..]))?;
    let number = &unsigned[..exponent_at.unwrap_or(unsigned.len())];
    let point = number.iter().position(|&c| c == b'.').unwrap_or(number.len());
    let digits: Vec<u8> = number.iter().filter(|c| c.is_ascii_digit()).map(|c| c - b'0').collect();
    if digits.len() > DIGITS_MAX {
        return Err(Inexact::TooFine);
    }
    // Digits before the cut are kept; a cut before the first digit keeps none.
    let cut = point as i64 + exponent + i64::from(places);
    let kept = &digits[..usize::try_from(cut).unwrap_or(0).min(digits.len())];
    let rest = &digits[kept.len()..];
    let mut mantissa = 0i128;
    for &digit in kept {
        let more = mantissa.checked_mul(10).and_then(|n| n.checked_add(i128::from(digit)));
        mantissa = more.ok_or(Inexact::TooLarge)?;
    }
    let is_inexact = rest.iter().any(|digit| *digit != 0);
    let half = match rest.split_first() {
        Some((first, behind)) if cut >= 0 => first.cmp(&5).then(match behind.iter().any(|digit| *digit != 0) {
            true => Ordering::Greater,
            false => Ordering::Equal,
        }),
        _ => Ordering::Less,
    };
    let away = match rounding {
        Rounding::Floor => is_inexact && negative,
        Rounding::Ceil => is_inexact && !negative,
        Rounding::Trunc => false,
        Rounding::Up => is_inexact,
        Rounding::HalfUp => half.is_ge(),
        Rounding::HalfEven => half.is_gt() || (half.is_eq() && mantissa % 2 != 0),
    };
    let step = 10i128.checked_pow((FRACTION_DIGITS as i32 - places) as u32).ok_or(Inexact::TooLarge)?;
    let units = (mantissa + i128::from(away)).checked_mul(step).ok_or(Inexact::TooLarge)?;
    Decimal::from_units(if negative { -units } else { units }).ok_or(Inexact::TooLarge)
}
