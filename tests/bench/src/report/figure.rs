//! Figures in units that people read.

use serde::{Deserialize, Serialize};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    /// A part of a whole: 0.25 is a quarter, shown as 25 %.
    Ratio,
    /// Things: messages, operations, allocations.
    Count,
}

impl Unit {
    /// The value with three digits that count, in the multiple of the unit that suits it.
    pub(super) fn show(self, value: f64) -> String {
        let (factor, name) = self.multiple(value);
        let scaled = value / factor;
        let digits = match scaled.abs() {
            _ if self == Self::Count && scaled.fract() == 0.0 => 0,
            size if size >= 99.95 || size == 0.0 => 0,
            size if size >= 9.995 => 1,
            _ => 2,
        };
        if name.is_empty() { format!("{scaled:.digits$}") } else { format!("{scaled:.digits$} {name}") }
    }

    /// By what to divide a value, and what that is called. The limits lie where rounding would carry over.
    pub(super) fn multiple(self, value: f64) -> (f64, &'static str) {
        let size = value.abs();
        match self {
            Self::Seconds if size < 0.999_5e-6 => (1e-9, "ns"),
            Self::Seconds if size < 0.999_5e-3 => (1e-6, "µs"),
            Self::Seconds if size < 0.999_5 => (1e-3, "ms"),
            Self::Seconds => (1.0, "s"),
            Self::Bytes if size < 999.5 => (1.0, "B"),
            Self::Bytes if size < 999_500.0 => (1e3, "kB"),
            Self::Bytes if size < 999_500_000.0 => (1e6, "MB"),
            Self::Bytes => (1e9, "GB"),
            Self::Ratio => (0.01, "%"),
            Self::Count => (1.0, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_in_the_unit_that_suits_their_size() {
        for (unit, value, shown) in [
            (Unit::Seconds, 0.000_000_42, "420 ns"),
            (Unit::Seconds, 0.000_012_34, "12.3 µs"),
            (Unit::Seconds, 0.000_999_9, "1.00 ms"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 12.3, "12.3 s"),
            (Unit::Seconds, 0.0, "0 ns"),
            (Unit::Seconds, -0.000_002, "-2.00 µs"),
            (Unit::Bytes, 312.0, "312 B"),
            (Unit::Bytes, 4_096.0, "4.10 kB"),
            (Unit::Bytes, 29_960_000.0, "30.0 MB"),
            (Unit::Bytes, 1_200_000_000.0, "1.20 GB"),
            (Unit::Ratio, 0.246, "24.6 %"),
            (Unit::Count, 16_384.0, "16384"),
            (Unit::Count, 2.5, "2.50"),
        ] {
            assert_eq!(unit.show(value), shown);
        }
    }
}
