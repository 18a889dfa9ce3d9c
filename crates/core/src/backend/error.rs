//! What a backend says when it fails, and what helps then.

use std::error::Error;
use std::fmt::Write as _;

use super::ProxyMode;

/// Why the node does not hold the state we asked for.
///
/// The sync loop acts on [`BackendError::retry`] alone, so a new variant must answer
/// that too. Messages leave the source out; the log line prints the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The host lacks a feature or privilege; waiting will not help. From [`BackendFactory::create`](super::BackendFactory::create) it ends the
    /// process, as every error does there; from `apply` it is tried again now and then.
    #[error("{mode} mode needs {missing}, which this host does not offer")]
    Unsupported {
        /// The mode that cannot run.
        mode: ProxyMode,
        /// What it lacks.
        missing: String,
    },
    /// The kernel, or a tool on the way there, turned one object down.
    #[error("the kernel refused to {action}")]
    Refused {
        /// What was tried, with the object's name: `add element … of map …`.
        action: String,
        /// Why, in its own words.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another process holds what we must change, and will let go when it ends.
    #[error("{object} belongs to another running process")]
    Busy {
        /// What it holds.
        object: String,
        /// Why we think so.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// What there is could not be read, and nothing was written.
    #[error("could not read {object}")]
    Unread {
        /// What was to be read.
        object: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Talking to the kernel failed before it could judge anything.
    #[error("could not {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl BackendError {
    /// Whether trying again can help, and what to pass then.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unsupported { .. } => Retry::Never,
            Self::Busy { .. } => Retry::SameChanges,
            Self::Unread { .. } => Retry::Unchanged,
            Self::Refused { .. } | Self::Io { .. } => Retry::CompareAll,
        }
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
    /// The same changes once more: the kernel is as it was, and somebody has to let go of it.
    SameChanges,
    /// The same changes once more, when some time has passed: the kernel is as it was.
    Unchanged,
    /// A complete comparison: what we believe of the kernel's state may be wrong.
    CompareAll,
}
