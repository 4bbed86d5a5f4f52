//! Reads a tariff from its fields: those of a document, or the columns of a row.

use serde_json::{Map, Value};

use super::{Bound, Model, Tariff, Tier};
use crate::decimal::{self, Decimal};

/// A field of a tariff that is wrong: its path, and the problem with its remedy.
pub type Flaw = (String, String);

/// Names of all fields of a tariff.
pub const FIELDS: [&str; 8] = ["model", "unit", "tiers", "size", "packagePrice", "free", "minimum", "maximum"];

impl Tariff {
    /// Reads a tariff. Other fields are not looked at; those that are null or empty are as if they
    /// were missing.
    ///
    /// # Errors
    /// All flaws.
    pub fn read(fields: &Map<String, Value>) -> Result<Tariff, Vec<Flaw>> {
        let mut reading = Reading { fields, flaws: Vec::new() };
        let tariff = reading.tariff();
        if reading.flaws.is_empty() { Ok(tariff) } else { Err(reading.flaws) }
    }
}

struct Reading<'f> {
    fields: &'f Map<String, Value>,
    flaws: Vec<Flaw>,
}

impl Reading<'_> {
    fn flaw(&mut self, field: &str, problem: impl Into<String>) {
        self.flaws.push((field.to_owned(), problem.into()));
    }

    fn tariff(&mut self) -> Tariff {
        let model = self.model();
        Tariff { model, minimum: self.number("minimum"), maximum: self.number("maximum") }
    }

    fn model(&mut self) -> Model {
        let Some(written) = present(self.fields, "model") else {
            self.flaw("model", "`model` is missing; write unit, graduated, volume or package");
            return Model::Unit(Decimal::ZERO);
        };
        let name = written.as_str().unwrap_or_default();
        let allowed: &[&str] = match name {
            "unit" => &["unit"],
            "package" => &["size", "packagePrice", "free"],
            "graduated" | "volume" => &["tiers"],
            _ => {
                self.flaw("model", format!("{written} is no model; write unit, graduated, volume or package"));
                return Model::Unit(Decimal::ZERO);
            }
        };
        for other in FIELDS.iter().filter(|other| !["model", "minimum", "maximum"].contains(other) && !allowed.contains(other)) {
            if present(self.fields, other).is_some() {
                self.flaw(other, format!("`{other}` is not of the model `{name}`, which has {}", allowed.join(", ")));
            }
        }
        match name {
            "unit" => Model::Unit(self.needed("unit")),
            "package" => {
                let (size, price) = (self.needed("size"), self.needed("packagePrice"));
                let free = self.number("free").unwrap_or_default();
                if size <= Decimal::ZERO || free < Decimal::ZERO {
                    self.flaw("size", "`size` must be above 0, and `free` at least 0");
                }
                Model::Package { size: if size > Decimal::ZERO { size } else { Decimal::ONE }, price, free }
            }
            "graduated" => Model::Graduated(self.tiers()),
            _ => Model::Volume(self.tiers()),
        }
    }

    fn number(&mut self, name: &str) -> Option<Decimal> {
        let value = present(self.fields, name)?;
        let found = number(value);
        if found.is_none() {
            self.flaw(name, not_a_number(name, value));
        }
        found
    }

    fn needed(&mut self, name: &str) -> Decimal {
        if present(self.fields, name).is_none() {
            self.flaw(name, format!("`{name}` is missing; write a number"));
        }
        self.number(name).unwrap_or_default()
    }

    fn tiers(&mut self) -> Vec<Tier> {
        let written = match present(self.fields, "tiers") {
            // A column of delimited text has the list as JSON.
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
            Some(value) => value.clone(),
            None => Value::Array(Vec::new()),
        };
        let Value::Array(items) = written else {
            self.flaw("tiers", "`tiers` is a list: [{\"upTo\": 1000, \"unit\": \"0.02\"}, {\"unit\": \"0.01\"}]");
            return Vec::new();
        };
        if items.is_empty() {
            self.flaw("tiers", "there are no tiers; write at least tiers: [{unit: '0.01'}]");
        }
        let mut before = Decimal::ZERO;
        let mut tiers = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let tier = self.tier(&format!("tiers[{i}]"), item, before, i + 1 == items.len());
            before = tier.bound.map_or(before, |bound| bound.at);
            tiers.push(tier);
        }
        tiers
    }

    fn tier(&mut self, field: &str, item: &Value, from: Decimal, is_last: bool) -> Tier {
        let empty = Map::new();
        let fields = item.as_object().unwrap_or(&empty);
        if !item.is_object() {
            self.flaw(field, format!("{item} is no tier; write {{\"upTo\": 1000, \"unit\": \"0.02\"}}"));
        }
        if let Some(other) = fields.keys().find(|name| !["upTo", "below", "unit", "flat"].contains(&name.as_str())) {
            self.flaw(field, format!("`{other}` is no field of a tier, which has upTo, below, unit, flat"));
        }
        let mut read = |name: &str| {
            let value = present(fields, name)?;
            let found = number(value);
            if found.is_none() {
                self.flaws.push((format!("{field}.{name}"), not_a_number(name, value)));
            }
            found
        };
        let (up_to, below) = (read("upTo"), read("below"));
        let (unit, flat) = (read("unit"), read("flat"));
        let bound = match (up_to, below) {
            (Some(at), None) => Some(Bound { at, is_included: true }),
            (None, Some(at)) => Some(Bound { at, is_included: false }),
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.flaw(field, "write `upTo` or `below`, not both");
                None
            }
        };
        match bound {
            None if !is_last => self.flaw(field, "only the last tier has no bound; write `upTo` or `below`"),
            Some(_) if is_last => self.flaw(field, "the last tier has no bound: remove it, or add a tier behind"),
            Some(Bound { at, .. }) if at <= from => {
                let problem = format!("the bound {at} is not above {from}, where the tier begins; write tiers in rising order");
                self.flaw(field, problem);
            }
            _ => {}
        }
        Tier { bound, unit: unit.unwrap_or_default(), flat: flat.unwrap_or_default() }
    }
}

/// A field that is there: neither null nor an empty text.
fn present<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f Value> {
    fields.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

/// A number, or one as text.
fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => decimal::parse(number.to_string().as_bytes()).ok(),
        Value::String(text) => decimal::parse(text.as_bytes()).ok(),
        _ => None,
    }
}

fn not_a_number(name: &str, value: &Value) -> String {
    format!("`{name}` is {value}; write a number with at most 18 digits after the point")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flaws(fields: &Value) -> String {
        let read = Tariff::read(fields.as_object().unwrap());
        read.err().unwrap_or_default().into_iter().map(|(field, why)| format!("{field}: {why}")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn nothing_that_is_misread_is_free() {
        let cases = [
            (json!({}), "`model` is missing"),
            (json!({"model": 5}), "5 is no model"),
            (json!({"model": "graduated", "tiers": ["0.01"]}), "tiers[0]: \"0.01\" is no tier"),
            (json!({"model": "volume", "tiers": [null]}), "tiers[0]: null is no tier"),
            (json!({"model": "graduated", "tiers": "0.01"}), "`tiers` is a list"),
            (json!({"model": "graduated", "tiers": [{"unit": "x"}]}), "tiers[0].unit: `unit` is \"x\""),
            (json!({"model": "graduated", "tiers": [{"units": 1}]}), "`units` is no field of a tier"),
            (json!({"model": "unit", "unit": "", "tiers": null}), "`unit` is missing"),
            (json!({"model": "unit", "unit": 1, "tiers": []}), "`tiers` is not of the model `unit`"),
            (json!({"model": "package", "size": 0, "packagePrice": 1}), "`size` must be above 0"),
        ];
        for (fields, expected) in cases {
            let found = flaws(&fields);
            assert!(found.contains(expected), "{fields}: {found}");
        }
        assert_eq!(flaws(&json!({"model": "volume", "tiers": "[{\"unit\": \"0.01\"}]", "unit": ""})), "");
    }
}
