//! Numbers between JSON and JavaScript.
//!
//! A number whose canonical text is the shortest text of a binary64 becomes a JavaScript number,
//! any other one a `Decimal`.

/// Computes with exact decimals written as text. The error is a message for the author.
pub type Arithmetic = fn(Operation<'_>) -> Result<String, String>;

/// An operation on exact decimals.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// Reads a number and writes it in canonical form.
    Canonical(&'a str),
    /// Computes the sum of two numbers.
    Add(&'a str, &'a str),
    /// Subtracts the second number from the first.
    Subtract(&'a str, &'a str),
    /// Computes the product of two numbers.
    Multiply(&'a str, &'a str),
    /// Compares two numbers: `-1`, `0` or `1`.
    Compare(&'a str, &'a str),
    /// Divides the first number by the second, rounded to a number of places.
    Divide(&'a str, &'a str, u8, &'a str),
}

/// Returns the binary64 of a JSON number that JavaScript shows without loss.
pub(crate) fn binary(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let digits = text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).filter(u8::is_ascii_digit).count();
    // Up to 15 digits survive a binary64.
    if digits <= 15 && digits == text.bytes().filter(u8::is_ascii_digit).count() {
        return Some(number);
    }
    (plain(text)? == plain(&format!("{number}"))?).then_some(number)
}

/// A number as sign, digits without zeros at either end, and the power of ten of the last digit.
fn plain(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let mut power = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let kept = digits.trim_end_matches('0');
    power = power.checked_add(i64::try_from(digits.len() - kept.len()).ok()?)?;
    let kept = kept.trim_start_matches('0');
    match kept.is_empty() {
        true => Some((false, String::new(), 0)),
        false => Some((negative, kept.to_owned(), power)),
    }
}

/// Returns the text of a finite JavaScript number, as JavaScript writes it.
pub(crate) fn shortest(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if (1e-6..1e21).contains(&number.abs()) {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    match text.contains("e-") {
        true => text,
        false => text.replace('e', "e+"),
    }
}
