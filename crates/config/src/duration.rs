//! Go's durations: `1m30s`, `1.5h`, `0` and `-3s` (`time.ParseDuration`), printed as `24h0m0s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration of Go, a signed number of nanoseconds. Validation rejects negative ones with the name of their field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct GoDuration(i64);

impl GoDuration {
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) const fn from_secs(seconds: u32) -> Self {
        Self(seconds as i64 * 1_000_000_000)
    }

    /// The duration; zero if it is negative.
    pub(crate) fn get(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl FromStr for GoDuration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let nanos = if unsigned == "0" { Some(0) } else { sum_of_parts(unsigned) };
        let nanos = nanos.and_then(|nanos| i64::try_from(nanos).ok());
        let nanos = nanos.ok_or("not a duration such as 500ms, 30s or 1m30s")?;
        Ok(Self(if text.starts_with('-') { -nanos } else { nanos }))
    }
}

/// Units with their nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits of a fraction; more cannot change a whole number of nanoseconds.
const MAX_FRACTION_DIGITS: usize = 18;

/// The nanoseconds of all numbers with their units, each rounded down. No valid duration overflows.
fn sum_of_parts(mut text: &str) -> Option<i128> {
    let is_numeric = |c: char| c == '.' || c.is_ascii_digit();
    let mut total = 0_i128;
    loop {
        let (number, rest) = text.split_at(text.find(|c| !is_numeric(c))?);
        // A unit ends where the next number begins, so `1m30s` is not `1` of unit `m30s`.
        let (unit, rest) = rest.split_at(rest.find(is_numeric).unwrap_or(rest.len()));
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = fraction.len().min(MAX_FRACTION_DIGITS);
        let scaled: i128 = format!("{whole}{}", fraction.get(..digits)?).parse().ok()?;
        let scale = 10_i128.pow(u32::try_from(digits).ok()?);
        total = total.checked_add(scaled.checked_mul(*unit)? / scale)?;
        if rest.is_empty() {
            return Some(total);
        }
        text = rest;
    }
}

/// As Go prints it: hours, minutes and seconds from the largest non-zero unit on, or below a second one number with the
/// largest unit that fits.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}\u{b5}s", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `value / unit`, a power of ten, without zeros at the end.
fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let (whole, fraction) = (value / unit, value % unit);
    let text = format!("{whole}.{fraction:0width$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DurationVisitor { or_nanoseconds: false })
    }
}

impl GoDuration {
    /// Deserializes a field that may also be a number of nanoseconds.
    pub(crate) fn or_nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor { or_nanoseconds: true })
    }
}

/// Parses inside the visitor, so that an error has the place of the value.
struct DurationVisitor {
    or_nanoseconds: bool,
}

impl Visitor<'_> for DurationVisitor {
    type Value = GoDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.or_nanoseconds { "a duration or a number of nanoseconds" } else { "a duration" })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
        text.parse().map_err(|error| E::custom(format_args!("{text:?} is {error}")))
    }

    fn visit_i64<E: Error>(self, nanos: i64) -> Result<GoDuration, E> {
        if self.or_nanoseconds {
            Ok(GoDuration(nanos))
        } else {
            Err(E::invalid_type(Unexpected::Signed(nanos), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        let cases = [
            ("0", 0),
            ("+0", 0),
            ("-0s", 0),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("7ns", 7),
            ("1.9ns", 1),
            ("0.123456789s", 123_456_789),
            ("0.3333333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
        ];
        for (text, nanos) in cases {
            assert_eq!(text.parse(), Ok(GoDuration(nanos)), "{text}");
            assert_eq!(
                format!("-{text}").replace("-+", "-").replace("--", "-").parse(),
                Ok(GoDuration(-nanos))
            );
        }
    }

    #[test]
    fn durations_that_go_rejects_are_rejected() {
        let cases = [
            "",
            "5",
            "s",
            ".s",
            "-",
            "+",
            "1x",
            "1 s",
            "1s 2m",
            "1sm",
            "1m30",
            "--1s",
            "1..5s",
            "9223372036854775808ns",
            "2562048h",
            "99999999999999999999h",
            "١s",
        ];
        for text in cases {
            assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        let cases = [
            ("0", "0s"),
            ("30s", "30s"),
            ("15m", "15m0s"),
            ("24h", "24h0m0s"),
            ("90s", "1m30s"),
            ("1h0m0.5s", "1h0m0.5s"),
            ("1500ms", "1.5s"),
            ("250ms", "250ms"),
            ("1500us", "1.5ms"),
            ("3us", "3\u{b5}s"),
            ("1001ns", "1.001\u{b5}s"),
            ("7ns", "7ns"),
            ("-90s", "-1m30s"),
            ("-1ns", "-1ns"),
        ];
        for (text, printed) in cases {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), printed);
            assert_eq!(printed.parse(), Ok(duration));
        }
    }

    #[test]
    fn a_negative_duration_is_zero() {
        assert_eq!("-1s".parse::<GoDuration>().unwrap().get(), Duration::ZERO);
        assert_eq!(GoDuration::from_secs(90).get(), Duration::from_secs(90));
        assert_eq!(GoDuration::ZERO, GoDuration::default());
    }
}
