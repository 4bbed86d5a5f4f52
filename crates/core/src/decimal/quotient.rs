//! The exact quotient of two integers, written once with 28 significant digits.
//!
//! Averages and time-weighted integrals are kept as numerator and denominator until
//! they leave the system; this is the only place where digits are given up, and it
//! rounds half to even.

use ethnum::{I256, U256};

use super::{Decimal, ONE, Rounding};

/// Significant digits of a written quotient.
const DIGITS: u32 = 28;

/// `numerator / denominator`, not yet divided. Equal quotients compare equal.
#[derive(Clone, Copy, Debug)]
pub struct Quotient {
    pub(super) numerator: I256,
    pub(super) denominator: U256,
}

impl Quotient {
    /// A decimal divided by a whole number above zero.
    pub fn of(value: Decimal, divisor: u64) -> Quotient {
        Quotient::new(I256::from(value.units()), U256::from(divisor) * U256::new(ONE as u128))
    }

    /// A decimal divided by a decimal; `None` if the divisor is 0.
    pub fn of_decimals(dividend: Decimal, divisor: Decimal) -> Option<Quotient> {
        let (a, b) = (I256::from(dividend.units()), I256::from(divisor.units()));
        let numerator = if b < 0 { -a } else { a };
        (b != 0).then(|| Quotient::new(numerator, b.unsigned_abs()).reduced())
    }

    /// Rounded to `places` digits after the point (negative: before it).
    pub fn round(self, places: i32, rounding: Rounding) -> Option<Decimal> {
        // One unit finer than the places, with a last digit that separates more from less.
        let quotient = self.reduced();
        let one = I256::from(ONE);
        let denominator = quotient.denominator.as_i256();
        let scaled = quotient.numerator.checked_mul(one)?;
        let (mut units, rest) = (scaled.div_euclid(denominator), scaled.rem_euclid(denominator));
        let exact = rest == 0;
        if places >= super::FRACTION_DIGITS as i32 || exact {
            let up = match rounding {
                Rounding::Floor => false,
                Rounding::Ceil => !exact,
                Rounding::Trunc => !exact && self.numerator < 0,
                Rounding::HalfUp => rest * 2 > denominator || (rest * 2 == denominator && self.numerator > 0),
                Rounding::HalfEven => rest * 2 > denominator || (rest * 2 == denominator && units % 2 != 0),
                Rounding::Up => !exact && self.numerator > 0,
            };
            units += I256::from(i128::from(up));
            return Decimal::from_units(i128::try_from(units).ok()?)?.round(places, rounding);
        }
        // Not exact: it is strictly above `units`. Where `units` sits on a step or on
        // the middle of one, the missing rest decides, and `units + 1` sits behind it.
        let below = Decimal::from_units(i128::try_from(units).ok()?)?;
        let above = Decimal::from_units(i128::try_from(units + 1).ok()?)?;
        match rounding {
            Rounding::Floor => below.round(places, rounding),
            Rounding::Ceil => above.round(places, rounding),
            Rounding::Trunc if self.numerator < 0 => above.round(places, rounding),
            Rounding::Trunc => below.round(places, rounding),
            Rounding::Up if self.numerator > 0 => above.round(places, rounding),
            Rounding::Up => below.round(places, rounding),
            // A half is never hit exactly: above the middle goes up, below it down.
            Rounding::HalfUp | Rounding::HalfEven if self.numerator > 0 => below.round(places, Rounding::HalfUp),
            Rounding::HalfUp | Rounding::HalfEven => above.round(places, Rounding::HalfUp),
        }
    }

    /// Any exact quotient; the denominator must not be zero.
    pub(crate) fn new(numerator: I256, denominator: U256) -> Quotient {
        debug_assert!(denominator != 0);
        Quotient { numerator, denominator }
    }

    /// Appends it to an image.
    pub(crate) fn write_image(self, pen: &mut crate::image::Pen) {
        pen.bytes.extend_from_slice(&self.numerator.to_le_bytes());
        pen.bytes.extend_from_slice(&self.denominator.to_le_bytes());
    }

    /// Reads it from an image.
    pub(crate) fn read_image(glass: &mut crate::image::Glass<'_>) -> crate::image::Seen<Quotient> {
        let wide = |glass: &mut crate::image::Glass<'_>| Ok((glass.wide()?, glass.wide()?));
        let (low, high) = wide(glass)?;
        let numerator = I256::from_words(high as i128, low as i128);
        let (low, high) = wide(glass)?;
        let denominator = U256::from_words(high, low);
        if denominator == 0 { glass.damaged() } else { Ok(Quotient { numerator, denominator }) }
    }

    /// The decimal it is, when it is one exactly.
    pub fn to_decimal(self) -> Option<Decimal> {
        let magnitude = self.numerator.unsigned_abs();
        let scaled = magnitude.checked_mul(U256::new(ONE as u128))?;
        if scaled % self.denominator != 0 {
            return None;
        }
        let units = i128::try_from(scaled / self.denominator).ok()?;
        Decimal::from_units(if self.numerator < 0 { -units } else { units })
    }

    /// The difference to another quotient, exact.
    pub fn minus(self, other: Quotient) -> Quotient {
        if self.denominator == other.denominator {
            return Quotient { numerator: self.numerator - other.numerator, ..self }.reduced();
        }
        let (a, b) = (self.reduced(), other.reduced());
        let left = a.numerator * b.denominator.as_i256();
        let right = b.numerator * a.denominator.as_i256();
        Quotient { numerator: left - right, denominator: a.denominator * b.denominator }.reduced()
    }

    /// Whether it is 0.
    pub fn is_zero(self) -> bool {
        self.numerator == 0
    }

    /// How it compares with a decimal.
    pub fn compare(self, limit: Decimal) -> std::cmp::Ordering {
        let reduced = self.reduced();
        let one = I256::from(ONE);
        let (scale, limit) = (reduced.denominator.as_i256(), I256::from(limit.units()));
        (reduced.numerator * one).cmp(&(limit * scale))
    }

    /// In lowest terms, so that products of two stay far below 256 bits.
    fn reduced(self) -> Quotient {
        let (mut a, mut b) = (self.numerator.unsigned_abs(), self.denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        if a <= 1 {
            return self;
        }
        Quotient { numerator: self.numerator / a.as_i256(), denominator: self.denominator / a }
    }

    /// Appends it: a decimal in full, any other quotient with at most 28 significant
    /// digits, half to even, no trailing zeros.
    pub fn write_to(self, out: &mut Vec<u8>) {
        if self.denominator == U256::new(ONE as u128)
            && let Ok(units) = i128::try_from(self.numerator)
            && let Some(decimal) = Decimal::from_units(units)
        {
            return decimal.write_to(out);
        }
        if self.numerator == 0 {
            out.push(b'0');
            return;
        }
        if self.numerator < 0 {
            out.push(b'-');
        }
        let (mantissa, places) = self.digits();
        write_scaled(mantissa, places, out);
    }

    /// A mantissa of 28 digits (or one more when rounding carries) and how many of
    /// them stand after the point.
    fn digits(self) -> (u128, i32) {
        let mut rest = self.numerator.unsigned_abs();
        let mut divisor = self.denominator;
        let mut places = 0i32;
        let low = U256::new(10u128.pow(DIGITS - 1));
        let high = U256::new(10u128.pow(DIGITS));
        // Bring the quotient into [10^27, 10^28) by moving the point.
        while rest / divisor >= high {
            match divisor.checked_mul(U256::new(10)) {
                Some(larger) => divisor = larger,
                None => rest /= 10,
            }
            places -= 1;
        }
        // All missing digits at once, as divisions of 256 bits are slow.
        let mut quotient = rest / divisor;
        while quotient < low {
            let missing = DIGITS - digits_of(quotient.as_u128());
            if let Some(larger) = rest.checked_mul(U256::new(10u128.pow(missing))) {
                (rest, places) = (larger, places + missing as i32);
            } else if let Some(larger) = rest.checked_mul(U256::new(10)) {
                (rest, places) = (larger, places + 1);
            } else {
                return long_division(rest, divisor, places);
            }
            quotient = rest / divisor;
        }
        round_half_even(quotient, rest - quotient * divisor, divisor, places)
    }
}

/// Returns the number of decimal digits; 0 for 0.
fn digits_of(number: u128) -> u32 {
    number.checked_ilog10().map_or(0, |log| log + 1)
}

/// Continues digit by digit once the numerator cannot grow any more.
fn long_division(rest: U256, divisor: U256, mut places: i32) -> (u128, i32) {
    let low = U256::new(10u128.pow(DIGITS - 1));
    let (mut quotient, mut rest) = (rest / divisor, rest % divisor);
    while quotient < low {
        let (digit, next) = next_digit(rest, divisor);
        quotient = quotient * 10 + U256::from(digit);
        rest = next;
        places += 1;
    }
    round_half_even(quotient, rest, divisor, places)
}

/// One decimal digit of `rest / divisor` by doubling and adding, which cannot overflow
/// for `rest < divisor < 2^255`.
fn next_digit(rest: U256, divisor: U256) -> (u8, U256) {
    let mut digit = 0u8;
    let mut sum = U256::ZERO;
    for _ in 0..10 {
        sum += rest;
        if sum >= divisor {
            sum -= divisor;
            digit += 1;
        }
    }
    (digit, sum)
}

fn round_half_even(quotient: U256, rest: U256, divisor: U256, places: i32) -> (u128, i32) {
    let half = divisor - rest;
    let up = rest > half || (rest == half && quotient % 2 == 1);
    ((quotient + U256::from(u8::from(up))).as_u128(), places)
}

/// Writes `mantissa · 10^-places` without exponent or trailing zeros.
fn write_scaled(mut mantissa: u128, mut places: i32, out: &mut Vec<u8>) {
    while places > 0 && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        places -= 1;
    }
    let mut text = Vec::with_capacity(64);
    super::write_u128(mantissa, &mut text);
    if places <= 0 {
        out.extend_from_slice(&text);
        out.resize(out.len() + places.unsigned_abs() as usize, b'0');
        return;
    }
    let places = places as usize;
    if text.len() > places {
        let (whole, fraction) = text.split_at(text.len() - places);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places - text.len(), b'0');
        out.extend_from_slice(&text);
    }
}
