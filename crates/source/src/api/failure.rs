//! Why a request or a watch came to nothing, and what that asks for.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Why one try failed. None of these ends a watch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The core has gone; the only reason to stop.
    #[error("nobody listens any more")]
    NobodyListens,
    /// No connection, or one that broke.
    #[error("{reason}")]
    Connection {
        /// The causes, outermost first.
        reason: String,
    },
    /// The server answered with something else than what was asked for.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing came for too long.
    #[error("nothing was heard for {} ms", waited.as_millis())]
    Silent {
        /// How long.
        waited: Duration,
    },
    /// There is nothing to show to the server.
    #[error("cannot get credentials: {reason}")]
    Credentials {
        /// What the plugin failed with.
        reason: String,
    },
    /// The connection was closed because our identity was renewed.
    #[error("the client certificate was renewed")]
    Renewed,
    /// The answer ended early or cannot be understood.
    #[error("the answer {what}")]
    Garbled {
        /// What is wrong with it.
        what: String,
    },
}

impl Failure {
    /// A failure of the connection, with all its causes in one line.
    pub(crate) fn connection(error: &(dyn Error + 'static)) -> Self {
        Self::Connection { reason: causes(error) }
    }

    pub(crate) fn garbled(what: impl Into<String>) -> Self {
        Self::Garbled { what: what.into() }
    }

    /// How long the server asked us to stay away, if it did.
    pub(crate) fn asked_to_wait(&self) -> Duration {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => Duration::ZERO,
        }
    }

    /// Whether a request that failed so never reached an API server that works: there was no answer, or one that
    /// balancers give while no server is behind them.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Silent { .. } | Self::Credentials { .. } => true,
            Self::Refused(refusal) => matches!(refusal.code, 502..=504) && !refusal.is_expired(),
            Self::NobodyListens | Self::Garbled { .. } | Self::Renewed => false,
        }
    }

    /// Whether the server has more to do than it can.
    pub(crate) fn is_overload(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == 429)
    }

    /// Whether the server does not have what was asked for.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == 404)
    }

    /// Whether what should be made is there already.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == 409)
    }

    /// A short name that failures have in common that need not be told twice. What a server
    /// says in words is no part of it: it may name versions and times.
    pub(crate) fn class(&self) -> Cow<'static, str> {
        match self {
            Self::NobodyListens => "nobody listens".into(),
            Self::Connection { reason } | Self::Credentials { reason } => reason.clone().into(),
            Self::Renewed => "renewed".into(),
            Self::Refused(refusal) => format!("refused with {}", refusal.code).into(),
            Self::Silent { .. } => "silent".into(),
            Self::Garbled { .. } => "garbled".into(),
        }
    }

    /// Whether the version that was asked for is of no use any more.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_expired())
    }
}

/// A `Status` that a server sent instead of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refusal {
    /// HTTP status, or the one that an error event names.
    pub(crate) code: u16,
    reason: String,
    message: String,
    too_large: bool,
    retry_after: Duration,
}

impl Refusal {
    /// Reads a `Status`; a body that is none is quoted.
    pub(crate) fn read(code: Option<u16>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let details = status.details.unwrap_or_default();
        let quoted = || String::from_utf8_lossy(&body[..body.len().min(MAX_QUOTE)]).trim().to_owned();
        Self {
            code: code.or(status.code).unwrap_or_default(),
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_else(quoted),
            too_large: details.causes.iter().flatten().any(Cause::is_too_large),
            retry_after: Duration::from_secs(details.retry_after_seconds.unwrap_or_default().into()),
        }
    }

    /// Takes in the header `retry-after`; the longer of two waits counts.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = self.retry_after.max(wait);
        self
    }

    /// The version asked for is too old (410), or lies in the server's future, as
    /// after a restored backup: either way only a new list helps.
    pub(crate) fn is_expired(&self) -> bool {
        self.code == 410 || self.too_large
    }

    /// Whether the server has nothing against us and our rights, and is not
    /// overloaded either, so that what it turns down is the manner of the request.
    pub(crate) fn is_about_the_request(&self) -> bool {
        matches!(self.code, 400..=499 | 501) && !matches!(self.code, 401 | 403 | 408 | 410 | 429)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server said {}", self.code)?;
        // A 401 has the same word in both.
        let message = Some(&self.message).filter(|message| **message != self.reason);
        for part in [Some(&self.reason), message].into_iter().flatten().filter(|part| !part.is_empty()) {
            write!(f, ", {part}")?;
        }
        Ok(())
    }
}

/// Bytes quoted of a body that is no `Status`, such as a gateway's page.
const MAX_QUOTE: usize = 200;

#[derive(Debug, Default, Deserialize)]
struct Status {
    code: Option<u16>,
    reason: Option<String>,
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    reason: Option<String>,
}

impl Cause {
    fn is_too_large(&self) -> bool {
        self.reason.as_deref() == Some("ResourceVersionTooLarge")
    }
}

/// An error with its causes; those that their parent repeats are left out.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_testkit::fixtures;

    #[test]
    fn a_real_refusal_says_code_reason_and_message() {
        let forbidden = Refusal::read(Some(403), fixtures::FORBIDDEN.as_bytes());
        assert_eq!(
            forbidden.to_string(),
            "the server said 403, Forbidden, services is forbidden: User \"system:anonymous\" cannot list resource \
             \"services\" in API group \"\" at the cluster scope"
        );
        assert_eq!(
            Refusal::read(Some(401), fixtures::UNAUTHORIZED.as_bytes()).to_string(),
            "the server said 401, Unauthorized"
        );
        assert!(Refusal::read(Some(410), fixtures::CONTINUE_EXPIRED.as_bytes()).is_expired());
        assert_eq!(
            Refusal::read(Some(502), b"<html>bad gateway").to_string(),
            "the server said 502, <html>bad gateway"
        );
    }

    #[test]
    fn a_version_from_the_future_is_as_useless_as_an_old_one() {
        let body =
            br#"{"code":504,"reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
        assert!(Refusal::read(None, body).is_expired());
        assert!(!Refusal::read(None, br#"{"code":504,"reason":"Timeout"}"#).is_expired());
    }

    #[test]
    fn a_busy_server_says_how_long_to_stay_away() {
        let busy = br#"{"code":429,"reason":"TooManyRequests","details":{"retryAfterSeconds":7}}"#;
        let failure = Failure::Refused(Refusal::read(Some(429), busy));
        assert_eq!(failure.asked_to_wait(), Duration::from_secs(7));
        assert_eq!(Failure::garbled("is odd").asked_to_wait(), Duration::ZERO);
    }

    #[test]
    fn only_some_refusals_are_about_the_request() {
        for (code, expected) in
            [(400, true), (422, true), (403, false), (429, false), (410, false), (500, false)]
        {
            assert_eq!(Refusal { code, ..Refusal::default() }.is_about_the_request(), expected, "{code}");
        }
    }
}
