//! Comments of rules.
//!
//! A comment is formatted when it is written, never stored. Names in it come from the cluster, so characters that
//! could end the quotes or the line are replaced: the name of a Service cannot add rules.

use std::fmt;
use std::net::SocketAddr;

use portolan_core::ServicePortName;

use crate::names::Chain;

/// One less than `XT_MAX_COMMENT_LEN` of `linux/netfilter/xt_comment.h`, for the final zero.
const MAX_LENGTH: usize = 255;

/// A comment of a rule.
#[derive(Debug, Clone, Copy, Default)]
pub enum Comment<'a> {
    /// No comment.
    #[default]
    None,
    /// This text.
    Text(&'a str),
    /// A service port between two texts.
    Port(&'static str, &'a ServicePortName, &'static str),
    /// A service port and one of its endpoints.
    Endpoint(&'a ServicePortName, SocketAddr),
    /// A service port, and its chain that did not accept the packet.
    NotAccepted(&'a ServicePortName, Chain),
}

impl Comment<'_> {
    /// Whether there is no comment.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The text that the kernel stores: truncated, in printable ASCII without quotes and backslashes.
    pub(crate) fn text(&self) -> String {
        let is_safe = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '\'');
        self.to_string().chars().take(MAX_LENGTH).map(|c| if is_safe(c) { c } else { '?' }).collect()
    }

    /// That text as a word of a rule, in quotes if it needs them.
    pub(crate) fn word(&self) -> String {
        let text = self.text();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        if !text.is_empty() && text.bytes().all(is_plain) { text } else { format!("\"{text}\"") }
    }
}

impl fmt::Display for Comment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Port(before, port, after) => write!(f, "{before}{port}{after}"),
            Self::Endpoint(port, endpoint) => write!(f, "{port} -> {endpoint}"),
            Self::NotAccepted(port, chain) => write!(f, "{port} traffic not accepted by {chain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_quoted_if_needed_and_cannot_end_their_quotes() {
        let long = "x".repeat(300);
        let cases = [
            ("ns/web:http", "ns/web:http".to_owned()),
            ("ns/web cluster IP", "\"ns/web cluster IP\"".to_owned()),
            ("", "\"\"".to_owned()),
            ("a\" -j ACCEPT\n-A INPUT", "\"a? -j ACCEPT?-A INPUT\"".to_owned()),
            ("a\\", "\"a?\"".to_owned()),
            ("né", "\"n?\"".to_owned()),
            (&long, "x".repeat(255)),
        ];
        for (text, expected) in cases {
            assert_eq!(Comment::Text(text).word(), expected);
        }
    }
}
