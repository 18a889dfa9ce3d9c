//! What a program says of itself.

use std::fmt;

/// The two kinds of iptables, which keep their rules in different places of the kernel: both can hold rules
/// at once, and packets meet them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// iptables-nft, whose tables are nf_tables'.
    Nft,
    /// iptables-legacy, which has its own.
    Legacy,
}

impl Variant {
    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Nft => Self::Legacy,
            Self::Legacy => Self::Nft,
        }
    }
}

/// As names of programs end: `nft` or `legacy`.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

/// A version, such as 1.8.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What `--version` answers: `iptables v1.8.9 (nf_tables)`. Before 1.8.0 there was one kind only, and no
/// word of it.
pub(super) fn parse(answer: &str) -> Option<(Version, Variant)> {
    let number = answer.split_whitespace().nth(1)?.strip_prefix('v')?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().unwrap_or(Some(0))?;
    let variant = if answer.contains("(nf_tables)") { Variant::Nft } else { Variant::Legacy };
    Some((Version(major, minor, patch), variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_version_and_kind() {
        let cases = [
            ("iptables v1.8.9 (nf_tables)\n", Some((Version(1, 8, 9), Variant::Nft))),
            ("ip6tables v1.8.11 (legacy)\n", Some((Version(1, 8, 11), Variant::Legacy))),
            ("iptables v1.6.1\n", Some((Version(1, 6, 1), Variant::Legacy))),
            ("iptables v1.10 (nf_tables)", Some((Version(1, 10, 0), Variant::Nft))),
            ("iptables", None),
            ("iptables 1.8.9", None),
            ("iptables v1.x", None),
            ("", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(parse(answer), expected, "{answer}");
        }
        assert!(Version(1, 8, 11) > Version(1, 8, 9));
        assert!(Version(1, 6, 2) > Version(1, 6, 1));
    }
}
