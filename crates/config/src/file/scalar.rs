//! What a word without quotes stands for.
//!
//! kube-proxy reads YAML by the rules of version 1.1 with a few of 1.2, so `on`, `0x1f`, `017` and
//! `1_000` are no text there and are none here.

/// A word without quotes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    /// Nothing: empty, `~`, `null`.
    Null,
    /// A switch.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Anything else.
    Text,
}

/// Tells what `word` stands for.
pub(crate) fn resolve(word: &str) -> Scalar {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Scalar::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Scalar::Bool(false);
        }
        _ => {}
    }
    number(word).unwrap_or(Scalar::Text)
}

fn number(word: &str) -> Option<Scalar> {
    let digits = word.replace('_', "");
    if word.starts_with('_') {
        return None;
    }
    if let Some(whole) = integer(&digits) {
        return Some(Scalar::Int(whole));
    }
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(Scalar::Float(f64::INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Scalar::Float(f64::NAN)),
        _ => {}
    }
    let is_number = unsigned.starts_with(|c: char| c == '.' || c.is_ascii_digit())
        && unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    digits.parse().ok().filter(|_| is_number).map(Scalar::Float)
}

/// A whole number as Go reads one when no base is given: `10`, `0x1f`, `0o17`, `017`, `0b11`, with a
/// sign or without.
pub(crate) fn integer(digits: &str) -> Option<i64> {
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let bytes = unsigned.as_bytes();
    let (radix, rest) = match bytes {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if rest.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{rest}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_what_kube_proxy_takes_them_for() {
        let cases = [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("null", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("Yes", Scalar::Bool(true)),
            ("off", Scalar::Bool(false)),
            ("14", Scalar::Int(14)),
            ("-999", Scalar::Int(-999)),
            ("+5", Scalar::Int(5)),
            ("0", Scalar::Int(0)),
            ("0x1f", Scalar::Int(31)),
            ("0o17", Scalar::Int(15)),
            ("017", Scalar::Int(15)),
            ("0b101", Scalar::Int(5)),
            ("1_000", Scalar::Int(1000)),
            ("1.5", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("1e3", Scalar::Float(1000.0)),
            ("089", Scalar::Float(89.0)),
            (".inf", Scalar::Float(f64::INFINITY)),
            ("99999999999999999999", Scalar::Float(1e20)),
        ];
        for (word, expected) in cases {
            assert_eq!(resolve(word), expected, "{word:?}");
        }
        for word in [
            "nftables",
            "30s",
            "0.0.0.0",
            "::",
            "tRUE",
            "0x",
            "1-2",
            "e5",
            "infinity",
            "nan",
            "_1",
            "10.0.0.0/8",
            "--1",
        ] {
            assert_eq!(resolve(word), Scalar::Text, "{word:?}");
        }
    }
}
