//! The names that kube-proxy makes of hashes.

use sha2::{Digest, Sha256};

/// The first characters of the base32 form (RFC 4648) of a text's SHA-256.
pub(super) fn hash(text: &str, characters: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(text);
    let bit = |index: usize| digest[index / 8] >> (7 - index % 8) & 1;
    let digit = |at: usize| (at * 5..at * 5 + 5).fold(0, |value, index| value << 1 | bit(index));
    (0..characters).map(|at| char::from(ALPHABET[usize::from(digit(at))])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_kube_proxy_writes() {
        assert_eq!(hash("ns1/svc1:p80tcp", 16), "XPGD46QRK7WJZT7O");
        assert_eq!(hash("ns1/svc1:p80tcp10.180.0.1:80", 16), "SXIVWICOYRO3J4NJ");
        assert_eq!(hash("ns1/svc1/tcp/p80", 8), "ULMVA6XW");
    }
}
