//! Durations as Go's `time.ParseDuration` reads them: `1m30s`, `1.5h`, `0`.

use std::time::Duration;

use crate::error::ValueError;

/// Units with their nanoseconds; a longer spelling before any that starts it.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go counts a duration in a signed 64-bit number of nanoseconds, some 292 years.
const LONGEST: u64 = i64::MAX.unsigned_abs();

/// Reads a duration that is not negative.
///
/// # Errors
/// The text is no duration, one below zero, or longer than Go's longest.
pub(crate) fn parse(text: &str) -> Result<Duration, ValueError> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = if text == "0" { 0 } else { sum_of_parts(text).ok_or(ValueError::Duration)? };
    if negative && nanos > 0 {
        return Err(ValueError::Negative);
    }
    Ok(Duration::from_nanos(nanos))
}

fn sum_of_parts(mut text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    while !text.is_empty() {
        let (part, rest) = leading_part(text)?;
        total = total.checked_add(part).filter(|sum| *sum <= LONGEST)?;
        text = rest;
    }
    Some(total)
}

/// The nanoseconds of one number with its unit, and the text after it.
fn leading_part(text: &str) -> Option<(u64, &str)> {
    let (whole, text) = leading_digits(text);
    let (fraction, text) = match text.strip_prefix('.') {
        Some(rest) => leading_digits(rest),
        None => ("", text),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = leading_unit(text)?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some((whole.checked_mul(unit)?.checked_add(fraction_of(fraction, unit))?, rest))
}

fn leading_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A unit ends where the next number begins, so `1m30s` is not `1` of unit `m30s`.
fn leading_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (_, nanos) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    Some((*nanos, rest))
}

/// More digits than these cannot change a whole number of nanoseconds.
const MOST_FRACTION_DIGITS: usize = 18;

/// `digits` after the point, in nanoseconds, rounded down.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let digits = &digits.as_bytes()[..digits.len().min(MOST_FRACTION_DIGITS)];
    let (value, scale) = digits
        .iter()
        .fold((0_u128, 1_u128), |(value, scale), digit| (value * 10 + u128::from(digit - b'0'), scale * 10));
    // Below `unit`, so it fits.
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(0)
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
            ("9223372036854775807ns", LONGEST),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
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
            assert_eq!(parse(text), Err(ValueError::Duration), "{text:?}");
        }
        assert_eq!(parse("-1s"), Err(ValueError::Negative));
    }
}
