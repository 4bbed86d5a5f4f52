//! Exact decimal numbers, for money and usage.
//!
//! A [`Decimal`] is an `i128` counting units of 10⁻¹⁸. That covers the range the metered record
//! promises (38 significant digits, 18 of them after the point) with one representation. Adding is
//! one checked integer addition, and no value is ever rounded on its way from an event to a record.
//! A value that does not fit is an [`Inexact`] verdict, for which the caller parks the event. It is
//! never approximated.
//!
//! Quotients (an average, an integral per hour) do not fit a fixed scale. [`Quotient`] forms them
//! once, on output.

mod fraction;
mod parse;
mod quotient;
mod resting;
#[cfg(test)]
mod tests;

use std::fmt;

pub use fraction::{Fraction, parse_rounding};
pub use parse::{parse, parse_rounded};
pub use quotient::Quotient;
pub use resting::Resting;

/// Digits after the decimal point.
pub const FRACTION_DIGITS: u32 = 18;
/// 10¹⁸: the units in one.
pub(crate) const ONE: i128 = 1_000_000_000_000_000_000;
/// Largest magnitude in units: 38 nines, the promise of the metered record.
const UNITS_MAX: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

/// An exact decimal of at most 38 significant digits, 18 of them after the point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(i128);

/// A decimal for storage: the same sixteen bytes without the alignment of an `i128`, which would
/// add eight bytes of padding to every meter and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Packed([u64; 2]);

impl From<Decimal> for Packed {
    #[inline]
    fn from(decimal: Decimal) -> Packed {
        Packed([decimal.0 as u64, (decimal.0 >> 64) as u64])
    }
}

impl From<Packed> for Decimal {
    #[inline]
    fn from(Packed([low, high]): Packed) -> Decimal {
        Decimal(i128::from(high as i64) << 64 | i128::from(low))
    }
}

/// Why a text or a result is not a [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// The text is not a decimal number at all.
    NotANumber,
    /// More than 18 digits after the point.
    TooFine,
    /// More than 20 digits before the point.
    TooLarge,
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Inexact::NotANumber => "not a decimal number",
            Inexact::TooFine => "more than 18 digits after the decimal point",
            Inexact::TooLarge => "more than 20 digits before the decimal point",
        })
    }
}

impl Decimal {
    /// The decimal number 0.
    pub const ZERO: Decimal = Decimal(0);
    /// The decimal number 1.
    pub const ONE: Decimal = Decimal(ONE);

    /// The decimal of a whole number.
    pub const fn from_int(whole: i64) -> Decimal {
        Decimal(whole as i128 * ONE)
    }

    /// The decimal of a count. Counts stay far below the 20 digits there are.
    pub const fn from_count(count: u64) -> Decimal {
        Decimal(count as i128 * ONE)
    }

    /// The decimal of that many units of 10⁻¹⁸, or `None` outside the range.
    pub const fn from_units(units: i128) -> Option<Decimal> {
        if units > UNITS_MAX || units < -UNITS_MAX {
            return None;
        }
        Some(Decimal(units))
    }

    /// The seconds in that many nanoseconds.
    pub const fn of_nanos(nanos: i64) -> Decimal {
        Decimal(nanos as i128 * 1_000_000_000)
    }

    /// How many units of 10⁻¹⁸ it is.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// The sum, or `None` outside the range.
    pub const fn add(self, other: Decimal) -> Option<Decimal> {
        // Two values within ±10³⁸ cannot overflow an i128 (±1.7·10³⁸) by more than
        // the check below sees: their sum stays within ±2·10³⁸, so use checked_add.
        match self.0.checked_add(other.0) {
            Some(units) => Decimal::from_units(units),
            None => None,
        }
    }

    /// The difference, or `None` outside the range.
    pub const fn sub(self, other: Decimal) -> Option<Decimal> {
        self.add(Decimal(-other.0))
    }

    /// The product, or `None` when it is out of range or finer than 18 digits.
    pub fn times(self, other: Decimal) -> Option<Decimal> {
        let wide = ethnum::I256::from(self.0) * ethnum::I256::from(other.0);
        let one = ethnum::I256::from(ONE);
        if wide % one != 0 {
            return None;
        }
        i128::try_from(wide / one).ok().and_then(Decimal::from_units)
    }

    /// The whole number it is, if it is one and fits.
    pub fn to_int(self) -> Option<i64> {
        if self.0 % ONE != 0 {
            return None;
        }
        i64::try_from(self.0 / ONE).ok()
    }

    /// Returns the negated value.
    pub const fn neg(self) -> Decimal {
        Decimal(-self.0)
    }

    /// Rounded to `places` digits after the point (negative: before it), by `rounding`.
    /// `None` when rounding up leaves the range.
    pub fn round(self, places: i32, rounding: Rounding) -> Option<Decimal> {
        let drop = FRACTION_DIGITS as i32 - places;
        if drop <= 0 {
            return Some(self);
        }
        if drop > 38 {
            let up = match rounding {
                Rounding::Ceil => self.0 > 0,
                Rounding::Floor => self.0 < 0,
                Rounding::Up => self.0 != 0,
                Rounding::HalfUp | Rounding::HalfEven | Rounding::Trunc => false,
            };
            return if up { None } else { Some(Decimal::ZERO) };
        }
        let step = 10i128.checked_pow(drop as u32)?;
        let floor = self.0.div_euclid(step);
        let rest = self.0.rem_euclid(step);
        let up = match rounding {
            Rounding::Floor => false,
            Rounding::Ceil => rest != 0,
            Rounding::Trunc => rest != 0 && self.0 < 0,
            // Half away from zero, as invoices do; `rest > step - rest` avoids doubling.
            Rounding::HalfUp => rest > step - rest || (rest == step - rest && self.0 > 0),
            Rounding::HalfEven => rest > step - rest || (rest == step - rest && floor % 2 != 0),
            Rounding::Up => rest != 0 && self.0 > 0,
        };
        floor.checked_add(i128::from(up)).and_then(|n| n.checked_mul(step)).and_then(Decimal::from_units)
    }

    /// Appends the shortest exact text: no exponent, no trailing zeros, `25` not `25.0`.
    pub fn write_to(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        let magnitude = self.0.unsigned_abs();
        let one = ONE as u128;
        write_u128(magnitude / one, out);
        let mut fraction = (magnitude % one) as u64;
        if fraction == 0 {
            return;
        }
        out.push(b'.');
        let mut digits = [b'0'; FRACTION_DIGITS as usize];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        let kept = digits.iter().rposition(|&d| d != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(&digits[..kept]);
    }
}

/// The direction in which a value between two steps is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearer step, a half away from zero.
    HalfUp,
    /// To the nearer step, a half to the even one.
    HalfEven,
    /// Rounds away from zero.
    Up,
    /// Rounds towards plus infinity.
    Ceil,
    /// Rounds towards minus infinity.
    Floor,
    /// Rounds towards the value zero.
    Trunc,
}

impl Rounding {
    /// The names of `round.mode`.
    pub const NAMES: [&'static str; 6] = ["half_even", "half_up", "down", "up", "floor", "ceil"];

    /// Returns the rounding with this name.
    pub fn named(name: &str) -> Option<Rounding> {
        Some(match name {
            "half_even" => Rounding::HalfEven,
            "half_up" => Rounding::HalfUp,
            "down" => Rounding::Trunc,
            "up" => Rounding::Up,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            _ => return None,
        })
    }
}

/// How a number is rounded where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Digits behind the point, at most 18.
    pub places: i32,
    /// The direction of rounding.
    pub mode: Rounding,
}

/// Appends a whole number in decimal digits.
pub(crate) fn write_u128(mut n: u128, out: &mut Vec<u8>) {
    if let Ok(small) = u64::try_from(n) {
        return write_u64(small, out);
    }
    let mut digits = [0u8; 39];
    let mut at = digits.len();
    while n > 0 {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a whole number in decimal digits.
pub(crate) fn write_u64(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(40);
        self.write_to(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Decimal {
    type Err = Inexact;

    fn from_str(text: &str) -> Result<Decimal, Inexact> {
        parse(text.as_bytes())
    }
}
