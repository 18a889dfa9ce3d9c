//! What the log should say about a configuration.

use std::fmt;

/// One line for the log at start: a setting that is accepted and not followed, or not as
/// somebody might expect. Defaults never cause one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How the line is logged.
    pub level: NoteLevel,
    /// The setting: its path in the file, or the flag with its dashes.
    pub field: String,
    /// What there is to say of it.
    pub message: String,
}

/// How important a [`Note`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteLevel {
    /// Nothing works worse for it.
    Info,
    /// Something may not be as it was meant.
    Warning,
    /// Something will not work; kube-proxy logs an error there and goes on as well.
    Error,
}

impl Note {
    pub(crate) fn info(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: NoteLevel::Info, field: field.into(), message: message.into() }
    }

    pub(crate) fn warning(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: NoteLevel::Warning, field: field.into(), message: message.into() }
    }

    pub(crate) fn error(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: NoteLevel::Error, field: field.into(), message: message.into() }
    }
}

/// `field: message`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
