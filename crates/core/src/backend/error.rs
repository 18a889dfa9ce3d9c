//! What failed in a backend, and whether a retry can help.

use std::error::Error;
use std::fmt::{self, Write as _};

use super::{Metric, ProxyMode};

/// Why the node does not have the state that was asked for.
///
/// The text names the object and leaves the source out; [`error_chain`] prints both.
#[derive(Debug)]
pub struct BackendError {
    kind: ErrorKind,
    /// The object, or what was tried with the object's name.
    subject: String,
    retry: Retry,
    metrics: Vec<Metric>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host lacks a feature or privilege.
    Unsupported,
    /// The kernel, or a program on the way there, rejected an object.
    Refused,
    /// Another process holds what must be changed.
    Busy,
    /// What there is could not be read, and nothing was written.
    Unread,
    /// Talking to the kernel failed before it could judge anything.
    Io,
}

impl ErrorKind {
    /// What helps if the backend does not say otherwise.
    fn retry(self) -> Retry {
        match self {
            Self::Unsupported => Retry::Never,
            Self::Busy => Retry::SameChanges,
            Self::Unread => Retry::Unchanged,
            Self::Refused | Self::Io => Retry::CompareAll,
        }
    }
}

impl BackendError {
    /// This mode lacks something on this host: [`Retry::Never`]. From
    /// [`BackendFactory::create`](super::BackendFactory::create) it ends the process, as every error does there.
    pub fn unsupported(mode: &ProxyMode, missing: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{mode} mode needs {missing}"), None)
    }

    /// The kernel, or a program on the way there, refused to do this; `action` names the object: `add element … of
    /// map …`. [`Retry::CompareAll`].
    pub fn refused(action: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Refused, action.into(), Some(source.into()))
    }

    /// Another process holds this object, and releases it when it ends: [`Retry::SameChanges`].
    pub fn busy(object: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Busy, object.into(), Some(source.into()))
    }

    /// This object could not be read, and nothing was written: [`Retry::Unchanged`].
    pub fn unread(object: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Unread, object.into(), Some(source.into()))
    }

    /// This could not be done before the kernel could judge anything; `action` names the object.
    /// [`Retry::CompareAll`].
    pub fn io(action: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Io, action.into(), Some(source.into()))
    }

    fn new(kind: ErrorKind, subject: String, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, subject, retry: kind.retry(), metrics: Vec::new(), source }
    }

    /// Has this done next, whatever the kind.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Also reports these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {
        self.metrics.extend(metrics);
        self
    }

    /// What failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying again can help, and what to pass then.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// What the failure counts as.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match self.kind {
            ErrorKind::Unsupported => write!(f, "{subject}, which this host does not offer"),
            ErrorKind::Refused => write!(f, "the kernel refused to {subject}"),
            ErrorKind::Busy => write!(f, "{subject} belongs to another running process"),
            ErrorKind::Unread => write!(f, "could not read {subject}"),
            ErrorKind::Io => write!(f, "could not {subject}"),
        }
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error with all its causes, as one line.
///
/// For log lines and messages: the errors of this project leave their sources out of their own text.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// What helps after a failed apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing, until the host changes: the kernel is as it was.
    Never,
    /// The same changes once more: the kernel is as it was, and another process has to release it.
    SameChanges,
    /// The same changes once more, when some time has passed: the kernel is as it was.
    Unchanged,
    /// A full sync: what is known of the kernel's state may be wrong.
    CompareAll,
}
