//! Quotients in compact form. The value of every flushed period is remembered; nearly all of these
//! values are decimals, which take a quarter of the space of a quotient.

use ethnum::{I256, U256};

use super::{Decimal, ONE, Packed, Quotient};

/// A quotient in compact form.
#[derive(Clone, Debug)]
pub struct Resting(Form);

#[derive(Clone, Debug)]
enum Form {
    Decimal(Packed),
    Quotient(Box<Quotient>),
}

impl Resting {
    /// Returns the number of bytes that it holds on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self.0 {
            Form::Decimal(_) => 0,
            Form::Quotient(_) => size_of::<Quotient>(),
        }
    }
}

impl From<Quotient> for Resting {
    fn from(quotient: Quotient) -> Resting {
        let whole = quotient.denominator == U256::new(ONE as u128);
        let decimal = if whole { i128::try_from(quotient.numerator).ok().and_then(Decimal::from_units) } else { None };
        Resting(decimal.map_or_else(|| Form::Quotient(Box::new(quotient)), |decimal| Form::Decimal(decimal.into())))
    }
}

impl From<&Resting> for Quotient {
    fn from(resting: &Resting) -> Quotient {
        match &resting.0 {
            Form::Decimal(decimal) => Quotient::new(I256::from(Decimal::from(*decimal).units()), U256::new(ONE as u128)),
            Form::Quotient(quotient) => **quotient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Pen;

    #[test]
    fn compact_quotients_keep_their_value_and_image() {
        let decimal = |text: &str| super::super::parse(text.as_bytes()).unwrap();
        let most = Quotient::new(I256::MAX, U256::new(ONE as u128));
        for (quotient, heap_bytes) in [
            (Quotient::of(decimal("-3810026.366"), 1), 0),
            (Quotient::of(decimal("0"), 1), 0),
            (Quotient::of(decimal("10"), 3), size_of::<Quotient>()),
            (Quotient::of_decimals(decimal("1"), decimal("-7")).unwrap(), size_of::<Quotient>()),
            (most, size_of::<Quotient>()),
        ] {
            let resting = Resting::from(quotient);
            assert_eq!(resting.heap_bytes(), heap_bytes, "{quotient:?}");
            // Equal to the last byte, since images must not change.
            let image = |quotient: Quotient| {
                let mut pen = Pen::default();
                quotient.write_image(&mut pen);
                pen.bytes
            };
            assert_eq!(image(Quotient::from(&resting)), image(quotient), "{quotient:?}");
        }
    }
}
