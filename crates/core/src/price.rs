//! Prices: what a quantity costs, exactly.
//!
//! A price is a function P of a quantity. P(0) is 0 for every model. Everything is exact up to
//! one rounding at the end.

mod reading;

pub use reading::{FIELDS, Flaw};

use crate::decimal::{Decimal, Fraction, Rounding};

/// How a quantity is priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// Each unit costs the same.
    Unit(Decimal),
    /// Each share of the quantity costs what its tier says.
    Graduated(Vec<Tier>),
    /// The whole quantity has the price of the tier that contains it.
    Volume(Vec<Tier>),
    /// Each started package above what is free costs the same.
    Package {
        /// Quantity in a package, above 0.
        size: Decimal,
        /// Price of a package.
        price: Decimal,
        /// Quantity that costs nothing.
        free: Decimal,
    },
}

/// A tier: from the bound of the tier before it to its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Where it ends; the last one has no end.
    pub bound: Option<Bound>,
    /// Price of a unit.
    pub unit: Decimal,
    /// Price of being in the tier at all.
    pub flat: Decimal,
}

/// Where a tier ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The quantity at which it ends.
    pub at: Decimal,
    /// Whether exactly this quantity belongs to the tier.
    pub is_included: bool,
}

/// The handling of a quantity below 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negative {
    /// It is priced as a credit.
    Credit,
    /// Such a quantity costs 0.
    Clamp,
    /// It is not priced: the event is parked.
    Park,
}

/// A price model with its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// How a quantity is priced.
    pub model: Model,
    /// The lowest price of any quantity above 0.
    pub minimum: Option<Decimal>,
    /// The most that any quantity costs.
    pub maximum: Option<Decimal>,
}

/// The terms under which every tariff of an operator applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The handling of a quantity below 0.
    pub negative: Negative,
    /// Digits after the point, 0 to 18.
    pub scale: u32,
    /// How the result is rounded to them.
    pub rounding: Rounding,
}

impl Tariff {
    /// The price of a quantity; `None` where it is outside the range of decimals.
    pub fn of(&self, quantity: Decimal, terms: Terms) -> Option<Decimal> {
        let price = match quantity.units().signum() {
            0 => return Some(Decimal::ZERO),
            -1 if terms.negative != Negative::Credit => Fraction::ZERO,
            -1 => self.below_nought(quantity)?,
            _ => {
                if let Some(price) = self.whole(quantity) {
                    let least = self.minimum.map_or(price, |least| price.max(least));
                    return self.maximum.map_or(least, |most| least.min(most)).round(terms.scale as i32, terms.rounding);
                }
                let price = self.above_nought(quantity)?;
                let least = self.minimum.map_or(price, |least| price.max(Fraction::of(least)));
                self.maximum.map_or(least, |most| least.min(Fraction::of(most)))
            }
        };
        price.round(terms.scale, terms.rounding)
    }

    /// The price of a quantity above 0 where no product has more digits than a decimal: nearly always.
    /// It is the same as that of [`Tariff::above_nought`], in a tenth of the time.
    fn whole(&self, quantity: Decimal) -> Option<Decimal> {
        match &self.model {
            Model::Unit(unit) => quantity.whole_product(*unit),
            Model::Graduated(tiers) => {
                let (mut price, mut from) = (Decimal::ZERO, Decimal::ZERO);
                for tier in tiers {
                    let until = tier.bound.map_or(quantity, |bound| quantity.min(bound.at));
                    let share = until.sub(from)?;
                    if share > Decimal::ZERO {
                        price = price.add(share.whole_product(tier.unit)?)?.add(tier.flat)?;
                    }
                    if tier.reaches(quantity) {
                        break;
                    }
                    from = until;
                }
                Some(price)
            }
            Model::Volume(tiers) => {
                let tier = tiers.iter().find(|tier| tier.reaches(quantity))?;
                quantity.whole_product(tier.unit)?.add(tier.flat)
            }
            Model::Package { .. } => None,
        }
    }

    fn below_nought(&self, quantity: Decimal) -> Option<Fraction> {
        match &self.model {
            Model::Unit(unit) => Some(Fraction::product(quantity, *unit)),
            Model::Graduated(tiers) | Model::Volume(tiers) => {
                let unit = tiers.first().map_or(Decimal::ZERO, |tier| tier.unit);
                Some(Fraction::product(quantity, unit))
            }
            Model::Package { size, price, .. } => Some(Fraction::product(quantity.neg().steps_up(*size)?, *price).neg()),
        }
    }

    fn above_nought(&self, quantity: Decimal) -> Option<Fraction> {
        match &self.model {
            Model::Unit(unit) => Some(Fraction::product(quantity, *unit)),
            Model::Graduated(tiers) => graduated(tiers, quantity),
            Model::Volume(tiers) => {
                let tier = tiers.iter().find(|tier| tier.reaches(quantity))?;
                Fraction::product(quantity, tier.unit).add(Fraction::of(tier.flat))
            }
            Model::Package { size, price, free } => {
                let chargeable = quantity.sub(*free)?;
                match chargeable > Decimal::ZERO {
                    true => Some(Fraction::product(chargeable.steps_up(*size)?, *price)),
                    false => Some(Fraction::ZERO),
                }
            }
        }
    }
}

impl Tier {
    /// Whether a quantity belongs to this tier or to one before it.
    fn reaches(&self, quantity: Decimal) -> bool {
        match self.bound {
            None => true,
            Some(Bound { at, is_included: true }) => quantity <= at,
            Some(Bound { at, is_included: false }) => quantity < at,
        }
    }
}

/// Each tier's share of the quantity at its price, and the flat price of each tier that has a
/// share. A quantity on an excluded bound has entered the next tier, with a share of 0.
fn graduated(tiers: &[Tier], quantity: Decimal) -> Option<Fraction> {
    let mut price = Fraction::ZERO;
    let mut from = Decimal::ZERO;
    for tier in tiers {
        let until = match tier.bound {
            Some(bound) => quantity.min(bound.at),
            None => quantity,
        };
        let share = until.sub(from)?;
        if share > Decimal::ZERO {
            price = price.add(Fraction::product(share, tier.unit))?.add(Fraction::of(tier.flat))?;
        }
        if tier.reaches(quantity) {
            break;
        }
        from = until;
    }
    Some(price)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn tier(bound: Option<(&str, bool)>, unit: &str, flat: &str) -> Tier {
        let bound = bound.map(|(at, is_included)| Bound { at: number(at), is_included });
        Tier { bound, unit: number(unit), flat: number(flat) }
    }

    fn tariff(model: Model) -> Tariff {
        Tariff { model, minimum: None, maximum: None }
    }

    const TERMS: Terms = Terms { negative: Negative::Credit, scale: 18, rounding: Rounding::HalfEven };

    #[test]
    fn quantities_cost_what_their_model_says() {
        let up_to = |at| Some((at, true));
        let below = |at| Some((at, false));
        let steps = || vec![tier(up_to("10"), "10", "2"), tier(up_to("20"), "5", "3"), tier(None, "1", "4")];
        let halves = || vec![tier(below("100"), "2", "0"), tier(None, "1", "7")];
        let package = || Model::Package { size: number("1000"), price: number("5"), free: number("500") };
        let cases = [
            (Model::Unit(number("0.02")), "50.5", "1.01"),
            (Model::Graduated(steps()), "0", "0"),
            (Model::Graduated(steps()), "10", "102"),
            (Model::Graduated(steps()), "10.1", "105.5"),
            (Model::Graduated(steps()), "25", "164"),
            (Model::Graduated(halves()), "100", "200"),
            (Model::Graduated(halves()), "101", "208"),
            (Model::Volume(steps()), "10", "102"),
            (Model::Volume(steps()), "10.5", "55.5"),
            (Model::Volume(halves()), "99.5", "199"),
            (Model::Volume(halves()), "100", "107"),
            (Model::Graduated(steps()), "-3", "-30"),
            (package(), "500", "0"),
            (package(), "501", "5"),
            (package(), "1500", "5"),
            (package(), "1500.001", "10"),
            (package(), "-1", "-5"),
        ];
        for (model, quantity, expected) in cases {
            assert_eq!(tariff(model.clone()).of(number(quantity), TERMS), Some(number(expected)), "{model:?} {quantity}");
        }
    }

    #[test]
    fn prices_in_few_digits_are_those_in_many() {
        let up_to = |at| Some((at, true));
        let steps = || vec![tier(up_to("10"), "0.1", "2"), tier(up_to("20.5"), "0", "0"), tier(None, "1.25", "0.5")];
        let models = [Model::Unit(number("0.02")), Model::Graduated(steps()), Model::Volume(steps())];
        let mut few = 0;
        for model in models {
            for quantity in ["1", "10", "10.000001", "20.5", "21", "123456.789", "0.000000000000000003", "99999999999999999999"] {
                let tariff = tariff(model.clone());
                let many = tariff.above_nought(number(quantity)).and_then(|price| price.round(18, Rounding::HalfEven));
                if let Some(whole) = tariff.whole(number(quantity)) {
                    assert_eq!(Some(whole), many, "{model:?} {quantity}");
                    few += 1;
                }
            }
        }
        assert!(few >= 12, "{few}");
    }

    #[test]
    fn minimum_and_maximum_hold_above_nought_only() {
        let of = |quantity: &str| {
            let tariff = tariff(Model::Unit(number("2")));
            let tariff = Tariff { minimum: Some(number("10")), maximum: Some(number("25")), ..tariff };
            tariff.of(number(quantity), TERMS).unwrap().to_string()
        };
        let cases = [("0", "0"), ("0.1", "10"), ("6", "12"), ("20", "25"), ("-1", "-2")];
        for (quantity, expected) in cases {
            assert_eq!(of(quantity), expected, "{quantity}");
        }
    }

    #[test]
    fn the_result_is_rounded_once_and_its_range_is_kept() {
        let price =
            |unit: &str, scale, quantity: &str| tariff(Model::Unit(number(unit))).of(number(quantity), Terms { scale, ..TERMS });
        assert_eq!(price("0.00333", 2, "1.5"), Some(Decimal::ZERO));
        assert_eq!(price("0.00333", 2, "1.6"), Some(number("0.01")));
        assert_eq!(price("99999999999999999999", 0, "99999999999999999999"), None);
        let clamp = Terms { negative: Negative::Clamp, ..TERMS };
        assert_eq!(tariff(Model::Unit(number("1"))).of(number("-5"), clamp), Some(Decimal::ZERO));
    }
}
