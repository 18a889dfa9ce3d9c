//! What rules say about themselves.
//!
//! A comment is put together when it is written and nowhere kept. Names in it come from the cluster, so
//! whatever could end the quotes or the line is replaced: nobody gets to write rules by naming a Service.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use portolan_core::ServicePortName;

use crate::names::Chain;

/// One less than `XT_MAX_COMMENT_LEN` of `linux/netfilter/xt_comment.h`, for the final zero.
const LONGEST: usize = 255;

/// What a rule says about itself.
#[derive(Debug, Clone, Copy, Default)]
pub enum Comment<'a> {
    /// Nothing.
    #[default]
    None,
    /// This text.
    Text(&'a str),
    /// A service port between two texts.
    Port(&'static str, &'a ServicePortName, &'static str),
    /// A service port and an endpoint that it leads to.
    Endpoint(&'a ServicePortName, SocketAddr),
    /// A service port, and that a chain of its own did not let something through.
    NotAccepted(&'a ServicePortName, Chain),
}

impl Comment<'_> {
    /// Whether there is nothing to say.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The text as the kernel keeps it.
    pub(crate) fn text(&self) -> CommentText {
        let mut text = CommentText { bytes: [0; LONGEST], length: 0 };
        // Too long a text is cut, which is no error.
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

/// A comment as it is written: short enough, and in printable ASCII without quotes and backslashes.
pub(crate) struct CommentText {
    bytes: [u8; LONGEST],
    length: usize,
}

impl CommentText {
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII is ever written into it.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for CommentText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let Some(place) = self.bytes.get_mut(self.length) else { return Ok(()) };
            let is_harmless = matches!(character, ' '..='~') && !matches!(character, '"' | '\\' | '\'');
            *place = u8::try_from(character).ok().filter(|_| is_harmless).unwrap_or(b'?');
            self.length += 1;
        }
        Ok(())
    }
}

/// In quotes if it takes them.
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
    fn comments_are_quoted_when_they_are_no_word_and_cannot_end_their_quotes() {
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
