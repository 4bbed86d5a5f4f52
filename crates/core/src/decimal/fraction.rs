//! Exact products and fractions that are rounded once: amounts of money.
//!
//! A product of two decimals has up to 36 digits after the point. It stays whole in 256 bits
//! until the result is rounded to the places that were asked for.

use ethnum::I256;

use super::{Decimal, FRACTION_DIGITS, ONE, Rounding};

/// A sum of products of two decimals: units of 10⁻³⁶.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(I256);

impl Fraction {
    /// The fraction with value 0.
    pub const ZERO: Fraction = Fraction(I256::ZERO);

    /// Returns the exact product. It always fits: 38 digits times 38 digits.
    pub fn product(a: Decimal, b: Decimal) -> Fraction {
        Fraction(I256::from(a.units()) * I256::from(b.units()))
    }

    /// Returns the exact fraction of a decimal.
    pub fn of(value: Decimal) -> Fraction {
        Fraction::product(value, Decimal::ONE)
    }

    /// Returns the sum, or `None` outside the range.
    #[allow(clippy::should_implement_trait)] // it may fail, which the trait cannot say
    pub fn add(self, other: Fraction) -> Option<Fraction> {
        self.0.checked_add(other.0).map(Fraction)
    }

    /// Returns the negated value.
    #[allow(clippy::should_implement_trait)] // as of `Decimal`
    pub fn neg(self) -> Fraction {
        Fraction(-self.0)
    }

    /// Rounds to `places` digits after the point, 0 to 18; `None` outside the range of decimals.
    pub fn round(self, places: u32, rounding: Rounding) -> Option<Decimal> {
        let step = power(2 * FRACTION_DIGITS - places.min(FRACTION_DIGITS));
        scaled(divide(self.0, step, rounding), places)
    }

    /// Divides by a decimal above 0 and rounds once.
    pub fn divide(self, by: Decimal, places: u32, rounding: Rounding) -> Option<Decimal> {
        let step = I256::from(by.units()).checked_mul(power(FRACTION_DIGITS - places.min(FRACTION_DIGITS)))?;
        (step > 0).then(|| scaled(divide(self.0, step, rounding), places))?
    }
}

/// Returns the decimal of `units` units of 10 to the minus `places`.
fn scaled(units: I256, places: u32) -> Option<Decimal> {
    let units = units.checked_mul(power(FRACTION_DIGITS - places.min(FRACTION_DIGITS)))?;
    Decimal::from_units(i128::try_from(units).ok()?)
}

fn power(exponent: u32) -> I256 {
    I256::from(10).pow(exponent)
}

/// Divides `n` by `d`, which is above 0, and rounds to a whole number.
fn divide(n: I256, d: I256, rounding: Rounding) -> I256 {
    let (floor, rest) = (n.div_euclid(d), n.rem_euclid(d));
    let is_up = match rounding {
        Rounding::Floor => false,
        Rounding::Ceil => rest != 0,
        Rounding::Trunc => rest != 0 && n < 0,
        Rounding::Up => rest != 0 && n > 0,
        // `rest > d - rest` avoids doubling.
        Rounding::HalfUp => rest > d - rest || (rest == d - rest && n > 0),
        Rounding::HalfEven => rest > d - rest || (rest == d - rest && floor % 2 != 0),
    };
    floor + I256::from(i128::from(is_up))
}

impl Decimal {
    /// Returns the product if it has at most 18 digits after the point and is found without many
    /// digits: one of the two is a whole number that is not too large.
    pub fn whole_product(self, other: Decimal) -> Option<Decimal> {
        if self.units() % ONE == 0 {
            return Decimal::from_units((self.units() / ONE).checked_mul(other.units())?);
        }
        (other.units() % ONE == 0).then(|| Decimal::from_units((other.units() / ONE).checked_mul(self.units())?))?
    }

    /// Returns the least whole number of steps of `size`, which is above 0, that reach this value.
    pub fn steps_up(self, size: Decimal) -> Option<Decimal> {
        let steps = divide(I256::from(self.units()), I256::from(size.units()), Rounding::Ceil);
        Decimal::from_units(i128::try_from(steps.checked_mul(I256::from(ONE))?).ok()?)
    }
}

/// Returns the rounding with this name: `half_even`, `half_up`, `down`, `up`, `floor`, `ceil`.
pub fn parse_rounding(name: &str) -> Option<Rounding> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn halves_go_where_the_rounding_says() {
        // The value, and its results by half_even, half_up, down, up, floor and ceil at 0 places.
        let cases = [
            ("2.5", ["2", "3", "2", "3", "2", "3"]),
            ("3.5", ["4", "4", "3", "4", "3", "4"]),
            ("-2.5", ["-2", "-3", "-2", "-3", "-3", "-2"]),
            ("2.500000000000000001", ["3", "3", "2", "3", "2", "3"]),
            ("-0.1", ["0", "0", "0", "-1", "-1", "0"]),
            ("7", ["7", "7", "7", "7", "7", "7"]),
        ];
        let names = ["half_even", "half_up", "down", "up", "floor", "ceil"];
        for (value, expected) in cases {
            for (name, expected) in names.iter().zip(expected) {
                let rounding = parse_rounding(name).unwrap();
                assert_eq!(Fraction::of(number(value)).round(0, rounding), Some(number(expected)), "{value} {name}");
                assert_eq!(number(value).round(0, rounding), Some(number(expected)), "decimal {value} {name}");
            }
        }
    }

    #[test]
    fn products_keep_every_digit_until_they_are_rounded() {
        let tiny = number("0.000000000000000001");
        let half = number("0.5");
        assert_eq!(Fraction::product(tiny, half).round(18, Rounding::HalfEven), Some(Decimal::ZERO));
        assert_eq!(Fraction::product(tiny, half).round(18, Rounding::Up), Some(tiny));
        let sum = Fraction::product(tiny, half).add(Fraction::product(tiny, half)).unwrap();
        assert_eq!(sum.round(18, Rounding::HalfEven), Some(tiny));
        assert_eq!(Fraction::of(number("10")).divide(number("3"), 4, Rounding::HalfEven), Some(number("3.3333")));
        assert_eq!(Fraction::of(number("1")).divide(number("8"), 2, Rounding::HalfEven), Some(number("0.12")));
        let large = number("99999999999999999999");
        assert_eq!(Fraction::product(large, large).round(0, Rounding::HalfEven), None);
    }

    #[test]
    fn started_steps_are_whole() {
        let cases = [("0.001", "1000", "1"), ("1000", "1000", "1"), ("1000.1", "1000", "2"), ("0", "7", "0"), ("1", "0.3", "4")];
        for (value, size, expected) in cases {
            assert_eq!(number(value).steps_up(number(size)), Some(number(expected)), "{value} in {size}");
        }
    }
}
