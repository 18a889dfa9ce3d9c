//! Quantities of Kubernetes: `512`, `1Ki`, `3M`, `1.5Gi`, `1e3`.
//!
//! Only zero or not matters, because log lines are not buffered; but invalid quantities are rejected, as in kube-proxy.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

const ZERO: &str = "0";

/// Suffixes: thousandths and below, multiples of 1000, multiples of 1024.
const SUFFIXES: [&str; 16] =
    ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A quantity, as it was written; zero in every unit is `0`, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Quantity(String);

impl Default for Quantity {
    fn default() -> Self {
        Self(ZERO.to_owned())
    }
}

impl Quantity {
    /// Whether it is zero, in any unit.
    pub(crate) fn is_zero(&self) -> bool {
        self.0 == ZERO
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Quantity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let is_number = number.bytes().any(|byte| byte != b'.') && number.matches('.').count() <= 1;
        if !is_number || !(SUFFIXES.contains(&suffix) || is_exponent(suffix)) {
            return Err("not a quantity such as 512, 1Ki or 3M");
        }
        let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        Ok(Self(if is_zero { ZERO } else { text }.to_owned()))
    }
}

/// `e3`, `E-6`.
fn is_exponent(suffix: &str) -> bool {
    suffix.strip_prefix(['e', 'E']).is_some_and(|digits| {
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A string or, as in Kubernetes, a plain number.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse().map_err(|error| E::custom(format_args!("{text:?} is {error}")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_parsed_as_kubernetes_writes_them() {
        for text in [
            "0",
            "512",
            "1K".replace('K', "k").as_str(),
            "1Ki",
            "3M",
            ".5Gi",
            "1.",
            "-1",
            "+2",
            "1e3",
            "2E-6",
        ] {
            assert_eq!(text.parse::<Quantity>().map(|q| q.to_string()).as_deref(), Ok(text));
        }
        for text in ["", ".", "1.2.3", "1K", "1 Ki", "Ki", "1e", "1e+", "1e3x", "1KiB", "0x1", "--1", "1Kie3"]
        {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn zero_is_zero_in_every_unit() {
        for (text, zero) in
            [("0", true), ("0Ki", true), ("0.00e7", true), ("-0", true), ("1", false), ("0.01m", false)]
        {
            assert_eq!(text.parse::<Quantity>().unwrap().is_zero(), zero, "{text}");
        }
        assert!(Quantity::default().is_zero());
    }
}
