//! Why a request, a list or a watch failed, and what follows from it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

/// Why one attempt failed. None of these ends a watch for good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The receiver of events is closed; the only reason to stop.
    #[error("the receiver of events is closed")]
    Closed,
    /// No connection, or one that broke: the causes, outermost first.
    #[error("{0}")]
    Connection(String),
    /// The server answered with an error.
    #[error("{0}")]
    Rejected(Rejection),
    /// No data for too long.
    #[error("no data for {} ms", .0.as_millis())]
    Timeout(Duration),
    /// There are no credentials to present: the failure of the credential plugin.
    #[error("cannot get credentials: {0}")]
    Credentials(String),
    /// The connection was closed because the client certificate was renewed.
    #[error("the client certificate was renewed")]
    Renewed,
    /// The response ended early or is invalid: what is wrong with it.
    #[error("the response {0}")]
    Invalid(String),
}

impl Failure {
    /// A failure of the connection, with all its causes in one line.
    pub(crate) fn connection(error: &(dyn Error + 'static)) -> Self {
        Self::Connection(causes(error))
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid(what.into())
    }

    /// The wait before the next request, as the server requests it.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Rejected(rejection) => rejection.retry_after,
            _ => Duration::ZERO,
        }
    }

    /// Whether the request did not reach an API server that works: there was no answer, or one that load balancers
    /// give while no server is behind them.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout(_) | Self::Credentials(_) => true,
            Self::Rejected(rejection) => matches!(rejection.code, 502..=504) && !rejection.is_expired,
            Self::Closed | Self::Invalid(_) | Self::Renewed => false,
        }
    }

    /// Whether the server answered with this HTTP status.
    pub(crate) fn is_status(&self, code: u16) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.code == code)
    }

    /// Whether the server has more requests than it can serve.
    pub(crate) fn is_overload(&self) -> bool {
        self.is_status(429)
    }

    /// Whether the requested version can no longer be used.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.is_expired)
    }

    /// The class for a log rate limiter. The message of a server is not part of it, as it may hold versions and times.
    pub(crate) fn class(&self) -> String {
        match self {
            Self::Rejected(rejection) => format!("rejected with {}", rejection.code),
            Self::Timeout(_) => "timeout".to_owned(),
            Self::Invalid(_) => "invalid".to_owned(),
            Self::Closed | Self::Connection(_) | Self::Credentials(_) | Self::Renewed => self.to_string(),
        }
    }
}

/// A `Status` that a server sent instead of what was requested.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rejection {
    /// HTTP status, or the one in an error event.
    pub(crate) code: u16,
    reason: String,
    message: String,
    /// The requested version is too old (410), or lies in the server's future, as after a restored backup. In both
    /// cases only a new list helps.
    is_expired: bool,
    retry_after: Duration,
}

/// Bytes quoted of a body that is no `Status`, such as a gateway's page.
const MAX_QUOTE: usize = 200;

impl Rejection {
    /// Reads a `Status`; any other body is quoted.
    pub(crate) fn read(code: Option<u16>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let details = status.details.unwrap_or_default();
        let quote = || String::from_utf8_lossy(&body[..body.len().min(MAX_QUOTE)]).trim().to_owned();
        let code = code.or(status.code.and_then(|code| code.try_into().ok())).unwrap_or_default();
        let is_too_large = details
            .causes
            .iter()
            .flatten()
            .any(|cause| cause.reason.as_deref() == Some("ResourceVersionTooLarge"));
        let retry_after = details.retry_after_seconds.and_then(|seconds| seconds.try_into().ok());
        Self {
            code,
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_else(quote),
            is_expired: code == 410 || is_too_large,
            retry_after: Duration::from_secs(retry_after.unwrap_or_default()),
        }
    }

    /// Adds the header `Retry-After`; the longer of two waits is used.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = self.retry_after.max(wait);
        self
    }

    /// Whether the server accepts our credentials and rights and is not overloaded, so that it rejects the form of the
    /// request.
    pub(crate) fn is_about_the_request(&self) -> bool {
        matches!(self.code, 400..=499 | 501) && !matches!(self.code, 401 | 403 | 408 | 410 | 429)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.code)?;
        // The reason and the message of a 401 are the same.
        let message = Some(&self.message).filter(|message| **message != self.reason);
        for part in [Some(&self.reason), message].into_iter().flatten().filter(|part| !part.is_empty()) {
            write!(f, ", {part}")?;
        }
        Ok(())
    }
}

/// An error with its causes, without those that their parent repeats.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
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
    fn a_rejection_shows_code_reason_and_message() {
        let forbidden = Rejection::read(Some(403), fixtures::FORBIDDEN.as_bytes());
        assert_eq!(
            forbidden.to_string(),
            "the server answered 403, Forbidden, services is forbidden: User \"system:anonymous\" cannot list resource \
             \"services\" in API group \"\" at the cluster scope"
        );
        assert_eq!(
            Rejection::read(Some(401), fixtures::UNAUTHORIZED.as_bytes()).to_string(),
            "the server answered 401, Unauthorized"
        );
        assert!(Rejection::read(Some(410), fixtures::CONTINUE_EXPIRED.as_bytes()).is_expired);
        assert_eq!(
            Rejection::read(Some(502), b"<html>bad gateway").to_string(),
            "the server answered 502, <html>bad gateway"
        );
    }

    #[test]
    fn a_version_from_the_future_is_expired() {
        let body =
            br#"{"code":504,"reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
        assert!(Rejection::read(None, body).is_expired);
        assert!(!Rejection::read(None, br#"{"code":504,"reason":"Timeout"}"#).is_expired);
    }

    #[test]
    fn a_busy_server_sets_the_time_of_the_next_request() {
        let busy = br#"{"code":429,"reason":"TooManyRequests","details":{"retryAfterSeconds":7}}"#;
        let failure = Failure::Rejected(Rejection::read(Some(429), busy));
        assert_eq!(failure.retry_after(), Duration::from_secs(7));
        assert_eq!(Failure::invalid("is odd").retry_after(), Duration::ZERO);
    }

    #[test]
    fn only_some_rejections_are_about_the_request() {
        for (code, expected) in
            [(400, true), (422, true), (403, false), (429, false), (410, false), (500, false)]
        {
            assert_eq!(Rejection { code, ..Rejection::default() }.is_about_the_request(), expected, "{code}");
        }
    }
}
