//! Exact probabilities: fractions in lowest terms.

use std::cmp::Ordering;
use std::fmt;

use super::TraceError;

/// How likely something is, as an exact fraction from zero to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probability {
    numerator: u64,
    denominator: u64,
}

impl Probability {
    /// What cannot happen.
    pub const ZERO: Self = Self { numerator: 0, denominator: 1 };
    /// What is certain.
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// `cases` out of `all` equally likely ones; nothing unless they are that many at most, and
    /// there is at least one.
    pub fn of(cases: u64, all: u64) -> Option<Self> {
        if all == 0 || cases > all {
            return None;
        }
        let divisor = greatest_common_divisor(cases, all);
        Some(Self { numerator: cases / divisor, denominator: all / divisor })
    }

    /// The fraction as the nearest floating-point number.
    #[expect(clippy::cast_precision_loss, reason = "the nearest number is what is asked for")]
    pub fn as_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// Of two things that exclude each other, that either happens.
    ///
    /// # Errors
    /// [`TraceError::TooFine`]: the sum's denominator exceeds 64 bits.
    pub fn or(self, other: Self) -> Result<Self, TraceError> {
        let widened = |fraction: Self| (u128::from(fraction.numerator), u128::from(fraction.denominator));
        let ((a, all_a), (b, all_b)) = (widened(self), widened(other));
        let shared = u128::from(greatest_common_divisor(self.denominator, other.denominator));
        // Products of two 64-bit numbers; their sum has a bit to spare since neither fraction exceeds one.
        Self::reduce(a * (all_b / shared) + b * (all_a / shared), all_a / shared * all_b)
    }

    /// Of two things that do not influence each other, that both happen.
    ///
    /// # Errors
    /// [`TraceError::TooFine`]: the product's denominator exceeds 64 bits.
    pub fn and(self, other: Self) -> Result<Self, TraceError> {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        Self::reduce(product(self.numerator, other.numerator), product(self.denominator, other.denominator))
    }

    fn reduce(numerator: u128, denominator: u128) -> Result<Self, TraceError> {
        let (mut a, mut b) = (numerator, denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let narrow = |number: u128| u64::try_from(number / a).ok();
        match (narrow(numerator), narrow(denominator)) {
            (Some(numerator), Some(denominator)) => Ok(Self { numerator, denominator }),
            _ => Err(TraceError::TooFine),
        }
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl PartialOrd for Probability {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Probability {
    fn cmp(&self, other: &Self) -> Ordering {
        let crossed = |a: u64, b: u64| u128::from(a) * u128::from(b);
        crossed(self.numerator, other.denominator).cmp(&crossed(other.numerator, self.denominator))
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            return write!(f, "{}", self.numerator);
        }
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cases: u64, all: u64) -> Probability {
        Probability::of(cases, all).unwrap()
    }

    #[test]
    fn fractions_are_kept_in_lowest_terms() {
        assert_eq!(of(2, 6).to_string(), "1/3");
        assert_eq!(of(1, 6).or(of(1, 3)).unwrap().to_string(), "1/2");
        assert_eq!(of(2, 3).and(of(3, 4)).unwrap().to_string(), "1/2");
        assert_eq!((of(0, 7), of(7, 7)), (Probability::ZERO, Probability::ONE));
    }

    #[test]
    fn impossible_fractions_are_rejected() {
        assert_eq!((Probability::of(1, 0), Probability::of(3, 2)), (None, None));
    }

    #[test]
    fn what_64_bits_cannot_hold_is_an_error_and_not_a_rounded_number() {
        let tiny = of(1, u64::MAX);
        assert!(matches!(tiny.and(of(1, 2)), Err(TraceError::TooFine)));
        assert!(matches!(tiny.or(of(1, u64::MAX - 1)), Err(TraceError::TooFine)));
        assert_eq!(tiny.or(of(u64::MAX - 1, u64::MAX)).unwrap(), Probability::ONE);
    }

    #[test]
    fn order_is_that_of_the_values() {
        assert!(of(1, 3) < of(1, 2) && of(2, 3) > of(3, 5) && of(2, 4) <= of(1, 2));
        assert!((of(1, 4).as_f64() - 0.25).abs() < f64::EPSILON);
    }
}
