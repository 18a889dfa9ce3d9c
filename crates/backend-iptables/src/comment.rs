//! Comments of rules.
//!
//! A comment is formatted when it is written, never stored. Names in it come from the cluster, so characters that
//! could end the quotes or the line are replaced: the name of a Service cannot add rules.

use std::fmt::{self, Write as _};
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

    /// The text that the kernel stores.
    pub(crate) fn text(&self) -> CommentText {
        let mut text = CommentText { bytes: [0; MAX_LENGTH], length: 0 };
        // A text that is too long is truncated, which is not an error.
        let _ = write!(text, "{self}");
        text
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

/// A comment as it is written: truncated, in printable ASCII without quotes and backslashes.
pub(crate) struct CommentText {
    bytes: [u8; MAX_LENGTH],
    length: usize,
}

impl CommentText {
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII is written into it.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for CommentText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let Some(byte) = self.bytes.get_mut(self.length) else { return Ok(()) };
            let is_safe = matches!(character, ' '..='~') && !matches!(character, '"' | '\\' | '\'');
            *byte = u8::try_from(character).ok().filter(|_| is_safe).unwrap_or(b'?');
            self.length += 1;
        }
        Ok(())
    }
}

/// In quotes if it needs them.
impl fmt::Display for CommentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(byte);
        let text = self.as_str();
        if !text.is_empty() && text.as_bytes().iter().all(is_word) {
            f.write_str(text)
        } else {
            write!(f, "\"{text}\"")
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
            assert_eq!(Comment::Text(text).text().to_string(), expected);
        }
    }
}
